"""Node types made of node types: one that also writes down what its adjoint needs, the adjoint, and one
that gives a node's outlets again.

The adjoint of a node takes the cotangents of its outlets and gives those of its inlets, firing by firing
from the last one back. A firing's values are computed again from what it read, from its params, and from
what only it knew: its states, and what it tapped of its lines. These its recording twin writes to outlets.
"""

from __future__ import annotations

import itertools
import types
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from amp.contract import Inlet, NodeType
from amp.frozen import Edge
from amp.jit.adjoint_plan import Copy, inlet_of, read_kept, spread
from amp.jit.adjoint_trace import SCOPE, Pattern, edge_counts, edge_rates
from amp.jit.trace import one_or_all

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from amp.contract import Trace
    from amp.frozen import Node
    from amp.ir import Value
    from amp.jit.adjoint_plan import Plan
    from amp.jit.adjoint_trace import Planes, Traced


def _flatten(node: Node, given: Sequence[Any], *, whole: bool) -> list[Planes]:
    """What ``forward`` is given, by edge, token and plane."""
    edges: list[Planes] = []
    rates = iter(edge_rates(node))
    for source, argument in zip(node.sources, given, strict=True):
        if isinstance(source, Edge):
            some = [argument]
        elif isinstance(source, tuple):
            some = list(argument)
        else:
            continue
        for one in some:
            tokens = one if next(rates) > 1 else [one]
            edges.append([list(token) if whole else [token] for token in tokens])
    return edges


def make_recorder(traced: Traced) -> type[NodeType]:
    """The node type of the same samples that also writes ``traced.kept`` to outlets of its own."""
    kind, node = type(traced.node.type), traced.node
    per_outlet = traced.row
    count = -(-len(traced.kept) // per_outlet)
    names = tuple(f"kept_{i}" for i in range(count))

    def rate(self: NodeType, port: str) -> int | tuple[int, ...]:
        return 1 if port in names else kind.rate(self, port)

    def forward(self: NodeType, b: Trace, *given: Any) -> Any:
        if traced.takes:
            edges = [[[value]] for value in given]
        else:
            edges = _flatten(node, given, whole=traced.whole)

        def known(value: Value) -> Value | None:
            return inlet_of(traced, value, edges)

        copy = Copy(b, traced, known)
        for value in traced.trace.values:
            if value.op in {"line", "state", "istate", "tstate"}:
                copy(value)
        results: list[Any] = []
        for outlet in traced.outlets:
            tokens = [[copy(v) for v in planes] for planes in outlet]
            shaped = [planes if traced.whole else planes[0] for planes in tokens]
            results.append(one_or_all(shaped))
        written = [_as_number(b, copy(value)) for value in traced.kept]
        if traced.whole:
            written += [b.const(0.0)] * (count * per_outlet - len(written))
            rows = range(0, len(written), per_outlet)
            results += [written[i : i + per_outlet] for i in rows]
        else:
            results += written
        for name, value in traced.trace.nexts.items():
            b.next(name.removeprefix(f"{SCOPE}."), copy(value))
        return tuple(results) if len(results) > 1 else results[0]

    body = {"outlets": (*kind.outlets, *names), "rate": rate, "forward": forward, "archetype": ""}
    return subtype(kind, body)


def _as_number(b: Trace, value: Value) -> Value:
    """A value as an outlet can hold it."""
    if value.type == "i64":
        return b.emit("from_bits", value)
    return b.from_turn(value) if value.type == "turn" else value


@dataclass(frozen=True)
class _Ports:
    """The ports of an adjoint: the node's constants, the edges that it reads, the outlets that it does,
    what was written down, what arrives, and what leaves; and how many tokens they move."""

    constants: tuple[Inlet, ...]
    reads: tuple[str, ...]
    own: tuple[str, ...]
    kept: tuple[str, ...]
    arrivals: tuple[str, ...]
    leaving: tuple[str, ...]
    rates: dict[str, Any]

    @classmethod
    def of(cls, traced: Traced, pattern: Pattern, plan: Plan, outlets: tuple[int, ...]) -> _Ports:
        node, kind = traced.node, type(traced.node.type)
        taken = [1] * len(traced.inlets) if traced.takes else edge_rates(node)
        counts = [(1,)] * len(traced.inlets) if traced.takes else edge_counts(node)
        reads = {f"stream_{i}": counts[i] for i in plan.reads}
        leaving = {f"input_{i}": taken[i] for i in outlets}
        arrivals = {
            f"cotangent_{o}_{i}": max(node.type.counts(kind.outlets[o]))
            for o, count in enumerate(pattern.readers)
            for i in range(count)
        }
        kept = tuple(f"kept_{i}" for i in range(-(-len(traced.kept) // traced.row)))
        constants = (
            inlet
            for inlet, source in zip(kind.inlets, node.sources, strict=True)
            if not isinstance(source, tuple | Edge)
        )
        rates: dict[str, int | tuple[int, ...]] = {**reads, **leaving, **arrivals}
        own = tuple(f"own_{o}" for o in plan.own)
        return cls((*constants,), (*reads,), own, kept, (*arrivals,), (*leaving,), rates)

    @property
    def inlets(self) -> tuple[Inlet, ...]:
        """In the order in which ``forward`` is given them."""
        return (
            *self.constants,
            *(Inlet(n) for n in (*self.reads, *self.own, *self.kept, *self.arrivals)),
        )

    def split(
        self, given: Sequence[Any], *, whole: bool
    ) -> tuple[list[Planes], list[list[Value]], list[Any], list[Planes]]:
        """What ``forward`` is given: of edges, of outlets, written down, and arriving."""

        def tokens_of(name: str, value: Any) -> Planes:
            tokens = value if np.max(self.rates[name]) > 1 else [value]
            return [list(token) if whole else [token] for token in tokens]

        rest = iter(given[len(self.constants) :])
        streams, own, kept, arriving = (
            [*itertools.islice(rest, len(names))]
            for names in (self.reads, self.own, self.kept, self.arrivals)
        )
        return (
            [tokens_of(name, v) for name, v in zip(self.reads, streams, strict=True)],
            [row if whole else [row] for row in own],
            [v for row in kept for v in (row if whole else [row])],
            [tokens_of(name, v) for name, v in zip(self.arrivals, arriving, strict=True)],
        )


def make_adjoint(
    traced: Traced, pattern: Pattern, plan: Plan, outlets: tuple[int, ...], *, first: bool
) -> type[NodeType]:
    """The adjoint that gives the cotangents of the inlets ``outlets``; the ``first`` one of a node also
    those of its params. Its inlets are the node's constants, the edges that it reads (``stream_i``), the
    outlets that it does (``own_i``), what was written down (``kept_i``), and what arrives
    (``cotangent_outlet_i``)."""
    if not first:
        pattern = replace(pattern, params=())
    ports = _Ports.of(traced, pattern, plan, outlets)

    def rate(_: NodeType, port: str) -> Any:
        return ports.rates.get(port, 1)

    def forward(_: NodeType, b: Trace, *given: Any) -> Any:
        arriving, known = _given(b, traced, plan, ports, given)
        seeds: list[Planes] = []
        for o, tokens in enumerate(traced.outlets):
            some = [arriving.pop(0) for _ in range(pattern.readers[o])]
            seeds.append(
                [
                    [b.tree_sum([s[t][p] for s in some]) for p in range(len(planes))]
                    for t, planes in enumerate(tokens if some else [])
                ]
            )
        result = spread(b, traced, pattern, known, seeds)
        out = [
            one_or_all([planes if traced.whole else planes[0] for planes in result[i]])
            for i in outlets
        ]
        if not out:  # all that it reads are constants
            none = b.const(0.0)
            return [none] * traced.node.channels if traced.whole else none
        return tuple(out) if len(out) > 1 else out[0]

    body = {"inlets": ports.inlets, "outlets": ports.leaving, "rate": rate, "forward": forward}
    return subtype(type(traced.node.type), body | NEUTRAL)


def _given(
    b: Trace, traced: Traced, plan: Plan, ports: _Ports, given: Sequence[Any]
) -> tuple[list[Planes], Callable[[Value], Value | None]]:
    """What arrives, of all that a ``forward`` is given, and the values of ``traced`` that it knows by the
    rest."""
    streams, own, kept, arriving = ports.split(given, whole=traced.whole)
    edges = dict(zip(plan.reads, streams, strict=True))
    place = {value.index: n for n, value in enumerate(traced.kept)}
    lost = {value.index for value in traced.unknown()} - place.keys()
    read = {at: n for n, at in enumerate(plan.own)}
    outlets = {i: (read[o], p) for i, (o, p) in traced.single().items() if o in read}

    def known(value: Value) -> Value | None:
        if value.index in outlets:
            outlet, plane = outlets[value.index]
            return own[outlet][plane]
        if value.index in place:
            return read_kept(b, value, kept[place[value.index]])
        at: Any = value.attribute
        if value.op == "inlet" and at[0] in edges:
            return inlet_of(traced, value, edges)
        if value.op == "inlet" or value.index in lost:  # nothing that counts depends on it
            return b.iconst(0) if value.type == "i64" else b.const(float("nan"))
        return None

    return arriving, known


def can_replay(traced: Traced) -> bool:
    """The node's outlets follow from what it reads and what is written down of it."""
    kind = traced.node.type
    if traced.takes or traced.whole or {*edge_counts(traced.node)} - {(1,)}:
        return False
    kept = {value.index for value in traced.kept}
    unknown = {value.index for value in traced.unknown()}
    pending = [value for tokens in traced.outlets for planes in tokens for value in planes]
    seen: set[int] = set()
    while pending:
        value = pending.pop()
        if value.index in seen | kept:
            continue
        if value.index in unknown or value.op == "clock":
            return False
        seen.add(value.index)
        pending += value.operands
    return all(kind.counts(outlet) == (1,) for outlet in type(kind).outlets)


def make_replay(traced: Traced, plan: Plan) -> type[NodeType]:
    """The node type that gives the node's outlets again, of its edges and of what was written down: its
    inlets are those of an adjoint to which nothing arrives."""
    edges = [*range(len(traced.inlets))]
    plan = replace(plan, reads=edges, own=[])
    ports = _Ports.of(traced, Pattern((), (), (0,) * len(traced.outlets)), plan, ())

    def rate(_: NodeType, __: str) -> int:
        return 1

    def forward(_: NodeType, b: Trace, *given: Any) -> Any:
        copy = Copy(b, traced, _given(b, traced, plan, ports, given)[1])
        out = [copy(planes[0]) for (planes,) in traced.outlets]
        return tuple(out) if len(out) > 1 else out[0]

    return subtype(
        type(traced.node.type), {"inlets": ports.inlets, "rate": rate, "forward": forward} | NEUTRAL
    )


NEUTRAL: dict[str, Any] = {
    "backward": True,
    "takes": NodeType.takes,
    "is_sum": False,
    "archetype": "",
    "processing_delay": 0,
    "spread": 1,
    "border": "",
}


def subtype(kind: type[NodeType], body: dict[str, Any]) -> type[NodeType]:
    made: type[NodeType] = types.new_class(
        kind.__name__, (kind,), {"register": False}, lambda space: space.update(body)
    )
    return made


def instance(kind: type[NodeType], node: NodeType) -> NodeType:
    """An instance of a subclass of the type of ``node``, with its attributes."""
    new: NodeType = object.__new__(kind)
    vars(new).update(vars(node))
    vars(new)["key"] = (kind, *node.key[1:])
    return new
