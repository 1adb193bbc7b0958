"""Graphs: nodes joined by edges, described and never computed.

A `Graph` grows by ``add``; every check that concerns one node is made there, at the user's own line.
What concerns the whole (cycles, latencies) is judged when the graph is compiled.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from amp.constants import MAX_TOKENS, check_constant, initial_tokens, inlet_constant, is_whole
from amp.contract import REGISTRY, Inlet, NodeType, Param
from amp.errors import AmpError, BadGraph, BadNode, BadValue, PortMismatch, user_place
from amp.frozen import Edge, Frozen, Node
from amp.stream import Feedback, Stream, Tapped, edge
from amp.thermal import Thermal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from amp.errors import Place

__all__ = [
    "MAX_TOKENS",
    "Edge",
    "Feedback",
    "Frozen",
    "Graph",
    "Node",
    "Stream",
    "Tapped",
    "check_constant",
    "edge",
]


AnyStream = TypeVar("AnyStream", bound=Stream | Tapped)

GATHERERS = {"sum": "Mix", "mean": "Mean", "concat": "Concat", "stack": "Stack"}
"""Node type that makes one stream of several, by what an inlet says."""


class Graph:
    """A graph of signal-processing nodes.

    Parameters
    ----------
    sample_rate
        Frames per second [Hz].
    batch
        Number of independent copies of every stream.

    Attributes
    ----------
    place
        Where nodes come from that are not written in Python: a place in a file.

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
        if not is_whole(batch, 1):
            raise BadValue("a batch is a whole number of at least 1", got=repr(batch))
        self.sample_rate = float(sample_rate)
        self.batch = batch
        self.nodes: list[Node] = []
        self._names: dict[str, int] = {}
        self._counts: dict[str, int] = {}
        self._feedback: list[tuple[Feedback, Stream | None]] = []
        self._signatures: dict[tuple[object, ...], int] = {}
        self._params: list[tuple[Param, int, Inlet | None]] = []
        self._gates: dict[str, tuple[Edge, ...]] = {}
        self._gated = False  # some edge stands at a gate
        self._frozen: Frozen | None = None
        self.place: Place | None = None

    def input(self, name: str, channels: int = 1) -> Stream:
        """A stream that ``run({name: array})`` supplies, ``(batch, channels, frames)``."""
        if not is_whole(channels, 1, MAX_TOKENS):
            raise BadValue("an input has at least one channel", got=repr(channels))
        stream: Stream = self.add(REGISTRY["Input"](channels), name=name)
        return stream

    def output(self, name: str, stream: Stream | Tapped) -> None:
        """Have ``run`` return ``stream`` as ``result[name]``."""
        self.add(REGISTRY["Output"](), stream, name=name)

    def probe(self, stream: AnyStream, name: str | None = None) -> AnyStream:
        """Have ``run`` record ``stream`` in ``result.probes[name]``; no bit of any output changes.

        It is recorded as an output would be, on the clock's timeline. Of a stream at another rate every
        token is recorded, with its clock in ``result.clocks[name]``; a stream whose tokens come as data
        says is read by the clock, 0 before its first token.

        Parameters
        ----------
        stream
            A stream, or an edge with a delay and initial tokens of its own.
        name
            Unique among the nodes; ``probe.`` and a number by default.

        Returns
        -------
        Stream
            What was given, to be used further.

        Examples
        --------
        >>> import amp
        >>> import numpy as np
        >>> g = amp.Graph()
        >>> g.output("out", 0.5 * g.probe(3.0 * g.input("x"), "tripled"))
        >>> result = amp.compile(g).run({"x": np.ones((1, 1, 2))})
        >>> result["out"], result.probes["tripled"]
        (array([[[1.5, 1.5]]]), array([[[3., 3.]]]))
        """
        self.add(REGISTRY["Probe"](), stream, name=name)
        return stream

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
        if not is_whole(channels, 1, MAX_TOKENS):
            raise BadValue("a feedback stream has at least one channel", got=repr(channels))
        loop = Feedback(self, len(self._feedback), channels, user_place())
        self._feedback.append((loop, None))
        return loop

    def gate(self, name: str, contributors: Sequence[Stream | Tapped]) -> None:
        """Have every node behind a gate wait for its contributors.

        A node stands behind the gate if it reads an edge with ``amp.edge(stream, gate=name)``. Its
        firing k waits until token k of every contributor is visible, whose values it does not read. At
        other rates, the first k firings wait for as many tokens as are written in their time.

        Parameters
        ----------
        name
            What edges call it.
        contributors
            Streams, or edges with a delay and initial tokens of their own.

        Examples
        --------
        >>> import amp
        >>> g = amp.Graph()
        >>> x = g.input("x")
        >>> g.gate("bar", [amp.edge(x, delay=100)])
        >>> g.output("out", amp.edge(x, gate="bar"))
        >>> amp.compile(g).latency
        {'out': 100}
        """
        where = str(user_place())
        if not (isinstance(name, str) and name) or name in self._gates:
            raise BadGraph("a gate has a name of its own", got=repr(name), where=where)
        edges = tuple(self._edge(Inlet("contributors"), given) for given in contributors)
        if not edges or any(edge.default is not None or edge.gates for edge in edges):
            raise BadGraph(
                "a gate has contributors, which are waited for and stand behind no gate",
                got=repr(list(contributors)),
                where=where,
            )
        self._gates[name] = edges
        self._frozen = None

    def close_feedback(self, loop: Feedback, stream: Stream) -> None:
        """See `Feedback.connect`."""
        index = -1 - loop.node
        where = str(user_place())
        if self._feedback[index][1] is not None:
            raise PortMismatch("a feedback stream is connected once", where=where)
        self._own(stream, where)
        if isinstance(stream, Feedback) or stream.channels != loop.channels:
            raise PortMismatch(
                "a feedback stream is connected to a node's stream with as many channels",
                expected=f"{loop.channels} channel(s)",
                got=repr(stream),
                where=where,
                fix=f"graph.feedback(channels={stream.channels})",
            )
        self._feedback[index] = (loop, stream)
        self._frozen = None

    def add(
        self,
        kind: NodeType,
        *inlets: Any,
        name: str | None = None,
        thermal: Thermal | None = None,
        **named: Any,
    ) -> Any:
        """Add a node.

        Parameters
        ----------
        kind
            An instance of a node type.
        inlets, named
            What the inlets read, in order or by name: a stream, `edge`, a number, an array of
            shape ``(batch, channel)``, or an `amp.Param`; or a list of streams, which are gathered as
            the inlet says.
        name
            Unique name; by default the type's name in lower case and a number.
        thermal
            Its thermal constants; by default those of its type.

        Returns
        -------
        Stream
            The outlet; a tuple of streams for several outlets, None for none.

        Raises
        ------
        PortMismatch, BadValue, BadNode, BadGraph
            Naming the node and the caller's line.
        """
        place = self.place or user_place()
        if not isinstance(kind, NodeType):
            raise BadNode(
                "Graph.add takes an instance of a node type",
                got=repr(kind),
                where=str(place),
                fix="write nodes.Saw(), with parentheses" if isinstance(kind, type) else "",
            )
        if thermal is not None and not isinstance(thermal, Thermal):
            raise BadValue(
                "thermal constants are an amp.Thermal", got=repr(thermal), where=str(place)
            )
        name = self._name(kind, name, place)
        try:
            sources, edges, channels, code = self._wire(
                kind, self._gathered(kind, _bind(kind, inlets, named))
            )
        except AmpError as error:
            if error.where:
                raise
            where = f"node {name!r} ({type(kind).__name__}), {place}"
            raise type(error)(
                error.rule, expected=error.expected, got=error.got, where=where, fix=error.fix
            ) from None
        index = len(self.nodes)
        signature = self._signatures.setdefault((kind.key, channels, *code), len(self._signatures))
        self._append(
            Node(
                index,
                name,
                kind,
                tuple(sources),
                tuple(edges),
                channels,
                signature,
                place,
                thermal=type(kind).thermal if thermal is None else thermal,
            )
        )
        outlets = [Stream(self, index, o, channels) for o in range(len(type(kind).outlets))]
        if len(outlets) == 1:
            return outlets[0]
        return tuple(outlets) or None

    def _gathered(self, kind: NodeType, given: dict[str, Any]) -> dict[str, Any]:
        """What inlets are given, with one stream for each list of them."""
        for inlet in type(kind).inlets:
            several = given.get(inlet.name)
            if (
                not inlet.variadic
                and isinstance(several, list | tuple)
                and any(isinstance(one, Stream | Tapped) for one in several)
            ):
                given[inlet.name] = self.add(REGISTRY[GATHERERS[inlet.gather]](), *several)
        return given

    def _wire(
        self, kind: NodeType, given: dict[str, Any]
    ) -> tuple[list[Any], list[Edge], int, list[object]]:
        """Sources, edges, channels, and what of it decides the node's code."""
        sources: list[Any] = []
        edges: list[Edge] = []
        code: list[object] = []
        widths: dict[str, int] = {}
        if type(kind).rate is not NodeType.rate:
            kind.check_rates()
        for inlet in type(kind).inlets:
            source, width = self._source(inlet, given.get(inlet.name))
            if type(source) is Edge and (count := kind.skips(inlet.name)):
                source = _without(source, count)
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
        if kind.router and len(edges) < len(sources):
            raise PortMismatch(
                f"{type(kind).__name__} takes tokens of streams",
                got="a constant",
                fix="graph.add(nodes.Constant(value)) is a stream of one token a frame",
            )
        if type(kind).takes is not NodeType.takes:
            return sources, edges, self._taken(kind, edges), code
        self._check_terms(kind, sources)
        return sources, edges, self._channels(kind, widths), code

    def _taken(self, kind: NodeType, edges: list[Edge]) -> int:
        """Channels of a node that rearranges those of ``edges``."""
        widths = [self._width(edge) for edge in edges]
        takes = kind.takes(widths)
        counts = {len(column) for t in takes for column in (t.edge, t.channel, t.back)}
        if len(counts) != 1 or counts.pop() % kind.spread:
            raise BadNode("every take of a node has as many entries, and has some", got=repr(takes))
        for take in takes:
            number, channel, back = (np.array(c) for c in (take.edge, take.channel, take.back))
            known = (number >= 0) & (number < len(edges))
            width = np.array(widths)[np.where(known, number, 0)]
            good = known & (channel >= -1) & (channel < width) & (back >= 0)
            if not good.all():
                at = int(np.argmin(good))
                raise PortMismatch(
                    f"{type(kind).__name__} takes channels that there are",
                    expected=f"0 to {width[at] - 1}" if number[at] < len(edges) else "",
                    got=f"channel {channel[at]} of edge {number[at]}, {back[at]} back",
                )
            if take.batch and (
                len(take.batch) != self.batch or not all(0 <= n < self.batch for n in take.batch)
            ):
                raise PortMismatch(
                    f"{type(kind).__name__} has one batch for each of the graph's",
                    expected=f"{self.batch} numbers from 0 to {self.batch - 1}",
                    got=repr(take.batch),
                )
        return len(takes[0].edge) // kind.spread

    def _check_terms(self, kind: NodeType, sources: list[Any]) -> None:
        for inlet, source in zip(type(kind).inlets, sources, strict=True):
            if type(source) is tuple:
                widths = {self._width(edge) for edge in source}
                if len(widths - {1}) > 1:
                    raise PortMismatch(
                        f"the streams of inlet {inlet.name!r} have one number of channels, or 1",
                        got=str(sorted(widths)),
                    )

    def _append(self, node: Node) -> None:
        kind = type(node.type)
        self.nodes.append(node)
        self._names[node.name] = node.index
        self._frozen = None
        for inlet, source in zip(kind.inlets, node.sources, strict=True):
            if type(source) is Param:
                self._params.append((source, node.index, inlet))
        for attribute in kind.params:
            value = getattr(node.type, attribute)
            if type(value) is Param:
                self._params.append((value, node.index, None))

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
            resolve = self._resolver()
            gates = {name: resolve(edges) for name, edges in self._gates.items()}
            nodes = [self._resolved(node, resolve, gates) for node in self.nodes]
            params = [(param, nodes[index], inlet) for param, index, inlet in self._params]
            self._frozen = Frozen(self.sample_rate, self.batch, nodes, params, gates)
        return self._frozen

    def _resolver(self) -> Callable[[Any], Any]:
        """What puts streams in the place of feedback streams, in edges and tuples of them."""
        targets: list[tuple[int, int]] = []
        for loop, stream in self._feedback:
            if stream is None:
                raise BadGraph(
                    "every feedback stream is connected",
                    where=str(loop.created),
                    fix="call connect(stream) on it",
                )
            targets.append((stream.node, stream.outlet))

        def resolve(source: Any) -> Any:
            if isinstance(source, tuple):
                return tuple(resolve(s) for s in source)
            if isinstance(source, Edge) and source.source < 0:
                node, outlet = targets[-1 - source.source]
                return dataclasses.replace(source, source=node, outlet=outlet)
            return source

        return resolve

    def _resolved(
        self, node: Node, resolve: Callable[[Any], Any], gates: dict[str, tuple[Edge, ...]]
    ) -> Node:
        """``node`` with gates as edges, and without feedback streams."""
        loops = any(edge.source < 0 for edge in node.edges)
        if not loops and not (self._gated and any(edge.gates for edge in node.edges)):
            return node
        names = dict.fromkeys(name for edge in node.edges for name in edge.gates)
        if missing := [name for name in names if name not in gates]:
            raise BadGraph(
                f"the graph has no gate {missing[0]!r}",
                expected=", ".join(map(repr, gates)) or "graph.gate(name, contributors)",
                where=str(node),
            )
        return dataclasses.replace(
            node,
            sources=resolve(node.sources),
            edges=resolve(node.edges),
            controls=tuple(edge for name in names for edge in gates[name]),
        )

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
            return edges, max(self._width(e) for e in edges)
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
        value = given.value if isinstance(given, Param) else inlet_constant(inlet, given)
        check_constant(value, inlet, self.sample_rate, self.batch)
        return (given if isinstance(given, Param) else value), (
            value.shape[1] if value.ndim == 2 else None
        )

    def _width(self, source: Edge) -> int:
        index = source.source
        return self.nodes[index].channels if index >= 0 else self._feedback[-1 - index][0].channels

    def _edge(self, inlet: Inlet, given: Any) -> Edge:
        held = (inlet.default or 0.0) if inlet.hold else None
        if isinstance(given, Stream):
            self._own(given)
            return Edge(given.node, given.outlet, default=held)
        if not isinstance(given, Tapped):
            raise PortMismatch(
                f"inlet {inlet.name!r} takes streams",
                got=repr(given),
                fix="write *streams" if isinstance(given, list | tuple) else "use nodes.Constant",
            )
        self._own(given.stream)
        self._gated |= bool(given.gates)
        shape = (self.batch, given.stream.channels)
        initial = initial_tokens(given.initial, shape)
        default = held if given.default is None else given.default
        if given.hold and default is None:
            default = inlet.default or 0.0
        node, outlet = given.stream.node, given.stream.outlet
        return Edge(node, outlet, given.delay, initial, default, given.gates)

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
        count = kind.out_channels(widths)
        if not is_whole(count, 1):
            raise BadNode(
                f"{type(kind).__name__}.out_channels is a whole number from 1", got=repr(count)
            )
        return count


def _without(edge: Edge, count: int) -> Edge:
    """``edge`` less its first ``count`` tokens."""
    if edge.default is not None:
        raise PortMismatch(
            "tokens are skipped on an edge that is read in order",
            got="an edge that is read by the clock",
            fix="leave out default= and hold=",
        )
    return dataclasses.replace(edge, skip=count)


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


def _shorten(names: list[str], limit: int = 12) -> str:
    more = f", ... ({len(names)} in all)" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
