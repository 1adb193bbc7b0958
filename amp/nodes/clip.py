"""A stream held between two bounds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from amp.contract import Inlet, NodeType, Trace

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from amp.ir import Value


class Clip(NodeType):
    """Holds a stream between two bounds: ``y = min(max(x, low), high)``; NaN becomes ``low``.

    Inlets: ``input``; ``low`` (default -1) and ``high`` (default 1); where ``low > high`` the
    output is ``high``.

    Examples
    --------
    >>> Clip(low=0.0)
    Clip(low=0.0)
    """

    inlets = (Inlet("input"), Inlet("low", default=-1.0), Inlet("high", default=1.0))

    def forward(self, b: Trace, x: Value, low: Value, high: Value) -> Value:
        return b.clip(x, low, high)

    def reference(
        self,
        sample_rate: float,
        frames: int,
        *,
        input: NDArray[np.float64],
        low: NDArray[np.float64],
        high: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        return np.minimum(np.maximum(input, low), high)
