"""The KPN engine at work: the scheduler's tables, laid out for a program's memory.

Process i is node i of the graph, and edge i its edge i.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from amp.cycles import Cycle
from amp.errors import AmpError
from amp.jit import kpn
from amp.jit import words as w
from amp.jit.counts import COLUMNS, FIRED, FIRST, PREVIOUS, SECOND, TIME, Counts
from amp.jit.runtime import Threads, load_scheduler
from amp.schedule.dynamic import samples_in_order

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from amp.frozen import Frozen
    from amp.jit.bind import Bound
    from amp.jit.events import Events
    from amp.schedule import Paces

    Ints = NDArray[np.int64]

ENDLESS = 1 << 60
"""Room behind an edge whose tokens no one keeps, and frames until samples are asked if there are none."""
SAMPLED_FRAMES = 64
"""Most frames until samples are asked."""


class KpnRunner:
    """Fires processes, one per node, as their tokens allow, on ``threads`` threads."""

    def __init__(
        self, bound: Bound, graph: Frozen, pace: Paces, *, threads: int, timing: bool
    ) -> None:
        self._bound, self._graph, self._pace = bound, graph, pace
        self._scheduler = load_scheduler()
        self.growth: list[tuple[int, int, int]] = []
        self._threads = Threads(threads) if threads > 1 else None
        count = len(bound.calls)
        self._processes = np.zeros(count, kpn.PROCESS)
        self._edges = np.zeros(len(graph.source), kpn.EDGE)
        self._ring_of = np.full(len(graph.source), -1)  # none for the controls of gates
        for call in bound.calls:
            for node, number, _, ring in call.call.edges():
                self._ring_of[graph.first[node.index] + number] = ring
        # each reader of a process is an edge; they are in the order of their processes
        order = np.argsort(graph.source, kind="stable")
        self._readers = self._edges.ctypes.data + order * kpn.EDGE.itemsize
        size = 1 << (2 * count).bit_length()
        self._queue = np.zeros(size, np.int64)
        self._network = np.zeros(1, kpn.NETWORK)
        self._what = self._network.ctypes.data, bound.clock.ctypes.data
        self._samples = samples_in_order(graph)
        self._join()
        self._settle_network(size, threads, timing=timing)
        self._can_deadlock = graph.dynamic.any() and _has_cycle(graph)
        if graph.dynamic.any():
            self._route()
        self.lay()
        self.seek(Counts.at_pace(graph, pace, 0))
        self.calls = [call.call for call in bound.calls]
        cells = self._processes.view(np.int64).reshape(count, -1)
        first = kpn.PROCESS.fields["cycles"][1] // 8  # type: ignore[index]
        self._costs = cells[:, first : first + 3]

    def run(self, frames: int) -> int | None:
        """See `amp.instance.Runner`."""
        answer = self._scheduler(*self._what, frames)
        if answer == kpn.STARVED:
            raise AmpError("a process starved: a defect of amp, please report it")
        return None if answer == kpn.DONE else answer

    def target(self) -> dict[str, int]:
        """See `amp.instance.Runner`."""
        return {"network": self._network.ctypes.data}

    def grow(self, edge: int) -> None:
        """See `amp.instance.Runner`."""
        written, _ = self.counts().tokens()
        ring = int(self._ring_of[edge])
        self._bound.grow(ring, int(written[edge]))
        self.lay()
        clock = int(self._network["clock"][0])
        self.growth.append((ring, clock, self._bound.rings[ring].frames))

    def trace(self, events: Events | None) -> None:
        """See `amp.instance.Runner`."""
        self._network["trace"] = events.address if events else 0

    def costs(self) -> Ints:
        """See `amp.instance.Runner`."""
        return self._costs.copy()

    def forget_costs(self) -> None:
        """See `amp.instance.Runner`."""
        self._costs[:] = 0

    @property
    def most(self) -> Ints:
        """See `amp.instance.Runner`."""
        most: Ints = self._edges["most"] + self._graph.history
        return most

    def waiting_cycle(self) -> list[int]:
        """Nodes each of which waits for a token of the one before it, which none can ever make."""
        if not self._can_deadlock:
            return []
        graph, counts = self._graph, self.counts()
        _, held = counts.tokens()
        lacks = held - graph.history < graph.consumed  # more than needed, if counts differ
        for node in graph.nodes:
            if node.type.router == "select":  # waits for the one that its control names
                here = slice(graph.first[node.index], graph.first[node.index + 1])
                numbers = np.arange(len(lacks))[here]
                lacks[here] &= numbers == self._processes["missing"][node.index]
        stuck = graph.dynamic.copy()
        while True:
            waits = np.flatnonzero(lacks & stuck[graph.source] & stuck[graph.consumer])
            before = int(stuck.sum())
            stuck[:] = False
            stuck[graph.consumer[waits]] = True
            if stuck.sum() == before:
                break
        cause = dict(zip(graph.consumer[waits].tolist(), graph.source[waits].tolist(), strict=True))
        path: list[int] = []
        index = next(iter(cause), -1)
        while index >= 0 and index not in path:
            path.append(index)
            index = cause[index]
        return path[path.index(index) :][::-1] if path else []

    def counts(self) -> Counts:
        """How often processes have fired."""
        processes = self._processes
        rows = np.empty((len(processes), COLUMNS), np.int64)
        rows[:, FIRED] = processes["fired"]
        rows[:, FIRST : SECOND + 1] = processes["counts"]
        rows[:, TIME] = processes["time"]
        rows[:, PREVIOUS] = processes["previous"].view(np.int64)
        return Counts(self._graph, rows)

    def seek(self, counts: Counts) -> None:
        """See `amp.instance.Runner`."""
        processes = self._processes
        processes["fired"] = counts.rows[:, FIRED]
        processes["counts"] = counts.rows[:, FIRST : SECOND + 1]
        processes["time"] = counts.rows[:, TIME]
        processes["previous"] = np.ascontiguousarray(counts.rows[:, PREVIOUS]).view(np.float64)
        processes["full"] = processes["missing"] = -1
        _, held = counts.tokens()
        self._edges["most"] = held - self._graph.history

    def lay(self) -> None:
        """Write every address and capacity, as the program's memory is now."""
        bound, processes, edges = self._bound, self._processes, self._edges
        processes["kernel"] = [call.native.address if call.native else 0 for call in bound.calls]
        processes["words"] = [bound.address(call.words_at) for call in bound.calls]
        frames = np.array([*(ring.frames for ring in bound.rings), ENDLESS])
        edges["capacity"] = frames[self._ring_of] - self._graph.history
        for number, (written, _) in self._graph.cycles.items():
            edges["capacity"][number] -= written.spare
        if self._graph.dynamic.any():
            stamps = np.array([*(ring.stamps_at for ring in bound.rings), -1])[self._ring_of]
            edges["stamps"] = np.where(stamps < 0, 0, bound.address(0) + stamps)
            edges["mask"] = frames[self._ring_of] - 1
            self._lay_outs()

    def _lay_outs(self) -> None:
        """Write where processes that move tokens, or stamp them, find their rings."""
        bound, graph, processes = self._bound, self._graph, self._processes
        self._kept: list[NDArray[Any]] = []  # what processes point at
        for node, call in zip(graph.nodes, bound.calls, strict=True):
            row = processes[node.index]
            if not (graph.dynamic[node.index] or call.call.router):
                continue
            rows = np.zeros(len(call.call.outs), kpn.OUT)
            for i, (out, at) in enumerate(zip(call.call.outs, call.out_tables, strict=True)):
                ring = bound.rings[out.ring]
                counts = node.type.counts(type(node.type).outlets[out.outlet])
                if len(counts) > 1:
                    self._kept.append(self._words_of(Cycle(counts)))
                    rows[i]["produced"]["cycle"] = self._kept[-1].ctypes.data
                rows[i]["entries"] = bound.address(at) if call.call.router else 0
                rows[i]["outlet"] = out.outlet
                rows[i]["produced"]["each"] = counts[0]
                rows[i]["stamps"] = bound.address(ring.stamps_at) if ring.stamps_at >= 0 else 0
                rows[i]["mask"] = ring.mask
                kernel = call.call.code.kernel
                if call.call.router and kernel.outlets[i].sums:
                    rows[i]["sums"] = int(call.words[w.POWER]) + 8 * call.port_sums[i][0]
                    rows[i]["every"] = kernel.every
            table = np.array([bound.address(at) for at in call.in_tables if at >= 0], np.int64)
            row["outs"], row["out_count"] = rows.ctypes.data, len(rows)
            row["entries"] = table.ctypes.data
            row["planes"] = node.channels
            self._kept += [rows, table]

    def _route(self) -> None:
        """Tell routers what they are, and edges which counters of theirs they follow."""
        graph, processes, edges = self._graph, self._processes, self._edges
        processes["pace"]["firings"][graph.dynamic] = 0
        edges["visible"]["firings"][graph.dynamic[graph.source]] = 0
        two = np.array([node.type.router in {"switch", "trigger"} for node in graph.nodes])
        sent = np.flatnonzero(two[graph.source])
        edges["made"][sent] = self._counter("counts", graph.source[sent]) + 8 * graph.outlet[sent]
        for node in graph.nodes:
            router = node.type.router
            if not router:
                continue
            processes["kind"][node.index] = kpn.KINDS[router]
            first = int(graph.first[node.index])
            if router in {"select", "sample"}:
                for i in range(2 if router == "select" else 1):
                    own = self._counter("counts", np.array([node.index])) + 8 * i
                    edges["taken"][first + i] = own[0]
            if router == "trigger":
                crossing = vars(node.type)["crossing"]
                processes["crossing"][node.index] = kpn.CROSSINGS[crossing]
        numbers = np.array([index for index, _ in self._samples], np.int64)
        processes["loop"][numbers] = [loop for _, loop in self._samples]
        self._numbers = numbers
        self._network["samples"], self._network["sample_count"] = numbers.ctypes.data, len(numbers)
        self._network["step"] = SAMPLED_FRAMES if len(numbers) else ENDLESS
        self._network["grows"] = 1

    def _join(self) -> None:
        """Tell processes and edges of each other."""
        graph, pace, processes, edges = self._graph, self._pace, self._processes, self._edges
        source, consumer = graph.source, graph.consumer
        for name, column in (
            ("source", source),
            ("consumer", consumer),
            ("tokens", graph.tokens),
            ("delay", graph.delay),
            ("made", self._counter("fired", source)),
            ("taken", self._counter("fired", consumer)),
        ):
            edges[name] = column
        edges["produced"]["each"], edges["consumed"]["each"] = graph.produced, graph.consumed
        self._cycles = [
            tuple(self._words_of(cycle) for cycle in ends) for ends in graph.cycles.values()
        ]
        for number, ends in zip(graph.cycles, self._cycles, strict=True):
            for name, cycle in zip(("produced", "consumed"), ends, strict=True):
                edges[name]["cycle"][number] = cycle.ctypes.data
        lag = graph.processing[source] + graph.delay
        edges["visible"]["firings"] = pace.firings[source]
        edges["visible"]["frames"] = pace.frames[source]
        edges["visible"]["offset"] = pace.offset[source] + lag * pace.firings[source]
        for name in ("firings", "frames", "offset"):
            processes["pace"][name] = getattr(pace, name)
        processes["quantum"] = [call.frames for call in self._bound.calls]
        processes["processing_delay"] = graph.processing
        processes["ins"] = edges.ctypes.data + graph.first[:-1] * kpn.EDGE.itemsize
        processes["in_count"] = np.diff(graph.first)
        readers = np.bincount(source, minlength=len(processes))
        processes["readers"] = self._readers.ctypes.data + 8 * (np.cumsum(readers) - readers)
        processes["reader_count"] = readers

    def _settle_network(self, size: int, threads: int, *, timing: bool) -> None:
        for name, value in (
            ("processes", self._processes.ctypes.data),
            ("count", len(self._processes)),
            ("edges", self._edges.ctypes.data),
            ("queue", self._queue.ctypes.data),
            ("queue_mask", size - 1),
            ("step", ENDLESS),
            ("timing", timing),
            ("pool", self._threads.handle if self._threads else 0),
            ("threads", threads),
        ):
            self._network[name] = value

    def _counter(self, name: str, process: Ints) -> Ints:
        """Address of a counter of each of some processes."""
        at = kpn.PROCESS.fields[name][1]  # type: ignore[index]
        return self._processes.ctypes.data + process * kpn.PROCESS.itemsize + at

    @staticmethod
    def _words_of(cycle: Cycle) -> Ints:
        """A cycle as the scheduler reads it."""
        return np.array([len(cycle), cycle.total, *cycle.starts], np.int64)


def _has_cycle(graph: Frozen) -> bool:
    """Whether nodes that fire as data says may wait for one another."""
    import networkx as nx

    inside = graph.dynamic[graph.source] & graph.dynamic[graph.consumer]
    edges = zip(graph.source[inside].tolist(), graph.consumer[inside].tolist(), strict=True)
    return not nx.is_directed_acyclic_graph(nx.DiGraph(edges))
