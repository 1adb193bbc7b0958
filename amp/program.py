"""The runnable thing: bound memory, a clock, and native code that moves both on."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

import numpy as np

from amp.arrays import check_cotangents, check_heat, check_inputs, check_outputs, keep_apart
from amp.constants import is_whole
from amp.errors import (
    ArenaExhausted,
    BadGraph,
    BadState,
    BadValue,
    Deadlock,
    NonFinite,
    ProgramBusy,
)
from amp.graph import Graph
from amp.instance import Instance, Runner
from amp.jit.handle import Handle
from amp.jit.snapshot import Content
from amp.losses import Loss, checked_answer, term_graph
from amp.nodes.crossfade import LONGEST
from amp.result import Gradients, Memory, Result, RingUse, State, StateCotangents
from amp.schedule import plan
from amp.schedule.dynamic import routers
from amp.snapshots import check_state
from amp.swap import Fade, check_follows, next_schedule

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    Array = NDArray[np.float64]

    from amp.frozen import Node
    from amp.losses import Function, Read, Widths
    from amp.schedule import IPLS
    from amp.swap import Make
    from amp.timing import Timer, Timings

__all__ = [
    "Gradients",
    "Memory",
    "Program",
    "Progress",
    "Result",
    "RingUse",
    "Runner",
    "State",
    "StateCotangents",
]

Progress = Callable[[int, int], None]
Record = bool | Literal["heat"]
Monitor = Callable[[int, "Mapping[str, NDArray[np.float64]]"], None]
_Stopped = tuple[int, Result, Callable[[int], None] | None, int, "NDArray[np.int64] | int"]
"""A run that waits for memory: the clock it goes to, what it returns, whom it tells and how often, and
what kernels had cost before."""
_LOSSES = 16
"""Losses that a program keeps compiled."""
_ONE_THREAD = "a program runs in one thread at a time", "compile one program per thread"


class Program:
    """A compiled graph. Make one with `amp.compile`.

    A program keeps its state between runs: ``run(a)`` then ``run(b)`` is ``run(a + b)``. It may be
    moved between threads, but runs in one at a time. `swap` may be called beside a run.
    """

    def __init__(self, instance: Instance, make: Make, *, timer: Timer | None) -> None:
        self._instance, self._make, self._timer = instance, make, timer
        self._fade: Fade | None = None
        self._stopped: _Stopped | None = None
        self._lock = threading.Lock()  # held by whoever uses the program
        self._border = threading.Lock()  # held by them too, and by a swap, for which they wait
        self._swaps = threading.Lock()
        self._user = 0  # thread that holds the lock
        self._handle: Handle | None = None
        self._loss_program = functools.lru_cache(_LOSSES)(functools.partial(_compile_loss, make))

    @property
    def schedule(self) -> IPLS | None:
        """The schedule it runs by; None is the data-driven Kahn process network."""
        return self._instance.schedule

    # ---- running

    @property
    def clock(self) -> int:
        """Frames run since the start or the last reset."""
        return self._instance.clock

    @property
    def latency(self) -> dict[str, int]:
        """Frames until the first visible token of each output."""
        return (self._fade or self._instance).latency

    def run(
        self,
        inputs: Mapping[str, ArrayLike] | None = None,
        *,
        frames: int | None = None,
        out: Mapping[str, NDArray[np.float64]] | None = None,
        progress: Progress | None = None,
        monitor: Monitor | None = None,
        memory_every: int = 0,
        record: Record = False,
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
        monitor
            Called as often with the clock and what each probe has recorded since the last call.
        memory_every
            Note what every ring holds every so many frames, in ``result.memory``.
        record
            Keep what `backward` needs, until the next recorded run; see there. With ``"heat"``, also what
            it needs for cotangents of heat.

        Raises
        ------
        BadInput
            Unknown or missing inputs, wrong shapes, dtypes or lengths.
        ProgramBusy
            If another thread is running this program; a recorded run in a crossfade.
        NotDifferentiable
            For a recorded run, naming the node that has no derivative.
        ArenaExhausted
            If a ring has to grow and `max_arena_bytes` forbids it; `resume` goes on.
        NonFinite
            If a node makes an infinity or NaN and the program was compiled to raise then. It does so
            in every run until it is reset or restored.
        """
        with self._alone(*_ONE_THREAD):
            if not is_whole(memory_every, 0):
                raise BadValue("memory_every is a whole number of frames", got=repr(memory_every))
            if not (isinstance(record, bool) or record == "heat"):
                raise BadValue("record is True, False or 'heat'", got=repr(record))
            return self._run(
                inputs or {}, frames, out or {}, progress, monitor, memory_every, record=record
            )

    def backward(
        self,
        cotangents: Mapping[str, ArrayLike],
        *,
        later: StateCotangents | None = None,
        heat: Mapping[str, ArrayLike] | None = None,
    ) -> Gradients:
        """Cotangents of inputs, params and state, from those of the outputs of the last recorded run.

        Time runs backwards. The cotangent of a value is the derivative of a loss with respect to it; for a
        loss L of the outputs, give ``dL/d out``, and for one of heat, ``dL/d heat``.

        Parameters
        ----------
        cotangents
            For outputs of the run arrays of their shapes; those left out are zero.
        later
            Cotangent of the state in which the run ended: ``state`` of what `backward` gave for the run
            that followed. Without it what comes later does not count (truncated backpropagation
            through time).
        heat
            For nodes arrays of the shape of ``result.heat[name]``, ``(batch, sample)``; those left out are
            zero. For a run that was recorded with ``record="heat"``.

        Raises
        ------
        BadValue
            If no run was recorded, or not with heat.
        BadInput
            For unknown outputs or nodes, or wrong shapes.

        Examples
        --------
        >>> import amp
        >>> g = amp.Graph()
        >>> g.output("out", amp.Param(0.5, name="gain") * g.input("x"))
        >>> program = amp.compile(g)
        >>> y = program.run({"x": np.ones((1, 1, 4))}, record=True)["out"]
        >>> gradients = program.backward({"out": 2.0 * y})  # of the sum of squares
        >>> gradients.inputs["x"], gradients.params["gain"]
        (array([[[0.5, 0.5, 0.5, 0.5]]]), array(4.))

        The heat of a node is the energy of what it reads, here of 4 frames:

        >>> program = amp.compile(g, heat=1)
        >>> heat = program.run({"x": np.ones((1, 1, 4))}, record="heat").heat["out"]
        >>> program.backward({}, heat={"out": np.ones_like(heat)}).inputs["x"] * g.sample_rate
        array([[[0.5, 0.5, 0.5, 0.5]]])
        """
        with self._alone():
            now = self._instance
            if not now.recorded:
                raise BadValue(
                    "backward goes back over the last recorded run",
                    got="none yet",
                    fix="call program.run(..., record=True) first",
                )
            tape = now.tape
            arrays = check_cotangents(
                cotangents, now.outputs, now.about.batch, tape.end - tape.begin
            )
            samples = None if heat is None else check_heat(heat, now.about, len(tape.clocks))
            return tape.go_back(arrays, later, samples)

    def value_and_grad(
        self,
        loss: Loss | Callable[[Result], tuple[float, Mapping[str, ArrayLike]]],
        inputs: Mapping[str, ArrayLike] | None = None,
        *,
        frames: int | None = None,
    ) -> tuple[float, Gradients]:
        """Run from the present state, and return a loss of outputs and heat, and its derivatives.

        As `run` does, it moves the clock on: `reset` first if each call is to begin anew. Every frame
        counts, also those before the first visible token, which are zero.

        Parameters
        ----------
        loss
            A loss made by `amp.losses`, which is native code and has the same bits under every engine
            and schedule. Or a function that is given the `Result` and returns the value and the
            cotangents: by output the derivative of the value, ``(batch, channel, frame)``.
        inputs, frames
            As for `run`.

        Raises
        ------
        BadInput, ProgramBusy, NotDifferentiable, BadValue
            As `run` and `backward`; and if the loss is none, or does not fit the outputs.

        Examples
        --------
        >>> import amp
        >>> g = amp.Graph()
        >>> g.output("out", amp.Param(0.5, name="gain") * g.input("x"))
        >>> program = amp.compile(g)
        >>> x = np.ones((1, 1, 4))
        >>> value, gradients = program.value_and_grad(amp.losses.mse("out", 2.0 * x), {"x": x})
        >>> value, gradients.params["gain"]
        (2.25, array(-3.))
        >>> value, gradients = program.value_and_grad(
        ...     lambda result: (result["out"].sum(), {"out": x}), {"x": x}
        ... )
        >>> value, gradients.params["gain"]
        (2.0, array(4.))
        """
        if not isinstance(loss, Loss) and not callable(loss):
            raise BadValue(
                "a loss is made by amp.losses, or a function of a result",
                got=repr(loss),
                fix='amp.losses.mse("out", target)',
            )
        with self._alone(*_ONE_THREAD):
            now, native = self._instance, isinstance(loss, Loss)
            record: Record = True
            if isinstance(loss, Loss):
                loss.check(now.outputs, now.about.numbers)
                record = "heat" if loss.is_warm else True
            # a function of one's own may write into what it was given
            result = self._run(inputs or {}, frames, {}, None, record=record, keep=not native)
            recorded = now.recorded
        try:
            if isinstance(loss, Loss):
                answer = loss.evaluate(result, now.about, self._run_loss)
            else:
                answer = (*checked_answer(loss(result)), None)
            del result  # it is as large as what comes now
            if self._instance.recorded is not recorded:
                raise ProgramBusy(
                    "nothing else is recorded between a run and going back over it",
                    fix="record with a clone of the program",
                )
            value, cotangents, heat = answer
            return value, self.backward(cotangents, heat=heat)
        finally:
            if now.recorded is recorded:
                now.forget_tape()  # the inputs are the caller's again

    def _run_loss(
        self, function: Function, widths: Widths, signals: Sequence[Array], scale: float
    ) -> tuple[Array, dict[Read, Array]]:
        """See `Loss.evaluate`."""
        about = self._instance.about
        program = self._loss_program(function, widths, about.sample_rate, about.batch)
        if program.params["scale"] != scale:
            program.set("scale", scale)
        program.reset()
        result = program.run({f"signal {i}": array for i, array in enumerate(signals)})
        sums = program._instance.states("loss")
        slopes = {name: result[f"slope {i}"] for i, (name, _, heard) in enumerate(widths) if heard}
        return np.stack([sums["sum"], sums["error"]]), slopes

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
        with self._alone(stopped=True):
            if self._stopped is None:
                raise BadValue("resume goes on with a run that ran out of memory", got="none")
            return self._finish(*self._stopped)

    @property
    def max_arena_bytes(self) -> int:
        """Most bytes of the program's one allocation."""
        return self._instance.bound.max_bytes

    @max_arena_bytes.setter
    def max_arena_bytes(self, count: int) -> None:
        if not is_whole(count, 1):
            raise BadValue("max_arena_bytes is a whole number of bytes", got=repr(count))
        self._instance.bound.max_bytes = count

    def render(
        self,
        inputs: Mapping[str, ArrayLike] | None = None,
        *,
        frames: int | None = None,
        progress: Progress | None = None,
    ) -> Result:
        """Run offline: from a fresh state, drained, every output aligned with the inputs.

        Parameters and errors are those of `run`; outputs have as many frames as the inputs. What
        probes record is not aligned: it begins at clock 0 and ends when the last output has.
        """
        with self._alone(*_ONE_THREAD):
            now = self._instance
            arrays, count = check_inputs(inputs or {}, frames, now.inputs, now.about.batch)
            latency = now.latency
            extra = max(latency.values(), default=0)
            if extra:
                arrays = {
                    name: np.concatenate([a, np.zeros((*a.shape[:2], extra))], axis=2)
                    for name, a in arrays.items()
                }
            self._reset()
            result = self._run(arrays, count + extra, {}, progress)
        aligned = {name: result[name][..., at : at + count] for name, at in latency.items()}
        rendered = Result(aligned, dict.fromkeys(aligned, 0), now.about.sample_rate)
        rendered.probes, rendered.clocks = result.probes, result.clocks
        rendered.timings = result.timings
        rendered.heat_rows = result.heat_rows
        return rendered

    def reset(self) -> None:
        """Back to clock 0; parameters stay as they were set, and rings as large as they have grown. A
        crossfade is over, and so is a run that ran out of memory."""
        with self._alone(stopped=True):
            self._reset()

    def _reset(self) -> None:
        self._fade = self._stopped = None
        self._instance.reset()

    @contextmanager
    def _alone(
        self,
        rule: str = "a program is not changed while it runs",
        fix: str = "",
        *,
        stopped: bool = False,
    ) -> Iterator[None]:
        """Use the program, or refuse while another one does; a swap is waited for. A ``stopped`` run
        is in the way of most uses."""
        if not self._lock.acquire(blocking=False):
            raise ProgramBusy(rule, fix=fix)
        try:
            self._user = threading.get_ident()
            with self._border, self._held(rule, fix):
                if not stopped:
                    self._refuse_stopped()
                yield
        finally:
            self._user = 0
            self._lock.release()

    @contextmanager
    def _held(self, rule: str = "", fix: str = "") -> Iterator[None]:
        """Keep native callers of the handle out; without a ``rule`` to break, wait for them."""
        if handle := self._handle:
            if not rule:
                handle.wait()
            elif not handle.enter():
                raise ProgramBusy(rule, fix=fix)
        try:
            yield
        finally:
            if self._handle:  # it may have been made meanwhile
                self._handle.leave(ready=self._fade is None)

    def _run(
        self,
        inputs: Mapping[str, ArrayLike],
        frames: int | None,
        out: Mapping[str, NDArray[np.float64]],
        progress: Progress | None,
        monitor: Monitor | None = None,
        memory_every: int = 0,
        every: int = 0,
        *,
        record: Record = False,
        keep: bool = True,
    ) -> Result:
        now, fade = self._instance, self._fade
        if record and fade:
            raise ProgramBusy(
                "a recorded run is of one graph, and a crossfade has two",
                got=f"{fade.left} frames of it left",
                fix="run them first",
            )
        about = now.about
        arrays, count = check_inputs(inputs, frames, now.inputs, about.batch)
        outputs = fade.outputs if fade else now.outputs
        results = check_outputs(out, outputs, about.batch, count)
        arrays = keep_apart(arrays, out)
        begin = now.clock
        end = begin + count
        result = Result(results, self.latency, about.sample_rate)
        probes = now.probe_room(begin, end)
        result.probes, result.clocks = probes, now.probe_clocks(begin, end)
        heard = begin

        def tell(clock: int) -> None:
            nonlocal heard
            if monitor is not None:
                monitor(clock, now.probed(probes, begin, (heard, clock)))
                heard = clock
            if memory_every:
                result.memory.append(self._instance.memory())
            if progress is not None:
                progress(clock - begin, count)

        costs = now.runner.costs() if self._timer else 0
        if fade:
            try:
                fade.run_until(end, arrays, results, probes, begin, tell)
            except BaseException:
                self._fade = None  # its sides may be at different clocks
                raise
            if not fade.left:
                self._fade = None
        now.read_from(arrays, begin)
        now.write_to(results, begin)
        now.record_in(probes, begin)
        if record:  # callers reuse theirs, unless they are told not to
            kept = {n: np.array(a) if keep else a for n, a in arrays.items()}
            now.start_tape(kept, heat=record == "heat")
        told = monitor or memory_every or progress
        return self._finish(end, result, tell if told else None, every or memory_every, costs)

    def _finish(
        self,
        clock: int,
        result: Result,
        tell: Callable[[int], None] | None,
        every: int,
        costs: NDArray[np.int64] | int,
    ) -> Result:
        """Run until ``clock``, with the arrays of ``result`` in place; kernels had cost ``costs``."""
        try:
            self._instance.run_until(clock, tell, every)
        except ArenaExhausted:
            self._stopped = clock, result, tell, every, costs
            raise
        except NonFinite:
            self._stopped = None
            raise
        except Deadlock as error:
            self._stopped, error.result = None, result
            self._note_heat(result)
            raise
        self._stopped = None
        if self._timer:
            result.timings = self._timer.table(self._instance, costs)
        self._note_heat(result)
        return result

    def _note_heat(self, result: Result) -> None:
        """Have a result say what the nodes' heat was since the last one."""
        if heat := self._instance.heat:
            result.heat_rows = heat.take()

    def _refuse_stopped(self) -> None:
        if self._stopped:
            raise ProgramBusy(
                "a run that ran out of memory is finished before anything else",
                fix="raise max_arena_bytes and call resume(), or drop it by reset()",
            )

    def handle(self) -> Handle:
        """The program as native code sees it: for loops compiled by numba, or anything that can call C.

        A program has one handle. What native callers do and what `run`, `set`, `swap` and so on do may
        come in turn. Where `run` would raise, a native call answers with a code and changes nothing.
        Call this again after a swap to a graph with other outputs.

        Raises
        ------
        BadGraph
            If rates depend on data: then rings may have to grow while it runs.

        Examples
        --------
        >>> import amp
        >>> g = amp.Graph()
        >>> g.output("out", 0.5 * g.input("x"))
        >>> program = amp.compile(g)
        >>> handle = program.handle()
        >>> x, y = np.ones((1, 1, 4)), np.empty((1, 1, 4))
        >>> inputs, outputs = (np.array([a.ctypes.data]) for a in (x, y))
        >>> handle.run(handle.program, inputs.ctypes.data, outputs.ctypes.data, 4)
        0
        >>> y, program.clock
        (array([[[0.5, 0.5, 0.5, 0.5]]]), 4)
        """
        with self._alone(*_ONE_THREAD):
            now = self._instance
            for router in routers(now.about):
                raise BadGraph(
                    "native code runs programs whose rates do not depend on data",
                    got=router.kind,
                    where=str(router),
                    fix="call program.run, which lets rings grow",
                )
            for node in now.about.nodes:
                if node.type.border == "probe":
                    raise BadGraph(
                        "native code gives arrays for inputs and outputs, and none for probes",
                        where=str(node),
                        fix="call program.run, or make the probed stream an output",
                    )
            if self._handle is None:
                self._handle = Handle(self)
            heat = now.heat.address if now.heat else 0
            self._handle.follow(now.bound, now.runner.target(), heat, accept=True)
            return self._handle

    # ---- another graph

    def swap(self, graph: Graph, ipls: IPLS | None = None, *, crossfade: int = 0) -> None:
        """Compute another graph from the next run on, and keep the state that has a place in it.

        The clock goes on. A state is kept where name and type of the node, and name and shape of the
        state are the same; a delay line keeps its newest values; tokens in flight are kept where the
        node that wrote them is; so are parameters that were set, where they fit. The rest is as it
        starts. Everything is compiled before the switch, so that another thread may run the program
        meanwhile; the switch waits for its run to end, and its next one for the switch.

        Parameters
        ----------
        graph
            A graph of the same sample rate, batch and inputs. Outputs may come and go; one that
            stays has as many channels as before.
        ipls
            A schedule for it. None keeps the engine: a KPN stays one, and a schedule is kept if it
            fits the graph, else planned with the same block and width.
        crossfade
            Frames in which both graphs run and what is heard goes from the old one to the new one in
            a straight line. An output that only one of them has comes from silence, or goes there.

        Raises
        ------
        BadGraph, InconsistentRates, Deadlock, TooSlowCycle, IllegalSchedule, BadValue
            As `amp.compile`; the program is as it was.
        ProgramBusy
            While a crossfade or another swap is under way, and from within a run.

        Examples
        --------
        >>> import amp
        >>> def gain(factor):
        ...     g = amp.Graph()
        ...     g.output("out", factor * g.input("x"))
        ...     return g
        >>> program = amp.compile(gain(1.0))
        >>> x = np.ones((1, 1, 4))
        >>> program.run({"x": x})["out"]
        array([[[1., 1., 1., 1.]]])
        >>> program.swap(gain(3.0), crossfade=4)
        >>> program.run({"x": x})["out"]
        array([[[1. , 1.5, 2. , 2.5]]])
        >>> program.run({"x": x})["out"]
        array([[[3., 3., 3., 3.]]])
        """
        if not isinstance(graph, Graph):
            raise BadGraph("a program is swapped for a graph", got=repr(graph))
        if not is_whole(crossfade, 0, LONGEST):
            raise BadValue(
                f"a crossfade is a whole number of frames from 0 to {LONGEST}",
                got=repr(crossfade),
            )
        if self._user == threading.get_ident():
            raise ProgramBusy("a program is not swapped from within its own run")
        if not self._swaps.acquire(blocking=False):
            raise ProgramBusy("a program is swapped by one thread at a time")
        try:
            self._swap(graph, ipls, crossfade)
        finally:
            self._swaps.release()

    def _swap(self, graph: Graph, ipls: IPLS | None, crossfade: int) -> None:
        old = self._instance
        if fade := self._fade:  # a run may end it meanwhile, and only a swap begins one
            raise ProgramBusy(
                "a program is swapped when its last crossfade is over",
                got=f"{fade.left} frames of it left",
                fix="run them first, or reset the program",
            )
        check_follows(old.about, graph)
        new = self._make(graph, ipls or next_schedule(old.schedule, graph))
        fade = Fade(old, new, crossfade, self._make) if crossfade else None
        known = dict(old.bound.params)
        new.set(new.fitting(known))
        carry = new.carry_from(old)
        with self._border, self._held():
            self._refuse_stopped()
            late = {n: v for n, v in old.bound.params.items() if known.get(n) is not v}
            new.set(new.fitting(late))
            if old.clock:  # else there is nothing to keep
                carry.run(old.clock)
                new.go_to(old.clock)
                if new.heat and old.heat:
                    new.heat.carry_from(old.heat)
            old.heat = None  # it heats no more
            self._instance, self._fade = new, fade
            if self._handle:
                heat = new.heat.address if new.heat else 0
                self._handle.follow(new.bound, new.runner.target(), heat)

    # ---- parameters and state

    @property
    def params(self) -> dict[str, NDArray[np.float64]]:
        """Present value of each named parameter."""
        return self._instance.params

    def set(self, name: str, value: ArrayLike) -> None:
        """Change a parameter from the next frame on, without a recompile; see `update`."""
        self.update({name: value})

    def update(self, params: Mapping[str, ArrayLike]) -> None:
        """Change parameters from the next frame on: all of them, or none if one is refused.

        What a node starts with (a phase) is read by `reset`, and at clock 0.

        Raises
        ------
        BadValue
            If there is no such parameter, or the value is outside its range.
        """
        with self._alone():
            now = self._instance
            now.set({name: now.fit(name, value) for name, value in params.items()})
            if self._fade:
                old = self._fade.old
                old.set(old.fitting({name: now.bound.params[name] for name in params}))

    def state(self) -> State:
        """Snapshot of the clock and everything that a later frame depends on.

        Raises
        ------
        BadState
            During a crossfade.
        """
        with self._alone():
            now, clock = self._instance, self.clock
            if self._fade:
                raise BadState(
                    "a snapshot is of one graph, and a crossfade has two",
                    got=f"{self._fade.left} frames of it left",
                    fix="run them first",
                )
            heat, powers = now.heat.state() if now.heat else ({}, {})
            content = now.read(clock)._asdict()
            return State(
                clock,
                now.about.identity,
                **content,
                params=now.params,
                heat=heat,
                powers=powers,
            )

    def restore(self, state: State) -> None:
        """Continue from a snapshot of this graph, whatever engine it was taken under. A crossfade is
        over.

        Raises
        ------
        BadState
            If it is of another version or graph.
        """
        if not isinstance(state, State) or state.version != 4:
            raise BadState("a snapshot is a State of version 4", got=repr(type(state)))
        with self._alone():
            now = self._instance
            if state.graph != now.about.identity:
                raise BadState(
                    "a snapshot belongs to the graph it was taken from",
                    expected=now.about.identity,
                    got=state.graph,
                )
            check_state(state, now)
            params = {name: now.fit(name, value) for name, value in state.params.items()}
            self._reset()
            now.set(params)
            fields = {name: getattr(state, name) for name in Content._fields}
            now.write(state.clock, Content(**fields))
            if now.heat:
                now.heat.write(state.clock, state.heat, state.powers)

    def clone(self) -> Program:
        """A program of the same code with memory of its own, at clock 0, parameters as they are set.

        Programs run in one thread at a time; a clone costs a fraction of a compile.
        """
        now = self._instance
        other = Program(now.again(), self._make, timer=self._timer)
        other._instance.set(dict(now.bound.params))
        return other

    # ---- looking inside

    @property
    def inputs(self) -> dict[str, tuple[int, int]]:
        """Batch and channels of each input."""
        return self._widths(self._instance.inputs)

    @property
    def outputs(self) -> dict[str, tuple[int, int]]:
        """Batch and channels of each output."""
        return self._widths(self._instance.outputs)

    def _widths(self, nodes: Mapping[str, Node]) -> dict[str, tuple[int, int]]:
        return {name: (self._instance.about.batch, node.channels) for name, node in nodes.items()}

    @property
    def memory(self) -> Memory:
        """What the program holds: its one allocation, and every edge that lies in a ring.

        During a crossfade, those of the new graph.
        """
        with self._alone():
            return self._instance.memory()

    @property
    def ir(self) -> str:
        """Text of every distinct kernel, as it went to code generation."""
        from amp.ir import print_kernel

        seen: dict[int, str] = {}
        for call in self._instance.bound.lowered.calls:
            if not call.router and id(call.code) not in seen:
                seen[id(call.code)] = f"# {call}, width {call.width}\n" + print_kernel(
                    call.code.kernel
                )
        return "\n\n".join(seen.values())

    @property
    def asm(self) -> str:
        """Disassembly of every distinct kernel (by the system's objdump)."""
        from amp.jit.engine import assembly

        seen: dict[int, str] = {}
        for bound in self._instance.bound.calls:
            if bound.native is not None and id(bound.native) not in seen:
                seen[id(bound.native)] = f"# {bound.call}\n" + assembly(bound.native.machine_code)
        return "\n".join(seen.values())

    def explain(self) -> str:
        """What became one kernel, and why its neighbours did not join it."""
        kind = "KPN" if self.schedule is None else f"IPLS of block {self.schedule.block}"
        calls = self._instance.bound.lowered.calls
        distinct = len({id(bound.native) for bound in self._instance.bound.calls})
        lines = [f"{kind}: {len(calls)} kernel(s), {distinct} distinct"]
        lines += [
            f"  {call}: {call.lanes} lane(s) of width {call.width}{call.prebuilt}"
            for call in calls[:64]
        ]
        if len(calls) > 64:
            lines.append(f"  ... and {len(calls) - 64} more")
        lines += [f"  {note}" for note in self._instance.notes[:64]]
        return "\n".join(lines)

    @property
    def timing(self) -> Timings:
        """Cost of each kernel since the last reset; needs ``compile(..., timing=True)``.

        Raises
        ------
        BadValue
            If the program was not compiled for it.
        """
        if not self._timer:
            raise BadValue("timing is measured on request", fix="amp.compile(..., timing=True)")
        return self._timer.table(self._instance)()

    def __repr__(self) -> str:
        kind = "KPN" if self.schedule is None else f"IPLS of block {self.schedule.block}"
        return f"<Program, {kind}, {len(self._instance.about.nodes)} nodes, clock {self.clock}>"


def _compile_loss(
    make: Make, function: Function, widths: Widths, sample_rate: float, batch: int
) -> Program:
    graph = term_graph(function, widths, sample_rate, batch)
    return Program(make(graph, plan(graph)), make, timer=None)
