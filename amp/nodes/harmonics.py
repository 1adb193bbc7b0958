"""A sum of harmonics of one phase."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from amp.contract import Inlet, NodeType, Param, Trace, array_of
from amp.errors import BadNode
from amp.nodes._oscillator import check_phase, reference_turns, running_phase, sine_near

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike, NDArray

    from amp.ir import Value

MOST = 1024
FADE = 0.05
"""Part of the sample rate below its half in which a harmonic fades out."""


class Harmonics(NodeType):
    """Sum of sines whose frequencies are multiples of one::

        y = sum_k w_k amplitudes[k-1] sin(2 pi (k p + angles[k-1])),   k = 1, 2, ...
        w_k = clip((1/2 - k |d|) / 0.05, 0, 1),   d = frequency / sample_rate
        p <- p + d, wrapped to [0, 1)

    A harmonic fades out from 0.45 to 0.5 of the sample rate, and above it is silent: a constant
    frequency makes no alias at all. With modulation, side bands may still pass half the sample rate.

    Each harmonic is the one before turned by the phase, four multiply-adds a harmonic; that is off by
    less than k 4e-16.

    Source: rotation, A. Oppenheim, R. Schafer, "Discrete-Time Signal Processing", coupled form.

    Inlets: ``frequency`` [Hz] of the first harmonic, any sign, at audio rate if a stream; held within
    half the sample rate, where NaN counts as the lowest.

    Parameters
    ----------
    amplitudes
        One number for each harmonic from the first one on, at most 1024; an `amp.Param` can be set
        between runs and learned.
    angles
        As many numbers of turns, or one for all.
    phase
        Turns in [0, 1) at the first frame.

    Examples
    --------
    >>> Harmonics([1.0, 0.0, 1 / 3], frequency=440.0).amplitudes.shape
    (3,)
    """

    amplitudes: ArrayLike | Param
    angles: ArrayLike | Param = 0.0
    phase: float = 0.0
    params = ("amplitudes", "angles", "phase")
    inlets = (Inlet("frequency", unit="Hz", high="nyquist"),)

    def check(self) -> None:
        check_phase(self)
        (amplitudes, angles) = (array_of(given) for given in (self.amplitudes, self.angles))
        if amplitudes.ndim != 1 or not 1 <= len(amplitudes) <= MOST:
            raise BadNode(
                "Harmonics.amplitudes is a list of numbers",
                expected=f"1 to {MOST} of them",
                got=f"shape {amplitudes.shape}",
            )
        if angles.shape not in {(), amplitudes.shape}:
            raise BadNode(
                "Harmonics.angles is one number, or one for each amplitude",
                expected=f"{len(amplitudes)} of them",
                got=f"shape {angles.shape}",
            )

    def forward(self, b: Trace, frequency: Value) -> Value:
        turn, held = running_phase(b, frequency)
        p = b.from_turn(turn)
        sine = sine_near(b, b.max(b.min(p, 0.5 - p), -0.5 - p))
        cosine = sine_near(b, 0.25 - abs(p))
        step = abs(held) * (1 / (FADE * b.sample_rate))
        amplitudes, angles = b.param("amplitudes"), b.param("angles")
        s, c, total = sine, cosine, b.const(0.0)
        for k, amplitude in enumerate(amplitudes, 1):
            loud = amplitude * b.clip(b.fma(-float(k), step, 0.5 / FADE), 0.0, 1.0)
            angle = (angles[k - 1] if isinstance(angles, list) else angles) * (2 * np.pi)
            total = b.fma(loud, b.fma(s, b.cos(angle), c * b.sin(angle)), total)
            s, c = b.fma(s, cosine, c * sine), b.fma(c, cosine, -(s * sine))
        return total

    def reference(
        self, sample_rate: float, frames: int, *, frequency: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        steps, p = reference_turns(frequency, sample_rate, self.phase)
        amplitudes = array_of(self.amplitudes)
        angles = np.broadcast_to(array_of(self.angles), amplitudes.shape)
        out = np.zeros_like(p)
        for k, (amplitude, angle) in enumerate(zip(amplitudes, angles, strict=True), 1):
            weight = np.clip((0.5 - k * np.abs(steps)) / FADE, 0, 1)
            out += weight * amplitude * np.sin(2 * np.pi * (k * p + angle))
        return out

    @classmethod
    def samples(cls) -> Iterator[NodeType]:
        yield cls([1.0, -0.5, 0.25, 0.3], angles=[0.0, 0.1, 0.3, -0.7], phase=0.25)
        yield cls([0.5, 0.0, 1.0], angles=0.2, frequency=-7300.0)

    @classmethod
    def refuses(cls) -> Iterator[tuple[dict[str, Any], str]]:
        yield {}, "Harmonics needs the attribute 'amplitudes'"
        yield {"amplitudes": 1.0}, "Harmonics.amplitudes is a list of numbers"
        yield {"amplitudes": [1.0, 0.5], "angles": [0.5]}, "one for each amplitude"
        yield {"amplitudes": [1.0], "phase": 1.0}, "Harmonics.phase is a number of turns in [0, 1)"
