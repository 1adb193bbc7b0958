"""Overlapping pieces of a stream, their frames side by side as channels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from amp.contract import Inlet, NodeType, Take, Trace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from amp.ir import Value


MAX_SIZE = 1 << 16


class Window(NodeType):
    """Cuts a stream into overlapping pieces: every ``hop`` frames one token of the last ``size``::

        y_n[k] = x[hop k + hop - size + n]      n = 0 .. size - 1, x = 0 before the start

    Channel c of the input becomes channels ``c size .. c size + size - 1``. What follows runs at the
    sample rate divided by ``hop``; `Overlap` turns pieces into a stream again. Multiply by an array of
    shape ``(1, size)`` to weigh them.

    Inlets: ``input``.

    Parameters
    ----------
    size
        Frames of a piece.
    hop
        Frames from one piece to the next, at most ``size``.

    Examples
    --------
    >>> Window(1024, 256)
    Window(size=1024, hop=256)
    """

    size: int
    hop: int
    inlets = (Inlet("input"),)

    def check(self) -> None:
        self.whole("size", 1, MAX_SIZE)
        self.whole("hop", 1, self.size)

    def rate(self, port: str) -> int:
        return self.hop if port == "input" else 1

    def takes(self, widths: list[int]) -> list[Take]:
        (width,) = widths
        count = width * self.size
        channel = tuple(c for c in range(width) for _ in range(self.size))
        return [Take((0,) * count, channel, tuple(range(self.size - 1, -1, -1)) * width)]

    def forward(self, b: Trace, x: Value) -> Value:
        return x

    def reference(
        self, sample_rate: float, frames: int, *, input: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        batch, width, count = input.shape
        pieces = count // self.hop
        past = np.zeros((batch, width, self.size - self.hop))
        x = np.concatenate([past, input], axis=2)
        starts = np.arange(pieces) * self.hop
        out = x[:, :, starts[None, :] + np.arange(self.size)[:, None]]
        return out.reshape(batch, width * self.size, pieces)

    @classmethod
    def samples(cls) -> Iterator[NodeType]:
        yield cls(1, 1)
        yield cls(8, 4)
        yield cls(7, 3)

    @classmethod
    def refuses(cls) -> Iterator[tuple[dict[str, Any], str]]:
        yield {"size": 0, "hop": 1}, "Window.size is a whole number from 1"
        yield {"size": 4, "hop": 5}, "Window.hop is a whole number from 1 to 4"
