"""What the oscillators share: a phase in turns, a sine of it, and the residuals of band-limited steps and
ramps.

A step (or a ramp) of the ideal waveform is replaced by the integral (or double integral) of a
B-spline of order 1 (``points=2``) or 3 (``points=4``). The residual, which is what that adds to the
ideal waveform, spans ``points / 2`` frames on each side of the edge; since the phase is known, it
is added before the edge as well as after it, and there is no latency.

Source: V. Valimaki, J. Pekonen, J. Nam, "Perceptually informed synthesis of bandlimited classical
waveforms using integrated polynomial interpolation", JASA 131(1), 2012. With truncated powers
``(x)+ = max(0, x)`` and a = distance to the edge in frames, the residual of a unit step (its
magnitude: it is positive before the edge and negative after) and of a unit change of slope are::

    points=2:  step (1 - a)+^2 / 2                         ramp (1 - a)+^3 / 6
    points=4:  step ((2 - a)+^4 - 4 (1 - a)+^4) / 24       ramp ((2 - a)+^5 - 4 (1 - a)+^5) / 120
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from amp.contract import array_of, value_of
from amp.errors import BadNode

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from amp.contract import NodeType, Param, Trace
    from amp.ir import Value

SLOWEST = 1e-12
"""Turns per frame; edges of a slower wave are as wide as at this speed, so 0 Hz divides nothing."""
SINE = (
    6.283185307179585,
    -41.341702240398284,
    81.60524927557977,
    -76.70585968962867,
    42.05868995395094,
    -15.09450614073429,
    3.817365633469135,
    -0.6925067010720717,
)
"""``sin(2 pi u) = u P(u^2)`` for ``|u| <= 1/4``: interpolated at the roots of the Chebyshev
polynomial T16, within 2.5e-16."""


def check_phase(node: NodeType, name: str = "phase") -> None:
    """Raise unless attribute ``name`` is a number of turns in [0, 1); make an integer a float."""
    given = getattr(node, name)
    value = array_of(given)
    if value.ndim or not 0 <= value < 1:
        raise BadNode(
            f"{type(node).__name__}.{name} is a number of turns in [0, 1)", got=repr(given)
        )
    if isinstance(given, int):
        vars(node)[name] = float(given)


def running_phase(b: Trace, frequency: Value) -> tuple[Value, Value]:
    """The phase as a turn, which moves on by ``frequency / sample_rate``, and the frequency [Hz].

    The frequency is held within half the sample rate (NaN becomes the lowest). A frame's step is off
    by at most 2^-65 turns and adding steps is exact: after a day at 48 kHz the phase of a constant
    frequency is off by less than 1.2e-10 turns.
    """
    half = 0.5 * b.sample_rate
    held = b.clip(frequency, -half, half)
    phase = b.tstate("phase", "phase")
    b.next("phase", b.tadd(phase, b.to_turn(held, b.sample_rate)))
    return phase, held


def frames_per_turn(b: Trace, frequency: Value) -> Value:
    """Distance of equal edges, from 2 frames up."""
    return b.sample_rate / b.max(abs(frequency), SLOWEST * b.sample_rate)


def sine_near(b: Trace, u: Value) -> Value:
    """``sin(2 pi u)`` for u in [-1/4, 1/4]."""
    square = u * u
    total = b.const(SINE[-1])
    for coefficient in SINE[-2::-1]:
        total = b.fma(total, square, coefficient)
    return u * total


def half_ahead(b: Trace, phase: Value) -> Value:
    """The turn ``phase - 1/2``: as a number, it is at its ends where the phase wraps."""
    return b.tadd(phase, b.to_turn(b.const(0.5), 1.0))


def smooth_wrap(
    b: Trace,
    base: Value,
    since: Callable[[Value], Value],
    period: Value,
    points: int,
    *,
    falls: bool = True,
) -> Value:
    """``base`` plus the residual of its step by 2 (down if it ``falls``) where a phase wraps, that is
    where the frames since half a turn are ``period / 2`` either way.

    ``since(plus)`` gives these frames plus ``plus``, which may cost nothing more. The residual is
    odd in them. Edges are 2 frames apart or more, so what lies within a frame of an edge is near
    one edge only: of ``past`` and ``ahead``, one is 0.
    """
    inner = b.fma(period, 0.5, -1.0)
    if points == 2:
        past, ahead = b.max(since(-inner), 0.0), b.min(since(inner), 0.0)
        minus, plus = (past, ahead) if falls else (ahead, past)
        return b.fma(plus, plus, b.fma(-minus, minus, base))
    x = since(b.const(0.0))
    near = x - b.clip(x, -inner, inner)
    outer = 1.0 - inner
    u, v = b.max(outer + x, 0.0), b.max(outer - x, 0.0)
    u, v = u * u, v * v
    inmost = (-4.0 * (near * near)) * (abs(near) * near)
    total = b.fma(u, u, b.fma(-v, v, inmost))
    return b.fma(total, -1 / 12 if falls else 1 / 12, base)


def ramp_residual(b: Trace, reach: Value, points: int) -> Value:
    """Residual of a slope that grows by 1 per frame, times 6 (2 points) or 120 (4 points).

    ``reach`` is ``points / 2`` less the distance to the corner, in frames.
    """
    u = b.max(reach, 0.0)
    if points == 2:
        return u * u * u
    v = b.max(u - 1.0, 0.0)
    u2, v2 = u * u, v * v
    return b.fma(u2 * u2, u, -4.0 * (v2 * v2 * v))


def reference_turns(
    frequency: NDArray[np.float64], sample_rate: float, phase: float | Param
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Turns per frame, and turns so far from a ``phase`` on; for tests."""
    steps = np.clip(frequency / sample_rate, -0.5, 0.5)
    return steps, np.cumsum(steps, axis=-1) - steps + value_of(phase)


def reference_step(x: NDArray[np.float64], points: int) -> NDArray[np.float64]:
    """Band-limited unit step minus the ideal one, ``x`` frames after the edge; for tests."""
    a = np.abs(x)
    if points == 2:
        left = np.where(a < 1, (1 - a) ** 2 / 2, 0.0)
    else:
        near = 1 / 2 - 2 * a / 3 + a**3 / 3 - a**4 / 8
        left = np.where(a < 1, near, np.where(a < 2, (2 - a) ** 4 / 24, 0.0))
    return np.where(x < 0, left, -left)


def reference_ramp(x: NDArray[np.float64], points: int) -> NDArray[np.float64]:
    """Band-limited unit ramp minus the ideal one, ``x`` frames after the corner; for tests."""
    a = np.abs(x)
    if points == 2:
        return np.where(a < 1, (1 - a) ** 3 / 6, 0.0)
    near = 7 / 30 - a / 2 + a**2 / 3 - a**4 / 12 + a**5 / 40
    return np.where(a < 1, near, np.where(a < 2, (2 - a) ** 5 / 120, 0.0))
