"""The memory of one W6 candidate: `python -m benchmarks.memory NAME FRAMES` prints bytes.

It is the process's peak during one run, above what it had before. Its libraries have run a short signal by
then, the program is compiled, and freed memory was given back.
"""

from __future__ import annotations

import argparse
import ctypes
import subprocess
import sys
from pathlib import Path
from unittest import mock

from benchmarks import cascade, gradient
from benchmarks.workloads import w6_gradient

WARM_FRAMES = 512


def measure(name: str, frames: int) -> int:
    """Run one candidate in this process."""
    (candidate,) = [c for c in w6_gradient.candidates() if c.name == name]
    noise = cascade.make_noise(gradient.BATCH, frames)
    for _ in candidate.make([noise[:, :WARM_FRAMES].copy()])():
        pass
    play = candidate.make([noise])
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = _status("VmRSS")
    with mock.patch.object(gradient, "answer", return_value=None):  # the harness's own copies
        for _ in play():
            pass
    return _status("VmHWM") - before


def _status(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"no {field} in /proc/self/status")


def in_process(name: str, frames: int, timeout: float) -> float | None:
    """The same in a process of its own; None where that cannot be found out."""
    command = [sys.executable, "-m", "benchmarks.memory", name, str(frames)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=timeout)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        return None
    return float(done.stdout)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=__doc__)
    parser.add_argument("name")
    parser.add_argument("frames", type=int)
    arguments = parser.parse_args()
    print(measure(arguments.name, arguments.frames))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
