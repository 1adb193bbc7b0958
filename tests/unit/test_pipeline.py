"""The compiler's steps: what each pass makes of a small graph, and edges that are very long."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from bits import assert_same_bits

import amp
from amp import nodes
from amp.ir import parse_kernel, print_kernel, verify

if TYPE_CHECKING:
    from collections.abc import Callable

    from amp.ir import Kernel
    from amp.program import Program


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


@pytest.mark.parametrize("width", [4, 8, 16])
@pytest.mark.parametrize("lanes", [4, 8, 13, 32])
@pytest.mark.parametrize("block", [7, 8, 20, 64])
def test_lanes_of_the_caller_are_read_and_written_where_they_lie(
    width: int, lanes: int, block: int
) -> None:
    """In squares of eight frames and one by one, whatever is left of a block and of a tile; long code
    does not keep all of its coefficients in registers."""

    def compiled(batch: int, *, alone: bool) -> Program:
        g = amp.Graph(batch=batch)
        low = x = g.input("x")
        for i in range(9):
            low = g.add(nodes.Biquad(b0=0.9, b1=0.1 * i, b2=0.05, a1=-0.3, a2=0.1), low)
        g.output("out", low)
        g.output("sum", g.add(nodes.Add(), low, x))
        return amp.compile(g, None if alone else amp.plan(g, block=block, width=width))

    signal = np.random.default_rng(3).normal(size=(lanes, 1, 200))
    program, single = compiled(lanes, alone=False), compiled(1, alone=True)
    parts = [program.run({"x": part}) for part in np.split(signal, [3, 90, 91], axis=2)]
    for lane in range(lanes):
        single.reset()
        want = single.run({"x": signal[lane : lane + 1]})
        for name in ("out", "sum"):
            got = np.concatenate([part[name][lane : lane + 1] for part in parts], axis=2)
            assert_same_bits(got, want[name], f"{name}, lane {lane}")


@pytest.mark.parametrize("width", [1, 2, 4, 8])
@pytest.mark.parametrize("voices", [9, 16, 17, 40])
def test_tiles_in_pairs_and_the_last_one_alone(width: int, voices: int) -> None:
    g = amp.Graph(batch=2)
    x = g.input("x")
    some = [g.add(nodes.OnePole(cutoff=100.0 * v), x) for v in range(1, voices + 1)]
    panned = [g.add(nodes.Pan(), one, position=v / voices) for v, one in enumerate(some)]
    g.output("out", g.add(nodes.Mix(), *panned))
    signal = {"x": np.random.default_rng(4).normal(size=(2, 1, 150))}
    want = amp.compile(g).run(signal)["out"]
    got = amp.compile(g, amp.plan(g, block=32, width=width)).run(signal)["out"]
    assert_same_bits(got, want)


@pytest.mark.parametrize("shape", ["linear", "exponential"])
def test_a_choice_by_one_gate_for_all_lanes_is_the_choice_in_each(shape: str) -> None:
    """Only the arm that is chosen is computed then; KPN chooses lane by lane."""
    g = amp.Graph()
    names = ("gate", "trigger", "attack", "decay", "sustain", "release")
    streams = {name: g.input(name) for name in names}
    plain = ("gate", "attack", "release")
    some = []
    for used in [names] * 9 + [plain] * 9:
        inlets: dict[str, Any] = {name: streams[name] for name in used}
        some.append(g.add(nodes.Envelope(shape), **inlets))
    offsets = [g.add(nodes.Gain(gain=0.1 * i + 1.0), one) for i, one in enumerate(some)]
    for name, terms in (("all", offsets[:9]), ("plain", offsets[9:])):
        g.output(name, g.add(nodes.Mix(), *terms))
    rng = np.random.default_rng(5)
    slow = {name: np.repeat(rng.normal(size=8), 25) for name in names[:2]}
    special = (0.0, -0.0, 5e-324, 1e-310, 2.0**-1022, 1e300, np.inf, -np.inf, np.nan, -1e-310)
    slow["gate"][-120:] = np.repeat(special, 12)
    given = {name: rng.uniform(0.0, 1e-3, 200) for name in names[2:]} | slow
    signal = {name: array.reshape(1, 1, -1) for name, array in given.items()}
    want = amp.compile(g).run(signal)
    got = amp.compile(g, amp.plan(g, block=32)).run(signal)
    for name in ("all", "plain"):
        assert_same_bits(got[name], want[name], name)
