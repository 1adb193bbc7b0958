"""A stream split into frequency bands."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from amp.contract import Inlet, NodeType, Param, Trace, array_of
from amp.errors import BadNode, PortMismatch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike, NDArray

    from amp.ir import Value

MOST = 128
KINDS = ("crossover", "gammatone", "constant_q")
SLOPES = (4, 8)

EAR_Q, LEAST_BANDWIDTH, WIDTH = 9.26449, 24.7, 1.019
"""Of the ear: bandwidth 24.7 Hz + f / 9.26449, and 1.019 of it for four resonances (Glasberg & Moore
1990; Patterson et al. 1988)."""


class FilterBank(NodeType):
    """Splits a stream into bands by recursive filters, without blocks and without latency.

    ``crossover``: n frequencies make n + 1 bands. Each crossover is a Linkwitz-Riley pair, and each band
    has the allpass of those above it, so that the bands add up to an allpass: to the input, but for phase::

        Y_k = prod_(j<k) H_j(s) * L_k(s) * prod_(j>k) A_j(s) X,      A_j = L_j + H_j = B(-s) / B(s)
        L = 1 / B(s)^2, H = s^slope / B(s)^2       B is Butterworth's polynomial of half the slope

    ``gammatone``: one band at each frequency f, ``t^3 exp(-2 pi 1.019 ERB t) cos(2 pi f t)``, as four
    sections in series with gain 1 at f; ``ERB = 24.7 + f / 9.26449`` [Hz].

    ``constant_q``: one resonance at each frequency f, with gain 1 there and half the power at the ends of
    a band of f / q, ``H(s) = (s / q) / (s^2 + s / q + 1)``.

    Prototypes in s become digital by the bilinear transform, with crossovers and bandwidths where they
    were; gammatones are Slaney's.

    Source: S. J. Orfanidis, "Introduction to Signal Processing", 1996, section 11.3; S. Linkwitz, "Active crossover networks for noncoincident drivers", JAES 24(1), 1976;
    M. Slaney, "An efficient implementation of the Patterson-Holdsworth auditory filter bank", Apple
    Technical Report 35, 1993.

    Inlets: ``input``, of one channel. Several are split by ``amp.edge(stream, channels=bank.order(count))``,
    and channel c becomes channels ``c bands .. c bands + bands - 1``.

    Parameters
    ----------
    kind
        ``crossover``, ``gammatone`` or ``constant_q``.
    frequencies
        Where the bands meet, rising, or their centres; at most 128 [Hz], above 0. They are held below
        0.499 of the sample rate. An `amp.Param` can be set between runs, and has a gradient.
    slope
        Order of a crossover: 4 (24 dB an octave) or 8.
    q
        Centre frequency over bandwidth of ``constant_q``, above 0.5.

    Examples
    --------
    >>> import amp
    >>> g = amp.Graph()
    >>> bands = g.add(FilterBank("crossover", [200.0, 2000.0]), g.input("x"))
    >>> bands.channels
    3
    """

    kind: str
    frequencies: ArrayLike | Param
    slope: int = 4
    q: float = 8.0
    inlets = (Inlet("input"),)
    params = ("frequencies",)

    def check(self) -> None:
        self.one_of("kind", KINDS)
        self.one_of("slope", SLOPES)
        points = array_of(self.frequencies)
        if points.ndim != 1 or not 1 <= points.size <= MOST or not (points > 0).all():
            raise BadNode(
                f"FilterBank.frequencies has shape (bands,), 1 to {MOST} of them, all above 0",
                got=repr(points),
            )
        if self.kind == "crossover" and not (np.diff(points) > 0).all():
            raise BadNode("FilterBank.frequencies of crossovers rise", got=repr(points))
        if not (isinstance(self.q, int | float) and 0.5 < self.q < math.inf):
            raise BadNode("FilterBank.q is a number above 0.5", got=repr(self.q))

    @property
    def bands(self) -> int:
        """Bands that a channel becomes."""
        return array_of(self.frequencies).size + (self.kind == "crossover")

    def order(self, channels: int) -> tuple[int, ...]:
        """Each of so many channels once for each band, for ``amp.edge(stream, channels=...)``."""
        return tuple(c for c in range(channels) for _ in range(self.bands))

    def out_channels(self, widths: dict[str, int]) -> int:
        width = widths.get("input", 1)
        if width > 1 and width % self.bands:
            raise PortMismatch(
                "FilterBank takes one channel, or each of several once for each band",
                expected=f"1 or a multiple of {self.bands} channels",
                got=str(width),
                fix=f"amp.edge(stream, channels=bank.order({width}))",
            )
        return self.bands if width == 1 else width

    def forward(self, b: Trace, x: Value) -> Value:
        points = [b.min(f, 0.499 * b.sample_rate) for f in b.param("frequencies")]
        bands = float(len(points) + (self.kind == "crossover"))
        band = b.emit("to_float", b.lane())
        band = band - bands * b.floor(band / bands)
        if self.kind == "crossover":
            return self._split(b, x, band, points)
        centre = points[0]
        for number, point in enumerate(points[1:], 1):
            centre = b.select(b.lt(band, float(number)), centre, point)
        if self.kind == "gammatone":
            return _gammatone(b, x, centre)
        return _resonance(b, x, centre, float(self.q))

    def _split(self, b: Trace, x: Value, band: Value, points: list[Value]) -> Value:
        for number, point in enumerate(points):
            tangent = b.tan(point * (math.pi / b.sample_rate))
            above, here = b.lt(float(number), band), b.le(float(number), band)
            for part, damping in enumerate(_dampings(self.slope // 2)):
                for copy in (0, 1):
                    name = f"{number}_{part}_{copy}"
                    x = _crossed(b, name, x, tangent, damping, (above, here), copy)
        return x

    def reference(
        self, sample_rate: float, frames: int, *, input: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        from scipy import signal

        points = np.minimum(array_of(self.frequencies), 0.499 * sample_rate)
        width = self.out_channels({"input": input.shape[1]})
        out = np.empty((input.shape[0], width, input.shape[2]))
        for c in range(width):
            k, y = c % self.bands, input[:, c if input.shape[1] > 1 else 0]
            if self.kind == "crossover":
                for j, f in enumerate(points):
                    y = _crossover(y, f, sample_rate, self.slope, k - j)
            elif self.kind == "gammatone":
                y = signal.lfilter(*signal.gammatone(points[k], "iir", fs=sample_rate), y)
            else:
                peak = signal.iirpeak(points[k], self.q, fs=sample_rate)
                y = signal.lfilter(*peak, y)
            out[:, c] = y
        return out

    @classmethod
    def samples(cls) -> Iterator[NodeType]:
        yield cls("crossover", [700.0, 4000.0])
        yield cls("crossover", [2500.0], 8)
        yield cls("gammatone", [6000.0, 12000.0])
        yield cls("constant_q", [3000.0, 9000.0], q=2.0)

    @classmethod
    def refuses(cls) -> Iterator[tuple[dict[str, Any], str]]:
        yield {"kind": "mel", "frequencies": [100.0]}, "FilterBank.kind is one of 'crossover'"
        yield {"kind": "crossover", "frequencies": 100.0}, "FilterBank.frequencies has shape"
        yield {"kind": "crossover", "frequencies": [200.0, 100.0]}, "of crossovers rise"
        yield {"kind": "gammatone", "frequencies": [0.0]}, "FilterBank.frequencies has shape"
        yield (
            {"kind": "crossover", "frequencies": [1e3], "slope": 3},
            "FilterBank.slope is one of 4",
        )
        yield (
            {"kind": "constant_q", "frequencies": [1e3], "q": 0.0},
            "FilterBank.q is a number above 0.5",
        )


def _dampings(order: int) -> list[float]:
    """1 / Q of each pair of poles of a Butterworth filter."""
    return [2 * math.cos(math.pi * (2 * i + 1) / (2 * order)) for i in range(order // 2)]


def _section(b: Trace, name: str, x: Value, numerator: list[Value], a1: Value, a2: Value) -> Value:
    """Transposed direct form II, a0 = 1."""
    s1, s2 = b.state(f"s1_{name}"), b.state(f"s2_{name}")
    b0, b1, b2 = numerator
    y = b.fma(b0, x, s1)
    b.next(f"s1_{name}", b.fma(-a1, y, b.fma(b1, x, s2)))
    b.next(f"s2_{name}", b.fma(-a2, y, b2 * x))
    return y


def _crossed(
    b: Trace, name: str, x: Value, t: Value, damping: float, side: tuple[Value, Value], copy: int
) -> Value:
    """One section of a crossover for every band: high-pass for those above it, low-pass for the one
    below, and for those further below an allpass, in the first of two copies."""
    above, here = side
    a0 = 1.0 + t * (t + damping)
    a1, a2 = 2.0 * (t * t - 1.0) / a0, (1.0 + t * (t - damping)) / a0
    high, low = 1.0 / a0, t * t / a0
    allpass = [a2, a1, b.const(1.0)] if copy == 0 else [b.const(1.0), a1, a2]
    numerator = [
        b.select(above, h, b.select(here, m, a))
        for h, m, a in zip([high, -2.0 * high, high], [low, 2.0 * low, low], allpass, strict=True)
    ]
    return _section(b, name, x, numerator, a1, a2)


def _resonance(b: Trace, x: Value, centre: Value, q: float) -> Value:
    per = 2 * math.pi / b.sample_rate
    t = b.tan(centre * (per / (2 * q)))
    gain = t / (1.0 + t)
    a1, a2 = -2.0 * b.cos(centre * per) / (1.0 + t), (1.0 - t) / (1.0 + t)
    return _section(b, "0", x, [gain, b.const(0.0), -gain], a1, a2)


def _gammatone(b: Trace, x: Value, centre: Value) -> Value:
    """Slaney's four sections: the poles ``r exp(+-i w)`` of each, and a zero of its own."""
    per = 2 * math.pi / b.sample_rate
    angle = centre * per
    width = (WIDTH * per) * (LEAST_BANDWIDTH + centre / EAR_Q)
    r, c, s = b.exp(-width), b.cos(angle), b.sin(angle)
    a1, a2 = -2.0 * r * c, r * r
    # |1 - r| |1 - r exp(-2 i w)|, the denominator where the gain is 1
    double = c * c - s * s
    pole = (1.0 - r) * b.sqrt(1.0 - 2.0 * r * double + r * r)
    for number, zero in enumerate(
        sign * math.sqrt(3 + side * 2**1.5) for side in (1, -1) for sign in (1, -1)
    ):
        # 1 - r (c + zero s) / z at z = exp(i w)
        b1 = -r * (c + zero * s)
        gain = pole / b.sqrt(1.0 + b1 * (2.0 * c + b1))
        x = _section(b, str(number), x, [gain, gain * b1, b.const(0.0)], a1, a2)
    return x


def _crossover(
    x: NDArray[np.float64], frequency: float, rate: float, slope: int, side: int
) -> NDArray[np.float64]:
    """SciPy's word for one crossover: low-pass where ``side`` is 0, high-pass above, allpass below."""
    from scipy import signal

    b, a = signal.butter(slope // 2, frequency, "high" if side > 0 else "low", fs=rate)
    y: NDArray[np.float64]
    y = signal.lfilter(a[::-1], a, x) if side < 0 else signal.lfilter(b, a, signal.lfilter(b, a, x))
    return y
