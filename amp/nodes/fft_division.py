"""One spectrum divided by another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from amp.contract import Inlet, NodeType, Param, array_of
from amp.errors import BadNode, PortMismatch
from amp.nodes._spectra import MAX_SIZE, spectra, to_complex, to_planes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray


class FFTDivision(NodeType):
    """Divides the spectra of two `STFT` of one size band by band, regularised, and turns the quotient::

        Y[k] = X[k] conj(D[k]) exp(2 pi i phase) / (|D[k]|^2 + regularisation)    low <= k < high, else 0

    Where the divisor is strong this is X / D, and where it is weak it goes to 0 and not to infinity:
    deconvolution, or a transfer function from two recordings.

    Source: A. Tikhonov, V. Arsenin, "Solutions of Ill-posed Problems", 1977; for spectra O. Kirkeby et al.,
    "Fast deconvolution of multichannel systems using regularization", IEEE Trans. SAP 6(2), 1998.

    Inlets: ``input``, spectra; ``divisor``, as many of them or those of one channel.

    Parameters
    ----------
    size
        Points of the transforms.
    low, high
        First band, and the one behind the last, that are divided; all of them by default. Band k is
        at ``k / size`` of the sample rate of the streams that were transformed.
    regularisation
        A power above 0.
    phase
        By how many cycles the quotient is turned, in every band.

    ``regularisation`` and ``phase`` may be an `amp.Param`.

    Examples
    --------
    >>> FFTDivision(1024, low=4, high=400, regularisation=1e-3)
    FFTDivision(size=1024, low=4, high=400, regularisation=0.001, phase=0.0)
    """

    size: int
    low: int = 0
    high: int | None = None
    regularisation: float | Param = 1e-9
    phase: float | Param = 0.0
    inlets = (Inlet("input"), Inlet("divisor"))
    params = ("regularisation", "phase")
    channels = "all"
    archetype = "spectral_division"

    def check(self) -> None:
        self.whole("size", 1, MAX_SIZE)
        self.whole("low", 0, self.bands)
        if self.high is not None:
            self.whole("high", self.low, self.bands)
        for name in type(self).params:
            if array_of(getattr(self, name)).ndim:
                raise BadNode(f"FFTDivision.{name} is one number", got=repr(getattr(self, name)))
        if not array_of(self.regularisation) > 0:
            raise BadNode("FFTDivision.regularisation is above 0", got=repr(self.regularisation))

    @property
    def bands(self) -> int:
        """Bands of a channel."""
        return self.size // 2 + 1

    @property
    def limits(self) -> tuple[int, int]:
        """First band, and the one behind the last."""
        return self.low, self.bands if self.high is None else self.high

    def out_channels(self, widths: dict[str, int]) -> int:
        given, divisors = (spectra("FFTDivision", w, self.bands) for w in widths.values())
        if divisors not in {1, given}:
            raise PortMismatch(
                "FFTDivision has a divisor for each channel, or one for all",
                expected=f"{given} spectra",
                got=str(divisors),
            )
        return widths["input"]

    def sizes(self, widths: dict[str, int]) -> tuple[int, ...]:
        given, divisors = (spectra("FFTDivision", w, self.bands) for w in widths.values())
        return self.bands, given, divisors, *self.limits

    def reference(
        self,
        sample_rate: float,
        frames: int,
        *,
        input: NDArray[np.float64],
        divisor: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        x, d = to_complex(input, self.bands), to_complex(divisor, self.bands)
        turn = np.exp(2j * np.pi * array_of(self.phase))
        y = turn * x * d.conj() / (np.abs(d) ** 2 + array_of(self.regularisation))
        low, high = self.limits
        y[:, :, :low] = 0
        y[:, :, high:] = 0
        return to_planes(y)

    @classmethod
    def samples(cls) -> Iterator[NodeType]:
        yield cls(4, regularisation=0.2)
        yield cls(5, 1, 2, regularisation=0.4, phase=0.3)

    @classmethod
    def refuses(cls) -> Iterator[tuple[dict[str, Any], str]]:
        yield {"size": 0}, "FFTDivision.size is a whole number from 1"
        yield {"size": 4, "high": 4}, "FFTDivision.high is a whole number from 0 to 3"
        yield {"size": 4, "regularisation": 0.0}, "FFTDivision.regularisation is above 0"
        yield {"size": 4, "phase": [0.0, 0.5]}, "FFTDivision.phase is one number"
