"""Integrator, ideal or within limits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from amp.contract import Inlet, NodeType, Trace
from amp.nodes._limits import (
    LARGEST,
    SMALLEST,
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
    ``high``, reaches them exactly and does not pass them. A limit on the integral of the output is
    braked for in the same way one order further down, with the slew in place of the acceleration:
    with S = y[0] + ... + y[n-1] and Q = integral / T, y[n] is first held in [-w(Q + S), w(Q - S)]. With an
    acceleration the output is led along z[n] = y[n] + r (y[0] + ... + y[n-1]), which is held in [-r Q, r Q]
    like the output in its range, by half of a::

        v <- u held in [-w'(r Q + z) - r y, w'(r Q - z) - r y] first of all, w' the w of a / 2
        V <- min(V, a / (2 r));   r = 0.99 min(1, cbrt(a / (4 Q)), sqrt(V / (2 Q)))

    so what is left of the integral is at last divided by e in 1 / r frames (see `_led`). At every frame, to
    within ``2^-47 (1 + |y| + |v|)`` for rounding, the range to the bit, and the integral to within 2^-47 of
    itself::

        |y[n] - 2 y[n-1] + y[n-2]| sample_rate^2 <= acceleration
        |y[n] - y[n-1]| sample_rate <= slew
        low <= y[n] <= high
        |y[0] + y[1] + ... + y[n]| / sample_rate <= integral

    With limits at audio rate the later in that list gives way. The acceleration always holds. Where
    the slew shrinks faster than it allows, the speed falls by the whole acceleration until it holds
    again. Where the range shrinks, or what is left for braking does, the output turns back to it as
    fast as the other two allow; so it does where the integral shrinks. Where ``low > high`` it goes to
    ``high``, and a range that 0 is not in goes before an integral.

    While no limit acts the bits are those of the unlimited integrator. State: y, x[n-1], v, S as far
    as needed. The unlimited one propagates NaN; within limits a NaN on ``input`` counts as no step, on
    slew, acceleration and integral as 0, on low and high as no bound; infinities count as 1e100.

    Source: V. Zavalishin, "The Art of VA Filter Design", rev. 2.1.2, chapter 3; limits, R.
    Zanasi, C. Guarino Lo Bianco, A. Tonielli, "Nonlinear filters for the generation of smooth
    trajectories", Automatica 36(3), 2000; see ``amp/nodes/_limits.py``.

    Inlets: ``input``, the rate of change of the output [1/s]; ``slew`` [1/s] and ``acceleration``
    [1/s^2], held at 0 or more; ``low`` and ``high``, range of the output; ``integral`` [s], most of the
    integral of the output from the first frame on, either way, held at 0 or more. Limits are at audio
    rate if streams, and absent unless given.

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
        Inlet("integral", unit="s", low=0.0, optional=True),
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
        integral: Value | None,
    ) -> Value:
        y = b.state("y", "start")
        ideal = self._ideal(b, x, y)
        limits = (slew, acceleration, low, high, integral)
        if self.impingement == "none" or all(limit is None for limit in limits):
            b.next("y", ideal)
            return ideal
        # NaN is no bound
        low = None if low is None else b.clip(low, -LARGEST, LARGEST)
        high = None if high is None else b.max(b.min(high, LARGEST), -LARGEST)
        most = None if slew is None else step_limit(b, slew)
        wanted = known(b, ideal, y)
        if acceleration is not None:
            change = change_limit(b, acceleration)
            total = None if integral is None else (b.state("sum"), b.state("rest"))
            if integral is not None and total is not None:
                wanted, most = self._led(b, wanted, y, most, change, integral, total)
            moved = self._braked(b, wanted, y, most, change, low, high)
            if total is not None:
                self._add_up(b, moved, total)
        elif integral is not None:
            moved = self._budgeted(b, wanted, y, most, integral, low, high)
        else:
            moved = b.clip(wanted, *_bounds(b, low, high))
            if most is not None:
                moved = b.clip(moved, y - most, y + most)
        b.next("y", moved)
        return moved

    def _braked(
        self,
        b: Trace,
        wanted: Value,
        y: Value,
        most: Value | None,
        change: Value,
        low: Value | None,
        high: Value | None,
    ) -> Value:
        """As far to ``wanted`` as is allowed where a step may change by ``change`` per frame."""
        v = b.state("v")
        step = wanted - y
        if low is not None:
            step = b.max(step, stopping_step(b, low - y, change))
        if high is not None:
            step = b.min(step, stopping_step(b, high - y, change))
        if most is not None:
            step = b.clip(step, -most, most)
        step = changed_step(b, step, v, change, dead_band(b, y, v))
        b.next("v", step)
        moved = b.select(b.emit("eq", step, wanted - y), wanted, y + step)
        inside = b.clip(moved, *_bounds(b, low, high))
        return b.select(abs(inside - moved) <= dead_band(b, y, step), inside, moved)

    def _led(
        self,
        b: Trace,
        wanted: Value,
        y: Value,
        most: Value | None,
        change: Value,
        integral: Value,
        total: tuple[Value, Value],
    ) -> tuple[Value, Value]:
        """``wanted`` as far as the integral allows, and the most per frame, where a step may change by ``change``.

        z <= r Q means y[n] <= r (Q - S), so the sum goes at most r of the way to Q in a frame. Along z a step
        changes by that of y, and by r v, which is at most a / 2: so half of a is there to brake by, whatever
        v. The least r of three keeps y, which is at most 2 r Q, from asking for more than that. So there is always
        a step that all limits allow: any two of the intervals that they leave to it overlap.
        """
        room = b.clip(integral * b.sample_rate, SMALLEST, LARGEST)
        cube = b.exp(b.log(change / (4.0 * room)) * (1.0 / 3.0))
        share = b.min(cube, 1.0)
        if most is not None:
            share = b.min(share, b.sqrt(most / (2.0 * room)))
        share = 0.99 * b.max(share, SMALLEST)
        half = 0.5 * change
        fastest = half / share
        z = b.fma(share, (total[0] - y) + total[1], y)
        down, up = (
            b.fma(-share, y, stopping_step(b, b.fma(share, end, -z), half)) for end in (-room, room)
        )
        step = wanted - y
        led = b.clip(step, down, up)
        wanted = b.select(b.emit("eq", led, step), wanted, y + led)
        return wanted, fastest if most is None else b.min(most, fastest)

    def _budgeted(
        self,
        b: Trace,
        wanted: Value,
        y: Value,
        most: Value | None,
        integral: Value,
        low: Value | None,
        high: Value | None,
    ) -> Value:
        """The same where the sum of outputs is limited, and ``most`` per frame brakes to 0."""
        total = b.state("sum"), b.state("rest")
        room = b.clip(integral * b.sample_rate, 0.0, LARGEST)
        down, up = ((end - total[0]) - total[1] for end in (-room, room))
        if most is not None:
            change = b.max(most, SMALLEST)
            down, up = stopping_step(b, down, change), stopping_step(b, up, change)
        moved = b.clip(b.clip(wanted, down, up), *_bounds(b, low, high))
        if most is not None:
            moved = changed_step(b, moved, y, most, dead_band(b, y, most))
        self._add_up(b, moved, total)
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

    def _add_up(self, b: Trace, y: Value, total: tuple[Value, Value]) -> None:
        """Add ``y`` to the total; what rounding takes from it is kept (Knuth's TwoSum), for days."""
        before, rest = total
        y = y + rest
        following = before + y
        added = following - before
        b.next("sum", following)
        b.next("rest", (before - (following - added)) + (y - added))

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
        integral: NDArray[np.float64] | None = None,
    ) -> NDArray[np.float64]:
        absent = (np.inf, np.inf, -np.inf, np.inf, np.inf)
        given = [np.full((1, 1, frames), limit) for limit in absent]
        if self.impingement == "clamp":
            for i, limit in enumerate((slew, acceleration, low, high, integral)):
                given[i] = given[i] if limit is None else limit
        most, change = given[0] / sample_rate, given[1] / sample_rate**2
        room = given[4] * sample_rate
        led = acceleration is not None and integral is not None and self.impingement == "clamp"
        share = 0.99 * np.minimum(
            np.minimum(np.cbrt(change / (4 * room)), np.sqrt(most / (2 * room))), 1
        )
        if led:
            most = np.minimum(most, change / (2 * share))
        out = np.empty(np.broadcast_shapes(input.shape, *(limit.shape for limit in given)))
        y = np.full(out.shape[:2], self.start)
        v, last, total = np.zeros_like(y), np.zeros_like(y), np.zeros_like(y)
        for t in range(frames):
            x = input[..., t]
            mean = {"trapezoid": (x + last) / 2, "backward": x, "forward": last}[self.form]
            last = x
            a = change[..., t]
            wanted = mean / sample_rate
            if led:
                r = share[..., t]
                z = y + r * (total - y)
                least_out = reference_step(-r * room[..., t] - z, a / 2) + (1 - r) * y
                most_out = reference_step(r * room[..., t] - z, a / 2) + (1 - r) * y
            else:
                most_out = reference_step(room[..., t] - total, most[..., t])
                least_out = reference_step(-room[..., t] - total, most[..., t])
            wanted = np.clip(wanted, least_out - y, most_out - y)
            down = reference_step(given[2][..., t] - y, a)
            up = reference_step(given[3][..., t] - y, a)
            wanted = np.minimum(np.maximum(wanted, down), up)
            wanted = np.clip(wanted, -most[..., t], most[..., t])
            v = np.clip(wanted, v - a, v + a)
            out[..., t] = y = y + v
            total = total + y
        return out

    @classmethod
    def samples(cls) -> Iterator[NodeType]:
        for form in ("trapezoid", "backward", "forward"):
            yield cls(form)
        yield cls("backward", slew=5000.0, low=-0.1, high=0.1)
        yield cls("trapezoid", "clamp", 0.05, acceleration=2e7, low=-0.5, high=0.25)
        yield cls("trapezoid", slew=4000.0, acceleration=2e7, low=-0.25, high=0.25)
        yield cls("forward", high=0.1)
        yield cls("backward", slew=4000.0, low=-0.5, integral=1e-4)
        yield cls("trapezoid", "clamp", 0.05, integral=5e-5)
        yield cls("backward", slew=4000.0, acceleration=2e7, integral=1e-4)
        yield cls("trapezoid", "none", slew=10.0, acceleration=1e5, low=-0.1, high=0.1)

    @classmethod
    def refuses(cls) -> Iterator[tuple[dict[str, Any], str]]:
        yield {"form": "simpson"}, "Integrator.form is one of 'trapezoid', 'backward', 'forward'"
        yield {"impingement": "soft"}, "Integrator.impingement is one of 'clamp', 'none'"


def _bounds(b: Trace, low: Value | None, high: Value | None) -> tuple[Value, Value]:
    """Bounds of a range, for one that is open too."""
    return b.const(-LARGEST) if low is None else low, b.const(LARGEST) if high is None else high
