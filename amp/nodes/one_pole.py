"""First-order low-pass and high-pass."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from amp.contract import Inlet, NodeType, Trace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from amp.ir import Value


class OnePole(NodeType):
    """First-order filter, a trapezoidal integrator with its loop resolved::

        g = tan(pi cutoff / sample_rate);   a = g / (1 + g)
        low = s + a (x - s);   s <- s + 2 a (x - s);   high = x - low

    The bilinear transform of the analogue filter, so -3 dB at ``cutoff`` exactly; stable at any
    modulation. State: s, one number a lane.

    Source: V. Zavalishin, "The Art of VA Filter Design", rev. 2.1.2, section 3.10.

    Inlets: ``input``; ``cutoff`` [Hz], at audio rate if a stream, held in [0, 0.49 sample rate].

    Parameters
    ----------
    mode
        ``lowpass`` or ``highpass``.

    Examples
    --------
    >>> OnePole("highpass", cutoff=20.0)
    OnePole(mode='highpass', cutoff=20.0)
    """

    mode: str = "lowpass"
    inlets = (Inlet("input"), Inlet("cutoff", unit="Hz", low=0.0, high="nyquist"))

    def check(self) -> None:
        self.one_of("mode", ("lowpass", "highpass"))

    def forward(self, b: Trace, x: Value, cutoff: Value) -> Value:
        g = b.tan(b.clip(cutoff, 0.0, 0.49 * b.sample_rate) * (np.pi / b.sample_rate))
        a = g / (1.0 + g)
        s = b.state("s")
        error = x - s
        b.next("s", b.fma(2.0 * a, error, s))
        low = b.fma(a, error, s)
        return low if self.mode == "lowpass" else x - low

    def reference(
        self,
        sample_rate: float,
        frames: int,
        *,
        input: NDArray[np.float64],
        cutoff: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        out = np.empty_like(input + cutoff)
        s = np.zeros(out.shape[:2])
        for t in range(frames):
            x = input[..., t]
            g = np.tan(np.pi * np.clip(cutoff[..., t], 0, 0.49 * sample_rate) / sample_rate)
            v = g / (1 + g) * (x - s)
            low = s + v
            s = low + v
            out[..., t] = low if self.mode == "lowpass" else x - low
        return out

    @classmethod
    def samples(cls) -> Iterator[NodeType]:
        yield cls(cutoff=1000.0)
        yield cls("highpass")

    @classmethod
    def refuses(cls) -> Iterator[tuple[dict[str, Any], str]]:
        yield {"mode": "bandpass"}, "OnePole.mode is one of 'lowpass', 'highpass'"
