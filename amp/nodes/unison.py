"""The frequencies of detuned voices, side by side as channels."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from amp.contract import Inlet, NodeType, Trace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from amp.ir import Value

MOST = 256


class Unison(NodeType):
    """One frequency becomes those of several voices, evenly apart in pitch::

        y[v] = frequency 2^(detune q[v] / 1200),   q[v] = 2 v / (voices - 1) - 1;  0 for one voice

    Voices are channels, so an oscillator behind it is a stack: one lane a voice, in one kernel.
    `MatrixMix` or `Mean` mixes it down. The voices of an oscillator begin in phase.

    Inlets: ``frequency`` [Hz], of one channel; ``detune`` [cents], how far the outer voices are off
    (default 15). Both at audio rate if streams.

    Parameters
    ----------
    voices
        A whole number from 1 to 256.

    Examples
    --------
    >>> Unison(7, detune=20.0)
    Unison(voices=7, detune=20.0)
    """

    voices: int
    inlets = (
        Inlet("frequency", unit="Hz", high="nyquist", channels=1),
        Inlet("detune", default=15.0, unit="cents", low=-1200.0, high=1200.0, channels=1),
    )
    channels = "all"

    def check(self) -> None:
        self.whole("voices", 1, MOST)

    @property
    def places(self) -> NDArray[np.float64]:
        """Each voice from -1 to 1."""
        return np.linspace(-1.0, 1.0, self.voices) if self.voices > 1 else np.zeros(1)

    def out_channels(self, widths: dict[str, int]) -> int:
        return self.voices

    def forward(self, b: Trace, frequency: list[Value], detune: list[Value]) -> list[Value]:
        octaves = b.clip(detune[0], -1200.0, 1200.0) * (math.log(2) / 1200)
        return [
            frequency[0] * b.exp(octaves * place) if place else frequency[0]
            for place in self.places.tolist()
        ]

    def reference(
        self,
        sample_rate: float,
        frames: int,
        *,
        frequency: NDArray[np.float64],
        detune: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        octaves = np.clip(detune, -1200, 1200) / 1200
        return frequency * 2 ** (octaves * self.places[None, :, None])

    @classmethod
    def samples(cls) -> Iterator[NodeType]:
        yield cls(3)
        yield cls(2, frequency=440.0, detune=-7.0)

    @classmethod
    def refuses(cls) -> Iterator[tuple[dict[str, Any], str]]:
        yield {}, "Unison needs the attribute 'voices'"
        yield {"voices": 0}, "Unison.voices is a whole number from 1 to 256"
