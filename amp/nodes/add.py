"""Sum of two streams."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amp.contract import Inlet, NodeType, Trace

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from amp.ir import Value


class Add(NodeType):
    """Sum of two streams: ``y = a + b``. For more than two, see `Mix`.

    Inlets: ``a``, ``b``.

    Examples
    --------
    >>> Add(b=1.0)
    Add(b=1.0)
    """

    inlets = (Inlet("a"), Inlet("b"))

    def forward(self, b: Trace, x: Value, y: Value) -> Value:
        return x + y

    def reference(
        self, sample_rate: float, frames: int, *, a: NDArray[np.float64], b: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        return a + b
