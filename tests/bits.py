"""Comparing samples bit by bit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Mapping

Array = npt.NDArray[Any]
SMALLEST = float(np.finfo(np.float64).tiny)


def assert_same_bits(got: npt.ArrayLike, want: npt.ArrayLike, what: str = "") -> None:
    """Fail, naming the first place, unless the two agree to the bit; any NaN equals any other."""
    a, b = np.asarray(got, np.float64), np.asarray(want, np.float64)
    assert a.shape == b.shape, f"{what}: shapes {a.shape} and {b.shape}"
    nan = np.isnan(a) & np.isnan(b)
    differs = (a.view(np.uint64) != b.view(np.uint64)) & ~nan
    if differs.any():
        places = np.argwhere(differs)
        first = tuple(places[np.argmin(places[:, -1])].tolist())
        raise AssertionError(
            f"{what}: {len(places)} of {a.size} values differ, first at {first}: "
            f"{a[first]!r} ({a[first].hex()}) instead of {b[first]!r} ({b[first].hex()})"
        )


def assert_same_runs(got: Mapping[str, Array], want: Mapping[str, Array], what: str = "") -> None:
    """`assert_same_bits` of every output."""
    assert set(got) == set(want), what
    for name, array in want.items():
        assert_same_bits(got[name], array, f"{what} output {name!r}".strip())


def flushed(x: npt.ArrayLike) -> Array:
    """``x`` with denormals made zeros of their sign, as inside a run."""
    array = np.asarray(x, np.float64)
    return np.where(np.abs(array) < SMALLEST, np.copysign(0.0, array), array)
