"""W7 and W8 in SciPy."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.harness import Array, Candidate, NotInstalledError, Pieces, Player

if TYPE_CHECKING:
    from collections.abc import Iterator


def _signal() -> Any:
    try:
        from scipy import signal
    except ImportError as missing:
        raise NotInstalledError("scipy") from missing
    return signal


def bleed(taps: Array) -> list[Candidate]:
    """W7: a filter for each path, and a convolution of all inputs for each output."""
    outputs, inputs, length = taps.shape

    def each_path(pieces: Pieces) -> Player:
        lfilter = _signal().lfilter

        def play() -> Iterator[Array]:
            state = np.zeros((outputs, inputs, length - 1))
            for piece in pieces:
                out = np.zeros((outputs, piece.shape[1]))
                for o in range(outputs):
                    for i in range(inputs):
                        y, state[o, i] = lfilter(taps[o, i], 1.0, piece[i], zi=state[o, i])
                        out[o] += y
                yield out

        return play

    def each_output(pieces: Pieces) -> Player:
        oaconvolve = _signal().oaconvolve

        def play() -> Iterator[Array]:
            tail = np.zeros((outputs, length - 1))
            for piece in pieces:
                frames = piece.shape[1]
                full = np.stack([oaconvolve(piece, row, axes=-1).sum(axis=0) for row in taps])
                full[:, : length - 1] += tail
                tail = full[:, frames:]
                yield full[:, :frames]

        return play

    return [
        Candidate("scipy lfilter", "scipy lfilter", each_path, note="a call for each path"),
        Candidate("scipy oaconvolve", "scipy oaconvolve", each_output, note="for each output"),
    ]


def whole(taps: Array) -> list[Candidate]:
    """W8: one overlap-add of the signal as a whole."""

    def make(pieces: Pieces) -> Player:
        oaconvolve = _signal().oaconvolve
        x = np.concatenate(pieces, axis=1)
        ends = np.cumsum([0, *(piece.shape[1] for piece in pieces)])

        def play() -> Iterator[Array]:
            out = oaconvolve(x, taps, axes=-1)
            for begin, end in pairwise(ends):
                yield out[:, begin:end]

        return play

    return [Candidate("scipy oaconvolve", "scipy", make, note="the signal as a whole")]
