"""Integrator, ideal or within limits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from amp.contract import Inlet, NodeType, Trace
from amp.nodes._limits import (
    LARGEST,
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


class Integrator(NodeType):
    """Integral of a stream over time; with T = 1 / sample_rate::

        trapezoid:  y <- y + (x[n] + x[n-1]) T / 2    (the bilinear transform, TPT)
        backward:   y <- y + x[n] T                   (Euler)
        forward:    y <- y + x[n-1] T                 (Euler; answers a frame later)

    x[-1] is 0. Limits, any or all of them, impinge on the state itself: while the output rests at a
    limit nothing winds up behind it, and it leaves as soon as the input turns back. With the step
    v = y[n] - y[n-1] and u the step that the input asks for::

        v <- u held in [w(low - y), w(high - y)], then in [-V, V], then in [v - a, v + a]

    where V = slew T, a = acceleration T^2, and w(d) is the longest step from which braking by a per
    frame stops within d (w(d) = d without an acceleration): so the output brakes ahead of ``low`` and
    ``high``, reaches them exactly and does not pass them. At every frame, to within 2^-47 (1 +
    |y| + |v|) for rounding, the range to the bit::

        |y[n] - 2 y[n-1] + y[n-2]| sample_rate^2 <= acceleration
        |y[n] - y[n-1]| sample_rate <= slew
        low <= y[n] <= high

    With limits at audio rate the later in that list gives way. The acceleration always holds. Where
    the slew shrinks faster than it allows, the speed falls by the whole acceleration until it holds
    again. Where the range shrinks, or what is left for braking does, the output turns back to it as
    fast as the other two allow. Where ``low > high`` it goes to ``high``.

    While no limit acts the bits are those of the unlimited integrator. State: y, x[n-1], v as far as
    needed. The unlimited one propagates NaN; within limits a NaN on ``input`` counts as no step, on
    slew and acceleration as 0, on low and high as no bound; infinities count as 1e100.

    Source: V. Zavalishin, "The Art of VA Filter Design", rev. 2.1.2, chapter 3; limits, R.
    Zanasi, C. Guarino Lo Bianco, A. Tonielli, "Nonlinear filters for the generation of smooth
    trajectories", Automatica 36(3), 2000; see ``amp/nodes/_limits.py``.

    Inlets: ``input``, the rate of change of the output [1/s]; ``slew`` [1/s] and ``acceleration``
    [1/s^2], held at 0 or more; ``low`` and ``high``, range of the output. Limits are at audio rate if
    streams, and absent unless given.

    Parameters
    ----------
    form
        ``trapezoid``, ``backward`` or ``forward``.
    impingement
        ``clamp``: limits hold the state. ``none``: they do not act, whatever is given; the bits are
        those of the unlimited integrator.
    start
        The output before the first frame, at rest.

    Examples
    --------
    >>> Integrator(slew=2.0, low=-1.0, high=1.0)
    Integrator(form='trapezoid', impingement='clamp', start=0.0, slew=2.0, low=-1.0, high=1.0)
    """

    form: str = "trapezoid"
    impingement: str = "clamp"
    start: float = 0.0
    params = ("start",)
    inlets = (
        Inlet("input", unit="1/s"),
        Inlet("slew", unit="1/s", low=0.0, optional=True),
        Inlet("acceleration", unit="1/s^2", low=0.0, optional=True),
        Inlet("low", optional=True),
        Inlet("high", optional=True),
    )

    def check(self) -> None:
        self.one_of("form", ("trapezoid", "backward", "forward"))
        self.one_of("impingement", ("clamp", "none"))

    def forward(
        self,
        b: Trace,
        x: Value,
        slew: Value | None,
        acceleration: Value | None,
        low: Value | None,
        high: Value | None,
    ) -> Value:
        y = b.state("y", "start")
        ideal = self._ideal(b, x, y)
        given = [limit for limit in (slew, acceleration, low, high) if limit is not None]
        if self.impingement == "none" or not given:
            b.next("y", ideal)
            return ideal

        # NaN is no bound
        bottom = b.const(-LARGEST) if low is None else b.clip(low, -LARGEST, LARGEST)
        top = b.const(LARGEST) if high is None else b.max(b.min(high, LARGEST), -LARGEST)
        most = None if slew is None else step_limit(b, slew)
        wanted = known(b, ideal, y)
        if acceleration is None:
            moved = b.clip(wanted, bottom, top)
            if most is not None:
                moved = b.clip(moved, y - most, y + most)
        else:
            v = b.state("v")
            change = change_limit(b, acceleration)
            step = wanted - y
            if low is not None:
                step = b.max(step, stopping_step(b, bottom - y, change))
            if high is not None:
                step = b.min(step, stopping_step(b, top - y, change))
            if most is not None:
                step = b.clip(step, -most, most)
            step = changed_step(b, step, v, change, dead_band(b, y, v))
            b.next("v", step)
            moved = b.select(b.emit("eq", step, wanted - y), wanted, y + step)
            inside = b.clip(moved, bottom, top)
            moved = b.select(abs(inside - moved) <= dead_band(b, y, step), inside, moved)
        b.next("y", moved)
        return moved

    def _ideal(self, b: Trace, x: Value, y: Value) -> Value:
        """Where the input alone would take the output."""
        if self.form == "backward":
            return b.fma(1.0 / b.sample_rate, x, y)
        last = b.state("input")
        b.next("input", x)
        if self.form == "forward":
            return b.fma(1.0 / b.sample_rate, last, y)
        return b.fma(0.5 / b.sample_rate, x + last, y)

    def reference(
        self,
        sample_rate: float,
        frames: int,
        *,
        input: NDArray[np.float64],
        slew: NDArray[np.float64] | None = None,
        acceleration: NDArray[np.float64] | None = None,
        low: NDArray[np.float64] | None = None,
        high: NDArray[np.float64] | None = None,
    ) -> NDArray[np.float64]:
        given = [np.full((1, 1, frames), limit) for limit in (np.inf, np.inf, -np.inf, np.inf)]
        if self.impingement == "clamp":
            for i, limit in enumerate((slew, acceleration, low, high)):
                given[i] = given[i] if limit is None else limit
        most, change = given[0] / sample_rate, given[1] / sample_rate**2
        out = np.empty(np.broadcast_shapes(input.shape, *(limit.shape for limit in given)))
        y = np.full(out.shape[:2], self.start)
        v, last = np.zeros_like(y), np.zeros_like(y)
        for t in range(frames):
            x = input[..., t]
            mean = {"trapezoid": (x + last) / 2, "backward": x, "forward": last}[self.form]
            last = x
            a = change[..., t]
            wanted = mean / sample_rate
            down, up = given[2][..., t] - y, given[3][..., t] - y
            if np.isfinite(a).all():
                a = np.maximum(a, 1e-100)
                down, up = (
                    np.where(np.isinf(d), d, reference_step(np.nan_to_num(d), a))
                    for d in (down, up)
                )
            wanted = np.minimum(np.maximum(wanted, down), up)
            wanted = np.clip(wanted, -most[..., t], most[..., t])
            v = np.clip(wanted, v - a, v + a)
            out[..., t] = y = y + v
        return out

    @classmethod
    def samples(cls) -> Iterator[NodeType]:
        for form in ("trapezoid", "backward", "forward"):
            yield cls(form)
        yield cls("backward", slew=5000.0, low=-0.1, high=0.1)
        yield cls("trapezoid", "clamp", 0.05, acceleration=2e7, low=-0.5, high=0.25)
        yield cls("trapezoid", slew=4000.0, acceleration=2e7, low=-0.25, high=0.25)
        yield cls("forward", high=0.1)
        yield cls("trapezoid", "none", slew=10.0, acceleration=1e5, low=-0.1, high=0.1)

    @classmethod
    def refuses(cls) -> Iterator[tuple[dict[str, Any], str]]:
        yield {"form": "simpson"}, "Integrator.form is one of 'trapezoid', 'backward', 'forward'"
        yield {"impingement": "soft"}, "Integrator.impingement is one of 'clamp', 'none'"
