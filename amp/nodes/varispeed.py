"""A stream read at a speed that changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from amp.contract import Inlet, NodeType, Trace
from amp.errors import BadNode
from amp.nodes._sinc import QUALITIES, segments

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from amp.ir import Value

LONGEST = 1 << 24


class Varispeed(NodeType):
    """Reads a stream ``ratio`` tokens a token, between its tokens too: a clock's drift made good, or a tape
    run faster and slower. With L the lag, how many tokens ago it reads, and Z the latency of ``quality``::

        y[t] = sum_m h(L[t] - m) x[t - m]          |L[t] - m| <= Z
        L[t + 1] = L[t] + 1 - ratio[t], held in [Z, longest];      L[0] = lag, held there too

    At either end of that it goes on at the speed of the stream; watch the outlet ``lag``, or steer
    ``ratio`` by it. h is the low-pass of `Resample` for equal rates: between tokens, what is above half the rate is as
    far down as its stop-band, and its pass-band is the same share of half the rate: ``draft`` 60 dB, 0.8,
    Z = 20; ``good`` 96 dB, 0.85, Z = 44; ``best`` 124 dB, 0.9, Z = 84. h does not follow the ratio: at a ratio r above 1
    what lies above ``1 / r`` of half the rate folds back, so filter first if there is any.

    Each side of h is a polynomial in the fraction of L (a Farrow structure), of degree 5, 7 and 8: no table.
    It differs from h by less than the stop-band.

    Sources: J. O. Smith, "Digital audio resampling", CCRMA, Stanford; C. Farrow, "A continuously variable
    digital delay element", Proc. IEEE ISCAS, 1988.

    Inlets: ``input``; ``ratio`` [tokens read per token], 1 by default; below 0 it reads backwards.

    Outlets: ``out``; ``lag`` [tokens].

    Parameters
    ----------
    longest
        Longest lag in tokens, more than Z and at most 2^24; memory grows with it.
    quality
        ``draft, good`` or ``best``.
    lag
        Lag at the start.

    Examples
    --------
    >>> Varispeed(48_000, ratio=1.0001)
    Varispeed(longest=48000, quality='good', lag=0.0, ratio=1.0001)
    """

    longest: int
    quality: str = "good"
    lag: float = 0.0
    inlets = (Inlet("input"), Inlet("ratio", 1.0, unit="per token"))
    outlets = ("out", "lag")
    params = ("lag",)

    def check(self) -> None:
        self.one_of("quality", tuple(QUALITIES))
        self.whole("longest", self.latency + 1, LONGEST)
        if np.ndim(getattr(self.lag, "value", self.lag)):
            raise BadNode("Varispeed.lag is one number of tokens", got=repr(self.lag))

    @property
    def latency(self) -> int:
        """Z: the shortest lag, in tokens."""
        return QUALITIES[self.quality].crossings

    def forward(self, b: Trace, x: Value, ratio: Value) -> tuple[Value, Value]:
        shortest = self.latency
        lag = b.clip(b.state("now", "lag"), float(shortest), float(self.longest))
        b.next("now", b.clip(lag + (1.0 - ratio), float(shortest), float(self.longest)))
        line = b.line("memory", x, self.longest + shortest + 1)
        whole = b.floor(lag)
        n = b.emit("to_int", whole)
        v = (lag - whole) - 0.5
        sums = [b.const(-0.0)] * (QUALITIES[self.quality].degree + 1)
        for q, row in enumerate(segments(self.quality), 1):
            older, newer = (b.tap(line, b.emit("iadd", n, b.iconst(m))) for m in (q, 1 - q))
            even, odd = older + newer, older - newer
            sums = [
                b.fma(c, odd if m % 2 else even, total)
                for m, (c, total) in enumerate(zip(row, sums, strict=True))
            ]
        y = sums[-1]
        for total in sums[-2::-1]:
            y = b.fma(y, v, total)
        return y, lag

    def reference(
        self,
        sample_rate: float,
        frames: int,
        *,
        input: NDArray[np.float64],
        ratio: NDArray[np.float64],
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        x, speed = np.broadcast_arrays(input, ratio)
        c, z = segments(self.quality), self.latency
        side = np.arange(1, z + 1)
        out, lags = np.empty(x.shape), np.empty(x.shape)
        for lane in np.ndindex(x.shape[:2]):
            past = np.concatenate([np.zeros(self.longest + z + 2), x[lane], np.zeros(z)])
            lag = min(max(float(self.lag), z), self.longest)
            for t in range(frames):
                lags[lane][t] = lag
                n = int(lag)
                v, now = lag - n - 0.5, self.longest + z + 2 + t - n
                h = [c @ np.power(w, np.arange(c.shape[1])) for w in (v, -v)]
                out[lane][t] = h[0] @ past[now - side] + h[1] @ past[now + side - 1]
                lag = min(max(lag + 1 - speed[lane][t], z), self.longest)
        return out, lags

    @classmethod
    def samples(cls) -> Iterator[NodeType]:
        yield cls(60, "draft", 30.31)

    @classmethod
    def refuses(cls) -> Iterator[tuple[dict[str, Any], str]]:
        yield {"longest": 44}, "Varispeed.longest is a whole number from 45"
        yield {"longest": 100, "quality": "high"}, "Varispeed.quality is one of 'draft', 'good'"
        yield {"longest": 100, "lag": [1.0, 2.0]}, "Varispeed.lag is one number of tokens"
