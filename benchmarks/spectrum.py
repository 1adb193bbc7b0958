"""W4's signal: eight noises through an STFT, a gain on each band, and the inverse STFT.

Pieces of 2048 samples, 512 apart, a periodic Hann window w, and y = sum of w v / sum of w^2 over the pieces v
that lie over a sample: the least-squares inverse. A stream comes out 2047 samples late.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from benchmarks.harness import Array

SAMPLE_RATE = 48_000
BATCH = 8
SIZE, HOP = 2048, 512
BANDS = SIZE // 2 + 1
KEPT = SIZE - HOP
BLOCK = 4096
"""Frames of an iteration of amp's schedule: eight pieces."""
ORACLE_FRAMES = 9600

WINDOW: Array = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(SIZE) / SIZE)
DUAL: Array = WINDOW / np.tile((WINDOW**2).reshape(-1, HOP).sum(axis=0), SIZE // HOP)
GAINS: Array = 1 + np.cos(np.arange(BANDS) / 40.0)


def make_noise(frames: int) -> Array:
    """`(8, frames)` of white noise."""
    return np.random.default_rng(4).standard_normal((BATCH, frames))


def oracle(x: Array) -> Array:
    """The first frames of the output, by transforms written as matrices."""
    frames = min(ORACLE_FRAMES, x.shape[1])
    k, n = np.arange(BANDS)[:, None], np.arange(SIZE)
    turns = np.exp(-2j * np.pi * (k * n % SIZE) / SIZE)
    back = turns.conj() * np.where((k == 0) | (k == SIZE // 2), 1, 2) / SIZE
    padded = np.pad(x[:, :frames], ((0, 0), (SIZE - 1, 0)))
    out = np.zeros((len(x), frames + SIZE))
    for end in range(HOP, frames + 1, HOP):  # a piece is heard from its last sample on
        spectrum = (padded[:, end - 1 : end - 1 + SIZE] * WINDOW) @ turns.T
        out[:, end - 1 : end - 1 + SIZE] += ((spectrum * GAINS) @ back).real * DUAL
    return out[:, :frames]
