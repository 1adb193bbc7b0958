"""Node types made of node types: one that also writes down what its adjoint needs, and the adjoint.

The adjoint of a node takes the cotangents of its outlets and gives those of its inlets, firing by firing
from the last one back. A firing's values are computed again from what it read, from its params, and from
what only it knew: its states, and what it tapped of its lines. These its recording twin writes to outlets.
"""

from __future__ import annotations

import itertools
import types
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from amp.contract import Inlet, NodeType, Param, Take, Trace
from amp.errors import NotDifferentiable
from amp.frozen import Edge
from amp.ir import ancestors
from amp.ir.vjp import Cotangents, movable, transpose
from amp.jit.trace import arguments, by_token, call_forward, constant_list, one_or_all

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from amp.frozen import Node
    from amp.ir import Value

    Planes = list[list[Value]]
    """The tokens of a firing, each with a value for every plane."""

GRADIENT = "gradient."
"""First letters of the name of a state that adds up the cotangent of a value that does not vary."""
SCOPE = "0.0"


@dataclass(frozen=True)
class Pattern:
    """What the adjoints of equal nodes have in common.

    Attributes
    ----------
    wanted
        Edges whose cotangents are asked for.
    params
        Slots whose cotangents are asked for.
    readers
        Of each outlet how many cotangents arrive.
    """

    wanted: tuple[int, ...]
    params: tuple[str, ...]
    readers: tuple[int, ...]


@dataclass
class Traced:
    """The ``forward`` of one node, alone: what it reads by edge, and what its outlets give."""

    node: Node
    trace: Trace
    inlets: list[Planes]
    outlets: list[Planes]
    takes: list[Take]
    kept: list[Value] = field(default_factory=list)

    @classmethod
    def of(cls, node: Node, widths: Sequence[int], sample_rate: float) -> Traced:
        """Trace ``node``, whose edges have ``widths`` channels."""
        b, kind = Trace(sample_rate), node.type
        whole = kind.channels == "all"
        takes = kind.takes(list(widths))
        rates = [1] * len(takes) or edge_rates(node)
        planes = widths if whole else [1] * len(rates)
        inlets = [
            [
                [b.emit("inlet", attribute=(i, token * count + p)) for p in range(count)]
                for token in range(rate)
            ]
            for i, (rate, count) in enumerate(zip(rates, planes, strict=True))
        ]
        b.enter(SCOPE, kind)
        if takes:
            result = call_forward(b, node, [tokens[0][0] for tokens in inlets])
        elif whole:
            result = call_forward(b, node, arguments(b, node, inlets, one_or_all, constant_list))
        else:
            lanes = [[[t[0]] for t in tokens] for tokens in inlets]
            result = call_forward(
                b,
                node,
                arguments(
                    b,
                    node,
                    lanes,
                    lambda tokens: one_or_all([t[0] for t in tokens]),
                    lambda b, name, _: b.slot(name),
                ),
            )
        several = len(type(kind).outlets) > 1
        results = list(result) if several else [result]
        outlets = [
            [
                [b.value(v) for v in (token if whole else [token])]
                for token in ([out] if takes else by_token(node, i, out))
            ]
            for i, out in enumerate(results)
        ]
        return cls(node, b, inlets, outlets, takes)

    @property
    def whole(self) -> bool:
        """``forward`` sees all channels at once."""
        return self.node.type.channels == "all"

    @property
    def row(self) -> int:
        """Values that an outlet has room for."""
        return max(1, self.node.channels) if self.whole else 1

    def states(self) -> list[Value]:
        """States that have a cotangent."""
        return [v for v in self.trace.values if v.op in {"state", "tstate"}]

    def starts(self) -> dict[str, list[str]]:
        """States that start with a param, by that."""
        found: dict[str, list[str]] = {}
        for name, initial in self.trace.inits.items():
            if isinstance(initial, str):
                found.setdefault(initial, []).append(name.removeprefix(f"{SCOPE}."))
        return found

    def single(self) -> dict[int, tuple[int, int]]:
        """Values that an outlet of one token is of, by index: outlet and plane."""
        names = type(self.node.type).outlets
        return {
            value.index: (outlet, plane)
            for outlet, tokens in enumerate(self.outlets)
            for plane, value in enumerate(tokens[0])
            if self.node.type.counts(names[outlet]) == (1,) and value.varies and value.op != "inlet"
        }

    def unknown(self) -> list[Value]:
        """Values that no later firing could compute again."""
        values = self.trace.values
        turns = {v.operands[0].index for v in values if v.op == "from_turn"}
        return [v for v in values if v.op in {"state", "istate", "tap"} or v.index in turns]


def edge_rates(node: Node) -> list[int]:
    """Tokens that a firing reads of each edge."""
    rates: list[int] = []
    for inlet, source in zip(type(node.type).inlets, node.sources, strict=True):
        count = len(source) if isinstance(source, tuple) else isinstance(source, Edge)
        rates += [max(node.type.counts(inlet.name))] * count
    return rates


class _Copy:
    """The values of a trace in another one, each when it is first asked for."""

    def __init__(self, b: Trace, traced: Traced, known: Callable[[Value], Value | None]) -> None:
        self._b, self._traced, self._known = b, traced, known
        self._made: dict[int, Value] = {}

    def __call__(self, value: Value) -> Value:
        pending = [value]
        while pending:  # not by recursion: a chain may be long
            now = pending[-1]
            if now.index in self._made:
                pending.pop()
                continue
            found = self._known(now)
            if found is None:
                missing = [v for v in now.operands if v.index not in self._made]
                if missing:
                    pending += missing
                    continue
                found = self._make(now)
            self._made[now.index] = found
        return self._made[value.index]

    def _make(self, value: Value) -> Value:
        b, operands = self._b, [self._made[v.index] for v in value.operands]
        name = str(value.attribute).removeprefix(f"{SCOPE}.")
        match value.op:
            case "param" | "iparam":
                return b.slot(name, integer=value.op == "iparam")
            case "state" | "istate" | "tstate":
                initial: Any = self._traced.trace.inits[f"{SCOPE}.{name}"]
                make = {"state": b.state, "istate": b.istate, "tstate": b.tstate}[value.op]
                return make(name, initial)
            case "line":
                length = self._traced.trace.line_lengths[f"{SCOPE}.{name}"]
                return b.line(name, operands[0], length)
            case "from_turn" if operands[0].type == "f64":  # a turn that was written down
                return b.fma(*operands)
        return b.emit(value.op, *operands, attribute=value.attribute)


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
            return _inlet(traced, value, edges)

        copy = _Copy(b, traced, known)
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

    return _subtype(kind, {"outlets": (*kind.outlets, *names), "rate": rate, "forward": forward})


def _as_number(b: Trace, value: Value) -> Value:
    """A value as an outlet can hold it."""
    if value.type == "i64":
        return b.emit("from_bits", value)
    return b.from_turn(value) if value.type == "turn" else value


def _inlet(traced: Traced, value: Value, edges: Any) -> Value | None:
    """What inlet ``value`` of a trace is among ``edges``, by number."""
    if value.op != "inlet":
        return None
    at: Any = value.attribute
    token, plane = divmod(at[1], len(traced.inlets[at[0]][0]))
    found: Value = edges[at[0]][token][plane]
    return found


@dataclass
class Plan:
    """An adjoint, made as a trial: which edges and outlets of the node it reads, what it needs written
    down, and the edges that get something."""

    reads: list[int]
    own: list[int]
    kept: list[Value]
    moved: list[int]
    is_identity: bool  # every wanted inlet has the cotangent of the outlet


def plan_adjoint(traced: Traced, pattern: Pattern) -> Plan:
    """What the adjoint of a node reads.

    Where it can do with the node's outlets in place of as many states, they are not written down: others
    may read the outlets too.
    """
    plan = _try(traced, pattern, {})
    if plan.kept and not traced.takes:
        other = _try(traced, pattern, traced.single())
        if len(other.own) + len(other.kept) <= len(plan.kept):
            return other
    return plan


def _try(traced: Traced, pattern: Pattern, own: dict[int, tuple[int, int]]) -> Plan:
    """The same, if values of its outlets are known: ``own``, the outlet and plane by index."""
    b = Trace(traced.trace.sample_rate)
    b.enter(SCOPE, traced.node.type)
    unknown = {value.index: n for n, value in enumerate(traced.unknown())}
    first = len(traced.inlets)
    seeds_at = first + len(unknown)
    own_at = seeds_at + len(traced.outlets)

    def known(value: Value) -> Value | None:
        if value.index in own:
            outlet, plane = own[value.index]
            return b.emit("inlet", attribute=(own_at + outlet, plane))
        if value.index in unknown:
            return _read_kept(
                b, value, b.emit("inlet", attribute=(first + unknown[value.index], 0))
            )
        if value.op == "inlet":
            return b.emit("inlet", attribute=value.attribute)
        return None

    seeds = [
        [
            [
                b.emit("inlet", attribute=(seeds_at + o, t * len(planes) + p))
                for p in range(len(planes))
            ]
            for t, planes in enumerate(tokens)
        ]
        for o, tokens in enumerate(traced.outlets)
    ]
    seeds = [s if count else [] for s, count in zip(seeds, pattern.readers, strict=True)]
    try:
        given = _spread(b, traced, pattern, known, seeds)
    except NotDifferentiable as error:
        raise refuse(traced.node, error.rule) from None
    wanted = [v for edge in pattern.wanted for planes in given[edge] for v in planes]
    moved = [
        edge
        for edge in range(len(given))
        if any(v.op != "const" or v.attribute for planes in given[edge] for v in planes)
    ]
    roots = [*wanted, *b.nexts.values(), *(v for v in b.values if v.op == "drain")]
    at: list[Any] = [value.attribute for value in ancestors(roots) if value.op == "inlet"]
    ports = {port for port, _ in at}
    kept = traced.unknown()
    plain = len(seeds) == 1 and [len(planes) for planes in seeds[0]] == [1]
    return Plan(
        sorted(port for port in ports if port < first),
        sorted(port - own_at for port in ports if port >= own_at),
        [kept[port - first] for port in sorted(ports) if first <= port < seeds_at],
        moved,
        plain and not b.states and all(v is seeds[0][0][0] for v in wanted),
    )


def _read_kept(b: Trace, value: Value, number: Value) -> Value:
    """A value from how `_as_number` wrote it; a turn stays the fraction of a cycle."""
    return b.emit("bits", number) if value.type == "i64" else number


def _spread(
    b: Trace,
    traced: Traced,
    pattern: Pattern,
    known: Callable[[Value], Value | None],
    seeds: list[Planes],
) -> list[Planes]:
    """Cotangents of the inlets, from ``seeds``, those of the outlets; states and params get theirs.

    What does not vary is the same in every frame. So the cotangents of those values of it that frames
    work with are added up frame by frame, and the sums are carried to the params once, at the end.
    """
    trace = traced.trace
    varying = [value for value in trace.values if value.varies]
    steady = [value for value in trace.values if not value.varies]
    params = [
        (v, str(v.attribute).removeprefix(f"{SCOPE}.")) for v in steady if v.op == "param"
    ]
    wanted = {value.index: name for value, name in params if name in pattern.params}
    moved = movable(steady, wanted)
    sums: dict[int, tuple[Value, Value]] = {}
    copy = _Copy(b, traced, known)

    def pool(line: Value) -> Value:
        name = str(line.attribute)
        return b.pool(name.removeprefix(f"{SCOPE}."), trace.line_lengths[name])

    def begin(value: Value) -> Value | None:
        if value.index not in moved:
            return None
        so_far = b.state(f"{GRADIENT}{len(sums)}")
        sums[value.index] = value, so_far
        return so_far

    cotangents = Cotangents(b, copy, pool, begin)
    for outlet, seed in zip(traced.outlets, seeds, strict=True):
        for values, planes in zip(outlet, seed, strict=bool(seed)):
            for value, cotangent in zip(values, planes, strict=True):
                cotangents.add(value, cotangent)
    states = traced.states()
    for value in states:
        name = str(value.attribute)
        cotangents.add(trace.nexts[name], b.state(name.removeprefix(f"{SCOPE}.")))
    transpose(cotangents, varying)
    for value in states:
        found = cotangents[value]
        b.next(
            str(value.attribute).removeprefix(f"{SCOPE}."), b.const(0.0) if found is None else found
        )
    found_of = {value.index: _known(cotangents, value) for value in steady}
    totals = Cotangents(b, copy, pool)
    for number, (value, so_far) in enumerate(sums.values()):
        b.next(f"{GRADIENT}{number}", found_of[value.index])
        totals.put(value, so_far)
    transpose(totals, steady)
    for value, name in params:
        if value.index in wanted:
            b.total(name, _known(totals, value))
    return [
        [[_known(cotangents, v) for v in planes] for planes in tokens] for tokens in traced.inlets
    ]


def _known(cotangents: Cotangents, value: Value) -> Value:
    """The cotangent of ``value``, 0 if nothing depends on it."""
    found = cotangents[value]
    return cotangents.b.const(0.0) if found is None else found


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
        own = [1] * len(traced.inlets) if traced.takes else edge_rates(node)
        reads = {f"stream_{i}": own[i] for i in plan.reads}
        leaving = {f"input_{i}": own[i] for i in outlets}
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
        rates = reads | leaving | arrivals
        own = tuple(f"own_{o}" for o in plan.own)
        return cls((*constants,), (*reads,), own, kept, (*arrivals,), (*leaving,), rates)

    @property
    def inlets(self) -> tuple[Inlet, ...]:
        """In the order in which ``forward`` is given them."""
        return (*self.constants, *(Inlet(n) for n in (*self.reads, *self.own, *self.kept, *self.arrivals)))

    def split(
        self, given: Sequence[Any], *, whole: bool
    ) -> tuple[list[Planes], list[list[Value]], list[Any], list[Planes]]:
        """What ``forward`` is given: of edges, of outlets, written down, and arriving."""

        def tokens_of(name: str, value: Any) -> Planes:
            tokens = value if self.rates[name] != 1 else [value]
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
        result = _spread(b, traced, pattern, known, seeds)
        out = [
            one_or_all([planes if traced.whole else planes[0] for planes in result[i]])
            for i in outlets
        ]
        if not out:  # all that it reads are constants
            none = b.const(0.0)
            return [none] * traced.node.channels if traced.whole else none
        return tuple(out) if len(out) > 1 else out[0]

    body = {"inlets": ports.inlets, "outlets": ports.leaving, "rate": rate, "forward": forward}
    return _subtype(type(traced.node.type), body | NEUTRAL)


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
            return _read_kept(b, value, kept[place[value.index]])
        at: Any = value.attribute
        if value.op == "inlet" and at[0] in edges:
            return _inlet(traced, value, edges)
        if value.op == "inlet" or value.index in lost:  # nothing that counts depends on it
            return b.iconst(0) if value.type == "i64" else b.const(float("nan"))
        return None

    return arriving, known


def can_replay(traced: Traced) -> bool:
    """The node's outlets follow from what it reads and what is written down of it."""
    kind = traced.node.type
    if traced.takes or traced.whole or {*edge_rates(traced.node)} - {1}:
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
        copy = _Copy(b, traced, _given(b, traced, plan, ports, given)[1])
        out = [copy(planes[0]) for (planes,) in traced.outlets]
        return tuple(out) if len(out) > 1 else out[0]

    return _subtype(
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


def _subtype(kind: type[NodeType], body: dict[str, Any]) -> type[NodeType]:
    made: type[NodeType] = types.new_class(
        kind.__name__, (kind,), {"register": False}, lambda space: space.update(body)
    )
    return made


def instance(kind: type[NodeType], node: NodeType) -> NodeType:
    """An instance of a subclass of the type of ``node``, with its attributes."""
    new: NodeType = kind.__new__(kind)
    vars(new).update(vars(node))
    vars(new)["key"] = (kind, *node.key[1:])
    return new


def wanted_params(node: Node) -> dict[str, tuple[Param, Any]]:
    """Slots that hold a `Param`'s value: which, and what entry of it."""
    found: dict[str, tuple[Param, Any]] = {}
    for inlet, source in zip(type(node.type).inlets, node.sources, strict=True):
        if not isinstance(source, Param):
            continue
        if node.type.channels == "each":
            found[inlet.name] = (source, None)
        else:
            count = source.value.shape[1] if source.value.ndim == 2 else 1
            found.update({f"{inlet.name}.{i}": (source, i) for i in range(count)})
    for name in type(node.type).params:
        value = getattr(node.type, name)
        if isinstance(value, Param):
            for index in np.ndindex(value.value.shape):
                slot = f"{name}[{','.join(map(str, index))}]" if index else name
                found[slot] = (value, index)
    return found


def refuse(node: Node, why: str) -> NotDifferentiable:
    """The error that names ``node``."""
    return NotDifferentiable(
        "a backward pass goes through every node between what is asked for and the outputs",
        got=why,
        where=str(node),
    )
