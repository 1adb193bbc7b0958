"""Settling: edges that are read by the clock become edges that are read in order.

To its reader such an edge is an endless past of the newest initial token (or the default), followed by
what the producer writes; at clock t it reads the newest that is visible. When nodes fire is known
before anything runs, and so is which tokens these are. With starts s (producer) and s' (consumer) and a
lag of d frames, where both fire once a frame, firing k reads what the producer made in its firing
``k + s' - s - d``. So the edge is one with ``s + d - s'`` tokens of the past, or one that skips as many
tokens if that is negative::

    edge(x, delay=3, default=0.5)     consumer starts at 1     ->  edge(x, delay=3, initial=(0.5, 2))
    edge(x, default=0.5)              consumer starts at 7     ->  edge(x), its first 7 tokens skipped

Between rates, the newest token moves on by another number from firing to firing, over and over. The
edge's consumer takes so many, a cyclo-static rate, and reads the last of them: one that fires
three times while its producer writes two takes 0, 1, 1, 0, 1, 1, ... and reads some token twice.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from amp.cycles import MAX_CYCLE, Cycle
from amp.errors import InconsistentRates
from amp.frozen import Edge, Frozen
from amp.schedule.dynamic import read_by_clock
from amp.schedule.gates import share_gates
from amp.schedule.latency import paces

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from amp.frozen import Node
    from amp.schedule.latency import Paces


def settle(graph: Frozen) -> Frozen:
    """The same graph, in which every edge is read in order, but those of samples (`read_by_clock`); the
    same object if it is so already."""
    graph = read_by_clock(share_gates(graph))
    if not any(_is_clocked(node) for node in graph.nodes):
        return graph
    pace = paces(graph)
    nodes = [_settle_node(graph, pace, node) if _is_clocked(node) else node for node in graph.nodes]
    return graph.with_nodes(nodes)


def _is_clocked(node: Node) -> bool:
    return node.type.router != "sample" and any(edge.default is not None for edge in node.edges)


def _settle_node(graph: Frozen, pace: Paces, node: Node) -> Node:
    return node.with_edges(lambda number, _: _settle_edge(graph, pace, node, number))


def _settle_edge(graph: Frozen, pace: Paces, node: Node, at: int) -> Edge:
    """Edge ``at`` of ``node`` as one that is read in order."""
    edge, number = node.edges[at], int(graph.first[node.index]) + at
    if edge.default is None:
        return edge
    producer = graph.nodes[edge.source]
    written = Cycle(producer.type.counts(type(producer.type).outlets[edge.outlet]))
    # clocks less the lag: a token must be visible at the clock of the firing that reads it
    clock = _clocks(graph, pace, number, len(written)) - producer.type.processing_delay - edge.delay
    # tokens visible, from firing -1 on
    newest = written.before(pace[edge.source].before(clock + 1))
    taken = Cycle(tuple(np.diff(newest).tolist())).counts
    own = graph.cycles[number][1].counts if number in graph.cycles else (graph.consumed[number],)
    tokens = -int(newest[0])
    past = tokens + max(int(graph.reach[number]) - min(taken), 0)  # what firings read again too
    initial: NDArray[np.float64] | None = None
    if max(past, tokens) > 0:
        value: NDArray[np.float64] | float = edge.default
        if edge.initial is not None:
            value = edge.initial[:, :, -1:]
        shape = (graph.batch, producer.channels, max(past, tokens))
        initial = np.broadcast_to(value, shape).copy()
    skip = max(past, tokens, 0) - tokens
    counts = None if taken == own else taken
    return Edge(edge.source, edge.outlet, edge.delay, initial, skip=skip, counts=counts)


def _clocks(graph: Frozen, pace: Paces, number: int, phases: int) -> NDArray[np.int64]:
    """Clocks of the consumer's firings from -1 on, until the producer of ``phases`` firings a cycle
    is where it was."""
    theirs, mine = (pace[int(c[number])] for c in (graph.source, graph.consumer))
    period = theirs.frames * phases // math.gcd(theirs.firings, phases)
    count = math.lcm(period, mine.frames) * mine.firings // mine.frames
    if count > MAX_CYCLE:
        source, consumer = (graph.nodes[c[number]] for c in (graph.source, graph.consumer))
        raise InconsistentRates(
            f"an edge that is read by the clock reads it alike within {MAX_CYCLE} firings",
            got=f"{count} firings of {consumer.name!r}",
            where=f"edge {source.name!r} -> {consumer.name!r}, {consumer}",
            fix="take rates with a smaller common multiple",
        )
    clocks: NDArray[np.int64] = mine.clock(np.arange(-1, count))
    return clocks
