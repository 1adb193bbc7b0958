"""NumPy references of the archetypes, named by the manifest. Never imported by amp."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Matrix = npt.NDArray[np.float64]


def fma(a: float, b: float, c: float) -> float:
    """Multiply and add with one rounding: exact rationals, then the one conversion."""
    return float(Fraction(a) * Fraction(b) + Fraction(c))


def fused_product(start: Matrix, a: Matrix, b: Matrix) -> Matrix:
    """Add a @ b to start, each element one chain of fma over k ascending. Slow; for small cases."""
    out = start.copy()
    for m, n in np.ndindex(*out.shape):
        chain = float(out[m, n])
        for k in range(a.shape[1]):
            chain = fma(float(a[m, k]), float(b[k, n]), chain)
        out[m, n] = chain
    return out


def matrix_mix_forward(w: Matrix, x: Matrix) -> Matrix:
    """y[o] = fma(w[o, i], x[i], y[o]), i ascending from zero."""
    return fused_product(np.zeros((w.shape[0], x.shape[1])), w, x)


def matrix_mix_adjoint(w: Matrix, x: Matrix, dy: Matrix, dw: Matrix) -> tuple[Matrix, Matrix]:
    """(dw, dx): dw is added to from the last frame to the first, dx runs over o ascending."""
    dx = fused_product(np.zeros_like(x), w.T, dy)
    return fused_product(dw, dy[:, ::-1], x[:, ::-1].T), dx


def matrix_mix(
    sizes: Sequence[int], frames: int, given: Mapping[str, Matrix]
) -> Mapping[str, Matrix]:
    """The outlets of the archetype, bit for bit."""
    return {"out": matrix_mix_forward(given["matrix"], given["input"])}


def to_complex(planes: Matrix, channels: int) -> npt.NDArray[np.complex128]:
    """Spectra (channel, band, token) of pairs of planes."""
    pairs = planes.reshape(channels, -1, 2, planes.shape[1])
    found: npt.NDArray[np.complex128] = pairs[:, :, 0] + 1j * pairs[:, :, 1]
    return found


def to_planes(spectra: npt.NDArray[np.complex128]) -> Matrix:
    """And back."""
    return np.stack([spectra.real, spectra.imag], axis=2).reshape(-1, spectra.shape[2])


def stft(sizes: Sequence[int], frames: int, given: Mapping[str, Matrix]) -> Mapping[str, Matrix]:
    """Every piece transformed by NumPy."""
    size, hop, length, _, _ = sizes
    x = np.pad(given["input"], ((0, 0), (length - hop, 0)))
    pieces = np.stack([x[:, f * hop : f * hop + length] for f in range(frames)], axis=1)
    return {"out": to_planes(np.fft.rfft(pieces * given["window"], size).swapaxes(1, 2))}


def istft(sizes: Sequence[int], frames: int, given: Mapping[str, Matrix]) -> Mapping[str, Matrix]:
    """Pieces and the window's squares added up, each sample divided at the end."""
    size, hop, length, channels, _ = sizes
    window, x = given["window"], to_complex(given["input"], channels)
    y = np.zeros((channels, frames * hop + length))
    for f in range(frames):
        piece = np.fft.irfft(x[..., f], size)[:, :length]
        y[:, f * hop : f * hop + length] += window * piece
    squares = np.array([sum(window[j::hop] ** 2) for j in range(hop)])
    return {"out": y[:, : frames * hop] / np.tile(squares, frames)}


def spectral_gain(
    sizes: Sequence[int], frames: int, given: Mapping[str, Matrix]
) -> Mapping[str, Matrix]:
    """Products of complex numbers."""
    bands, channels, parts, _, gain_parts, gains = sizes
    response, gain = given["response"], given["gain"].reshape(gains, bands, gain_parts, frames)
    h = response[..., 0] + (1j * response[..., 1] if parts == 2 else 0)
    g = gain[:, :, 0] + (1j * gain[:, :, 1] if gain_parts == 2 else 0)
    return {"out": to_planes(h[..., None] * g * to_complex(given["input"], channels))}


def spectral_division(
    sizes: Sequence[int], frames: int, given: Mapping[str, Matrix]
) -> Mapping[str, Matrix]:
    """Quotients of complex numbers."""
    _, channels, divisors, low, high = sizes
    x, d = to_complex(given["input"], channels), to_complex(given["divisor"], divisors)
    y = x * np.exp(2j * np.pi * given["phase"]) / (d + given["regularisation"] / d.conj())
    y[:, :low] = 0
    y[:, high:] = 0
    return {"out": to_planes(y)}


def fir(sizes: Sequence[int], frames: int, given: Mapping[str, Matrix]) -> Mapping[str, Matrix]:
    """The outlets of the archetype, path by path, to rounding."""
    rows, outs, ins, *_, block = sizes
    out = np.zeros((outs, frames * block))
    is_matrix = rows == outs * ins and (rows != outs or outs != ins)
    for o in range(outs):
        for i in range(ins) if is_matrix else [o]:
            row = o * ins + i if is_matrix else o % rows
            out[o] += np.convolve(given["input"][i], given["taps"][row])[: frames * block]
    return {"out": out}
