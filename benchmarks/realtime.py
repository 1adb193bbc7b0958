"""`python -m benchmarks.realtime`: how long a block takes, beside the time until it is due.

W1 with 64 voices, as a schedule of the block's own length, called block by block from Python with arrays of
the caller's (``out=``). The collector of garbage is off, as it would be in a real-time thread.
"""

from __future__ import annotations

import argparse
import gc
import time

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks import graphs, voices

BLOCKS = (32, 64, 128, 256, 512, 1024)
WARM_UP = 200


def block_times(block: int, count: int, voice_count: int) -> np.ndarray:
    """Seconds of each of ``count`` runs of ``block`` frames."""
    amp, _ = graphs.load()
    graph = graphs.voices(voices.make_voices(voice_count))
    program = amp.compile(graph, amp.plan(graph, block=block))
    gate = voices.make_gate(block * (WARM_UP + count)).reshape(1, 1, -1)
    out = {"out": np.empty((1, 2, block))}
    seconds = np.empty(WARM_UP + count)
    gc.disable()
    try:
        for i in range(len(seconds)):
            piece = gate[..., i * block : (i + 1) * block]
            begin = time.perf_counter()
            program.run({"gate": piece}, out=out)
            seconds[i] = time.perf_counter() - begin
    finally:
        gc.enable()
    return seconds[WARM_UP:]


def main() -> None:
    """Measure every block length and print one table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.realtime", description=__doc__)
    parser.add_argument("--count", type=int, default=20_000, help="blocks of each length")
    parser.add_argument("--voices", type=int, default=64)
    options = parser.parse_args()
    table = Table(title=f"{options.voices} voices, {options.count} blocks of each length, in us")
    for column in ("block", "p50", "p99", "p99.99", "max", "due after", "late"):
        table.add_column(column, justify="right")
    for block in BLOCKS:
        times = block_times(block, options.count, options.voices) * 1e6
        due = block / voices.SAMPLE_RATE * 1e6
        row = [*np.percentile(times, (50, 99, 99.99)), times.max(), due]
        table.add_row(str(block), *(f"{x:.0f}" for x in row), str(int((times > due).sum())))
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
