"""Streams side by side, channel by channel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from amp.contract import Inlet, NodeType, Take, Trace
from amp.errors import PortMismatch

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from amp.ir import Value


class Stack(NodeType):
    """Puts streams of equal width side by side, channel by channel: with n inlets ::

        y_(c n + i) = x_i, channel c

    Inlets: any number of streams of one number of channels, or of 1, which is repeated.

    Examples
    --------
    >>> Stack()
    Stack()
    """

    inlets = (Inlet("inputs", variadic=True),)

    def takes(self, widths: list[int]) -> list[Take]:
        if len({*widths} - {1}) > 1:
            raise PortMismatch(
                "Stack takes streams of one number of channels, or 1", got=str(widths)
            )
        count = max(widths)
        channel = np.arange(count)[:, None] * (np.array(widths) > 1)
        edges = tuple(range(len(widths))) * count
        return [Take(edges, tuple(channel.ravel().tolist()))]

    def forward(self, b: Trace, x: Value) -> Value:
        return x

    def reference(
        self, sample_rate: float, frames: int, *, inputs: list[NDArray[np.float64]]
    ) -> NDArray[np.float64]:
        stacked = np.stack(np.broadcast_arrays(*inputs), axis=2)
        return stacked.reshape(stacked.shape[0], -1, stacked.shape[3])
