"""The phase of oscillators, asked of exact arithmetic: Python's integers and fractions."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from bits import assert_same_bits
from interpret import turns

import amp
from amp import nodes
from amp.errors import BadIR
from amp.ir import Builder

if TYPE_CHECKING:
    from bits import Array

    from amp.contract import NodeType, Trace
    from amp.ir import Value
    from amp.program import Program

KINDS = [nodes.Sine, nodes.Saw, nodes.Square, nodes.Triangle]
TURN = 1 << 64
DAY = 24 * 60 * 60
RNG = np.random.default_rng(12)


def program_of(kind: NodeType, frequency: Any, rate: float, block: int = 0) -> Program:
    """One oscillator at a constant frequency or, of a number of channels, on input ``f``."""
    g = amp.Graph(rate)
    given = g.input("f", frequency) if isinstance(frequency, int) else frequency
    g.output("out", g.add(kind, frequency=given))
    return amp.compile(g, amp.plan(g, block) if block else None)


def phases(program: Program) -> list[int]:
    """Phase in each channel, in multiples of 2^-64."""
    (states,) = program.state().nodes.values()
    return [int(n) % TURN for n in states["phase"][0]]


def exact(frequency: float, rate: float) -> Fraction:
    """A frame's step, in multiples of 2^-64."""
    held = min(max(Fraction(frequency), Fraction(rate) / -2), Fraction(rate) / 2)
    return held / Fraction(rate) * TURN


def centred(step: Fraction) -> Fraction:
    """The same turn, at most half of one away from 0."""
    return (step + TURN // 2) % TURN - TURN // 2


@pytest.mark.parametrize("rate", [48_000.0, 44_100.0, 22_050.5, 1.0, 1e-3, 192e3])
def test_a_step_is_the_nearest_turn(rate: float) -> None:
    """Within 2^-65, so that after a day at 48 kHz a phase is off by less than 1.2e-10 turns."""
    random = np.concatenate(
        [
            RNG.uniform(-0.5, 0.5, 1500) * rate,
            RNG.choice([-1, 1], 1500) * rate * 0.5 ** RNG.uniform(1, 80, 1500),
        ]
    )
    special = [0.5, -0.5, 0.25, 1 / 3, 0.0, -0.0, 2.0**-64, -(2.0**-65), 2.0**-32, 1e-300, -5e-324]
    frequencies = np.concatenate([random, np.array(special) * rate])
    program = program_of(nodes.Sine(), len(frequencies), rate, 64)
    program.run({"f": frequencies.reshape(1, -1, 1)})
    bound = Fraction(1, 2) + Fraction(1, 1 << 20)
    for frequency, got in zip(frequencies.tolist(), phases(program), strict=True):
        assert abs(centred(got - exact(frequency, rate))) <= bound, frequency
    assert bound / TURN * DAY * 48_000 < 1.2e-10


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("block", [0, 8])
def test_steps_add_up_without_rounding(kind: type[NodeType], block: int) -> None:
    """Over any split of a run, and through a snapshot."""
    rate, frames = 44_100.0, 3000
    frequencies = RNG.uniform(-30_000.0, 30_000.0, (1, 3, frames))
    program = program_of(kind(phase=0.3), 3, rate, block)
    state, at = program.state(), 0
    while at < frames:
        size = int(RNG.integers(1, 700))
        program.restore(state)
        program.run({"f": frequencies[..., at : at + size].copy()})
        state, at = program.state(), min(at + size, frames)
    start = round(Fraction(0.3) * TURN)
    for channel, got in enumerate(phases(program)):
        steps = [round(exact(f, rate)) for f in frequencies[0, channel].tolist()]
        assert got == (start + sum(steps)) % TURN


@pytest.mark.parametrize("frequency", [1000.0, -440.1, 0.1, 23_999.9])
def test_a_sine_is_in_phase_after_a_day(frequency: float) -> None:
    """What a day of exact additions leaves is put into a snapshot; the closed form goes on from it."""
    rate, frames = 48_000.0, DAY * 48_000
    program = program_of(nodes.Sine(), frequency, rate, 64)
    program.run(frames=1)
    (step,) = phases(program)
    late = np.array([[frames * step % TURN]], np.uint64).view(np.int64)
    state = program.state()
    (name,) = state.nodes
    program.restore(replace(state, clock=frames, nodes={name: {"phase": late}}))
    got = program.run(frames=256)["out"][0, 0]
    cycles = [Fraction(frequency) / 48_000 * t % 1 for t in range(frames, frames + 256)]
    want = np.sin(2 * np.pi * np.array([float(c) for c in cycles]))
    np.testing.assert_allclose(got, want, rtol=0, atol=2 * np.pi * 1.3e-10)


@pytest.mark.parametrize("kind", [*KINDS, lambda **p: nodes.Saw(4, **p)])
@pytest.mark.parametrize(
    "frequency", [0.0, 440.0, -1234.5, 1e-9, 23_999.0, -24_000.0, 1e-300, 7_777.7]
)
def test_a_constant_is_a_stream_of_itself(kind: Any, frequency: float) -> None:
    constant = program_of(kind(phase=0.7), frequency, 48_000.0, 32)
    want = constant.run(frames=500)["out"]
    for block in (0, 32):
        stream = program_of(kind(phase=0.7), 1, 48_000.0, block)
        assert_same_bits(stream.run({"f": np.full((1, 1, 500), frequency)})["out"], want)
        assert phases(stream) == phases(constant)


def half_rate(kind: NodeType, frequency: float) -> Array:
    frequencies = np.full((1, 1, 6), frequency)
    wave: Array = program_of(kind, 1, 48_000.0, 8).run({"f": frequencies})["out"][0, 0]
    return wave


@pytest.mark.parametrize("kind", KINDS)
def test_frequencies_are_held_within_half_the_rate(kind: type[NodeType]) -> None:
    node = kind(phase=0.125)
    top, bottom = half_rate(node, 24_000.0), half_rate(node, -24_000.0)
    np.testing.assert_array_equal(top, bottom)  # half a turn, either way
    np.testing.assert_array_equal(top[2:], top[:-2])
    assert np.abs(top).max() <= 1.0
    for above in (24_000.1, 1e9, 1e300, np.inf):
        assert_same_bits(half_rate(node, above), top)
        assert_same_bits(half_rate(node, -above), bottom)
    assert_same_bits(half_rate(node, np.nan), bottom)


class Compass(amp.NodeType):
    """Turns on by nothing from ``cycles``, and from a quarter before 0. For tests."""

    cycles: float
    params = ("cycles",)
    inlets = (amp.Inlet("frequency"),)

    def forward(self, b: Trace, frequency: Value) -> Value:
        for name, start in (("phase", "cycles"), ("quarter", -0.25)):
            turn = b.tstate(name, start)
            b.next(name, b.tadd(turn, b.to_turn(b.const(0.0), 1.0)))
        return frequency


@pytest.mark.parametrize("cycles", [0.0, 0.5, 1 / 3, 1 - 2**-53, 2.0**-64, 2.0**-65, 1e-19, 7.75])
def test_states_start_at_the_nearest_turns(cycles: float) -> None:
    program = program_of(Compass(amp.Param(0.0, name="start")), 1, 48_000.0, 8)
    for start in (cycles, cycles - 3.0, -cycles):
        program.set("start", start)
        assert phases(program) == [int(n) % TURN for n in turns(np.array([start]))]
    ((quarter,),) = program.state().nodes["compass.0"]["quarter"]
    assert quarter == -(1 << 62)


def test_a_turn_is_made_per_a_positive_number() -> None:
    with pytest.raises(BadIR, match="per a positive number"):
        Builder().to_turn(1.0, 0.0)
