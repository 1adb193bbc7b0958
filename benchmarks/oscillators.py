"""`python -m benchmarks.oscillators`: what a voice of each oscillator and shaper costs.

Nanoseconds per voice and frame, on one thread, with a block of 256; each node alone, at a constant frequency
and with a stream of it. Least of the rounds, which go through all of them in turn.
"""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING, Any

import amp
import numpy as np
from amp import nodes
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Callable

RATE = 48_000
SYNC: dict[str, Any] = {"sync_frequency": 777.0}
OSCILLATORS: dict[str, tuple[amp.NodeType, dict[str, Any]]] = {
    "Saw, 2 points": (nodes.Saw(), {}),
    "Saw, 4 points": (nodes.Saw(points=4), {}),
    "Square": (nodes.Square(), {}),
    "Oscillator, saw": (nodes.Oscillator("saw"), {}),
    "Oscillator, triangle": (nodes.Oscillator("triangle"), {}),
    "Oscillator, pulse": (nodes.Oscillator("pulse"), {}),
    "Oscillator, saw, hard sync": (nodes.Oscillator("saw"), SYNC),
    "Oscillator, saw, soft sync": (nodes.Oscillator("saw", "soft"), SYNC),
    "Oscillator, pulse, hard sync": (nodes.Oscillator("pulse"), SYNC),
    "Wavetable, 2048": (nodes.Wavetable(np.linspace(-1, 1, 2049)[:-1]), {}),
    "Harmonics, 16": (nodes.Harmonics(1 / np.arange(1, 17)), {}),
    "Harmonics, 64": (nodes.Harmonics(1 / np.arange(1, 65)), {}),
}
SHAPERS: dict[str, amp.NodeType] = {
    "Function, tanh": nodes.Function("tanh"),
    "Shaper, tanh, order 1": nodes.Shaper("tanh"),
    "Shaper, tanh, order 2": nodes.Shaper("tanh", order=2),
    "Shaper, clip, order 1": nodes.Shaper("clip"),
    "Shaper, clip, order 2": nodes.Shaper("clip", order=2),
}


def runner(
    node: amp.NodeType, inlets: dict[str, Any], x: np.ndarray[Any, Any], *, stream: bool
) -> Callable[[], object]:
    """A second of the node alone, with ``x`` as its first inlet."""
    g = amp.Graph(RATE, batch=len(x))
    g.output("out", g.add(node, g.input("x") if stream else x[..., 0], **inlets))
    program = amp.compile(g, amp.plan(g, block=256), heat=0)
    return lambda: program.run({"x": x} if stream else {}, frames=RATE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--voices", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    pitches = np.geomspace(55.0, 5000.0, options.voices).reshape(-1, 1, 1) * np.ones(RATE)
    noise = np.random.default_rng(1).normal(size=pitches.shape)
    work = {
        (name, stream): runner(node, inlets, pitches, stream=stream)
        for name, (node, inlets) in OSCILLATORS.items()
        for stream in (False, True)
    }
    work |= {(name, True): runner(node, {}, noise, stream=True) for name, node in SHAPERS.items()}
    least: dict[tuple[str, bool], float] = {}
    for _ in range(options.rounds):
        for key, run in work.items():
            begin = time.perf_counter()
            run()
            least[key] = min(least.get(key, np.inf), time.perf_counter() - begin)
    table = Table("node", "constant [ns]", "stream [ns]")
    for name in [*OSCILLATORS, *SHAPERS]:
        seconds = (least.get((name, stream)) for stream in (False, True))
        table.add_row(name, *("-" if s is None else f"{1e9 * s / noise.size:.2f}" for s in seconds))
    Console().print(table)


if __name__ == "__main__":
    main()
