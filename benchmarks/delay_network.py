"""W3's feedback delay network: sixteen delay lines, each damped, mixed by a Householder reflection.

s_i(t) = x(t) + g (l_i - (2 / N) sum_j l_j); l_i = onepole(s_i(t - L_i)); left and right are the sums of
every other l_i. J.-M. Jot, "An analysis/synthesis approach to real-time artificial reverberation",
ICASSP 1992, has the form; the lengths are those of the issue.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from benchmarks.harness import Array

SAMPLE_RATE = 48_000
LENGTHS = (
    *(1009, 1123, 1231, 1367, 1481, 1607, 1741, 1867),
    *(1979, 2089, 2213, 2339, 2459, 2593, 2711, 2903),
)
COUNT = len(LENGTHS)
GAIN = 0.97
CUTOFF = 6000.0
ORACLE_FRAMES = 14_400


def coefficient() -> float:
    """Of the one-pole low-pass: low = s + a (x - s); s <- s + 2 a (x - s)."""
    g = float(np.tan(np.pi * CUTOFF / SAMPLE_RATE))
    return g / (1 + g)


def make_clicks(frames: int) -> Array:
    """`(1, frames)`: bursts of noise, ten a second."""
    noise = np.random.default_rng(12).standard_normal(frames)
    return np.where(np.arange(frames) % 4800 < 480, noise, 0.0)[None]


def oracle(x: Array, frames: int = ORACLE_FRAMES) -> Array:
    """The first frames of left and right, one NumPy step per frame."""
    frames = min(frames, x.shape[1])
    a, state = coefficient(), np.zeros(COUNT)
    ring = np.zeros((COUNT, 4096))
    line, length = np.arange(COUNT), np.array(LENGTHS)
    out = np.empty((2, frames))
    for t in range(frames):
        error = ring[line, (t - length) & 4095] - state
        low = state + a * error
        state += 2 * a * error
        ring[:, t & 4095] = x[0, t] + GAIN * (low - 2 / COUNT * low.sum())
        out[:, t] = low[::2].sum(), low[1::2].sum()
    return out
