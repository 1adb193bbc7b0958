"""The table on the terminal and the JSON file."""

from __future__ import annotations

import json
import os
import platform
from datetime import UTC, datetime
from importlib import metadata
from itertools import groupby
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.rows import OK, Row, baseline_of, best_of_family, ratio

RESULTS = Path(__file__).resolve().parent / "results"
PACKAGES = (
    "amp-dsp",
    "numpy",
    "scipy",
    "numba",
    "llvmlite",
    "cyfaust-llvm",
    "dawdreamer",
    "jax",
    "torch",
    "torchlpc",
)


def table(rows: list[Row]) -> Table:
    """One table, a section per case; the fastest variant of each family is starred."""
    grid = Table(title="medians over interleaved rounds", title_justify="left")
    grid.add_column("case", no_wrap=True)
    grid.add_column("candidate", no_wrap=True)
    for name in ("median", "IQR", "ns/item", "x IPLS", "compile", "error", "memory"):
        grid.add_column(name, justify="right", no_wrap=True)
    grid.add_column("note")
    for (workload, case), group in groupby(rows, key=lambda r: (r.workload, r.case)):
        for position, row in enumerate(group):
            star = "*" if best_of_family(rows, row) else " "
            style = "bold" if row is baseline_of(rows, row) else None
            title = f"{workload} {case}" if position == 0 else ""
            grid.add_row(title, f"{star} {row.candidate}", *_numbers(rows, row), style=style)
        grid.add_section()
    grid.caption = (
        "x IPLS: median over amp IPLS's median, above 1 amp is faster. *: fastest of its family.\n"
        "error: largest difference from amp IPLS (or, where absent, the first row that ran; W5: "
        "from NumPy), relative to max(1, peak). memory: most of one run, above that before it."
    )
    return grid


def _numbers(rows: list[Row], row: Row) -> list[str]:
    """The row's cells after its name."""
    times = ratio(rows, row)
    note = row.note if row.status == OK else f"[yellow]{row.status}[/yellow] {row.note}"
    return [
        seconds(row.median),
        seconds(row.iqr),
        "" if row.nanoseconds_per_item is None else f"{row.nanoseconds_per_item:.3g}",
        "" if times is None else f"{times:.2f}",
        seconds(row.compile_seconds),
        "" if row.error is None else f"{row.error:.0e}",
        "" if row.memory is None else f"{row.memory / 1e6:.3g} MB",
        note,
    ]


def seconds(value: float | None) -> str:
    """A time with a unit that keeps it readable."""
    if value is None:
        return ""
    for scale, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "us")):
        if value >= scale:
            return f"{value / scale:.3g} {unit}"
    return f"{value * 1e9:.3g} ns"


def surroundings() -> dict[str, Any]:
    """The machine and the versions, so that a number can be read a year later."""
    versions: dict[str, str | None] = {}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = None
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "system": platform.system(),
        "python": platform.python_version(),
        "packages": versions,
    }


def _processor() -> str:
    """The processor's name and LLVM's name for it."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                name = line.partition(":")[2].strip()
                break
    try:
        from llvmlite.binding import get_host_cpu_name
    except ImportError:
        return name
    return f"{name} ({get_host_cpu_name()})"


def save(rows: list[Row], options: dict[str, Any], folder: Path) -> Path:
    """Write `run-<time>.json`; returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    about = surroundings()
    stamp = about["time"].replace(":", "").replace("-", "")[:15]
    path = folder / f"run-{stamp}.json"
    text = {"about": about, "options": options, "rows": [row.to_json() for row in rows]}
    path.write_text(json.dumps(text, indent=1) + "\n")
    return path


def load(path: Path) -> list[Row]:
    """The rows of a saved run."""
    return [Row.from_json(row) for row in json.loads(path.read_text())["rows"]]


def show(rows: list[Row]) -> None:
    """Print the table, wide enough for a file as well as for a terminal."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=160)
    console.print(table(rows))
