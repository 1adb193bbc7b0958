"""Every row of the manifest is asked the same: its reference, its levels, any cut of a run, its adjoint."""

from __future__ import annotations

import math
from importlib import import_module
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from leaky import ROW as LEAKY
from leaky import build_leaky

from amp.jit import archetypes
from amp.jit.archetypes import Archetype, manifest

if TYPE_CHECKING:
    from bits import Array

FRAMES = 37
CUTS = [0, 5, 6, 24, FRAMES]
NAMES = [*manifest(), LEAKY.name]
LEVELS = ["v2", "v3", "v4"]

pytestmark = pytest.mark.eigen


def kernel_of(name: str) -> Archetype:
    return build_leaky() if name == LEAKY.name else archetypes.load(name)


def draw(kernel: Archetype, seed: int = 1) -> dict[str, Array]:
    """Params, inlets, cotangents of the outlets, of the sizes of the self-test."""
    row, sizes = kernel.row, kernel.row.self_test.sizes
    rng = np.random.default_rng([seed, *sizes])
    shapes: dict[str, Any] = {table.name: row.shape(table, sizes) for table in row.params}
    shapes |= {port.name: row.extent(port, sizes, FRAMES) for port in row.inlets}
    shapes |= {f"d_{port.name}": row.extent(port, sizes, FRAMES) for port in row.outlets}
    return {name: rng.normal(size=shape) / 2 for name, shape in shapes.items()}


def piece(kernel: Archetype, given: dict[str, Array], begin: int, end: int) -> dict[str, Array]:
    """What is given of the frames from ``begin`` until ``end``."""
    row, found = kernel.row, dict(given)
    ports = {port.name: port for port in row.inlets}
    ports |= {f"d_{port.name}": port for port in row.outlets}
    for name, port in ports.items():
        rate = row.number(port.rate, row.self_test.sizes)
        found[name] = given[name][:, begin * rate : end * rate]
    return found


def forward(
    kernel: Archetype, given: dict[str, Array], cuts: list[int], state: Array | None = None
) -> tuple[dict[str, Array], list[Array]]:
    """Outlets of a run in pieces, and the state before each and at the end."""
    sizes = kernel.row.self_test.sizes
    states = [kernel.fresh(sizes) if state is None else state.copy()]
    parts = []
    for begin, end in pairwise(cuts):
        states.append(states[-1].copy())
        part = piece(kernel, given, begin, end)
        parts.append(kernel.forward(sizes, end - begin, part, states[-1]))
    return {name: np.hstack([part[name] for part in parts]) for name in parts[0]}, states


def backward(
    kernel: Archetype, given: dict[str, Array], cuts: list[int], states: list[Array], later: Array
) -> dict[str, Array]:
    """Cotangents, the last piece first; of the state before it all, as ``state``."""
    row, sizes = kernel.row, kernel.row.self_test.sizes
    d_state = later.copy()
    parts: list[dict[str, Array]] = []
    sums = {f"d_{table.name}": np.zeros(row.shape(table, sizes)) for table in row.params}
    for (begin, end), state in zip(
        reversed(list(pairwise(cuts))), reversed(states[:-1]), strict=True
    ):
        part = piece(kernel, given, begin, end) | sums
        made = kernel.adjoint(sizes, end - begin, part, state, d_state)
        sums = {name: made.pop(name) for name in sums}
        parts.insert(0, made)
    joined = {name: np.hstack([part[name] for part in parts]) for name in parts[0]}
    return joined | sums | {"state": d_state}


def reference(kernel: Archetype, given: dict[str, Array]) -> dict[str, Array]:
    module, _, name = kernel.row.reference.rpartition(".")
    found: dict[str, Array] = getattr(import_module(module), name)(
        kernel.row.self_test.sizes, FRAMES, given
    )
    return found


@pytest.mark.parametrize("name", NAMES)
def test_it_is_its_reference(name: str) -> None:
    kernel = kernel_of(name)
    given = draw(kernel)
    got, _ = forward(kernel, given, [0, FRAMES])
    for outlet, want in reference(kernel, given).items():
        np.testing.assert_allclose(got[outlet], want, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("name", manifest())
def test_every_level_gives_the_same_bits(name: str, level: str) -> None:
    host = archetypes.host_level()
    if host == "portable" or level > host:
        pytest.skip(f"this processor cannot run {level}")
    kernel, other = archetypes.load(name), archetypes.open_level(name, level)
    given = draw(kernel)
    (got, states), (want, want_states) = (forward(k, given, CUTS) for k in (other, kernel))
    later = np.ones_like(states[-1])
    later[: kernel.row.counts] = 0.0
    back, want_back = (
        backward(k, given, CUTS, s, later) for k, s in ((other, states), (kernel, want_states))
    )
    for some, wanted in ((got, want), (back, want_back)):
        for key, value in wanted.items():
            np.testing.assert_array_equal(some[key], value)
    np.testing.assert_array_equal(states, want_states)


@pytest.mark.parametrize("name", NAMES)
def test_no_cut_of_a_run_is_heard(name: str) -> None:
    kernel = kernel_of(name)
    given = draw(kernel)
    whole, ends = forward(kernel, given, [0, FRAMES])
    later = np.ones_like(ends[-1])
    later[: kernel.row.counts] = 0.0
    back = backward(kernel, given, [0, FRAMES], ends, later)
    for cuts in (CUTS, [*range(FRAMES + 1)]):
        got, states = forward(kernel, given, cuts)
        for outlet, value in whole.items():
            np.testing.assert_array_equal(got[outlet], value)
        np.testing.assert_array_equal(states[-1], ends[-1])
        for of, value in backward(kernel, given, cuts, states, later).items():
            np.testing.assert_array_equal(back[of], value, err_msg=of)


@pytest.mark.parametrize("name", NAMES)
def test_its_adjoint_is_that_of_what_it_computes(name: str) -> None:
    """By central differences along a direction in params, inlets and state."""
    kernel = kernel_of(name)
    given, along = draw(kernel), draw(kernel, 2)
    _, states = forward(kernel, given, CUTS)  # a state that a run comes to
    first = states[-1]
    rng = np.random.default_rng(3)
    turn, later = rng.normal(size=(2, first.size))
    turn[: kernel.row.counts] = later[: kernel.row.counts] = 0.0
    _, states = forward(kernel, given, CUTS, first)
    got = backward(kernel, given, CUTS, states, later)
    moving = [n for n in given if not n.startswith("d_")]
    step, ends = 1e-5, []
    for e in (step, -step):
        moved = {n: v + e * along[n] if n in moving else v for n, v in given.items()}
        out, last = forward(kernel, moved, CUTS, first + e * turn)
        ends.append(sum(np.vdot(given[f"d_{n}"], v) for n, v in out.items()) + later @ last[-1])
    want = (ends[0] - ends[1]) / (2 * step)
    pushed = [np.vdot(got[f"d_{n}"], along[n]) for n in moving] + [got["state"] @ turn]
    size = math.hypot(*pushed)
    assert sum(pushed) == pytest.approx(want, abs=1e-6 * size)


@pytest.mark.parametrize("name", NAMES)
def test_it_writes_what_is_wanted_and_nothing_beside_it(name: str) -> None:
    kernel = kernel_of(name)
    sizes, given = kernel.row.self_test.sizes, draw(kernel)
    made = [kernel.forward(sizes, FRAMES, given), kernel.adjoint(sizes, FRAMES, given)]
    params = {f"d_{table.name}" for table in kernel.row.params}
    for outlet, array in ((key, value) for some in made for key, value in some.items()):
        if outlet not in params:
            assert np.isfinite(array).all()
            assert np.isnan(array.base[:, array.shape[1] :]).all()  # type: ignore[index]
    for one in made[1]:
        alone = kernel.adjoint(sizes, FRAMES, given, wanted=[one.removeprefix("d_")])
        assert [*alone] == [one]
        np.testing.assert_array_equal(alone[one], made[1][one])
