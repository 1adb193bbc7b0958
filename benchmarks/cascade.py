"""W2's signal and filters: eight biquads in series on B channels of noise.

Each is a transposed direct form II: y = b0 x + s1; s1 = b1 x - a1 y + s2; s2 = b2 x - a2 y.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from benchmarks.harness import Array

SAMPLE_RATE = 48_000
SECTIONS = 8
ORACLE_FRAMES = 14_400


def make_sections() -> Array:
    """`(8, 5)`: b0, b1, b2, a1, a2 of gentle peaks, an octave or so apart (RBJ peaking, 4 dB)."""
    k = np.arange(SECTIONS)
    w = 2 * np.pi * 110.0 * 1.9**k / SAMPLE_RATE
    gain, q = 10 ** (4 / 40), 1.0
    alpha = np.sin(w) / (2 * q)
    a0 = 1 + alpha / gain
    b0, b1, b2 = 1 + alpha * gain, -2 * np.cos(w), 1 - alpha * gain
    return np.stack([b0, b1, b2, b1, 1 - alpha / gain], axis=1) / a0[:, None]


def make_noise(batch: int, frames: int) -> Array:
    """`(batch, frames)` of white noise."""
    return np.random.default_rng(11).standard_normal((batch, frames))


def oracle(x: Array, sections: Array, frames: int = ORACLE_FRAMES) -> Array:
    """The first frames of the output, one NumPy step per frame and section."""
    frames = min(frames, x.shape[1])
    state = np.zeros((SECTIONS, 2, x.shape[0]))
    out = np.empty((x.shape[0], frames))
    for t in range(frames):
        value = x[:, t]
        for (b0, b1, b2, a1, a2), s in zip(sections, state, strict=True):
            y = b0 * value + s[0]
            s[0] = b1 * value - a1 * y + s[1]
            s[1] = b2 * value - a2 * y
            value = y
        out[:, t] = value
    return out
