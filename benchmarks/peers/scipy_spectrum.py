"""W4 in SciPy: all pieces of a second transformed by one call of `scipy.fft`, as one writes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from benchmarks.harness import Array, Candidate, NotInstalledError, Pieces, Player
from benchmarks.spectrum import BATCH, DUAL, GAINS, HOP, KEPT, SIZE, WINDOW

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def stream(pieces: Pieces, work: Callable[[Array, Array], tuple[Array, Array]]) -> Iterator[Array]:
    """The output of each piece, through ``work``: from samples, the last KEPT before them included, and
    unfinished sums to as many finished samples and the sums that are left."""
    taken, sums = np.zeros((BATCH, KEPT)), np.zeros((BATCH, KEPT))
    ready = np.zeros((BATCH, HOP - 1))
    for piece in pieces:
        taken = np.concatenate([taken, piece], axis=1)
        whole = (taken.shape[1] - KEPT) // HOP * HOP
        made, sums = work(taken[:, : KEPT + whole], sums)
        taken = taken[:, whole:]
        ready = np.concatenate([ready, made], axis=1)
        yield ready[:, : piece.shape[1]]
        ready = ready[:, piece.shape[1] :]


def candidates() -> list[Candidate]:
    """The one candidate."""

    def make(pieces: Pieces) -> Player:
        try:
            from scipy import fft
        except ImportError as missing:
            raise NotInstalledError("scipy") from missing

        def work(x: Array, sums: Array) -> tuple[Array, Array]:
            windows = np.lib.stride_tricks.sliding_window_view(x, SIZE, axis=1)[:, ::HOP]
            spectra = fft.rfft(windows * WINDOW, axis=2)
            spectra *= GAINS
            v = fft.irfft(spectra, SIZE, axis=2)
            v *= DUAL
            count = v.shape[1]
            y = np.zeros((BATCH, count + SIZE // HOP - 1, HOP))
            y[:, : SIZE // HOP - 1] += sums.reshape(BATCH, -1, HOP)
            for m in range(SIZE // HOP):
                y[:, m : m + count] += v[:, :, m * HOP : (m + 1) * HOP]
            flat = y.reshape(BATCH, -1)
            return flat[:, : count * HOP], flat[:, count * HOP :]

        return lambda: stream(pieces, work)

    return [Candidate("scipy fft", "scipy", make)]
