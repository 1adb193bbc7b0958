"""Product of two streams."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amp.contract import Inlet, NodeType, Trace

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from amp.ir import Value


class Multiply(NodeType):
    """Product of two streams (ring modulation): ``y = a b``.

    Inlets: ``a``, ``b``.

    Examples
    --------
    >>> Multiply(b=0.5)
    Multiply(b=0.5)
    """

    inlets = (Inlet("a"), Inlet("b"))

    def forward(self, b: Trace, x: Value, y: Value) -> Value:
        return x * y

    def reference(
        self, sample_rate: float, frames: int, *, a: NDArray[np.float64], b: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        return a * b
