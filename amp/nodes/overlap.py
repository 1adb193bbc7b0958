"""Overlapping pieces added up to a stream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from amp.contract import Inlet, NodeType, Take, Trace
from amp.errors import BadNode, PortMismatch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from amp.ir import Value


MAX_SIZE = 1 << 16
MOST_PIECES = 256


class Overlap(NodeType):
    """Adds up overlapping pieces, each ``hop`` frames after the one before::

        y[hop k + j] = sum_m x_(j + m hop)[k - m]      j = 0 .. hop - 1, j + m hop < size

    The opposite of `Window`: channels ``c size .. c size + size - 1`` become channel c, and what
    follows runs at ``hop`` times the rate of the pieces. A stream through both comes out
    ``size / hop`` times as large (if hop divides size) and ``size - hop`` frames late.

    Inlets: ``input``, with a multiple of ``size`` channels.

    Parameters
    ----------
    size
        Frames of a piece.
    hop
        Frames from one piece to the next, at most ``size``.

    Examples
    --------
    >>> Overlap(1024, 256)
    Overlap(size=1024, hop=256)
    """

    size: int
    hop: int
    inlets = (Inlet("input"),)

    def check(self) -> None:
        self.whole("size", 1, MAX_SIZE)
        self.whole("hop", 1, self.size)
        if self.size > MOST_PIECES * self.hop:
            raise BadNode(
                f"Overlap adds up at most {MOST_PIECES} pieces at a time",
                got=f"size {self.size}, hop {self.hop}",
            )

    def rate(self, port: str) -> int:
        return self.hop if port == "out" else 1

    @property
    def spread(self) -> int:
        return self.hop

    def takes(self, widths: list[int]) -> list[Take]:
        (width,) = widths
        if width % self.size:
            raise PortMismatch(
                "Overlap takes a multiple of its size of channels",
                expected=f"a multiple of {self.size}",
                got=str(width),
            )
        at = [(c, j) for c in range(width // self.size) for j in range(self.hop)]
        return [
            Take(
                (0,) * len(at),
                tuple(c * self.size + j + m if j + m < self.size else -1 for c, j in at),
                (m // self.hop,) * len(at),
            )
            for m in range(0, self.size, self.hop)
        ]

    def forward(self, b: Trace, *pieces: Value) -> Value:
        return b.tree_sum(pieces)

    def reference(
        self, sample_rate: float, frames: int, *, input: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        batch, width, count = input.shape
        x = input.reshape(batch, width // self.size, self.size, count)
        out = np.zeros((batch, width // self.size, count * self.hop + self.size))
        for k in range(count):
            out[..., k * self.hop : k * self.hop + self.size] += x[..., k]
        return out[..., : count * self.hop]

    @classmethod
    def samples(cls) -> Iterator[NodeType]:
        yield cls(1, 1)
        yield cls(8, 4)
        yield cls(7, 3)

    @classmethod
    def refuses(cls) -> Iterator[tuple[dict[str, Any], str]]:
        yield {"size": 4, "hop": 5}, "Overlap.hop is a whole number from 1 to 4"
        yield {"size": 4096, "hop": 1}, "Overlap adds up at most 256 pieces"
