"""Settling: edges that are read by the clock become edges that are read in order.

At clock t such an edge gives the newest token that is visible, else its default. When nodes fire is
known before anything runs, and so is which token that is: with starts s (producer) and s' (consumer) and
a lag of d frames, firing k reads what the producer made in its firing ``k + s' - s - d``. If that is
negative, it is the newest initial token or the default. So the edge is one with ``s + d - s'`` tokens of
that value, or one that skips as many tokens if that is negative::

    edge(x, delay=3, default=0.5)     consumer starts at 1     ->  edge(x, delay=3, initial=(0.5, 2))
    edge(x, default=0.5)              consumer starts at 7     ->  edge(x), its first 7 tokens skipped
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from amp.errors import InconsistentRates
from amp.frozen import Edge, Frozen
from amp.schedule.latency import paces

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from amp.frozen import Node
    from amp.schedule.latency import Paces


def settle(graph: Frozen) -> Frozen:
    """The same graph, in which every edge is read in order; the same object if it is so already."""
    if graph.waits.all():
        return graph
    pace = paces(graph)
    single = (graph.consumed == 1) & (graph.produced == 1) & (graph.history == 0)
    for number in np.flatnonzero(~graph.waits & ~single):
        source, consumer = (graph.nodes[c[number]] for c in (graph.source, graph.consumer))
        raise InconsistentRates(
            "an edge that is read by the clock carries one token a firing at both ends",
            got=f"{graph.produced[number]} written, {graph.consumed[number]} taken and "
            f"{graph.history[number]} read again",
            where=f"edge {source.name!r} -> {consumer.name!r}, {consumer}",
            fix="put a node between them that keeps the rate, such as nodes.Gain",
        )
    nodes = [_settle_node(graph, pace, node) for node in graph.nodes]
    return Frozen(
        graph.sample_rate, graph.batch, nodes, graph.params, graph.gates, graph.fingerprint
    )


def _settle_node(graph: Frozen, pace: Paces, node: Node) -> Node:
    if all(edge.default is None for edge in node.edges):
        return node
    edges: list[Edge] = []

    def settled(source: Any) -> Any:
        if isinstance(source, tuple):
            return tuple(settled(item) for item in source)
        if isinstance(source, Edge):
            edges.append(_settle_edge(graph, pace, node, source))
            return edges[-1]
        return source

    sources = settled(node.sources)
    return dataclasses.replace(node, sources=sources, edges=tuple(edges))


def _settle_edge(graph: Frozen, pace: Paces, node: Node, edge: Edge) -> Edge:
    if edge.default is None:
        return edge
    theirs, mine = pace[edge.source], pace[node.index]
    producer = graph.nodes[edge.source]
    lag = producer.type.processing_delay + edge.delay
    # in firings, rounded up: a token must be visible at the clock of the firing that reads it
    ahead = theirs.offset + lag * theirs.firings - mine.offset
    late = -(-ahead // theirs.frames)
    if late <= 0:
        return Edge(edge.source, edge.outlet, edge.delay, None, skip=-late)
    shape = (graph.batch, producer.channels, late)
    newest: NDArray[np.float64] | float = edge.default
    if edge.initial is not None:
        newest = edge.initial[:, :, -1:]
    return Edge(edge.source, edge.outlet, edge.delay, np.broadcast_to(newest, shape).copy())
