"""import: how long `import amp` takes once NumPy is in, next to numba's."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from benchmarks.bounded import ROOT
from benchmarks.rows import BASELINE, FAILED, NOT_INSTALLED, Row

if TYPE_CHECKING:
    from benchmarks.harness import Say
    from benchmarks.options import Options

NAME = "import"
TURNS = 10
SCRIPT = """
import time, numpy
start = time.perf_counter()
import {module}
print(time.perf_counter() - start)
"""
MODULES = {"amp": BASELINE, "numba": "numba", "cyfaust": "cyfaust", "dawdreamer": "dawdreamer"}


def run(options: Options, say: Say) -> list[Row]:
    """Fresh processes, interleaved."""
    rows = {module: Row(NAME, "after numpy", name, family=name) for module, name in MODULES.items()}
    seconds: dict[str, list[float]] = {module: [] for module in MODULES}
    say(f"{NAME}: {', '.join(MODULES)}, {TURNS} processes each")
    for turn in range(max(TURNS, options.repeat) + 1):
        for module in MODULES:
            if rows[module].status != "ok":
                continue
            command = [sys.executable, "-c", SCRIPT.format(module=module)]
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
            if done.returncode:
                reason = (done.stderr.strip().splitlines() or [""])[-1]
                missing = "ModuleNotFoundError" in reason
                status = NOT_INSTALLED if missing else FAILED
                rows[module] = replace(rows[module], status=status, note=reason)
            elif turn:  # the first one fills the file cache
                seconds[module].append(float(done.stdout.strip().splitlines()[-1]))
    return [replace(row, seconds=seconds[module]) for module, row in rows.items()]
