"""`python -m benchmarks.growth`: what it costs that a ring grows, token by token.

A million tokens pile up before a `Select` that never takes them, in a ring that has room for 16 at first. The
same run again, after a reset, finds the ring as large as it has to be.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks import graphs


def main() -> None:
    """Measure both kinds of run in turn and print one table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__)
    parser.add_argument("--tokens", type=int, default=1_000_000)
    parser.add_argument("--repeat", type=int, default=9)
    options = parser.parse_args()
    amp, nodes = graphs.load()
    graph = amp.Graph()
    x, control = graph.input("x"), graph.input("control")
    taken = graph.add(nodes.Select(), x, graph.add(nodes.Gain(), x, gain=2.0), control)
    graph.output("out", amp.edge(taken, default=0.0))
    first = amp.compile(graph)
    ones = np.ones((1, 1, options.tokens))
    inputs, out = {"x": ones, "control": ones}, {"out": np.empty_like(ones)}
    seconds: dict[str, list[float]] = {"growing": [], "grown": []}
    for _ in range(options.repeat):
        program = first.clone()
        for kind, some in seconds.items():
            begin = time.perf_counter()
            program.run(inputs, out=out)
            some.append(time.perf_counter() - begin)
            assert np.array_equal(out["out"], ones), kind
            program.reset()
    (ring,) = [use for use in program.memory.rings if use.source.startswith("gain")]
    table = Table(title=f"{options.tokens} tokens, {len(ring.growth)} doublings")
    for column in ("ring", "median", "IQR", "ns a token", "x grown"):
        table.add_column(column, justify="right")
    grown = float(np.median(seconds["grown"]))
    for kind, some in seconds.items():
        low, median, high = np.percentile(some, (25, 50, 75))
        each = 1e9 * median / options.tokens
        cells = (f"{1e3 * median:.1f} ms", f"{1e3 * (high - low):.1f} ms", f"{each:.1f}")
        table.add_row(kind, *cells, f"{median / grown:.2f}")
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
