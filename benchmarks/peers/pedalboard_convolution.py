"""W8 in pedalboard: JUCE's convolution, single precision, a plug-in for each channel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from benchmarks.convolution import SAMPLE_RATE
from benchmarks.harness import Array, Candidate, NotInstalledError, Pieces, Player

if TYPE_CHECKING:
    from collections.abc import Iterator

SINGLE = 1e-3
NORM = 0.125


def candidates(taps: Array) -> list[Candidate]:
    """The one candidate."""

    def make(pieces: Pieces) -> Player:
        try:
            from pedalboard import Convolution
        except ImportError as missing:
            raise NotInstalledError("pedalboard") from missing
        plugins = [Convolution(row.astype(np.float32), 1.0, SAMPLE_RATE) for row in taps]
        # It scales a response to this norm, which is made good before the clock starts.
        gains = np.linalg.norm(taps, axis=1, keepdims=True) / NORM
        single = [(gains * piece).astype(np.float32) for piece in pieces]

        def play() -> Iterator[Array]:
            for plugin in plugins:
                plugin.reset()
            for piece in single:
                frames = piece.shape[1]
                yield np.stack(
                    [
                        plugin.process(x, SAMPLE_RATE, buffer_size=frames, reset=False)
                        for plugin, x in zip(plugins, piece, strict=True)
                    ]
                )

        return play

    return [Candidate("pedalboard", "pedalboard", make, tolerance=SINGLE, note="float32")]
