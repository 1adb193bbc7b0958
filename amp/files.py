"""Graph files: a graph as JSON that other programs can read and write.

`graph_to_json` and `graph_from_json` are each other's inverse: the same fingerprint, and the same
samples bit for bit. A file is data from outside. It names node types and never code; what it would
need is counted before it is allocated; what is wrong with it is said with the node and the JSON path.

A file has one node a line, in the order of the graph::

    {
      "format": "amp.graph", "version": 1, "sample_rate": 48000.0, "batch": 1,
      "params": {"cutoff": 800.0},
      "nodes": [
        {"name": "x", "type": "Input", "channels": 1, "attrs": {"channel_count": 1}},
        {"name": "low", "type": "OnePole", "channels": 1, "attrs": {"mode": "lowpass"},
         "inlets": {"input": {"kind": "edge", "from": "x"}, "cutoff": {"kind": "param", "name": "cutoff"}}},
        {"name": "out", "type": "Output", "channels": 1, "inlets": {"input": {"kind": "edge", "from": "low"}}}
      ]
    }

An edge may come from a later node: that is a feedback path, and has ``initial`` tokens. `schema` is
the whole of it as JSON schema.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import re
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, NoReturn

import msgspec
import numpy as np

from amp.contract import NATIVE, REGISTRY, NodeType, Param, Trace, array_of
from amp.errors import AmpError, BadFile, BadGraph, Deadlock, InconsistentRates, Place, TooSlowCycle
from amp.frozen import width_of, widths_of
from amp.graph import MAX_TOKENS, Edge, Feedback, Graph, Stream, edge
from amp.nodes import NODE_TYPES
from amp.schedule import KPN_FRAMES, paces, settle
from amp.thermal import CELLS, Thermal

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from amp.contract import Inlet
    from amp.frozen import Frozen
    from amp.graph import Node

VERSION: Final = 1
MAX_FILE_BYTES = 1 << 26
MAX_VALUES = 1 << 21
"""Most JSON values in a file, which bounds the memory that reading it takes."""
MAX_NODES = 1 << 17
MAX_CHANNELS = 4096
MAX_BATCH = 1 << 16
MAX_MEMORY = 1 << 31
"""Most bytes that a graph may need, unless the reader allows more."""

MAX_TRACED = 4096
"""Most numbers of one node's own params that are looked at one by one."""

NO_CODE = (
    "a file holds no code, and such a node is a function of one process",
    "make the graph in Python, or write the node as a class with a forward",
)
"""What is said of a node that a file cannot have, and what to do."""

Whole = Annotated[int, msgspec.Meta(ge=0)]
Count = Annotated[int, msgspec.Meta(ge=1)]
Scalar = str | int | float | bool | None


class ArrayFile(
    msgspec.Struct,
    frozen=True,
    tag_field="kind",
    tag="array",
    forbid_unknown_fields=True,
    omit_defaults=True,
):
    """An array: its values, last axis fastest, or one value that fills it."""

    shape: Annotated[list[Whole], msgspec.Meta(max_length=8)]
    values: list[float] = []
    fill: float | None = None


class ParamFile(
    msgspec.Struct, frozen=True, tag_field="kind", tag="param", forbid_unknown_fields=True
):
    """One of the file's ``params``, by name."""

    name: str


MAX_NUMBER = float(np.finfo(np.float64).max)


class EdgeFile(
    msgspec.Struct,
    frozen=True,
    tag_field="kind",
    tag="edge",
    forbid_unknown_fields=True,
    omit_defaults=True,
):
    """A stream: the node it comes from, frames of traversal, tokens present at clock 0."""

    source: str = msgspec.field(name="from")
    outlet: str = "out"
    delay: Annotated[int, msgspec.Meta(ge=0, le=MAX_TOKENS)] = 0
    initial: ArrayFile | None = None
    default: Annotated[float, msgspec.Meta(ge=-MAX_NUMBER, le=MAX_NUMBER)] | None = None
    gates: tuple[str, ...] = ()


Inflow = float | EdgeFile | ParamFile | ArrayFile | list[EdgeFile]
Attribute = Scalar | ParamFile | ArrayFile | list[Scalar | list[Scalar]]


class ThermalFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Thermal constants of a node, see `amp.Thermal`."""

    capacity: float = 1.0
    coupling: float = 0.0
    loss: float = 0.0
    power: float = 1.0


class NodeFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A node: attrs as its constructor takes them, inlets by name, channels of its outlets; thermal
    constants, if they are not those of its type."""

    name: Annotated[str, msgspec.Meta(min_length=1)]
    type: str
    channels: Annotated[int, msgspec.Meta(ge=1, le=MAX_CHANNELS)]
    attrs: dict[str, Attribute] = {}
    inlets: dict[str, Inflow] = {}
    thermal: ThermalFile | None = None


class GraphFile(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    tag_field="format",
    tag="amp.graph",
    forbid_unknown_fields=True,
    omit_defaults=True,
):
    """A graph."""

    version: Literal[1]
    sample_rate: Annotated[float, msgspec.Meta(gt=0)]
    batch: Annotated[int, msgspec.Meta(ge=1, le=MAX_BATCH)]
    params: dict[str, float | ArrayFile]
    gates: dict[str, list[EdgeFile]] = {}
    nodes: Annotated[list[NodeFile], msgspec.Meta(max_length=MAX_NODES)]


def schema() -> dict[str, Any]:
    """JSON schema of a graph file."""
    return msgspec.json.schema(GraphFile)


# ---- writing


def graph_to_json(graph: Graph) -> str:
    """The graph as the text of a file.

    Raises
    ------
    BadFile
        If a node type is not registered under its name, an attribute has no form in JSON, or the
        file would be over its limits.

    Examples
    --------
    >>> import amp
    >>> g = amp.Graph()
    >>> g.output("out", 0.5 * g.input("x"))
    >>> amp.graph_from_json(amp.graph_to_json(g)).fingerprint() == g.fingerprint()
    True
    """
    frozen = graph.freeze()
    params: dict[str, Param] = {}
    for param, node, _ in frozen.params:
        if params.setdefault(param.name, param) is not param:
            raise BadFile(
                f"a file has one param called {param.name!r}",
                where=str(node),
                fix="share one amp.Param, or choose another name",
            )
    head = GraphFile(
        version=VERSION,
        sample_rate=frozen.sample_rate,
        batch=frozen.batch,
        params={name: _constant_file(param.value) for name, param in params.items()},
        gates={
            name: [_edge_file(edge, frozen.nodes) for edge in edges]
            for name, edges in frozen.gates.items()
        },
        nodes=[],
    )
    try:
        rows = [
            msgspec.json.encode(_node_file(node, frozen.nodes)).decode() for node in frozen.nodes
        ]
        text = msgspec.json.encode(head).decode()
    except (TypeError, ValueError, OverflowError) as error:  # a lone surrogate, a huge integer
        raise BadFile(
            "a graph in a file has names and attributes of JSON", got=str(error)
        ) from None
    listing = ",\n".join(f"    {row}" for row in rows)
    text = text.removesuffix("[]}") + f"[\n{listing}\n  ]\n}}\n"
    text = "{\n  " + text[1:].replace(',"nodes":', ',\n  "nodes": ', 1)
    _decode(text)  # what cannot be read back is not written
    return text


def _node_file(node: Node, nodes: list[Node]) -> NodeFile:
    if node.type.archetype == NATIVE or any(
        callable(getattr(node.type, n)) for n in node.type.attrs
    ):
        raise BadFile(NO_CODE[0], got=repr(node.type), where=str(node), fix=NO_CODE[1])
    if _find_type(node.kind) is not type(node.type):
        raise BadFile(
            "a file names node types, and each name is of one type",
            got=node.kind,
            where=str(node),
            fix="give the class a name of its own, in a module that stays imported",
        )
    attrs = {name: _attr_file(getattr(node.type, name), node, name) for name in node.type.attrs}
    inlets: dict[str, Inflow] = {}
    for inlet, source in zip(type(node.type).inlets, node.sources, strict=True):
        if isinstance(source, tuple):
            inlets[inlet.name] = [_edge_file(item, nodes) for item in source]
        elif isinstance(source, Edge):
            inlets[inlet.name] = _edge_file(source, nodes)
        elif isinstance(source, Param):
            inlets[inlet.name] = ParamFile(source.name)
        elif source is not None:
            inlets[inlet.name] = _constant_file(np.asarray(source))
    thermal = None
    if node.thermal != type(node.type).thermal:
        thermal = ThermalFile(*dataclasses.astuple(node.thermal))
    return NodeFile(node.name, node.kind, node.channels, attrs, inlets, thermal)


def _edge_file(item: Edge, nodes: list[Node]) -> EdgeFile:
    source = nodes[item.source]
    initial = None if item.initial is None else _array_file(item.initial)
    return EdgeFile(
        source.name,
        type(source.type).outlets[item.outlet],
        item.delay,
        initial,
        item.default,
        item.gates,
    )


def _constant_file(value: NDArray[np.float64]) -> float | ArrayFile:
    return _array_file(value) if value.ndim else float(value)


def _array_file(array: NDArray[Any]) -> ArrayFile:
    flat = np.ascontiguousarray(array, np.float64).ravel()
    bits = flat.view(np.int64)
    shape = list(array.shape)
    if len(flat) > 1 and (bits == bits[0]).all():
        return ArrayFile(shape, fill=float(flat[0]))
    return ArrayFile(shape, flat.tolist())


def _attr_file(value: Any, node: Node, name: str) -> Attribute:
    if isinstance(value, Param):
        return ParamFile(value.name)
    if isinstance(value, np.ndarray):
        return _array_file(value)
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, tuple):
        return [_attr_file(item, node, name) for item in value]  # type: ignore[misc]
    if value is None or (isinstance(value, str | int | float) and not _is_broken(value)):
        return value
    raise BadFile(
        "an attribute in a file is a finite number, text, an array, or a tuple of them",
        got=f"{name}={value!r}",
        where=str(node),
    )


def _is_broken(value: Any) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


# ---- reading


def graph_from_json(text: str | bytes, *, max_bytes: int = MAX_MEMORY) -> Graph:
    """Graph of a file's text.

    Parameters
    ----------
    text
        What `graph_to_json` wrote, or another program by the schema. Node types are those of
        `amp.nodes` and the custom ones that are imported.
    max_bytes
        Most memory that the graph may need when it runs; see `memory_estimate`.

    Raises
    ------
    BadFile
        Naming the node and the JSON path.
    """
    file = _decode(text)
    return _Reader(file, max_bytes).graph()


def _decode(text: str | bytes) -> GraphFile:
    try:
        data = text.encode() if isinstance(text, str) else bytes(text)
    except UnicodeEncodeError as error:
        raise BadFile("a graph file is UTF-8", got=str(error)) from None
    values = data.count(b",") + data.count(b"[") + data.count(b"{")
    if len(data) > MAX_FILE_BYTES or values > MAX_VALUES:
        raise BadFile(
            "a graph file is not too large",
            expected=f"at most {MAX_FILE_BYTES} bytes and {MAX_VALUES} values",
            got=f"{len(data)} bytes, about {values} values",
        )
    try:
        return msgspec.json.decode(data, type=GraphFile)
    except msgspec.ValidationError as error:
        rule, _, path = str(error).partition(" - at ")
        raise _refusal(data, rule, path.strip("`") or "$") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadFile("a graph file is JSON", got=str(error)) from None


def _refusal(data: bytes, rule: str, path: str) -> BadFile:
    """What is wrong with a file that does not fit the schema."""
    try:
        content = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return BadFile("a graph file is JSON", got=str(error))
    where, fix = path, ""
    if not isinstance(content, dict) or content.get("format") != "amp.graph":
        fix = 'a graph file starts with {"format": "amp.graph", "version": 1, ...'
        if isinstance(content, dict) and "stages" in content:
            fix = "this is a schedule (IPLS), not a graph"
    elif content.get("version") != VERSION:
        fix = f"this amp reads version {VERSION}"
    elif found := re.match(r"\$\.nodes\[(\d+)\]", path):
        with contextlib.suppress(LookupError, TypeError, AttributeError):  # e.g. a key given twice
            node = content["nodes"][int(found[1])]
            kinds: list[tuple[str, Any]] = [("inlets", Inflow), ("attrs", Attribute)]
            for part, kind in kinds:
                if path.startswith(f"{found[0]}.{part}[...]"):
                    where = path.replace("[...]", f".{_first_misfit(node[part], kind)}", 1)
            where = f"node {node.get('name')!r} ({node.get('type')}), {where}"
    return BadFile("a graph file fits its schema", got=rule, where=where, fix=fix)


def _first_misfit(items: dict[str, Any], kind: Any) -> str:
    for name, value in items.items():
        try:
            msgspec.convert(value, kind)
        except msgspec.ValidationError:
            return name
    return "..."


class _Reader:
    """One reading: every step knows the JSON path it is at."""

    def __init__(self, file: GraphFile, max_bytes: int) -> None:
        self.file, self.max_bytes = file, max_bytes
        self.made = Graph(file.sample_rate, file.batch)
        self.bytes = 0
        self.streams: list[tuple[Stream, ...]] = []
        self.loops: dict[tuple[int, int], Feedback] = {}
        self.path = "$"
        self.node: NodeFile | None = None
        self.number = {node.name: i for i, node in enumerate(file.nodes)}

    def fail(self, rule: str, *, expected: str = "", got: str = "", fix: str = "") -> NoReturn:
        where = self.path
        if self.node is not None:
            where = f"node {self.node.name!r} ({self.node.type}), {where}"
        raise BadFile(rule, expected=expected, got=got, where=where, fix=fix)

    def graph(self) -> Graph:
        params = {}
        for name, value in self.file.params.items():
            self.path = f"$.params.{name}"
            params[name] = self.guarded(Param, self.constant(value), name=name)
        self.params = params
        for i, node in enumerate(self.file.nodes):
            self.node, self.path = node, f"$.nodes[{i}]"
            self.made.place = Place(f"{self.path} of the file", 0)
            self.add(i, node)
        self.made.place = None
        self.node = None
        for name, contributors in self.file.gates.items():
            self.path = f"$.gates.{name}"
            self.guarded(self.made.gate, name, [self.edge(item) for item in contributors])
        for (source, outlet), loop in self.loops.items():
            loop.connect(self.streams[source][outlet])
        self.node, self.path = None, "$"
        need = memory_estimate(self.made) + self.bytes
        if need > self.max_bytes:
            self.too_large(need, "$.nodes")
        return self.made

    def too_large(self, need: int, path: str) -> NoReturn:
        self.path = path
        self.fail(
            "a graph of a file needs no more memory than is allowed",
            expected=f"at most {_mebibytes(self.max_bytes)}",
            got=f"about {_mebibytes(need)}",
            fix="allow more with graph_from_json(text, max_bytes=...), if the file is trusted",
        )

    def guarded(self, make: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """What ``make`` gives; its refusals become `BadFile` with the path."""
        try:
            return make(*args, **kwargs)
        except AmpError as error:
            found = re.search(r"\binlet '(\w+)'", error.rule)
            if found and self.node and found[1] in self.node.inlets:
                self.path += f".inlets.{found[1]}"
            self.fail(error.rule, expected=error.expected, got=error.got, fix=error.fix)
        except Exception as error:  # noqa: BLE001  (a custom type's check may raise anything)
            self.fail(
                "the node type takes these attributes", got=f"{type(error).__name__}: {error}"
            )

    def add(self, i: int, node: NodeFile) -> None:
        if self.number[node.name] != i:
            self.fail("a node's name is used once")
        here = self.path
        kind = _find_type(node.type)
        if kind is None:
            self.path += ".type"
            self.fail(
                "a node's type is one of amp's, or a custom one that is imported",
                got=node.type,
                expected=", ".join(sorted(NODE_TYPES)),
            )
        if kind.archetype == NATIVE:
            self.fail(NO_CODE[0], got=node.type, fix=NO_CODE[1])
        attrs = {}
        for name, value in node.attrs.items():
            self.path = f"{here}.attrs.{name}"
            attrs[name] = self.attribute(kind, name, value)
        self.path = f"{here}.attrs"
        instance = self.guarded(kind, **attrs)
        declared = {inlet.name: inlet for inlet in kind.inlets}
        given: dict[str, Any] = {}
        for name, inflow in node.inlets.items():
            self.path = f"{here}.inlets.{name}"
            if name not in declared:
                self.fail(f"{node.type} has no inlet {name!r}", expected=", ".join(declared))
            given[name] = self.inflow(declared[name], inflow)
        given |= self.thermal(node.thermal, here)
        self.path = here
        if kind.inlets and kind.inlets[-1].variadic:
            *fixed, last = declared
            streams = [*(given.get(name) for name in fixed), *given.get(last, ())]
            thermal = given.get("thermal")
            out = self.guarded(self.made.add, instance, *streams, name=node.name, thermal=thermal)
        else:
            out = self.guarded(self.made.add, instance, name=node.name, **given)
        if self.made.nodes[i].channels != node.channels:
            self.path += ".channels"
            self.fail(
                "a node has the channels that follow from its inlets",
                got=str(node.channels),
                expected=str(self.made.nodes[i].channels),
            )
        self.streams.append(out if isinstance(out, tuple) else () if out is None else (out,))

    def thermal(self, given: ThermalFile | None, here: str) -> dict[str, Thermal]:
        if given is None:
            return {}
        self.path = f"{here}.thermal"
        return {"thermal": self.guarded(Thermal, **msgspec.structs.asdict(given))}

    def attribute(self, kind: type[NodeType], name: str, value: Attribute) -> Any:
        if name not in kind.attrs:
            self.fail(f"{kind.__name__} has no attribute {name!r}", expected=", ".join(kind.attrs))
        if isinstance(value, ArrayFile | ParamFile):
            if name not in kind.params:
                self.fail("an attribute that is not data is a number, text, or a list of them")
            return self.constant(value)
        if isinstance(value, list):
            return tuple(tuple(v) if isinstance(v, list) else v for v in value)
        return value

    def inflow(self, inlet: Inlet, value: Inflow) -> Any:
        if isinstance(value, list) != inlet.variadic:
            self.fail(
                f"inlet {inlet.name!r} takes "
                + ("a list of edges" if inlet.variadic else "one edge, number, array or param")
            )
        if isinstance(value, list):
            here = self.path
            edges = []
            for k, item in enumerate(value):
                self.path = f"{here}[{k}]"
                edges.append(self.edge(item))
            return edges
        return self.edge(value) if isinstance(value, EdgeFile) else self.constant(value)

    def edge(self, item: EdgeFile) -> Any:
        source = self.number.get(item.source)
        if source is None:
            self.fail("an edge comes from a node of the file", got=repr(item.source))
        kind = _find_type(self.file.nodes[source].type)
        outlets = (item.outlet,) if kind is None else kind.outlets  # its own line will say it
        if item.outlet not in outlets:
            self.fail(
                f"an edge comes from an outlet of node {item.source!r}",
                expected=", ".join(outlets) or "none",
                got=item.outlet,
            )
        outlet = outlets.index(item.outlet)
        if source < len(self.streams):
            stream = self.streams[source][outlet]
        else:
            if (source, outlet) not in self.loops:
                channels = self.file.nodes[source].channels
                self.loops[source, outlet] = self.guarded(self.made.feedback, channels)
            stream = self.loops[source, outlet]
        said: dict[str, Any] = {"delay": item.delay, "default": item.default, "gate": item.gates}
        if item.initial is None:
            plain = not (item.delay or item.gates) and item.default is None
            return stream if plain else edge(stream, **said)
        shape = [self.file.batch, stream.channels]
        if len(item.initial.shape) != 3 or item.initial.shape[:2] != shape:
            self.path += ".initial.shape"
            self.fail(
                "initial tokens have shape (batch, channel, count)",
                expected=f"[{shape[0]}, {shape[1]}, count]",
                got=str(item.initial.shape),
            )
        initial = self.array(item.initial, ".initial")
        return edge(stream, initial=initial, **said)

    def constant(self, value: float | ArrayFile | ParamFile) -> Any:
        if isinstance(value, ParamFile):
            if value.name not in self.params:
                self.fail(
                    "a param is one of the file's params",
                    got=repr(value.name),
                    expected=", ".join(map(repr, self.params)) or "none",
                )
            return self.params[value.name]
        return self.array(value, "") if isinstance(value, ArrayFile) else float(value)

    def array(self, item: ArrayFile, part: str) -> NDArray[np.float64]:
        """An array, after counting what it takes."""
        count = math.prod(item.shape)
        if item.fill is None and len(item.values) != count:
            self.path += part
            self.fail(
                "an array has as many values as its shape says",
                expected=f"{count} for shape {item.shape}",
                got=str(len(item.values)),
            )
        if item.fill is not None and item.values:
            self.path += part
            self.fail("an array has values or one value that fills it, not both")
        self.bytes += 8 * count
        if self.bytes > self.max_bytes:
            self.too_large(self.bytes, self.path + part)
        flat = np.array(item.values if item.fill is None else item.fill, np.float64)
        spread = np.broadcast_to if item.fill is not None else np.reshape
        array: NDArray[np.float64] = self.guarded(spread, flat, tuple(item.shape))
        return array


# ---- what a graph will need


def memory_estimate(graph: Graph, block: int = KPN_FRAMES, width: int = 8) -> int:
    """About how many bytes a compiled ``graph`` needs, before anything is compiled.

    Rings, states, delay lines, sums for the heat, tables and scratch at ``block`` frames of ``width`` lanes, as
    they are laid out natively, and a few kilobytes a node for the objects of Python. The arrays of a run
    and the compiler's own memory are not in it, nor what rings grow by where rates depend on data.
    """
    frozen = graph.freeze()
    try:
        frozen = settle(frozen)
        held = paces(frozen).held(block)
    except (BadGraph, Deadlock, InconsistentRates, TooSlowCycle):  # compile will say it
        held = frozen.tokens + block
    nodes, batch = frozen.nodes, frozen.batch
    frames = np.full(len(nodes), block, np.int64)  # of each node's longest ring
    np.maximum.at(frames, frozen.source, held)
    rings = np.ones(len(nodes), np.int64)  # readers whose initial tokens differ have their own
    for node in nodes:
        for item in node.edges:
            if item.initial is not None and item.initial.any():
                rings[item.source] += 1
    known: dict[int, int] = {}
    scratch = 0  # one kernel's at a time
    total = sum(
        8 * batch * nodes[item.source].channels * item.tokens
        for node in nodes
        for item in node.edges
    )
    for node, length, copies in zip(nodes, frames.tolist(), rings.tolist(), strict=True):
        if node.signature not in known:
            known[node.signature] = _memory_slots(node, nodes, frozen.sample_rate)
        lanes = _padded(batch * node.channels, width)
        outlets = len(type(node.type).outlets) * copies * (1 << (length - 1).bit_length())
        wide = 8 * block if node.type.is_sum and len(node.edges) > 8 else 0
        total += 8 * lanes * (outlets + wide + known[node.signature] + 8 * len(node.edges) + 8)
        sums = lanes * node.type.spread * len(type(node.type).outlets)
        total += 8 * CELLS * -(-sums // 8) * 8 * bool(sums)
        total += 4352 + 512 * len(node.edges)
        scratch = max(scratch, 8 * block * min(lanes, width) * _scratch_areas(node, frozen))
    return total + scratch


def _scratch_areas(node: Node, graph: Frozen) -> int:
    """Vectors that a firing of ``node`` takes and gives."""
    wide, first = type(node.type).channels == "all", int(graph.first[node.index])
    taken = (
        int(graph.seen[first + i]) * (graph.nodes[edge.source].channels if wide else 1)
        for i, edge in enumerate(node.edges)
    )
    given = (max(node.type.counts(outlet)) for outlet in type(node.type).outlets)
    return sum(taken) + sum(given) * (node.channels if wide else 1)


def _padded(lanes: int, width: int) -> int:
    """Lanes of whole tiles."""
    while width > 1 and width // 2 >= lanes:
        width //= 2
    return -(-lanes // width) * width


def _memory_slots(node: Node, nodes: list[Node], sample_rate: float) -> int:
    """Numbers that a lane of ``node`` keeps from frame to frame: states and delay lines."""
    kind = node.type
    if kind.is_sum or kind.border or kind.router:
        return 0
    numbers = sum(array_of(getattr(kind, name)).size for name in type(kind).params)
    if not kind.has_forward():  # an archetype keeps a few times what its sizes say, not by channel
        widths = widths_of(node, nodes)
        few = min(node.channels, *widths.values())
        return -(-(2 * numbers + 8 * few * sum(kind.sizes(widths))) // node.channels)
    if numbers > MAX_TRACED:
        return numbers
    trace = Trace(sample_rate)
    trace.enter("0.0", kind)

    def value(source: Any) -> Any:
        if isinstance(source, tuple):
            return [value(item) for item in source]
        if source is None:
            return None
        whole = trace.emit("inlet", attribute=(0, 0))
        if kind.channels != "all":
            return whole
        return [whole] * width_of(source, nodes)

    arguments = [value(source) for source in node.sources]
    try:
        kind.forward(trace, *arguments)
    except Exception:  # noqa: BLE001  (a custom type's defect: compiling will show it)
        return 64
    lines = sum(1 << int(length).bit_length() for length in trace.line_lengths.values())
    return len(trace.states) + len(trace.slots) + lines


def _find_type(name: str) -> type[NodeType] | None:
    return NODE_TYPES.get(name) or REGISTRY.get(name)


def _mebibytes(count: int) -> str:
    return f"{count / 2**20:,.1f} MiB"
