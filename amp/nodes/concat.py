"""Streams side by side, one after another."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from amp.contract import Inlet, NodeType, Take, Trace

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from amp.ir import Value


class Concat(NodeType):
    """Puts the channels of its inlets one after another, as `numpy.concatenate` does::

        y = (all channels of x_0, all channels of x_1, ...)

    Inlets: any number of streams.

    Examples
    --------
    >>> Concat()
    Concat()
    """

    inlets = (Inlet("inputs", variadic=True),)

    def takes(self, widths: list[int]) -> list[Take]:
        at = [(edge, channel) for edge, width in enumerate(widths) for channel in range(width)]
        edges, channels = zip(*at, strict=True)
        return [Take(edges, channels)]

    def forward(self, b: Trace, x: Value) -> Value:
        return x

    def reference(
        self, sample_rate: float, frames: int, *, inputs: list[NDArray[np.float64]]
    ) -> NDArray[np.float64]:
        return np.concatenate(inputs, axis=1)
