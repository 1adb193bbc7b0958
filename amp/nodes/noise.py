"""White noise that depends on the clock alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from amp.contract import NodeType, Trace
from amp.errors import BadNode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from amp.ir import Value

GOLDEN = 0x9E3779B97F4A7C15
MASK = (1 << 64) - 1


def _mix(b: Trace, z: Value) -> Value:
    """SplitMix64's finaliser."""
    z = b.emit("imul", b.emit("ixor", z, b.emit("ishr", z, 30)), b.iconst(0xBF58476D1CE4E5B9))
    z = b.emit("imul", b.emit("ixor", z, b.emit("ishr", z, 27)), b.iconst(0x94D049BB133111EB))
    return b.emit("ixor", z, b.emit("ishr", z, 31))


def _unit(b: Trace, bits: Value) -> Value:
    """A number in [1, 2) from the top 52 bits."""
    return b.emit("from_bits", b.emit("ior", b.emit("ishr", bits, 12), 0x3FF << 52))


class Noise(NodeType):
    """White noise from a counter, so the same whatever the block size and the schedule::

        mix(z): z <- (z ^ z >> 30) * 0xBF58476D1CE4E5B9;  z <- (z ^ z >> 27) * 0x94D049BB133111EB
                z ^ z >> 31                                            (all modulo 2^64)
        r = mix(mix(mix(seed) + lane * G) + (clock + 1) * G),   G = 0x9E3779B97F4A7C15
        u(r) = (r >> 12) / 2^52, in [0, 1)
        uniform: y = 2 u(r) - 1                                        mean 0, variance 1/3
        normal:  y = sqrt(-2 ln(1 - u(r))) cos(2 pi u(mix(r + G)))     mean 0, variance 1

    ``lane`` is the batch index times the channels plus the channel. Nodes of one seed are equal.
    A normal value is at most 8.5.

    Source: G. Steele, D. Lea, C. Flood, "Fast splittable pseudorandom number generators", OOPSLA
    2014 (SplitMix64); G. Box, M. Muller, "A note on the generation of random normal deviates",
    1958.

    Inlets: none.

    Parameters
    ----------
    seed
        A whole number in [0, 2^63).
    distribution
        ``uniform`` in [-1, 1), or ``normal``.
    channel_count
        Audio channels, each with a noise of its own.

    Examples
    --------
    >>> Noise(7, "normal")
    Noise(seed=7, distribution='normal', channel_count=1)
    >>> Noise(7).reference(48_000.0, 3).shape
    (1, 1, 3)
    """

    seed: int = 0
    distribution: str = "uniform"
    channel_count: int = 1
    params = ("seed",)

    def check(self) -> None:
        if type(self.seed) is not int or not 0 <= self.seed < 1 << 63:
            raise BadNode(
                "Noise.seed is a whole number in [0, 2**63)", got=repr(self.seed), fix="use int()"
            )
        if type(self.channel_count) is not int or self.channel_count < 1:
            raise BadNode(
                "Noise.channel_count is a whole number above 0", got=repr(self.channel_count)
            )
        self.one_of("distribution", ("uniform", "normal"))

    def out_channels(self, widths: dict[str, int]) -> int:
        return self.channel_count

    def forward(self, b: Trace) -> Value:
        golden = b.iconst(GOLDEN)
        start = b.emit("iadd", _mix(b, b.param("seed")), b.emit("imul", b.lane(), golden))
        moved = b.emit("imul", b.emit("iadd", b.clock(), 1), golden)
        bits = _mix(b, b.emit("iadd", _mix(b, start), moved))
        first = _unit(b, bits)
        if self.distribution == "uniform":
            return b.fma(2.0, first, -3.0)
        radius = b.sqrt(-2.0 * b.log(2.0 - first))
        turns = _unit(b, _mix(b, b.emit("iadd", bits, golden))) - 1.0
        return radius * b.cos(turns * (2 * np.pi))

    def reference(self, sample_rate: float, frames: int) -> NDArray[np.float64]:
        """Batch 0 alone: a node without inlets does not see the batch."""

        def mix(z: int) -> int:
            z = ((z ^ z >> 30) * 0xBF58476D1CE4E5B9) & MASK
            z = ((z ^ z >> 27) * 0x94D049BB133111EB) & MASK
            return z ^ z >> 31

        out = np.empty((1, self.channel_count, frames))
        for lane in range(self.channel_count):
            start = mix((mix(self.seed) + lane * GOLDEN) & MASK)
            for t in range(frames):
                bits = mix((start + (t + 1) * GOLDEN) & MASK)
                u = (bits >> 12) / 2**52
                if self.distribution == "uniform":
                    out[0, lane, t] = 2 * u - 1
                else:
                    v = (mix((bits + GOLDEN) & MASK) >> 12) / 2**52
                    out[0, lane, t] = np.sqrt(-2 * np.log(1 - u)) * np.cos(2 * np.pi * v)
        return out

    @classmethod
    def samples(cls) -> Iterator[NodeType]:
        yield cls()
        yield cls(seed=1234, distribution="normal", channel_count=2)

    @classmethod
    def refuses(cls) -> Iterator[tuple[dict[str, Any], str]]:
        yield {"seed": -1}, "Noise.seed is a whole number"
        yield {"seed": 0.5}, "Noise.seed is a whole number"
        yield {"distribution": "pink"}, "Noise.distribution is one of 'uniform', 'normal'"
        yield {"channel_count": 0}, "Noise.channel_count is a whole number above 0"
