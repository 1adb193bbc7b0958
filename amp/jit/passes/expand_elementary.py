"""Pass: elementary functions become arithmetic, so that they stay SIMD in every lane.

LLVM calls a vector ``exp`` or ``sin`` once per lane. Here each is a range reduction and a
polynomial in the other operations: no table, no branch, no conversion between integers and
floats. Every operation is an IEEE one, so a result has the same bits at every lane width.

How the numbers below were made: a constant that needs more than 53 bits is given as a sum of
doubles, each the nearest to what is left. Polynomials and the one rational function are minimax in
the *relative* error of the function itself, found by the Remez exchange algorithm (for the rational
one on the equations linearised about the last denominator) in 300-bit arithmetic with mpmath, on
the interval stated, then rounded to doubles. Where x, or 1 + x, leads an approximation, that part
is exact and only the correction is fitted.

General source: J.-M. Muller, "Elementary Functions", 3rd ed., Birkhauser 2016, on minimax
approximation and on Cody and Waite's range reduction with fused multiply-adds.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from amp.ir import Builder

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from amp.ir import Kernel, Value

ULP_BOUNDS: dict[str, float] = {
    "exp": 1.1,
    "log": 1.0,
    "sin": 2.0,
    "cos": 2.0,
    "tan": 3.0,
    "tanh": 3.0,
}
"""Largest error in units in the last place of the exact result; each function says where."""

# Adding 1.5 * 2**52 rounds to the nearest integer, which is then read off the low bits of the sum.
_ROUNDER = 1.5 * 2.0**52
_SIGN = -(2**63)
_MIN_NORMAL = 2.0**-1022

_LN2 = (0.6931471805599453, 2.3190468138462996e-17)
_LOG2_E = 1.4426950408889634
_PI = (3.141592653589793, 1.2246467991473532e-16, -2.9947698097183397e-33)
_INVERSE_PI = 0.3183098861837907

_EXP_HIGH = 709.782712893384  # the largest x whose exp is finite
_EXP_LOW = -708.3964185322641  # the smallest x whose exp is not subnormal

# (expm1(r) - r) / r**2 on |r| <= ln(2)/2; error of expm1 below 2**-55.6
_EXPM1 = (
    0.5000000000000006,
    0.16666666666666588,
    0.041666666666576826,
    0.008333333333389507,
    0.0013888888931539699,
    0.00019841269719079207,
    2.4801505306072594e-05,
    2.755740750786998e-06,
    2.762602435570638e-07,
    2.5053774633722855e-08,
)

# (2 atanh(s) - 2 s) / s**3 of z = s**2 on s <= (sqrt(2) - 1) / (sqrt(2) + 1); error below 2**-59.4
_LOG = (
    0.6666666666666734,
    0.39999999999414676,
    0.2857142874238819,
    0.2222219857311381,
    0.1818356433034001,
    0.1531405043182422,
    0.14795951016676445,
)

# (sin(r) - r) / r**3 of z = r**2 on |r| <= pi/2 + 2**-10; error of sin below 2**-61.6
_SIN = (
    -0.16666666666666666,
    0.008333333333333193,
    -0.0001984126984120876,
    2.7557319211056197e-06,
    -2.5052106865188257e-08,
    1.6058939314064008e-10,
    -7.642981066425181e-13,
    2.7210629419672116e-15,
)

# tan(r) = (r + r z n(z)) / (1 + z d(z)) of z = r**2 on |r| <= pi/4 + 2**-10; error below 2**-55.3
_TAN_NUMERATOR = (-0.12828266709405117, 0.0028058287166066102, -7.482766666782432e-06)
_TAN_DENOMINATOR = (-0.4616160004273825, 0.023344495525674726, -0.00020843518591016064)


def expand_elementary(kernel: Kernel) -> Kernel:
    """Kernel without ``exp, log, sin, cos, tan, tanh``: valid IR in, valid IR out."""
    b = Builder()
    image: dict[Value, Value] = {}
    for value in kernel.values:
        operands = tuple(image[operand] for operand in value.operands)
        expand = EXPANSIONS.get(value.op)
        if expand is None:
            image[value] = b.emit(value.op, *operands, attribute=value.attribute)
        else:
            image[value] = expand(b, *operands)
    return replace(
        kernel,
        values=tuple(b.values),
        nexts=tuple(image[value] for value in kernel.nexts),
        stores=tuple(tuple(image[value] for value in planes) for planes in kernel.stores),
        powers=tuple(tuple(image[value] for value in some) for some in kernel.powers),
    )


def exp(b: Builder, x: Value) -> Value:
    """e to the ``x``, within 1.1 ulp for every ``x``.

    With k the integer nearest to x / ln 2 and r = x - k ln 2, exp(x) = 2**k (1 + expm1(r)):
    ln 2 in two parts, expm1 by a polynomial of degree 11 on |r| <= ln(2)/2, and k added to the
    exponent field. Above 709.78 the result is inf; below -708.39, where it would be subnormal,
    it is 0.
    """
    rounded = b.fma(x, _LOG2_E, _ROUNDER)
    r = _reduce(b, x, rounded - _ROUNDER, _LN2)
    y = b.fma(r * r, _polynomial(b, r, _EXPM1), r) + 1.0
    y = _scale(b, y, rounded)
    y = b.select(b.le(x, _EXP_HIGH), y, x * math.inf)  # inf above, and NaN stays NaN
    return b.select(b.lt(x, _EXP_LOW), 0.0, y)


def log(b: Builder, x: Value) -> Value:
    """Natural logarithm, within 1 ulp for every ``x``.

    x = 2**e (1 + f) with 1 + f in [sqrt(1/2), sqrt(2)), split by integer arithmetic on the bits.
    With s = f / (2 + f), log(1 + f) = 2 atanh(s), a polynomial of degree 15 in s that is added up
    as f - (f**2/2 - s (f**2/2 + R)), which keeps f, the exact leading part, to the end.
    log(0), and of what is flushed to 0, is -inf; of a negative number NaN; log(inf) = inf.

    Source: FreeBSD msun, ``e_log.c`` (K. C. Ng, 1993), for the form of the sum; own coefficients.
    """
    one, root_half = 0x3FF0000000000000, 0x3FE6A09E667F3BCD
    shifted = b.emit("iadd", b.emit("bits", x), one - root_half)
    biased = b.emit("ior", b.emit("ishr", shifted, 52), 0x4330000000000000)  # 2**52 + e + 1023
    e = b.emit("from_bits", biased) - (2.0**52 + 1023.0)
    mantissa = b.emit("iand", shifted, 0x000FFFFFFFFFFFFF)
    f = b.emit("from_bits", b.emit("iadd", mantissa, root_half)) - 1.0
    s = f / (f + 2.0)
    z = s * s
    half_square = (f * 0.5) * f
    tail = b.fma(z, _polynomial(b, z, _LOG), half_square)
    tail = b.fma(s, tail, e * _LN2[1])
    y = b.fma(e, _LN2[0], f - (half_square - tail))
    y = b.select(b.lt(x, math.inf), y, x)  # inf and NaN
    pole = b.select(b.le(x, -_MIN_NORMAL), math.nan, -math.inf)
    return b.select(b.lt(x, _MIN_NORMAL), pole, y)


def sin(b: Builder, x: Value) -> Value:
    """Sine of radians, within 2 ulp for |x| <= 2**40.

    With k the integer nearest to x / pi and r = x - k pi, sin(x) = (-1)**k sin(r): pi in three
    parts, sin by an odd polynomial of degree 17 on |r| <= pi/2. Beyond 2**40 the choice of k blurs
    and precision is lost by and by; from about 2**45 the result is only some number in [-1, 1].
    sin(inf) is NaN, and sin(-0) is +0.
    """
    rounded = b.fma(x, _INVERSE_PI, _ROUNDER)
    return _sine_of_multiple(b, x, rounded - _ROUNDER, rounded)


def cos(b: Builder, x: Value) -> Value:
    """Cosine of radians, within 2 ulp for |x| <= 2**40.

    As `sin`, with r = x - (k + 1/2) pi and cos(x) = (-1)**(k + 1) sin(r). Beyond 2**40 as `sin`.
    """
    odd_rounder = _ROUNDER + 1.0  # so that the lowest bit is that of k + 1
    rounded = b.fma(x, _INVERSE_PI, -0.5) + odd_rounder
    return _sine_of_multiple(b, x, (rounded - odd_rounder) + 0.5, rounded)


def tan(b: Builder, x: Value) -> Value:
    """Tangent of radians, within 3 ulp for |x| <= 2**40.

    With k the integer nearest to x / (pi/2) and r = x - k pi/2, tan(r) = N / D by a rational
    function, N odd of degree 7 and D even of degree 6, on |r| <= pi/4. tan(x) is N / D for even k
    and -D / N for odd k. What r loses by rounding is added to N, which mends most of it.
    Beyond 2**40 precision is lost by and by. tan(inf) is NaN, and tan(-0) is +0.
    """
    rounded = b.fma(x, 2 * _INVERSE_PI, _ROUNDER)
    k = rounded - _ROUNDER
    first, second, third = (0.5 * part for part in _PI)
    exact = b.fma(k, -first, x)
    step = k * second
    r = exact - step
    low = b.fma(k, -third, b.fma(k, -second, step))
    low = ((exact - r) - step) + low  # what r has lost by rounding
    r = _hold(b, r, 1.0)
    z = r * r
    numerator = b.fma(r * z, _polynomial(b, z, _TAN_NUMERATOR), low) + r
    denominator = b.fma(z, _polynomial(b, z, _TAN_DENOMINATOR), 1.0)
    parity = b.emit("ishl", b.emit("bits", rounded), 63)
    odd = b.emit("ilt", parity, 0)
    above = b.select(odd, denominator, numerator)
    below = b.select(odd, numerator, denominator)
    return _flip_sign(b, above, parity) / below


def tanh(b: Builder, x: Value) -> Value:
    """Hyperbolic tangent, within 3 ulp for every ``x``; odd, and exactly +-1 from |x| of 19.1.

    tanh(a) = F / (F + 1) with F = expm1(2 a) / 2 and a = |x|, held at 20. With k the integer
    nearest to 2 a / ln 2 and r = a - k ln(2)/2, F = 2**k q + (2**k - 1) / 2, where
    q = expm1(2 r) / 2 is the polynomial of `exp` with its argument doubled. For small |x| k = 0 and
    F = q, so the relative precision holds down to 0.
    """
    a = _hold_below(b, b.abs(x), 20.0)
    rounded = b.fma(a, 2 * _LOG2_E, _ROUNDER)
    r = _reduce(b, a, rounded - _ROUNDER, tuple(0.5 * part for part in _LN2))
    doubled = tuple(math.ldexp(c, i + 1) for i, c in enumerate(_EXPM1))
    q = b.fma(r * r, _polynomial(b, r, doubled), r)
    scale = _scale(b, b.const(1.0), rounded)
    big_f = b.fma(scale, q, b.fma(scale, 0.5, -0.5))
    y = big_f / (big_f + 1.0)
    sign = b.emit("iand", b.emit("bits", x), _SIGN)
    return b.emit("from_bits", b.emit("ior", b.emit("bits", y), sign))


EXPANSIONS: dict[str, Callable[[Builder, Value], Value]] = {
    "exp": exp,
    "log": log,
    "sin": sin,
    "cos": cos,
    "tan": tan,
    "tanh": tanh,
}
"""What replaces each elementary operation."""


def _sine_of_multiple(b: Builder, x: Value, k: Value, rounded: Value) -> Value:
    """sin(x - k pi), negated if the lowest bit of ``rounded`` is set."""
    r = _reduce(b, x, k, _PI)
    z = r * r
    # Not `_polynomial`: far out, z is infinite, and its two halves would be inf - inf.
    y = _hold(b, b.fma(r * z, _horner(b, z, _SIN), r), 1.0)
    return _flip_sign(b, y, b.emit("ishl", b.emit("bits", rounded), 63))


def _reduce(b: Builder, x: Value, k: Value, period: tuple[float, ...]) -> Value:
    """x - k * sum(period): the first step is exact, for it cancels, the others round."""
    for part in period:
        x = b.fma(k, -part, x)
    return x


def _polynomial(b: Builder, x: Value, coefficients: tuple[float, ...]) -> Value:
    """Sum of ``coefficients[i] * x**i``.

    The leading coefficient is added last, as in Horner's rule, for its rounding; the others go by
    Horner's rule on even and on odd powers side by side, which halves the wait.
    """
    head, *tail = coefficients
    if len(tail) < 4:
        return _horner(b, x, coefficients)
    square = x * x
    even, odd = _horner(b, square, tail[0::2]), _horner(b, square, tail[1::2])
    return b.fma(b.fma(odd, x, even), x, head)


def _horner(b: Builder, x: Value, coefficients: Sequence[float]) -> Value:
    *rest, last = coefficients
    total = b.const(last)
    for coefficient in reversed(rest):
        total = b.fma(total, x, coefficient)
    return total


def _scale(b: Builder, y: Value, rounded: Value) -> Value:
    """y * 2**k, where ``rounded`` is k + `_ROUNDER` and neither y nor the result is subnormal."""
    exponent = b.emit("ishl", b.emit("bits", rounded), 52)
    return b.emit("from_bits", b.emit("iadd", b.emit("bits", y), exponent))


def _flip_sign(b: Builder, y: Value, sign: Value) -> Value:
    """y with its sign changed where the top bit of ``sign``, the only one, is set."""
    return b.emit("from_bits", b.emit("ixor", b.emit("bits", y), sign))


def _hold_below(b: Builder, x: Value, high: float) -> Value:
    """The smaller one; NaN stays NaN because ``min`` answers its second operand then."""
    return b.min(high, x)


def _hold(b: Builder, x: Value, limit: float) -> Value:
    """x held to [-limit, limit]; NaN stays NaN."""
    return b.max(-limit, _hold_below(b, x, limit))
