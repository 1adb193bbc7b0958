"""W1's voices: the parameters, the gate, and the plain NumPy form every program is held to.

One voice, per frame (f, fc in Hz; rate sr):
  saw       y = 2p - 1 - blep(p); p += f/sr; p -= floor(p)
  low-pass  v1 = a1 (ic1 + g (y - ic2)); v2 = ic2 + g v1; ic1 = 2 v1 - ic1; ic2 = 2 v2 - ic2
  envelope  e = min(1, e + 1/(attack sr)) while the gate is above 0, else max(0, e - 1/(release sr))
  out       v2 e gain, panned by cos and sin of (pan + 1) pi/4, all voices summed
with g = tan(pi fc/sr) and a1 = 1/(1 + g (g + 1/q)).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from benchmarks.harness import Array

SAMPLE_RATE = 48_000
GATE_SECONDS = 0.25
ORACLE_FRAMES = 14_400


@dataclass(frozen=True)
class Voices:
    """The parameters of V voices, one array entry per voice."""

    frequency: Array
    cutoff: Array
    q: Array
    attack: Array
    release: Array
    gain: Array
    position: Array

    @property
    def count(self) -> int:
        """How many voices."""
        return len(self.frequency)

    def coefficients(self) -> Array:
        """Rows dt, g, a1, rise, fall, gain, left, right: what every peer's inner loop uses."""
        g = np.tan(np.pi * self.cutoff / SAMPLE_RATE)
        angle = (self.position + 1) * np.pi / 4
        return np.stack(
            [
                self.frequency / SAMPLE_RATE,
                g,
                1 / (1 + g * (g + 1 / self.q)),
                1 / (self.attack * SAMPLE_RATE),
                1 / (self.release * SAMPLE_RATE),
                self.gain,
                np.cos(angle),
                np.sin(angle),
            ]
        )


def make_voices(count: int, seed: int = 7) -> Voices:
    """Deterministic voices, spread over the musical range."""
    random = np.random.default_rng(seed)

    def spread(low: float, high: float) -> Array:
        return low * (high / low) ** random.random(count)

    return Voices(
        frequency=spread(55.0, 1760.0),
        cutoff=spread(300.0, 6000.0),
        q=spread(0.5, 4.0),
        attack=spread(0.005, 0.05),
        release=spread(0.05, 0.3),
        gain=0.5 / count * (1 + random.random(count)),
        position=random.uniform(-1.0, 1.0, count),
    )


def make_gate(frames: int) -> Array:
    """The shared gate `(1, frames)`: a quarter of a second high, a quarter low, and so on."""
    half = int(GATE_SECONDS * SAMPLE_RATE)
    return np.where(np.arange(frames) // half % 2 == 0, 1.0, 0.0)[None]


def oracle(voices: Voices, gate: Array, frames: int = ORACLE_FRAMES) -> Array:
    """The first frames of the stereo output, one NumPy step per frame."""
    dt, g, a1, rise, fall, gain, left, right = voices.coefficients()
    p, ic1, ic2, e = np.zeros((4, voices.count))
    frames = min(frames, gate.shape[1])
    out = np.empty((2, frames))
    for t in range(frames):
        head, tail = p / dt, (p - 1) / dt
        blep = np.where(p < dt, 2 * head - head * head - 1, 0.0)
        blep = np.where(p > 1 - dt, tail * tail + 2 * tail + 1, blep)
        y = 2 * p - 1 - blep
        p = p + dt
        p = p - np.floor(p)
        v1 = a1 * (ic1 + g * (y - ic2))
        v2 = ic2 + g * v1
        ic1, ic2 = 2 * v1 - ic1, 2 * v2 - ic2
        e = np.minimum(1.0, e + rise) if gate[0, t] > 0 else np.maximum(0.0, e - fall)
        signal = v2 * e * gain
        out[:, t] = signal @ left, signal @ right
    return out
