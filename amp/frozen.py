"""Nodes and edges as data, and a graph as it was at one moment."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from amp.contract import NodeType, Param, array_of
from amp.cycles import Cycle
from amp.thermal import USUAL, Thermal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from amp.contract import Inlet, Take
    from amp.errors import Place


@dataclass(frozen=True, slots=True)
class Edge:
    """One reader of one outlet. ``initial`` has shape (batch, channels, tokens) or is None.

    An edge may ``skip`` the first tokens that its producer makes. With a ``default`` it is read by the
    clock, until it is settled (`amp.schedule.settle`); its consumer's firings may then take other ``counts``
    of tokens than its inlet's rate, over and over, of which it reads the last.
    """

    source: int
    outlet: int
    delay: int = 0
    initial: NDArray[np.float64] | None = None
    default: float | None = None
    gates: tuple[str, ...] = ()
    skip: int = 0
    counts: tuple[int, ...] | None = None

    @property
    def tokens(self) -> int:
        """Number of initial tokens; negative if tokens are skipped."""
        return (0 if self.initial is None else self.initial.shape[2]) - self.skip


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
    controls
        Edges of the gates that the node stands behind: it waits for their tokens and reads none.
    thermal
        Its thermal constants.
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
    controls: tuple[Edge, ...] = ()
    thermal: Thermal = USUAL

    @property
    def kind(self) -> str:
        """Name of the node type."""
        return type(self.type).__name__

    def with_edges(self, change: Callable[[int, Edge], Edge]) -> Node:
        """The same node with other edges: what ``change(number, edge)`` returns."""
        edges: list[Edge] = []

        def changed(source: Any) -> Any:
            if isinstance(source, tuple):
                return tuple(changed(item) for item in source)
            if isinstance(source, Edge):
                edges.append(change(len(edges), source))
                return edges[-1]
            return source

        sources = changed(self.sources)
        return dataclasses.replace(self, sources=sources, edges=tuple(edges))

    def __str__(self) -> str:
        return f"node {self.name!r} ({self.kind}, {self.created})"


class Frozen:
    """A graph as it was at one moment, for the compiler.

    Attributes
    ----------
    nodes
        The nodes, with feedback streams replaced by what they are connected to.
    first
        Number of each node's first edge.
    consumer, source, outlet, delay, tokens
        One entry per edge, ordered by consumer: its edges, then its controls.
    waits
        Whether the consumer waits for the edge's tokens; else it reads by the clock.
    dynamic
        Whether a node fires when its tokens are visible, as data says, and not at a pace.
    unbounded
        Whether an end of an edge is such a node, so that its tokens have no bound.
    balanced
        Whether as many tokens are taken as are written, so that rates follow from each other.
    consumed, produced
        Tokens that a firing of an edge's consumer takes, and of its producer writes; if they differ
        from firing to firing, those of a cycle of ``takings`` and ``writings`` firings.
    cycles
        Of such edges, and those of which a firing sees several tokens but takes another number: the
        cycles of what is written and what is taken.
    seen
        Tokens that ``forward`` gets of an edge, of which the last is the last one taken.
    reach, history
        Tokens back from the last one taken that a firing reads; those among them that earlier firings
        took.
    gates
        Contributors of each gate, by its name.
    params
        Every (param, node, inlet or None for a node's own array).
    """

    def __init__(
        self,
        sample_rate: float,
        batch: int,
        nodes: list[Node],
        params: list[tuple[Param, Node, Inlet | None]],
        gates: dict[str, tuple[Edge, ...]],
        fingerprint: str = "",
    ) -> None:
        self.sample_rate, self.batch = sample_rate, batch
        self.nodes, self.params, self.gates = nodes, params, gates
        edges = [edge for node in nodes for edge in (*node.edges, *node.controls)]
        counts = [len(node.edges) + len(node.controls) for node in nodes]
        self.first = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        self.consumer = np.repeat(np.arange(len(nodes)), counts)
        self.source = np.array([edge.source for edge in edges], np.int64)
        self.outlet = np.array([edge.outlet for edge in edges], np.int64)
        self.delay = np.array([edge.delay for edge in edges], np.int64)
        self.tokens = np.array([edge.tokens for edge in edges], np.int64)
        self.waits = np.array([edge.default is None for edge in edges], bool)
        if fingerprint:
            self.fingerprint = fingerprint  # of the graph that this one was made of
        self.balanced = self.waits.copy()
        for node in nodes:
            if node.controls:
                first, end = self.first[node.index : node.index + 2]
                self.balanced[first + len(node.edges) : end] = False
        self.consumed = self.produced = self.seen = np.ones(len(edges), np.int64)
        self.takings = self.writings = self.consumed
        self.reach, self.history = self.seen, np.zeros(len(edges), np.int64)
        self.cycles: dict[int, tuple[Cycle, Cycle]] = {}
        kinds = {type(node.type) for node in nodes}
        least = self.consumed
        if any(kind.rate is not NodeType.rate for kind in kinds) or any(e.counts for e in edges):
            least = self._count(edges)
        if any(kind.takes is not NodeType.takes for kind in kinds) or self.cycles:
            again = [n for node in nodes for n in self._again(node)]
            self.reach = np.maximum(again, self.seen)
            self.history = np.maximum(self.reach - least, 0)
        self.dynamic = np.zeros(len(nodes), bool)
        if any(kind.router for kind in kinds):
            self._route()
        self.unbounded = self.dynamic[self.source] | self.dynamic[self.consumer]

    def with_nodes(self, nodes: list[Node]) -> Frozen:
        """The same graph, of other nodes that stand for its own."""
        return Frozen(
            self.sample_rate, self.batch, nodes, self.params, self.gates, self.fingerprint
        )

    def _route(self) -> None:
        """Find out who fires as data says, and note what routers do with their edges."""
        routes = np.array([node.type.router not in {"", "sample"} for node in self.nodes])
        ordered = self.waits.copy()
        while (routes != self.dynamic).any():
            self.dynamic = routes.copy()
            routes[self.consumer[ordered & self.dynamic[self.source]]] = True
        for node in self.nodes:
            first = self.first[node.index]
            if node.type.router == "select":  # takes from one of them at a time
                self.waits[first : first + 2] = self.balanced[first : first + 2] = False
            elif node.type.router == "sample":  # keeps the newest tokens
                self.history = self.history.copy()
                self.history[first] = node.type.rate("out")

    def _count(self, edges: list[Edge]) -> NDArray[np.int64]:
        """Fill in what is written and taken; the fewest tokens that a firing takes of each edge."""
        known: dict[tuple[int, ...], Cycle] = {}

        def cycle(counts: tuple[int, ...]) -> Cycle:
            if counts not in known:
                known[counts] = Cycle(counts)
            return known[counts]

        rates = [_rates(node) for node in self.nodes]
        seen = [counts for ins, _ in rates for counts in ins]
        written = [cycle(rates[edge.source][1][edge.outlet]) for edge in edges]
        taken = [cycle(e.counts or counts) for e, counts in zip(edges, seen, strict=True)]
        self.produced = np.array([c.total for c in written], np.int64)
        self.consumed = np.array([c.total for c in taken], np.int64)
        self.writings = np.array([len(c) for c in written], np.int64)
        self.takings = np.array([len(c) for c in taken], np.int64)
        self.seen = np.array([max(counts) for counts in seen], np.int64)
        uneven = (self.writings > 1) | (self.takings > 1)
        uneven |= (self.seen != 1) & (self.seen != self.consumed)
        self.cycles = {i: (written[i], taken[i]) for i in np.flatnonzero(uneven).tolist()}
        return np.array([min(c.counts) for c in taken], np.int64)

    def takes(self, node: Node) -> list[Take]:
        """See `NodeType.takes`."""
        return node.type.takes([self.nodes[edge.source].channels for edge in node.edges])

    def _again(self, node: Node) -> list[int]:
        """How many tokens ``node`` reaches back for on each of its edges."""
        furthest = np.zeros(len(node.edges) + len(node.controls), np.int64)
        for take in self.takes(node):
            np.maximum.at(furthest, np.array(take.edge), np.array(take.back) + 1)
        return [*furthest.tolist()]

    @functools.cached_property
    def multirate(self) -> bool:
        """Some edge carries another number of tokens than one a firing."""
        return bool(self.cycles or (self.consumed != 1).any() or (self.produced != 1).any())

    @functools.cached_property
    def numbers(self) -> dict[str, int]:
        """Index of each node by name."""
        return {node.name: node.index for node in self.nodes}

    @functools.cached_property
    def kinds(self) -> list[str]:
        """Name of each node's type."""
        return [node.kind for node in self.nodes]

    @functools.cached_property
    def processing(self) -> NDArray[np.int64]:
        """Processing delay of each node [frames]."""
        return np.array([node.type.processing_delay for node in self.nodes], np.int64)

    @functools.cached_property
    def fingerprint(self) -> str:
        """See `Graph.fingerprint`."""
        nodes = self.nodes
        digest = hashlib.blake2b(digest_size=16)
        digest.update(repr((self.batch, [node.name for node in nodes])).encode())
        digest.update(repr(self.kinds).encode())
        channels = np.array([node.channels for node in nodes], np.int64)
        data = np.array([len(node.edges) for node in nodes], np.int64)
        columns = (channels, data, self.consumer, self.source, self.outlet, self.delay, self.tokens)
        for column in (*columns, self.waits, self.consumed, self.produced, self.history):
            digest.update(column.tobytes())
        for number, (written, taken) in self.cycles.items():
            digest.update(repr((number, written.counts, taken.counts)).encode())
        return digest.hexdigest()

    @functools.cached_property
    def identity(self) -> str:
        """Hash of everything that a snapshot depends on: the same, attributes, the sample rate."""
        attributes = [node.type.key[1:] for node in self.nodes]
        text = repr((self.fingerprint, self.sample_rate, attributes))
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def width_of(source: Any, nodes: Sequence[Node]) -> int:
    """Channels of what an inlet is given; of several streams those of the widest."""
    if isinstance(source, tuple):
        return max((width_of(one, nodes) for one in source), default=1)
    if isinstance(source, Edge):
        return nodes[source.source].channels
    shape = array_of(source).shape
    return shape[1] if len(shape) == 2 else 1


def widths_of(node: Node, nodes: Sequence[Node]) -> dict[str, int]:
    """Channels of each inlet that is given something, by name."""
    given = zip(type(node.type).inlets, node.sources, strict=True)
    return {inlet.name: width_of(source, nodes) for inlet, source in given if source is not None}


def _rates(node: Node) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
    """Tokens of each firing on each edge that ends at ``node``, and on each of its outlets."""
    kind = type(node.type)
    ins: list[tuple[int, ...]] = []
    for inlet, source in zip(kind.inlets, node.sources, strict=True):
        count = len(source) if type(source) is tuple else type(source) is Edge
        ins += [node.type.counts(inlet.name)] * count
    ins += [(1,)] * len(node.controls)
    return ins, [node.type.counts(outlet) for outlet in kind.outlets]
