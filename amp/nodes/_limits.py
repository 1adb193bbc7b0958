"""What the integrators share: limits on a position's first and second difference.

Positions are y, steps ``v[n] = y[n] - y[n-1]`` and changes of step ``v[n] - v[n-1]`` are per frame.
Braking by ``a`` per frame from a step ``w`` covers, with that step, a distance that is linear in w
between the multiples of a::

    D(w) = w + (w - a) + (w - 2 a) + ... = (m + 1) w - a m (m + 1) / 2,    m = floor(w / a)

Its inverse is the longest step that still stops within a distance d (see `stopping_step`)::

    m = floor(sqrt(1/4 + 2 d / a) - 1/2);    w(d) = d / (m + 1) + a m / 2

A step of w(d) leaves a distance whose longest step is w(d) - a: so braking is at the whole of a, the
last step ends exactly at the target, and the step after it is 0. Taking the longest step that the
limits allow is the fastest way there (the discrete bang-bang law).

Source: R. Zanasi, C. Guarino Lo Bianco, A. Tonielli, "Nonlinear filters for the generation of smooth
trajectories", Automatica 36(3), 2000. What rounding leaves undone in a frame is made good in the next:
braking may exceed a by the dead band (see `DEAD`), and within it a target is reached.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from amp.contract import Trace
    from amp.ir import Value

LARGEST = 1e100
"""Positions and limits are held within it, so that nothing on the way is infinite."""
SMALLEST = 1e-100
"""Least change of step per frame: divides where an acceleration is 0."""
DEAD = 2.0**-50
"""Share of a position and its step that counts as rounding."""


def known(b: Trace, x: Value, otherwise: Value) -> Value:
    """``x`` within `LARGEST`, or ``otherwise`` where it is NaN."""
    return b.clip(b.select(b.emit("eq", x, x), x, otherwise), -LARGEST, LARGEST)


def step_limit(b: Trace, slew: Value) -> Value:
    """Largest step per frame at ``slew`` per second; NaN counts as 0."""
    return b.clip(slew * (1.0 / b.sample_rate), 0.0, LARGEST)


def change_limit(b: Trace, acceleration: Value) -> Value:
    """Largest change of step per frame at ``acceleration`` per second squared; NaN counts as 0."""
    return b.clip(acceleration * (1.0 / b.sample_rate**2), SMALLEST, LARGEST)


def stopping_step(b: Trace, distance: Value, change: Value) -> Value:
    """Longest step towards ``distance`` from which braking by ``change`` per frame stops there."""
    d = b.as_if(abs(distance), b.select(distance < 0.0, -distance, distance))  # at 0 it has a slope
    m = b.floor(b.sqrt(b.fma(2.0, d / change, 0.25)) - 0.5)
    step = b.min(b.fma(0.5 * change, m, d / (m + 1.0)), d)
    return b.select(distance < 0.0, -step, step)


def dead_band(b: Trace, position: Value, step: Value) -> Value:
    """What counts as rounding of ``position + step``."""
    return DEAD * (abs(position) + abs(step))


def changed_step(b: Trace, wanted: Value, step: Value, change: Value, dead: Value) -> Value:
    """``wanted`` as far as ``change`` allows after ``step``; braking may exceed it by ``dead``."""
    down = b.select(step > 0.0, change + dead, change)
    up = b.select(step < 0.0, change + dead, change)
    return b.clip(wanted, step - down, step + up)


def reference_step(d: NDArray[np.float64], a: NDArray[np.float64]) -> NDArray[np.float64]:
    """w(d), for tests: of the lines of D, which is convex, the one that asks for the least w."""
    size, a = np.broadcast_arrays(np.abs(d), np.maximum(a, 1e-100))
    braked = np.isfinite(size) & np.isfinite(a)
    way, change = np.where(braked, size, 1.0), np.where(braked, a, 1.0)
    m = np.floor((np.sqrt(1 + 8 * way / change) - 1) / 2)
    lines = [(way + change * k * (k + 1) / 2) / (k + 1) for k in (np.maximum(m - 1, 0), m, m + 1)]
    return np.copysign(np.where(braked, np.minimum.reduce(lines), size), d)
