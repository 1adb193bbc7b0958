"""Infinities and NaN in random graphs: the first one is named, and resets are the same everywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

import networkx as nx
import numpy as np
from bits import assert_same_runs
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from random_schedules import schedules, splits
from strategies import Case, cases

import amp
from amp.errors import NonFinite
from amp.stream import Stream

if TYPE_CHECKING:
    from amp.program import Program

FRAMES, LATER = 400, 20
"""Frames of a run, and more of them in which its last tokens become visible."""
PROFILE = settings.default
assert PROFILE is not None
FEWER = settings(
    max_examples=max(1, PROFILE.max_examples // 3),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def blamed(program: Program, case: Case, pieces: list[int]) -> tuple[str, int] | None:
    """Node and frame that a run in pieces raises for."""
    inputs, at = case.arrays(FRAMES), 0
    try:
        for count in pieces:
            some = {name: array[..., at : at + count] for name, array in inputs.items()}
            program.run(some, frames=count)
            at += count
    except NonFinite as error:
        return error.node, error.frame
    return None


def first_probed(case: Case) -> tuple[set[str], int] | None:
    """Nodes that give the first infinity or NaN, and its frame, as probes of every outlet see it."""
    g = case.graph
    for node in [*g.nodes]:
        for outlet in range(len(type(node.type).outlets)):
            g.probe(Stream(g, node.index, outlet, node.channels), f"{node.name}: {outlet}")
    result = amp.compile(g).run(case.arrays(FRAMES + LATER), frames=FRAMES + LATER)
    found: dict[str, int] = {}
    for probe, array in result.probes.items():
        name = probe.rpartition(":")[0]
        bad = ~np.isfinite(array).all(axis=(0, 1))
        if bad.any():
            clocks = result.clocks.get(probe, np.arange(FRAMES + LATER))
            clock = int(clocks[bad.argmax()]) - g[name].type.processing_delay
            found[name] = min(clock, found.get(name, clock))
    frame = min(found.values(), default=FRAMES)
    if frame >= FRAMES:
        return None
    names = {name for name, clock in found.items() if clock == frame}
    streams = nx.DiGraph()
    streams.add_nodes_from(names)
    about = g.freeze()
    for node in about.nodes:
        for edge in node.edges:
            if edge.delay == 0 and edge.tokens == 0 and node.name in names:
                source = about.nodes[edge.source].name
                if source in names:
                    streams.add_edge(source, node.name)
    return {name for name in names if not streams.in_degree(name)}, frame


@FEWER
@given(cases(), st.data())
def test_the_first_node_and_frame_are_named(case: Case, data: st.DataObject) -> None:
    plan, pieces = data.draw(schedules(case.graph)), data.draw(splits(FRAMES))
    free = amp.compile(case.graph, on_nonfinite="raise")
    scheduled = amp.compile(case.graph, plan, on_nonfinite="raise")
    got = blamed(free, case, [FRAMES])
    assert blamed(scheduled, case, pieces) == got
    want = first_probed(case)
    if want is None:
        assert got is None
    else:
        assert got is not None
        assert got[1] == want[1]
        assert got[0] in want[0]


@FEWER
@given(cases(), st.data())
def test_resets_are_the_same_under_every_engine(case: Case, data: st.DataObject) -> None:
    assume(case.rough)
    inputs = case.arrays(FRAMES)
    free = amp.compile(case.graph, on_nonfinite="reset").run(inputs, frames=FRAMES)
    for name, array in free.items():
        assert np.isfinite(array).all(), name
    program = amp.compile(case.graph, data.draw(schedules(case.graph)), on_nonfinite="reset")
    at, parts = 0, []
    for count in data.draw(splits(FRAMES)):
        some = {name: array[..., at : at + count] for name, array in inputs.items()}
        parts.append(program.run(some, frames=count))
        at += count
    joined = {name: np.concatenate([part[name] for part in parts], axis=2) for name in free}
    assert_same_runs(joined, free)
