"""From one stream to another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from amp.contract import Inlet, NodeType, Param, Trace
from amp.errors import BadNode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from amp.ir import Value


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
        Length, at least 1.

    Examples
    --------
    >>> Crossfade(480)
    Crossfade(frames=480.0)
    """

    frames: float
    params = ("frames",)
    inlets = (Inlet("a"), Inlet("b"))

    def check(self) -> None:
        frames = self.frames.value if isinstance(self.frames, Param) else np.asarray(self.frames)
        if frames.ndim or not frames >= 1.0:
            raise BadNode("Crossfade.frames is one number of at least 1", got=repr(self.frames))

    def forward(self, b: Trace, x: Value, y: Value) -> Value:
        w = b.emit("to_float", b.clock()) / b.param("frames")
        return b.select(b.lt(w, 1.0), b.fma(w, y - x, x), y)

    def reference(
        self, sample_rate: float, frames: int, *, a: NDArray[np.float64], b: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        length = self.frames.value if isinstance(self.frames, Param) else self.frames
        w = np.minimum(np.arange(frames) / length, 1.0)
        return (1.0 - w) * a + w * b

    @classmethod
    def samples(cls) -> Iterator[NodeType]:
        yield cls(1)
        yield cls(100)
        yield cls(33.5)

    @classmethod
    def refuses(cls) -> Iterator[tuple[dict[str, Any], str]]:
        yield {}, "Crossfade needs the attribute 'frames'"
        yield {"frames": 0.5}, "Crossfade.frames is one number of at least 1"
        yield {"frames": [1.0, 2.0]}, "Crossfade.frames is one number of at least 1"
