"""Counts: how often nodes have fired, and so how many tokens every edge has seen and holds.

Of nodes that fire at a pace the clock says it. Of those that fire as data says, and of routers, the
counts are part of a program's state.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from amp.frozen import Frozen
    from amp.schedule import Paces

    Ints = NDArray[np.int64]

FIRED, FIRST, SECOND, TIME, PREVIOUS = range(5)
COLUMNS = 5
"""Of a node: its firings; tokens of a router's outlets or inlets; the clock of its last firing; the
bits of a trigger's last control."""


@dataclass(frozen=True)
class Counts:
    """Counts of every node of a graph, a row each."""

    graph: Frozen
    rows: Ints

    @classmethod
    def at_pace(cls, graph: Frozen, pace: Paces, clock: int) -> Counts:
        """What the clock says."""
        rows = np.zeros((len(graph.nodes), COLUMNS), np.int64)
        rows[:, FIRED] = pace.fired(clock)
        return cls(graph, rows)

    def firings(self) -> dict[str, Ints]:
        """Rows that the clock does not say, by node."""
        return {name: self.rows[self.graph.numbers[name]].copy() for name in uncounted(self.graph)}

    def with_firings(self, firings: Mapping[str, Ints]) -> Counts:
        """The same with other rows of some nodes."""
        rows = self.rows.copy()
        for name, row in firings.items():
            rows[self.graph.numbers[name]] = row
        return Counts(self.graph, rows)

    def tokens(self) -> tuple[Ints, Ints]:
        """Of every edge the tokens that its producer has written, and those that it holds, which may
        be read again among them."""
        written, read = self._moved()
        return written, np.maximum(0, written + self.graph.tokens - read) + self.graph.history

    def is_possible(self) -> bool:
        """Nobody has taken what was not there."""
        written, read = self._moved()
        return bool((written + self.graph.tokens >= read)[self.graph.unbounded].all())

    def _moved(self) -> tuple[Ints, Ints]:
        """Of every edge the tokens written, and those taken."""
        graph = self.graph
        made, taken = self.rows[graph.source, FIRED], self.rows[graph.consumer, FIRED]
        for node in graph.nodes if graph.dynamic.any() else ():
            router, first = node.type.router, int(graph.first[node.index])
            if router in {"switch", "trigger"}:
                mine = np.flatnonzero(graph.source == node.index)
                made[mine] = self.rows[node.index, FIRST + graph.outlet[mine]]
            for i in range({"select": 2, "sample": 1}.get(router, 0)):
                taken[first + i] = self.rows[node.index, FIRST + i]
        written, read = made * graph.produced, taken * graph.consumed
        for number, (writes, takes) in graph.cycles.items():
            written[number] = writes.before(made[number])
            read[number] = takes.before(taken[number])
        return written, read


def uncounted(graph: Frozen) -> list[str]:
    """Nodes whose counts the clock does not say."""
    return [n.name for n in graph.nodes if graph.dynamic[n.index] or n.type.router]
