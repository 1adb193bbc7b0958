"""Finite impulse responses."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from amp.contract import Inlet, NodeType, Param, array_of
from amp.errors import BadNode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike, NDArray

MAX_CHANNELS = 4096
MAX_TAPS = 1 << 22
MAX_NUMBERS = 1 << 28
"""Of all responses together."""
MAX_BLOCK = 1 << 16
DIRECT = 128
"""Longest response without partitions [taps]."""
HEAD = 64
"""Taps of a longer one that are."""


class FIR(NodeType):
    """Convolves with responses of any length, without latency or with one that is declared::

        y[o][t] = sum_i sum_k taps[o, i, k] x[i][t - k]           x[i][t] = 0 before the start

    The shape of ``taps`` says what is convolved with what:

    ===========================  ===============================================================
    ``(taps,)``                  every channel with one response
    ``(channels, taps)``         each channel with its own; a stream of one channel with each
    ``(outputs, inputs, taps)``  every input into every output, each path with its own: a bleed
                                 matrix with a filter per path, ``gains[:, :, None] * filters``
    ===========================  ===============================================================

    Up to 128 taps are chains of fused multiply-adds, i ascending and then k. Of a longer response that is
    the first 64; the rest is cut into partitions of 64, 512, 4096, ... taps, each convolved by FFT. Those of n
    taps lie n taps or more into the response, so their results are ready when they are first heard. Each
    input is transformed once for all outputs. Work grows with the logarithm of the length.

    With ``block`` = n above 1 the node fires every n frames, which is a latency of n - 1 frames, as of any
    node with that rate: whatever it joins is aligned with it. All of the response is then convolved by FFT,
    the shortest partitions being n taps long.

    Taps may be an `amp.Param`: set between runs, and learned. What is set is heard at once from the first 64
    taps, and from a partition of n when the next n frames begin. An infinity or NaN is heard for as long as
    the response and the partitions that it came into.

    Source: W. Gardner, "Efficient convolution without input-output delay", J. Audio Eng. Soc. 43(3), 1995;
    F. Wefers, "Partitioned convolution algorithms for real-time auralization", PhD thesis, RWTH Aachen, 2015.

    Inlets: ``input``; the channels of several streams are put one after another.

    Parameters
    ----------
    taps
        The responses, at least one tap and one channel.
    block
        Frames of a firing, 1 to 65536.

    Examples
    --------
    >>> FIR([0.5, 0.5])
    FIR(taps=array([0.5, 0.5]), block=1)
    """

    taps: ArrayLike | Param
    block: int = 1

    inlets = (Inlet("input", gather="concat"),)
    params = ("taps",)
    channels = "all"
    archetype = "fir"

    @property
    def responses(self) -> NDArray[np.float64]:
        """The taps as an array."""
        return array_of(self.taps)

    def check(self) -> None:
        self.whole("block", 1, MAX_BLOCK)
        shape = self.responses.shape
        if (
            not 1 <= len(shape) <= 3
            or not all(1 <= n <= MAX_CHANNELS for n in shape[:-1])
            or not 1 <= shape[-1] <= MAX_TAPS
            or math.prod(shape) > MAX_NUMBERS
        ):
            raise BadNode(
                "FIR.taps has shape (taps,), (channels, taps) or (outputs, inputs, taps)",
                expected=f"1 to {MAX_CHANNELS} channels, 1 to {MAX_TAPS} taps, "
                f"at most {MAX_NUMBERS} numbers",
                got=str(shape),
            )

    def rate(self, port: str) -> int:
        return self.block

    def out_channels(self, widths: dict[str, int]) -> int:
        width, shape = widths.get("input", 1), self.responses.shape
        if len(shape) == 1:
            return width
        fits = {shape[1]} if len(shape) == 3 else {1, shape[0]}
        if width not in fits:
            raise BadNode(
                "FIR has a response for each input channel",
                expected=f"{' or '.join(map(str, sorted(fits)))} channel(s)",
                got=str(width),
            )
        return int(shape[0])

    def sizes(self, widths: dict[str, int]) -> tuple[int, ...]:
        shape, inputs = self.responses.shape, widths["input"]
        taps = int(shape[-1])
        head = 0 if self.block > 1 else taps if taps <= DIRECT else HEAD
        return math.prod(shape[:-1]), self.out_channels(widths), inputs, taps, head, self.block

    def reference(
        self, sample_rate: float, frames: int, *, input: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        taps, width = self.responses, input.shape[1]
        if taps.ndim == 1:
            taps = np.repeat(taps[None], width, axis=0)
        if taps.ndim == 2:
            alone = width == 1
            paths = [(o, 0 if alone else o, h) for o, h in enumerate(taps)]
        else:
            paths = [(o, i, h) for o, row in enumerate(taps) for i, h in enumerate(row)]
        out = np.zeros((len(input), len(taps), frames))
        for o, i, h in paths:
            for batch, x in enumerate(input[:, i]):
                out[batch, o] += np.convolve(x, h)[:frames]
        return out

    @classmethod
    def samples(cls) -> Iterator[NodeType]:
        k = np.arange(150)
        fading = np.cos(k * k / 50) * 0.98**k / 4
        yield cls([0.5, -0.25, 0.125])
        yield cls(
            [[[0.5, 0.25], [0.0, -1.0]], [[1.0, 0.125], [-0.5, 0.75]], [[0.1, 0.2], [0.3, 0.4]]]
        )
        yield cls(fading)
        yield cls([fading, fading[::-1]])
        yield cls([fading[:40]], block=8)

    @classmethod
    def refuses(cls) -> Iterator[tuple[dict[str, Any], str]]:
        yield {}, "FIR needs the attribute 'taps'"
        yield {"taps": 1.0}, "FIR.taps has shape (taps,), (channels, taps)"
        yield {"taps": np.zeros((2, 0))}, "FIR.taps has shape (taps,), (channels, taps)"
        yield {"taps": [np.nan]}, "FIR.taps is finite"
        yield {"taps": [1.0], "block": 0}, "FIR.block is a whole number from 1 to 65536"
