"""Grouping and fusion: which nodes become one kernel.

A *group* is the members of a cohort that share their code. A *cluster* is one or more groups whose
members match one to one: it becomes one kernel that keeps what flows between its groups in
registers. Fusion is allowed where no one can observe it: the edge has no delay and no tokens, and
nothing else has to run in between. A feedback loop that fits into one kernel needs no narrow blocks:
the kernel works frame by frame anyway.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from amp.jit.group import Cluster, Group, Grouping, NarrowLoop
from amp.schedule.ipls import Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray

    from amp.contract import NodeType
    from amp.graph import Frozen
    from amp.jit.group import Item, Read
    from amp.schedule import Paces
    from amp.schedule.ipls import Loop

    Ints = NDArray[np.int64]

MAX_GROUPS = 64
"""Most groups in one cluster: bounds the compile time of a kernel."""
MAX_PLANES = 8
"""Most channels of an element-wise node that are computed side by side in one lane."""
KPN_WIDTH = 8
"""Lanes of a process at a time."""


class Clustering:
    """Builds clusters; ``notes`` says why neighbours were not fused.

    Parameters
    ----------
    graph, pace, frames
        The graph, when its nodes fire, and the most frames of one call.
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
        guarded: bool = False,
        measure: bool = False,
    ) -> None:
        self.nodes, self.sample_rate = graph.nodes, graph.sample_rate
        self.dynamic = graph.dynamic
        self._grouping = Grouping(graph, pace, frames, archetype, guarded=guarded, measure=measure)
        self.notes: list[str] = []
        self.group_of = np.full(len(self.nodes), -1, np.int64)
        self.slot_of = np.zeros(len(self.nodes), np.int64)
        self.groups: list[Group] = []
        self._item_of: list[Item] = []  # by group number
        self._items = 0
        self._levels = 0
        self._level = 0
        self.fuses = True  # nodes may share a kernel

    def run(self, stages: Iterable[Stage | Loop], names: dict[str, int], block: int) -> list[Item]:
        """Items of the stages of one block, in a legal order."""
        out: list[Item] = []
        outer, self._levels = self._level, self._levels + 1
        level = self._level = self._levels
        for stage in stages:
            if isinstance(stage, Stage):
                for cohort in stage.cohorts:
                    members = [self.nodes[names[name]] for name in cohort.members]
                    for group in self._grouping.split(members, cohort.width):
                        self._place(group, out, block)
            else:
                inner = self.run(stage.stages, names, stage.block)
                self._level = level
                self._place_loop(inner, stage, out, block)
        self._level = outer
        # an item's set of earlier items strictly contains that of every item before it
        out.sort(key=lambda item: (item.before.bit_count(), item.index))
        return out

    def split(self, cluster: Cluster, pieces: list[list[Group]]) -> list[Item]:
        """A cluster of the outermost block as clusters of the ``pieces`` of its groups, in order."""
        out: list[Item] = []
        for groups in pieces[:-1]:
            out.append(Cluster(self._items, cluster.level, groups, cluster.before))
            cluster.before |= 1 << self._items
            self._items += 1
        cluster.groups = pieces[-1]
        return [*out, cluster]

    def as_chain(self, chain: list[Group]) -> Group:
        """One skewed group of a chain of one-lane groups; it is read like the last of them."""
        first, last = chain[0], chain[-1]
        skewed = Group(
            [group.first for group in chain],
            first.signature,
            first.pace,
            len(chain),
            first.reads,
            False,
            1,
            last.number,
            skewed=True,
            measured=first.measured,
        )
        self.groups[last.number] = skewed
        for group in chain[:-1]:
            self.groups[group.number].reads = []
        return skewed

    def alone(self) -> list[Item]:
        """Every node as an item of its own: the processes of a KPN."""
        for node in self.nodes:
            for group in self._grouping.split([node], KPN_WIDTH):
                group.number = len(self.groups)
                self.groups.append(group)
                self._seat(group)
        return [Cluster(group.number, 0, [group]) for group in self.groups]

    def _place(self, group: Group, out: list[Item], block: int) -> None:
        """Add ``group`` to a cluster of ``out``, or to a new one."""
        group.number = len(self.groups)
        self.groups.append(group)
        home: Cluster | None = None
        for candidate in self._candidates(group):
            if home is None:
                if self._join(group, candidate, block):
                    home = candidate
                    self._item_of.append(home)
            else:
                self._merge(home, candidate, group, out, block)
        if home is None:
            home = Cluster(self._items, self._level, [group])
            self._items += 1
            self._seat(group)
            out.append(home)
            self._item_of.append(home)
        self._precede(home, self._before(group, block), out)

    def _place_loop(self, inner: list[Item], loop: Loop, out: list[Item], block: int) -> None:
        """Add a loop; one whose body is a single kernel that sees only its own lanes is no loop."""
        item: Item
        if not inner:
            return
        only = inner[0]
        groups = [group for it in inner for group in it.groups]
        if (
            len(inner) == 1
            and isinstance(only, Cluster)
            and all(self._aligned(r, g, only.groups, block) for g in groups for r in g.reads)
        ):
            item = only
            item.level = self._level
        else:
            item = NarrowLoop(self._items, self._level, loop.block, inner)
            self._items += 1
            self.notes.append(
                f"loop of block {loop.block}: {', '.join(map(str, groups[:8]))} run as "
                f"{len(inner)} kernels, because their lanes do not match one to one"
            )
        item.before = 0
        for group in groups:
            self._item_of[group.number] = item
        out.append(item)
        for group in groups:
            self._precede(item, self._before(group, block), out)

    def _seat(self, group: Group) -> None:
        indices = [node.index for node in group.members]
        self.group_of[indices] = group.number
        self.slot_of[indices] = np.arange(len(indices))

    def _before(self, group: Group, block: int) -> int:
        """Bit set of the items whose tokens of this very block ``group`` needs."""
        bits = 0
        for read in (*group.reads, *group.controls):
            late = read.source if read.plain else read.source[read.cover < block]
            for number in np.unique(self.group_of[late]):
                if number >= 0:
                    item = self._item_of[number]
                    bits |= (1 << item.index) | item.before
        return bits

    def _precede(self, item: Item, bits: int, out: list[Item]) -> None:
        """Note that the items of ``bits`` run before ``item`` and all that follows it."""
        mine = 1 << item.index
        bits &= ~mine
        if bits & ~item.before:
            item.before |= bits
            for other in out:
                if other.before & mine:
                    other.before |= bits

    def _candidates(self, group: Group) -> Iterator[Cluster]:
        """Clusters that a whole inlet of ``group`` reads without delay."""
        seen = set()
        for read in group.reads if self.fuses else ():
            numbers = np.unique(self.group_of[read.source])
            if read.plain and len(numbers) == 1 and numbers[0] >= 0:
                item = self._item_of[numbers[0]]
                if (
                    item.level == self._level
                    and isinstance(item, Cluster)
                    and item.index not in seen
                ):
                    seen.add(item.index)
                    yield item

    def _join(self, group: Group, home: Cluster, block: int) -> bool:
        """Add ``group`` to ``home`` if that is legal; note why not."""
        reason = self._why_not(group, home, block)
        if reason:
            self.notes.append(f"{group} is not fused with {home.groups[-1]}: {reason}")
            return False
        home.groups.append(group)
        home.pinned |= group.wide
        self._seat(group)
        return True

    def _why_not(self, group: Group, home: Cluster, block: int) -> str:
        """Seat ``group`` in ``home``, or say what forbids it."""
        reason = self._why_apart(group, home, block)
        if reason:
            return reason
        order = self._order(group, home)
        if order is None:
            return "their members do not match one to one"
        own_parts, group.parts = group.parts, self._parts(group, home.head.parts)
        if not group.wide:
            _reorder(group, order)
        elif not self._pin(home, group, order):
            group.parts = own_parts
            return "two sums take its members in different orders"
        self._seat(group)
        groups = [*home.groups, group]
        if all(
            self._aligned(read, reader, groups, block)
            for reader in groups
            for read in reader.reads
            if reader is group or not read.plain
        ):
            return ""
        self.group_of[[node.index for node in group.members]] = -1
        group.parts = own_parts
        return "some of its inlets read other lanes of the same kernel"

    def _why_apart(self, group: Group, home: Cluster, block: int) -> str:
        """What forbids a common kernel, whatever the order of its lanes."""
        head = home.head
        if len(home.groups) >= MAX_GROUPS:
            return f"a kernel has at most {MAX_GROUPS} groups"
        if group.archetype or head.archetype:
            return "a prebuilt kernel works on whole blocks"
        if group.takes:
            return "it takes other channels or tokens"
        if head.wide:
            return "a sum is complete only when its kernel ends"
        if (group.slots, group.pace) != (head.slots, head.pace):
            return "their members do not match one to one"
        if group.width != head.width:
            return f"their widths are {group.width} and {head.width}"
        if self._waits(group, home, block):
            return "another kernel has to run in between"
        if not self._parts(group, head.parts):
            return "their channels do not match one to one"
        return ""

    def _waits(self, group: Group, home: Cluster, block: int) -> bool:
        """Something that ``group`` needs has to run after ``home``."""
        for read in (*group.reads, *group.controls):
            late = read.source if read.plain else read.source[read.cover < block]
            for number in np.unique(self.group_of[late]):
                if number >= 0:
                    item = self._item_of[number]
                    if item is not home and item.before >> home.index & 1:
                        return True
        return False

    def _parts(self, group: Group, parts: int) -> int:
        """Parts that ``group`` takes in a cluster of ``parts``; 0 if it cannot."""
        channels = group.first.channels
        if group.first.type.channels == "all":
            return 1 if parts == 1 else 0
        if channels == parts:
            return parts
        return 1 if parts == 1 and channels <= MAX_PLANES else 0

    def _order(self, group: Group, home: Cluster) -> Ints | None:
        """Which member goes to which slot; None if they do not match one to one."""
        numbers = {g.number for g in home.groups if not g.wide}
        for read in group.reads:
            source_group = self.group_of[read.source[0]]
            if read.plain and source_group in numbers:
                slots = self.slot_of[read.source]
                if (self.group_of[read.source] == source_group).all():
                    order = np.argsort(slots, kind="stable")
                    if (slots[order] == np.arange(len(order))).all():
                        return slots if group.wide else order
        return None

    def _pin(self, home: Cluster, group: Group, slots: Ints) -> bool:
        """Bring the slots of ``home`` into the order of the terms of a sum."""
        if (slots == np.arange(len(slots))).all():
            return True
        if home.pinned:
            return False
        for other in home.groups:
            _reorder(other, slots)
            self._seat(other)
        return True

    def _aligned(self, read: Read, reader: Group, groups: list[Group], block: int) -> bool:
        """What ``reader`` reads from its own cluster lies in its own lanes, or is old enough."""
        numbers = np.array([g.number for g in groups], np.int64)
        inside = np.isin(self.group_of[read.source], numbers)
        if not read.plain:
            inside &= read.cover < block
        if not inside.any():
            return True
        source = self.groups[self.group_of[read.source[0]]]
        if reader.takes or source.archetype:  # which works on whole blocks
            return False
        same_lanes = (
            not source.wide
            and inside.all()
            and (self.group_of[read.source] == source.number).all()
            and (self.slot_of[read.source] == np.arange(len(read.source))).all()
            and source.pace == reader.pace
            and read.rate == read.step == 1
            and read.even
            and (read.outlet == read.outlet[0]).all()
            and (read.tokens == read.tokens[0]).all()
        )
        wide_channels = source.first.channels
        fits = wide_channels == reader.first.channels or (
            not reader.wide and source.parts == reader.parts == 1 and wide_channels == 1
        )
        if reader.first.type.channels == "all":
            fits = source.parts == 1
        return bool(same_lanes and fits)

    def _merge(
        self, home: Cluster, other: Cluster, group: Group, out: list[Item], block: int
    ) -> None:
        """Make ``home`` and ``other``, which ``group`` (already in ``home``) reads too, one."""
        reason = self._why_not_merge(home, other, group, block)
        if reason:
            self.notes.append(f"{home.groups[-1]} is not fused with {other.groups[-1]}: {reason}")
            return
        out.remove(other)
        home.groups = [*other.groups, *home.groups]
        home.pinned |= other.pinned
        for moved in other.groups:
            self._item_of[moved.number] = home
        mine, theirs = 1 << home.index, 1 << other.index
        home.before &= ~theirs
        for item in out:
            if item.before & theirs:
                item.before = (item.before & ~theirs) | mine | home.before
        self._precede(home, other.before, out)

    def _why_not_merge(self, home: Cluster, other: Cluster, group: Group, block: int) -> str:
        a, b = home.head, other.head
        if a.archetype or b.archetype:
            return "a prebuilt kernel works on whole blocks"
        if len(home.groups) + len(other.groups) > MAX_GROUPS:
            return f"a kernel has at most {MAX_GROUPS} groups"
        mine, theirs = ((g.slots, g.parts, g.pace, g.width) for g in (a, b))
        if a.wide or b.wide or mine != theirs:
            return "their lanes do not match one to one"
        if home.before >> other.index & 1 or other.before >> home.index & 1:
            return "another kernel has to run in between"
        both = 1 << home.index | 1 << other.index
        needed = self._before(group, block) & ~both
        if any(item.before & both for item in self._item_of if needed >> item.index & 1):
            return "another kernel has to run in between"
        groups = [*other.groups, *home.groups]
        if all(self._aligned(r, g, groups, block) for g in groups for r in g.reads):
            return ""
        return "their members stand in different orders"


def _reorder(group: Group, order: Ints) -> None:
    """Slot i becomes what slot ``order[i]`` was."""
    if (order == np.arange(len(order))).all():
        return
    group.members = [group.members[i] for i in order]
    for read in (*group.reads, *group.controls):
        read.reorder(order)
