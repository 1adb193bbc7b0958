"""What the adjoint of a graph is made from: traces of its nodes, and adjoints in the making."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from amp.errors import NotDifferentiable
from amp.jit.adjoint_plan import plan_adjoint
from amp.jit.adjoint_trace import Pattern, Traced

if TYPE_CHECKING:
    from collections.abc import Container

    from amp.contract import NodeType
    from amp.frozen import Edge, Frozen, Node
    from amp.schedule import Paces

SHOWN = 8
"""Most nodes of a path that an error names."""


@dataclass(frozen=True)
class Given:
    """Where a cotangent lies: an outlet of ``channels`` of an adjoint. Its token k is that of token k of
    an edge of the graph, of which ``tokens`` were there at first, and which ``number`` says how far its
    ends are apart."""

    by: Adding
    outlet: int
    channels: int
    tokens: int
    number: int


@dataclass(eq=False)
class Adding:
    """An adjoint in the making, in place of ``like``."""

    kind: NodeType
    like: Node
    channels: int
    code: tuple[Any, ...]
    sources: list[Any] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)  # edges of the graph that its edges turn round
    index: int = -1


class Slopes:
    """Which nodes of a graph move with which of their edges; calls of ``blocks`` do with all."""

    def __init__(self, graph: Frozen, pace: Paces, blocks: Container[Node]) -> None:
        self.graph, self.pace, self._blocks = graph, pace, blocks
        self._asked: dict[int, int] = {}  # by node the one that asks for its cotangent
        self._traces: dict[tuple[Any, ...], Traced] = {}
        self._moving: dict[tuple[Any, ...], set[int]] = {}
        self._in_step = pace.in_step()

    def heard(self, more: set[int]) -> set[int]:
        """Nodes that some output moves with, or ``more`` nodes."""
        nodes = self.graph.nodes
        found = {node.index for node in nodes if node.type.border == "output"} | more
        pending = list(found)
        while pending:
            node = nodes[pending.pop()]
            for _, edge in self.moved(node):
                if edge.source not in found:
                    found.add(edge.source)
                    pending.append(edge.source)
                    self._asked[edge.source] = node.index
        return found

    def with_path(self, error: NotDifferentiable) -> NotDifferentiable:
        """An error of a node, with the path from there to the output that asks."""
        at = next((n.index for n in self.graph.nodes if str(n) == error.where), -1)
        path = [at]
        while path[-1] in self._asked:
            path.append(self._asked[path[-1]])
        if len(path) == 1:
            return error
        names = [repr(self.graph.nodes[index].name) for index in path]
        if len(names) > SHOWN:
            names[SHOWN - 2 : -1] = ["..."]
        where = f"{error.where}, on the path {' > '.join(names)}"
        return NotDifferentiable(error.rule, got=error.got, where=where, fix=error.fix)

    def moved(self, node: Node) -> list[tuple[int, Edge]]:
        """Edges of a node that it has a slope in."""
        edges = [*enumerate(node.edges)]
        if not edges or node.type.border or node.type.is_sum or node.type.router:
            return edges
        if node in self._blocks or self.graph.takes(node):
            return edges
        key, traced = self.traced(node)
        if key not in self._moving:
            pattern = Pattern((*range(len(edges)),), (), (1,) * len(traced.outlets))
            self._moving[key] = set(plan_adjoint(traced, pattern).moved)
        return [(at, edge) for at, edge in edges if at in self._moving[key]]

    def traced(self, node: Node) -> tuple[tuple[Any, ...], Traced]:
        """The trace of a node, and what equal ones have in common."""
        widths, pace = self.widths(node), self.pace[node.index]
        exact = node.type.channels == "all" or self.graph.takes(node)
        key = (node.signature, pace[:2], tuple(widths) if exact else ())
        if key not in self._traces:
            rate = self.graph.sample_rate * pace.firings / pace.frames
            self._traces[key] = Traced.of(node, widths, rate)
        return key, self._traces[key]

    def number(self, node: Node, at: int) -> int:
        """Number of an edge in the graph."""
        return int(self.graph.first[node.index]) + at

    def widths(self, node: Node) -> list[int]:
        """Channels of each of its edges."""
        return [self.graph.nodes[edge.source].channels for edge in node.edges]

    def is_plain(self, node: Node, at: int) -> bool:
        """Every firing of ``node`` reads at an edge what the same firing of its source has written."""
        return bool(self._in_step[self.number(node, at)])
