"""What W7 and W8 convolve: a bleed matrix with a short filter per path, and long responses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from benchmarks.harness import Array

SAMPLE_RATE = 48_000
CHANNELS, SHORT = 64, 16
"""Of W7: channels in and out, and taps of each path."""
ROOMS, LONG = 8, 96_000
"""Of W8: channels, and taps of each."""
BLOCK = 256
"""Frames of a piece that is due in real time."""
ORACLE_FRAMES = 600


def make_noise(rows: int, frames: int) -> Array:
    """`(rows, frames)`."""
    return np.random.default_rng(17).standard_normal((rows, frames))


def make_paths() -> Array:
    """`(channels, channels, taps)`: each channel into itself, and a little into every other one."""
    noise = np.random.default_rng(7).standard_normal((CHANNELS, CHANNELS, SHORT))
    bleed = 0.02 * noise * 0.8 ** np.arange(SHORT)
    bleed[np.arange(CHANNELS), np.arange(CHANNELS), 0] += 1.0
    return bleed


def make_responses() -> Array:
    """`(channels, taps)`: noise that fades by 60 dB in two seconds."""
    noise = np.random.default_rng(8).standard_normal((ROOMS, LONG))
    return 0.02 * noise * 10.0 ** (-3.0 * np.arange(LONG) / LONG)


def oracle(taps: Array, x: Array, frames: int = ORACLE_FRAMES) -> Array:
    """The first frames, tap by tap; taps are `(outputs, inputs, taps)`, or `(channels, taps)`."""
    frames = min(frames, x.shape[1])
    out = np.zeros((len(taps), frames))
    for k in range(min(frames, taps.shape[-1])):
        late = x[:, : frames - k]
        out[:, k:] += taps[..., k] @ late if taps.ndim == 3 else taps[:, k : k + 1] * late
    return out
