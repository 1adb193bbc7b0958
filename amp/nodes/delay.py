"""Delay line, with fractions of frames."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from amp.contract import Inlet, NodeType, Trace
from amp.errors import BadNode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from amp.ir import Value

LONGEST = 1 << 24
SHORTEST = {"none": 0.0, "linear": 0.0, "lagrange3": 1.0, "thiran1": 0.5}
"""Shortest delay of each interpolation, in frames."""


class Delay(NodeType):
    """The input ``delay`` frames ago, from a line of silence at first. With d the delay held in
    [shortest, longest], n whole and f = d - n::

        none       y[t] = x[t - n],  n = floor(d + 1/2)                               shortest 0
        linear     y[t] = (1 - f) x[t - n] + f x[t - n - 1],  n = floor(d)            shortest 0
        lagrange3  the cubic through x[t - n + 1] ... x[t - n - 2],  n = floor(d)     shortest 1
        thiran1    y[t] = a x[t - n] + x[t - n - 1] - a y[t - 1],                     shortest 1/2
                   n = floor(d - 1/2),  a = (1 - f) / (1 + f),  1/2 <= f < 3/2

    Linear is exact for ramps, and lagrange3 for cubics; both dull the highest frequencies between
    frames. thiran1 is an all-pass with that delay at low frequencies; its state makes it unfit for
    fast changes of the delay.

    Source: T. Laakso, V. Valimaki, M. Karjalainen, U. Laine, "Splitting the unit delay", IEEE
    Signal Processing Magazine 13(1), 1996.

    Inlets: ``input``; ``delay`` [frames], at audio rate if a stream.

    Parameters
    ----------
    longest
        Longest delay in frames, a whole number in [1, 2^24]; memory grows with it.
    interpolation
        ``none, linear, lagrange3`` or ``thiran1``.

    Examples
    --------
    >>> Delay(4800, "linear", delay=100.5)
    Delay(longest=4800, interpolation='linear', delay=100.5)
    """

    longest: int
    interpolation: str = "none"
    inlets = (Inlet("input"), Inlet("delay", unit="frames", low=0.0))

    def check(self) -> None:
        self.one_of("interpolation", tuple(SHORTEST))
        if type(self.longest) is not int or not 1 <= self.longest <= LONGEST:
            raise BadNode(
                f"Delay.longest is a whole number of frames in [1, {LONGEST}]",
                got=repr(self.longest),
            )

    def forward(self, b: Trace, x: Value, delay: Value) -> Value:
        held = b.clip(delay, SHORTEST[self.interpolation], float(self.longest))
        line = b.line("memory", x, self.longest + 2)
        shift = {"none": 0.5, "thiran1": -0.5}.get(self.interpolation, 0.0)
        whole = b.floor(held + shift)
        n = b.emit("to_int", whole)
        if self.interpolation == "none":
            return b.tap(line, n)
        f = held - whole
        here, older = b.tap(line, n), b.tap(line, b.emit("iadd", n, 1))
        if self.interpolation == "linear":
            return b.fma(f, older - here, here)
        if self.interpolation == "thiran1":
            last = b.state("last")
            y = b.fma((1.0 - f) / (1.0 + f), here - last, older)
            b.next("last", y)
            return y
        newer, oldest = b.tap(line, b.emit("isub", n, 1)), b.tap(line, b.emit("iadd", n, 2))
        f1, f2 = f - 1.0, f - 2.0
        outer, inner = f * f1, (f + 1.0) * f2
        y = (outer * f2 * (-1 / 6)) * newer
        y = b.fma(outer * (f + 1.0) * (1 / 6), oldest, y)
        y = b.fma(inner * f * -0.5, older, y)
        return b.fma(inner * f1 * 0.5, here, y)

    def reference(
        self,
        sample_rate: float,
        frames: int,
        *,
        input: NDArray[np.float64],
        delay: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        x, delay = np.broadcast_arrays(input, delay)
        out = np.empty(x.shape)
        for lane in np.ndindex(x.shape[:2]):
            past = x[lane]
            last = 0.0
            for t in range(frames):
                d = min(max(delay[lane][t], SHORTEST[self.interpolation]), self.longest)
                shift = {"none": 0.5, "thiran1": -0.5}.get(self.interpolation, 0.0)
                n = int(np.floor(d + shift))
                f = d - n
                newer, here, older, oldest = (
                    past[t - i] if 0 <= t - i <= t else 0.0 for i in (n - 1, n, n + 1, n + 2)
                )
                if self.interpolation == "none":
                    last = here
                elif self.interpolation == "linear":
                    last = (1 - f) * here + f * older
                elif self.interpolation == "thiran1":
                    last = (1 - f) / (1 + f) * (here - last) + older
                else:
                    last = (
                        -f * (f - 1) * (f - 2) / 6 * newer
                        + (f + 1) * (f - 1) * (f - 2) / 2 * here
                        - (f + 1) * f * (f - 2) / 2 * older
                        + (f + 1) * f * (f - 1) / 6 * oldest
                    )
                out[lane][t] = last
        return out

    @classmethod
    def samples(cls) -> Iterator[NodeType]:
        yield cls(7)
        yield cls(50, delay=50.0)
        for interpolation in SHORTEST:
            yield cls(12, interpolation, delay=7.3)
        yield cls(12, "linear")
        yield cls(12, "lagrange3")

    @classmethod
    def refuses(cls) -> Iterator[tuple[dict[str, Any], str]]:
        yield {}, "Delay needs the attribute 'longest'"
        yield {"longest": 0}, "Delay.longest is a whole number of frames in [1, 16777216]"
        yield {"longest": 1 << 40}, "Delay.longest is a whole number of frames in [1, 16777216]"
        yield {"longest": 4, "interpolation": "sinc"}, "Delay.interpolation is one of 'none'"
