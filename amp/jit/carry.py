"""Carrying state from one program to another: what goes where is found beforehand, so that the
programs stand still for a few copies only."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from amp.jit.counts import FIRED, Counts

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from amp.graph import Frozen
    from amp.jit.bind import Bound
    from amp.jit.snapshot import Places, Row
    from amp.schedule import Paces

    Ints = NDArray[np.int64]
    Side = tuple[Bound, Frozen, Paces, Places]


class Carry:
    """What one program keeps of another.

    A state is kept where name and type of the node, and name and shape of the state are the same. Of
    a delay line the newest values are. Tokens are kept by outlet: it has one past, whoever reads it,
    since readers may share a ring. Of an outlet that was there it is what its fullest edge held; of
    another one, its most initial tokens. What comes before is silence, and what an edge holds from
    before clock 0 is its own initial tokens.
    """

    def __init__(self, old: Side, new: Side) -> None:
        self._old, self._new = old, new
        before = {node.name: (node.kind, node.channels) for node in old[1].nodes}
        same = {n.name for n in new[1].nodes if before.get(n.name) == (n.kind, n.channels)}
        self._find_states(same)
        self._find_lines(same)
        self._find_edges(same)

    def _find_states(self, same: set[str]) -> None:
        pairs = [
            (known.first, row.first)
            for key, row in self._new[3].states.items()
            if key[0] in same
            and (known := self._old[3].states.get(key)) is not None
            and (known.kind, known.first.shape) == (row.kind, row.first.shape)
        ]
        self._states = [_flat(side) for side in zip(*pairs, strict=True)] or [_flat([])] * 2

    def _find_lines(self, same: set[str]) -> None:
        pairs = [
            (known, line)
            for key, line in self._new[3].lines.items()
            if key[0] in same
            and (known := self._old[3].lines.get(key)) is not None
            and known.row.first.shape == line.row.first.shape
        ]
        sides = list(zip(*pairs, strict=True))
        self._lines = [_Rows([line.row for line in side]) for side in sides]
        self._owners = [np.array([line.node for line in side]) for side in sides]
        self._lengths = np.array([min(a.length, b.length) for a, b in pairs], np.int64)

    def _find_edges(self, same: set[str]) -> None:
        (_, graph, _, places), (_, mine, _, new_places) = self._old, self._new
        numbers: dict[tuple[str, int], int] = {}
        self._from = _Rows(places.edges.values())
        self._to = _Rows(new_places.edges.values())
        self._from_edge, self._to_edge = _edges(graph, places), _edges(mine, new_places)
        self._from_outlet, self._to_outlet = (
            np.array([numbers.setdefault(outlet, len(numbers)) for outlet in some], np.int64)
            for some in (_outlets(graph, places), _outlets(mine, new_places))
        )
        self._count = len(numbers)
        known = {number for (name, _), number in numbers.items() if name in same}
        # an outlet that was not there, or was another one, has no past
        self._is_known = np.array([n in known for n in range(self._count)], bool)
        self._declared: dict[int, NDArray[np.float64]] = {}
        for node in mine.nodes:
            for edge in node.edges:
                number = numbers.get((mine.nodes[edge.source].name, edge.outlet), -1)
                longest = self._declared.get(number)
                if edge.initial is None or number < 0 or self._is_known[number]:
                    continue
                if longest is None or longest.shape[2] < edge.initial.shape[2]:
                    self._declared[number] = edge.initial

    def run(self, clock: int) -> None:
        """Do it, at ``clock``; the new program has to be as after a reset."""
        source, target = (
            side[0].arena.view(0, (side[0].arena.size // 8,), np.int64)
            for side in (self._old, self._new)
        )
        counts = [Counts.at_pace(side[1], side[2], clock) for side in (self._old, self._new)]
        target[self._states[1]] = source[self._states[0]]
        if self._lines:
            theirs, mine = (
                rows.words(np.arange(len(rows)), side.rows[owners, FIRED], self._lengths)
                for rows, owners, side in zip(self._lines, self._owners, counts, strict=True)
            )
            target[mine] = source[theirs]
        if self._to:
            self._carry_edges(source, target, *counts)

    def _carry_edges(self, source: Ints, target: Ints, old: Counts, new: Counts) -> None:
        written, held = (c[self._to_edge] for c in new.tokens())
        later = np.minimum(held, written)  # the rest is from before clock 0
        every = np.arange(len(self._to))
        target[self._to.words(every, written, later)] = 0
        old_written, old_held = (c[self._from_edge] for c in old.tokens())
        fullest = np.full(self._count, -1)
        order = np.argsort(-old_held, kind="stable")[::-1]
        fullest[self._from_outlet[order]] = order  # the last one counts: of equals, the first
        fullest[~self._is_known] = -1
        chosen = fullest[self._to_outlet]
        some = np.flatnonzero(chosen >= 0)
        chosen = chosen[some]
        count = np.minimum(later[some], old_held[chosen])
        mine = self._to.words(some, written[some], count)
        target[mine] = source[self._from.words(chosen, old_written[chosen], count)]
        floats = target.view(np.float64)
        for row in np.flatnonzero(np.isin(self._to_outlet, list(self._declared))):
            past = self._declared[int(self._to_outlet[row])]
            n = min(int(later[row]), past.shape[2])
            words = self._to.words(np.array([row]), written[row : row + 1], np.array([n]))
            floats[words] = past[..., past.shape[2] - n :].ravel()


class _Rows:
    """Many rows as arrays, by lane."""

    def __init__(self, rows: Iterable[Row]) -> None:
        rows = list(rows)
        self._first = _flat([row.first for row in rows])
        self._step, self._mask = (
            np.array(column, np.int64)
            for column in ([row.step for row in rows], [row.mask for row in rows])
        )
        self._lanes = np.array([row.first.size for row in rows], np.int64)
        self._begin = np.cumsum(self._lanes) - self._lanes

    def __len__(self) -> int:
        return len(self._lanes)

    def words(self, rows: Ints, end: Ints, count: Ints) -> Ints:
        """Of some rows the words of the last ``count`` values before ``end``: row by row, in each
        lane by lane."""
        lanes = self._lanes[rows]
        row = np.repeat(np.arange(len(rows)), lanes)
        lane = _within(lanes) + self._begin[rows][row]
        many = count[row]
        each = np.repeat(np.arange(len(row)), many)
        row = row[each]
        at = end[row] - count[row] + _within(many)
        rows = rows[row]
        words: Ints = self._first[lane[each]] + (at & self._mask[rows]) * self._step[rows]
        return words


def _within(counts: Ints) -> Ints:
    """0, 1, ... of each count, one after another."""
    begin = np.cumsum(counts) - counts
    ramp: Ints = np.arange(counts.sum()) - np.repeat(begin, counts)
    return ramp


def _flat(arrays: Sequence[Ints]) -> Ints:
    return np.concatenate([np.zeros(0, np.int64), *(array.ravel() for array in arrays)])


def _edges(graph: Frozen, places: Places) -> Ints:
    """Number of each edge that has a place."""
    numbers = [int(graph.first[graph.numbers[node]]) + at for node, at in places.edges]
    return np.array(numbers, np.int64)


def _outlets(graph: Frozen, places: Places) -> list[tuple[str, int]]:
    """The outlet that each of them reads."""
    edges = [graph.nodes[graph.numbers[node]].edges[at] for node, at in places.edges]
    return [(graph.nodes[edge.source].name, edge.outlet) for edge in edges]
