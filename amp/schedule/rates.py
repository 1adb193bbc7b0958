"""Rates: how often each node fires, from the balance of every edge.

An edge is in balance when as many tokens are written as are read::

    firings(producer) * produced = firings(consumer) * consumed

These are the rows of the topology matrix; its null space is the repetition vector (Lee &
Messerschmitt, "Synchronous data flow", Proc. IEEE 75(9), 1987). Where counts differ from firing to firing,
cycles of firings take their place (Bilsen et al., "Cyclo-static dataflow", IEEE Trans. Signal Processing
44(2), 1996). Firings are counted per frame of the clock: inputs and outputs of the graph fire once per
frame, and all else follows. Gates, and edges that are read by the clock, join any rates.
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
    for number in np.flatnonzero(graph.balanced).tolist():
        source, consumer = int(graph.source[number]), int(graph.consumer[number])
        wrote, read = tokens_per_firing(graph, number)
        edges[source].append((consumer, wrote / read, number))
        edges[consumer].append((source, read / wrote, number))
    rate: dict[int, Fraction] = {}
    borders = [node.index for node in graph.nodes if node.type.border in {"input", "output"}]
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


def tokens_per_firing(graph: Frozen, number: int) -> tuple[Fraction, Fraction]:
    """Tokens that a firing writes to an edge, and that one takes, on the average."""
    return (
        Fraction(int(graph.produced[number]), int(graph.writings[number])),
        Fraction(int(graph.consumed[number]), int(graph.takings[number])),
    )


def _refuse(graph: Frozen, number: int, rate: dict[int, Fraction]) -> None:
    producer = graph.nodes[graph.source[number]]
    reader = graph.nodes[graph.consumer[number]]
    per_firing = tokens_per_firing(graph, number)
    cycles = graph.cycles.get(number)
    sides = []
    for end, (node, tokens) in enumerate(zip((producer, reader), per_firing, strict=True)):
        fires, times, unit = rate[node.index], str(tokens), "firings"
        if cycles and len(cycles[end]) > 1:
            fires, unit = fires / len(cycles[end]), f"cycles of {len(cycles[end])} firings"
            times = f"({' + '.join(map(str, cycles[end].counts))})"
        sides.append((f"{unit} of {node.name!r} x {times}", f"{fires} x {times}"))
    made, taken = (rate[n.index] * t for n, t in zip((producer, reader), per_firing, strict=True))
    raise InconsistentRates(
        "as many tokens are written to an edge as are read from it",
        expected=f"{sides[0][0]} = {sides[1][0]}",
        got=f"{sides[0][1]} = {made} tokens per frame written, and {sides[1][1]} = {taken} read",
        where=f"edge {producer.name!r} -> {reader.name!r}, {reader}",
        fix="bring the streams to one rate with nodes.Upsample, nodes.Hold or nodes.Downsample, or "
        "read by the clock: amp.edge(stream, default=0.0)",
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
