"""What resamplers, systems and circuits cost, beside SciPy where it has the same.

``python -m benchmarks.filters`` prints nanoseconds of processor time per frame and signal, the median of many
runs of one second of 1 and of 8 signals under a schedule of blocks of 256, interleaved with SciPy's.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import signal

from benchmarks import delay_network, graphs

if TYPE_CHECKING:
    from collections.abc import Callable

RATE = 48_000
SECONDS = 2.0
"""How long each case runs."""


def resampling(up: int, down: int, quality: str, batch: int) -> tuple[Any, Callable[[Any], Any]]:
    """There by so much and back by as much, and SciPy's polyphase filter with the same coefficients."""
    amp, nodes = graphs.load()
    g = amp.Graph(RATE, batch)
    there, back = nodes.Resample(up, down, quality), nodes.Resample(down, up, quality)
    g.output("out", g.add(back, g.add(there, g.input("x"))))

    def peer(x: Any) -> Any:
        middle = signal.upfirdn(there.coefficients, x, up, down)
        return signal.upfirdn(back.coefficients, middle, down, up)

    return g, peer


def system(states: int, batch: int) -> tuple[Any, Callable[[Any], Any] | None]:
    """A random system of one input and output; SciPy steps through it in Python, so there is no peer."""
    amp, nodes = graphs.load()
    rng = np.random.default_rng(1)
    a = rng.normal(size=(states, states))
    a *= 0.9 / abs(np.linalg.eigvals(a)).max()
    g = amp.Graph(RATE, batch)
    matrices = a, rng.normal(size=(states, 1)), rng.normal(size=(1, states)), [[0.0]]
    g.output("out", g.add(nodes.StateSpace(*matrices), g.input("x")))
    return g, None


def node(make: Callable[[Any], Any], batch: int) -> tuple[Any, None]:
    """One node, its first outlet heard."""
    amp, nodes = graphs.load()
    g = amp.Graph(RATE, batch)
    made = g.add(make(nodes), g.input("x"))
    g.output("out", made[0] if isinstance(made, tuple) else made)
    return g, None


def room(batch: int) -> tuple[Any, None]:
    """The lines of W3 in one node."""
    lines = delay_network.LENGTHS
    sides = np.zeros((2, len(lines)))
    sides[0, ::2] = sides[1, 1::2] = 1.0
    return node(
        lambda nodes: nodes.FDN(lines, np.ones(len(lines)), np.ones((len(lines), 1)), sides),
        batch,
    )


CASES: dict[str, Callable[[int], tuple[Any, Any]]] = {
    "2x good": lambda n: resampling(2, 1, "good", n),
    "4x good": lambda n: resampling(4, 1, "good", n),
    "4x best": lambda n: resampling(4, 1, "best", n),
    "8/7 best": lambda n: resampling(8, 7, "best", n),
    "Varispeed good": lambda n: node(lambda nodes: nodes.Varispeed(4800, ratio=1.001), n),
    "StateSpace 4": lambda n: system(4, n),
    "StateSpace 16": lambda n: system(16, n),
    "RLC of 5": lambda n: node(
        lambda nodes: nodes.RLC(
            ("series R", "parallel C", "series L", "parallel C", "parallel R"),
            [600.0, 1e-7, 1e-1, 1e-7, 600.0],
        ),
        n,
    ),
    "DiodeClipper": lambda n: node(lambda nodes: nodes.DiodeClipper(), n),
    "FDN of 16": room,
    "W3 as a graph": lambda _: (graphs.delay_network(), None),
}


def spent(work: Callable[[], Any]) -> int:
    """Nanoseconds of this thread."""
    before = time.thread_time_ns()
    work()
    return time.thread_time_ns() - before


def main() -> None:
    print(f"{'':16} {'signals':>7} {'compile s':>9} {'ns':>8} {'SciPy ns':>9}")
    for name, make in CASES.items():
        for batch in (1, 8):
            graph, peer = make(batch)
            if graph.batch != batch:
                continue
            begin = time.perf_counter()
            program = graphs.compile_ipls(graph)
            compiled = time.perf_counter() - begin
            x = np.random.default_rng(2).normal(size=(batch, 1, RATE))
            work: list[Callable[[], Any]] = [lambda p=program, x=x: p.run({"x": x})]
            if peer:
                work.append(lambda f=peer, x=x: f(x))
            times: list[list[int]] = [[] for _ in work]
            until = time.perf_counter() + SECONDS
            while time.perf_counter() < until:
                for one, list_ in zip(work, times, strict=True):
                    list_.append(spent(one))
            medians = [float(np.median(list_)) / (batch * RATE) for list_ in times]
            words = "".join(f" {ns:9.1f}" for ns in medians)
            print(f"{name:16} {batch:7} {compiled:9.2f}{words}", flush=True)


if __name__ == "__main__":
    main()
