"""The tape: a run that can be gone back over, for cotangents.

While a program is recorded it runs as always; before every block is put aside what the block needs to be put
back: states, and of rings and delay lines the tokens that its own will push out. Going back, a twin of the
program, which computes no more than what the adjoint needs of it, is put back and runs the block again, and
then the adjoint runs it backwards. So the memory is that of one block and of all blocks' states (Griewank &
Walther, "Evaluating Derivatives", 2nd ed., SIAM 2008, chapter 12).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from amp.cycles import Cycle
from amp.errors import BadInput, BadValue
from amp.jit.adjoint_edges import WARMTH, Overlapping, Untake, again, history
from amp.jit.adjoint_plan import GRADIENT
from amp.jit.adjoint_trace import wanted_params
from amp.jit.counts import FIRED, Counts
from amp.jit.heat_adjoint import HeatAdjoint
from amp.jit.ipls_runner import IplsRunner, Steps
from amp.jit.runtime import KEEP_WORDS, STEPS_WORDS, load_tape
from amp.jit.snapshot import Row, find_places, find_seats, find_states, find_totals, row_of
from amp.jit.sums import Share, Sums
from amp.result import Gradients, StateCotangents
from amp.schedule import Pace
from amp.thermal import CELL

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from amp.contract import Param
    from amp.frozen import Frozen, Node
    from amp.jit.adjoint_joint import Backward
    from amp.jit.bind import Bound, BoundCall
    from amp.jit.heat import Heat
    from amp.jit.runtime import Threads
    from amp.jit.snapshot import Places
    from amp.schedule import Paces

    Array = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Signals = Mapping[str, Array]
    Found = tuple[Ints, tuple[str, str, Any]]

LANES, HELD, MOST = 6, 7, 8
"""Columns of the rows that say what is put aside, see ``amp/archetypes_cpp/tape.hpp``."""
ONE = Cycle((1,))


class Runs(Protocol):
    """An engine, see `amp.instance.Runner`."""

    def run(self, frames: int) -> int | None: ...


class Tape:
    """A recorded run of a program, and its adjoint.

    Parameters
    ----------
    graph, pace
        The graph, and when its nodes fire.
    back
        Its twin and its adjoint.
    bound, first
        Both in memory, and how many of the calls and of the steps are the twin's.
    frames
        Frames of a block.
    heat
        That of the program, if it is gone back over too.
    """

    def __init__(
        self,
        graph: Frozen,
        pace: Paces,
        back: Backward,
        bound: Bound,
        first: tuple[int, int],
        *,
        frames: int,
        pool: Threads | None,
        heat: Heat | None,
    ) -> None:
        self.graph, self.pace, self.back, self.bound, self.frames = graph, pace, back, bound, frames
        calls, steps = first
        self._twin = _Side(bound, bound.calls[:calls])
        self._adjoint = _Side(bound, bound.calls[calls:])
        listed = bound.lowered.steps
        self._lists = [Steps(bound, some, pool) for some in (listed[:steps], listed[steps:])]
        self._steps = np.array([_native(s, frames) for s in self._lists])
        self._places = find_places(self._twin, graph)
        self._find_read()
        self._states, self._totals = find_states(self._adjoint), find_totals(self._adjoint)
        one = [some[0] for some in back.adjoints.values() if some]
        self._state_places = self._find_states(one)
        words = [words.ravel() for words, _ in self._state_places]
        self._state_words = np.concatenate([np.zeros(0, np.int64), *words])
        self._arrivals = self._find_arrivals()
        self._ports = {(p.node.type.border, p.node.index): p for p in bound.border_ports()}
        self._functions = load_tape()
        self._volatile = self._find_volatile()
        self._known_places: Places | None = None
        self._slots = [
            (node.index, slot, param, entry)
            for node in graph.nodes
            for slot, (param, entry) in wanted_params(node, whole=node in back.blocks).items()
        ]
        self._sums: dict[bool, Sums] = {}  # by whether the run begins at clock 0
        self._inputs: Signals = {}
        self.begin = self.end = 0
        warmths = {
            stream: self._states.states[node.name, WARMTH].first
            for stream, node in back.warmings.items()
        }
        self._heat = HeatAdjoint(heat, graph, warmths) if heat else None

    def _find_read(self) -> None:
        """Add the edges to the twin's places that only adjoints read: their tokens in flight too were
        written before the run."""
        joint, count, seats = self.back.graph, len(self.graph.nodes), find_seats(self._twin)
        for call in self._adjoint.calls:
            for node, at, edge, ring in call.call.edges():
                number = int(self.back.pace.numbers[joint.first[node.index] + at])
                if edge.source < count and number >= 0:
                    consumer = int(self.graph.consumer[number])
                    place = number - int(self.graph.first[consumer])
                    row = row_of(self.bound.rings[ring], *seats[edge.source], self.bound.batch)
                    self._places.edges.setdefault((self.graph.nodes[consumer].name, place), row)

    # ---- forward

    def start(
        self, theirs: Bound, places: Places, runner: Runs, params: Signals, inputs: Signals
    ) -> None:
        """Record what follows: ``runner`` moves a program whose state has ``places`` in ``theirs`` and
        whose ``inputs``, which are kept, are in place."""
        changed = {n: v for n, v in params.items() if not _is_same(self.bound.params.get(n), v)}
        if any(
            changed[p.name].shape != self._value(p).shape
            for _, _, p, _ in self._slots
            if p.name in changed
        ):
            self._sums.clear()
        self.bound.params.update(params)
        for call in self.bound.calls if changed else ():
            self.bound.fill_params(call)
        self._keep(theirs, places)
        self._theirs, self._runner, self._inputs = theirs, runner, inputs
        self.begin = self.end = int(theirs.clock[0])
        self._pieces: list[tuple[Ints, Array]] = []

    def run(self, frames: int) -> None:
        """Have the program run ``frames`` frames."""
        while frames:
            some = min(frames, CELL - self.end % CELL) if self._heat else frames
            self._run(some)
            frames -= some

    def _run(self, frames: int) -> None:
        runner, count = self._runner, -(-frames // self.frames)
        store = np.empty(count * self._words(MOST) + 1)
        where = np.array(
            [self.end, self.frames, count, frames - (count - 1) * self.frames], np.int64
        )
        self._pieces.append((where, store))
        if isinstance(runner, IplsRunner):
            own = np.array(_native(runner.steps, runner.block))
            self._record(own, where, store)
            self._theirs.clock[0] += frames
        else:
            size = len(store) // count
            for number, at in enumerate(range(0, frames, self.frames)):
                some = min(self.frames, frames - at)
                one = np.array([self.end + at, self.frames, 1, some], np.int64)
                self._record(np.zeros(STEPS_WORDS, np.int64), one, store[number * size :])
                runner.run(some)
        self.end += frames

    def forget(self) -> None:
        """Let go of what was recorded."""
        self._inputs, self._pieces = {}, []

    def finish(self) -> None:
        """The run is over."""
        self._last = np.empty(self._words(HELD) + 1)
        self._functions.border(*self._kept(), self._last.ctypes.data, self.end, 0)

    def _record(self, steps: Ints, where: Ints, store: Array) -> None:
        self._functions.record(
            steps.ctypes.data, *self._kept(), store.ctypes.data, where.ctypes.data
        )

    def _words(self, column: int) -> int:
        return int((self._keeps[:, LANES] * self._keeps[:, column]).sum())

    def _kept(self) -> tuple[int, int]:
        return self._keeps.ctypes.data, len(self._keeps)

    def _keep(self, theirs: Bound, places: Places) -> None:
        """Find what the twin has to be given, and where the program has it."""
        if self._known_places is places:
            return
        self._known_places = places
        self._lanes: list[Ints] = []  # native code reads them
        rows = []
        if self._places.states:  # all of them as one row
            pairs = [(places.states[key], row) for key, row in self._places.states.items()]
            sides = (
                Row(np.concatenate([row.first.ravel() for row in s]))
                for s in zip(*pairs, strict=True)
            )
            rows.append(self._row(theirs, (next(sides), next(sides)), (1, -1), Pace(1, 1, 0), ONE))
        for key, line in self._places.lines.items():
            pair = (places.lines[key].row, line.row)
            span = line.length, -line.length
            rows.append(self._row(theirs, pair, span, self.pace[line.node], ONE))
        held = self._held()
        spans: dict[tuple[int, int], tuple[tuple[int, int], int, tuple[Row, Row]]] = {}
        for edge, row in self._places.edges.items():
            number = int(self.graph.first[self.graph.numbers[edge[0]]]) + edge[1]
            known = places.edges.get(edge)
            if known is None or not held[number]:  # in registers, with nothing in flight
                continue
            first = -int(max(self.graph.tokens[number], 0) + self.graph.history[number])
            rings = int(known.first.flat[0]), int(row.first.flat[0])  # readers share them
            (most, least), *_ = spans.get(rings, ((0, 0), 0))
            span = max(most, int(held[number])), min(least, first)
            spans[rings] = span, number, (known, row)
        for span, number, pair in spans.values():
            pace = self.pace[int(self.graph.source[number])]
            even = Cycle((int(self.graph.produced[number]),))
            written, _ = self.graph.cycles.get(number, (even, even))
            rows.append(self._row(theirs, pair, span, pace, written))
        self._keeps = np.array(rows, np.int64).reshape(-1, KEEP_WORDS)

    def _row(
        self,
        theirs: Bound,
        rows: tuple[Row, Row],
        span: tuple[int, int],
        pace: Pace,
        written: Cycle,
    ) -> list[int]:
        words: list[int] = []
        for row, bound in zip(rows, (theirs, self.bound), strict=True):
            lanes = bound.address(0) + 8 * np.ascontiguousarray(row.first.ravel())
            self._lanes.append(lanes)
            words += [lanes.ctypes.data, 8 * row.step, row.mask]
        held, first = span
        phases = np.arange(len(written))
        made = written.before(phases + pace.most(self.frames)) - written.before(phases)
        most = min(held, int(made.max()))
        self._lanes.append(written.starts)
        cycle = [written.starts.ctypes.data, len(written), written.total]
        return [*words, rows[0].first.size, held, most, first, *pace, *cycle]

    def _held(self) -> Ints:
        """Most tokens, by edge, that are there between blocks."""
        graph, pace = self.graph, self.pace
        if graph.multirate:
            return pace.held(1)
        apart = graph.tokens + pace.offset[graph.consumer] - pace.offset[graph.source]
        between: Ints = np.maximum(apart, 0) + graph.history
        return between

    # ---- back

    def go_back(
        self,
        cotangents: Signals,
        later: StateCotangents | None,
        heat: Signals | None = None,
    ) -> Gradients:
        """Cotangents of inputs, params, and what was there when the run began.

        ``cotangents`` are those of the outputs, ``later`` that of what was there when it ended; ``heat``
        are those of the heat at its samples, by node.
        """
        if later is not None:
            self._check_later(later)
        if heat is not None and not self._heat:
            raise BadValue(
                "heat is gone back over in a run that was recorded with it",
                got="record=True",
                fix='call program.run(..., record="heat") first',
            )
        for at, size in self._volatile:
            self.bound.arena.view(at, (size // 8,))[:] = 0.0
        if later is not None:
            self._write_state(later)
        gradients = self._point_ports(cotangents)
        self._functions.border(*self._kept(), self._last.ctypes.data, self.end, 1)
        if self._heat:
            self._heat.start(self.clocks, heat or {}, later.heat if later else {})
        memory = self.bound.arena.view(0, (self.bound.arena.size // 8,))
        twin, adjoint = (row.ctypes.data for row in self._steps)
        for where, store in reversed(self._pieces):
            if self._heat:
                begin, block, count, last = where.tolist()
                self._heat.warm(begin, (count - 1) * block + last, memory)
            self._functions.backward(
                twin, adjoint, *self._kept(), store.ctypes.data, where.ctypes.data
            )
        return Gradients(gradients, self._params(), self._read_state())

    @property
    def clocks(self) -> list[int]:
        """Of the samples of its heat: each border of a cell, and the end."""
        borders = range((self.begin // CELL + 1) * CELL, self.end + 1, CELL)
        return [*borders, *([self.end] if self.end % CELL else [])]

    def _point_ports(self, cotangents: Signals) -> dict[str, Array]:
        """Have the adjoint read ``cotangents`` and write the arrays that are returned, and the twin read what
        the run had read."""
        for name, node in self.back.outputs.items():
            self._ports["input", node.index].point(cotangents[name], self.begin)
        gradients: dict[str, Array] = {}
        for name, array in self._inputs.items():
            gradients[name] = np.zeros(array.shape)
            if name in self.back.inputs:
                port = self._ports["output", self.back.inputs[name].index]
                port.point(gradients[name], self.begin)
            if twin := self._ports.get(("input", self.graph.numbers[name])):
                twin.point(array, self.begin)
        return gradients

    def _check_later(self, later: object) -> None:
        known = self.graph.identity, self.end
        if not isinstance(later, StateCotangents) or (later.graph, later.clock) != known:
            raise BadInput(
                "later is what backward gave for the run that followed, gradients.state",
                expected=f"of this graph, at clock {self.end}",
                got=repr(later),
            )
        if later.heat and not self._heat:
            raise BadInput(
                "a run is recorded with heat if the one that follows is",
                got="later with cotangents of heat",
                fix='call program.run(..., record="heat")',
            )

    def _write_state(self, later: StateCotangents) -> None:
        memory = self._memory()
        every = [adjoint for some in self.back.adjoints.values() for adjoint in some]
        for words, (into, node, name) in [
            *self._find_states(every),
            *self._find_moving(self.end, every),
        ]:
            known: Any = getattr(later, into)
            values = known.get((node, name)) if into == "edges" else known.get(node, {}).get(name)
            if values is not None:
                there = words >= 0
                memory[words[there]] = values[there]

    def _read_state(self) -> StateCotangents:
        """As it is now, put into words when somebody asks."""
        memory = self._memory()
        one = [some[0] for some in self.back.adjoints.values() if some]
        moving = [
            (what, np.where(words < 0, 0.0, memory[words]))
            for words, what in self._find_moving(self.begin, one)
        ]
        states, place = memory[self._state_words], self._state_places

        def tell() -> tuple[Any, Any, Any]:
            found: dict[str, Any] = {"nodes": {}, "lines": {}, "edges": {}}
            ends = np.cumsum([words.size for words, _ in place])[:-1]
            parts = np.split(states, ends) if place else []
            fixed = (
                (what, some.reshape(words.shape))
                for (words, what), some in zip(place, parts, strict=True)
            )
            for (into, node, name), values in (*fixed, *moving):
                if into == "edges":
                    found[into][node, name] = values
                else:
                    found[into].setdefault(node, {})[name] = values
            return found["nodes"], found["lines"], found["edges"]

        heat = self._heat.state() if self._heat else {}
        return StateCotangents(tell, self.graph.identity, self.begin, heat)

    def _owners(self, adjoints: list[Node]) -> dict[str, Node]:
        """The node of each of some adjoints, by name."""
        chosen = {adjoint.name for adjoint in adjoints}
        return {
            adjoint.name: self.graph.nodes[index]
            for index, some in self.back.adjoints.items()
            for adjoint in some
            if adjoint.name in chosen
        }

    def _find_states(self, adjoints: list[Node]) -> list[Found]:
        """Words of the cotangents of states, in some adjoints, and whose they are."""
        owners = self._owners(adjoints)
        return [
            (row.first, ("nodes", owners[adjoint].name, name))
            for (adjoint, name), row in self._states.states.items()
            if adjoint in owners and not name.startswith(GRADIENT)
        ]

    def _find_moving(self, clock: int, adjoints: list[Node]) -> Iterator[Found]:
        """The same of what lines and edges hold at ``clock``."""
        owners = self._owners(adjoints) if self._states.lines else {}
        counts = Counts.at_pace(self.graph, self.pace, clock)
        for (adjoint, name), line in self._states.lines.items():
            if adjoint in owners:
                node = owners[adjoint]
                fired = int(counts.rows[node.index, FIRED])
                yield line.row.words(fired - line.length, fired), ("lines", node.name, name)
        written, held = counts.tokens()
        for (index, at), (by, _) in self.back.arrivals.items():
            number = int(self.graph.first[index]) + at
            past = int(self.graph.history[number])
            tokens = int(held[number]) - past
            found = []
            if past:
                found.append(self._again(by, past, int(counts.rows[index, FIRED])))
            if tokens:
                end = int(written[number] + self.graph.tokens[number])
                found.append(self._arrivals[index, at].words(end - tokens, end))
            if found:
                words = np.concatenate(found, axis=2)
                yield words, ("edges", self.graph.nodes[index].name, at)

    def _again(self, adjoint: Node, tokens: int, fired: int) -> Ints:
        """Words of the cotangents of the last ``tokens`` that a node has taken, and may read again;
        negative where it will not."""
        kind = adjoint.type
        words = np.full((self.graph.batch, adjoint.channels, tokens), -1, np.int64)
        if isinstance(kind, Overlapping):
            for back in range(tokens):
                words[:, :, -1 - back] = self._states.states[adjoint.name, again(back)].first
            return words
        assert isinstance(kind, Untake)
        for channel in range(kind.width):
            for back in range(tokens):
                firings, token = divmod(back, kind.rate_)
                name = adjoint.name, history(kind.rate_ - 1 - token, channel)
                line = self._states.lines.get(name)
                if line is not None and firings < line.length:
                    at = fired - 1 - firings
                    words[:, channel, -1 - back] = line.row.words(at, at + 1)[:, 0, 0]
        return words

    def _find_arrivals(self) -> dict[tuple[int, int], Row]:
        """Where cotangents of an edge's tokens lie, if not in registers."""
        rings = {
            (edge.source, edge.outlet): self.bound.rings[ring]
            for call in self._adjoint.calls
            for _, _, edge, ring in call.call.edges()
        }
        seats = find_seats(self._adjoint)
        return {
            key: row_of(rings[adjoint.index, outlet], *seats[adjoint.index], self.bound.batch)
            for key, (adjoint, outlet) in self.back.arrivals.items()
            if (adjoint.index, outlet) in rings
        }

    def _params(self) -> dict[str, Array]:
        """Cotangents of the params, of their own shapes."""
        for call in self._adjoint.calls:
            if call.finishing is not None:
                call.finishing.run()
        started = not self.begin
        if started not in self._sums:
            shapes = {p.name: self._value(p).shape for _, _, p, _ in self._slots}
            self._sums[started] = Sums(shapes, self._shares(started=started))
        sums = self._sums[started].of(self._memory())
        for name, part in self._heat.slopes(self.bound.params) if self._heat else ():
            sums[name] += part
        return sums

    def _value(self, param: Param) -> Array:
        return self.bound.params.get(param.name, param.value)

    def _shares(self, *, started: bool) -> Iterator[Share]:
        """Where the cotangents of params lie; ``started``: also those of states that start with them."""
        for node, slot, param, entry in self._slots:
            for adjoint in self.back.adjoints.get(node, ())[:1]:
                if (words := self._totals.get((adjoint.name, slot))) is not None:
                    yield Share(param, entry, words)
                elif row := self._states.states.get((adjoint.name, GRADIENT + slot)):
                    own = slot in type(adjoint.type).params
                    yield Share(
                        param, entry, row.first if own else row.first.reshape(len(row.first), -1)
                    )
                states = self.back.starts.get(node, {}).get(slot, ()) if started else ()
                for state in states:
                    words = self._states.states[adjoint.name, state].first
                    yield Share(param, entry, words)

    def _memory(self) -> Array:
        """The words of the arena."""
        return self.bound.arena.view(0, (self.bound.arena.size // 8,))

    def _find_volatile(self) -> list[tuple[int, int]]:
        """Memory of the adjoint that a pass begins with zeros in."""
        out = []
        rings = {
            out.ring for call in self._adjoint.calls for out in call.call.outs if out.ring >= 0
        }
        for number in rings:
            ring = self.bound.rings[number]
            out.append((ring.at, ring.bytes))
        for call in self._adjoint.calls:
            size = 8 * call.call.tiles * call.call.width * call.state_words
            out.append((call.state_at, size))
            for at, stride in zip(call.line_at, call.line_strides, strict=True):
                out.append((at, call.call.tiles * stride))
        return out


class _Side:
    """Some of the calls of a program, as `find_places` takes a program."""

    def __init__(self, bound: Bound, calls: list[BoundCall]) -> None:
        self.calls, self.rings, self.batch = calls, bound.rings, bound.batch


def _native(steps: Steps, block: int) -> list[int]:
    """Steps as ``amp/archetypes_cpp/tape.hpp`` has them."""
    return [steps.address, steps.rows.ctypes.data, len(steps.rows), block]


def _is_same(mine: Array | None, theirs: Array) -> bool:
    if mine is theirs or mine is None:
        return mine is theirs
    return mine.shape == theirs.shape and mine.tobytes() == theirs.tobytes()
