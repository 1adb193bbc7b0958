"""Cotangents of params: sums over all that a param's numbers were broadcast to."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from amp.contract import Param

    Array = NDArray[np.float64]
    Ints = NDArray[np.int64]


class Share(NamedTuple):
    """Words of the arena, (batch, channel), that hold cotangents of a param, or of one ``entry`` of it: an
    index of an array of a node's own, or a channel. Those of a whole array are (batch, channel, number)."""

    param: Param
    entry: Any
    words: Ints


class Sums:
    """Adds up the shares of params, in the order in which they are given.

    Parameters
    ----------
    shapes
        Of every param, by name.
    shares
        What belongs to them.
    """

    def __init__(self, shapes: Mapping[str, tuple[int, ...]], shares: Iterable[Share]) -> None:
        self.shapes = dict(shapes)
        sizes = [int(np.prod(shape)) for shape in self.shapes.values()]
        ends = np.cumsum([0, *sizes]).tolist()
        self._spans = dict(zip(self.shapes, itertools.pairwise(ends), strict=True))
        self._size = ends[-1]
        none = np.zeros(0, np.int64)
        rows = [(share.words.ravel(), self._cells(share).ravel()) for share in shares]
        self._words = np.concatenate([none, *(words for words, _ in rows)])
        self._cells_of = np.concatenate([none, *(cells for _, cells in rows)])

    def _cells(self, share: Share) -> Ints:
        """Number of the sum that each word is added to."""
        shape = self.shapes[share.param.name]
        numbers = np.arange(*self._spans[share.param.name]).reshape(shape)
        if share.words.ndim == 3:
            numbers = numbers.ravel()
        elif isinstance(share.entry, tuple):
            numbers = numbers[share.entry]
        elif share.entry is not None and shape:
            at = share.entry if shape[1] > 1 else 0
            numbers = numbers[:, at : at + 1]
        return np.broadcast_to(numbers, share.words.shape)

    def of(self, memory: Array) -> dict[str, Array]:
        """The sums by param, each of its own shape."""
        # bincount adds in the order of the words
        flat: Array = np.bincount(self._cells_of, memory[self._words], self._size).astype(
            np.float64
        )
        return {
            name: flat[begin:end].reshape(self.shapes[name])
            for name, (begin, end) in self._spans.items()
        }
