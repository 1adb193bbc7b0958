"""Attack, hold, decay, sustain, release."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from amp.contract import Inlet, NodeType, Trace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from amp.ir import Value

ATTACK_OVERSHOOT = 0.3
FALL_OVERSHOOT = 1e-4
TOP = 1.0 - 1e-9
"""From here an attack has arrived: sums of rounded steps may miss 1 by a little."""

SETTLED = 2.0**53
"""Count of held frames once the hold is over, whatever a stream on ``hold`` does then."""


class Envelope(NodeType):
    """Envelope in [0, 1] that follows a gate; its output is the level e after this frame's move.

    With neither ``hold``, ``decay`` nor ``sustain`` given, an attack and a release; linear::

        e <- min(1, e + 1 / (attack sample_rate))      while gate > 0
        e <- max(0, e - 1 / (release sample_rate))     otherwise

    Otherwise the gate opens an attack, which ends in the frame that reaches 1; then e rests for
    ``hold`` seconds (rounded up to frames), then moves to ``sustain`` at the pace of ``decay``, up
    or down, and stays with it. A rising edge of ``trigger`` (from 0 or below to above 0) while the
    gate is open starts the attack again from the present level. (Without a sustain the trigger
    changes nothing: e is on its way to 1, or there.)

    Each time is that of a whole ramp between 0 and 1, in seconds; times of less than one frame take
    one frame. ``exponential`` ramps approach a target beyond their end, and stop at the end::

        e <- target + (e - target) (r / (1 + r)) ^ (1 / (time sample_rate))
        attack: r = 0.3, target 1 + r;   decay, release: r = 0.0001, target r beyond sustain or 0

    Source: N. Redmon, "Envelope generators - ADSR code", EarLevel Engineering, 2013.

    Inlets: ``gate`` (open above 0); ``trigger``; ``attack`` (0.01 s), ``hold`` (0 s), ``decay`` (0
    s), ``release`` (0.1 s), held at 0 or more; ``sustain`` (1), held in [0, 1].

    Parameters
    ----------
    shape
        ``linear`` or ``exponential``.

    Examples
    --------
    >>> Envelope("exponential", attack=0.02, sustain=0.5)
    Envelope(shape='exponential', attack=0.02, sustain=0.5)
    """

    shape: str = "linear"
    inlets = (
        Inlet("gate"),
        Inlet("trigger", optional=True),
        Inlet("attack", default=0.01, unit="s", low=0.0),
        Inlet("hold", unit="s", low=0.0, optional=True),
        Inlet("decay", unit="s", low=0.0, optional=True),
        Inlet("sustain", low=0.0, high=1.0, optional=True),
        Inlet("release", default=0.1, unit="s", low=0.0),
    )

    def check(self) -> None:
        self.one_of("shape", ("linear", "exponential"))

    def forward(
        self,
        b: Trace,
        gate: Value,
        trigger: Value | None,
        attack: Value,
        hold: Value | None,
        decay: Value | None,
        sustain: Value | None,
        release: Value,
    ) -> Value:
        level = b.state("level")
        is_open = gate > 0.0
        if hold is None and decay is None and sustain is None:
            if self.shape == "linear":
                risen, fallen = level + _step(b, attack), level - _step(b, release)
            else:
                rise, fall = _pull(b, attack, up=True), _pull(b, release)
                risen = b.fma(level, rise, (1.0 + ATTACK_OVERSHOOT) * (1.0 - rise))
                fallen = b.fma(level, fall, -FALL_OVERSHOOT * (1.0 - fall))
            # with one gate for all lanes only one of the two is computed
            level = b.select(is_open, b.min(risen, 1.0), b.max(fallen, 0.0))
            b.next("level", level)
            return level

        wanted = b.clip(b.const(1.0) if sustain is None else sustain, 0.0, 1.0)
        decay = b.const(0.0) if decay is None else decay
        if self.shape == "linear":
            risen = level + _step(b, attack)
            pace = _step(b, decay)
            settled = level + b.clip(wanted - level, -pace, pace)
            fallen = level - _step(b, release)
        else:
            top = 1.0 + ATTACK_OVERSHOOT
            risen = b.fma(level - top, _pull(b, attack, up=True), top)
            pull = _pull(b, decay)
            below, above = wanted - FALL_OVERSHOOT, wanted + FALL_OVERSHOOT
            down = b.max(b.fma(level - below, pull, below), wanted)
            up = b.min(b.fma(level - above, pull, above), wanted)
            settled = b.select(level > wanted, down, up)
            fallen = b.fma(level + FALL_OVERSHOOT, _pull(b, release), -FALL_OVERSHOOT)

        # rested: frames held so far; -1 before and during the attack, and while the gate is closed
        rested = b.state("rested", -1.0)
        rising = rested < 0.0
        if trigger is not None:
            high = b.select(trigger > 0.0, 1.0, 0.0)
            rising = rising | (b.state("trigger") < high)
            b.next("trigger", high)
        arrived = risen >= TOP
        risen = b.select(arrived, 1.0, risen)
        holds = b.const(0.0) if hold is None else b.max(hold, 0.0) * b.sample_rate
        resting = rested < holds
        opened = b.select(rising, risen, b.select(resting, level, settled))
        count = b.select(resting, rested + 1.0, SETTLED)
        count = b.select(rising, b.select(arrived, 0.0, -1.0), count)
        level = b.select(is_open, opened, b.max(fallen, 0.0))
        b.next("level", level)
        b.next("rested", b.select(is_open, count, -1.0))
        return level

    def reference(
        self,
        sample_rate: float,
        frames: int,
        *,
        gate: NDArray[np.float64],
        trigger: NDArray[np.float64] | None = None,
        attack: NDArray[np.float64],
        hold: NDArray[np.float64] | None = None,
        decay: NDArray[np.float64] | None = None,
        sustain: NDArray[np.float64] | None = None,
        release: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        plain = hold is None and decay is None and sustain is None
        zero, one = np.zeros((1, 1, frames)), np.ones((1, 1, frames))
        streams = np.broadcast_arrays(
            gate,
            zero if trigger is None else trigger,
            attack,
            zero if hold is None else hold,
            zero if decay is None else decay,
            one if sustain is None else sustain,
            release,
        )
        out = np.empty(streams[0].shape)
        for lane in np.ndindex(out.shape[:2]):
            level, stage, rested, was_high = 0.0, "attack", 0.0, False
            for t in range(frames):
                gate_, trigger_, attack_, hold_, decay_, sustain_, release_ = (
                    float(stream[lane][t]) for stream in streams
                )
                if (trigger_ > 0 and not was_high) or gate_ <= 0:
                    stage, rested = "attack", 0.0
                was_high = trigger_ > 0
                if gate_ <= 0:
                    level = self._toward(level, 0.0, release_ * sample_rate)
                elif stage == "attack":
                    level = self._toward(level, 1.0, attack_ * sample_rate, attack=True)
                    if not plain and level >= TOP:
                        level, stage = 1.0, "hold"
                elif rested < max(hold_, 0) * sample_rate:
                    rested += 1
                else:
                    rested = SETTLED
                    wanted = min(max(sustain_, 0.0), 1.0)
                    level = self._toward(level, wanted, decay_ * sample_rate)
                out[lane][t] = level
        return out

    def _toward(self, level: float, end: float, frames: float, *, attack: bool = False) -> float:
        """One frame of a ramp; for tests."""
        sign = 1.0 if attack or end >= level else -1.0
        if self.shape == "linear":
            moved = level + sign / max(frames, 1.0)
        else:
            r = ATTACK_OVERSHOOT if attack else FALL_OVERSHOOT
            target = end + sign * r
            moved = target + (level - target) * (r / (1 + r)) ** (1 / max(frames, 1 / 64))
        return min(moved, end) if sign > 0 else max(moved, end)

    @classmethod
    def samples(cls) -> Iterator[NodeType]:
        yield cls()
        yield cls(attack=0.0, release=0.0)
        yield cls("exponential", attack=0.001, release=0.003)
        for shape in ("linear", "exponential"):
            yield cls(shape, attack=2e-4, hold=5e-5, decay=2e-4, sustain=0.5, release=1e-3)
        yield cls("linear", trigger=1.0, attack=1e-4, decay=1e-3, sustain=0.25)

    @classmethod
    def refuses(cls) -> Iterator[tuple[dict[str, Any], str]]:
        yield {"shape": "cubic"}, "Envelope.shape is one of 'linear', 'exponential'"


def _step(b: Trace, seconds: Value) -> Value:
    """Share of a ramp that a frame takes."""
    return 1.0 / b.max(seconds * b.sample_rate, 1.0)


def _pull(b: Trace, seconds: Value, *, up: bool = False) -> Value:
    """What is left, after a frame, of the distance to a target beyond the end."""
    r = ATTACK_OVERSHOOT if up else FALL_OVERSHOOT
    return b.exp(float(np.log(r / (1 + r))) / b.max(seconds * b.sample_rate, 1 / 64))
