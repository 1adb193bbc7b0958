"""The KPN engine at work: the scheduler's tables, laid out for a program's memory.

Process i is node i of the graph, and edge i its edge i.
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING

import numpy as np

from amp.errors import AmpError
from amp.jit import kpn
from amp.jit import words as w
from amp.jit.runtime import Threads, load_scheduler

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from amp.frozen import Frozen
    from amp.jit.bind import Bound
    from amp.schedule import Paces

    Ints = NDArray[np.int64]

ENDLESS = 1 << 60
"""Room behind an edge whose tokens no one keeps, and frames until samples are asked if there are none."""


class KpnRunner:
    """Fires processes, one per node, as their tokens allow, on ``threads`` threads."""

    def __init__(
        self, bound: Bound, graph: Frozen, pace: Paces, *, threads: int, timing: bool
    ) -> None:
        self._bound, self._graph, self._pace = bound, graph, pace
        self._scheduler = load_scheduler()
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
        self._join()
        self._settle_network(size, threads, timing=timing)
        self.lay()
        self.seek()
        cells = self._processes.view(np.int64).reshape(count, -1)
        first = kpn.PROCESS.fields["cycles"][1] // 8  # type: ignore[index]
        self.records = [
            (str(call.call), row[first : first + 3])
            for call, row in zip(bound.calls, cells, strict=True)
        ]

    def run(self, frames: int) -> int | None:
        """See `amp.program.Runner`."""
        answer = self._scheduler(self._network.ctypes.data, self._bound.clock.ctypes.data, frames)
        if answer == kpn.STARVED:
            raise AmpError("a process starved: a defect of amp, please report it")
        return None if answer == kpn.DONE else answer

    def grow(self, edge: int) -> None:
        """See `amp.program.Runner`."""
        self._bound.grow(int(self._ring_of[edge]), self.written(edge))
        self.lay()

    def written(self, edge: int) -> int:
        """Tokens that the producer of an edge has written to it."""
        row = self._edges[edge]
        made = ctypes.c_int64.from_address(int(row["made"])).value
        cycle = self._graph.cycles.get(edge)
        return int(cycle[0].before(made)) if cycle else made * int(row["produced"]["each"])

    def seek(self) -> None:
        """Take up the counters that the program's words hold."""
        fired = [call.words[w.FIRED] for call in self._bound.calls]
        self._processes["fired"] = fired
        self._processes["full"] = self._processes["missing"] = -1

    def lay(self) -> None:
        """Write every address and capacity, as the program's memory is now."""
        bound, processes, edges = self._bound, self._processes, self._edges
        processes["kernel"] = [call.native.address for call in bound.calls]
        processes["words"] = [bound.address(call.words_at) for call in bound.calls]
        frames = np.array([*(ring.frames for ring in bound.rings), ENDLESS])
        edges["capacity"] = frames[self._ring_of] - self._graph.history
        for number, (written, _) in self._graph.cycles.items():
            edges["capacity"][number] -= written.spare

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
            tuple(np.array([len(cycle), cycle.total, *cycle.starts], np.int64) for cycle in ends)
            for ends in graph.cycles.values()
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
