"""The runnable thing: bound memory, a clock, and native code that moves both on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from amp.arrays import check_inputs, check_outputs, keep_apart
from amp.constants import is_whole
from amp.contract import Param, constant_array
from amp.errors import ArenaExhausted, BadNode, BadState, BadValue, ProgramBusy
from amp.graph import check_constant
from amp.jit import words as w
from amp.jit.memory import ring_uses
from amp.jit.snapshot import read_snapshot, write_snapshot
from amp.result import Memory, Result, RingUse, State, Timing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike, NDArray

    from amp.contract import Inlet
    from amp.graph import Frozen, Node
    from amp.jit.bind import Bound, BoundCall
    from amp.schedule import IPLS, Paces

__all__ = ["Memory", "Program", "Progress", "Result", "RingUse", "Runner", "State", "Timing"]

Progress = Callable[[int, int], None]
_PATIENCE_SECONDS = 0.02
"""A native call is kept about this long, so that Ctrl-C and progress come through."""


class Runner(Protocol):
    """An engine: moves a bound program's clock."""

    records: list[tuple[str, NDArray[np.int64]]]

    def run(self, frames: int) -> int | None:
        """Run native code for ``frames`` frames, and move the clock on by as many; or stop at an edge
        whose ring has to grow before the same call can go on, and return its number."""

    def grow(self, edge: int) -> None:
        """Double the ring of an edge."""

    def seek(self) -> None:
        """Take up the counters of firings that the program's words hold."""


@dataclass(frozen=True)
class _Run:
    """A run, from its arrays to where it began; it can be stopped and gone on with."""

    arrays: dict[str, NDArray[np.float64]]
    results: dict[str, NDArray[np.float64]]
    begin: int
    count: int
    progress: Progress | None


class Program:
    """A compiled graph. Make one with `amp.compile`.

    A program keeps its state between runs: ``run(a)`` then ``run(b)`` is ``run(a + b)``. It may be
    moved between threads, but runs in one at a time.
    """

    def __init__(
        self,
        about: Frozen,
        pace: Paces,
        bound: Bound,
        runner: Runner,
        *,
        schedule: IPLS | None,
        notes: list[str],
        timing: bool,
        again: Callable[[], Program],
    ) -> None:
        self._about, self._pace = about, pace
        self._bound, self._runner = bound, runner
        self.schedule = schedule
        self._notes, self._timed, self._again = notes, timing, again
        self._lock = threading.Lock()
        self._stopped: _Run | None = None
        self._params = _collect_params(about)
        self._find_ports()

    def _find_ports(self) -> None:
        """Look up what lies in the program's memory."""
        bound = self._bound
        ports = sorted(bound.border_ports(), key=lambda port: port.node.index)
        self._inputs = {p.node.name: p for p in ports if p.side == "input"}
        self._outputs = {p.node.name: p for p in ports if p.side == "output"}
        self._input_nodes = {name: port.node for name, port in self._inputs.items()}
        self._output_nodes = {name: port.node for name, port in self._outputs.items()}
        self._calls_of: dict[str, list[BoundCall]] = {}

    # ---- running

    @property
    def clock(self) -> int:
        """Frames run since the start or the last reset."""
        return int(self._bound.clock[0])

    @property
    def latency(self) -> dict[str, int]:
        """Frames until the first visible token of each output."""
        return {name: port.start for name, port in self._outputs.items()}

    def run(
        self,
        inputs: Mapping[str, ArrayLike] | None = None,
        *,
        frames: int | None = None,
        out: Mapping[str, NDArray[np.float64]] | None = None,
        progress: Progress | None = None,
    ) -> Result:
        """Move the clock on and return as many frames of each output.

        Parameters
        ----------
        inputs
            For each input of the graph a real array ``(batch, channel, frame)``.
        frames
            Number of frames; needed only if the graph has no inputs.
        out
            Arrays to write outputs into, C-contiguous float64 of the right shapes.
        progress
            Called now and then with the frames done and the frames in all.

        Raises
        ------
        BadInput
            Unknown or missing inputs, wrong shapes, dtypes or lengths.
        ProgramBusy
            If another thread is running this program.
        ArenaExhausted
            If a ring has to grow and `max_arena_bytes` forbids it; `resume` goes on.
        """
        arrays, count = check_inputs(inputs or {}, frames, self._input_nodes, self._about.batch)
        results = check_outputs(out or {}, self._output_nodes, self._about.batch, count)
        arrays = keep_apart(arrays, out or {})
        return self._run(_Run(arrays, results, self.clock, count, progress))

    def resume(self) -> Result:
        """Go on with the run that `ArenaExhausted` stopped, and return what it would have.

        Raise `max_arena_bytes` first.

        Raises
        ------
        BadValue
            If no run has been stopped.
        ArenaExhausted
            If there is still no room.
        """
        if self._stopped is None:
            raise BadValue("resume goes on with a run that ran out of memory", got="none")
        stopped, self._stopped = self._stopped, None
        return self._run(stopped)

    def _run(self, todo: _Run) -> Result:
        if not self._lock.acquire(blocking=False):
            raise ProgramBusy(
                "a program runs in one thread at a time", fix="compile one program per thread"
            )
        try:
            self._refuse_if_stopped()
            self._advance(todo)
        except ArenaExhausted:
            self._stopped = todo
            raise
        finally:
            self._lock.release()
        return Result(todo.results, self.latency, self._about.sample_rate)

    def _refuse_if_stopped(self) -> None:
        if self._stopped is not None:
            raise ProgramBusy(
                "a run that ran out of memory is finished before anything else",
                fix="raise max_arena_bytes and call resume(), or drop it by reset()",
            )

    @property
    def max_arena_bytes(self) -> int:
        """Most bytes of the program's one allocation."""
        return self._bound.max_bytes

    @max_arena_bytes.setter
    def max_arena_bytes(self, count: int) -> None:
        if not is_whole(count, 1):
            raise BadValue("max_arena_bytes is a whole number of bytes", got=repr(count))
        self._bound.max_bytes = count

    def render(
        self,
        inputs: Mapping[str, ArrayLike] | None = None,
        *,
        frames: int | None = None,
        progress: Progress | None = None,
    ) -> Result:
        """Run offline: from a fresh state, drained, every output aligned with the inputs.

        Parameters and errors are those of `run`; outputs have as many frames as the inputs.
        """
        arrays, count = check_inputs(inputs or {}, frames, self._input_nodes, self._about.batch)
        extra = max(self.latency.values(), default=0)
        if extra:
            arrays = {
                name: np.concatenate([a, np.zeros((*a.shape[:2], extra))], axis=2)
                for name, a in arrays.items()
            }
        self.reset()
        result = self.run(arrays, frames=count + extra, progress=progress)
        aligned = {
            name: result[name][..., start : start + count] for name, start in self.latency.items()
        }
        return Result(aligned, dict.fromkeys(aligned, 0), self._about.sample_rate)

    def reset(self) -> None:
        """Back to clock 0; parameters stay as they were set, and rings as large as they have grown."""
        self._stopped = None
        with self._exclusive():
            self._restart()
            for _, record in self._runner.records:
                record[:] = 0

    def _restart(self) -> None:
        self._bound.reset()
        self._runner.seek()

    def _exclusive(self) -> threading.Lock:
        if self._lock.locked():
            raise ProgramBusy("a program is not changed while it runs")
        self._refuse_if_stopped()
        return self._lock

    def _advance(self, todo: _Run) -> None:
        for name, port in self._outputs.items():
            todo.results[name][..., : max(0, port.start - todo.begin)] = 0.0
        self._point(todo)
        chunk = 4096
        before = time.perf_counter()
        while (done := self.clock - todo.begin) < todo.count:
            frames = min(chunk, todo.count - done)
            while (edge := self._runner.run(frames)) is not None:
                self._runner.grow(edge)
                self._find_ports()
                self._point(todo)
            now = time.perf_counter()
            if now - before < _PATIENCE_SECONDS:
                chunk *= 2
            before = now
            if todo.progress is not None:
                todo.progress(self.clock - todo.begin, todo.count)

    def _point(self, todo: _Run) -> None:
        """Have native code read and write the caller's arrays."""
        for name, port in self._inputs.items():
            port.point(todo.arrays[name], todo.begin)
        for name, port in self._outputs.items():
            port.point(todo.results[name], todo.begin)

    # ---- parameters and state

    @property
    def params(self) -> dict[str, NDArray[np.float64]]:
        """Present value of each named parameter."""
        return {
            name: self._bound.params.get(name, sites[0][0].value).copy()
            for name, sites in self._params.items()
        }

    def set(self, name: str, value: ArrayLike) -> None:
        """Change a parameter from the next frame on, without a recompile.

        What a node starts with (a phase) is read by `reset`, and at clock 0.

        Raises
        ------
        BadValue
            If there is no such parameter, or the value is outside its range.
        """
        sites = self._params.get(name)
        if sites is None:
            raise BadValue(
                f"the graph has no parameter {name!r}", expected=str(sorted(self._params))
            )
        arrays = [_fitting(value, site, self._about) for site in sites]
        with self._exclusive():
            self._bound.params[name] = arrays[-1]
            for call in self._users(name):
                self._bound.fill_params(call)
            if self.clock == 0:
                self._restart()  # it may be what a state starts with

    def _users(self, name: str) -> list[BoundCall]:
        """Calls that read a parameter."""
        if name not in self._calls_of:
            users = {node.index for _, node, _ in self._params[name]}
            self._calls_of[name] = [
                call
                for call in self._bound.calls
                if any(node.index in users for group in call.call.groups for node in group.members)
            ]
        return self._calls_of[name]

    def state(self) -> State:
        """Snapshot of the clock and everything that a later frame depends on."""
        with self._exclusive():
            nodes, lines, edges = read_snapshot(self._bound, self._about, self._pace, self.clock)
        return State(self.clock, self._about.identity, nodes, lines, edges, self.params)

    def restore(self, state: State) -> None:
        """Continue from a snapshot of this graph, whatever engine it was taken under.

        Raises
        ------
        BadState
            If it is of another version or graph.
        """
        if not isinstance(state, State) or state.version != 2:
            raise BadState("a snapshot is a State of version 2", got=repr(type(state)))
        if state.graph != self._about.identity:
            raise BadState(
                "a snapshot belongs to the graph it was taken from",
                expected=self._about.identity,
                got=state.graph,
            )
        self._check_state(state)
        for name, value in state.params.items():
            self.set(name, value)
        self.reset()
        with self._exclusive():
            write_snapshot(
                self._bound,
                self._about,
                self._pace,
                state.clock,
                (state.nodes, state.lines, state.edges),
            )
            for bound in self._bound.calls:
                bound.words[w.FIRED] = bound.call.pace.fired(state.clock)
            self._bound.clock[0] = state.clock
            self._runner.seek()

    def _check_state(self, state: State) -> None:
        """Refuse a damaged snapshot before anything has changed."""
        if not is_whole(state.clock, 0, 1 << 48):
            raise BadState("a snapshot's clock is a whole number from 0", got=repr(state.clock))
        with self._exclusive():
            own = read_snapshot(self._bound, self._about, self._pace, state.clock)
        fields = ("nodes", "lines", "edges", "params")
        for field, want in zip(fields, (*own, self.params), strict=True):
            expected, got = _shapes(want), _shapes(getattr(state, field))
            if expected != got:
                wrong = sorted({*expected.items()} ^ {*got.items()}, key=str)
                raise BadState(
                    f"a snapshot's {field} have the names and shapes of its graph's",
                    got=f"something else at {wrong[0][0]}",
                    fix="take the snapshot anew with program.state()",
                )

    def clone(self) -> Program:
        """A program of the same code with memory of its own, at clock 0, parameters as they are set.

        Programs run in one thread at a time; a clone costs a fraction of a compile.
        """
        other = self._again()
        for name, value in self._bound.params.items():
            other.set(name, value)
        return other

    # ---- looking inside

    @property
    def memory(self) -> Memory:
        """What the program holds: its one allocation, and every edge that lies in a ring."""
        with self._exclusive():
            bound = self._bound
            rings = [
                RingUse(source, consumer, capacity, tokens, ring, bound.rings[ring].bytes)
                for source, consumer, ring, capacity, tokens in ring_uses(
                    bound, self._about, self._pace, self.clock
                )
            ]
        return Memory(bound.arena.size, tuple(rings))

    @property
    def ir(self) -> str:
        """Text of every distinct kernel, as it went to code generation."""
        from amp.ir import print_kernel

        seen: dict[int, str] = {}
        for call in self._bound.lowered.calls:
            if id(call.code) not in seen:
                seen[id(call.code)] = f"# {call}, width {call.width}\n" + print_kernel(
                    call.code.kernel
                )
        return "\n\n".join(seen.values())

    @property
    def asm(self) -> str:
        """Disassembly of every distinct kernel (by the system's objdump)."""
        from amp.jit.engine import assembly

        seen: dict[int, str] = {}
        for bound in self._bound.calls:
            if id(bound.native) not in seen:
                seen[id(bound.native)] = f"# {bound.call}\n" + assembly(bound.native.machine_code)
        return "\n".join(seen.values())

    def explain(self) -> str:
        """What became one kernel, and why its neighbours did not join it."""
        kind = "KPN" if self.schedule is None else f"IPLS of block {self.schedule.block}"
        calls = self._bound.lowered.calls
        distinct = len({id(bound.native) for bound in self._bound.calls})
        lines = [f"{kind}: {len(calls)} kernel(s), {distinct} distinct"]
        lines += [f"  {call}: {call.lanes} lane(s) of width {call.width}" for call in calls[:64]]
        if len(calls) > 64:
            lines.append(f"  ... and {len(calls) - 64} more")
        lines += [f"  {note}" for note in self._notes[:64]]
        return "\n".join(lines)

    @property
    def timing(self) -> list[Timing]:
        """Cost of each kernel since the last reset; needs ``compile(..., timing=True)``."""
        if not self._timed:
            raise BadValue("timing is measured on request", fix="amp.compile(..., timing=True)")
        from amp.jit.clock import cycles_per_second

        rate = cycles_per_second()
        return [
            Timing(label, int(record[1]), int(record[2]), float(record[0]) / rate)
            for label, record in self._runner.records
        ]

    def __repr__(self) -> str:
        kind = "KPN" if self.schedule is None else f"IPLS of block {self.schedule.block}"
        return f"<Program, {kind}, {len(self._about.nodes)} nodes, clock {self.clock}>"


def _shapes(content: Any, name: tuple[Any, ...] = ()) -> dict[tuple[Any, ...], object]:
    """Shape of every array in nested dictionaries."""
    if not isinstance(content, dict):
        array = isinstance(content, np.ndarray)
        return {name: (content.shape, content.dtype.kind) if array else type(content)}
    found: dict[tuple[Any, ...], object] = {}
    for key, value in content.items():
        found |= _shapes(value, (*name, key))
    return found


def _collect_params(about: Frozen) -> dict[str, list[tuple[Param, Node, Inlet | None]]]:
    """Where each named parameter is used."""
    found: dict[str, list[tuple[Param, Node, Inlet | None]]] = {}
    for site in about.params:
        found.setdefault(site[0].name, []).append(site)
    for name, sites in found.items():
        if any(param is not sites[0][0] for param, _, _ in sites):
            raise BadValue(
                f"two params are called {name!r}",
                where=", ".join(str(node) for _, node, _ in sites[:4]),
                fix="share one amp.Param, or choose another name",
            )
    return found


def _plain(array: NDArray[np.float64]) -> Any:
    """A number if it is one."""
    return array if array.ndim else array.item()


def _fitting(
    value: ArrayLike, site: tuple[Param, Node, Inlet | None], about: Frozen
) -> NDArray[np.float64]:
    """Array of ``value``, if it can be that of a parameter where it is used."""
    param, node, inlet = site
    try:
        array = constant_array(value, f"param {param.name!r}")
        if inlet is not None:
            check_constant(array, inlet, about.sample_rate, about.batch)
            wide = array.shape[1] if array.ndim == 2 else 1
            known = param.value.shape[1] if param.value.ndim == 2 else 1
            fits = wide in {1, known, node.channels}
        else:
            fits = array.shape == param.value.shape
            if fits:
                kind = type(node.type)
                attrs = {attr: getattr(node.type, attr) for attr in kind.attrs}
                kind(**{a: _plain(array) if v is param else v for a, v in attrs.items()})
    except (BadNode, BadValue) as error:
        raise BadValue(
            error.rule, expected=error.expected, got=error.got, where=str(node)
        ) from None
    if not fits:
        raise BadValue(
            f"param {param.name!r} keeps its shape",
            expected=str(param.value.shape),
            got=str(array.shape),
            where=str(node),
        )
    return array
