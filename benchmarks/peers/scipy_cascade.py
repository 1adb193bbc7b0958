"""W2 in SciPy: `scipy.signal.sosfilt`, its state carried from piece to piece."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from benchmarks.harness import Array, Candidate, NotInstalledError, Pieces, Player

if TYPE_CHECKING:
    from collections.abc import Iterator


def candidates(sections: Array, batch: int) -> list[Candidate]:
    """The one candidate."""

    def make(pieces: Pieces) -> Player:
        try:
            from scipy.signal import sosfilt
        except ImportError as missing:
            raise NotInstalledError("scipy") from missing
        sos = np.insert(sections, 3, 1.0, axis=1)

        def play() -> Iterator[Array]:
            state = np.zeros((len(sections), batch, 2))
            for piece in pieces:
                out, state = sosfilt(sos, piece, axis=-1, zi=state)
                yield out

        return play

    return [Candidate("scipy sosfilt", "scipy", make)]
