"""Multiplication by a gain."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amp.contract import Inlet, NodeType, Trace

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from amp.ir import Value


class Gain(NodeType):
    """Scales a stream: ``y = gain * x``.

    Inlets: ``input``; ``gain`` (a factor, default 1).

    Examples
    --------
    >>> Gain(gain=0.5)
    Gain(gain=0.5)
    """

    inlets = (Inlet("input"), Inlet("gain", default=1.0))

    def forward(self, b: Trace, x: Value, gain: Value) -> Value:
        return b.mul(gain, x)

    def reference(
        self,
        sample_rate: float,
        frames: int,
        *,
        input: NDArray[np.float64],
        gain: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        return gain * input
