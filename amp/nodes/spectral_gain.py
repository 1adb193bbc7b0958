"""A gain for each band of a spectrum."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from amp.contract import Inlet, NodeType, Param, array_of
from amp.errors import BadNode, PortMismatch
from amp.nodes._spectra import spectra, to_complex, to_planes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike, NDArray


class SpectralGain(NodeType):
    """Multiplies the spectra of an `STFT` band by band::

        Y_n[k] = response[k] gain_n[k] X_n[k]

    Inlets: ``input``, spectra; ``gain``, optional: one channel a band, or two, real and imaginary part,
    for all channels of the input or for each of them.

    Parameters
    ----------
    response
        An array of shape ``(bands,)``, real gains; ``(bands, 2)``, complex ones, real and imaginary
        part; or ``(channels, bands, 2)``. An `amp.Param` can be set between runs, and has a gradient.

    Examples
    --------
    >>> import amp
    >>> g = amp.Graph()
    >>> spectrum = g.add(amp.nodes.STFT(8, 4), g.input("x"))
    >>> low = g.add(SpectralGain([1.0, 1.0, 0.5, 0.0, 0.0]), spectrum)
    """

    response: ArrayLike | Param
    inlets = (Inlet("input"), Inlet("gain", optional=True))
    params = ("response",)
    channels = "all"
    archetype = "spectral_gain"

    def check(self) -> None:
        shape = array_of(self.response).shape
        if not 1 <= len(shape) <= 3 or 0 in shape or (len(shape) > 1 and shape[-1] != 2):
            raise BadNode(
                "SpectralGain.response has shape (bands,), (bands, 2) or (channels, bands, 2)",
                got=str(shape),
            )

    @property
    def layout(self) -> tuple[int, int, int]:
        """Channels (1 is all of them), bands and parts of the response."""
        shape = array_of(self.response).shape
        match shape:
            case (bands,):
                return 1, bands, 1
            case (bands, _):
                return 1, bands, 2
        return shape[0], shape[1], 2

    def _gains(self, widths: dict[str, int], channels: int) -> tuple[int, int]:
        """Parts and channels of what comes into ``gain``: (0, 0) is nothing."""
        width, bands = widths.get("gain", 0), self.layout[1]
        for count in (1, channels):
            if width in {count * bands, 2 * count * bands}:
                return width // (count * bands), count
        if width:
            raise PortMismatch(
                "a stream of gains has a channel or two for each band",
                expected=f"{bands} or {2 * bands}, or {channels} times as many",
                got=str(width),
            )
        return 0, 0

    def out_channels(self, widths: dict[str, int]) -> int:
        own, bands, _ = self.layout
        channels = spectra("SpectralGain", widths["input"], bands)
        if own not in {1, channels}:
            raise PortMismatch(
                "SpectralGain.response has a row for each channel, or one for all",
                expected=f"{channels} row(s)",
                got=str(own),
            )
        self._gains(widths, channels)
        return widths["input"]

    def sizes(self, widths: dict[str, int]) -> tuple[int, ...]:
        own, bands, parts = self.layout
        channels = spectra("SpectralGain", widths["input"], bands)
        return bands, channels, parts, own, *self._gains(widths, channels)

    def reference(
        self,
        sample_rate: float,
        frames: int,
        *,
        input: NDArray[np.float64],
        gain: NDArray[np.float64] | None = None,
    ) -> NDArray[np.float64]:
        own, bands, parts = self.layout
        x = to_complex(input, bands)
        own_gains = array_of(self.response).reshape(1, own, bands, 1, parts)
        y = x * (own_gains[..., 0] + (1j * own_gains[..., 1] if parts == 2 else 0))
        if gain is not None:
            batch, width, count = gain.shape
            complex_ = self._gains({"gain": width}, x.shape[1])[0] == 2
            y = y * (to_complex(gain, bands) if complex_ else gain.reshape(batch, -1, bands, count))
        return to_planes(y)

    @classmethod
    def samples(cls) -> Iterator[NodeType]:
        yield cls([1.0, 0.5, -0.25])
        yield cls([[1.0, 0.5], [0.25, -2.0]])

    @classmethod
    def refuses(cls) -> Iterator[tuple[dict[str, Any], str]]:
        yield {}, "SpectralGain needs the attribute 'response'"
        yield {"response": 1.0}, "SpectralGain.response has shape (bands,)"
        yield {"response": np.ones((4, 3))}, "SpectralGain.response has shape (bands,)"
        yield {"response": [np.inf]}, "SpectralGain.response is finite"
