"""State-variable filter: second order, six responses, made for modulation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from amp.contract import Inlet, NodeType, Trace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from amp.ir import Value

MODES = ("lowpass", "bandpass", "highpass", "notch", "peak", "allpass")


class StateVariable(NodeType):
    """Second-order filter of two trapezoidal integrators with the loop resolved (TPT)::

        g = tan(pi cutoff / sample_rate);   k = 1 / q
        a1 = 1 / (1 + g (g + k));   a2 = g a1;   a3 = g a2
        v3 = x - s2;   v1 = a1 s1 + a2 v3;   v2 = s2 + a2 s1 + a3 v3
        s1 <- 2 v1 - s1;   s2 <- 2 v2 - s2
        lowpass = v2        bandpass = v1 (gain q at the cutoff)    highpass = x - k v1 - v2
        notch = x - k v1    peak = x - k v1 - 2 v2                  allpass = x - 2 k v1

    Source: A. Simper, "Linear Trapezoidal Integrated SVF", Cytomic, 2013; V. Zavalishin, "The Art
    of VA Filter Design", rev. 2.1.2, section 4.4.

    Inlets: ``input``; ``cutoff`` [Hz], held in [0, 0.49 sample rate]; ``q``, held at 0.001 or more
    (default 1/sqrt(2)). Both at audio rate if streams.

    Parameters
    ----------
    mode
        ``lowpass, bandpass, highpass, notch, peak`` or ``allpass``.

    Examples
    --------
    >>> StateVariable("highpass", cutoff=800.0, q=2.0)
    StateVariable(mode='highpass', cutoff=800.0, q=2.0)
    """

    mode: str = "lowpass"
    inlets = (
        Inlet("input"),
        Inlet("cutoff", unit="Hz", low=0.0, high="nyquist"),
        Inlet("q", default=float(np.sqrt(0.5)), low=1e-3),
    )

    def check(self) -> None:
        self.one_of("mode", MODES)

    def forward(self, b: Trace, x: Value, cutoff: Value, q: Value) -> Value:
        g = b.tan(b.clip(cutoff, 0.0, 0.49 * b.sample_rate) * (np.pi / b.sample_rate))
        k = 1.0 / b.max(q, 1e-3)
        a1 = 1.0 / b.fma(g, g + k, 1.0)
        a2 = g * a1
        a3 = g * a2
        s1, s2 = b.state("s1"), b.state("s2")
        v3 = x - s2
        v1 = b.fma(a2, v3, a1 * s1)
        v2 = b.fma(a3, v3, b.fma(a2, s1, s2))
        # 2 v - s, straight from the last states where v itself is not asked for: one operation less
        b.next("s1", b.fma(2.0 * a2, v3, b.fma(2.0, a1, -1.0) * s1))
        if self.mode in {"bandpass", "notch", "allpass"}:
            b.next("s2", b.fma(2.0 * a3, v3, b.fma(2.0 * a2, s1, s2)))
        else:
            b.next("s2", b.fma(2.0, v2, -s2))
        match self.mode:
            case "lowpass":
                return v2
            case "bandpass":
                return v1
            case "highpass":
                return b.fma(-k, v1, x - v2)
            case "notch":
                return b.fma(-k, v1, x)
            case "peak":
                return b.fma(-k, v1, b.fma(-2.0, v2, x))
            case _:
                return b.fma(-2.0 * k, v1, x)

    def reference(
        self,
        sample_rate: float,
        frames: int,
        *,
        input: NDArray[np.float64],
        cutoff: NDArray[np.float64],
        q: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        out = np.empty_like(input + cutoff + q)
        s1 = np.zeros(out.shape[:2])
        s2 = np.zeros(out.shape[:2])
        for t in range(frames):
            x = input[..., t]
            g = np.tan(np.pi * np.clip(cutoff[..., t], 0, 0.49 * sample_rate) / sample_rate)
            k = 1 / np.maximum(q[..., t], 1e-3)
            v1 = (s1 + g * (x - s2)) / (1 + g * (g + k))
            v2 = s2 + g * v1
            s1 = 2 * v1 - s1
            s2 = 2 * v2 - s2
            out[..., t] = {
                "lowpass": v2,
                "bandpass": v1,
                "highpass": x - k * v1 - v2,
                "notch": x - k * v1,
                "peak": x - k * v1 - 2 * v2,
                "allpass": x - 2 * k * v1,
            }[self.mode]
        return out

    @classmethod
    def samples(cls) -> Iterator[NodeType]:
        yield cls()
        for mode in MODES:
            yield cls(mode, cutoff=1000.0)

    @classmethod
    def refuses(cls) -> Iterator[tuple[dict[str, Any], str]]:
        yield {"mode": "comb"}, "StateVariable.mode is one of 'lowpass', 'bandpass'"
