"""Making a good schedule: nodes as early as they can be, cohorts by type, feedback in loops."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np

from amp.errors import BadGraph, BadValue
from amp.schedule.dynamic import routers
from amp.schedule.ipls import IPLS, MAX_BLOCK, WIDTHS, Cohort, Loop, Stage
from amp.schedule.latency import paces
from amp.schedule.settle import settle

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from amp.graph import Frozen, Graph
    from amp.schedule.latency import Paces


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

    Raises
    ------
    BadValue, BadGraph, Deadlock, TooSlowCycle

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
    whole = isinstance(block, int | np.integer) and not isinstance(block, bool)
    if not (whole and 1 <= block <= MAX_BLOCK):
        raise BadValue(f"a block is a whole number from 1 to {MAX_BLOCK}", got=repr(block))
    frozen = settle(graph.freeze())
    if width not in WIDTHS:
        raise BadValue(f"a width is one of {WIDTHS}", got=repr(width))
    for router in routers(frozen):
        raise BadGraph(
            "a schedule fires nodes at known clocks, and rates here depend on data",
            got=router.kind,
            where=str(router),
            fix="compile the graph without a schedule",
        )
    planner = Planner(frozen, paces(frozen), int(width))
    return IPLS(int(block), planner.items(None, int(block)), frozen.fingerprint)


class Planner:
    """Puts nodes of a settled graph into stages."""

    def __init__(self, graph: Frozen, pace: Paces, width: int) -> None:
        self.graph, self.width = graph, width
        self.cover = pace.cover()

    def items(self, members: NDArray[np.int64] | None, block: int) -> tuple[Stage | Loop, ...]:
        """Stages and loops of ``members`` (None: all) when they run in blocks of ``block``."""
        graph = self.graph
        late = self.cover < block  # edges whose producer has to run first
        if members is None:
            members = np.arange(len(graph.nodes))
        else:
            inside = np.zeros(len(graph.nodes), bool)
            inside[members] = True
            late &= inside[graph.consumer] & inside[graph.source]
        edges = list(zip(graph.source[late].tolist(), graph.consumer[late].tolist(), strict=True))
        cycles = _cycles(edges)
        unit = {index: cycle[0] for cycle in cycles for index in cycle}
        level = _levels(members, edges, unit)
        out: list[Stage | Loop] = []
        looped = np.isin(members, list(unit))
        for number in range(int(level.max(initial=-1)) + 1):
            here = level == number
            if (plain := members[here & ~looped]).size:
                out.append(self._stage(plain))
            loops: dict[int, list[int]] = defaultdict(list)
            for cycle in cycles:
                if level[np.searchsorted(members, cycle[0])] == number:
                    loops[self._loop_block(cycle, block)] += cycle
            for narrow, some in sorted(loops.items()):
                out.append(Loop(narrow, self.items(np.sort(some), narrow)))
        return tuple(out)

    def _loop_block(self, cycle: list[int], block: int) -> int:
        """The widest block that cuts at least one edge of ``cycle``."""
        graph, cover = self.graph, self.cover
        inside = np.isin(graph.consumer, cycle) & np.isin(graph.source, cycle)
        cuts = cover[inside & (cover > 0) & (cover < block)]
        if not cuts.size:
            raise BadGraph(
                "a cycle has an edge whose tokens in flight last for a frame, or no stage can come "
                "first",
                got=", ".join(repr(graph.nodes[index].name) for index in cycle[:12]),
                where=str(graph.nodes[cycle[0]]),
                fix="run it as a KPN, or add initial tokens",
            )
        return int(cuts.max())

    def _stage(self, members: NDArray[np.int64]) -> Stage:
        cohorts: dict[str, list[str]] = defaultdict(list)
        for index in members.tolist():
            node = self.graph.nodes[index]
            cohorts[self.graph.kinds[index]].append(node.name)
        return Stage(
            tuple(Cohort(kind, tuple(names), self.width) for kind, names in cohorts.items())
        )


def _go_one_way(edges: list[tuple[int, int]]) -> bool:
    """Sources have the lower index, as it is whenever no feedback stream is used; or all the higher one,
    as in the adjoint of such a graph."""
    up = {source < consumer for source, consumer in edges}
    return len(up) < 2 and all(source != consumer for source, consumer in edges)


def _cycles(edges: list[tuple[int, int]]) -> list[list[int]]:
    """Strongly connected components that are cycles, each sorted."""
    if _go_one_way(edges):
        return []
    import networkx as nx  # only graphs with feedback pay for it

    graph = nx.DiGraph(edges)
    components = nx.strongly_connected_components(graph)
    return [
        sorted(nodes)
        for nodes in components
        if len(nodes) > 1 or graph.has_edge(*(next(iter(nodes)),) * 2)
    ]


def _levels(
    members: NDArray[np.int64], edges: list[tuple[int, int]], unit: dict[int, int]
) -> NDArray[np.int64]:
    """Longest path to each member, a cycle counting as one node."""
    level = dict.fromkeys(members.tolist(), 0)
    if not unit and _go_one_way(edges):
        down = bool(edges) and edges[0][0] > edges[0][1]
        for source, consumer in reversed(edges) if down else edges:  # sources come first
            level[consumer] = max(level[consumer], level[source] + 1)
        return np.fromiter(level.values(), np.int64, len(level))
    waiting: dict[int, int] = defaultdict(int)
    readers: dict[int, list[int]] = defaultdict(list)
    for source, consumer in edges:
        theirs, mine = unit.get(source, source), unit.get(consumer, consumer)
        if theirs != mine:
            waiting[mine] += 1
            readers[theirs].append(mine)
    ready = [index for index in level if unit.get(index, index) == index and not waiting[index]]
    for index in ready:
        for reader in readers[index]:
            level[reader] = max(level[reader], level[index] + 1)
            waiting[reader] -= 1
            if not waiting[reader]:
                ready.append(reader)
    return np.array([level[unit.get(index, index)] for index in level], np.int64)
