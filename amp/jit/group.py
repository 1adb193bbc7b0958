"""Groups: members of a cohort that share their code, what they read, and the kernels they form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from amp.graph import Edge

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from amp.contract import NodeType
    from amp.graph import Node

    Ints = NDArray[np.int64]

WIDE = 8
"""A sum of more terms than this is a loop over lanes, not straight-line code."""


@dataclass(eq=False, slots=True)
class Read:
    """The edges of one inlet of a group, by slot."""

    inlet: int
    edges: list[Edge]
    source: Ints
    outlet: Ints
    tokens: Ints
    in_flight: Ints
    plain: bool  # no edge is delayed or holds tokens, and both ends fire together

    def reorder(self, order: Ints) -> None:
        """Slot i becomes what slot ``order[i]`` was."""
        self.edges = [self.edges[i] for i in order]
        self.source, self.outlet = self.source[order], self.outlet[order]
        self.tokens, self.in_flight = self.tokens[order], self.in_flight[order]


@dataclass(eq=False, slots=True)
class Group:
    """Members of one cohort with one code.

    A lane is (slot, batch, part); each lane holds ``planes`` channels. Element-wise nodes put
    channels into parts, or into planes when they join a cluster without parts. The slots of a wide
    sum are its terms; the slots of a skewed chain are its nodes, in order.
    """

    members: list[Node]
    signature: int
    start: int
    width: int
    reads: list[Read]
    wide: bool
    parts: int
    number: int
    archetype: str = ""
    skewed: bool = False

    @property
    def first(self) -> Node:
        """A member to ask for what all have in common."""
        return self.members[0]

    @property
    def slots(self) -> int:
        """Number of members, or of terms."""
        return len(self.reads[0].edges) if self.wide else len(self.members)

    @property
    def collapsed(self) -> bool:
        """Its outlet is that of one node, whatever its slots are."""
        return self.wide or self.skewed

    @property
    def planes(self) -> int:
        """Channels of each lane."""
        return self.first.channels // self.parts

    def __str__(self) -> str:
        kind = self.first.kind
        return f"{kind} x{len(self.members)}" if len(self.members) > 1 else repr(self.first.name)


@dataclass(eq=False, slots=True)
class Cluster:
    """Groups that run as one kernel; ``before`` is the bit set of the items that run earlier."""

    index: int
    level: int  # number of the list of items that it is in
    groups: list[Group]
    before: int = 0
    pinned: bool = False  # a sum depends on the order of the slots

    @property
    def head(self) -> Group:
        """The group that sets the cluster's lanes."""
        return next((group for group in self.groups if group.skewed), self.groups[0])


@dataclass(eq=False, slots=True)
class NarrowLoop:
    """Items that are repeated in blocks of ``block`` frames."""

    index: int
    level: int
    block: int
    items: list[Item]
    before: int = 0

    @property
    def groups(self) -> list[Group]:
        """Every group inside."""
        return [group for item in self.items for group in item.groups]


Item = Cluster | NarrowLoop


class Grouping:
    """Puts the members of a cohort into groups.

    Parameters
    ----------
    start
        The clock of each node's first firing.
    archetype
        Name of the prebuilt kernel to use for a node type's instance, or nothing.
    """

    def __init__(self, start: Ints, archetype: Callable[[NodeType], str]) -> None:
        self.start, self._archetype = start, archetype

    def split(self, members: list[Node], width: int) -> Iterator[Group]:
        """Groups of members that share their code and their start."""
        found: dict[tuple[int, int], list[Node]] = {}
        start = self.start.tolist() if len(members) > 1 else self.start
        for node in members:
            found.setdefault((node.signature, start[node.index]), []).append(node)
        for (signature, _), alike in found.items():
            first = alike[0]
            wide = first.type.is_sum and len(first.sources[0]) > WIDE  # type: ignore[arg-type]
            for some in [[node] for node in alike] if wide else [alike]:
                yield Group(
                    some,
                    signature,
                    int(self.start[first.index]),
                    width,
                    self._reads(some, wide),
                    wide,
                    first.channels if first.type.channels == "each" else 1,
                    -1,
                    self._archetype(first.type),
                )

    def _reads(self, members: list[Node], wide: bool) -> list[Read]:
        reads = []
        for i, source in enumerate(members[0].sources):
            if type(source) is Edge:
                alike: list[Any] = [node.sources[i] for node in members]
                reads.append(self._read(i, alike, members))
            elif type(source) is tuple and wide:
                reads.append(self._read(i, list(source), members))
            elif type(source) is tuple:
                for term in range(len(source)):
                    terms: list[Any] = [node.sources[i] for node in members]
                    reads.append(self._read(i, [edges[term] for edges in terms], members))
        return reads

    def _read(self, inlet: int, edges: list[Edge], members: list[Node]) -> Read:
        source = np.array([e.source for e in edges], np.int64)
        outlet = np.array([e.outlet for e in edges], np.int64)
        tokens = np.array([e.tokens for e in edges], np.int64)
        in_flight = tokens + self.start[members[0].index] - self.start[source]
        plain = not (in_flight.any() or tokens.any() or any(e.delay for e in edges))
        return Read(inlet, edges, source, outlet, tokens, in_flight, plain)
