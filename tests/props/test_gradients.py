"""L5 and L8 of the backward pass: over random graphs, random legal schedules and splits of the run.

``make fuzz`` runs many more examples.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import pytest
from bits import assert_same_bits
from forward_mode import (
    DOT,
    assert_same_gradients,
    items,
    pairing,
    random_direction,
    run_tangents,
    tangent_graph,
)
from hypothesis import assume, given
from hypothesis import strategies as st
from random_schedules import examples, schedules
from strategies import Case, cases

import amp
from amp.errors import ArchetypeUnavailable, NotDifferentiable
from amp.jit.runtime import load_pool

if TYPE_CHECKING:
    from bits import Array

    from amp.program import Program
    from amp.result import Gradients

    Arrays = dict[str, Array]

FRAMES = 150
"""Frames recorded: more than a firing of a KPN process."""
BEGINS = st.sampled_from((0, 0, 1, 77))
"""Frames run before them."""
UNEVEN = "at another rate from firing to firing"


def smooth_cases() -> st.SearchStrategy[Case]:
    """Graphs on inputs that are finite."""
    return cases().map(lambda case: dataclasses.replace(case, rough=False))


def pieces(case: Case, begin: int) -> tuple[Arrays, Arrays]:
    """Inputs of the frames before the recorded ones, and of those."""
    inputs = case.arrays(begin + FRAMES)
    return tuple({n: a[..., s] for n, a in inputs.items()} for s in (np.s_[:begin], np.s_[begin:]))  # type: ignore[return-value]


def start(program: Program, before: Arrays) -> None:
    """Reset, and run what comes first."""
    program.reset()
    if any(array.shape[2] for array in before.values()):
        program.run(before)


def record(program: Program, inputs: Arrays) -> Arrays:
    """Run ``inputs`` and return a cotangent for each output; graphs that have no backward pass are
    not looked at."""
    try:
        result = program.run(inputs, record=True)
    except NotDifferentiable as error:
        assume(UNEVEN not in str(error))
        raise
    rng = np.random.default_rng(4)
    return {name: rng.normal(size=array.shape) for name, array in result.items()}


@examples(0.06)
@given(smooth_cases(), BEGINS)
def test_backward_is_the_transposed_forward_mode(case: Case, begin: int) -> None:
    before, inputs = pieces(case, begin)
    program = amp.compile(case.graph)
    start(program, before)
    cotangents = record(program, inputs)
    gradients = program.backward(cotangents)
    tangents = amp.compile(tangent_graph(case.graph))
    start(tangents, {**before, **{name + DOT: np.zeros_like(a) for name, a in before.items()}})
    direction = random_direction(tangents, inputs, np.random.default_rng(3))
    made = run_tangents(tangents, inputs, direction, FRAMES)
    terms = np.concatenate([(cotangents[name] * made[name]).ravel() for name in cotangents])
    got, size = pairing(gradients, direction)
    assume(np.isfinite(terms).all())
    assert abs(got - terms.sum()) <= 1e-10 * max(size, np.abs(terms).sum())


def gradients_of(program: Program, before: Arrays, inputs: Arrays) -> Gradients:
    start(program, before)
    return program.backward(record(program, inputs))


@pytest.fixture(scope="module")
def pool() -> None:
    try:
        load_pool()
    except ArchetypeUnavailable as error:
        pytest.skip(f"no thread pool: {error}")


@pytest.mark.usefixtures("pool")
@examples(0.06)
@given(st.data())
def test_schedules_and_threads_change_no_bit(data: st.DataObject) -> None:
    case = data.draw(smooth_cases())
    before, inputs = pieces(case, data.draw(BEGINS))
    plan = data.draw(st.one_of(st.none(), schedules(case.graph)))
    program = amp.compile(case.graph, plan, threads=data.draw(st.sampled_from((1, 2))))
    got = gradients_of(program, before, inputs)
    want = gradients_of(amp.compile(case.graph), before, inputs)
    assert_same_gradients(got, want)


@examples(0.06)
@given(st.data())
def test_runs_chain(data: st.DataObject) -> None:
    """Two recorded runs, the later one's state handed to the first, are one run of both; and a second
    pass over a run gives the bits of the first."""
    case = data.draw(smooth_cases())
    before, inputs = pieces(case, data.draw(BEGINS))
    program = amp.compile(case.graph, data.draw(st.one_of(st.none(), schedules(case.graph))))
    start(program, before)
    cotangents = record(program, inputs)
    want = program.backward(cotangents)
    assert_same_gradients(program.backward(cotangents), want, "again")
    cut = data.draw(st.integers(1, FRAMES - 1))
    runs = [{n: a[..., s] for n, a in inputs.items()} for s in (np.s_[:cut], np.s_[cut:])]
    start(program, before)
    program.run(runs[0])
    program.run(runs[1], record=True)
    second = program.backward({name: array[..., cut:] for name, array in cotangents.items()})
    start(program, before)
    program.run(runs[0], record=True)
    first = program.backward(
        {name: array[..., :cut] for name, array in cotangents.items()}, later=second.state
    )
    known = dict(items(second))
    for key, array in items(first):
        joined = array
        if key[0] == "inputs":
            joined = np.concatenate([array, known[key]], axis=2)
        if key[0] == "params":
            joined = array + known[key]
        wanted = dict(items(want))[key]
        size = float(np.abs(wanted).max(initial=0.0))
        np.testing.assert_allclose(joined, wanted, rtol=1e-12, atol=1e-12 * size, err_msg=str(key))


@examples(0.03)
@given(st.data())
def test_heat_goes_back_by_the_same_bits(data: st.DataObject) -> None:
    case = data.draw(smooth_cases())
    before, inputs = pieces(case, data.draw(BEGINS))
    found = []
    for plan in (None, data.draw(schedules(case.graph))):
        program = amp.compile(case.graph, plan, heat=3)
        start(program, before)
        try:
            result = program.run(inputs, record="heat")
        except NotDifferentiable as error:
            assume(UNEVEN not in str(error))
            raise
        heat = {name: np.ones_like(array) for name, array in result.heat.items()}
        found.append(program.backward({}, heat=heat))
    assert_same_gradients(found[1], found[0])
    for name, array in found[0].state.heat.items():
        assert_same_bits(found[1].state.heat[name], array)
