"""Groups: members of a cohort that share their code, what they read, and the kernels they form."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from amp.thermal import DISSIPATED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from amp.contract import NodeType, Take
    from amp.cycles import Cycle
    from amp.graph import Edge, Frozen, Node
    from amp.schedule import Pace, Paces

    Ints = NDArray[np.int64]

WIDE = 8
"""A sum of more terms than this is a loop over lanes, not straight-line code."""


@dataclass(eq=False, slots=True)
class Read:
    """The edges of one inlet of a group, by slot."""

    edges: list[Edge]
    source: Ints
    outlet: Ints
    tokens: Ints
    cover: Ints  # frames for which the tokens in flight last
    held: Ints  # most tokens
    rate: int  # tokens that ``forward`` gets
    step: int  # tokens that a firing takes, or 0
    cycle: Cycle | None  # if that is 0, those that each firing takes
    even: bool  # both ends move the same number in each firing
    history: int  # tokens that are read again
    plain: bool  # no edge is delayed or holds tokens, and both ends fire together
    rings: Ints | None = None  # in which ring each edge lies, if it lies in memory

    def reorder(self, order: Ints) -> None:
        """Slot i becomes what slot ``order[i]`` was."""
        self.edges = [self.edges[i] for i in order]
        self.source, self.outlet = self.source[order], self.outlet[order]
        self.tokens, self.held = self.tokens[order], self.held[order]
        self.cover = self.cover[order]

    @property
    def moves(self) -> tuple[int, Cycle | None]:
        """How far each firing moves on."""
        return self.step, self.cycle

    @property
    def back(self) -> int:
        """How far the last token of firing k is before token ``k step``, or before the end of what
        the first k + 1 firings take."""
        return 1 - self.step


@dataclass(eq=False, slots=True)
class Group:
    """Members of one cohort with one code.

    A lane is (slot, batch, part), and what the part is spread over; each lane holds ``planes``
    channels. Element-wise nodes put channels into parts, or into planes when they join a cluster
    without parts. The slots of a wide sum are its terms; the slots of a skewed chain are its nodes,
    in order.
    """

    members: list[Node]
    signature: int
    pace: Pace
    width: int
    reads: list[Read]
    wide: bool
    parts: int
    number: int
    controls: list[Read] = field(default_factory=list)  # waited for, and not read
    takes: list[Take] = field(default_factory=list)
    archetype: str = ""
    skewed: bool = False
    across: bool = False  # its kernel works across time
    measured: tuple[int, ...] = ()  # outlets whose squares are added up

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
    def prebuilt(self) -> str:
        """Name of the prebuilt kernel or process that it is; it works on whole tables."""
        return self.archetype or self.first.type.router

    @property
    def spread(self) -> int:
        """Lanes that compute one channel."""
        return self.first.type.spread

    @property
    def lanes(self) -> int:
        """Lanes of one batch."""
        return self.slots * self.parts * self.spread

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
    def kernels(self) -> int:
        """Kernels that it is."""
        return 1

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
    def kernels(self) -> int:
        """Kernels inside."""
        return sum(item.kernels for item in self.items)

    @property
    def groups(self) -> list[Group]:
        """Every group inside."""
        return [group for item in self.items for group in item.groups]


Item = Cluster | NarrowLoop


class Grouping:
    """Puts the members of a cohort into groups.

    Parameters
    ----------
    graph, pace
        The graph, and when its nodes fire.
    frames
        Most frames of one call.
    archetype
        Name of the prebuilt kernel to use for a node type's instance, or nothing.
    guarded
        Whether all values are looked at, see `amp.jit.guard`.
    measure
        Whether the squares of streams that someone reads are added up.
    """

    def __init__(
        self,
        graph: Frozen,
        pace: Paces,
        frames: int,
        archetype: Callable[[NodeType], str],
        *,
        guarded: bool,
        measure: bool,
    ) -> None:
        self._graph, self._pace, self._archetype = graph, pace, archetype
        self._seen = self._must_be_seen() if guarded else set()
        ends = ((edge.source, edge.outlet) for node in graph.nodes for edge in node.edges)
        self._measures, self._measured = measure, {*ends} if measure else set()
        self._classes = pace.classes()
        self._first = graph.first
        self._cover, self._held = pace.cover(), pace.held(frames)
        self._in_step = pace.in_step()

    def split(self, members: list[Node], width: int) -> Iterator[Group]:
        """Groups of members that share their code, their start, and what they take."""
        found: dict[tuple[object, ...], list[Node]] = {}
        for node in members:
            key: tuple[object, ...]
            key = (node.signature, self._classes[node.index], len(node.controls))
            if self._graph.multirate:
                key = (*key, *(edge.counts for edge in node.edges))
            found.setdefault(key, []).append(node)
        for alike in found.values():
            first = alike[0]
            signature, pace = first.signature, self._pace[first.index]
            wide = first.type.is_sum and len(first.edges) > WIDE
            wide &= first.index not in self._seen
            wide &= len({edge.counts for edge in first.edges}) == 1
            for some in [[node] for node in alike] if wide else [alike]:
                yield Group(
                    some,
                    signature,
                    pace,
                    width,
                    self._reads(some, wide),
                    wide,
                    first.channels if first.type.channels == "each" else 1,
                    -1,
                    self._controls(some),
                    self._graph.takes(first),
                    self._archetype(first.type),
                    measured=self._outlets(some),
                )

    def _must_be_seen(self) -> set[int]:
        """Nodes that some reader does not read token by token, as a value of its own: no reader can
        look at their values in their place."""
        graph = self._graph
        plain = np.array(
            [not (n.type.is_sum or n.type.router or graph.takes(n)) for n in graph.nodes]
        )
        moved = np.stack([graph.consumed, graph.produced, graph.takings, graph.writings])
        simple = plain[graph.consumer] & (moved == 1).all(axis=0) & (graph.history == 0)
        simple[[*graph.cycles]] = False
        found: set[int] = {*graph.source[~simple].tolist()}
        return found

    def _outlets(self, members: list[Node]) -> tuple[int, ...]:
        """Outlets of theirs that are measured."""
        kind = type(members[0].type)
        own = (DISSIPATED,) if kind.dissipates and self._measures else ()
        return own + tuple(
            outlet
            for outlet in range(len(kind.outlets))
            if any((node.index, outlet) in self._measured for node in members)
        )

    def _reads(self, members: list[Node], wide: bool) -> list[Read]:
        first = members[0]
        if wide:
            numbers = self._first[first.index] + np.arange(len(first.edges))
            return [self._read(list(first.edges), numbers)]
        starts = self._first[[node.index for node in members]]
        return [
            self._read([node.edges[number] for node in members], starts + number)
            for number in range(len(first.edges))
        ]

    def _controls(self, members: list[Node]) -> list[Read]:
        first = members[0]
        starts = self._first[[node.index for node in members]] + len(first.edges)
        return [
            self._read([node.controls[number] for node in members], starts + number)
            for number in range(len(first.controls))
        ]

    def _read(self, edges: list[Edge], numbers: Ints) -> Read:
        graph, number = self._graph, int(numbers[0])
        rate, step, cycle = int(graph.seen[number]), int(graph.consumed[number]), None
        if number in graph.cycles and (graph.takings[number] > 1 or rate not in {1, step}):
            step, cycle = 0, graph.cycles[number][1]
        return Read(
            edges,
            np.array([e.source for e in edges], np.int64),
            np.array([e.outlet for e in edges], np.int64),
            np.array([e.tokens for e in edges], np.int64),
            self._cover[numbers],
            self._held[numbers],
            rate,
            step,
            cycle,
            not any(n in graph.cycles for n in numbers.tolist()),
            int(graph.history[number]),
            bool(self._in_step[numbers].all()),
        )


def dataflow_order(groups: list[Group], group_of: Ints) -> list[int]:
    """Order in which every value comes before its users in registers."""
    number_of = {group.number: i for i, group in enumerate(groups)}
    done: set[int] = set()
    order: list[int] = []

    def sources(i: int) -> list[int]:
        return [
            number_of[int(group_of[read.source[0]])]
            for read in groups[i].reads
            if read.plain and int(group_of[read.source[0]]) in number_of
        ]

    for first in range(len(groups)):
        stack = [first]
        while stack:
            i = stack[-1]
            waiting = [s for s in sources(i) if s not in done and s != i]
            if i in done:
                stack.pop()
            elif waiting:
                stack += waiting
            else:
                done.add(i)
                order.append(stack.pop())
    return order
