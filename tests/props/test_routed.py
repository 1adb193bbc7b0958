"""Random graphs whose rates depend on data: the native engine beside the timed reference."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from bits import assert_same_runs
from hypothesis import given
from hypothesis import strategies as st
from random_schedules import assert_like_reference, examples, run_split, splits
from strategies import Case, routed_cases

import amp
from amp.errors import ArenaExhausted

if TYPE_CHECKING:
    from bits import Array

FRAMES = 420
REFERENCE_FRAMES = 110
"""The reference is slow."""


@examples(0.5)
@given(routed_cases())
def test_routed_tokens_are_those_of_the_timed_reference(case: Case) -> None:
    assert_like_reference(case, REFERENCE_FRAMES)


@examples(0.4)
@given(st.data())
def test_splits_threads_and_snapshots_change_no_bit(data: st.DataObject) -> None:
    case = data.draw(routed_cases())
    inputs = case.arrays(FRAMES)
    want = amp.compile(case.graph).run(inputs)
    again = amp.graph_from_json(amp.graph_to_json(case.graph))
    program = amp.compile(again, threads=data.draw(st.sampled_from((1, 2, 4))))
    pieces = data.draw(splits(FRAMES))
    assert_same_runs(run_split(program, inputs, pieces), want, "split run,")
    program.reset()
    cut = data.draw(st.integers(1, len(pieces)))
    at = int(np.sum(pieces[:cut]))
    run_split(program, inputs, pieces[:cut])
    state = program.state()
    other = program.clone()
    other.run(case.arrays(50))
    other.restore(state)
    for one in (program, other):
        rest: dict[str, Array] = {name: array[..., at:] for name, array in inputs.items()}
        if at < FRAMES:
            got = run_split(one, rest, pieces[cut:])
            assert_same_runs(got, {name: array[..., at:] for name, array in want.items()})


@examples(0.2)
@given(st.data())
def test_a_run_that_is_resumed_with_more_memory_changes_no_bit(data: st.DataObject) -> None:
    case = data.draw(routed_cases())
    inputs = case.arrays(FRAMES)
    plain = amp.compile(case.graph)
    least = plain.memory.bytes
    want = plain.run(inputs)
    threads = data.draw(st.sampled_from((1, 2, 8)))
    program = amp.compile(case.graph, threads=threads, max_arena_bytes=1 << 24)
    program.max_arena_bytes = program.memory.bytes
    got, stops = None, 0
    while got is None:
        try:
            got = program.resume() if stops else program.run(inputs)
        except ArenaExhausted:
            program.max_arena_bytes += max(512, least // 8)
            stops += 1
    assert_same_runs(got, want, f"after {stops} stops,")
    for use in program.memory.rings:
        assert use.tokens <= use.most <= use.capacity
        sizes = [size for _, size in use.growth]
        assert all(2 * a == b for a, b in pairwise(sizes))
