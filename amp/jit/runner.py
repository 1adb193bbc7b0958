"""Engines at work: the IPLS driver and the KPN scheduler bound to a program's memory."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING

import numpy as np

from amp.errors import AmpError
from amp.jit import driver, kpn
from amp.jit.engine import native
from amp.jit.lowered import Narrow

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from amp.graph import Edge, Frozen
    from amp.jit.bind import Bound, BoundCall
    from amp.jit.lowered import Step
    from amp.schedule import Paces

    Words = NDArray[np.int64]

ENDLESS = 1 << 60
"""Room behind an edge whose tokens no one keeps."""
_TIMERS = slice(driver.CYCLES, driver.FRAMES + 1)


class IplsRunner:
    """Runs the steps of a schedule in order, independent ones on ``threads`` threads."""

    def __init__(self, bound: Bound, block: int, *, threads: int, timing: bool) -> None:
        self._bound, self._block = bound, block
        self._by_call = {id(b.call): b for b in bound.calls}
        self._pool = _Pool(threads) if threads > 1 else None
        self._rows: list[Words] = []
        self._tables: list[Words] = []
        self._labels: list[tuple[str, int]] = []
        forks: list[tuple[int, list[tuple[int, int]]]] = []
        self._add_steps(bound.lowered.steps, forks)
        self._steps = np.array(self._rows, np.int64).reshape(-1, driver.STEP_WORDS)
        first = self._steps.ctypes.data
        for row, children in forks:
            table = np.array(
                [[first + 8 * driver.STEP_WORDS * at, count] for at, count in children], np.int64
            )
            self._tables.append(table)
            self._steps[row, driver.TABLE] = table.ctypes.data
        self.records = [(label, self._steps[row, _TIMERS]) for label, row in self._labels]
        self._code = native("run", f"driver {timing}", lambda: driver.build_driver(timing=timing))
        word, place = ctypes.c_int64, ctypes.c_void_p
        kind = ctypes.CFUNCTYPE(None, place, word, word, place, word)
        self._run = kind(self._code.address)

    def run(self, frames: int) -> None:
        """See `amp.program.Runner`."""
        steps, clock = self._steps.ctypes.data, self._bound.clock.ctypes.data
        self._run(steps, len(self._steps), self._block, clock, frames)

    def _add_steps(self, steps: list[Step], forks: list[tuple[int, list[tuple[int, int]]]]) -> None:
        if self._pool is None:
            for step in steps:
                self._add_step(step, forks)
            return
        for level in _levels(steps):
            if len(level) == 1:
                self._add_step(level[0], forks)
                continue
            row = self._add_row(driver.FORK)
            children = []
            for step in level:
                at = len(self._rows)
                self._add_step(step, forks)
                children.append((at, len(self._rows) - at))
            self._rows[row][driver.CHILDREN] = len(children)
            self._rows[row][driver.BODY] = len(self._rows) - row - 1
            self._rows[row][driver.POOL] = self._pool.handle
            self._rows[row][driver.POOL_RUN] = self._pool.run_address
            forks.append((row, children))

    def _add_step(self, step: Step, forks: list[tuple[int, list[tuple[int, int]]]]) -> None:
        if isinstance(step, Narrow):
            row = self._add_row(driver.LOOP)
            self._rows[row][driver.BLOCK] = step.block
            self._add_steps(step.steps, forks)
            self._rows[row][driver.BODY] = len(self._rows) - row - 1
            return
        row = self._add_row(driver.CALL)
        _fill_call(self._rows[row], self._by_call[id(step)], self._bound)
        self._labels.append((str(step), row))

    def _add_row(self, kind: int) -> int:
        words = np.zeros(driver.STEP_WORDS, np.int64)
        words[driver.KIND] = kind
        self._rows.append(words)
        return len(self._rows) - 1


class _Pool:
    """A native thread pool that dies with its program."""

    def __init__(self, threads: int) -> None:
        from amp.jit.archetypes import load_pool

        self._library = load_pool()
        self.handle: int = self._library.create(threads) or 0
        self.run_address = self._library.run_address

    def __del__(self) -> None:
        if getattr(self, "handle", None):
            self._library.destroy(self.handle)


def _levels(steps: list[Step]) -> list[list[Step]]:
    """Steps by the longest chain of steps that must run before them."""
    level: dict[int, int] = {}
    out: list[list[Step]] = []
    for step in steps:
        before = step.item.before
        mine = 1 + max((level[i] for i in level if before >> i & 1), default=-1)
        level[step.item.index] = mine
        while len(out) <= mine:
            out.append([])
        out[mine].append(step)
    return out


def _fill_call(row: Words, bound: BoundCall, memory: Bound) -> None:
    row[driver.FUNCTION] = bound.native.address
    row[driver.WORDS] = memory.address(bound.words_at)
    row[driver.PACE : driver.PACE + driver.PACE_WORDS] = bound.call.pace


class KpnRunner:
    """Fires processes, one per node, as their tokens allow."""

    def __init__(self, bound: Bound, graph: Frozen, pace: Paces, *, timing: bool) -> None:
        calls = bound.calls
        count = len(calls)
        self._processes = np.zeros((count, kpn.PROCESS_WORDS), np.int64)
        number = {call.call.groups[0].first.index: i for i, call in enumerate(calls)}
        ins: list[list[list[int]]] = [[] for _ in calls]
        readers: list[list[list[int]]] = [[] for _ in calls]

        def join(i: int, j: int, edge: Edge, at: int, capacity: int) -> None:
            """Tell process i of its edge from process j, and the other way."""
            mine, theirs = (bound.address(calls[n].words_at) for n in (i, j))
            rates = [int(graph.produced[at]), int(graph.consumed[at])]
            firings, period, offset = pace[edge.source]
            lag = graph.nodes[edge.source].type.processing_delay + edge.delay
            visible = [firings, period, offset + lag * firings]
            ins[i].append([theirs, edge.tokens, j, *rates, *visible])
            readers[j].append([mine, edge.tokens, i, *rates, capacity, 0, 0])

        for i, call in enumerate(calls):
            row = self._processes[i]
            _fill_call(row, call, bound)
            row[kpn.QUANTUM] = call.frames
            for node, number_of_edge, edge, ring in call.call.edges():
                at = int(graph.first[node.index]) + number_of_edge
                capacity = bound.rings[ring].ring.frames - int(graph.history[at])
                join(i, number[edge.source], edge, at, capacity)
            node = call.call.groups[0].first
            at = int(graph.first[node.index]) + len(node.edges)
            for k, edge in enumerate(node.controls):
                join(i, number[edge.source], edge, at + k, ENDLESS)
        self._memory = bound
        self._ins, in_at = _pack(ins)
        self._readers, reader_at = _pack(readers)
        self._processes[:, kpn.INS] = in_at + self._ins.ctypes.data
        self._processes[:, kpn.IN_COUNT] = [len(rows) for rows in ins]
        self._processes[:, kpn.READERS] = reader_at + self._readers.ctypes.data
        self._processes[:, kpn.READER_COUNT] = [len(rows) for rows in readers]
        size = 1 << count.bit_length()
        self._queue = np.zeros(size, np.int64)
        self._network = np.zeros(kpn.NETWORK_WORDS, np.int64)
        self._network[kpn.PROCESSES] = self._processes.ctypes.data
        self._network[kpn.COUNT] = count
        self._network[kpn.QUEUE] = self._queue.ctypes.data
        self._network[kpn.QUEUE_MASK] = size - 1
        self.records = [
            (str(call.call), row[_TIMERS]) for call, row in zip(calls, self._processes, strict=True)
        ]
        self._code = native("run", f"kpn {timing}", lambda: kpn.build_scheduler(timing=timing))
        place = ctypes.c_void_p
        kind = ctypes.CFUNCTYPE(ctypes.c_int64, place, place, ctypes.c_int64)
        self._run = kind(self._code.address)

    def run(self, frames: int) -> None:
        """See `amp.program.Runner`."""
        stuck = self._run(self._network.ctypes.data, self._memory.clock.ctypes.data, frames)
        if stuck:
            raise AmpError(f"{stuck} process(es) starved: a defect of amp, please report it")


def _pack(rows: list[list[list[int]]]) -> tuple[Words, Words]:
    """One table of all rows, and the byte at which each list starts."""
    flat = np.array([row for some in rows for row in some], np.int64).reshape(-1, kpn.EDGE_WORDS)
    counts = np.array([len(some) for some in rows], np.int64)
    return flat, (np.cumsum(counts) - counts) * 8 * kpn.EDGE_WORDS
