"""Time-optimal follower of a target, under limits on speed and acceleration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from amp.contract import Inlet, NodeType, Trace
from amp.nodes._limits import (
    DEAD,
    change_limit,
    changed_step,
    dead_band,
    known,
    reference_step,
    step_limit,
    stopping_step,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from amp.ir import Value


class Follower(NodeType):
    """Goes to a target as fast as a slew and an acceleration allow, and stops there::

        V = slew / sample_rate;   a = acceleration / sample_rate^2
        v <- w(target - y) held in [-V, V], then in [v - a, v + a];   y <- y + v

    w(d) is the longest step from which braking by a per frame stops within d: with
    ``m = floor(sqrt(1/4 + 2 |d| / a) - 1/2)``, ``|w| = |d| / (m + 1) + a m / 2``. From any position
    and speed, towards a target that may be another in every frame, this is a trapezoidal profile of
    the speed in discrete time. A target that rests is reached exactly, stopped at, and not passed,
    unless the way is too short to brake; then the output turns back after the shortest way. A target
    that moves is followed at the braking distance of its speed.

    At every frame, to within ``2^-47 (1 + |y| + |v|)`` for rounding::

        |y[n] - 2 y[n-1] + y[n-2]| sample_rate^2 <= acceleration
        |y[n] - y[n-1]| sample_rate <= slew

    The second holds as long as the slew does not fall faster than the acceleration allows; then the
    speed falls by the whole acceleration until it holds again. Where the output rests, a target within
    a dead band of ``2^-50 (1 + |y|)``, about 1e-15, moves nothing. State: y, v. A NaN on ``target``
    counts as the last output, on a limit as 0; infinities count as 1e100. At rest its derivative is that of the
    law without a dead band, which is as wide as rounding: the output moves with the target.

    Source: R. Zanasi, C. Guarino Lo Bianco, A. Tonielli, "Nonlinear filters for the generation of
    smooth trajectories", Automatica 36(3), 2000; see ``amp/nodes/_limits.py``.

    Inlets: ``target``; ``slew`` [1/s], unlimited unless given; ``acceleration`` [1/s^2]; both at audio
    rate if streams, held at 0 or more.

    Parameters
    ----------
    start
        The output before the first frame, at rest.

    Examples
    --------
    >>> Follower(slew=2.0, acceleration=50.0)
    Follower(start=0.0, slew=2.0, acceleration=50.0)
    """

    start: float = 0.0
    params = ("start",)
    inlets = (
        Inlet("target"),
        Inlet("slew", unit="1/s", low=0.0, optional=True),
        Inlet("acceleration", unit="1/s^2", low=0.0),
    )

    def forward(self, b: Trace, target: Value, slew: Value | None, acceleration: Value) -> Value:
        y, v = b.state("y", "start"), b.state("v")
        change = change_limit(b, acceleration)
        dead = dead_band(b, y, v)
        target = known(b, target, y)
        distance = target - y
        step = stopping_step(b, distance, change)
        if slew is not None:
            most = step_limit(b, slew)
            step = b.clip(step, -most, most)
        step = changed_step(b, step, v, change, dead)
        moved = y + step
        arrives = abs(target - moved) <= dead_band(b, y, step) + DEAD
        rests = (abs(distance) <= dead + DEAD) & (abs(v) <= change + dead)
        there = b.select(arrives, target, moved)
        y = b.as_if(b.select(rests, y, there), there)
        b.next("y", y)
        b.next("v", b.as_if(b.select(rests, 0.0, step), step))
        return y

    def reference(
        self,
        sample_rate: float,
        frames: int,
        *,
        target: NDArray[np.float64],
        slew: NDArray[np.float64] | None = None,
        acceleration: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        most = np.full((1, 1, frames), np.inf) if slew is None else slew / sample_rate
        change = np.maximum(acceleration / sample_rate**2, 1e-100)
        out = np.empty(np.broadcast_shapes(target.shape, most.shape, change.shape))
        y = np.full(out.shape[:2], self.start)
        v = np.zeros(out.shape[:2])
        for t in range(frames):
            a = change[..., t]
            wanted = reference_step(target[..., t] - y, a)
            wanted = np.clip(wanted, -most[..., t], most[..., t])
            v = np.clip(wanted, v - a, v + a)
            out[..., t] = y = y + v
        return out

    @classmethod
    def samples(cls) -> Iterator[NodeType]:
        yield cls(slew=5000.0, acceleration=5e7)
        yield cls(0.5, acceleration=1e9)

    @classmethod
    def refuses(cls) -> Iterator[tuple[dict[str, Any], str]]:
        yield {"start": np.inf}, "Follower.start is finite"
