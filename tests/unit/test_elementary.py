"""The elementary functions as arithmetic: precision, edges, and the pass that puts them in."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import mpmath
import numpy as np
import numpy.typing as npt
import pytest
from interpret import MEANING, evaluate, interpret

from amp.ir import (
    OPS,
    Builder,
    InPort,
    Kernel,
    OutPort,
    StateSlot,
    parse_kernel,
    print_kernel,
    verify,
)
from amp.ir.ops import ACCESS, ARITHMETIC, ELEMENTARY
from amp.jit.passes.expand_elementary import EXPANSIONS, ULP_BOUNDS, expand_elementary

if TYPE_CHECKING:
    from collections.abc import Callable

Array = npt.NDArray[np.float64]
RNG = np.random.default_rng(1)
FUNCTIONS = sorted(EXPANSIONS)
LARGE = 2.0**20 * math.pi

# Operations besides constants; a budget, so that a change of cost is seen.
COUNTS = {"exp": 26, "log": 34, "sin": 22, "cos": 24, "tan": 30, "tanh": 31}


def unary(name: str) -> Kernel:
    """Kernel of the one operation ``name``."""
    b = Builder()
    y = b.emit(name, b.emit("inlet", attribute=(0, 0)))
    return Kernel(
        tuple(b.values), (InPort("aligned", 1),), (OutPort("ring", 1),), (), (), (), (), ((y,),)
    )


def expanded(name: str, x: npt.ArrayLike) -> Array:
    """What the expansion of ``name`` gives at each of ``x``."""
    kernel = expand_elementary(unary(name))
    points = np.asarray(x, np.float64)
    results = evaluate(kernel.values, {"inlet": lambda _: points})
    return np.asarray(results[kernel.stores[0][0]], np.float64)


def ulps(name: str, x: Array) -> Array:
    """Error at each of ``x`` in units in the last place of the exact result."""
    exact: Callable[[float], mpmath.mpf] = getattr(mpmath, name)
    errors = []
    with mpmath.workprec(200):
        for point, got in zip(x.tolist(), expanded(name, x).tolist(), strict=True):
            want = exact(mpmath.mpf(point))
            unit = mpmath.mpf(2) ** (max(mpmath.frexp(want)[1], -1021) - 53)
            errors.append(float(abs(got - want) / unit))
    return np.array(errors)


def spread(low: float, high: float, count: int, signs: tuple[int, ...] = (-1, 1)) -> Array:
    """Magnitudes between ``low`` and ``high``, even in the exponent."""
    sizes: Array = np.exp(RNG.uniform(math.log(low), math.log(high), count))
    signed: Array = np.copysign(sizes, RNG.choice(signs, count))
    return signed


def neighbours(x: npt.ArrayLike) -> Array:
    """Each of ``x`` and the doubles on both sides."""
    centre = np.asarray(x, np.float64)
    sides = [np.nextafter(centre, -np.inf), centre, np.nextafter(centre, np.inf)]
    return np.asarray(np.concatenate(sides))


QUARTERS = np.round(RNG.uniform(-(2**20), 2**20, 1000)) * (np.pi / 2)
CIRCULAR = np.concatenate(
    [
        RNG.uniform(-2 * np.pi, 2 * np.pi, 1500),
        RNG.uniform(-1e5, 1e5, 1500),
        RNG.uniform(-LARGE, LARGE, 1500),
        RNG.uniform(-(2.0**40), 2.0**40, 1000),
        spread(1e-300, LARGE, 500),
        neighbours(QUARTERS),
        neighbours(np.arange(1, 64) * (np.pi / 4)),
    ]
)
DOMAIN = {
    "exp": np.concatenate(
        [
            RNG.uniform(-708.396, 709.782, 2500),
            RNG.uniform(-2, 2, 2500),
            spread(1e-300, 1, 500),
            neighbours(np.arange(-2043, 2047, 2) * (math.log(2) / 2)),
            [-708.3964185322641, 709.782712893384],
        ]
    ),
    "log": np.concatenate(
        [
            RNG.uniform(0.5, 2, 2500),
            spread(2.3e-308, 1.7e308, 2500, (1,)),
            1 + spread(2.0**-52, 0.5, 1000),
            neighbours([math.sqrt(0.5), math.sqrt(2), 0.5, 2.0]),
            np.nextafter(1.0, [0.0, 2.0]),
            [2.0**-1022, np.finfo(float).max],
        ]
    ),
    "sin": CIRCULAR,
    "cos": CIRCULAR,
    "tan": np.concatenate([CIRCULAR, RNG.uniform(0, np.pi / 2, 1500)]),
    "tanh": np.concatenate(
        [
            RNG.uniform(-1, 1, 3000),
            RNG.uniform(-22, 22, 2000),
            spread(1e-300, 30, 1000),
            neighbours(np.arange(1, 115, 2) * (math.log(2) / 4)),
        ]
    ),
}


def test_no_table_has_a_hole() -> None:
    assert set(EXPANSIONS) == set(ULP_BOUNDS) == set(DOMAIN) == set(COUNTS) == set(ELEMENTARY)
    assert set(MEANING) | set(ACCESS) | {"const", "iconst"} == set(OPS)
    assert set(ARITHMETIC) - {"const"} <= set(MEANING)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_error_is_within_its_bound(name: str) -> None:
    x = DOMAIN[name]
    assert len(x) >= 5000
    errors = ulps(name, x)
    worst = np.argmax(errors)
    assert errors[worst] <= ULP_BOUNDS[name], f"{name}({x[worst]!r})"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_bound_is_in_the_docstring(name: str) -> None:
    assert f"within {ULP_BOUNDS[name]:g} ulp" in str(EXPANSIONS[name].__doc__)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_nan_stays_nan_whatever_its_payload(name: str) -> None:
    payloads = np.array([0x7FF8000000000000, 0x7FF8000000000FFF, 0xFFF8123456789ABC], np.uint64)
    assert np.isnan(expanded(name, payloads.view(np.float64))).all()


@pytest.mark.parametrize(
    "name, x, want",
    [
        ("exp", [0.0, -0.0, np.inf, -np.inf], [1.0, 1.0, np.inf, 0.0]),
        ("exp", [709.7827128933841, 1e300, -708.3964185322642, -1e300], [np.inf, np.inf, 0.0, 0.0]),
        ("log", [0.0, -0.0, 1.0, np.inf, 2.0**-1023], [-np.inf, -np.inf, 0.0, np.inf, -np.inf]),
        ("log", [-(2.0**-1022), -1.0, -np.inf], [np.nan] * 3),
        ("sin", [0.0, np.pi / 2, -np.pi / 2, np.inf, -np.inf], [0.0, 1.0, -1.0, np.nan, np.nan]),
        ("cos", [0.0, -0.0, np.pi, np.inf, -np.inf], [1.0, 1.0, -1.0, np.nan, np.nan]),
        ("tan", [0.0, np.inf, -np.inf], [0.0, np.nan, np.nan]),
        ("tanh", [0.0, 5e-324, 19.1, -19.1, 1e300], [0.0, 5e-324, 1.0, -1.0, 1.0]),
        ("tanh", [np.inf, -np.inf], [1.0, -1.0]),
    ],
)
def test_edges(name: str, x: list[float], want: list[float]) -> None:
    np.testing.assert_array_equal(expanded(name, x), want)


def test_results_never_leave_their_range() -> None:
    for name in ("sin", "cos"):
        far = np.concatenate([DOMAIN[name], spread(2.0**40, 1e308, 2000)])
        assert np.abs(expanded(name, far)).max() == 1.0
    assert np.abs(expanded("tanh", DOMAIN["tanh"])).max() == 1.0
    assert not np.isnan(expanded("tan", spread(2.0**40, 1e308, 2000))).any()


@pytest.mark.parametrize("name", ["sin", "tan", "tanh"])
def test_odd_functions_are_odd_to_the_bit(name: str) -> None:
    x = DOMAIN[name]
    np.testing.assert_array_equal(expanded(name, -x), -expanded(name, x))
    assert math.copysign(1, expanded("tanh", [-0.0])[0]) == -1


@pytest.mark.parametrize("name", FUNCTIONS)
def test_pass_leaves_no_elementary_operation(name: str) -> None:
    kernel = expand_elementary(verify(unary(name)))
    verify(kernel)
    used = {operand for value in kernel.values for operand in value.operands}
    assert not {value.op for value in kernel.values} & set(ELEMENTARY)
    assert used | {kernel.stores[0][0]} == set(kernel.values), "a value is made and not used"
    constants = {"const", "iconst", "inlet"}
    assert sum(value.op not in constants for value in kernel.values) == COUNTS[name]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_pass_is_idempotent_and_its_text_stable(name: str) -> None:
    kernel = expand_elementary(unary(name))
    text = print_kernel(kernel)
    assert print_kernel(expand_elementary(unary(name))) == text
    assert print_kernel(expand_elementary(kernel)) == text
    assert print_kernel(parse_kernel(text)) == text


def test_pass_remaps_nexts_stores_and_lines() -> None:
    """A leaky sum of exp, through a delay line, and once more of a constant."""
    b = Builder()
    x = b.emit("inlet", attribute=(0, 0))
    state = b.emit("state", attribute="s")
    count = b.emit("istate", attribute="n")
    total = b.fma(state, b.emit("param", attribute="leak"), b.exp(x))
    line = b.emit("line", b.tanh(total), attribute="past")
    late = b.emit("tap", line, b.iconst(1))
    level = b.log(b.const(2.0))
    counted = b.emit("iadd", count, 1)
    kernel = Kernel(
        tuple(b.values),
        (InPort("aligned", 1),),
        (OutPort("ring", 2),),
        (("leak", "f64"),),
        (StateSlot("s", "f64"), StateSlot("n", "i64")),
        ("past",),
        (total, counted),
        ((late, level),),
    )
    verify(kernel)
    x_in = RNG.normal(size=(3, 50))
    given = {"leak": [0.5, 0.9, 0.99]}
    want, want_states = interpret(kernel, {(0, 0): x_in}, params=given, states={"n": 7})
    got, got_states = interpret(
        verify(expand_elementary(kernel)), {(0, 0): x_in}, params=given, states={"n": 7}
    )
    assert want[0, 0].shape == (3, 50)
    np.testing.assert_array_equal(want[0, 0][:, 0], 0.0)
    for plane in (0, 1):
        np.testing.assert_allclose(got[0, plane], want[0, plane], rtol=1e-14)
    np.testing.assert_allclose(got_states["s"], want_states["s"], rtol=1e-14)
    assert got_states["n"].tolist() == want_states["n"].tolist() == [57]
