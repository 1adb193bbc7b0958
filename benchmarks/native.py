"""`python -m benchmarks.native`: what a call costs that native code makes, and a kernel of one's own.

The first table is one input that goes through a gain to one output, so that little but the call is left:
by `program.run`, by the handle from Python, and by the handle from a loop that numba compiled. The second
one is a leaky sum in blocks of 256 frames: traced, as `nodes.Native`, and as a bare numba loop over arrays.
Medians over rounds in turn.
"""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING, Any

import amp
import numba
import numpy as np
from amp import nodes
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Callable

BLOCKS = (1, 16, 64, 256, 1024)
LANES = (1, 8, 64)


class Leak(amp.NodeType):
    """``y = x + y / 2``."""

    inlets = (amp.Inlet("input"),)

    def forward(self, b: Any, x: Any) -> Any:
        y = x + 0.5 * b.state("y")
        b.next("y", y)
        return y


@numba.cfunc(nodes.Native.signature)
def leak(inputs, outputs, channels, state, frames, rate):  # type: ignore[no-untyped-def]
    """The same, as a kernel."""
    x, y = numba.carray(inputs[0], frames), numba.carray(outputs[0], frames)
    s = state[0]
    for k in range(frames):
        s = x[k] + 0.5 * s
        y[k] = s
    state[0] = s


@numba.njit
def bare(x, y, state):  # type: ignore[no-untyped-def]
    """The same, on arrays."""
    for b in range(x.shape[0]):
        s = state[b]
        for k in range(x.shape[2]):
            s = x[b, 0, k] + 0.5 * s
            y[b, 0, k] = s
        state[b] = s


def engine(graph: amp.Graph, name: str) -> amp.program.Program:
    """A program of the graph."""
    return amp.compile(graph, amp.plan(graph, block=256) if name == "IPLS" else None)


def medians(work: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Seconds of each, in turn."""
    seconds: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(rounds):
        for name, one in work.items():
            begin = time.perf_counter()
            one()
            seconds[name].append(time.perf_counter() - begin)
    return {name: float(np.median(some)) for name, some in seconds.items()}


def call_times(name: str, block: int, count: int, rounds: int) -> dict[str, float]:
    """Seconds of a call."""
    g = amp.Graph()
    g.output("out", 0.5 * g.input("x"))
    program = engine(g, name)
    handle = program.handle()
    run, at = handle.run, handle.program
    x, y = np.ones((1, 1, block)), np.empty((1, 1, block))
    inputs, outputs = np.array([x.ctypes.data]), np.array([y.ctypes.data])
    read, written = inputs.ctypes.data, outputs.ctypes.data

    @numba.njit
    def drive(at, read, written, block, count):  # type: ignore[no-untyped-def]
        for _ in range(count):
            run(at, read, written, block)

    def by_run() -> None:
        for _ in range(count):
            program.run({"x": x}, out={"out": y})

    def by_handle() -> None:
        for _ in range(count):
            run(at, read, written, block)

    drive(at, read, written, block, 1)
    work = {
        "run": by_run,
        "Python": by_handle,
        "numba": lambda: drive(at, read, written, block, count),
    }
    return {what: seconds / count for what, seconds in medians(work, rounds).items()}


def kernel_times(name: str, lanes: int, count: int, rounds: int) -> dict[str, float]:
    """Seconds of one lane's frame."""
    x, y = np.ones((lanes, 1, 256)), np.empty((lanes, 1, 256))
    state = np.zeros(lanes)
    work: dict[str, Callable[[], object]] = {}
    for label, node in (("traced", Leak()), ("Native", nodes.Native(leak, state={"y": 0.0}))):
        g = amp.Graph(batch=lanes)
        g.output("out", g.add(node, g.input("x")))
        handle = engine(g, name).handle()
        tables = np.array([x.ctypes.data]), np.array([y.ctypes.data])

        def drive(handle: Any = handle, tables: Any = tables) -> None:
            read, written = (table.ctypes.data for table in tables)
            for _ in range(count):
                handle.run(handle.program, read, written, 256)

        work[label] = drive

    def loop() -> None:
        for _ in range(count):
            bare(x, y, state)

    bare(x, y, state)
    work["bare"] = loop
    scale = count * lanes * 256
    return {what: seconds / scale for what, seconds in medians(work, rounds).items()}


def table_of(title: str, columns: tuple[str, ...], rows: list[list[str]]) -> Table:
    """A table whose columns are numbers."""
    table = Table(title=title)
    for column in columns:
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(*row)
    return table


def main() -> None:
    """Measure both engines and print two tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.native", description=__doc__)
    parser.add_argument("--count", type=int, default=2000, help="calls of each round")
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    calls, kernels = [], []
    for name in ("KPN", "IPLS"):
        for block in BLOCKS:
            times = call_times(name, block, options.count, options.rounds)
            shown = [f"{seconds * 1e6:.2f}" for seconds in times.values()]
            calls.append([name, str(block), *shown, f"{times['run'] / times['numba']:.0f}"])
        for lanes in LANES:
            times = kernel_times(name, lanes, options.count // 4, options.rounds)
            kernels.append([name, str(lanes), *(f"{s * 1e9:.2f}" for s in times.values())])
    console = Console(width=100)
    heads = ("engine", "frames", "run", "handle, Python", "handle, numba", "ratio")
    console.print(table_of("a call [us]", heads, calls))
    heads = ("engine", "lanes", "traced", "Native", "bare numba")
    console.print(table_of("a leaky sum [ns per frame of a lane]", heads, kernels))


if __name__ == "__main__":
    main()
