"""Making a good schedule: nodes as early as they can be, cohorts by type, feedback in loops."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from amp.schedule.ipls import IPLS, Cohort, Loop, Stage
from amp.schedule.latency import in_flight, starts

if TYPE_CHECKING:
    from amp.graph import Graph, Node


def plan(graph: Graph, block: int = 256, width: int = 8) -> IPLS:
    """A legal schedule for ``graph``.

    Parameters
    ----------
    graph
        The graph.
    block
        Frames of one iteration.
    width
        Lanes that a cohort computes at a time.

    Examples
    --------
    >>> import amp
    >>> g = amp.Graph()
    >>> g.output("out", 0.5 * g.input("x"))
    >>> print(amp.plan(g, block=64))
    IPLS of block 64
      stage 0: Input x1 (width 8)
      stage 1: Multiply x1 (width 8)
      stage 2: Output x1 (width 8)
    """
    nodes = graph.resolved()
    start = starts(nodes)
    planner = _Planner(nodes, start, width)
    stages = planner.items(list(range(len(nodes))), block)
    return IPLS(block, stages, graph.fingerprint())


class _Planner:
    def __init__(self, nodes: list[Node], start: list[int], width: int) -> None:
        self.nodes, self.start, self.width = nodes, start, width

    def items(self, members: list[int], block: int) -> tuple[Stage | Loop, ...]:
        """Stages and loops of ``members`` when they run in blocks of ``block``."""
        sources = self._sources(members, block)
        units = self._cycles(members, sources)
        level = self._levels(members, sources, units)
        by_level: dict[int, list[int]] = defaultdict(list)
        for index in members:
            by_level[level[index]].append(index)
        out: list[Stage | Loop] = []
        for _, here in sorted(by_level.items()):
            plain = [i for i in here if i not in units]
            if plain:
                out.append(self._stage(plain))
            loops: dict[int, list[int]] = defaultdict(list)
            for index in here:
                if index in units:
                    loops[self._loop_block(units[index], block)].append(index)
            for narrow, inside in sorted(loops.items()):
                out.append(Loop(narrow, self.items(inside, narrow)))
        return tuple(out)

    def _sources(self, members: list[int], block: int) -> dict[int, list[int]]:
        """For each member the members that must run before it in a block."""
        everyone = len(members) == len(self.nodes)
        inside = set() if everyone else set(members)
        return {
            index: [
                edge.source
                for edge in self.nodes[index].edges
                if (everyone or edge.source in inside)
                and (
                    not (edge.tokens or edge.delay or self.start[index])
                    or in_flight(edge, index, self.start) < block
                )
            ]
            for index in members
        }

    def _cycles(self, members: list[int], sources: dict[int, list[int]]) -> dict[int, list[int]]:
        """Node to its strongly connected component, for components that are cycles."""
        waiting = {index: len(sources[index]) for index in members}
        readers: dict[int, list[int]] = defaultdict(list)
        for index in members:
            for source in sources[index]:
                readers[source].append(index)
        ready = [index for index in members if not waiting[index]]
        for index in ready:
            for reader in readers[index]:
                waiting[reader] -= 1
                if not waiting[reader]:
                    ready.append(reader)
        if len(ready) == len(members):
            return {}
        import networkx  # only graphs with feedback pay for it

        rest = {index for index in members if waiting[index]}
        digraph = networkx.DiGraph(
            (source, index) for index in rest for source in sources[index] if source in rest
        )
        return {
            index: sorted(component)
            for component in networkx.strongly_connected_components(digraph)
            if len(component) > 1 or digraph.has_edge(*(min(component),) * 2)
            for index in component
        }

    def _levels(
        self, members: list[int], sources: dict[int, list[int]], units: dict[int, list[int]]
    ) -> dict[int, int]:
        """Longest path to each member, a cycle counting as one node."""
        unit = {index: units[index][0] if index in units else index for index in members}
        waiting: dict[int, int] = defaultdict(int)
        readers: dict[int, list[int]] = defaultdict(list)
        for index in members:
            mine = unit[index]
            for source in sources[index]:
                theirs = unit[source]
                if theirs != mine:
                    waiting[mine] += 1
                    readers[theirs].append(mine)
        level = dict.fromkeys(unit.values(), 0)
        ready = [index for index in level if not waiting[index]]
        for index in ready:
            for reader in readers[index]:
                level[reader] = max(level[reader], level[index] + 1)
                waiting[reader] -= 1
                if not waiting[reader]:
                    ready.append(reader)
        return {index: level[unit[index]] for index in members}

    def _loop_block(self, component: list[int], block: int) -> int:
        """The widest block that cuts at least one edge of the cycle."""
        inside = set(component)
        return max(
            tokens
            for index in component
            for edge in self.nodes[index].edges
            if edge.source in inside
            and 0 < (tokens := in_flight(edge, index, self.start)) < block
        )

    def _stage(self, members: list[int]) -> Stage:
        cohorts: dict[str, list[str]] = defaultdict(list)
        for index in members:
            node = self.nodes[index]
            cohorts[node.kind].append(node.name)
        return Stage([Cohort(kind, names, self.width) for kind, names in cohorts.items()])
