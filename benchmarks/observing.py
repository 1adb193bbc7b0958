"""`python -m benchmarks.observing`: what it costs to look at a program while it runs.

W1's voices, one second a run: by a schedule of 256 frames a block, and under the KPN, whose firings have as
many at most. Each round runs every way once, in another order; the ratio is that of a way to the plain
program in the same round. Times are those of the thread, so that others on the machine count less.
"""

from __future__ import annotations

import argparse
import gc
import time
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks import graphs, voices

if TYPE_CHECKING:
    from collections.abc import Callable

FRAMES = 48_000
VOICES = (8, 64, 256)
ENGINES = (("KPN", 256), ("IPLS", 256))
"""And most frames of a firing."""
WAYS: dict[str, dict[str, Any]] = {
    "plain": {},
    "again": {},
    "timing": {"timing": True},
    "raise": {"on_nonfinite": "raise"},
    "reset": {"on_nonfinite": "reset"},
}
"""Options of `amp.compile`; ``again`` is the plain program once more: what the machine does by itself."""


def runs(count: int, engine: str, block: int) -> dict[str, Callable[[], object]]:
    """One run of each way."""
    amp, _ = graphs.load()
    gate = np.ones((1, 1, FRAMES))

    def way(options: dict[str, Any]) -> Callable[[], object]:
        graph = graphs.voices(voices.make_voices(count))
        if engine == "KPN":
            program = graphs.compile_kpn(graph, block, **options)
        else:
            program = amp.compile(graph, amp.plan(graph, block=block), **options)
        return lambda: program.run({"gate": gate})

    return {name: way(options) for name, options in WAYS.items()}


def measure(ways: dict[str, Callable[[], object]], rounds: int) -> dict[str, np.ndarray]:
    """Seconds of each way by round."""
    seconds = {name: np.empty(rounds) for name in ways}
    names = [*ways]
    for run in ways.values():
        run()
    gc.disable()
    for i in range(rounds):
        for name in names[i % len(names) :] + names[: i % len(names)]:
            begin = time.thread_time()
            ways[name]()
            seconds[name][i] = time.thread_time() - begin
    gc.enable()
    return seconds


def main() -> None:
    """Measure both engines at every size and print one table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.observing", description=__doc__)
    parser.add_argument("--rounds", type=int, default=40)
    rounds = parser.parse_args().rounds
    table = Table(title=f"{rounds} rounds; medians, and quartiles of the ratio in a round")
    for column in ("voices", "engine", "frames", "way", "ms", "ratio", "quartiles"):
        table.add_column(column, justify="right")
    for count in VOICES:
        for engine, block in ENGINES:
            seconds = measure(runs(count, engine, block), rounds)
            for name, times in seconds.items():
                ratio = np.percentile(times / seconds["plain"], (25, 50, 75))
                row = (f"{1e3 * np.median(times):.2f}", f"{ratio[1]:.3f}")
                spread = f"{ratio[0]:.3f} to {ratio[2]:.3f}"
                table.add_row(str(count), engine, str(block), name, *row, spread)
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
