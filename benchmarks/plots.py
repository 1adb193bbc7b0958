"""Pictures of a saved run: cost against size, one line per family's best variant."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from benchmarks.rows import Row, best_of_family

if TYPE_CHECKING:
    from pathlib import Path

SIZE = re.compile(r"[VBN]=(\d+)")


def draw(rows: list[Row], stem: Path) -> list[Path]:
    """Write `<stem>-<workload>.svg` for every workload that has sizes; returns the paths."""
    try:
        import matplotlib
    except ImportError:
        return []
    matplotlib.use("Agg")
    written = []
    for workload in ("W1", "W2"):
        mine = [r for r in rows if r.workload == workload and best_of_family(rows, r)]
        if mine:
            path = stem.with_name(f"{stem.name}-{workload}.svg")
            _lines(mine, [("", "ns per " + mine[0].item, _cost)], path, workload)
            written.append(path)
    sizes = [r for r in rows if r.workload == "W5" and r.median is not None]
    if sizes:
        path = stem.with_name(f"{stem.name}-W5.svg")
        panels: list[Panel] = []
        for shape in ("chain", "tree", "voices"):
            panels.append((shape, f"{shape}: compile [s]", _compile))
            panels.append((shape, f"{shape}: run 1 s [s]", _run))
        _lines(sizes, panels, path, "W5")
        written.append(path)
    return written


Panel = tuple[str, str, Callable[[Row], float | None]]


def _cost(row: Row) -> float | None:
    return row.nanoseconds_per_item


def _compile(row: Row) -> float | None:
    return row.compile_seconds


def _run(row: Row) -> float | None:
    return row.median


def _lines(rows: list[Row], panels: list[Panel], path: Path, title: str) -> None:
    """One log-log panel per quantity, a line per family."""
    from matplotlib import pyplot

    columns = min(2, len(panels))
    lines = -(-len(panels) // columns)
    figure, axes = pyplot.subplots(
        lines, columns, figsize=(6.4 * columns, 4.4 * lines), squeeze=False, layout="constrained"
    )
    for axis, (case, label, quantity) in zip(axes.flat, panels, strict=False):
        for family in dict.fromkeys(row.family for row in rows):
            points = []
            for row in rows:
                found, value = SIZE.search(row.case), quantity(row)
                if row.family == family and row.case.startswith(case) and found and value:
                    points.append((int(found[1]), value))
            if points:
                axis.plot(*zip(*sorted(points), strict=True), marker="o", label=family)
        axis.set(xscale="log", yscale="log", xlabel="size", ylabel=label)
        axis.grid(visible=True, which="both", alpha=0.3)
        axis.legend(fontsize="small")
    figure.suptitle(title)
    figure.savefig(path)
    pyplot.close(figure)
