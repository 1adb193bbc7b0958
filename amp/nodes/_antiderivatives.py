"""Means of a function over what lies between neighbouring samples, without cancellation.

Antiderivative antialiasing of order n gives the mean of f under the B-spline density whose knots are the
last n + 1 samples. By the formula of Hermite and Genocchi that is n! times a divided difference of the
n-th antiderivative of f. Where its samples are close, a divided difference of rounded numbers is noise;
there the mean is a Taylor series about their middle. Where f is made of ``max(x, 0)``, the mean is a
quotient of terms of one sign, and needs no series.

Source: J. Parker, V. Zavalishin, E. Le Bivic, "Reducing the aliasing of nonlinear waveshaping using
continuous-time convolution", DAFx 2016; S. Bilbao, F. Esqueda, J. Parker, V. Valimaki, "Antiderivative
antialiasing for memoryless nonlinearities", IEEE Signal Processing Letters 24(7), 2017; C. de Boor,
"Divided differences", Surveys in Approximation Theory 1, 2005.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from numpy.polynomial import polynomial

if TYPE_CHECKING:
    from collections.abc import Callable

    from amp.contract import Trace
    from amp.ir import Value

CLOSE = 0.03
"""Samples nearer than this are close. What the series leave out is below 1e-12 then; and a difference of
rounded numbers that are farther apart is off by less than 1e-12 times their square."""
TINY = 1e-200

DILOGARITHM = (
    0.4484142069236462,
    0.4054651081081648,
    -0.036065887387415646,
    0.005525406406401382,
    -0.001057635051725261,
    0.00022882409118569677,
    -5.35125311850655e-05,
    1.3207353961815849e-05,
    -3.391304992970949e-06,
    8.9762247001492e-07,
    -2.4334879335325565e-07,
    6.72312363080486e-08,
    -1.8885181730900943e-08,
    5.4340392304774566e-09,
    -1.5660102577151575e-09,
    4.0377336043753043e-10,
    -1.1808435179757102e-10,
    6.082399816105815e-11,
    -1.8200950906416723e-11,
)
"""``-Li2(-z) = P(2 z - 1)`` for z in [0, 1]: interpolated at the roots of the Chebyshev polynomial T19,
within 1.2e-16."""
SLOPES = [[0.0, 1.0]]
"""Derivatives of tanh as polynomials of tanh: each one's slope times ``1 - tanh^2``."""
for _ in range(5):
    SLOPES.append(polynomial.polymul(polynomial.polyder(SLOPES[-1]), [1, 0, -1]).tolist())


def _horner(b: Trace, coefficients: list[float], x: Value) -> Value:
    total = b.const(coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        total = b.fma(total, x, coefficient)
    return total


def _tanh_slopes(b: Trace, x: Value) -> list[Value]:
    t = b.tanh(x)
    return [_horner(b, slope, t) for slope in SLOPES]


def _log_cosh(b: Trace, x: Value) -> Value:
    z = b.exp(-2.0 * abs(x))
    return abs(x) + (b.log(1.0 + z) - math.log(2))


def _tanh_second(b: Trace, x: Value) -> Value:
    """``integral_0^x log cosh = sign(x) (a^2/2 - a log 2 + (pi^2/12 + Li2(-e^(-2a))) / 2)``, a = |x|."""
    a = abs(x)
    rest = _horner(b, list(DILOGARITHM), b.fma(2.0, b.exp(-2.0 * a), -1.0))
    total = b.fma(a, b.fma(0.5, a, -math.log(2)), b.fma(-0.5, rest, math.pi**2 / 24))
    return b.select(x < 0.0, -total, total)


def _sine_slopes(b: Trace, x: Value) -> list[Value]:
    s, c = b.sin(x), b.cos(x)
    return [s, c, -s, -c, s, c]


SMOOTH: dict[str, tuple[Callable[..., list[Value]], Callable[..., Value], Callable[..., Value]]] = {
    "tanh": (_tanh_slopes, _log_cosh, _tanh_second),
    "sine": (_sine_slopes, lambda b, x: -b.cos(x), lambda b, x: -b.sin(x)),
}
"""By name: the function and its first five derivatives at x, an antiderivative, and one of that."""


def _quotient(b: Trace, far: Value, difference: Value, by: Value, near: Value) -> Value:
    """``difference / by`` where ``far`` holds; elsewhere nothing is divided by 0, for its derivative."""
    return b.select(far, difference / b.select(far, by, 1.0), near)


def smooth_mean(b: Trace, name: str, x: Value, last: Value) -> Value:
    """Mean of a smooth function over [last, x]."""
    slopes, first, _ = SMOOTH[name]
    step = x - last
    square = (0.25 * step) * step
    f = slopes(b, 0.5 * (x + last))
    near = b.fma(square, b.fma(square, f[4] * (1 / 120), f[2] * (1 / 6)), f[0])
    return _quotient(b, abs(step) > CLOSE, first(b, x) - first(b, last), step, near)


def smooth_mean_of_three(b: Trace, name: str, x: Value, last: Value, older: Value) -> Value:
    """Mean of a smooth function under the density of three samples."""
    slopes, _, second = SMOOTH[name]
    low, middle, high = _sorted(b, x, last, older)
    ends = [second(b, at) for at in (low, middle, high)]

    def mean_of_first(i: int, begin: Value, end: Value) -> Value:
        """Mean over [begin, end] of the first antiderivative."""
        step = end - begin
        square, at = (0.25 * step) * step, 0.5 * (begin + end)
        f = slopes(b, at)
        near = b.fma(
            square, b.fma(square, f[3] * (1 / 120), f[1] * (1 / 6)), SMOOTH[name][1](b, at)
        )
        return _quotient(b, step > CLOSE, ends[i + 1] - ends[i], step, near)

    centre = (low + middle + high) * (1 / 3)
    u, v, w = low - centre, middle - centre, high - centre
    pairs, product = b.fma(u, v, w * (u + v)), u * v * w  # u + v + w = 0
    f = slopes(b, centre)
    near = b.fma(pairs * product, f[5] * (-2 / 2520), f[0])
    near = b.fma(pairs * pairs, f[4] * (1 / 360), near)
    near = b.fma(product, f[3] * (1 / 60), near)
    near = b.fma(pairs, f[2] * (-1 / 12), near)
    outer = high - low
    difference = mean_of_first(1, middle, high) - mean_of_first(0, low, middle)
    return _quotient(b, outer > CLOSE, 2.0 * difference, outer, near)


def ramp_mean(b: Trace, x: Value, last: Value) -> Value:
    """Mean of ``max(x, 0)`` over [last, x]."""
    low, high = b.min(x, last), b.max(x, last)
    across = (high * high) / b.max(2.0 * (high - low), TINY)
    return b.select(low < 0.0, b.select(high > 0.0, across, 0.0), 0.5 * (low + high))


def ramp_mean_of_three(b: Trace, x: Value, last: Value, older: Value) -> Value:
    """Mean of ``max(x, 0)`` under the density of three samples."""
    low, middle, high = _sorted(b, x, last, older)
    outer = high - low
    above = b.max(high, 0.0)
    above = above * (above * above) / b.max(3.0 * ((high - middle) * outer), TINY)
    below = b.max(-low, 0.0)
    below = below * (below * below) / b.max(3.0 * ((middle - low) * outer), TINY)
    return b.select(middle > 0.0, b.fma(low + middle + high, 1 / 3, below), above)


def _sorted(b: Trace, x: Value, y: Value, z: Value) -> tuple[Value, Value, Value]:
    low, high = b.min(x, y), b.max(x, y)
    return b.min(low, z), b.max(low, b.min(high, z)), b.max(high, z)
