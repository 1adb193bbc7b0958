"""Derivatives forwards, for tests: what `Program.backward` is compared with. Never imported by amp.

A graph's tangent graph is the graph itself and, beside each node, one that computes the tangents of its
outlets: of the tokens that the node reads, and of their tangents. The tangent node goes through the node's
own ``forward`` operation by operation with a rule for each. It has states of its own for values and for
tangents, and edges like the node's; so what rates, delays, initial tokens and feedback mean is left to the
engine, which knows nothing of derivatives here. (Griewank & Walther, "Evaluating Derivatives", 2nd ed.,
SIAM 2008, section 3.1.)
"""

from __future__ import annotations

import dataclasses
import types
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from bits import assert_same_bits

import amp
from amp.contract import Inlet, NodeType, Param, Trace
from amp.frozen import Edge
from amp.ir.ops import OPS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bits import Array

    from amp.frozen import Node
    from amp.ir import Value
    from amp.program import Program
    from amp.result import Gradients
    from amp.stream import Stream, Tapped

    Rule = Callable[[Trace, "Pair", "list[Pair]"], Any]

DOT = "_dot"
"""Last letters of the name of what holds a tangent."""


@dataclass(frozen=True)
class Pair:
    """A value and its tangent, which is None for what is not a real number."""

    value: Any
    dot: Any


def _add(_: Trace, __: Pair, of: list[Pair]) -> Any:
    x, y = of
    return x.dot + y.dot


def _mul(_: Trace, __: Pair, of: list[Pair]) -> Any:
    x, y = of
    return x.dot * y.value + x.value * y.dot


def _div(_: Trace, now: Pair, of: list[Pair]) -> Any:
    x, y = of
    return (x.dot - now.value * y.dot) / y.value


def _fma(_: Trace, __: Pair, of: list[Pair]) -> Any:
    x, y, z = of
    return x.dot * y.value + x.value * y.dot + z.dot


def _tan(b: Trace, _: Pair, of: list[Pair]) -> Any:
    cosine = b.cos(of[0].value)
    return of[0].dot / (cosine * cosine)


def _tanh(_: Trace, now: Pair, of: list[Pair]) -> Any:
    return of[0].dot * (1.0 - now.value * now.value)


def _from_turn(b: Trace, _: Pair, of: list[Pair]) -> Any:
    turn, scale, plus = of
    return turn.dot * scale.value + b.from_turn(turn.value) * scale.dot + plus.dot


def _flat(_: Trace, __: Pair, ___: list[Pair]) -> float:
    return 0.0


JVP: dict[str, Rule] = {
    "add": _add,
    "sub": lambda b, now, of: of[0].dot - of[1].dot,
    "mul": _mul,
    "div": _div,
    "fma": _fma,
    "neg": lambda b, now, of: -of[0].dot,
    "abs": lambda b, now, of: (
        of[0].dot * b.select(of[0].value > 0.0, 1.0, b.select(of[0].value < 0.0, -1.0, 0.0))
    ),
    "min": lambda b, now, of: b.select(of[0].value < of[1].value, of[0].dot, of[1].dot),
    "max": lambda b, now, of: b.select(of[0].value > of[1].value, of[0].dot, of[1].dot),
    "floor": _flat,
    "sqrt": lambda b, now, of: of[0].dot / (2.0 * now.value),
    "exp": lambda b, now, of: of[0].dot * now.value,
    "log": lambda b, now, of: of[0].dot / of[0].value,
    "sin": lambda b, now, of: of[0].dot * b.cos(of[0].value),
    "cos": lambda b, now, of: -(of[0].dot * b.sin(of[0].value)),
    "tan": _tan,
    "tanh": _tanh,
    "select": lambda b, now, of: b.select(of[0].value, of[1].dot, of[2].dot),
    "as_if": lambda b, now, of: of[1].dot,
    "to_float": _flat,
    "from_bits": _flat,
    "to_turn": lambda b, now, of: of[0].dot / of[1].value,
    "tadd": _add,
    "from_turn": _from_turn,
    "tap": lambda b, now, of: b.tap(of[0].dot, of[1].value),
    "const": _flat,
    "look": _flat,
}
"""Tangent of an operation's result, from those of its operands; a turn's is a number of cycles."""
OWN = frozenset({"inlet", "param", "state", "tstate", "line"})
"""Operations that have a tangent which `_Pairs` looks up or keeps."""
WITHOUT = frozenset(
    {name for name, op in OPS.items() if op.result in {"i1", "i64", "table"}}
    | {"pool", "deposit", "drain"}
)
"""Those whose results have none: conditions and whole numbers, and those of adjoints."""


class _Pairs:
    """The values of a node's trace and their tangents, in a builder ``b``."""

    def __init__(self, b: Trace, trace: Trace, given: list[Pair], dots: set[str]) -> None:
        self.b, self.trace, self.given, self.dots = b, trace, given, dots
        self.made: dict[int, Pair] = {}
        for value in trace.values:
            self.made[value.index] = self._pair(value)
        for name, following in trace.nexts.items():
            pair = self.made[following.index]
            b.next(_plain(name), pair.value)
            if pair.dot is not None:
                b.next(_plain(name) + DOT, pair.dot)

    def _pair(self, value: Value) -> Pair:
        if value.op in OWN or value.op in {"iparam", "istate"}:
            return self._access(value)
        b, of = self.b, [self.made[operand.index] for operand in value.operands]
        image = b.emit(value.op, *(pair.value for pair in of), attribute=value.attribute)
        if value.op in WITHOUT:
            return Pair(image, None)
        if value.op == "from_bits" and _is_made_of("bits", value):
            raise NotImplementedError("the bits of a number have no tangent")
        dot = JVP[value.op](b, Pair(image, None), of)
        return Pair(image, dot if value.type == "line" else b.value(dot))

    def _access(self, value: Value) -> Pair:
        b, full = self.b, value.attribute
        if value.op == "inlet":
            return self.given[full[0]]  # type: ignore[index]
        name = _plain(str(full))
        match value.op:
            case "param":
                data, bracket, place = name.partition("[")
                dot = b.slot(data + DOT + bracket + place) if data in self.dots else b.const(0.0)
                return Pair(b.slot(name), dot)
            case "iparam":
                return Pair(b.slot(name, integer=True), None)
            case "line":
                (x,) = (self.made[operand.index] for operand in value.operands)
                length = self.trace.line_lengths[str(full)]
                return Pair(b.line(name, x.value, length), b.line(name + DOT, x.dot, length))
        initial: Any = self.trace.inits[str(full)]
        if value.op == "istate":
            return Pair(b.istate(name, initial), None)
        known = isinstance(initial, str) and initial in self.dots
        dot = b.state(name + DOT, initial + DOT if known else 0.0)
        make = b.state if value.op == "state" else b.tstate
        return Pair(make(name, initial), dot)


def _plain(full: str) -> str:
    """A name without its scope."""
    return full.partition(".")[2]


def _is_made_of(op: str, value: Value) -> bool:
    return value.op == op or any(_is_made_of(op, operand) for operand in value.operands)


def _leaves(tree: Any) -> Iterator[Any]:
    """The values of a nest of lists."""
    if isinstance(tree, list | tuple):
        for item in tree:
            yield from _leaves(item)
    elif tree is not None:
        yield tree


def _mapped(tree: Any, change: Callable[[Any], Any]) -> Any:
    if isinstance(tree, list | tuple):
        return type(tree)(_mapped(item, change) for item in tree)
    return None if tree is None else change(tree)


def _tangent_type(node: Node) -> type[NodeType]:
    """The type of the node that gives the tangents of what ``node`` gives. Its inlets are those of the
    node, one for each edge of a variadic one, and then those of their tangents."""
    kind = type(node.type)
    places: list[tuple[Inlet, int]] = []  # an inlet, and how many edges if it is variadic
    for inlet, source in zip(kind.inlets, node.sources, strict=True):
        places.append((inlet, len(source) if isinstance(source, tuple) else 0))
    inlets = [
        dataclasses.replace(inlet, name=f"{inlet.name}{i}" if count else inlet.name, variadic=False)
        for inlet, count in places
        for i in range(count or 1)
    ]
    origin = {
        name: inlet.name
        for inlet, count in places
        for i in range(count or 1)
        for name in (f"{inlet.name}{i}" if count else inlet.name,)
    }
    dots = [
        Inlet(
            inlet.name + DOT,
            default=None if inlet.default is None else 0.0,
            optional=inlet.optional,
            channels=inlet.channels,
            hold=inlet.hold,
        )
        for inlet in inlets
    ]
    data = {
        name for name in kind.params if not isinstance(getattr(node.type, name), int)
    }  # what is a whole number has no tangent

    def grouped(flat: list[Any]) -> list[Any]:
        items = iter(flat)
        return [
            [next(items) for _ in range(count)] if count else next(items) for _, count in places
        ]

    def rate(self: NodeType, port: str) -> int | tuple[int, ...]:
        name = port.removesuffix(DOT)
        return kind.rate(self, origin.get(name, name))

    def out_channels(self: NodeType, widths: dict[str, int]) -> int:
        own: dict[str, int] = {}
        for name, width in widths.items():
            if name in origin:
                own[origin[name]] = max(width, own.get(origin[name], 0))
        return kind.out_channels(self, own)

    def forward(self: NodeType, b: Trace, *given: Any) -> Any:
        plain, tangents = grouped(list(given[: len(inlets)])), grouped(list(given[len(inlets) :]))
        pairs = [
            Pair(value, dot) for value, dot in zip(_leaves(plain), _leaves(tangents), strict=True)
        ]
        trace = Trace(b.sample_rate)
        assert b._node is not None
        trace.enter("0", b._node)  # self has no data
        ports = iter([trace.emit("inlet", attribute=(i, 0)) for i in range(len(pairs))])
        result = kind.forward(self, trace, *(_mapped(one, lambda _: next(ports)) for one in plain))
        made = _Pairs(b, trace, pairs, data).made
        return _mapped(
            result,
            lambda v: b.const(0.0) if isinstance(v, int | float) else made[v.index].dot,
        )

    body = {
        "__annotations__": {name + DOT: "Any" for name in data},
        **{name + DOT: 0.0 for name in data},
        "params": (*kind.params, *(name + DOT for name in sorted(data))),
        "inlets": (*inlets, *dots),
        "outlets": tuple(name + DOT for name in kind.outlets),
        "rate": rate,
        "out_channels": out_channels,
        "forward": forward,
        "archetype": "",
    }
    return types.new_class(
        f"{kind.__name__}Tangent", (kind,), {"register": False}, lambda space: space.update(body)
    )


def tangent_graph(graph: amp.Graph) -> amp.Graph:
    """``graph`` and its tangents: each input, output, named param and node that has some has a second
    one, with `DOT` behind its name. The tangents of initial tokens and states are zero."""
    return _Making(graph).run()


class _Making:
    def __init__(self, graph: amp.Graph) -> None:
        self.frozen, self.graph = graph.freeze(), amp.Graph(graph.sample_rate, graph.batch)
        self.made: dict[tuple[int, int, str], Stream] = {}
        self.ahead: dict[tuple[int, int, str], Any] = {}  # feedback, to be connected
        self.types: dict[tuple[Any, ...], type[NodeType]] = {}
        self.params: dict[int, Param] = {}

    def run(self) -> amp.Graph:
        for node in self.frozen.nodes:
            for suffix in ("", DOT):
                streams = self._add(node, suffix)
                several = streams if isinstance(streams, tuple) else (streams,)
                for outlet, stream in enumerate(several if streams is not None else ()):
                    self.made[node.index, outlet, suffix] = stream
        for key, loop in self.ahead.items():
            loop.connect(self.made[key])
        for name, edges in self.frozen.gates.items():
            self.graph.gate(name, [self._tap(edge, "") for edge in edges])
        return self.graph

    def _add(self, node: Node, suffix: str) -> Any:
        kind = node.type
        name = node.name + suffix
        if kind.border == "input":
            return self.graph.input(name, node.channels)
        if kind.border == "output":
            return self.graph.output(name, self._tap(node.edges[0], suffix))
        linear = kind.is_sum or type(kind).takes is not NodeType.takes
        if suffix and not linear:
            return self._add_tangent(node, name)
        taken: list[Any] = []
        named: dict[str, Any] = {}
        for inlet, source in zip(type(kind).inlets, node.sources, strict=True):
            if isinstance(source, tuple):
                taken = [self._tap(edge, suffix) for edge in source]
            elif source is not None:
                named[inlet.name] = self._source(source, suffix)
        return self.graph.add(kind, *taken, name=name, **named)

    def _add_tangent(self, node: Node, name: str) -> Any:
        widths = tuple(self.frozen.nodes[edge.source].channels for edge in node.edges)
        forms = tuple(
            len(s) if isinstance(s, tuple) else type(s).__name__ for s in node.sources
        )  # what the type is made of
        key = (node.type.key, widths, forms)
        if key not in self.types:
            self.types[key] = _tangent_type(node)
        made = self.types[key]
        attrs = {attr: getattr(node.type, attr) for attr in type(node.type).attrs}
        for attr in {attr.removesuffix(DOT) for attr in made.params if attr.endswith(DOT)}:
            value = attrs[attr]
            dot = self._param_dot(value) if isinstance(value, Param) else np.zeros(np.shape(value))
            attrs[attr + DOT] = dot
        sources = [
            one
            for source in node.sources
            for one in (source if isinstance(source, tuple) else (source,))
        ]
        inlets = made.inlets
        given = [
            None if one is None else self._source(one, suffix)
            for suffix in ("", DOT)
            for one in sources
        ]
        named = {i.name: one for i, one in zip(inlets, given, strict=True) if one is not None}
        return self.graph.add(made(**attrs), name=name, **named)

    def _source(self, source: Any, suffix: str) -> Any:
        if isinstance(source, Edge):
            return self._tap(source, suffix)
        if isinstance(source, Param):
            return self._param_dot(source) if suffix else source
        return np.zeros(np.shape(source)) if suffix else np.asarray(source)

    def _param_dot(self, param: Param) -> Param:
        if id(param) not in self.params:
            zeros = np.zeros(param.value.shape)
            self.params[id(param)] = Param(zeros, name=param.name + DOT)
        return self.params[id(param)]

    def _tap(self, edge: Edge, suffix: str) -> Tapped:
        key = (edge.source, edge.outlet, suffix)
        stream = self.made.get(key, self.ahead.get(key))
        if stream is None:
            channels = self.frozen.nodes[edge.source].channels
            stream = self.ahead[key] = self.graph.feedback(channels)
        initial: Any = 0 if edge.initial is None else edge.initial
        if suffix and edge.initial is not None:
            initial = np.zeros(edge.initial.shape)
        default = 0.0 if suffix and edge.default is not None else edge.default
        return amp.edge(stream, delay=edge.delay, initial=initial, default=default, gate=edge.gates)


@dataclass(frozen=True)
class Direction:
    """Tangents of inputs and params, and of a state's nodes, lines and edges: the duals of `Gradients`."""

    inputs: dict[str, Array]
    params: dict[str, Array]
    nodes: dict[str, dict[str, Array]]
    lines: dict[str, dict[str, Array]]
    edges: dict[tuple[str, int], Array]


def random_direction(
    program: Program, inputs: dict[str, Array], rng: np.random.Generator
) -> Direction:
    """Tangents of everything that a run of ``program``, a tangent graph's, on ``inputs`` depends on;
    the program is where it begins."""
    begin = program.state()
    state = program.state()
    for of in (state.nodes, state.lines):
        for node, arrays in of.items():
            for name, array in arrays.items():
                if node.endswith(DOT) and name.endswith(DOT):
                    arrays[name] = rng.normal(size=array.shape)
    for (name, number), tokens in state.edges.items():
        if _tangent_edge(program, name, number) is not None:
            state.edges[name, number] = rng.normal(size=tokens.shape)
    program.restore(state)
    state = program.state()  # readers of one stream share its tokens
    program.restore(begin)

    def some(of: dict[str, dict[str, Array]]) -> dict[str, dict[str, Array]]:
        return {
            node.removesuffix(DOT): {
                name.removesuffix(DOT): array
                for name, array in arrays.items()
                if name.endswith(DOT)
            }
            for node, arrays in of.items()
            if node.endswith(DOT)
        }

    edges = {}
    for (name, number), tokens in state.edges.items():
        if (place := _tangent_edge(program, name, number)) is not None:
            edges[name.removesuffix(DOT), place] = tokens
    return Direction(
        {name: rng.normal(size=array.shape) for name, array in inputs.items()},
        {
            name.removesuffix(DOT): rng.normal(size=value.shape)
            for name, value in program.params.items()
            if name.endswith(DOT)
        },
        some(state.nodes),
        some(state.lines),
        edges,
    )


def _tangent_edge(program: Program, name: str, number: int) -> int | None:
    """Which of its node's edges has its tangents on this one; None if that has values."""
    graph = program._instance.about
    node = graph.nodes[graph.numbers[name]]
    if not name.endswith(DOT):
        return None
    if node.type.border or node.type.is_sum or type(node.type).takes is not NodeType.takes:
        return number
    return number - len(node.edges) // 2 if number >= len(node.edges) // 2 else None


def run_tangents(
    program: Program, inputs: dict[str, Array], direction: Direction, frames: int
) -> dict[str, Array]:
    """Tangents of the outputs of a run on ``inputs`` of ``program``, a tangent graph's, from where it
    is; it is there again afterwards."""
    begin = program.state()
    for name, value in direction.params.items():
        program.set(name + DOT, value)
    state = program.state()  # at clock 0 a param may be in it
    for of, known in ((direction.nodes, state.nodes), (direction.lines, state.lines)):
        for node, arrays in of.items():
            for name, array in arrays.items():
                known[node + DOT][name + DOT] = known[node + DOT][name + DOT] + array
    for name, number in list(state.edges):
        place = _tangent_edge(program, name, number)
        if place is not None and (name.removesuffix(DOT), place) in direction.edges:
            added = direction.edges[name.removesuffix(DOT), place]
            state.edges[name, number] = state.edges[name, number] + added
    program.restore(state)
    given = {name + DOT: array for name, array in direction.inputs.items()}
    result = program.run({**inputs, **given}, frames=frames)
    program.restore(begin)
    return {name.removesuffix(DOT): array for name, array in result.items() if name.endswith(DOT)}


def pairing(gradients: Gradients, direction: Direction) -> tuple[float, float]:
    """Dot product of the two, and the sum of the magnitudes of its terms."""
    mine, theirs = dict(items(gradients)), dict(items(direction))
    terms = [np.zeros(1)]
    for key, array in mine.items():
        assert array.shape == theirs[key].shape, key
        terms.append((array * theirs[key]).ravel())
    joined = np.concatenate(terms)
    return float(joined.sum()), float(np.abs(joined).sum())


def items(of: Gradients | Direction) -> Iterator[tuple[tuple[Any, ...], Array]]:
    """What it consists of, by the path there."""
    state = of if isinstance(of, Direction) else of.state
    trees = {"inputs": of.inputs, "params": of.params, "nodes": state.nodes, "lines": state.lines}
    for name, tree in {**trees, "edges": state.edges}.items():
        for key, value in tree.items():
            if isinstance(value, dict):
                yield from (((name, key, inner), array) for inner, array in value.items())
            else:
                yield (name, key), value


def assert_same_gradients(got: Gradients, want: Gradients, what: str = "") -> None:
    """Fail unless the two agree to the bit."""
    mine, theirs = dict(items(got)), dict(items(want))
    assert mine.keys() == theirs.keys(), what
    for key, array in theirs.items():
        assert_same_bits(mine[key], array, f"{what} {key}")
