"""A stream without its first tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from amp.contract import Inlet, NodeType, Trace

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from amp.ir import Value

MOST = 1 << 24


class Advance(NodeType):
    """The input, ``count`` tokens ahead: ``y[k] = x[k + count]``; the first ``count`` are dropped.

    It takes the latency of a filter out of the order of the tokens and puts it on the clock: behind a
    filter that is n tokens late, ``Advance(n)`` answers token k with token k, n frames later. Other paths
    wait where they are joined with it, and ``result.latency`` says how long. A loop through it needs so
    many more initial tokens.

    Inlets: ``input``, a stream that is read in order.

    Parameters
    ----------
    count
        Tokens, from 0.

    Examples
    --------
    >>> Advance(16)
    Advance(count=16)
    """

    count: int
    inlets = (Inlet("input"),)

    def check(self) -> None:
        self.whole("count", 0, MOST)

    def skips(self, port: str) -> int:
        return self.count

    def forward(self, b: Trace, x: Value) -> Value:
        return x

    def reference(
        self, sample_rate: float, frames: int, *, input: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        return input[..., self.count :]

    @classmethod
    def samples(cls) -> Iterator[NodeType]:
        yield cls(0)
        yield cls(5)

    @classmethod
    def refuses(cls) -> Iterator[tuple[dict[str, Any], str]]:
        yield {"count": -1}, "Advance.count is a whole number from 0"
