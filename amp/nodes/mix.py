"""Sum of any number of streams."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amp.contract import Inlet, NodeType, Trace

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from amp.ir import Value


class Mix(NodeType):
    """Adds its inlets: ``y = sum_i x_i``, in amp's canonical order.

    Inlets: any number of streams of any channel count; one-channel streams are broadcast.

    Examples
    --------
    >>> Mix()
    Mix()
    """

    inlets = (Inlet("inputs", variadic=True),)
    is_sum = True

    def forward(self, b: Trace, terms: list[Value]) -> Value:
        return b.tree_sum(terms)

    def reference(
        self, sample_rate: float, frames: int, *, inputs: list[NDArray[np.float64]]
    ) -> NDArray[np.float64]:
        return sum(inputs)  # type: ignore[return-value]
