"""`python -m benchmarks.soak`: whether a sine is still in phase after a day.

A mono sine at 48 kHz runs for 24 simulated hours in native code, as it would block by block. Its last
second is then compared with the closed form, whose phase is counted in whole numbers.
"""

from __future__ import annotations

import argparse
import time
from fractions import Fraction

import numpy as np
from rich.console import Console

from benchmarks import graphs

RATE = 48_000
BLOCK = 256
CHUNK = 60 * RATE
"""Frames of one call from Python; their samples are written over the last ones'."""
ALLOWED = 1e-9
"""Cycles."""


def last_second(frequency: float, hours: float) -> tuple[np.ndarray, int, float]:
    """The samples, the clock at their start, and the seconds that all took."""
    amp, nodes = graphs.load()
    graph = amp.Graph(sample_rate=RATE)
    graph.output("out", graph.add(nodes.Sine(), frequency=frequency))
    program = amp.compile(graph, amp.plan(graph, block=BLOCK))
    before = round(hours * 3600 * RATE) - RATE
    out = {"out": np.empty((1, 1, CHUNK))}
    begin = time.perf_counter()
    for _ in range(before // CHUNK):
        program.run(frames=CHUNK, out=out)
    if before % CHUNK:
        program.run(frames=before % CHUNK)
    wave = program.run(frames=RATE)["out"][0, 0]
    return wave, before, time.perf_counter() - begin


def error_in_cycles(wave: np.ndarray, frequency: float, clock: int) -> float:
    """How far the wave is off, as the phase that explains it best: by least squares of the sine's
    change with phase."""
    step = Fraction(frequency) / RATE
    cycles = np.array([float(step * t % 1) for t in range(clock, clock + len(wave))])
    slope = 2 * np.pi * np.cos(2 * np.pi * cycles)
    return float(slope @ (wave - np.sin(2 * np.pi * cycles)) / (slope @ slope))


def main() -> int:
    """Run one sine and print how far it is off; 1 if by more than is allowed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--frequency", type=float, default=1000.0, help="in Hz")
    parser.add_argument("--hours", type=float, default=24.0, help="simulated")
    options = parser.parse_args()
    wave, clock, seconds = last_second(options.frequency, options.hours)
    error = error_in_cycles(wave, options.frequency, clock)
    Console(width=100).print(
        f"{options.frequency:g} Hz, {options.hours:g} h, {clock + RATE} frames in {seconds:.1f} s: "
        f"off by {error:.2g} cycles (allowed: {ALLOWED:g})"
    )
    return int(abs(error) > ALLOWED)


if __name__ == "__main__":
    raise SystemExit(main())
