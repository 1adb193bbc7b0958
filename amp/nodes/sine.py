"""Sine oscillator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from amp.contract import Inlet, NodeType, Trace
from amp.nodes._oscillator import check_phase, running_phase, sine_near

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from amp.ir import Value


class Sine(NodeType):
    """Sine of a running phase::

        y = sin(2 pi (p + modulation));   p <- p + frequency / sample_rate, wrapped to [0, 1)

    The sine is a polynomial of degree 15 in turns, folded to a quarter turn, and within 1e-15 of
    the exact sine of the phase, of which it sees 52 bits. The phase itself is exact: after a day at
    48 kHz it is off by less than 1.2e-10 turns.

    Source: folding and interpolation, J.-M. Muller, "Elementary Functions", 3rd ed., chapters 3,
    11.

    Inlets: ``frequency`` [Hz], any sign, at audio rate if a stream; held within half the sample
    rate, where NaN counts as the lowest. ``modulation`` [turns], added to the phase and not kept
    (phase modulation), absent unless given.

    Parameters
    ----------
    phase
        Turns in [0, 1) at the first frame.

    Examples
    --------
    >>> Sine(frequency=440.0)
    Sine(phase=0.0, frequency=440.0)
    """

    phase: float = 0.0
    params = ("phase",)
    inlets = (
        Inlet("frequency", unit="Hz", high="nyquist"),
        Inlet("modulation", unit="turns", optional=True),
    )

    def check(self) -> None:
        check_phase(self)

    def forward(self, b: Trace, frequency: Value, modulation: Value | None) -> Value:
        phase, _ = running_phase(b, frequency)
        p = b.from_turn(phase)
        if modulation is not None:
            p = p + modulation
            p = p - b.floor(p + 0.5)
        return sine_near(b, b.max(b.min(p, 0.5 - p), -0.5 - p))

    def reference(
        self,
        sample_rate: float,
        frames: int,
        *,
        frequency: NDArray[np.float64],
        modulation: NDArray[np.float64] | None = None,
    ) -> NDArray[np.float64]:
        added = np.zeros_like(frequency) if modulation is None else modulation
        out = np.empty_like(frequency + added)
        p = np.full(out.shape[:2], self.phase)
        for t in range(frames):
            out[..., t] = np.sin(2 * np.pi * ((p + added[..., t]) % 1))
            p = p + frequency[..., t] / sample_rate
            p = p - np.floor(p)
        return out

    @classmethod
    def samples(cls) -> Iterator[NodeType]:
        yield cls()
        yield cls(frequency=-440.0)
        yield cls(phase=0.25, frequency=1000.0, modulation=-0.6)

    @classmethod
    def refuses(cls) -> Iterator[tuple[dict[str, Any], str]]:
        yield {"phase": 1.5}, "Sine.phase is a number of turns in [0, 1)"
