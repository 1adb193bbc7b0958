"""Timing random graphs changes no bit, and every node of them has a row and a delay."""

from __future__ import annotations

import numpy as np
from bits import assert_same_runs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_schedules import schedules
from strategies import Case, cases

import amp

FRAMES = 300
PROFILE = settings.default
assert PROFILE is not None


@settings(
    max_examples=max(1, PROFILE.max_examples // 6),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(cases(), st.data())
def test_timing_changes_no_bit(case: Case, data: st.DataObject) -> None:
    g, inputs = case.graph, case.arrays(FRAMES)
    plain = amp.compile(g).run(inputs)
    for plan in (None, data.draw(schedules(g))):
        run = amp.compile(g, plan, timing=True).run(inputs)
        assert_same_runs(run, plain)
        assert run.timing is not None
        rows = {row.node: row for row in run.timing.nodes}
        assert {node.name for node in g.nodes} <= rows.keys()
        for row in run.timing.nodes:
            assert row.delay >= 0
            assert row.firings <= row.frames
            assert (row.firings > 0) == (row.frames > 0) == (row.cycles > 0)
            assert np.isnan(row.group_delay) or row.group_delay >= row.delay - 1e-6
