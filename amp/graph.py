"""Graphs: nodes joined by edges, described and never computed.

A `Graph` grows by ``add``; every check that concerns one node is made there, at the user's own line.
What concerns the whole (cycles, latencies) is judged when the graph is compiled.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from amp.contract import REGISTRY, NodeType, Param, constant_array
from amp.errors import AmpError, BadGraph, BadNode, BadValue, PortMismatch

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from amp.contract import Inlet

_PACKAGE = str(Path(__file__).parent)
MAX_TOKENS = 1 << 24
"""Largest delay and number of initial tokens of one edge [frames]."""


class Operand:
    """What streams and tapped streams share: they add, subtract, multiply, divide and negate.

    Numbers and arrays are constants.
    """

    __slots__ = ()
    __array_ufunc__ = None  # array * stream is the stream's business
    graph: Graph

    def _with(self, kind: NodeType, *operands: Any) -> Stream:
        return self.graph.add(kind, *operands)

    def __add__(self, other: Any) -> Stream:
        return self._with(REGISTRY["Add"](), self, other)

    def __radd__(self, other: Any) -> Stream:
        return self._with(REGISTRY["Add"](), other, self)

    def __sub__(self, other: Any) -> Stream:
        return self._with(REGISTRY["Function2"]("subtract"), self, other)

    def __rsub__(self, other: Any) -> Stream:
        return self._with(REGISTRY["Function2"]("subtract"), other, self)

    def __mul__(self, other: Any) -> Stream:
        return self._with(REGISTRY["Multiply"](), self, other)

    def __rmul__(self, other: Any) -> Stream:
        return self._with(REGISTRY["Multiply"](), other, self)

    def __truediv__(self, other: Any) -> Stream:
        return self._with(REGISTRY["Function2"]("divide"), self, other)

    def __rtruediv__(self, other: Any) -> Stream:
        return self._with(REGISTRY["Function2"]("divide"), other, self)

    def __pow__(self, other: Any) -> Stream:
        return self._with(REGISTRY["Function2"]("power"), self, other)

    def __neg__(self) -> Stream:
        return self._with(REGISTRY["Function"]("neg"), self)

    def __abs__(self) -> Stream:
        return self._with(REGISTRY["Function"]("abs"), self)


class Stream(Operand):
    """What flows out of one outlet: shape ``(batch, channels, frames)`` when it runs."""

    __slots__ = ("channels", "graph", "node", "outlet")

    def __init__(self, graph: Graph, node: int, outlet: int, channels: int) -> None:
        self.graph, self.node, self.outlet, self.channels = graph, node, outlet, channels

    def __repr__(self) -> str:
        return f"<stream {self.graph.label(self.node)!r}, {self.channels} channel(s)>"


class Feedback(Stream):
    """A stream that is used before the node that makes it exists; see `Graph.feedback`."""

    __slots__ = ("created",)

    def __init__(self, graph: Graph, index: int, channels: int, created: Place) -> None:
        super().__init__(graph, -1 - index, 0, channels)
        self.created = created

    def connect(self, stream: Stream) -> None:
        """Say which stream this one is.

        Raises
        ------
        PortMismatch
            If it is connected already, or channels differ.
        """
        self.graph.close_feedback(self, stream)


@dataclass(frozen=True, slots=True)
class Tapped(Operand):
    """A stream with edge metadata, made by `edge`."""

    stream: Stream
    delay: int
    initial: ArrayLike | int | tuple[float, int]

    @property
    def graph(self) -> Graph:  # type: ignore[override]
        """The stream's graph."""
        return self.stream.graph


def edge(
    stream: Stream, *, delay: int = 0, initial: ArrayLike | int | tuple[float, int] = 0
) -> Tapped:
    """A stream with metadata, written where the stream is used.

    Parameters
    ----------
    stream
        The stream.
    delay
        Frames of traversal: a token written at clock t is invisible until t + delay. It changes
        when a consumer fires, never what it computes.
    initial
        Tokens present at clock 0, which shift the sequence: a count of zeros, ``(value, count)``,
        or an array of shape ``(batch, channel, count)``.

    Examples
    --------
    >>> import amp
    >>> from amp import nodes
    >>> g = amp.Graph()
    >>> x = g.input("x")
    >>> g.output("out", g.add(nodes.Mix(), x, amp.edge(x, delay=300)))
    >>> amp.compile(g).latency
    {'out': 300}
    """
    return Tapped(stream, delay, initial)


@dataclass(frozen=True, slots=True)
class Edge:
    """One reader of one outlet. ``initial`` has shape (batch, channels, tokens) or is None."""

    source: int
    outlet: int
    delay: int = 0
    initial: NDArray[np.float64] | None = None

    @property
    def tokens(self) -> int:
        """Number of initial tokens."""
        return 0 if self.initial is None else self.initial.shape[2]


@dataclass(frozen=True, slots=True)
class Place:
    """A line of the user's program."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


Source = Edge | Param | np.ndarray | None


@dataclass(slots=True)
class Node:
    """A node of a graph.

    Attributes
    ----------
    sources
        One entry per inlet; a tuple of edges for a variadic inlet.
    edges
        Every edge that ends here, in inlet order.
    channels
        Channels of its outlets.
    signature
        Equal for nodes of one graph whose code is the same.
    """

    index: int
    name: str
    type: NodeType
    sources: tuple[Source | tuple[Edge, ...], ...]
    edges: tuple[Edge, ...]
    channels: int
    signature: int
    created: Place

    @property
    def kind(self) -> str:
        """Name of the node type."""
        return type(self.type).__name__

    def __str__(self) -> str:
        return f"node {self.name!r} ({self.kind}, {self.created})"


class Frozen:
    """A graph as it was at one moment, for the compiler.

    Attributes
    ----------
    nodes
        The nodes, with feedback streams replaced by what they are connected to.
    consumer, source, delay, tokens
        One entry per edge, ordered by consumer.
    params
        Every (param, node, inlet or None for a node's own array).
    """

    def __init__(
        self, graph: Graph, nodes: list[Node], params: list[tuple[Param, Node, Inlet | None]]
    ) -> None:
        self.sample_rate, self.batch = graph.sample_rate, graph.batch
        self.nodes, self.params = nodes, params
        edges = [edge for node in nodes for edge in node.edges]
        counts = [len(node.edges) for node in nodes]
        self.consumer = np.repeat(np.arange(len(nodes)), counts)
        self.source = np.array([edge.source for edge in edges], np.int64)
        self.delay = np.array([edge.delay for edge in edges], np.int64)
        self.tokens = np.array([edge.tokens for edge in edges], np.int64)

    @functools.cached_property
    def numbers(self) -> dict[str, int]:
        """Index of each node by name."""
        return {node.name: node.index for node in self.nodes}

    @functools.cached_property
    def fingerprint(self) -> str:
        """See `Graph.fingerprint`."""
        nodes = self.nodes
        digest = hashlib.blake2b(digest_size=16)
        digest.update(repr((self.batch, [node.name for node in nodes])).encode())
        digest.update(repr([node.kind for node in nodes]).encode())
        channels = np.array([node.channels for node in nodes], np.int64)
        outlets = np.array([edge.outlet for node in nodes for edge in node.edges], np.int64)
        for column in (channels, self.consumer, self.source, outlets, self.delay, self.tokens):
            digest.update(column.tobytes())
        return digest.hexdigest()


class Graph:
    """A graph of signal-processing nodes.

    Parameters
    ----------
    sample_rate
        Frames per second [Hz].
    batch
        Number of independent copies of every stream.

    Examples
    --------
    >>> from amp import nodes
    >>> g = Graph(sample_rate=48_000, batch=2)
    >>> x = g.input("x")
    >>> g.output("out", 0.5 * x)
    >>> [node.name for node in g.nodes]
    ['x', 'multiply.0', 'out']
    """

    def __init__(self, sample_rate: float = 48_000, batch: int = 1) -> None:
        if not (isinstance(sample_rate, int | float) and 0 < sample_rate < np.inf):
            raise BadValue("a sample rate is positive and finite", got=repr(sample_rate))
        if not (isinstance(batch, int) and batch >= 1):
            raise BadValue("a batch is a whole number of at least 1", got=repr(batch))
        self.sample_rate = float(sample_rate)
        self.batch = batch
        self.nodes: list[Node] = []
        self._names: dict[str, int] = {}
        self._counts: dict[str, int] = {}
        self._feedback: list[tuple[Feedback, Stream | None]] = []
        self._signatures: dict[tuple[object, ...], int] = {}
        self._params: list[tuple[Param, int, Inlet | None]] = []
        self._frozen: Frozen | None = None

    def input(self, name: str, channels: int = 1) -> Stream:
        """A stream that ``run({name: array})`` supplies, ``(batch, channels, frames)``."""
        if not (isinstance(channels, int) and 1 <= channels <= MAX_TOKENS):
            raise BadValue("an input has at least one channel", got=repr(channels))
        return self.add(REGISTRY["Input"](channels), name=name)

    def output(self, name: str, stream: Stream | Tapped) -> None:
        """Have ``run`` return ``stream`` as ``result[name]``."""
        self.add(REGISTRY["Output"](), stream, name=name)

    def feedback(self, channels: int = 1) -> Feedback:
        """A stream to be connected later; use it through ``amp.edge(..., initial=n)``.

        Examples
        --------
        >>> import amp
        >>> g = amp.Graph()
        >>> y = g.feedback()
        >>> out = g.input("x") + 0.5 * amp.edge(y, initial=1)
        >>> y.connect(out)
        """
        loop = Feedback(self, len(self._feedback), channels, _user_place())
        self._feedback.append((loop, None))
        return loop

    def close_feedback(self, loop: Feedback, stream: Stream) -> None:
        """See `Feedback.connect`."""
        index = -1 - loop.node
        where = str(_user_place())
        if self._feedback[index][1] is not None:
            raise PortMismatch("a feedback stream is connected once", where=where)
        self._own(stream, where)
        if isinstance(stream, Feedback) or stream.channels != loop.channels:
            raise PortMismatch(
                "a feedback stream is connected to a node's stream with as many channels",
                expected=f"{loop.channels} channel(s)",
                got=repr(stream),
                where=where,
            )
        self._feedback[index] = (loop, stream)
        self._frozen = None

    def add(self, kind: NodeType, *inlets: Any, name: str | None = None, **named: Any) -> Any:
        """Add a node.

        Parameters
        ----------
        kind
            An instance of a node type.
        inlets, named
            What the inlets read, in order or by name: a stream, `edge`, a number, an array of
            shape ``(batch, channel)``, or an `amp.Param`.
        name
            Unique name; by default the type's name in lower case and a number.

        Returns
        -------
        Stream
            The outlet; a tuple of streams for several outlets, None for none.

        Raises
        ------
        PortMismatch, BadValue, BadNode, BadGraph
            Naming the node and the caller's line.
        """
        place = _user_place()
        if not isinstance(kind, NodeType):
            raise BadNode(
                "Graph.add takes an instance of a node type",
                got=repr(kind),
                where=str(place),
                fix="write nodes.Saw(), with parentheses" if isinstance(kind, type) else "",
            )
        name = self._name(kind, name, place)
        where = f"node {name!r} ({type(kind).__name__}), {place}"
        try:
            given = _bind(kind, inlets, named)
            sources, edges, widths, code = [], [], {}, []
            for inlet in type(kind).inlets:
                source, width = self._source(inlet, given.get(inlet.name))
                sources.append(source)
                if type(source) is Edge:
                    edges.append(source)
                    code.append((source.outlet, width))
                elif type(source) is tuple:
                    edges += source
                    code.append(tuple([self._width(e) for e in source]))
                else:
                    code.append(None if source is None else (width,))
                if width is not None:
                    widths[inlet.name] = width
            channels = self._channels(kind, widths)
        except AmpError as error:
            if error.where:
                raise
            raise type(error)(
                error.rule, expected=error.expected, got=error.got, where=where, fix=error.fix
            ) from None
        index = len(self.nodes)
        signature = self._signatures.setdefault((kind.key, channels, *code), len(self._signatures))
        self.nodes.append(
            Node(index, name, kind, tuple(sources), tuple(edges), channels, signature, place)
        )
        self._names[name] = index
        self._frozen = None
        for inlet, source in zip(type(kind).inlets, sources, strict=True):
            if type(source) is Param:
                self._params.append((source, index, inlet))
        for attribute in type(kind).params:
            value = getattr(kind, attribute)
            if type(value) is Param:
                self._params.append((value, index, None))
        outlets = [Stream(self, index, o, channels) for o in range(len(type(kind).outlets))]
        if len(outlets) == 1:
            return outlets[0]
        return tuple(outlets) or None

    def label(self, index: int) -> str:
        """Name of node ``index``; a negative index is a feedback stream."""
        return self.nodes[index].name if index >= 0 else f"feedback {-1 - index}"

    def __getitem__(self, name: str) -> Node:
        """Node called ``name``."""
        try:
            return self.nodes[self._names[name]]
        except KeyError:
            raise BadGraph(
                f"the graph has no node {name!r}", expected=_shorten(list(self._names))
            ) from None

    def freeze(self) -> Frozen:
        """The graph as it is now."""
        if self._frozen is None:
            nodes = self._resolved()
            params = [(param, nodes[index], inlet) for param, index, inlet in self._params]
            self._frozen = Frozen(self, nodes, params)
        return self._frozen

    def _resolved(self) -> list[Node]:
        targets: list[tuple[int, int]] = []
        for loop, stream in self._feedback:
            if stream is None:
                raise BadGraph(
                    "every feedback stream is connected",
                    where=str(loop.created),
                    fix="call connect(stream) on it",
                )
            targets.append((stream.node, stream.outlet))
        if not targets:
            return list(self.nodes)

        def resolve(source: Any) -> Any:
            if isinstance(source, tuple):
                return tuple(resolve(s) for s in source)
            if isinstance(source, Edge) and source.source < 0:
                return Edge(*targets[-1 - source.source], source.delay, source.initial)
            return source

        return [
            dataclasses.replace(n, sources=resolve(n.sources), edges=resolve(n.edges))
            if any(edge.source < 0 for edge in n.edges)
            else n
            for n in self.nodes
        ]

    def fingerprint(self) -> str:
        """Hash of everything that a schedule depends on: names, node types, edges; not values."""
        return self.freeze().fingerprint

    def __repr__(self) -> str:
        return f"<Graph of {len(self.nodes)} nodes, {self.sample_rate:g} Hz, batch {self.batch}>"

    def _name(self, kind: NodeType, name: str | None, place: Place) -> str:
        if name is None:
            stem = type(kind).__name__.lower()
            while True:
                count = self._counts.get(stem, 0)
                self._counts[stem] = count + 1
                name = f"{stem}.{count}"
                if name not in self._names:
                    return name
        if not (isinstance(name, str) and name):
            raise BadGraph("a node's name is text", got=repr(name), where=str(place))
        if name in self._names:
            raise BadGraph(
                f"the name {name!r} is used once",
                got=f"also {self.nodes[self._names[name]]}",
                where=str(place),
                fix="choose another name",
            )
        return name

    def _own(self, stream: Any, where: str = "") -> None:
        if not isinstance(stream, Stream):
            raise PortMismatch("expected a stream", got=repr(stream), where=where)
        if stream.graph is not self:
            raise PortMismatch("a stream belongs to this graph", got=repr(stream), where=where)

    def _source(self, inlet: Inlet, given: Any) -> tuple[Any, int | None]:
        """What ``inlet`` reads, and its number of channels (None for a plain number)."""
        if inlet.variadic:
            edges = tuple(self._edge(inlet, item) for item in given or ())
            if not edges:
                raise PortMismatch(f"inlet {inlet.name!r} takes at least one stream", got="none")
            widths = {self._width(e) for e in edges}
            if len(widths - {1}) > 1:
                raise PortMismatch(
                    f"the streams of inlet {inlet.name!r} have one number of channels, or 1",
                    got=str(sorted(widths)),
                )
            return edges, max(widths)
        if given is None:
            if inlet.default is None and not inlet.optional:
                raise PortMismatch(
                    f"inlet {inlet.name!r} is mandatory",
                    got="nothing",
                    fix=f"give {inlet.name}=...",
                )
            return (None if inlet.default is None else np.float64(inlet.default)), None
        if isinstance(given, Stream | Tapped):
            source = self._edge(inlet, given)
            return source, self._width(source)
        value = given.value if isinstance(given, Param) else _constant(inlet, given)
        check_constant(value, inlet, self.sample_rate, self.batch)
        return (given if isinstance(given, Param) else value), (
            value.shape[1] if value.ndim == 2 else None
        )

    def _width(self, source: Edge) -> int:
        index = source.source
        return self.nodes[index].channels if index >= 0 else self._feedback[-1 - index][0].channels

    def _edge(self, inlet: Inlet, given: Any) -> Edge:
        if isinstance(given, Stream):
            self._own(given)
            return Edge(given.node, given.outlet)
        if not isinstance(given, Tapped):
            raise PortMismatch(
                f"inlet {inlet.name!r} takes streams", got=repr(given), fix="use nodes.Constant"
            )
        self._own(given.stream)
        if not isinstance(given.delay, int | np.integer) or not 0 <= given.delay <= MAX_TOKENS:
            raise BadValue(
                f"an edge's delay is a whole number of frames from 0 to {MAX_TOKENS}",
                got=repr(given.delay),
            )
        shape = (self.batch, given.stream.channels)
        initial = _initial_tokens(given.initial, shape)
        return Edge(given.stream.node, given.stream.outlet, int(given.delay), initial)

    def _channels(self, kind: NodeType, widths: dict[str, int]) -> int:
        if kind.channels == "each":
            if len(set(widths.values()) - {1}) > 1:
                raise PortMismatch(
                    "inlets have one number of channels, or 1 and are broadcast",
                    got=", ".join(f"{name}: {width}" for name, width in widths.items()),
                    fix="mix, pan or select channels first",
                )
        else:
            for inlet in type(kind).inlets:
                width = widths.get(inlet.name, inlet.channels)
                if inlet.channels is not None and width != inlet.channels:
                    raise PortMismatch(
                        f"inlet {inlet.name!r} takes {inlet.channels} channel(s)", got=str(width)
                    )
        return kind.out_channels(widths)


def check_constant(
    value: NDArray[np.float64], inlet: Inlet, sample_rate: float, batch: int
) -> None:
    """Raise `BadValue` unless ``value`` is in the inlet's range and fits a batch.

    Raises
    ------
    BadValue
        Naming the inlet and its range.
    """
    if value.ndim not in {0, 2} or (value.ndim == 2 and value.shape[0] not in {1, batch}):
        raise BadValue(
            f"inlet {inlet.name!r} takes a number or an array of shape (batch, channel)",
            expected=f"batch {batch} or 1",
            got=f"shape {value.shape}",
        )
    nyquist = inlet.high == "nyquist"
    high = sample_rate / 2 if nyquist else float(inlet.high)
    above = value >= high if nyquist else value > high
    if (value < inlet.low).any() or above.any():
        bracket = f"[{inlet.low:g}, {high:g}{')' if nyquist else ']'} {inlet.unit}".strip()
        raise BadValue(f"inlet {inlet.name!r} lies in {bracket}", got=repr(value.tolist()))


def _constant(inlet: Inlet, given: Any) -> NDArray[np.float64]:
    try:
        return constant_array(given, f"inlet {inlet.name!r}")
    except BadNode as error:
        raise BadValue(error.rule, got=error.got, fix=error.fix) from None


def _bind(kind: NodeType, inlets: tuple[Any, ...], named: dict[str, Any]) -> dict[str, Any]:
    """Inlet name to what was given for it."""
    declared = type(kind).inlets
    given = dict(kind.given)
    if declared and declared[-1].variadic:
        fixed = len(declared) - 1
        inlets = (*inlets[:fixed], inlets[fixed:])
    if len(inlets) > len(declared):
        raise PortMismatch(
            f"{type(kind).__name__} has {len(declared)} inlet(s)", got=f"{len(inlets)} streams"
        )
    for inlet, source in zip(declared, inlets, strict=False):
        given[inlet.name] = source
    for name, source in named.items():
        if name not in {inlet.name for inlet in declared}:
            raise PortMismatch(
                f"{type(kind).__name__} has no inlet {name!r}",
                expected=", ".join(inlet.name for inlet in declared),
            )
        if name in given and name not in kind.given:
            raise PortMismatch(f"inlet {name!r} is given once")
        given[name] = source
    return given


def _initial_tokens(initial: Any, shape: tuple[int, int]) -> NDArray[np.float64] | None:
    """Array (batch, channel, count) of what `edge` was given, or None."""
    if isinstance(initial, bool) or initial is None:
        raise BadValue("initial is a count, (value, count), or an array", got=repr(initial))
    value = 0.0
    count = initial
    if isinstance(initial, tuple) and len(initial) == 2:
        value, count = initial
    if isinstance(count, int | np.integer):
        if not 0 <= count <= MAX_TOKENS or not np.isfinite(value):
            raise BadValue(
                f"initial tokens are finite, and at most {MAX_TOKENS}", got=repr(initial)
            )
        return np.full((*shape, int(count)), float(value)) if count else None
    try:
        array = constant_array(initial, "initial")
    except BadNode as error:
        raise BadValue(error.rule, got=error.got, fix=error.fix) from None
    if array.ndim != 3 or array.shape[:2] != shape:
        raise BadValue(
            "initial tokens have shape (batch, channel, count)",
            expected=f"({shape[0]}, {shape[1]}, count)",
            got=str(array.shape),
        )
    return array if array.shape[2] else None


def _user_place() -> Place:
    """The innermost line outside of amp."""
    frame = sys._getframe(1)  # noqa: SLF001  (inspect.stack reads files)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back
    return Place(frame.f_code.co_filename, frame.f_lineno)


def _shorten(names: list[str], limit: int = 12) -> str:
    more = f", ... ({len(names)} in all)" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
