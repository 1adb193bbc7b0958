"""More tokens per frame, each one repeated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from amp.contract import Inlet, NodeType, Trace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from amp.ir import Value


class Hold(NodeType):
    """Raises the rate by a whole factor, each token repeated (a zero-order hold)::

        y[factor k + j] = x[k] for j = 0 .. factor - 1

    Inlets: ``input``.

    Parameters
    ----------
    factor
        1 to 64.

    Examples
    --------
    >>> Hold(4)
    Hold(factor=4)
    """

    factor: int
    inlets = (Inlet("input"),)

    def check(self) -> None:
        self.whole("factor", 1, 64)

    def rate(self, port: str) -> int:
        return self.factor if port == "out" else 1

    def forward(self, b: Trace, x: Value) -> Any:
        return x if self.factor == 1 else [x] * self.factor

    def reference(
        self, sample_rate: float, frames: int, *, input: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        return np.repeat(input, self.factor, axis=2)

    @classmethod
    def samples(cls) -> Iterator[NodeType]:
        yield cls(1)
        yield cls(3)

    @classmethod
    def refuses(cls) -> Iterator[tuple[dict[str, Any], str]]:
        yield {"factor": 65}, "Hold.factor is a whole number from 1 to 64"
