"""The compiler's steps: what each pass makes of a small graph, and edges that are very long."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from bits import assert_same_bits

import amp
from amp import nodes
from amp.ir import parse_kernel, print_kernel, verify

if TYPE_CHECKING:
    from collections.abc import Callable

    from amp.ir import Kernel


def test_ir_of_every_pass_is_the_golden_one(golden: Callable[[str, str], None]) -> None:
    """Two voices through a filter; ``pytest --update-golden`` writes the file anew."""
    g = amp.Graph()
    x = g.input("x")
    voices = [g.add(nodes.OnePole(cutoff=f), f * x) for f in (100.0, 200.0)]
    g.output("out", g.add(nodes.Mix(), *voices))
    seen: list[str] = []

    def watch(name: str, kernel: Kernel) -> None:
        text = print_kernel(kernel)
        assert print_kernel(verify(parse_kernel(text))) == text
        seen.append(f"# {name}\n{text}")

    program = amp.compile(g, amp.plan(g, 64), watch=watch)
    golden("pipeline.txt", "\n\n".join([*seen, "# explain", program.explain()]) + "\n")


@pytest.mark.parametrize("block", [0, 1, 37, 4096])
@pytest.mark.parametrize("delay, tokens", [(100_000, 0), (0, 70_000), (50_000, 60_001), (3, 3)])
def test_edges_may_be_long(delay: int, tokens: int, block: int) -> None:
    g = amp.Graph()
    x = g.input("x")
    y = g.add(nodes.Gain(gain=2.0), amp.edge(x, delay=delay, initial=(0.5, tokens)))
    g.output("out", g.add(nodes.Add(), y, x))
    latency = max(0, delay - tokens)
    program = amp.compile(g, amp.plan(g, block) if block else None)
    assert program.latency == {"out": latency}
    count = latency + tokens + 50
    signal = np.arange(1.0, count + 1.0)
    out = program.run({"x": signal.reshape(1, 1, -1)})["out"][0, 0]
    late = np.concatenate([np.full(tokens, 1.0), 2.0 * signal])
    want = np.zeros(count)
    want[latency:] = late[: count - latency] + signal[: count - latency]
    assert_same_bits(out, want)


@pytest.mark.parametrize("block", [0, 64])
@pytest.mark.parametrize("swapped", [False, True])
def test_outputs_may_be_written_over_inputs(block: int, swapped: bool) -> None:
    """Each over its own input, or over the other one's."""
    g = amp.Graph(batch=20)
    for name in "ab":
        g.output(f"out {name}", g.add(nodes.OnePole(cutoff=500.0), g.input(name)))
    program = amp.compile(g, amp.plan(g, block) if block else None)
    rng = np.random.default_rng(2)
    given = {name: rng.normal(size=(20, 1, 500)) for name in "ab"}
    want = program.run(given)
    program.reset()
    buffers = {name: array.copy() for name, array in given.items()}
    over = dict(zip("ab", "ba" if swapped else "ab", strict=True))
    program.run(buffers, out={f"out {name}": buffers[over[name]] for name in "ab"})
    for name in "ab":
        assert_same_bits(buffers[over[name]], want[f"out {name}"], name)
