"""Probes anywhere in random graphs change no bit of any output, under any engine."""

from __future__ import annotations

import numpy as np
from bits import assert_same_bits, assert_same_runs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_schedules import schedules, splits
from strategies import Case, cases

import amp
from amp.stream import Stream

FRAMES = 420


PROFILE = settings.default
assert PROFILE is not None


@settings(
    max_examples=max(1, PROFILE.max_examples // 3),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(cases(), st.data())
def test_probes_change_no_bit(case: Case, data: st.DataObject) -> None:
    g, inputs = case.graph, case.arrays(FRAMES)
    plain = amp.compile(g).run(inputs)
    streams = [
        Stream(g, node.index, outlet, node.channels)
        for node in g.nodes
        for outlet in range(len(type(node.type).outlets))
    ]
    for stream in data.draw(st.lists(st.sampled_from(streams), min_size=1, max_size=5)):
        g.probe(amp.edge(stream, delay=data.draw(st.sampled_from((0, 0, 9)))))
    free = amp.compile(g).run(inputs)
    assert_same_runs(free, plain, "KPN")
    program = amp.compile(g, data.draw(schedules(g)))
    pieces = data.draw(splits(FRAMES))
    at, parts = 0, []
    for count in pieces:
        some = {name: array[..., at : at + count] for name, array in inputs.items()}
        parts.append(program.run(some, frames=count))
        at += count
    for name, array in free.items():
        assert_same_bits(np.concatenate([part[name] for part in parts], axis=2), array, name)
    for name, array in free.probes.items():
        joined = np.concatenate([part.probes[name] for part in parts], axis=2)
        assert_same_bits(joined, array, name)
    for name, clocks in free.clocks.items():
        np.testing.assert_array_equal(np.concatenate([p.clocks[name] for p in parts]), clocks)
