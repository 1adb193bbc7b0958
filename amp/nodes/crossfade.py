"""From one stream to another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from amp.contract import Inlet, NodeType, Trace
from amp.errors import BadNode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from amp.ir import Value

LONGEST = 1 << 32


class Crossfade(NodeType):
    """Goes from one stream to another in so many frames, in a straight line::

        y[k] = a[k] + w (b[k] - a[k]),  w = k / frames,  k < frames;    y[k] = b[k] from then on

    with k = 0 at the first firing. Equal gain suits streams that are much alike: two equal ones pass
    unchanged, and a step of y is at most the greater one of a and b plus ``|b - a| / frames``. Between
    streams that have nothing in common the level dips by 3 dB in the middle.

    Inlets: ``a``, ``b``.

    Parameters
    ----------
    frames
        Length, a whole number in [1, 2^32].

    Examples
    --------
    >>> Crossfade(480)
    Crossfade(frames=480)
    """

    frames: int
    params = ("frames",)
    inlets = (Inlet("a"), Inlet("b"))

    def check(self) -> None:
        if type(self.frames) is not int or not 1 <= self.frames <= LONGEST:
            raise BadNode(
                f"Crossfade.frames is a whole number from 1 to {LONGEST}", got=repr(self.frames)
            )

    def forward(self, b: Trace, x: Value, y: Value) -> Value:
        w = b.emit("to_float", b.clock()) / b.emit("to_float", b.param("frames"))
        done = b.le(1.0, w) | b.emit("eq", x, y)  # equal ones to the bit, infinities too
        return b.select(done, y, b.fma(w, y - x, x))

    def reference(
        self, sample_rate: float, frames: int, *, a: NDArray[np.float64], b: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        w = np.minimum(np.arange(frames) / self.frames, 1.0)
        return (1.0 - w) * a + w * b

    @classmethod
    def samples(cls) -> Iterator[NodeType]:
        yield cls(1)
        yield cls(100)

    @classmethod
    def refuses(cls) -> Iterator[tuple[dict[str, Any], str]]:
        yield {}, "Crossfade needs the attribute 'frames'"
        yield {"frames": 0}, "Crossfade.frames is a whole number from 1 to 4294967296"
        yield {"frames": 2.5}, "Crossfade.frames is a whole number from 1 to 4294967296"
