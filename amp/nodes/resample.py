"""Another rate by a rational factor, without images or aliases."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from amp.contract import Inlet, NodeType, Trace
from amp.errors import BadNode
from amp.nodes._dot import dot
from amp.nodes._sinc import QUALITIES, prototype

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from amp.ir import Value

MOST = 32


class Resample(NodeType):
    """Changes the rate by ``up / down``, band-limited to half the lower rate::

        y[n] = sum_i h[n down - i up] x[i]

    which is: ``up - 1`` zeros after each token, a filter h, and one of ``down`` tokens. Only what is
    not zero and is kept is computed (polyphase). h is a linear-phase low-pass, so y is `latency` tokens
    late; `Advance` takes that out.

    ============  ==============  ==============================  ==========================
    ``quality``   stop-band       pass-band                       latency, in tokens of the
                                                                  lower rate
    ============  ==============  ==============================  ==========================
    ``draft``     60 dB           0.8 of half the lower rate      20
    ``good``      96 dB           0.85                            44
    ``best``      124 dB          0.9                             84
    ============  ==============  ==============================  ==========================

    The stop-band begins at half the lower rate: nothing above it is left, and nothing folds back. In the
    pass-band the ripple is as far below 1 as the stop-band.

    The code of a firing has a multiply-add for each coefficient, ``2 latency max(up, down)`` of them: make a
    large ratio of two small ones, as 160/147 of ``Resample(8, 7)`` and ``Resample(20, 21)``. For a ratio
    that moves see `Varispeed`.

    Source: R. Crochiere, L. Rabiner, "Multirate Digital Signal Processing", 1983, section 3.3; h is
    Kaiser's (1974).

    Inlets: ``input``.

    Parameters
    ----------
    up, down
        The ratio, in lowest terms 1 to 32 each.
    quality
        ``draft, good`` or ``best``.

    Examples
    --------
    >>> Resample(2, 1)
    Resample(up=2, down=1, quality='good')
    >>> Resample(2, 1).latency
    88
    """

    up: int
    down: int
    quality: str = "good"
    inlets = (Inlet("input"),)

    def check(self) -> None:
        self.whole("up", 1, 1 << 16)
        self.whole("down", 1, 1 << 16)
        self.one_of("quality", tuple(QUALITIES))
        if max(self.ratio) > MOST:
            raise BadNode(
                f"Resample.up / Resample.down is a ratio of numbers to {MOST}",
                got="{} / {}".format(*self.ratio),
                fix="make it of two: 160 / 147 is Resample(8, 7) and Resample(20, 21)",
            )

    @property
    def ratio(self) -> tuple[int, int]:
        """``up`` and ``down`` in lowest terms."""
        common = math.gcd(self.up, self.down)
        return self.up // common, self.down // common

    @property
    def latency(self) -> int:
        """Tokens of the outlet by which it is late."""
        return (len(self.coefficients) - 1) // (2 * self.ratio[1])

    @property
    def coefficients(self) -> NDArray[np.float64]:
        """h, at ``up`` times the rate of the input."""
        return prototype(self.quality, *self.ratio)

    def rate(self, port: str) -> int:
        up, down = self.ratio
        return up if port == "out" else down

    def forward(self, b: Trace, x: Any) -> Any:
        up, down = self.ratio
        tokens = x if down > 1 else [x]
        h = self.coefficients
        firings = (len(h) - 1 + up * down) // (up * down)
        past = [b.line(f"past_{r}", token, firings) for r, token in enumerate(tokens)]

        def read(r: int, ago: int) -> Value:
            return b.tap(past[r], ago) if ago else tokens[r]

        out = []
        for j in range(up):
            # token r of the firing `ago` before this one meets h[d]
            terms = sorted(
                (d, r, ago)
                for r in range(down)
                for ago in range(firings + 1)
                if 0 <= (d := j * down - r * up + ago * up * down) < len(h)
            )
            out.append(dot(b, [(h[d], read(r, ago)) for d, r, ago in terms]))
        return out if up > 1 else out[0]

    def reference(
        self, sample_rate: float, frames: int, *, input: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        up, down = self.ratio
        whole = input[..., : input.shape[2] // down * down]
        apart = np.zeros((*whole.shape[:2], whole.shape[2] * up))
        apart[..., ::up] = whole
        filtered = np.apply_along_axis(np.convolve, 2, apart, self.coefficients)
        return filtered[..., : apart.shape[2] : down]

    @classmethod
    def samples(cls) -> Iterator[NodeType]:
        yield cls(2, 1, "draft")
        yield cls(2, 3, "draft")

    @classmethod
    def refuses(cls) -> Iterator[tuple[dict[str, Any], str]]:
        yield {"up": 0, "down": 1}, "Resample.up is a whole number from 1"
        yield {"up": 160, "down": 147}, "Resample.up / Resample.down is a ratio of numbers to 32"
        yield {"up": 2, "down": 1, "quality": "high"}, "Resample.quality is one of 'draft', 'good'"
