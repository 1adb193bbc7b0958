"""Streams that adjoints read and that are computed again beside them, from what is written down anyway.

A twin that runs again would have to write every such stream to memory. In a kernel with the adjoints, what
its states say is enough.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from amp.frozen import Edge
from amp.jit.adjoint_nodes import can_replay, instance, make_replay
from amp.jit.adjoint_parts import Adding, Given

if TYPE_CHECKING:
    from collections.abc import Collection

    from amp.frozen import Node
    from amp.jit.adjoint_parts import Slopes
    from amp.jit.adjoint_plan import Plan
    from amp.jit.adjoint_trace import Pattern, Traced


class Opened(NamedTuple):
    """A node whose adjoint is known: what equal ones have in common, and the node types that were made for
    them."""

    key: tuple[Any, ...]
    traced: Traced
    pattern: Pattern
    plan: Plan
    kinds: dict[Any, Any]


class Replays:
    """What computes streams again; ``made`` has it by node."""

    def __init__(self, slopes: Slopes) -> None:
        self._slopes = slopes
        self.made: dict[int, Adding] = {}

    def find(self, nodes: list[Node], opened: dict[int, Opened]) -> list[Adding]:
        """Make it for ``nodes``, the last one first; it needs nothing that adjoints do not read."""
        fit: set[int] = set()
        for node in nodes:
            if node.index in opened and self._fits(node, opened[node.index], fit):
                fit.add(node.index)
        wanted = [
            node.edges[at].source
            for node in nodes
            if node.index in opened
            for at in opened[node.index].plan.reads
            if self._same(node, at, fit)
        ]
        graph = self._slopes.graph
        while wanted:
            index = wanted.pop()
            if index not in self.made:
                node = graph.nodes[index]
                self.made[index] = self._make(node, opened[index])
                edges = enumerate(node.edges)
                wanted += [edge.source for at, edge in edges if self._same(node, at, fit)]
        found = [node for node in reversed(nodes) if node.index in self.made]
        for node in found:
            self._connect(node, self.made[node.index])
        return [self.made[node.index] for node in found]

    def read(self, adding: Adding, node: Node, at: int) -> None:
        """Have ``adding`` read what ``node`` does at an edge."""
        edge = node.edges[at]
        if self._same(node, at, self.made):
            by = self.made[edge.source]
            adding.sources.append(Given(by, edge.outlet, by.channels, 0, -1))
            adding.numbers.append(-1)
        else:
            adding.sources.append(edge)
            adding.numbers.append(self._slopes.number(node, at))

    def _fits(self, node: Node, opened: Opened, fit: Collection[int]) -> bool:
        """All that a node reads is there for its adjoint, or is an input."""
        nodes = self._slopes.graph.nodes
        return can_replay(opened.traced) and all(
            at in opened.plan.reads
            or self._same(node, at, fit)
            or nodes[edge.source].type.border == "input"
            for at, edge in enumerate(node.edges)
        )

    def _same(self, node: Node, at: int, some: Collection[int]) -> bool:
        """An edge comes from one of ``some`` nodes, and from the firing of the same number."""
        return node.edges[at].source in some and self._slopes.is_plain(node, at)

    def _make(self, node: Node, opened: Opened) -> Adding:
        kinds = opened.kinds
        if "replay" not in kinds:
            kinds["replay"] = make_replay(opened.traced, opened.plan)
        code = (opened.key, "replay", node.channels)
        return Adding(instance(kinds["replay"], node.type), node, node.channels, code)

    def _connect(self, node: Node, adding: Adding) -> None:
        adding.sources += [s for s in node.sources if not isinstance(s, tuple | Edge)]
        for at in range(len(node.edges)):
            self.read(adding, node, at)
        for at in range(len(type(adding.kind).inlets) - len(adding.sources)):
            adding.sources.append(Edge(node.index, len(type(node.type).outlets) + at))
            adding.numbers.append(-1)
