"""Mean of any number of streams."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from amp.contract import Inlet, NodeType, Trace

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from amp.ir import Value


class Mean(NodeType):
    """Averages its inlets: ``y = (sum_i x_i) / n``, summed in amp's canonical order.

    Inlets: any number of streams of one number of channels, or of 1, which is broadcast.

    Examples
    --------
    >>> Mean()
    Mean()
    """

    inlets = (Inlet("inputs", variadic=True),)

    def forward(self, b: Trace, terms: list[Value]) -> Value:
        return b.tree_sum(terms) / float(len(terms))

    def reference(
        self, sample_rate: float, frames: int, *, inputs: list[NDArray[np.float64]]
    ) -> NDArray[np.float64]:
        total: NDArray[np.float64] = np.mean(np.broadcast_arrays(*inputs), axis=0)
        return total
