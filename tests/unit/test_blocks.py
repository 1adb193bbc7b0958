"""Calls of blocks: state, rates, several ports, sizes, scratch; in every schedule, and however wide."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from bits import assert_same_bits
from leaky import Leaky, LeakyTwin, leaky, reference

import amp
from amp import nodes
from amp.errors import ArchetypeUnavailable, BadIR, BadNode
from amp.ir import parse_kernel, print_kernel, verify

if TYPE_CHECKING:
    from amp.contract import NodeType
    from amp.jit.archetypes import Archetype
    from amp.program import Program

__all__ = ["leaky"]
DECAY = np.array([0.5, -0.25, 0.875])
OUTPUTS = ("out", "first", "second")


def graph(kind: type[NodeType], gain: Any = None) -> amp.Graph:
    """Two streams interleaved, and the second outlet taken apart again."""
    g = amp.Graph(batch=2)
    x = g.add(nodes.Commutator(), g.input("x", 3), g.input("y", 3))
    gain = g.input("gain") if gain == "stream" else gain
    out, twice = g.add(kind(amp.Param(DECAY, name="decay")), x, gain=gain, name="leaky")
    for name, stream in zip(OUTPUTS, (out, *g.add(nodes.Distributor(), twice)), strict=True):
        g.output(name, stream)
    return g


def inputs(frames: int, gain: Any = None) -> dict[str, Any]:
    rng = np.random.default_rng(frames)
    given = {name: rng.normal(size=(2, 3, frames)) for name in "xy"}
    return {**given, "gain": rng.normal(size=(2, 1, frames))} if gain == "stream" else given


def run(program: Program, given: dict[str, Any], cuts: list[int]) -> dict[str, Any]:
    """What pieces of a run give, one after another."""
    ends = np.cumsum(cuts)
    parts = [
        program.run({name: a[..., end - cut : end] for name, a in given.items()})
        for end, cut in zip(ends, cuts, strict=True)
    ]
    return {name: np.concatenate([part[name] for part in parts], axis=2) for name in OUTPUTS}


@pytest.mark.parametrize("gain", [None, "stream", 0.75])
def test_an_archetype_is_its_twin_in_every_schedule(leaky: Archetype, gain: Any) -> None:
    given = inputs(203, gain)
    want = amp.compile(graph(LeakyTwin, gain)).run(given)
    x = np.stack([given["x"], given["y"]], axis=-1).reshape(2, 3, -1)
    gains = given.get("gain", np.full((1, 1, 203), gain or 1.0))
    for name, value in zip(OUTPUTS, reference(x, DECAY, gains), strict=True):
        np.testing.assert_allclose(want[name], value, rtol=1e-13, atol=1e-13)
    g = graph(Leaky, gain)
    for ipls in (None, *(amp.plan(g, block) for block in (1, 6, 64, 256))):
        for threads in (1, 2):
            program = amp.compile(g, ipls, threads=threads)
            for cuts in ([203], [1, 100, 7, 95]):
                program.reset()
                got = run(program, given, cuts)
                for name in OUTPUTS:
                    assert_same_bits(got[name], want[name])


def test_snapshots_clones_and_swaps_keep_what_it_remembers(leaky: Archetype) -> None:
    given, g = inputs(90), graph(Leaky)
    whole = amp.compile(g).run(given)
    first, last = ({n: a[..., cut] for n, a in given.items()} for cut in (slice(40), slice(40, 90)))
    giver = amp.compile(g, amp.plan(g, 16))
    giver.run(first)
    others = [giver.clone(), amp.compile(g), amp.compile(g, amp.plan(g, 64))]
    for other in others:
        other.restore(giver.state())
    giver.swap(graph(Leaky), amp.plan(g, 32))
    for program in (giver, *others):
        got = program.run(last)
        for name in OUTPUTS:
            assert_same_bits(got[name], whole[name][..., 40:])
    giver.reset()
    assert_same_bits(giver.run(given)["second"], whole["second"])


@pytest.mark.parametrize("every", [1, 23])
def test_its_heat_is_that_of_its_twin(leaky: Archetype, every: int) -> None:
    """All tokens of a measured firing are added up, whatever cuts the run into calls and cells; all planes in one
    sum."""
    given = inputs(9000)
    twin = amp.compile(graph(LeakyTwin), heat=every).run(given)
    g = graph(Leaky)
    want = amp.compile(g, heat=every).run(given)
    for name, heat in twin.heat.items():
        np.testing.assert_allclose(want.heat[name], heat, rtol=1e-13)
    for block in (64, 300):
        got = amp.compile(g, amp.plan(g, block), heat=every).run(given)
        for name, heat in want.heat.items():
            assert_same_bits(got.heat[name], heat)


def test_what_is_prepared_follows_its_params(leaky: Archetype) -> None:
    given = inputs(20)
    programs = [amp.compile(graph(kind)) for kind in (Leaky, LeakyTwin)]
    for program in programs:
        program.set("decay", DECAY[::-1].copy())
    got, want = (program.run(given) for program in programs)
    for name in OUTPUTS:
        assert_same_bits(got[name], want[name])


def test_it_cannot_be_had_in_ir_and_says_so(leaky: Archetype) -> None:
    with pytest.raises(ArchetypeUnavailable, match=r"Leaky is computed by a prebuilt kernel alone"):
        amp.compile(graph(Leaky), archetypes="ir")
    said = amp.compile(graph(Leaky), on_nonfinite="raise").explain()
    assert "'leaky': 2 lane(s) of width 1, archetype leaky" in said


def test_the_text_of_its_ir_is_read_back_and_verified(leaky: Archetype) -> None:
    program = amp.compile(graph(Leaky, 0.5))
    call = next(c for c in program._instance.bound.lowered.calls if c.code.kernel.block)
    text = print_kernel(call.code.kernel)
    assert print_kernel(verify(parse_kernel(text))) == text
    for line, wrong in (
        ("argument in 0 3", "argument in 1 3"),
        ("argument constant 0 1", "argument constant 1 1"),
        ("result 1 3 0", "result 2 3 0"),
        ("in 0 table 3 rate 2 step 2", "in 0 aligned 3 rate 2 step 2"),
        ("archetype leaky", ""),
    ):
        assert line in text
        with pytest.raises(BadIR):
            verify(parse_kernel(text.replace(line, wrong)))


def test_sizes_are_whole_numbers(leaky: Archetype) -> None:
    class Half(Leaky, register=False):
        def sizes(self, widths: dict[str, int]) -> tuple[int, ...]:
            return widths["input"], self.count / 2  # type: ignore[return-value]

    with pytest.raises(BadNode, match=r"Half\.sizes are whole numbers from 0"):
        amp.compile(graph(Half))


def test_no_code_grows_with_the_number_of_planes(leaky: Archetype) -> None:
    lengths = []
    for width in (16, 4096):
        g = amp.Graph()
        x = g.input("x", width)
        out, _ = g.add(Leaky(np.full(width, 0.5), 1), x)
        g.output("out", out)
        program = amp.compile(g)
        lengths.append(len(program.ir))
        np.testing.assert_array_equal(
            program.run({"x": np.ones((1, width, 2))})["out"][..., 1], 1.5
        )
    assert abs(lengths[0] - lengths[1]) < 50
