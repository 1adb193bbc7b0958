"""L8 and its neighbours: random graphs, random legal schedules, random splits of the run.

``make fuzz`` runs many more examples.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from bits import assert_same_bits, assert_same_runs
from hypothesis import given
from hypothesis import strategies as st
from random_schedules import assert_like_reference, examples, moved, run_split, schedules, splits
from strategies import Case, cases

import amp
from amp import nodes
from amp.errors import ArchetypeUnavailable, IllegalSchedule
from amp.jit.archetypes import load
from amp.jit.runtime import load_pool

if TYPE_CHECKING:
    from typing import Literal

    from amp.program import Program

    Mode = Literal["auto", "eigen", "ir"]

FRAMES = 420
"""Longer than any block and any way through a graph."""
REFERENCE_FRAMES = 110
"""The reference is slow; this is still more than one firing of a KPN process."""


def archetype_modes() -> list[Mode]:
    """Every way to compute a node that has a prebuilt kernel."""
    try:
        load("matrix_mix")
    except ArchetypeUnavailable:
        return ["auto", "ir"]
    return ["auto", "ir", "eigen"]


ARCHETYPES = st.deferred(lambda: st.sampled_from(archetype_modes()))


@examples(0.4)
@given(cases())
def test_kpn_gives_the_bits_of_the_timed_reference(case: Case) -> None:
    assert_like_reference(case, REFERENCE_FRAMES)


@examples(0.4)
@given(st.data())
def test_schedules_splits_and_resets_change_no_bit(data: st.DataObject) -> None:
    case = data.draw(cases())
    plan = data.draw(schedules(case.graph))
    pieces = data.draw(splits(FRAMES))
    inputs = case.arrays(FRAMES)
    kpn = amp.compile(case.graph)
    want = kpn.run(inputs)
    assert amp.IPLS.from_json(plan.to_json()) == plan
    planned = amp.compile(case.graph, plan, archetypes=data.draw(ARCHETYPES))
    assert planned.latency == kpn.latency
    assert_same_runs(run_split(planned, inputs, pieces), want, "schedule, split run,")
    for program, what in ((kpn, "KPN"), (planned, "schedule")):
        program.reset()
        assert program.clock == 0
        pieces.reverse()
        again = run_split(program, inputs, pieces) if program is kpn else program.run(inputs)
        assert_same_runs(again, want, f"{what} after a reset,")


@examples(0.1)
@given(cases())
def test_a_graph_file_has_the_same_samples(case: Case) -> None:
    again = amp.graph_from_json(amp.graph_to_json(case.graph))
    assert again.fingerprint() == case.graph.fingerprint()
    inputs = case.arrays(200)
    assert_same_runs(amp.compile(again).run(inputs), amp.compile(case.graph).run(inputs))


@examples(0.2)
@given(st.data())
def test_a_moved_node_is_refused_or_changes_no_bit(data: st.DataObject) -> None:
    case = data.draw(cases())
    plan = moved(data.draw(schedules(case.graph)), data.draw(st.integers(0, 999)))
    program: Program | None = None
    violations: tuple[str, ...] = ()
    try:
        program = amp.compile(case.graph, plan)
    except IllegalSchedule as error:
        violations = error.violations
    if program is None:
        assert violations
        return
    inputs = case.arrays(FRAMES)
    assert_same_runs(program.run(inputs), amp.compile(case.graph).run(inputs))


@examples(0.15)
@given(st.data())
def test_measured_latency_is_the_declared_one(data: st.DataObject) -> None:
    case = data.draw(cases())
    for name, tapped in case.heard.items():  # 1 from the first token on
        case.graph.output(f"{name} seen", case.graph.add(nodes.Clip(low=1.0, high=1.0), tapped))
    plan = data.draw(st.one_of(st.none(), schedules(case.graph)))
    program = amp.compile(case.graph, plan)
    result = program.run(case.arrays(FRAMES))
    for name in case.heard:
        silent = (result[f"{name} seen"] == 0.0).sum(axis=2)
        assert (silent == result.latency[name]).all()
        assert not result[name][..., : result.latency[name]].any()
    assert result.latency == program.latency


@examples(0.15)
@given(st.data())
def test_render_is_a_drained_run_without_the_latency(data: st.DataObject) -> None:
    case = data.draw(cases())
    inputs = case.arrays(200)
    program = amp.compile(case.graph, data.draw(st.one_of(st.none(), schedules(case.graph))))
    program.run({name: array[..., :33] for name, array in inputs.items()})
    rendered = program.render(inputs)
    extra = max(program.latency.values())
    padded = {n: np.pad(a, ((0, 0), (0, 0), (0, extra))) for n, a in inputs.items()}
    whole = amp.compile(case.graph).run(padded)
    for name, latency in program.latency.items():
        assert_same_bits(rendered[name], whole[name][..., latency : latency + 200], name)


@examples(0.3)
@given(st.data())
def test_a_snapshot_goes_on_under_any_engine(data: st.DataObject) -> None:
    case = data.draw(cases())
    engines = st.one_of(st.none(), schedules(case.graph))
    giver, taker = (amp.compile(case.graph, data.draw(engines)) for _ in range(2))
    pieces = data.draw(splits(FRAMES))
    cut = data.draw(st.integers(1, len(pieces)))
    before, after = pieces[:cut], pieces[cut:]
    inputs = case.arrays(FRAMES)
    want = amp.compile(case.graph).run(inputs)
    at = sum(before)
    run_split(giver, inputs, before)
    state = giver.state()
    assert state.clock == giver.clock == at
    taker.run(case.arrays(50))  # leaves something to be overwritten
    if not after:
        taker.restore(state)
        assert taker.clock == at
        return
    for program in (giver, taker):
        if program is taker:
            taker.restore(state)
        rest = {name: array[..., at:] for name, array in inputs.items()}
        got = run_split(program, rest, after)
        assert_same_runs(got, {name: array[..., at:] for name, array in want.items()})


@examples(0.1)
@given(st.data())
def test_a_set_parameter_is_heard_at_the_same_frame(data: st.DataObject) -> None:
    case = data.draw(cases().filter(lambda case: case.graph.freeze().params))
    inputs = case.arrays(FRAMES)
    programs = [amp.compile(case.graph), amp.compile(case.graph, data.draw(schedules(case.graph)))]
    runs = []
    for program in programs:
        first = run_split(program, {n: a[..., :200] for n, a in inputs.items()}, [200])
        for name, value in program.params.items():
            program.set(name, value * 0.75)
        rest = {n: a[..., 200:] for n, a in inputs.items()}
        second = program.run(rest) if program is programs[0] else run_split(program, rest, [1, 219])
        runs.append({n: np.concatenate([first[n], second[n]], axis=2) for n in first})
    assert_same_runs(runs[1], runs[0])


@pytest.fixture(scope="module")
def pool() -> None:
    try:
        load_pool()
    except ArchetypeUnavailable as error:
        pytest.skip(f"no thread pool: {error}")


@pytest.mark.usefixtures("pool")
@examples(0.15)
@given(st.data())
def test_threads_change_no_bit(data: st.DataObject) -> None:
    case = data.draw(cases())
    inputs = case.arrays(FRAMES)
    plan = data.draw(st.one_of(st.none(), schedules(case.graph)))
    program = amp.compile(case.graph, plan, threads=data.draw(st.sampled_from((2, 3, 4, 8))))
    got = run_split(program, inputs, data.draw(splits(FRAMES)))
    assert_same_runs(got, amp.compile(case.graph).run(inputs))
