"""Nodes and edges as data, and a graph as it was at one moment."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from amp.contract import NodeType, Param

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from amp.contract import Inlet, Take
    from amp.errors import Place


@dataclass(frozen=True, slots=True)
class Edge:
    """One reader of one outlet. ``initial`` has shape (batch, channels, tokens) or is None.

    With a ``default`` it is read by the clock, until it is settled (`amp.schedule.settle`); a settled
    edge may ``skip`` the first tokens that its producer makes.
    """

    source: int
    outlet: int
    delay: int = 0
    initial: NDArray[np.float64] | None = None
    default: float | None = None
    gates: tuple[str, ...] = ()
    skip: int = 0

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
    first
        Number of each node's first edge.
    consumer, source, delay, tokens
        One entry per edge, ordered by consumer: its edges, then its controls.
    waits
        Whether the consumer waits for the edge's tokens; else it reads by the clock.
    consumed, produced
        Tokens that a firing of an edge's consumer takes, and of its producer writes.
    history
        Tokens taken by earlier firings that a firing reads again.
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
        self.delay = np.array([edge.delay for edge in edges], np.int64)
        self.tokens = np.array([edge.tokens for edge in edges], np.int64)
        self.waits = np.array([edge.default is None for edge in edges], bool)
        if fingerprint:
            self.fingerprint = fingerprint  # of the graph that this one was made of
        self.consumed = self.produced = np.ones(len(edges), np.int64)
        self.history = np.zeros(len(edges), np.int64)
        kinds = {type(node.type) for node in nodes}
        if any(kind.rate is not NodeType.rate for kind in kinds):
            rates = [_rates(node) for node in nodes]
            self.consumed = np.array([n for ins, _ in rates for n in ins], np.int64)
            self.produced = np.array([rates[e.source][1][e.outlet] for e in edges], np.int64)
        if any(kind.takes is not NodeType.takes for kind in kinds):
            again = [n for node in nodes for n in self._again(node)]
            self.history = np.maximum(np.array(again, np.int64) + 1 - self.consumed, 0)

    def takes(self, node: Node) -> list[Take]:
        """See `NodeType.takes`."""
        return node.type.takes([self.nodes[edge.source].channels for edge in node.edges])

    def _again(self, node: Node) -> list[int]:
        """How far back ``node`` reads each of its edges."""
        furthest = [0] * (len(node.edges) + len(node.controls))
        for take in self.takes(node):
            for number, back in zip(take.edge, take.back, strict=True):
                furthest[number] = max(furthest[number], back)
        return furthest

    @functools.cached_property
    def multirate(self) -> bool:
        """Some edge carries more than one token a firing."""
        return bool((self.consumed != 1).any() or (self.produced != 1).any())

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
        edges = [edge for node in nodes for edge in (*node.edges, *node.controls)]
        outlets = np.array([edge.outlet for edge in edges], np.int64)
        data = np.array([len(node.edges) for node in nodes], np.int64)
        columns = (channels, data, self.consumer, self.source, outlets, self.delay, self.tokens)
        for column in (*columns, self.waits, self.consumed, self.produced, self.history):
            digest.update(column.tobytes())
        return digest.hexdigest()

    @functools.cached_property
    def identity(self) -> str:
        """Hash of everything that a snapshot depends on: the same, attributes, the sample rate."""
        attributes = [node.type.key[1:] for node in self.nodes]
        text = repr((self.fingerprint, self.sample_rate, attributes))
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _rates(node: Node) -> tuple[list[int], list[int]]:
    """Tokens per firing on each edge that ends at ``node``, and on each of its outlets."""
    kind = type(node.type)
    ins = []
    for inlet, source in zip(kind.inlets, node.sources, strict=True):
        count = len(source) if type(source) is tuple else type(source) is Edge
        ins += [node.type.rate(inlet.name)] * count
    ins += [1] * len(node.controls)
    return ins, [node.type.rate(outlet) for outlet in kind.outlets]
