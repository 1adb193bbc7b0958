"""`Shaper` where its samples are close, against quadrature by mpmath."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import mpmath
import numpy as np
import pytest

import amp
from amp import nodes

if TYPE_CHECKING:
    from collections.abc import Callable

    from bits import Array

FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "tanh": mpmath.tanh,
    "sine": mpmath.sin,
    "clip": lambda x: max(-1, min(1, x)),
    "rectify": lambda x: max(0, x),
}
KINKS = {"clip": (-1, 1), "rectify": (0,)}


def shaped(function: str, order: int, x: Array) -> Array:
    g = amp.Graph()
    g.output("out", g.add(nodes.Shaper(function, order), g.input("x")))
    made: Array = amp.compile(g).run({"x": x.reshape(1, 1, -1)})["out"][0, 0]
    return made


def mean(function: str, knots: Array) -> float:
    """Of the function under the density of two or three samples."""
    f = FUNCTIONS[function]
    low, *inner, high = (mpmath.mpf(float(knot)) for knot in np.sort(knots))
    if low == high:
        return float(f(low))
    cuts = sorted({low, *inner, high, *(k for k in KINKS.get(function, ()) if low < k < high)})

    def density(s: Any) -> Any:
        if not inner:
            return 1 / (high - low)
        (middle,) = inner
        if s < middle or middle == high:
            return 2 * (s - low) / (middle - low) / (high - low)
        return 2 * (high - s) / (high - middle) / (high - low)

    return float(mpmath.quad(lambda s: f(s) * density(s), cuts))


def windows(order: int) -> Array:
    """Samples whose distances go from 10 down to 1e-16, around places that matter."""
    rng = np.random.default_rng(4)
    rows = []
    for scale in 10.0 ** np.arange(1, -17, -1):
        for middle in (0.0, 1.0, -0.3, 2.7):
            rows.append(middle + scale * rng.uniform(-0.5, 0.5, order + 1))
    if order == 2:  # one apart from two that are close
        rows += [[a, a + step, b] for a, b in ((0.2, 1.5), (-2.0, 0.1)) for step in (0, 1e-9, 1e-3)]
        rows += [[a, b, a + step] for a, b in ((0.2, 1.5), (-2.0, 0.1)) for step in (0, 1e-9, 1e-3)]
    return np.array(rows)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("function", FUNCTIONS)
def test_close_samples_cost_no_accuracy(function: str, order: int) -> None:
    rows = windows(order)
    got = shaped(function, order, rows.ravel())[order :: order + 1]
    with mpmath.workdps(30):
        want = [mean(function, row) for row in rows]
    size = np.maximum(1.0, np.abs(rows).max(axis=1) ** 2)
    assert (np.abs(got - want) <= 1e-12 * size).all()


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("function", FUNCTIONS)
def test_gradient_at_rest_is_the_slope(function: str, order: int) -> None:
    """A constant input is all equal samples."""
    slope = {
        "tanh": 1 - np.tanh(0.4) ** 2,
        "sine": np.cos(0.4),
        "clip": 1.0,
        "rectify": 1.0,
    }[function]
    g = amp.Graph()
    g.output("out", g.add(nodes.Shaper(function, order), g.input("x")))
    program = amp.compile(g)
    program.run({"x": np.full((1, 1, 12), 0.4)}, record=True)
    got = program.backward({"out": np.ones((1, 1, 12))}).inputs["x"][0, 0]
    np.testing.assert_allclose(got[3:9], slope, rtol=1e-9)
