"""Snapshots: states, delay lines and tokens in flight in a form that no schedule shows in."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from amp.jit.counts import FIRED
from amp.jit.guard import noted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from amp.graph import Frozen, Node
    from amp.jit.arena import BoundRing
    from amp.jit.bind import Bound, BoundCall
    from amp.jit.counts import Counts
    from amp.jit.group import Group

    Ints = NDArray[np.int64]

Arrays = dict[str, dict[str, "NDArray[Any]"]]
Tokens = dict[tuple[str, int], "NDArray[np.float64]"]


class Content(NamedTuple):
    """What a later frame depends on: states and lines by node and name, tokens by edge; counts of nodes
    and stamps of tokens, where the clock does not say them."""

    nodes: Arrays
    lines: Arrays
    edges: Tokens
    firings: dict[str, Ints]
    stamps: dict[tuple[str, int], Ints]


@dataclass(frozen=True, slots=True)
class Row:
    """Words of the arena: the value that was written at ``k`` lies ``(k & mask) step`` words after
    ``first``, an array (batch, channel). A state has one value, and is what ``kind`` says; what an archetype
    remembers is an array (batch, channel, number)."""

    first: Ints
    step: int = 0
    mask: int = 0
    kind: str = "f64"

    def words(self, begin: int, end: int) -> Ints:
        """Of the values from ``begin`` until ``end``: (batch, channel, value)."""
        slots: Ints = (np.arange(begin, end) & self.mask) * self.step
        return self.first[..., None] + slots


@dataclass(frozen=True, slots=True)
class Line:
    """A delay line: how many values a later frame can read, and the node that writes one a firing."""

    row: Row
    length: int
    node: int


@dataclass(frozen=True)
class Places:
    """Where everything lies that a later frame depends on: states and lines by node and name, tokens
    by consumer and number of the edge."""

    states: dict[tuple[str, str], Row] = field(default_factory=dict)
    lines: dict[tuple[str, str], Line] = field(default_factory=dict)
    edges: dict[tuple[str, int], Row] = field(default_factory=dict)
    stamps: dict[tuple[str, int], Row] = field(default_factory=dict)


class Calls(Protocol):
    """Calls in memory: a `Bound`, or a part of one."""

    calls: list[BoundCall]
    rings: list[BoundRing]
    batch: int


def find_places(bound: Calls, graph: Frozen) -> Places:
    """The places of a program, which stay where they are."""
    places = find_states(bound)
    _find_edges(bound, graph, places)
    return places


def find_states(bound: Calls) -> Places:
    """Those of states and lines alone."""
    places = Places()
    for call in bound.calls:
        width, kernel = call.call.width, call.call.code.kernel
        for i, slot in enumerate(kernel.states):
            if noted(slot.name) is not None:
                continue
            for node, name, lanes, channel in _members(bound, call, slot.name):
                tile, place = np.divmod(lanes, width)
                first = call.state_at // 8 + call.state_starts[i] * width + place
                at = first + tile * call.state_words * width
                kind, count = slot.type, slot.count
                row = places.states.setdefault(
                    (node.name, name), _row(bound, node, kind, count=count)
                )
                row.first[:, channel] = at if count == 1 else at[..., None] + np.arange(count)
        for i, line in enumerate(kernel.lines):
            for node, name, lanes, channel in _members(bound, call, line):
                tile, place = np.divmod(lanes, width)
                at = (call.line_at[i] + tile * call.line_strides[i]) // 8 + place
                row = _row(bound, node, "f64", width, call.line_frames[i] - 1)
                length = call.call.code.line_lengths[i]
                known = Line(row, length, node.index)
                places.lines.setdefault((node.name, name), known).row.first[:, channel] = at
    return places


def find_totals(bound: Calls) -> dict[tuple[str, str], Ints]:
    """Words of the totals of a program, (batch, channel), by node and name."""
    found: dict[tuple[str, str], Ints] = {}
    for call in bound.calls:
        names, width = call.call.code.totals, call.call.width
        for i, total in enumerate(names):
            for node, name, lanes, channel in _members(bound, call, total):
                tile, place = np.divmod(lanes, width)
                words = found.setdefault((node.name, name), _row(bound, node, "f64").first)
                words[:, channel] = call.total_at // 8 + (tile * len(names) + i) * width + place
    return found


def find_guards(bound: Bound) -> tuple[Ints, Ints]:
    """Words of the arena in which lanes note their first unsound firing; the node of each, and which of
    its reads is meant or -1."""
    words, about = [np.zeros(0, np.int64)], [np.zeros((0, 2), np.int64)]
    for call in bound.calls:
        width, states = (
            call.call.width,
            call.call.code.kernel.states,
        )  # one number each, being traced
        for i, slot in enumerate(states):
            if (read := noted(slot.name)) is not None:
                for node, _, lanes, _ in _members(bound, call, slot.name):
                    tile, place = np.divmod(lanes.ravel(), width)
                    words.append(call.state_at // 8 + (tile * len(states) + i) * width + place)
                    about.append(np.tile([node.index, read], (lanes.size, 1)))
    return np.concatenate(words), np.concatenate(about)


def _row(
    bound: Calls, node: Node, kind: str, step: int = 0, mask: int = 0, *, count: int = 1
) -> Row:
    channels = 1 if node.type.channels == "all" else node.channels
    shape = (bound.batch, channels, count) if count > 1 else (bound.batch, channels)
    return Row(np.zeros(shape, np.int64), step, mask, kind)


def _find_edges(bound: Calls, graph: Frozen, places: Places) -> None:
    seat = find_seats(bound)
    of_ring = {
        (node.index, number): bound.rings[ring]
        for call in bound.calls
        for node, number, _, ring in call.call.edges()
    }
    rows: dict[tuple[int, int], Row] = {}  # readers of one ring share it
    for node in graph.nodes:
        for number, edge in enumerate(node.edges):
            ring = of_ring.get((node.index, number))
            if ring is None:
                continue
            key = (id(ring), edge.source)
            if key not in rows:
                rows[key] = row_of(ring, *seat[edge.source], bound.batch)
            places.edges[node.name, number] = rows[key]
            if ring.stamps_at >= 0:
                first = np.array([[ring.stamps_at // 8]])
                places.stamps[node.name, number] = Row(first, 1, ring.mask, "i64")


def find_seats(bound: Calls) -> dict[int, tuple[Group, int]]:
    """Group of each node, and where it stands in what that writes."""
    return {
        node.index: (group, 0 if group.collapsed else slot)
        for call in bound.calls
        for group in call.call.groups
        for slot, node in enumerate(group.members)
    }


def row_of(ring: BoundRing, group: Group, slot: int, batch: int) -> Row:
    """Where in its ring the tokens of one node lie."""
    lanes = _lanes(group, slot, batch)
    at = ring.offsets(np.arange(group.planes)[:, None, None], lanes[None]) // 8
    first = at.transpose(1, 2, 0).reshape(batch, -1)
    return Row(first, ring.slot_stride // 8, ring.mask)


def _members(bound: Calls, call: BoundCall, slot: str) -> Iterator[tuple[Node, str, Ints, Ints]]:
    """Nodes that a slot of a kernel serves: lanes (batch, part) and the channel of each part."""
    number, plane, name = slot.split(".", 2)
    group = call.call.groups[int(number)]
    channel = np.arange(group.parts) * group.planes + int(plane)
    for i, node in enumerate(group.members):
        yield node, name, _lanes(group, i, bound.batch), channel


def _lanes(group: Group, slot: int, batch: int) -> Ints:
    lanes = slot * batch * group.parts + np.arange(batch * group.parts)
    return lanes.reshape(batch, group.parts)


def read_snapshot(bound: Bound, counts: Counts, places: Places) -> Content:
    """Everything that a later frame depends on, once nodes have fired so often."""
    states: Arrays = defaultdict(dict)
    lines: Arrays = defaultdict(dict)
    content = Content(states, lines, {}, counts.firings(), {})
    for into, node, name, memory, words in _walk(bound, counts, places):
        if into in {"nodes", "lines"}:
            getattr(content, into)[node][name] = memory[words]
        else:
            getattr(content, into)[node, name] = memory[words]
    return content._replace(nodes=dict(states), lines=dict(lines))


def write_snapshot(bound: Bound, counts: Counts, places: Places, content: Content) -> None:
    """Undo of `read_snapshot`."""
    for into, node, name, memory, words in _walk(bound, counts, places):
        known = getattr(content, into)
        memory[words] = known[node][name] if into in {"nodes", "lines"} else known[node, name]


def _walk(
    bound: Bound, counts: Counts, places: Places
) -> Iterator[tuple[str, str, Any, NDArray[Any], Ints]]:
    """Everything in its place: what it is, its memory, and the words there."""
    floats = bound.arena.view(0, (bound.arena.size // 8,))
    integers = floats.view(np.int64)
    for (node, name), row in places.states.items():
        yield "nodes", node, name, floats if row.kind == "f64" else integers, row.first
    for (node, name), line in places.lines.items():
        fired = int(counts.rows[line.node, FIRED])
        yield "lines", node, name, floats, line.row.words(fired - line.length, fired)
    written, held = counts.tokens()
    graph = counts.graph
    for into, rows in (("edges", places.edges), ("stamps", places.stamps)):
        for (node, number), row in rows.items():
            at = int(graph.first[graph.numbers[node]]) + number
            if held[at]:
                end = int(written[at])
                words = row.words(end - int(held[at]), end)
                yield into, node, number, floats if into == "edges" else integers, words
