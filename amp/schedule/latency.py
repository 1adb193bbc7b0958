"""When nodes start: latency is inferred along edges like a shape, and cycles are judged.

A node fires once per frame of the clock from its start on: its k-th firing is at clock ``k + start``.
A token that is the j-th produced by a node is written at clock ``j + start + processing delay`` and
visible ``delay`` later. So for every edge with m initial tokens::

    start(consumer) >= start(producer) + processing delay + delay - m

and the starts are the least non-negative solution (a longest path). It exists if and only if no cycle
has more delay than tokens (Reiter, "Scheduling parallel computations", JACM 15(4), 1968).
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import numpy as np

from amp.errors import Deadlock, TooSlowCycle

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from amp.graph import Edge, Frozen, Node


def starts(graph: Frozen) -> list[int]:
    """Clock of each node's first firing, by node index.

    Raises
    ------
    Deadlock
        For a cycle without initial tokens.
    TooSlowCycle
        For a cycle whose delays exceed its tokens.
    """
    nodes = graph.nodes
    order = _order(graph)
    start = [0] * len(nodes)
    if not graph.delay.any() and not graph.processing.any():
        return start
    cause: list[int] = [-1] * len(nodes)
    changed = -1
    # Within one sweep every token-free path settles; each further sweep crosses one token edge.
    for _ in range(int((graph.tokens > 0).sum()) + 2):
        changed = -1
        for index in order:
            for edge in nodes[index].edges:
                earliest = start[edge.source] + lag(nodes, edge)
                if earliest > start[index]:
                    start[index], cause[index], changed = earliest, edge.source, index
        if changed < 0:
            return start
    _refuse_slow_cycle(nodes, cause, changed)
    raise AssertionError("unreachable")


def lag(nodes: list[Node], edge: Edge) -> int:
    """Frames by which a consumer starts after its producer, at least, because of ``edge``."""
    return nodes[edge.source].type.processing_delay + edge.delay - edge.tokens


def in_flight(graph: Frozen, start: list[int]) -> NDArray[np.int64]:
    """Tokens on each edge at the border of any two frames, once both of its nodes have started."""
    clock = np.array(start, np.int64)
    return graph.tokens + clock[graph.consumer] - clock[graph.source]


def _order(graph: Frozen) -> Sequence[int]:
    """Topological order of the token-free edges."""
    nodes = graph.nodes
    if (graph.source < graph.consumer)[graph.tokens == 0].all():
        return range(len(nodes))  # as it is whenever no feedback stream is used
    waiting = [0] * len(nodes)
    readers: list[list[int]] = [[] for _ in nodes]
    for node in nodes:
        for edge in node.edges:
            if not edge.tokens:
                waiting[node.index] += 1
                readers[edge.source].append(node.index)
    ready = deque(i for i, count in enumerate(waiting) if not count)
    order = []
    while ready:
        index = ready.popleft()
        order.append(index)
        for reader in readers[index]:
            waiting[reader] -= 1
            if not waiting[reader]:
                ready.append(reader)
    if len(order) < len(nodes):
        _refuse_deadlock(nodes, {i for i, count in enumerate(waiting) if count})
    return order


def _refuse_deadlock(nodes: list[Node], stuck: set[int]) -> None:
    index = min(stuck)
    path: list[int] = []
    while index not in path:  # every stuck node waits for a stuck node
        path.append(index)
        index = next(e.source for e in nodes[index].edges if not e.tokens and e.source in stuck)
    cycle = path[path.index(index) :][::-1]
    raise Deadlock(
        "a cycle holds at least one initial token, or no node of it can ever fire",
        expected="sum(initial) >= 1",
        got=f"0 tokens on {_path(nodes, cycle)}",
        where=str(nodes[cycle[0]]),
        fix="give one of its edges initial tokens: amp.edge(stream, initial=1)",
    )


def _refuse_slow_cycle(nodes: list[Node], cause: list[int], index: int) -> None:
    for _ in nodes:  # walk far enough to be on the cycle itself
        index = cause[index]
    cycle = [index]
    while (index := cause[index]) != cycle[0]:
        cycle.append(index)
    cycle.reverse()
    tokens = delays = processing = 0
    for source, consumer in zip(cycle, [*cycle[1:], cycle[0]], strict=True):
        edge = max(
            (e for e in nodes[consumer].edges if e.source == source),
            key=lambda e: lag(nodes, e),
        )
        tokens += edge.tokens
        delays += edge.delay
        processing += nodes[source].type.processing_delay
    raise TooSlowCycle(
        "a cycle has at least as many initial tokens as frames of delay, or it cannot keep up",
        expected=f"sum(initial) >= {delays + processing}",
        got=f"{tokens} token(s), {delays} frame(s) of delay and {processing} of processing on "
        + _path(nodes, cycle),
        where=str(nodes[cycle[0]]),
        fix="add initial tokens, or take delay off its edges",
    )


def _path(nodes: list[Node], cycle: list[int]) -> str:
    return " -> ".join(repr(nodes[i].name) for i in [*cycle, cycle[0]])
