"""Rates: how often each node fires, from the balance of every edge.

An edge is in balance when as many tokens are written as are read::

    firings(producer) * produced = firings(consumer) * consumed

These are the rows of the topology matrix; its null space is the repetition vector (Lee &
Messerschmitt, "Synchronous data flow", Proc. IEEE 75(9), 1987). Firings are counted per frame of the
clock: inputs and outputs of the graph fire once per frame, and all else follows.
"""

from __future__ import annotations

from collections import defaultdict, deque
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from amp.errors import InconsistentRates

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from amp.frozen import Frozen

    Ints = NDArray[np.int64]

MAX_RATE = 1 << 20
"""Most firings in a frame, or frames between firings."""


def firing_rates(graph: Frozen) -> tuple[Ints, Ints]:
    """Each node's firings and the frames in which they happen, in lowest terms.

    Raises
    ------
    InconsistentRates
        With the equation that has no solution.
    """
    count = len(graph.nodes)
    if not graph.multirate:
        return np.ones(count, np.int64), np.ones(count, np.int64)
    rate = _solve(graph)
    for node, value in zip(graph.nodes, rate, strict=True):
        if max(value.numerator, value.denominator) > MAX_RATE:
            raise InconsistentRates(
                f"a node fires at most {MAX_RATE} times a frame, and once in as many at least",
                got=f"{value} firings per frame",
                where=str(node),
            )
    firings = np.array([value.numerator for value in rate], np.int64)
    return firings, np.array([value.denominator for value in rate], np.int64)


def _solve(graph: Frozen) -> list[Fraction]:
    """Firings per frame, spread from the borders along the edges."""
    edges: dict[int, list[tuple[int, Fraction, int]]] = defaultdict(list)
    for number, (source, consumer, wrote, read) in enumerate(_rows(graph)):
        edges[source].append((consumer, Fraction(wrote, read), number))
        edges[consumer].append((source, Fraction(read, wrote), number))
    rate: dict[int, Fraction] = {}
    borders = [node.index for node in graph.nodes if node.type.border]
    for first in [*borders, *range(len(graph.nodes))]:  # a part without border keeps the clock
        if first in rate:
            continue
        rate[first] = Fraction(1)
        pending = deque([first])
        while pending:
            node = pending.popleft()
            for other, ratio, number in edges[node]:
                if other not in rate:
                    rate[other] = rate[node] * ratio
                    pending.append(other)
                elif rate[other] != rate[node] * ratio:
                    _refuse(graph, number, rate)
    for index in borders:
        if rate[index] != 1:
            _refuse_border(graph, index, rate[index])
    return [rate[index] for index in range(len(graph.nodes))]


def _rows(graph: Frozen) -> list[tuple[int, int, int, int]]:
    columns = (graph.source, graph.consumer, graph.produced, graph.consumed)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def _refuse(graph: Frozen, number: int, rate: dict[int, Fraction]) -> None:
    source, consumer, wrote, read = _rows(graph)[number]
    producer, reader = graph.nodes[source], graph.nodes[consumer]
    made, taken = rate[source] * wrote, rate[consumer] * read
    raise InconsistentRates(
        "as many tokens are written to an edge as are read from it",
        expected=f"firings of {producer.name!r} x {wrote} = firings of {reader.name!r} x {read}",
        got=f"{rate[source]} x {wrote} = {made} tokens per frame written, and "
        f"{rate[consumer]} x {read} = {taken} read",
        where=f"edge {producer.name!r} -> {reader.name!r}, {reader}",
        fix="bring the streams to one rate with nodes.Upsample, nodes.Hold or nodes.Downsample",
    )


def _refuse_border(graph: Frozen, index: int, made: Fraction) -> None:
    raise InconsistentRates(
        "inputs and outputs of a graph have one token per frame of the clock",
        expected="1 token per frame",
        got=f"{made}",
        where=str(graph.nodes[index]),
        fix="bring the stream to the clock's rate with nodes.Upsample, nodes.Hold or "
        "nodes.Downsample",
    )
