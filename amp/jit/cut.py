"""Cutting: a kernel whose states no registers hold is cut into several, which pass a stream in memory.

To write a state to memory and read it again costs more, in every frame, than to pass a token. The
adjoints of a cascade remember much: a sum for every coefficient.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from amp.jit.engine import registers
from amp.jit.group import Cluster, dataflow_order
from amp.jit.lowered import tile_width
from amp.jit.trace import trace_alone

if TYPE_CHECKING:
    from collections.abc import Callable

    from amp.jit.cluster import Clustering
    from amp.jit.group import Group, Item


def cut_clusters(clustering: Clustering, items: list[Item], batch: int) -> list[Item]:
    """The same items, with clusters cut so that their states fit into registers."""
    states: dict[int, int] = {}  # by signature

    def size(group: Group) -> int:
        if group.wide or group.prebuilt:
            return 0
        if group.signature not in states:
            widths = [clustering.nodes[edge.source].channels for edge in group.first.edges]
            trace = trace_alone(group, clustering.sample_rate, widths)
            states[group.signature] = len(trace.states)
        return states[group.signature] * group.planes

    out: list[Item] = []
    for item in items:
        if isinstance(item, Cluster) and not item.head.skewed:
            width = tile_width(batch * item.head.lanes, item.head.width)
            room = registers(width) * 3 // 4
            out += clustering.split(item, _pieces(clustering, item.groups, room, size))
        else:
            out.append(item)
    return out


def _pieces(
    clustering: Clustering, groups: list[Group], room: int, size: Callable[[Group], int]
) -> list[list[Group]]:
    """``groups`` as pieces, each of which reads earlier ones alone."""
    own = {group.number for group in groups}
    for group in groups:
        for read in group.reads:
            if not read.plain and own & set(clustering.group_of[read.source].tolist()):
                return [groups]  # tokens go round inside: frame by frame it is
    pieces: list[list[Group]] = []
    left = 0
    for i in dataflow_order(groups, clustering.group_of):
        left -= size(groups[i])
        if not pieces or left < 0:
            pieces.append([])
            left = room - size(groups[i])
        pieces[-1].append(groups[i])
    return pieces
