"""What a program's rings hold, edge by edge."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from amp.graph import Frozen
    from amp.jit.bind import Bound
    from amp.schedule import Paces


def ring_uses(
    bound: Bound, graph: Frozen, pace: Paces, clock: int
) -> Iterator[tuple[str, str, int, int, int]]:
    """Of every edge in memory: producer, consumer, and its ring's number, capacity and tokens."""
    for call in bound.calls:
        for node, at, edge, ring in call.call.edges():
            _, held = pace.tokens(int(graph.first[node.index]) + at, clock)
            frames = bound.rings[ring].frames
            yield graph.nodes[edge.source].name, node.name, ring, frames, held
