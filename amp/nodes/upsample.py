"""More tokens per frame, the new ones zero."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from amp.contract import Inlet, NodeType, Trace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from amp.ir import Value


class Upsample(NodeType):
    """Raises the rate by a whole factor, with zeros in between::

        y[factor k] = x[k];   y[factor k + j] = 0 for j = 1 .. factor - 1

    What follows runs at ``factor`` times the sample rate. Images of the spectrum stay: a filter behind
    this node removes them.

    Inlets: ``input``.

    Parameters
    ----------
    factor
        1 to 64.

    Examples
    --------
    >>> Upsample(4)
    Upsample(factor=4)
    """

    factor: int
    inlets = (Inlet("input"),)

    def check(self) -> None:
        self.whole("factor", 1, 64)

    def rate(self, port: str) -> int:
        return self.factor if port == "out" else 1

    def forward(self, b: Trace, x: Value) -> Any:
        return x if self.factor == 1 else [x, *[b.const(0.0)] * (self.factor - 1)]

    def reference(
        self, sample_rate: float, frames: int, *, input: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        out = np.zeros((*input.shape[:2], input.shape[2] * self.factor))
        out[..., :: self.factor] = input
        return out

    @classmethod
    def samples(cls) -> Iterator[NodeType]:
        yield cls(1)
        yield cls(3)

    @classmethod
    def refuses(cls) -> Iterator[tuple[dict[str, Any], str]]:
        yield {"factor": 0}, "Upsample.factor is a whole number from 1 to 64"
