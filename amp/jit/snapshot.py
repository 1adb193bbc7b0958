"""Snapshots: states, delay lines and tokens in flight in a form that no schedule shows in."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from amp.graph import Frozen, Node
    from amp.jit.bind import Bound, BoundCall
    from amp.jit.group import Group
    from amp.schedule import Paces

    Ints = NDArray[np.int64]

Arrays = dict[str, dict[str, "NDArray[Any]"]]
Tokens = dict[tuple[str, int], "NDArray[np.float64]"]


def read_snapshot(
    bound: Bound, graph: Frozen, pace: Paces, clock: int
) -> tuple[Arrays, Arrays, Tokens]:
    """States and lines by node and name, and tokens by edge, once ``clock`` frames have run."""
    states: Arrays = defaultdict(dict)
    lines: Arrays = defaultdict(dict)
    for call in bound.calls:
        for node, name, memory, at, channel in _states(bound, call):
            whole = _whole(states[node.name], node, name, (bound.batch,), memory.dtype)
            whole[:, channel] = memory[at]
        for node, name, number, lanes, channel in _lines(bound, call):
            slots = _slots(call, number, clock)
            shape = (bound.batch, len(slots))
            whole = _whole(lines[node.name], node, name, shape, np.float64)
            tile, place = np.divmod(lanes, call.call.width)
            whole[:, channel] = call.line(number)[tile[..., None], slots, place[..., None]]
    tokens = {
        key: memory[where].transpose(1, 2, 0, 3).reshape(bound.batch, -1, where.shape[-1])
        for key, memory, where in _tokens(bound, graph, pace, clock)
    }
    return dict(states), dict(lines), tokens


def write_snapshot(
    bound: Bound,
    graph: Frozen,
    pace: Paces,
    clock: int,
    content: tuple[Arrays, Arrays, Tokens],
) -> None:
    """Undo of `read_snapshot`."""
    states, lines, tokens = content
    for call in bound.calls:
        for node, name, memory, at, channel in _states(bound, call):
            memory[at] = states[node.name][name][:, channel]
        for node, name, number, lanes, channel in _lines(bound, call):
            slots = _slots(call, number, clock)
            tile, place = np.divmod(lanes, call.call.width)
            memory = call.line(number)
            memory[tile[..., None], slots, place[..., None]] = lines[node.name][name][:, channel]
    for key, memory, where in _tokens(bound, graph, pace, clock):
        planes, batch, parts, count = where.shape
        memory[where] = tokens[key].reshape(batch, parts, planes, count).transpose(2, 0, 1, 3)


def _states(
    bound: Bound, call: BoundCall
) -> Iterator[tuple[Node, str, NDArray[Any], tuple[Ints, ...], Ints]]:
    """Each node's state in ``call``: its memory, the index of its lanes, and their channels."""
    memory = call.states()
    for i, slot in enumerate(call.call.code.kernel.states):
        view = memory[:, i].view(np.float64 if slot.type == "f64" else np.int64)
        for node, name, lanes, channel in _members(bound, call, slot.name):
            yield node, name, view, np.divmod(lanes, call.call.width), channel


def _lines(bound: Bound, call: BoundCall) -> Iterator[tuple[Node, str, int, Ints, Ints]]:
    for i, line in enumerate(call.call.code.kernel.lines):
        for node, name, lanes, channel in _members(bound, call, line):
            yield node, name, i, lanes, channel


def _members(bound: Bound, call: BoundCall, slot: str) -> Iterator[tuple[Node, str, Ints, Ints]]:
    """Nodes that a slot of a kernel serves: lanes (batch, part) and the channel of each part."""
    number, plane, name = slot.split(".", 2)
    group = call.call.groups[int(number)]
    channel = np.arange(group.parts) * group.planes + int(plane)
    for i, node in enumerate(group.members):
        yield node, name, _lanes(group, i, bound.batch), channel


def _lanes(group: Group, slot: int, batch: int) -> Ints:
    lanes = slot * batch * group.parts + np.arange(batch * group.parts)
    return lanes.reshape(batch, group.parts)


def _whole(
    known: dict[str, NDArray[Any]], node: Node, name: str, shape: tuple[int, ...], dtype: Any
) -> NDArray[Any]:
    """Array (batch, channel, ...) of a node's state, made when first asked for."""
    channels = 1 if node.type.channels == "all" else node.channels
    return known.setdefault(name, np.zeros((shape[0], channels, *shape[1:]), dtype))


def _slots(call: BoundCall, number: int, clock: int) -> Ints:
    """Slots of a delay line that a later frame can read, oldest first."""
    fired = call.call.pace.fired(clock)
    length = call.call.code.line_lengths[number]
    return np.arange(fired - length, fired) & (call.line_frames[number] - 1)


def _tokens(
    bound: Bound, graph: Frozen, pace: Paces, clock: int
) -> Iterator[tuple[tuple[str, int], NDArray[np.float64], Ints]]:
    """Each edge with tokens in flight: its key, the arena, and where (plane, batch, part, count)."""
    memory = bound.arena.view(0, (bound.arena.size // 8,))
    seat = {
        node.index: (group, 0 if group.collapsed else slot)
        for call in bound.calls
        for group in call.call.groups
        for slot, node in enumerate(group.members)
    }
    ring_of = {
        (node.index, number): ring
        for call in bound.calls
        for node, number, _, ring in call.call.edges()
    }
    for node in graph.nodes:
        for number, edge in enumerate(node.edges):
            written, count = pace.tokens(int(graph.first[node.index]) + number, clock)
            if not count:
                continue
            group, slot = seat[edge.source]
            ring = bound.rings[ring_of[node.index, number]]
            lanes = _lanes(group, slot, bound.batch)
            at = ring.offsets(np.arange(group.planes)[:, None, None], lanes[None]) // 8
            slots = np.arange(written - count, written) & (ring.ring.frames - 1)
            yield (node.name, number), memory, at[..., None] + slots * (ring.slot_stride // 8)
