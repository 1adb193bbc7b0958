"""A graph and its adjoint as one graph."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from amp.frozen import Edge, Frozen, Node
from amp.jit.adjoint_edges import Gathered, Untake
from amp.jit.adjoint_parts import Adding, Given
from amp.schedule import Paces

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from amp.contract import NodeType
    from amp.jit.adjoint_blocks import Blocks

    Ints = NDArray[np.int64]


@dataclass
class Backward:
    """A graph and its adjoint as one.

    Attributes
    ----------
    graph, pace
        The recording twin's nodes, numbered as the graph's, and then the adjoints.
    twins, adjoint
        Those of the twin that an adjoint needs something of, and the adjoints, by index.
    inputs, outputs
        Adjoint of each input and output of the graph, by name.
    adjoints
        By node those that have the cotangents of its states, each the whole of them; the first one has
        those of its params too.
    arrivals
        Where the cotangent of an edge's tokens lies, by its consumer and number there: the adjoint, its
        outlet.
    starts
        By node the states that start with a param.
    blocks
        Which nodes are calls of blocks; it has the states that those put down.
    warmings
        By node and outlet, what gives the cotangents of streams that heat nodes.
    """

    graph: Frozen
    pace: JointPaces
    twins: Ints
    adjoint: Ints
    inputs: dict[str, Node]
    outputs: dict[str, Node]
    adjoints: dict[int, list[Node]]
    arrivals: dict[tuple[int, int], tuple[Node, int]]
    starts: dict[int, dict[str, list[str]]]
    blocks: Blocks
    warmings: dict[tuple[int, int], Node]


class JointPaces(Paces):
    """The paces of a graph and its adjoint; an edge that was turned round is as the graph says."""

    def __init__(self, graph: Frozen, rows: Ints, paces: Paces, numbers: Ints) -> None:
        super().__init__(graph, *rows)
        self._paces, self.numbers = paces, numbers

    def _with(self, own: Ints, theirs: Ints) -> Ints:
        known = self.numbers >= 0
        own[known] = theirs[self.numbers[known]]
        return own

    def cover(self) -> Ints:
        """See `Paces.cover`."""
        return self._with(np.zeros(len(self.numbers), np.int64), self._paces.cover())

    def held(self, block: int) -> Ints:
        """See `Paces.held`; another edge holds what a block's firings write."""
        n = self._graph.source
        most = -(-block * self.firings[n] // self.frames[n]) + 1
        return self._with(most * self._graph.produced, self._paces.held(block))


@dataclass
class Turned:
    """A graph that was turned round, in pieces.

    Attributes
    ----------
    graph, pace
        The graph.
    twins
        Its nodes, some as twins that write something down.
    blocks
        Which of them are calls of blocks.
    own
        Adjoints of a node.
    order
        Adjoints and all between them, each behind what it reads.
    arrivals
        Where the cotangent of an edge's tokens lies, by its consumer and number there.
    starts
        By node the states that start with a param.
    warmings
        By node and outlet, what gives the cotangents of streams that heat nodes.
    """

    graph: Frozen
    pace: Paces
    twins: list[Node]
    blocks: Blocks
    own: dict[int, list[Adding]] = field(default_factory=dict)
    order: list[Adding] = field(default_factory=list)
    arrivals: dict[tuple[int, int], Given] = field(default_factory=dict)
    starts: dict[int, dict[str, list[str]]] = field(default_factory=dict)
    warmings: dict[tuple[int, int], Adding] = field(default_factory=dict)
    _signatures: dict[tuple[Any, ...], int] = field(default_factory=dict)

    def signature(self, code: tuple[Any, ...]) -> int:
        """A number that equal codes share, and no node of the graph has."""
        return len(self.graph.nodes) + self._signatures.setdefault(code, len(self._signatures))

    def write_down(self, node: Node, kind: NodeType, code: tuple[Any, ...]) -> None:
        """Have a node's twin be of another type."""
        signature = self.signature((node.signature, *code))
        self.twins[node.index] = replace(node, type=kind, signature=signature)

    def join(self) -> Backward:
        """All of it as one graph."""
        count = len(self.graph.nodes)
        self.order.reverse()  # equal nodes stand in the order of those that they are of
        for index, adding in enumerate(self.order, count):
            adding.index = index
        mark = "* "
        while any(mark in node.name for node in self.graph.nodes):  # no name is given twice
            mark = f"*{mark}"
        nodes = [
            *self.twins,
            *(
                self._node(adding, f"{adding.like.name}{mark}{adding.index}")
                for adding in self.order
            ),
        ]
        joint = Frozen(
            self.graph.sample_rate, self.graph.batch, nodes, [], {}, self.graph.fingerprint
        )
        rows = np.stack([self.pace.firings, self.pace.frames, self.pace.offset])
        like = [adding.like.index for adding in self.order]
        numbers = [
            *range(len(self.graph.source)),
            *(number for adding in self.order for number in adding.numbers),
        ]
        pace = JointPaces(
            joint,
            np.concatenate([rows, rows[:, like]], axis=1),
            self.pace,
            np.array(numbers, np.int64),
        )
        made = {id(adding): nodes[adding.index] for adding in self.order}
        border: dict[str, dict[str, Node]] = {"input": {}, "output": {}}
        adjoints: dict[int, list[Node]] = {}
        for index, mine in self.own.items():
            node = self.graph.nodes[index]
            if not mine or id(mine[0]) not in made:
                continue
            if node.type.border:
                border[node.type.border][node.name] = made[id(mine[0])]
            elif not isinstance(mine[0].kind, Untake | Gathered):
                adjoints[index] = [made[id(one)] for one in mine if id(one) in made]
        arrivals = {key: (made[id(g.by)], g.outlet) for key, g in self.arrivals.items()}
        twins = _needed(nodes[:count], nodes[count:], self.blocks.logs)
        adjoint = np.arange(count, len(nodes))
        return Backward(
            joint,
            pace,
            twins,
            adjoint,
            border["input"],
            border["output"],
            adjoints,
            arrivals,
            self.starts,
            self.blocks,
            {key: made[id(adding)] for key, adding in self.warmings.items()},
        )

    def _node(self, adding: Adding, name: str) -> Node:
        sources = tuple(self._source(source) for source in adding.sources)
        edges = [
            s
            for source in sources
            for s in (source if isinstance(source, tuple) else (source,))
            if isinstance(s, Edge)
        ]
        signature = self.signature(adding.code)
        return Node(
            adding.index,
            name,
            adding.kind,
            sources,
            tuple(edges),
            adding.channels,
            signature,
            adding.like.created,
        )

    def _source(self, source: Any) -> Any:
        if isinstance(source, tuple):
            return tuple(self._source(one) for one in source)
        if not isinstance(source, Given):
            return source
        shape = (self.graph.batch, source.channels, max(0, -source.tokens))
        initial = np.zeros(shape) if source.tokens < 0 else None
        return Edge(source.by.index, source.outlet, initial=initial, skip=max(0, source.tokens))


def _needed(twins: list[Node], adjoints: list[Node], logged: Iterable[int]) -> Ints:
    """Twins that an adjoint needs, and what they read."""
    found: set[int] = set()
    pending = [*logged, *(edge.source for node in adjoints for edge in node.edges)]
    while pending:
        index = pending.pop()
        if index < len(twins) and index not in found:
            found.add(index)
            pending += [edge.source for edge in twins[index].edges]
    return np.array(sorted(found), np.int64)
