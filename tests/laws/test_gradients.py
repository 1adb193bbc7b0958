"""L5: what goes back over a node is its transposed derivative.

Every sample of every node type is asked: its cotangents of inputs, params and state against the tangents
of `forward_mode`, by the dot product test, and against finite differences.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from bench import CASES, SAMPLES, TRACED, bench
from forward_mode import (
    DOT,
    JVP,
    OWN,
    Direction,
    assert_same_gradients,
    items,
    pairing,
    random_direction,
    run_tangents,
    tangent_graph,
)
from forward_mode import WITHOUT as WITHOUT_TANGENT

import amp
from amp.errors import BadValue
from amp.ir.ops import OPS
from amp.ir.vjp import VJP, WITHOUT
from amp.jit.archetypes import manifest
from amp.jit.trace_block import STATE

if TYPE_CHECKING:
    from bench import Bench
    from bits import Array

    from amp.contract import NodeType
    from amp.program import Program
    from amp.result import Gradients

BEFORE, FRAMES, BATCH = 37, 90, 2
"""Frames run first, and recorded."""
ENGINES = [(0, 0), (16, 4), (64, 8)]
"""Block (0: KPN) and width."""
DETUNED = 0.98765432
SWITCHES = {"trigger"}
"""States that say yes or no, as 1 or 0."""
KINKED = {"Follower", "Integrator.4", "Integrator.5"}
"""Those that ride along the edge of a limit, where a function has a slope to each side: the backward pass
has one of the two, as forward mode has."""


def learnable(node: NodeType) -> NodeType:
    """``node`` with each number that it is given as an `amp.Param`, and moved a little, so that no ramp
    ends exactly in a frame, where it would have two slopes."""
    attrs = {
        name: amp.Param(DETUNED * value, name=name)
        if name in type(node).params and not isinstance(value, int)
        else value
        for name, value in ((name, getattr(node, name)) for name in type(node).attrs)
    }
    defaults = {i.name: i.default for i in type(node).inlets if i.default is not None}
    given = defaults | node.given
    inlets = {name: amp.Param(DETUNED * value, name=name) for name, value in given.items()}
    return type(node)(**attrs, **inlets)


class Case:
    """A sample in a graph, its programs, and what they are run on."""

    def __init__(self, name: str, *, streams: bool) -> None:
        self.name = name
        self.bench: Bench = bench([learnable(SAMPLES[name])], batch=BATCH, streams=streams, wide=2)
        self.programs: dict[tuple[int, int], Program] = {}
        self.before = self._inputs(0, BEFORE)
        self.inputs = self._inputs(BEFORE, BEFORE + FRAMES)

    def _inputs(self, begin: int, end: int) -> dict[str, Array]:
        inputs = self.bench.inputs(frames=BEFORE + FRAMES)
        function = getattr(SAMPLES[self.name], "function", "")
        if function in {"sqrt", "log", "power"}:
            inputs = {name: np.abs(array) + 0.1 for name, array in inputs.items()}
        if function == "tan":  # its poles are where nothing is a limit
            inputs = {name: 0.5 * array for name, array in inputs.items()}
        return {name: array[..., begin:end] for name, array in inputs.items()}

    def program(self, block: int = 0, width: int = 0) -> Program:
        if (block, width) not in self.programs:
            graph = self.bench.graph
            plan = amp.plan(graph, block, width) if block else None
            self.programs[block, width] = amp.compile(graph, plan)
        return self.programs[block, width]

    @functools.cached_property
    def tangents(self) -> Program:
        return amp.compile(tangent_graph(self.bench.graph))

    def cotangents(self) -> dict[str, Array]:
        rng = np.random.default_rng(5)
        outputs = [n for n in self.bench.graph.nodes if n.type.border == "output"]
        widths = {n.name: self.bench.graph.nodes[n.edges[0].source].channels for n in outputs}
        return {n: rng.normal(size=(BATCH, width, FRAMES)) for n, width in widths.items()}

    def begin(self, program: Program, *, late: bool) -> None:
        """Be at clock 0, or later."""
        program.reset()
        if late:
            silent = {name + DOT: np.zeros_like(array) for name, array in self.before.items()}
            program.run(
                {**self.before, **(silent if program is vars(self).get("tangents") else {})},
                frames=BEFORE,
            )

    def gradients(self, block: int = 0, width: int = 0, *, late: bool) -> Gradients:
        program = self.program(block, width)
        self.begin(program, late=late)
        program.run(self.inputs, frames=FRAMES, record=True)
        return program.backward(self.cotangents())


@functools.cache
def case(name: str, *, streams: bool) -> Case:
    return Case(name, streams=streams)


def type_name(case: Any) -> str:
    """The node type of a case."""
    return str(case.values[0]).partition(".")[0]


@pytest.mark.parametrize("late", [False, True], ids=["reset", "late"])
@pytest.mark.parametrize("name, streams", [c for c in CASES if type_name(c) in TRACED])
def test_backward_is_the_transposed_forward_mode(name: str, streams: bool, late: bool) -> None:
    this = case(name, streams=streams)
    gradients, cotangents = this.gradients(late=late), this.cotangents()
    this.begin(this.tangents, late=late)
    direction = random_direction(this.tangents, this.inputs, np.random.default_rng(6))
    for part in ("inputs", "params", "state"):
        only = restricted(direction, part)
        made = run_tangents(this.tangents, this.inputs, only, FRAMES)
        terms = np.concatenate([(cotangents[out] * made[out]).ravel() for out in cotangents])
        got, size = pairing(gradients, only)
        assert np.isfinite(terms).all()
        assert abs(got - terms.sum()) <= 1e-10 * max(size, np.abs(terms).sum()), part


def restricted(direction: Direction, part: str) -> Direction:
    """``direction`` in the inputs, the params or the state alone."""
    kept = {"inputs": ["inputs"], "params": ["params"]}.get(part, ["nodes", "lines", "edges"])

    def zero(tree: Any) -> Any:
        return {k: zero(v) if isinstance(v, dict) else np.zeros_like(v) for k, v in tree.items()}

    fields = vars(direction)
    return Direction(**{n: tree if n in kept else zero(tree) for n, tree in fields.items()})


@pytest.mark.parametrize("name, streams", CASES)
def test_engines_give_the_same_bits(name: str, streams: bool) -> None:
    this = case(name, streams=streams)
    for late in (False, True):
        want = this.gradients(late=late)
        for block, width in ENGINES[1:]:
            got = this.gradients(block, width, late=late)
            assert_same_gradients(got, want, f"block {block}, width {width}")


@pytest.mark.parametrize(
    "name, streams", [c for c in CASES if not str(c.values[0]).startswith(tuple(KINKED))]
)
def test_backward_is_the_limit_of_differences(name: str, streams: bool) -> None:
    """To a millionth, in inputs, params and state at once."""
    this = case(name, streams=streams)
    known = dict(items(this.gradients(late=True)))
    moves = Moves(this)
    terms = [(known[key] * by).ravel() for key, by in moves.by.items() if key in known]
    got = np.concatenate([np.zeros(1), *terms])
    step = 1e-6
    slope = (moves.loss(step) - moves.loss(-step)) / (2 * step)
    moves.undo()
    size = np.abs(got).sum()
    assert abs(slope - got.sum()) <= 1e-6 * size + 1e-9 * abs(moves.loss(0.0))


def counts(case: Case, node: str, name: str) -> int:
    """How many of the first numbers of a state count firings, and have no cotangent."""
    row = manifest().get(case.bench.graph[node].type.archetype)
    return row.counts if row and name == STATE else 0


class Moves:
    """A random direction, and the loss of a run from a place a step along it: the dot product of the
    case's cotangents and the run's outputs."""

    def __init__(self, case: Case) -> None:
        self.case, self.program = case, case.program()
        case.begin(self.program, late=True)
        self.begin = self.program.state()
        self.by: dict[tuple[Any, ...], Array] = {}
        rng = np.random.default_rng(7)

        def some(array: Array) -> Array:
            size = min(float(np.abs(array).max(initial=0.0)), 1e6)
            move: Array = size * rng.normal(size=array.shape)
            return move

        for name, array in case.inputs.items():
            self.by["inputs", name] = some(array)
        for name, array in self.begin.params.items():
            self.by["params", name] = some(array)
        trees = {"nodes": self.begin.nodes, "lines": self.begin.lines}
        for what, tree in trees.items():
            for node, arrays in tree.items():
                for name, array in arrays.items():
                    if array.dtype == np.float64 and name not in SWITCHES:
                        self.by[what, node, name] = some(array)
                        self.by[what, node, name][..., : counts(case, node, name)] = 0.0
        for name in self.begin.params:
            try:
                self.loss(1e-6)
                self.loss(-1e-6)
            except BadValue:  # at the end of its range
                self.by["params", name] *= 0.0

    def undo(self) -> None:
        """Be where the case is."""
        self.program.restore(self.begin)

    def loss(self, step: float) -> float:
        """After a ``step``."""
        self.undo()
        for name, value in self.begin.params.items():
            self.program.set(name, value + step * self.by["params", name])
        state = self.program.state()
        for what, tree in (("nodes", state.nodes), ("lines", state.lines)):
            for node, arrays in tree.items():
                for name, array in arrays.items():
                    if (what, node, name) in self.by:
                        arrays[name] = array + step * self.by[what, node, name]
        self.program.restore(state)
        inputs = {n: a + step * self.by["inputs", n] for n, a in self.case.inputs.items()}
        result, cotangents = self.program.run(inputs, frames=FRAMES), self.case.cotangents()
        return float(sum((cotangents[name] * array).sum() for name, array in result.items()))


def test_no_rule_table_has_a_hole() -> None:
    """L9."""
    assert VJP.keys() | WITHOUT == OPS.keys()
    assert not VJP.keys() & WITHOUT
    assert JVP.keys() | OWN | WITHOUT_TANGENT == OPS.keys()
    assert WITHOUT_TANGENT == WITHOUT
