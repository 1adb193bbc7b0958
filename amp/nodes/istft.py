"""The inverse short-time Fourier transform."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from amp.contract import Inlet, NodeType, Param, array_of
from amp.errors import BadNode
from amp.nodes._spectra import (
    LEAST,
    check_window,
    named_window,
    overlapped,
    spectra,
    to_complex,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike, NDArray


class ISTFT(NodeType):
    """The stream whose `STFT` is nearest, in least squares, to the given spectra::

        v_n[j] = (1 / size) sum of all bands of X_n[k] exp(2 pi i j k / size)
        y[hop n + j] = sum_m g[j + m hop] v_(n-m)[j + m hop]      j = 0 .. hop - 1
        g[j] = w[j] / sum_m w[j + m hop]^2                        m over all that are in the window

    Give it the numbers of the `STFT`: what goes through both comes out the same, ``L - hop`` frames late
    (`late`), L samples of the window. In the clock's time that is ``L - 1`` frames, because a piece waits
    for its last sample. The imaginary part of the first band is not read, and for an even ``size`` not
    that of the last.

    Source: D. Griffin, J. Lim, "Signal estimation from modified short-time Fourier transform", IEEE
    Trans. ASSP 32(2), 1984, eq. 6.

    Inlets: ``input``, with a multiple of ``2 (size // 2 + 1)`` channels, packed as those of `STFT`.

    Parameters
    ----------
    size, hop, window
        Those of the `STFT`, whose window w is. Its squares, added up over the hops, are nowhere 0: below
        1e-6 of the largest sum they are refused.

    Examples
    --------
    >>> import amp
    >>> g = amp.Graph()
    >>> spectrum = g.add(amp.nodes.STFT(8, 4), g.input("x"))
    >>> g.output("out", g.add(ISTFT(8, 4), spectrum))
    >>> x = np.arange(1.0, 13.0).reshape(1, 1, 12)
    >>> amp.compile(g).render({"x": x})["out"].round(9) + 0.0
    array([[[0., 0., 0., 0., 1., 2., 3., 4., 5., 6., 7., 8.]]])
    """

    size: int
    hop: int
    window: ArrayLike | Param | str = "hann"

    inlets = (Inlet("input"),)
    params = ("window",)
    channels = "all"
    archetype = "istft"

    def meant(self, name: str, value: Any) -> Any:
        return named_window(type(self), value, self.size) if name == "window" else value

    def check(self) -> None:
        check_window(self)
        sums = overlapped(array_of(self.window), self.hop)
        if not sums.min() > LEAST * sums.max():
            raise BadNode(
                "ISTFT.window, squared and added up over its hops, is nowhere 0",
                expected=f"each sum above {LEAST} of the largest, {sums.max():.3g}",
                got=f"{sums.min():.3g} at sample {sums.argmin()} of a hop",
                fix="a smaller hop, or a window without zeros",
            )

    @property
    def bands(self) -> int:
        """Bands of a channel."""
        return self.size // 2 + 1

    @property
    def late(self) -> int:
        """Frames by which a stream through `STFT` and this comes later."""
        return array_of(self.window).size - self.hop

    def rate(self, port: str) -> int:
        return self.hop if port == "out" else 1

    def out_channels(self, widths: dict[str, int]) -> int:
        return spectra("ISTFT", widths["input"], self.bands)

    def sizes(self, widths: dict[str, int]) -> tuple[int, ...]:
        return (
            self.size,
            self.hop,
            array_of(self.window).size,
            self.out_channels(widths),
            self.bands,
        )

    def reference(
        self, sample_rate: float, frames: int, *, input: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        window, hop = array_of(self.window), self.hop
        spectrum = to_complex(input, self.bands).swapaxes(2, 3)
        pieces = np.fft.irfft(spectrum, self.size)[..., : window.size] * window
        batch, width, count, length = pieces.shape
        y = np.zeros((batch, width, count * hop + length))
        for n in range(count):
            y[..., n * hop : n * hop + length] += pieces[:, :, n]
        return y[..., : count * hop] / np.tile(overlapped(window, hop), count)

    @classmethod
    def samples(cls) -> Iterator[NodeType]:
        yield cls(4, 2)
        yield cls(9, 3, np.array([0.5, 1.0, -0.75, 0.25, 0.125]))

    @classmethod
    def refuses(cls) -> Iterator[tuple[dict[str, Any], str]]:
        yield {"size": 8, "hop": 0}, "ISTFT.hop is a whole number from 1 to the length"
        yield {"size": 8, "hop": 8}, "ISTFT.window, squared and added up over its hops, is nowhere"
        yield {"size": 8, "hop": 1, "window": np.zeros(8)}, "ISTFT.window, squared and added up"
