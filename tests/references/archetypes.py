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
