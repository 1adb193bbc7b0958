"""A compiled graph in memory of its own: what a program runs, and what a swap exchanges."""

from __future__ import annotations

import functools
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from amp.constants import check_constant
from amp.contract import Param, constant_array
from amp.errors import BadNode, BadValue, Deadlock
from amp.jit import words as w
from amp.jit.carry import Carry
from amp.jit.counts import FIRED, Counts
from amp.jit.snapshot import Content, find_guards, find_places, read_snapshot, write_snapshot
from amp.nonfinite import first_nonfinite
from amp.result import Memory, RingUse

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import ArrayLike, NDArray

    from amp.contract import Inlet
    from amp.frozen import Frozen, Node
    from amp.jit.bind import BorderPort, Bound, BoundCall
    from amp.jit.events import Events
    from amp.jit.heat import Heat
    from amp.jit.lowered import Call
    from amp.jit.snapshot import Places
    from amp.schedule import IPLS, Paces
    from amp.tape import Tape

    Signals = Mapping[str, NDArray[np.float64]]

_PATIENCE_SECONDS = 0.02
"""A native call is kept about this long, so that Ctrl-C and progress come through."""


class Runner(Protocol):
    """An engine: moves a bound program's clock.

    Attributes
    ----------
    calls
        Its kernels.
    most
        Most tokens that each edge has held, or can hold.
    growth
        Rings that have grown: number, clock, capacity from then on.
    """

    calls: list[Call]

    def run(self, frames: int) -> int | None:
        """Run native code for ``frames`` frames, and move the clock on by as many; or stop at an edge
        whose ring has to grow before the same call can go on, and return its number."""

    def grow(self, edge: int) -> None:
        """Double the ring of an edge."""

    @property
    def most(self) -> NDArray[np.int64]: ...

    @property
    def growth(self) -> list[tuple[int, int, int]]: ...

    def trace(self, events: Events | None) -> None:
        """Note every call of native code from now on, if it was compiled to be timed."""

    def costs(self) -> NDArray[np.int64]:
        """Cycles, firings and frames of each of its calls, if it was compiled to be timed."""

    def forget_costs(self) -> None:
        """Count them from 0 on."""

    def waiting_cycle(self) -> list[int]:
        """Nodes that wait for one another and can never fire again, in the direction of the stream."""

    def target(self) -> dict[str, int]:
        """What native code calls, as fields of `amp.jit.handle.PROGRAM`."""

    def counts(self) -> Counts | None:
        """How often nodes have fired, if it is more than the clock says."""

    def seek(self, counts: Counts) -> None:
        """Go on as if nodes had fired so often."""


class Instance:
    """A compiled graph in memory of its own.

    Attributes
    ----------
    about, pace
        The graph, and when its nodes fire.
    bound, runner
        Its memory, and the engine that works on it.
    schedule, notes
        Its schedule, if it has one, and why kernels are what they are.
    again
        Makes another one of the same code.
    recorded, tape
        Stands for the recorded run that can be gone back over; what ran in its place.
    heat
        That of its nodes, if it is asked for.
    inputs, outputs
        Nodes that touch the caller's arrays, by name.
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
        again: Callable[[], Instance],
        tape: Callable[[int, Heat | None], Tape],
        heat: Heat | None,
    ) -> None:
        self.about, self.pace, self.bound, self.runner = about, pace, bound, runner
        self.schedule, self.notes, self.again, self.heat = schedule, notes, again, heat
        self._make_tape = tape
        self._tapes: dict[bool, Tape] = {}  # without heat, and with it
        self.recorded: object | None = None
        self._taping: Tape | None = None
        self._find_ports()
        self.inputs = {name: port.node for name, port in self._ins.items()}
        self.outputs = {name: port.node for name, port in self._outs.items()}
        self._params = _collect_params(about)
        first = [call.call.groups[0].first.index for call in bound.calls]
        self._first = np.array(first, np.int64)  # a node of each call

    def _find_ports(self) -> None:
        """Look up what lies in the program's memory."""
        ports = sorted(self.bound.border_ports(), key=lambda port: port.node.index)
        self._ins, self._outs, self._probes = (
            {port.node.name: port for port in ports if port.node.type.border == side}
            for side in ("input", "output", "probe")
        )
        self._arrays: dict[BorderPort, tuple[NDArray[np.float64], int]] = {}
        words = [call.words_at // 8 + w.FIRED for call in self.bound.calls]
        self._words = np.array(words, np.int64)
        self._latency = {name: port.pace.start for name, port in self._outs.items()}
        for known in ("_calls_of", "_guards", "places"):
            vars(self).pop(known, None)

    # ---- running

    @property
    def clock(self) -> int:
        """Frames run."""
        return self.bound.clock.item()

    @property
    def latency(self) -> dict[str, int]:
        """Frames until the first visible token of each output."""
        return self._latency.copy()

    def read_from(self, arrays: Signals, clock: int) -> None:
        """Have inputs read ``arrays``, whose first frame is at ``clock``."""
        for name, port in self._ins.items():
            self._point(port, arrays[name], clock)

    def write_to(self, arrays: Signals, clock: int) -> None:
        """Have outputs write ``arrays``, whose first frame is at ``clock``; silence before a token."""
        self._write(self._outs, arrays, clock)

    def record_in(self, arrays: Signals, clock: int) -> None:
        """Have probes write ``arrays``, which begin at ``clock``."""
        self._write(self._probes, arrays, clock)

    def _write(self, ports: Mapping[str, BorderPort], arrays: Signals, clock: int) -> None:
        now = self.clock
        for name, port in ports.items():
            if port.clocked and now < port.pace.start:
                arrays[name][..., now - clock : port.pace.start - clock] = 0.0
            self._point(port, arrays[name], clock)

    def probe_room(self, begin: int, end: int) -> dict[str, NDArray[np.float64]]:
        """Arrays for what probes record from clock ``begin`` until ``end``."""
        batch = self.about.batch
        return {
            name: np.empty((batch, port.node.channels, port.first(end) - port.first(begin)))
            for name, port in self._probes.items()
        }

    def probed(self, arrays: Signals, begin: int, some: tuple[int, int]) -> Signals:
        """The part of what probes record in ``arrays`` from ``begin`` on that ``some`` clocks span."""
        return {
            name: arrays[name][..., slice(*(port.first(at) - port.first(begin) for at in some))]
            for name, port in self._probes.items()
        }

    def probe_clocks(self, begin: int, end: int) -> dict[str, NDArray[np.int64]]:
        """When the tokens become visible that probes record, of streams at other rates than the clock's."""
        return {
            name: port.pace.clock(np.arange(port.first(begin), port.first(end)))
            for name, port in self._probes.items()
            if not port.clocked
        }

    def _point(self, port: BorderPort, array: NDArray[np.float64], clock: int) -> None:
        port.point(array, clock)
        self._arrays[port] = array, clock

    def _grow(self, edge: int) -> None:
        """Double the ring of an edge, and find everything again."""
        self.runner.grow(edge)
        if self.heat:
            self.heat.find_sums()
        known = {port.node.name: where for port, where in self._arrays.items()}
        self._find_ports()
        for port in (*self._ins.values(), *self._outs.values(), *self._probes.values()):
            if port.node.name in known:
                self._point(port, *known[port.node.name])

    def run_until(
        self, clock: int, tell: Callable[[int], None] | None = None, every: int = 0
    ) -> None:
        """Move the clock on, and ``tell`` now and then where it is, or ``every`` so many frames.

        Raises
        ------
        ArenaExhausted
            If a ring may not grow; the same call goes on.
        Deadlock
            If in the end some nodes wait for one another.
        NonFinite
            If a node made an infinity or NaN, and is guarded.
        """
        chunk = every or 4096
        before, at = time.perf_counter(), self.clock
        taping, self._taping = self._taping, None
        run = taping.run if taping else self.runner.run
        try:
            while at < clock:
                at = min(at + chunk, clock)
                self._advance(at, run)
                now = time.perf_counter()
                if now - before < _PATIENCE_SECONDS and not every:
                    chunk *= 2
                before = now
                self._check_finite()
                if tell is not None:
                    tell(at)
        finally:
            if self.heat:
                self.heat.advance(self.clock)
        self._arrays.clear()  # the caller's again
        if taping:
            taping.finish()
            self.recorded = object()
        if cycle := self.runner.waiting_cycle():
            nodes = [self.about.nodes[index] for index in cycle]
            raise Deadlock(
                "some nodes wait for one another's tokens, and none of them can ever fire again",
                got=" -> ".join(repr(node.name) for node in [*nodes, nodes[0]])
                + f" at clock {self.clock}",
                where=str(nodes[0]),
                fix="give one of these edges initial tokens: amp.edge(stream, initial=1)",
            )

    @functools.cached_property
    def _guards(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        return find_guards(self.bound)

    def _check_finite(self) -> None:
        """Raise for the first unsound firing that a lane has noted."""
        words, places = self._guards
        if not len(words):
            return
        arena = self.bound.arena
        firings = arena.view(0, (arena.size // 8,), np.int64)[words]
        if (firings < 0).all():
            return
        first: dict[int, int] = {}
        for (node, read), firing in zip(places.tolist(), firings.tolist(), strict=True):
            if firing >= 0:
                if read >= 0:  # of a sum, by one who takes a token of it in each firing
                    number = int(self.about.first[node]) + read
                    node, firing = (  # noqa: PLW2901
                        int(self.about.source[number]),
                        firing - int(self.about.tokens[number]),
                    )
                first[node] = min(firing, first.get(node, firing))
        raise first_nonfinite(self.about, self.pace, first)

    def forget_tape(self) -> None:
        """Let go of a recorded run, and of its inputs."""
        self.recorded = None
        self.tape.forget()

    def start_tape(self, arrays: Signals, *, heat: bool) -> None:
        """Have the next `run_until`, whose inputs are ``arrays``, be one that can be gone back over."""
        if heat and not self.heat:
            raise BadValue(
                "heat is gone back over in a program that measures it",
                got="amp.compile(..., heat=0)",
                fix="amp.compile(..., heat=1) measures every token",
            )
        if self.recorded:
            self.forget_tape()
        if heat not in self._tapes:
            self._tapes[heat] = self._make_tape(self.bound.max_bytes, self.heat if heat else None)
        self.tape = self._taping = self._tapes[heat]
        self.tape.start(self.bound, self.places, self.runner, self._values(), arrays)

    def _advance(self, clock: int, run: Callable[[int], int | None]) -> None:
        """Move the clock on, as far at a time as there is room for what the heat is made of."""
        while (frames := clock - self.clock) > 0:
            if heat := self.heat:
                room = heat.clock + heat.room() - self.clock
                if not room:
                    heat.advance(self.clock)
                    continue
                frames = min(frames, room)
            while (edge := run(frames)) is not None:
                self._grow(edge)

    def reset(self) -> None:
        """Back to clock 0; parameters stay as they were set, and rings as large as they have grown."""
        self._restart()
        self.runner.forget_costs()

    def _restart(self) -> None:
        self.bound.reset()
        if self.heat:
            self.heat.reset()
        self.runner.seek(Counts.at_pace(self.about, self.pace, 0))

    # ---- parameters and state

    @property
    def params(self) -> dict[str, NDArray[np.float64]]:
        """Present value of each named parameter."""
        return {name: value.copy() for name, value in self._values().items()}

    def _values(self) -> dict[str, NDArray[np.float64]]:
        """The same, as arrays that nobody writes into: another value is another array."""
        return {
            name: self.bound.params.get(name, sites[0][0].value)
            for name, sites in self._params.items()
        }

    def fit(self, name: str, value: ArrayLike) -> NDArray[np.float64]:
        """Array of ``value``, if it can be that of a parameter."""
        sites = self._params.get(name)
        if sites is None:
            raise BadValue(
                f"the graph has no parameter {name!r}", expected=str(sorted(self._params))
            )
        return [_fitting(value, site, self.about) for site in sites][-1]

    def fitting(self, values: Signals) -> Signals:
        """Those of the values that are of a parameter, and fit it."""
        found = {}
        for name, value in values.items():
            with suppress(BadValue):
                found[name] = self.fit(name, value)
        return found

    def set(self, values: Signals) -> None:
        """Change parameters to what `fit` gave."""
        if not values:
            return
        self.bound.params.update(values)
        users = {node.index for name in values for _, node, _ in self._params[name]}
        calls = {id(call): call for index in users for call in self._calls_of[index]}
        for call in calls.values():
            self.bound.fill_params(call)
        if self.heat:
            self.heat.refresh()
        if self.clock == 0:
            self._restart()  # it may be what a state starts with

    @functools.cached_property
    def _calls_of(self) -> dict[int, list[BoundCall]]:
        """Calls that compute each node."""
        found: dict[int, list[BoundCall]] = {}
        for call in self.bound.calls:
            for group in call.call.groups:
                for node in group.members:
                    found.setdefault(node.index, []).append(call)
        return found

    @functools.cached_property
    def places(self) -> Places:
        """Where its state lies."""
        return find_places(self.bound, self.about)

    def states(self, node: str) -> dict[str, NDArray[np.float64]]:
        """What a node's states are, numbers each ``(batch, channel)``."""
        memory = self.bound.arena.view(0, (self.bound.arena.size // 8,))
        return {
            name: memory[row.first] for (of, name), row in self.places.states.items() if of == node
        }

    def counts(self, clock: int) -> Counts:
        """How often nodes have fired, once ``clock`` frames have run; what depends on data, as now."""
        counts = Counts.at_pace(self.about, self.pace, clock)
        now = self.runner.counts()
        return counts if now is None else counts.with_firings(now.firings())

    def read(self, clock: int) -> Content:
        """Everything that a later frame depends on, once ``clock`` frames have run."""
        return read_snapshot(self.bound, self.counts(clock), self.places)

    def write(self, clock: int, content: Content) -> None:
        """Undo of `read`; the clock is there too."""
        self.go_to(clock, content.firings)
        counts = self.counts(clock)
        _, held = counts.tokens()
        for name, number in [*self.places.edges]:
            edge = int(self.about.first[self.about.numbers[name]]) + number
            while self.places.edges[name, number].mask + 1 < held[edge]:
                self._grow(edge)
        write_snapshot(self.bound, counts, self.places, content)

    def go_to(self, clock: int, firings: Mapping[str, NDArray[np.int64]] | None = None) -> None:
        """Be at ``clock``; what that means for the state is up to the caller."""
        counts = Counts.at_pace(self.about, self.pace, clock).with_firings(firings or {})
        arena = self.bound.arena
        memory = arena.view(0, (arena.size // 8,), np.int64)
        memory[self._words] = counts.rows[self._first, FIRED]
        memory[self._words - w.FIRED + w.POWER_END] = 0  # the cell is another one
        self.bound.clock[0] = clock
        if self.heat:
            self.heat.seek(clock)
        self.runner.seek(counts)

    def memory(self) -> Memory:
        """What it holds."""
        counts, growth = self.counts(self.clock), self.runner.growth
        _, held = counts.tokens()
        most = self.runner.most
        uses = []
        for call in self.bound.calls:
            for node, at, edge, number in call.call.edges():
                row, ring = int(self.about.first[node.index]) + at, self.bound.rings[number]
                uses.append(
                    RingUse(
                        self.about.nodes[edge.source].name,
                        node.name,
                        capacity=ring.frames,
                        tokens=int(held[row]),
                        most=int(most[row]),
                        ring=number,
                        bytes=ring.bytes,
                        growth=tuple(
                            (clock, size) for which, clock, size in growth if which == number
                        ),
                    )
                )
        return Memory(self.clock, self.bound.arena.size, tuple(uses))

    def carry_from(self, old: Instance) -> Carry:
        """What of the state of ``old`` has a place here."""
        sides = ((i.bound, i.about, i.pace, i.places) for i in (old, self))
        return Carry(*sides)


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
