"""The short-time Fourier transform."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from amp.contract import Inlet, NodeType, Param, array_of
from amp.nodes._spectra import check_window, named_window, to_planes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike, NDArray


class STFT(NodeType):
    """Spectra of overlapping pieces: every ``hop`` frames one token, whose channels are the bands::

        X_n[k] = sum_j w[j] x[hop (n + 1) - L + j] exp(-2 pi i j k / size)      k = 0 .. size // 2

    with L samples of the window w, and x = 0 before the start. Band k of channel c has its real part in
    channel ``2 (c bands + k)`` and its imaginary part in the one behind, ``bands = size // 2 + 1``: as an
    array ``(batch, channels, bands, 2, tokens)``. What follows runs at the sample rate divided by ``hop``;
    `ISTFT` makes a stream of it again.

    A window that is shorter than ``size`` is followed by zeros: so there are as many bands as you like.
    The work grows with ``size log(size)`` and with the channels.

    Source: J. Allen, L. Rabiner, "A unified approach to short-time Fourier analysis and synthesis",
    Proc. IEEE 65(11), 1977.

    Inlets: ``input``.

    Parameters
    ----------
    size
        Points of the transform, from 1 to 2^20; best a product of 2, 3, 5 and 7.
    hop
        Frames from one piece to the next, at most the window's length.
    window
        ``hann``, ``hamming``, ``blackman``, ``sine`` or ``rectangular`` over ``size`` samples (periodic),
        or an array of at most ``size``; an `amp.Param` can be set between runs, and has a gradient.

    Examples
    --------
    >>> import amp
    >>> g = amp.Graph()
    >>> spectrum = g.add(STFT(8, 4), g.input("x"))
    >>> spectrum.channels
    10
    """

    size: int
    hop: int
    window: ArrayLike | Param | str = "hann"

    inlets = (Inlet("input"),)
    params = ("window",)
    channels = "all"
    archetype = "stft"

    def meant(self, name: str, value: Any) -> Any:
        return named_window(type(self), value, self.size) if name == "window" else value

    def check(self) -> None:
        check_window(self)

    @property
    def bands(self) -> int:
        """Bands of a channel."""
        return self.size // 2 + 1

    def rate(self, port: str) -> int:
        return self.hop if port == "input" else 1

    def out_channels(self, widths: dict[str, int]) -> int:
        return 2 * self.bands * widths["input"]

    def sizes(self, widths: dict[str, int]) -> tuple[int, ...]:
        return self.size, self.hop, array_of(self.window).size, widths["input"], self.bands

    def reference(
        self, sample_rate: float, frames: int, *, input: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        window = array_of(self.window)
        x = np.pad(input, ((0, 0), (0, 0), (window.size - self.hop, 0)))
        starts = np.arange(input.shape[2] // self.hop) * self.hop
        pieces = x[:, :, starts[:, None] + np.arange(window.size)] * window
        return to_planes(np.fft.rfft(pieces, self.size).swapaxes(2, 3))

    @classmethod
    def samples(cls) -> Iterator[NodeType]:
        yield cls(4, 2)
        yield cls(5, 2, np.array([0.5, 1.0, -0.75]))

    @classmethod
    def refuses(cls) -> Iterator[tuple[dict[str, Any], str]]:
        yield {"size": 0, "hop": 1}, "STFT.size is a whole number from 1"
        yield {"size": 8, "hop": 9}, "STFT.hop is a whole number from 1 to the length of its window"
        yield {"size": 8, "hop": 4, "window": "kaiser"}, "STFT.window is one of 'rectangular'"
        yield {"size": 8, "hop": 4, "window": np.ones(9)}, "STFT.window is a name or has shape"
        yield {"size": 8, "hop": 4, "window": 1.0}, "STFT.window is a name or has shape"
