"""A function of one's own of every band of a spectrum."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from amp.contract import Inlet, NodeType, Trace
from amp.errors import BadNode, PortMismatch
from amp.nodes._spectra import MAX_SIZE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from amp.ir import Value

    Map = Callable[[Trace, Value, Value, Value], tuple[Value | float, Value | float]]


class SpectralMap(NodeType):
    """What a function makes of each band of spectra, token by token::

        re(Y_n[k]), im(Y_n[k]) = function(b, re(X_n[k]), im(X_n[k]), k / size)

    It is traced once, as a node's ``forward``: with the operations of ``b``, and with states, which are
    one for each band (``b.state``, ``b.next``). It is differentiable as they are.

    Inlets: ``re`` and ``im``, real and imaginary parts of spectra, one channel a band: `amp.parts` of what
    an `STFT` gives. So are the outlets, of which `amp.pairs` makes spectra again.

    Parameters
    ----------
    size
        Points of the transform.
    function
        Gets the tracer, real and imaginary part, and the band's frequency in cycles per sample of the
        stream that was transformed; gives real and imaginary part.

    Examples
    --------
    >>> import amp
    >>> def smeared(b, re, im, frequency):
    ...     level = b.sqrt(re * re + im * im)
    ...     slow = b.state("level")
    ...     b.next("level", slow + 0.1 * (level - slow))
    ...     scale = slow / b.max(level, 1e-12)
    ...     return re * scale, im * scale
    >>> g = amp.Graph()
    >>> spectrum = g.input("spectrum", channels=10)
    >>> re, im = g.add(SpectralMap(8, smeared), *amp.parts(spectrum))
    >>> amp.pairs(re, im).channels
    10
    """

    size: int
    function: Map
    inlets = (Inlet("re"), Inlet("im"))
    outlets = ("re", "im")

    def __repr__(self) -> str:
        word = getattr(self.function, "__qualname__", repr(self.function))
        return f"SpectralMap(size={self.size}, function={word.rpartition('.')[2]})"

    def check(self) -> None:
        self.whole("size", 1, MAX_SIZE)
        if not callable(self.function):
            raise BadNode(
                "SpectralMap.function is a function of (b, re, im, frequency)",
                got=repr(self.function),
            )

    @property
    def bands(self) -> int:
        """Bands of a channel."""
        return self.size // 2 + 1

    def out_channels(self, widths: dict[str, int]) -> int:
        if len({*widths.values()}) > 1 or any(width % self.bands for width in widths.values()):
            raise PortMismatch(
                "SpectralMap takes as many real as imaginary parts, one channel a band",
                expected=f"a multiple of {self.bands} channels each",
                got=str(widths),
            )
        return widths["re"]

    def forward(self, b: Trace, re: Value, im: Value) -> tuple[Value | float, Value | float]:
        place = b.emit("to_float", b.lane())
        band = place - float(self.bands) * b.floor(place / float(self.bands))
        result = self.function(b, re, im, band / float(self.size))
        if not isinstance(result, tuple) or len(result) != 2:
            raise BadNode(
                "SpectralMap.function gives a real and an imaginary part",
                expected="a tuple of two values",
                got=repr(result),
            )
        return result

    def reference(
        self, sample_rate: float, frames: int, *, re: NDArray[np.float64], im: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        x = re + 1j * im
        frequency = (np.arange(x.shape[1]) % self.bands / self.size)[:, None]
        y = EXAMPLES[self.function](x, frequency)
        return y.real, y.imag

    @classmethod
    def samples(cls) -> Iterator[NodeType]:
        yield cls(4, delayed)
        yield cls(5, smeared)

    @classmethod
    def refuses(cls) -> Iterator[tuple[dict[str, Any], str]]:
        yield {"size": 4}, "SpectralMap needs the attribute 'function'"
        yield {"size": 0, "function": delayed}, "SpectralMap.size is a whole number from 1"
        yield {"size": 4, "function": 1.0}, "SpectralMap.function is a function of (b, re, im"


def delayed(b: Trace, re: Value, im: Value, frequency: Value) -> tuple[Value, Value]:
    """Half a sample later."""
    c, s = b.cos(np.pi * frequency), b.sin(np.pi * frequency)
    return re * c + im * s, im * c - re * s


def smeared(b: Trace, re: Value, im: Value, frequency: Value) -> tuple[Value, Value]:
    """Times a slowed power, ``p <- p + (|X|^2 - p) / 4``."""
    power = b.state("power")
    following = power + 0.25 * (re * re + im * im - power)
    b.next("power", following)
    return following * re, following * im


def _smeared(x: NDArray[np.complex128], frequency: NDArray[np.float64]) -> NDArray[np.complex128]:
    y, power = np.empty_like(x), np.zeros(x.shape[:2])
    for n in range(x.shape[2]):
        power = power + 0.25 * (np.abs(x[..., n]) ** 2 - power)
        y[..., n] = power * x[..., n]
    return y


EXAMPLES: dict[Any, Callable[..., NDArray[np.complex128]]] = {
    delayed: lambda x, frequency: x * np.exp(-1j * np.pi * frequency),
    smeared: _smeared,
}
"""NumPy form of the functions of the samples."""
