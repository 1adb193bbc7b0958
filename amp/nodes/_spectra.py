"""Windows by name, and spectra as arrays: what the spectral node types have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from amp.contract import array_of
from amp.errors import BadNode, PortMismatch

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from amp.contract import NodeType

MAX_SIZE = 1 << 20
COSINES = {
    "rectangular": (1.0,),
    "hann": (0.5, 0.5),
    "hamming": (0.54, 0.46),
    "blackman": (0.42, 0.5, 0.08),
}
"""Terms of the windows that are sums of cosines of alternating sign (Harris 1978)."""
WINDOWS = (*COSINES, "sine")
LEAST = 1e-6
"""Least sum of a window's squares over its hops, beside the largest: below it the inverse would make
more than 1e-12 of a rounding."""


def named_window(kind: type[NodeType], value: Any, size: int) -> Any:
    """The window of a name, periodic, over ``size`` samples; anything else is as it is given."""
    if not isinstance(value, str):
        return value
    if value not in WINDOWS:
        raise BadNode(
            f"{kind.__name__}.window is one of {', '.join(map(repr, WINDOWS))}, or an array",
            got=repr(value),
        )
    place = np.arange(size) / size
    if value == "sine":
        return np.sin(np.pi * (place + 0.5 / size))
    return sum((-1) ** m * a * np.cos(2 * np.pi * m * place) for m, a in enumerate(COSINES[value]))


def check_window(node: Any) -> None:
    """Raise unless a node's ``size``, ``hop`` and ``window`` go together."""
    name = type(node).__name__
    node.whole("size", 1, MAX_SIZE)
    window = array_of(node.window)
    if window.ndim != 1 or not 1 <= window.size <= node.size:
        raise BadNode(
            f"{name}.window is a name or has shape (samples,), at most {name}.size of them",
            expected=f"1 to {node.size} samples",
            got=f"shape {window.shape}",
        )
    hop = node.hop
    if not isinstance(hop, int) or isinstance(hop, bool) or not 1 <= hop <= window.size:
        raise BadNode(
            f"{name}.hop is a whole number from 1 to the length of its window",
            expected=f"1 to {window.size}",
            got=repr(hop),
        )


def overlapped(window: NDArray[np.float64], hop: int) -> NDArray[np.float64]:
    """Squares of a window, added up over its hops: one number for each place in a hop."""
    squares = np.zeros(-(-window.size // hop) * hop)
    squares[: window.size] = window**2
    total: NDArray[np.float64] = squares.reshape(-1, hop).sum(axis=0)
    return total


def spectra(name: str, width: int, bands: int) -> int:
    """Channels whose spectra lie in ``width`` channels."""
    if width % (2 * bands):
        raise PortMismatch(
            f"{name} takes spectra: two channels a band, real and imaginary part",
            expected=f"a multiple of {2 * bands} channels, {bands} bands",
            got=str(width),
        )
    return width // (2 * bands)


def to_complex(planes: NDArray[np.float64], bands: int) -> NDArray[np.complex128]:
    """Spectra ``(batch, channel, band, token)`` of their channels ``(batch, 2 channel band, token)``."""
    pairs = planes.reshape(planes.shape[0], -1, bands, 2, planes.shape[-1])
    found: NDArray[np.complex128] = pairs[:, :, :, 0] + 1j * pairs[:, :, :, 1]
    return found


def to_planes(spectrum: NDArray[np.complex128]) -> NDArray[np.float64]:
    """And back."""
    pairs = np.stack([spectrum.real, spectrum.imag], axis=3)
    return pairs.reshape(spectrum.shape[0], -1, spectrum.shape[-1])
