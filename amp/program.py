"""The runnable thing: bound memory, a clock, and native code that moves both on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from amp.contract import Param, constant_array
from amp.errors import BadInput, BadNode, BadState, BadValue, ProgramBusy
from amp.graph import check_constant
from amp.jit import words as w
from amp.jit.snapshot import read_snapshot, write_snapshot

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from amp.contract import Inlet
    from amp.graph import Frozen, Node
    from amp.jit.bind import Bound
    from amp.schedule import IPLS

Progress = Callable[[int, int], None]
_PATIENCE_SECONDS = 0.02
"""A native call is kept about this long, so that Ctrl-C and progress come through."""


class Runner(Protocol):
    """An engine: moves a bound program's clock."""

    records: list[tuple[str, NDArray[np.int64]]]

    def run(self, clock: int, frames: int) -> None:
        """Run native code for the frames ``clock`` to ``clock + frames``."""


class Result(Mapping[str, "NDArray[np.float64]"]):
    """What a run returns: ``result[name]`` is float64, ``(batch, channel, frame)``.

    Attributes
    ----------
    latency
        Frames from the start of the clock to the first visible token, by output.
    sample_rate
        Frames per second.
    """

    def __init__(
        self,
        outputs: dict[str, NDArray[np.float64]],
        latency: dict[str, int],
        sample_rate: float,
    ) -> None:
        self._outputs, self.latency, self.sample_rate = outputs, latency, sample_rate

    def __getitem__(self, name: str) -> NDArray[np.float64]:
        return self._outputs[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._outputs)

    def __len__(self) -> int:
        return len(self._outputs)

    def __repr__(self) -> str:
        shapes = ", ".join(f"{name}: {array.shape}" for name, array in self._outputs.items())
        return f"<Result {shapes}>"


@dataclass(frozen=True)
class State:
    """A snapshot of a program, the same for every engine and schedule of one graph.

    Attributes
    ----------
    clock
        Frames run.
    graph
        Fingerprint of the graph.
    nodes
        Node name to its states by name, each ``(batch, channel)``.
    lines
        Node name to its delay lines by name, each ``(batch, channel, frame)``, oldest first.
    edges
        Tokens in flight, ``(batch, channel, count)``, by (consumer, number of the edge).
    """

    clock: int
    graph: str
    nodes: dict[str, dict[str, NDArray[Any]]]
    lines: dict[str, dict[str, NDArray[np.float64]]]
    edges: dict[tuple[str, int], NDArray[np.float64]]
    version: int = 1


@dataclass(frozen=True)
class Timing:
    """What one kernel has cost since the last reset."""

    label: str
    firings: int
    frames: int
    seconds: float


class Program:
    """A compiled graph. Make one with `amp.compile`.

    A program keeps its state between runs: ``run(a)`` then ``run(b)`` is ``run(a + b)``. It may be
    moved between threads, but runs in one at a time.
    """

    def __init__(
        self,
        about: Frozen,
        start: list[int],
        bound: Bound,
        runner: Runner,
        *,
        schedule: IPLS | None,
        notes: list[str],
        timing: bool,
    ) -> None:
        self._about, self._start = about, start
        self._bound, self._runner = bound, runner
        self.schedule = schedule
        self._notes, self._timed = notes, timing
        self._clock = 0
        self._lock = threading.Lock()
        ports = bound.border_ports()
        self._inputs = {p.node.name: p for p in ports if p.side == "input"}
        self._outputs = {p.node.name: p for p in ports if p.side == "output"}
        self._params = _collect_params(about)

    # ---- running

    @property
    def clock(self) -> int:
        """Frames run since the start or the last reset."""
        return self._clock

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
        """
        arrays, count = self._check_inputs(inputs or {}, frames)
        results = self._check_outputs(out or {}, count)
        if not self._lock.acquire(blocking=False):
            raise ProgramBusy(
                "a program runs in one thread at a time", fix="compile one program per thread"
            )
        try:
            self._advance(arrays, results, count, progress)
        finally:
            self._lock.release()
        return Result(results, self.latency, self._about.sample_rate)

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
        arrays, count = self._check_inputs(inputs or {}, frames)
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
        """Back to clock 0; parameters stay as they were set."""
        with self._exclusive():
            self._bound.reset()
            self._clock = 0
            for _, record in self._runner.records:
                record[:] = 0

    def _exclusive(self) -> threading.Lock:
        if self._lock.locked():
            raise ProgramBusy("a program is not changed while it runs")
        return self._lock

    def _advance(
        self,
        arrays: dict[str, NDArray[np.float64]],
        results: dict[str, NDArray[np.float64]],
        count: int,
        progress: Progress | None,
    ) -> None:
        begin = self._clock
        for name, port in self._inputs.items():
            port.point(arrays[name], begin)
        for name, port in self._outputs.items():
            results[name][..., : max(0, port.start - begin)] = 0.0
            port.point(results[name], begin)
        done, chunk = 0, 4096
        before = time.perf_counter()
        while done < count:
            some = min(chunk, count - done)
            self._runner.run(self._clock, some)
            done += some
            self._clock += some
            now = time.perf_counter()
            if now - before < _PATIENCE_SECONDS:
                chunk *= 2
            before = now
            if progress is not None:
                progress(done, count)

    # ---- checking what comes from outside

    def _check_inputs(
        self, inputs: Mapping[str, ArrayLike], frames: int | None
    ) -> tuple[dict[str, NDArray[np.float64]], int]:
        if set(inputs) != set(self._inputs):
            raise BadInput(
                "a run is given each input of the graph",
                expected=str(sorted(self._inputs)),
                got=str(sorted(inputs)),
            )
        arrays = {}
        for name, given in inputs.items():
            node = self._inputs[name].node
            array = np.asarray(given)
            if array.dtype.kind not in "iufb":
                raise BadInput(
                    f"input {name!r} is a real array",
                    got=f"dtype {array.dtype}",
                    where=str(node),
                    fix="convert it to float64",
                )
            expected = (self._about.batch, node.channels)
            if array.ndim != 3 or array.shape[:2] != expected:
                raise BadInput(
                    f"input {name!r} has shape (batch, channel, frame)",
                    expected=f"({expected[0]}, {expected[1]}, frames)",
                    got=str(array.shape),
                    where=str(node),
                    fix="reshape it, e.g. x.reshape(1, 1, -1) for one signal",
                )
            arrays[name] = np.ascontiguousarray(array, np.float64)
        counts = {name: array.shape[2] for name, array in arrays.items()}
        if frames is not None:
            if isinstance(frames, bool) or not isinstance(frames, int | np.integer):
                raise BadInput("frames is a whole number", got=repr(frames))
            counts["frames="] = int(frames)
        if len(set(counts.values())) != 1:
            raise BadInput(
                "a run has one number of frames",
                got=", ".join(f"{name}: {n}" for name, n in counts.items()) or "none",
                fix="give inputs of equal length" if counts else "say run(frames=n)",
            )
        count = next(iter(counts.values()))
        if not 1 <= count < 1 << 48:
            raise BadInput("a run has at least one frame", got=str(count))
        return arrays, count

    def _check_outputs(
        self, out: Mapping[str, NDArray[np.float64]], count: int
    ) -> dict[str, NDArray[np.float64]]:
        unknown = set(out) - set(self._outputs)
        if unknown:
            raise BadInput(
                "out names outputs of the graph",
                expected=str(sorted(self._outputs)),
                got=str(sorted(unknown)),
            )
        results = {}
        for name, port in self._outputs.items():
            shape = (self._about.batch, port.node.channels, count)
            array = out.get(name)
            if array is None:
                array = np.empty(shape)
            elif (
                not isinstance(array, np.ndarray)
                or array.shape != shape
                or array.dtype != np.float64
                or not (array.flags.c_contiguous and array.flags.writeable)
            ):
                raise BadInput(
                    f"out[{name!r}] is a writable C-contiguous float64 array",
                    expected=str(shape),
                    got=f"{getattr(array, 'dtype', type(array))} {np.shape(array)}",
                )
            results[name] = array
        return results

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
        about = self._about
        for param, node, inlet in sites:
            try:
                array = constant_array(value, f"param {name!r}")
                if inlet is not None:
                    check_constant(array, inlet, about.sample_rate, about.batch)
                    wide = array.shape[1] if array.ndim == 2 else 1
                    known = param.value.shape[1] if param.value.ndim == 2 else 1
                    fits = wide in {1, known, node.channels}
                else:
                    fits = array.shape == param.value.shape
            except (BadNode, BadValue) as error:
                raise BadValue(
                    error.rule, expected=error.expected, got=error.got, where=str(node)
                ) from None
            if not fits:
                raise BadValue(
                    f"param {name!r} keeps its shape",
                    expected=str(param.value.shape),
                    got=str(array.shape),
                    where=str(node),
                )
        with self._exclusive():
            self._bound.params[name] = array
            users = {node.index for _, node, _ in sites}
            for call in self._bound.calls:
                if any(n.index in users for g in call.call.groups for n in g.members):
                    self._bound.fill_params(call)

    def state(self) -> State:
        """Snapshot of the clock and everything that a later frame depends on."""
        with self._exclusive():
            nodes, lines, edges = read_snapshot(
                self._bound, self._about.nodes, self._start, self._clock
            )
        return State(self._clock, self._about.fingerprint, nodes, lines, edges)

    def restore(self, state: State) -> None:
        """Continue from a snapshot of this graph, whatever engine it was taken under.

        Raises
        ------
        BadState
            If it is of another version or graph.
        """
        if not isinstance(state, State) or state.version != 1:
            raise BadState("a snapshot is a State of version 1", got=repr(type(state)))
        if state.graph != self._about.fingerprint:
            raise BadState(
                "a snapshot belongs to the graph it was taken from",
                expected=self._about.fingerprint,
                got=state.graph,
            )
        self.reset()
        with self._exclusive():
            write_snapshot(
                self._bound,
                self._about.nodes,
                self._start,
                state.clock,
                (state.nodes, state.lines, state.edges),
            )
            for bound in self._bound.calls:
                bound.words[w.FIRED] = max(0, state.clock - bound.call.start)
            self._clock = state.clock

    # ---- looking inside

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
        return f"<Program, {kind}, {len(self._about.nodes)} nodes, clock {self._clock}>"


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
