"""Two streams taken in turn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from amp.contract import Inlet, NodeType, Trace

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from amp.ir import Value


class Commutator(NodeType):
    """Takes tokens of two streams in turn::

        y[2 k] = even[k];   y[2 k + 1] = odd[k]

    What follows runs at twice the rate. Behind a `Distributor` it restores the stream, a frame later;
    behind two halves of a filter it interpolates (Crochiere & Rabiner, "Multirate Digital Signal
    Processing", 1983, have it as the commutator of a polyphase structure). The rate of each inlet is
    cyclo-static, a token every other firing.

    Inlets: ``even``, ``odd``.

    Examples
    --------
    >>> Commutator()
    Commutator()
    """

    inlets = (Inlet("even"), Inlet("odd"))

    def rate(self, port: str) -> int | tuple[int, ...]:
        return {"even": (1, 0), "odd": (0, 1)}.get(port, 1)

    def forward(self, b: Trace, even: Value, odd: Value) -> Value:
        return b.select(b.emit("ieq", b.phase(), b.iconst(0)), even, odd)

    def reference(
        self,
        sample_rate: float,
        frames: int,
        *,
        even: NDArray[np.float64],
        odd: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        even, odd = np.broadcast_arrays(even, odd)
        return np.stack([even, odd], axis=-1).reshape(*even.shape[:2], -1)
