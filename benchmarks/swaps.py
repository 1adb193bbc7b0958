"""`python -m benchmarks.swaps`: how long a run waits for a swap, and blocks while another thread swaps.

W1's voices. ``exchange`` is what the program stands still for. The blocks are of 256 frames, run one after
another without a pause from Python while another thread swaps the graph for itself, over and over: so
they also wait for Python's lock, which the compiler holds.
"""

from __future__ import annotations

import argparse
import gc
import threading
import time

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks import graphs, voices

BLOCK = 256
VOICES = (8, 64, 500)


def exchange_times(graph: object, engine: str, count: int) -> np.ndarray:
    """Seconds of the part of a swap that a run waits for."""
    amp, _ = graphs.load()
    plan = amp.plan(graph, block=BLOCK) if engine == "IPLS" else None
    program = amp.compile(graph, plan)
    program.run({"gate": np.ones((1, 1, 1000))})
    old, new = program._instance, program.clone()._instance
    carry = new.carry_from(old)
    seconds = np.empty(count)
    for i in range(count):
        new.reset()
        begin = time.perf_counter()
        carry.run(old.clock)
        new.go_to(old.clock)
        seconds[i] = time.perf_counter() - begin
    return seconds


def block_times(graph: object, engine: str, count: int, *, swapping: bool) -> np.ndarray:
    """Seconds of each block, with or without swaps beside it."""
    amp, _ = graphs.load()
    program = amp.compile(graph, amp.plan(graph, block=BLOCK) if engine == "IPLS" else None)
    gate = np.ones((1, 1, BLOCK))
    stop = threading.Event()

    def control() -> None:
        while swapping and not stop.is_set():
            program.swap(graph)

    thread = threading.Thread(target=control)
    thread.start()
    seconds = np.empty(count)
    gc.disable()
    try:
        for i in range(count):
            begin = time.perf_counter()
            program.run({"gate": gate})
            seconds[i] = time.perf_counter() - begin
    finally:
        gc.enable()
        stop.set()
        thread.join()
    return seconds


def main() -> None:
    """Measure both engines at every size and print one table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.swaps", description=__doc__)
    parser.add_argument("--count", type=int, default=2000, help="blocks of each row")
    options = parser.parse_args()
    table = Table(title=f"{options.count} blocks of {BLOCK} frames, times in us")
    columns = ("nodes", "engine", "exchange p50", "most", "block p50", "p99", "swapping p50", "p99")
    for column in columns:
        table.add_column(column, justify="right")
    for count in VOICES:
        graph = graphs.voices(voices.make_voices(count))
        for engine in ("KPN", "IPLS"):
            exchange = exchange_times(graph, engine, 100) * 1e6
            row = [np.median(exchange), exchange.max()]
            for swapping in (False, True):
                times = block_times(graph, engine, options.count, swapping=swapping) * 1e6
                row += [*np.percentile(times, (50, 99))]
            table.add_row(str(len(graph.nodes)), engine, *(f"{x:.0f}" for x in row))
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
