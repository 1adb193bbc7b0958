"""Channels, batches and frames from where a map says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from amp.contract import Inlet, NodeType, Take, Trace
from amp.errors import BadNode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from amp.ir import Value


class Rearrange(NodeType):
    """Takes channels, batches and frames from where a map says::

        y[b, c][k] = x[batches[b], order[c]][k - back[c]]

    ``Rearrange((1, 0))`` swaps two channels, ``Rearrange((0, 0, 0))`` makes three of one.

    Inlets: ``input``.

    Parameters
    ----------
    order
        For each outlet channel the one it comes from; -1 is silence.
    back
        For each outlet channel the frames that it lags; none by default.
    batches
        For each batch the one it comes from; itself by default.

    Examples
    --------
    >>> Rearrange((1, 0))
    Rearrange(order=(1, 0), back=(), batches=())
    """

    order: tuple[int, ...]
    back: tuple[int, ...] = ()
    batches: tuple[int, ...] = ()
    inlets = (Inlet("input"),)

    def check(self) -> None:
        for name in ("order", "back", "batches"):
            given = getattr(self, name)
            if not (isinstance(given, tuple) and all(type(n) is int and n >= -1 for n in given)):
                raise BadNode(f"Rearrange.{name} is a tuple of whole numbers", got=repr(given))
        if not self.order:
            raise BadNode("Rearrange.order names at least one channel", got="()")
        if min((*self.back, *self.batches, 0)) < 0:
            raise BadNode("Rearrange.back and batches are 0 or more", got=repr(self))
        if self.back and len(self.back) != len(self.order):
            raise BadNode("Rearrange.back has one entry per channel of order", got=repr(self))

    def takes(self, widths: list[int]) -> list[Take]:
        return [Take((0,) * len(self.order), self.order, self.back, self.batches)]

    def forward(self, b: Trace, x: Value) -> Value:
        return x

    def reference(
        self, sample_rate: float, frames: int, *, input: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        x = input[list(self.batches)] if self.batches else input
        out = np.zeros((len(x), len(self.order), frames))
        for channel, (source, back) in enumerate(
            zip(self.order, self.back or (0,) * len(self.order), strict=True)
        ):
            if source >= 0 and back < frames:
                out[:, channel, back:] = x[:, source, : frames - back]
        return out

    @classmethod
    def samples(cls) -> Iterator[NodeType]:
        yield cls((0,))
        yield cls((0, -1, 0), (0, 3, 11))

    @classmethod
    def refuses(cls) -> Iterator[tuple[dict[str, Any], str]]:
        yield {"order": ()}, "Rearrange.order names at least one channel"
        yield {"order": (0.5,)}, "Rearrange.order is a tuple of whole numbers"
        yield {"order": (0,), "back": (1, 2)}, "Rearrange.back has one entry per channel"
        yield {"order": (0,), "batches": (-1,)}, "Rearrange.back and batches are 0 or more"
