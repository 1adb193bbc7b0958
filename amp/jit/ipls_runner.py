"""The IPLS engine at work: the driver bound to a program's memory."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING

import numpy as np

from amp.jit import driver
from amp.jit.engine import native
from amp.jit.lowered import Narrow
from amp.jit.runtime import Threads, load_tracer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from amp.jit.bind import Bound, BoundCall
    from amp.jit.counts import Counts
    from amp.jit.events import Events
    from amp.jit.lowered import Call, Step

    Words = NDArray[np.int64]

_TIMERS = slice(driver.CYCLES, driver.FRAMES + 1)


class Steps:
    """Steps as the driver reads them, one row each; independent ones are handed to the ``pool``.

    Attributes
    ----------
    rows
        The rows, whose address is given to native code.
    address
        The driver's.
    calls, timed
        Kernels, and the row of each.
    """

    def __init__(
        self, bound: Bound, steps: list[Step], pool: Threads | None, *, timing: bool = False
    ) -> None:
        self._bound, self._pool = bound, pool
        self._by_call = {id(b.call): b for b in bound.calls}
        self._rows: list[Words] = []
        self._tables: list[Words] = []
        self._rows_of: list[tuple[Call, int]] = []
        forks: list[tuple[int, list[tuple[int, int]]]] = []
        self._add_steps(steps, forks)
        self.rows = np.array(self._rows, np.int64).reshape(-1, driver.STEP_WORDS)
        first = self.rows.ctypes.data
        for row, children in forks:
            table = np.array(
                [[first + 8 * driver.STEP_WORDS * at, count] for at, count in children], np.int64
            )
            self._tables.append(table)
            self.rows[row, driver.TABLE] = table.ctypes.data
        self.calls = [call for call, _ in self._rows_of]
        self.timed = np.array([row for _, row in self._rows_of], np.int64)
        self._code = native("run", f"driver {timing}", lambda: driver.build_driver(timing=timing))
        self.address = self._code.address

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
            self._rows[row][driver.BACKWARD] = _is_backward(step)
            self._add_steps(step.steps, forks)
            self._rows[row][driver.BODY] = len(self._rows) - row - 1
            return
        row = self._add_row(driver.CALL)
        _fill_call(self._rows[row], self._by_call[id(step)], self._bound)
        self._rows_of.append((step, row))

    def _add_row(self, kind: int) -> int:
        words = np.zeros(driver.STEP_WORDS, np.int64)
        words[driver.KIND] = kind
        self._rows.append(words)
        return len(self._rows) - 1


class IplsRunner:
    """Runs the steps of a schedule in order, independent ones on ``threads`` threads."""

    def __init__(
        self, bound: Bound, block: int, most: NDArray[np.int64], *, threads: int, timing: bool
    ) -> None:
        self._bound, self.block, self.most = bound, block, most
        self.growth: list[tuple[int, int, int]] = []
        pool = Threads(threads) if threads > 1 else None
        self.steps = Steps(bound, bound.lowered.steps, pool, timing=timing)
        self.calls = self.steps.calls
        word, place = ctypes.c_int64, ctypes.c_void_p
        kind = ctypes.CFUNCTYPE(None, place, word, word, place, word)
        self._run = kind(self.steps.address)
        rows, clock = self.steps.rows, bound.clock
        self._what = rows.ctypes.data, len(rows), block, clock.ctypes.data

    def run(self, frames: int) -> None:
        """See `amp.instance.Runner`; every ring is as large as it ever has to be. Iterations begin at whole
        multiples of the block again, where no ring ends in the middle of one."""
        late = -int(self._bound.clock[0]) % self.block
        if 0 < late < frames:
            self._run(*self._what, late)
            frames -= late
        self._run(*self._what, frames)

    def target(self) -> dict[str, int]:
        """See `amp.instance.Runner`."""
        return {
            "driver": self.steps.address,
            "steps": self.steps.rows.ctypes.data,
            "step_count": len(self.steps.rows),
            "block": self.block,
        }

    def grow(self, edge: int) -> None:
        """See `amp.instance.Runner`: it is never asked."""
        raise AssertionError(edge)

    def trace(self, events: Events | None) -> None:
        """See `amp.instance.Runner`."""
        rows, timed = self.steps.rows, self.steps.timed
        rows[timed, driver.NUMBER] = np.arange(len(timed))
        rows[timed, driver.TRACE] = events.address if events else 0
        rows[timed, driver.NOTE] = load_tracer() if events else 0

    def costs(self) -> Words:
        """See `amp.instance.Runner`."""
        costs: Words = self.steps.rows[self.steps.timed, _TIMERS]
        return costs

    def forget_costs(self) -> None:
        """See `amp.instance.Runner`."""
        self.steps.rows[self.steps.timed, _TIMERS] = 0

    def waiting_cycle(self) -> list[int]:
        """See `amp.instance.Runner`: it is refused before anything runs."""
        return []

    def counts(self) -> None:
        """See `amp.instance.Runner`: the clock says them."""

    def seek(self, counts: Counts) -> None:
        """See `amp.instance.Runner`: so the driver does."""


def _is_backward(step: Step) -> bool:
    while isinstance(step, Narrow):
        step = step.steps[0]
    return step.code.kernel.backward


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
    assert bound.native is not None  # a schedule has no routers
    row[driver.FUNCTION] = bound.native.address
    row[driver.WORDS] = memory.address(bound.words_at)
    row[driver.PACE : driver.PACE + driver.PACE_WORDS] = bound.call.pace
