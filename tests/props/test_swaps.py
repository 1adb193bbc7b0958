"""Swaps at random clocks, between random graphs: nothing is noticed of the same graph, and every
engine hears the same of another one.

``make fuzz`` runs many more examples.
"""

from __future__ import annotations

import json
import random
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from bits import Array, assert_same_runs
from hypothesis import given
from hypothesis import strategies as st
from random_schedules import examples, schedules, splits
from strategies import Case, cases

import amp
from amp.errors import AmpError
from amp.schedule import paces, settle

if TYPE_CHECKING:
    from amp.program import Program

FRAMES = 420


def altered(graph: amp.Graph, seed: int) -> amp.Graph:
    """The same nodes with other delays, initial tokens, phases and lines, as far as that is legal."""
    rng = random.Random(seed)
    text = amp.graph_to_json(graph)
    wide = {node.name: node.channels for node in graph.nodes}
    for _ in range(4):
        changed = json.loads(text)
        for node in changed["nodes"]:
            if rng.random() < 0.2 and "longest" in node.get("attrs", {}):
                node["attrs"]["longest"] += rng.choice([-1, 1, 30])
            for inlet in node.get("inlets", {}).values():
                for edge in inlet if isinstance(inlet, list) else [inlet]:
                    if isinstance(edge, dict) and edge["kind"] == "edge" and rng.random() < 0.2:
                        edge["delay"] = rng.choice([0, 1, 5, 33])
                        if rng.random() < 0.3:
                            shape = [graph.batch, wide[edge["from"]], rng.choice([1, 4, 40])]
                            edge["initial"] = {"kind": "array", "shape": shape, "fill": 0.5}
        try:
            made = amp.graph_from_json(json.dumps(changed))
            paces(settle(made.freeze()))
        except AmpError:  # a cycle without tokens, or too slow
            continue
        text = json.dumps(changed)
    return amp.graph_from_json(text)


def run_on(program: Program, inputs: dict[str, Array], pieces: list[int]) -> dict[str, Array]:
    """Outputs of a run in pieces from the program's clock on."""
    ends = program.clock + np.cumsum([0, *pieces])
    results = [
        program.run({name: array[..., a:b] for name, array in inputs.items()})
        for a, b in pairwise(ends)
    ]
    return {name: np.concatenate([r[name] for r in results], axis=2) for name in results[0]}


def drawn(data: st.DataObject, graph: amp.Graph) -> amp.IPLS | None:
    return data.draw(st.one_of(st.none(), schedules(graph)))


@examples(0.4)
@given(st.data())
def test_the_same_graph_is_not_noticed(data: st.DataObject) -> None:
    case: Case = data.draw(cases())
    inputs = case.arrays(FRAMES)
    want = amp.compile(case.graph).run(inputs)
    program = amp.compile(case.graph, drawn(data, case.graph))
    pieces = data.draw(splits(FRAMES))
    cut = data.draw(st.integers(0, len(pieces) - 1))
    heard = [run_on(program, inputs, pieces[:cut])] if cut else []
    crossfade = data.draw(st.sampled_from([0, 1, 40, 1000]))
    program.swap(case.graph, drawn(data, case.graph), crossfade=crossfade)
    heard.append(run_on(program, inputs, pieces[cut:]))
    got = {name: np.concatenate([h[name] for h in heard], axis=2) for name in want}
    assert_same_runs(got, want)


@examples(0.4)
@given(st.data())
def test_every_engine_hears_the_same_of_another_graph(data: st.DataObject) -> None:
    case: Case = data.draw(cases())
    inputs = case.arrays(FRAMES)
    other = altered(case.graph, data.draw(st.integers(0, 9999)))
    at = data.draw(st.integers(2, FRAMES - 2))
    crossfade = data.draw(st.sampled_from([0, 3, 100]))
    runs: list[Any] = []
    for split in (False, True):
        before, after = (data.draw(splits(n)) if split else [n] for n in (at, FRAMES - at))
        plans = [drawn(data, g) if split else None for g in (case.graph, other)]
        program = amp.compile(case.graph, plans[0])
        first = run_on(program, inputs, before)
        program.swap(other, plans[1], crossfade=crossfade)
        second = run_on(program, inputs, after)
        assert program.latency == amp.compile(other).latency or crossfade
        runs.append({n: np.concatenate([first[n], second[n]], axis=2) for n in first})
    assert_same_runs(runs[1], runs[0])
