"""One second-order section with its coefficients as inlets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from amp.contract import Inlet, NodeType, Trace

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from amp.ir import Value


class Biquad(NodeType):
    """Second-order section in transposed direct form II, normalised to ``a0 = 1``::

        y = b0 x + s1;   s1 <- b1 x - a1 y + s2;   s2 <- b2 x - a2 y

    Source: Oppenheim & Schafer, "Discrete-Time Signal Processing", 3rd ed., section 6.3.

    Inlets: ``input``; ``b0, b1, b2, a1, a2`` (identity by default), at audio rate if streams.

    Examples
    --------
    >>> Biquad(b0=0.5, b1=0.5)
    Biquad(b0=0.5, b1=0.5)
    """

    inlets = (
        Inlet("input"),
        Inlet("b0", default=1.0),
        Inlet("b1", default=0.0),
        Inlet("b2", default=0.0),
        Inlet("a1", default=0.0),
        Inlet("a2", default=0.0),
    )

    def forward(
        self, b: Trace, x: Value, b0: Value, b1: Value, b2: Value, a1: Value, a2: Value
    ) -> Value:
        s1, s2 = b.state("s1"), b.state("s2")
        y = b.fma(b0, x, s1)
        # y enters last: from one frame to the next lie two operations, not three
        b.next("s1", b.fma(-a1, y, b.fma(b1, x, s2)))
        b.next("s2", b.fma(-a2, y, b2 * x))
        return y

    def reference(
        self,
        sample_rate: float,
        frames: int,
        *,
        input: NDArray[np.float64],
        b0: NDArray[np.float64],
        b1: NDArray[np.float64],
        b2: NDArray[np.float64],
        a1: NDArray[np.float64],
        a2: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        out = np.empty_like(input)
        s1 = np.zeros(input.shape[:2])
        s2 = np.zeros(input.shape[:2])
        for t in range(frames):
            x = input[..., t]
            y = out[..., t] = b0[..., t] * x + s1
            s1 = b1[..., t] * x - a1[..., t] * y + s2
            s2 = b2[..., t] * x - a2[..., t] * y
        return out
