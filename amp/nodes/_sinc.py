"""Windowed sinc filters that resamplers share: how good each quality is, and its coefficients.

The filter is Kaiser's: ``h(u) = c sinc(c u) I0(b sqrt(1 - (u / Z)^2)) / I0(b)`` for ``|u| <= Z``, with u in
tokens of the lower rate. Its pass-band ends at the share p of half that rate and its stop-band begins at half
of it, so c is in the middle, ``(1 + p) / 2``. For A dB in the stop-band, and with the same ripple in the pass-band::

    b = 0.1102 (A - 8.7);      Z = (A - 7.95) / (2.285 * 2 pi (1 - p)) at least

Source: J. F. Kaiser, "Nonrecursive digital filter design using the I0-sinh window function", Proc. IEEE
Int. Symp. Circuits and Systems, 1974; as a resampler: J. O. Smith, "Digital audio resampling", CCRMA, Stanford.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
from numpy.polynomial.chebyshev import cheb2poly
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Quality(NamedTuple):
    """What a resampler promises.

    Attributes
    ----------
    stop
        Least attenuation from half the lower rate on [dB].
    passes
        End of the pass-band, as a share of half the lower rate; its ripple is that of the stop-band.
    crossings
        Z: tokens of the lower rate to each side that the filter reads, its latency.
    degree
        Degree of the polynomials of a filter that is read between its phases (`segments`).
    """

    stop: float
    passes: float
    crossings: int
    degree: int


QUALITIES = {
    "draft": Quality(60.0, 0.8, 20, 5),
    "good": Quality(96.0, 0.85, 44, 7),
    "best": Quality(124.0, 0.9, 84, 8),
}
GRID = 2.0**-32
"""Coefficients are whole multiples of it, 190 dB down, so that they do not depend on how a machine rounds."""
MARGIN = 3.0
"""The filter is designed for so many dB more than it promises."""


def sinc(quality: Quality, u: Floats) -> Floats:
    """h(u), u in tokens of the lower rate."""
    beta = 0.1102 * (quality.stop + MARGIN - 8.7)
    cutoff = (1 + quality.passes) / 2
    inside = np.maximum(1 - (u / quality.crossings) ** 2, 0.0)
    window = np.i0(beta * np.sqrt(inside)) / np.i0(beta)
    return np.where(abs(u) <= quality.crossings, cutoff * np.sinc(cutoff * u) * window, 0.0)


@functools.cache
def prototype(name: str, up: int, down: int) -> Floats:
    """Coefficients at ``up`` times the rate of what comes in, symmetric about the middle one, which lies at
    a multiple of ``down``."""
    quality = QUALITIES[name]
    each = max(up, down)
    half = -(-quality.crossings * each // down) * down
    return rounded(sinc(quality, np.arange(-half, half + 1) / each)) * (up / each)


def rounded(h: Floats) -> Floats:
    """``h`` on the grid."""
    return np.asarray(np.round(h / GRID) * GRID)


@functools.cache
def segments(name: str) -> Floats:
    """h between its phases, where both rates are the same: ``h(v + 1/2 - q) = sum_m c[q - 1, m] v^m`` for
    ``|v| <= 1/2`` and q = 1 .. Z; by symmetry ``h(v - 1/2 + q)`` is that of -v.

    Each is the polynomial through the Chebyshev points, within a share of the stop-band of h.
    """
    quality = QUALITIES[name]
    count = quality.degree + 1
    angles = np.pi * (np.arange(count) + 0.5) / count
    q = np.arange(1, quality.crossings + 1)[:, None]
    points = sinc(quality, 0.5 * np.cos(angles) + 0.5 - q)
    out = np.zeros((quality.crossings, count))
    for k in range(count):  # of T_k(2 v), as a polynomial in v
        share = (points * np.cos(k * angles)).sum(axis=1) * ((2.0 if k else 1.0) / count)
        powers = cheb2poly([0] * k + [1]) * 2.0 ** np.arange(k + 1)
        out[:, : k + 1] += share[:, None] * powers
    return rounded(out)
