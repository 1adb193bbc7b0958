"""A stream dealt out to two in turn."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amp.contract import Inlet, NodeType, Trace

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from amp.ir import Value


class Distributor(NodeType):
    """Deals a stream out to two, token by token: its even and its odd phase::

        even[k] = x[2 k];   odd[k] = x[2 k + 1]

    What follows runs at half the rate; `Commutator` puts the two together again. Filters between are
    a polyphase structure: half the work of filters at the full rate (Vaidyanathan, "Multirate Systems
    and Filter Banks", 1993). The rate of each outlet is cyclo-static, a token every other firing.

    Inlets: ``input``. Outlets: ``even``, ``odd``.

    Examples
    --------
    >>> Distributor()
    Distributor()
    """

    inlets = (Inlet("input"),)
    outlets = ("even", "odd")

    def rate(self, port: str) -> int | tuple[int, ...]:
        return {"even": (1, 0), "odd": (0, 1)}.get(port, 1)

    def forward(self, b: Trace, x: Value) -> tuple[Value, Value]:
        return x, x

    def reference(
        self, sample_rate: float, frames: int, *, input: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return input[..., ::2], input[..., 1::2]
