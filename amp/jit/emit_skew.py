"""A skewed kernel in generated code: at step t lane m works on frame t - m, on what lane m - 1 gave a
step before. The first and the last steps have idle lanes, whose states must not move. A kernel that goes
backward counts its frames from the last one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from llvmlite import ir

from amp.jit import words as w
from amp.jit.emit_border import Entry, read_entry
from amp.jit.emit_power import Powers
from amp.jit.emit_values import Values
from amp.jit.llvm import F64, I64, PTR, integer, larger, loop, offset, picked, pieces, smaller, word

if TYPE_CHECKING:
    from amp.jit.kernel_function import KernelFunction


def emit_skewed(function: KernelFunction, b: ir.IRBuilder) -> None:
    """Emit the one tile of a skewed kernel."""
    _Skewed(function, b).run()


class _Skewed:
    def __init__(self, function: KernelFunction, b: ir.IRBuilder) -> None:
        self.function, self.values, self.b = function, Values(function), b
        self.kernel = kernel = function.kernel
        words = function.words
        self.source = self._one_lane(words.inlet(0), kernel.inlets[0].mode)
        self.targets = [
            self._one_lane(words.outlet(port), outlet.mode)
            for port, outlet in enumerate(kernel.outlets)
        ]
        self.kinds = function.state_types()
        self.states = [b.alloca(function.vector(kind)) for kind in self.kinds]

    def run(self) -> None:
        fn, b = self.function, self.b
        places = [offset(b, fn.states, integer(8 * fn.width * i)) for i in range(len(self.states))]
        for state, at, kind in zip(self.states, places, self.kinds, strict=True):
            b.store(fn.load(b, at, kind), state)
        self.given = b.alloca(fn.vector(F64))  # what each lane gave at the step before
        b.store(fn.constant(F64, 0.0), self.given)
        for value in self.kernel.values:
            if not value.varies:
                self.values.emit(b, value, {})
        self.last = b.sub(fn.frames, integer(1))
        self.powers = Powers(fn, b, near=True)
        self._steps()
        self.powers.end(b)
        for state, at, kind in zip(self.states, places, self.kinds, strict=True):
            b.store(b.load(state, typ=fn.vector(kind)), at, align=fn.align)

    def _steps(self) -> None:
        """Steps in which some lanes are not busy yet, all are, and some are no more."""
        b, frames = self.b, self.function.frames
        fill = integer(self.function.width - 1)
        loop(b, fill, "fill", lambda t: self._idle_step(t, ready=False))
        busy = b.sub(frames, fill)
        if self.kernel.powers:
            pieces(b, busy, lambda done: self._busy_steps(b.add(done, fill), b.sub(busy, done)))
        else:
            loop(b, busy, "busy", lambda t: self._step(b.add(t, fill), idle=False, ready=True))
        begin = larger(b, frames, fill)
        drain = b.sub(b.add(frames, fill), begin)
        loop(b, drain, "drain", lambda t: self._idle_step(b.add(t, begin), ready=True))

    def _idle_step(self, t: ir.Value, *, ready: bool) -> None:
        self._step(t, idle=True, ready=ready, turn=self._turn(t))

    def _turn(self, t: ir.Value) -> ir.Value:
        """Of the firing of lane 0 in step ``t``: how many after one that is measured."""
        b = self.b
        return b.urem(b.add(self.function.fired, t), integer(self.kernel.every))

    def _busy_steps(self, t: ir.Value, left: ir.Value) -> ir.Value:
        """Steps from ``t`` on until lane 0 is measured again, if as many are ``left``; how many. First those
        in which some lane is measured, then the others, which do not ask."""
        b, every, turn = self.b, self.kernel.every, self._turn(t)

        def until(end: int) -> ir.Value:
            return smaller(b, larger(b, b.sub(integer(end), turn), integer(0)), left)

        def asked(i: ir.Value) -> None:
            self._step(b.add(t, i), idle=False, ready=True, turn=b.add(turn, i))

        some, count = until(min(self.function.width, every)), until(every)
        rest = b.add(t, some)
        loop(b, some, "some", asked)
        loop(
            b,
            b.sub(count, some),
            "none",
            lambda i: self._step(b.add(rest, i), idle=False, ready=True),
        )
        return count

    def _step(self, t: ir.Value, *, idle: bool, ready: bool, turn: ir.Value | None = None) -> None:
        """One step; ``idle``: some lanes may be, ``ready``: the last lane has a result, ``turn``: some lanes
        may be measured."""
        fn, b, values = self.function, self.b, self.values
        x = self._shifted(t)
        values.readers = [lambda _b, _plane: x]
        old = [
            b.load(s, typ=fn.vector(kind)) for s, kind in zip(self.states, self.kinds, strict=True)
        ]
        named = {slot.name: value for slot, value in zip(self.kernel.states, old, strict=True)}
        for value in self.kernel.values:
            if value.varies:
                values.emit(b, value, named)
        mine = b.sub(fn.splat(b, t), fn.iota())
        busy = b.and_(
            b.icmp_signed(">=", mine, fn.constant(I64, 0)),
            b.icmp_signed("<", mine, fn.splat(b, fn.frames)),
        )
        for state, was, value in zip(self.states, old, self.kernel.nexts, strict=True):
            new = values.lanes(b, value)
            b.store(b.select(busy, new, was) if idle else new, state)
        if self.kernel.powers and turn is not None:
            self._measure(turn, busy if idle else None)
        result = values.lanes(b, self.kernel.stores[0][0])
        b.store(result, self.given)
        if ready:
            self._write(t, result)

    def _measure(self, turn: ir.Value, busy: ir.Value | None) -> None:
        """Add up the squares of the lanes whose firing is measured, and of those only that are busy."""
        fn, b, every = self.function, self.b, self.kernel.every
        lanes = ir.Constant(fn.vector(I64), [lane % every for lane in range(fn.width)])
        due = b.icmp_signed("==", lanes, fn.splat(b, turn))
        self.powers.add(b, self.values, mask=due if busy is None else b.and_(due, busy))

    def _shifted(self, t: ir.Value) -> ir.Value:
        """What each lane reads: the next token in lane 0, and its neighbour's result elsewhere."""
        fn, b = self.function, self.b
        k = self._firing(smaller(b, t, self.last))
        token = b.load(self.source.at(b, b.sub(k, self.source.tokens)), typ=F64)
        before = b.load(self.given, typ=fn.vector(F64))
        shift = picked([2 * fn.width - 1, *range(fn.width - 1)])
        return b.shuffle_vector(before, fn.splat(b, token), shift)

    def _firing(self, frame: ir.Value) -> ir.Value:
        """Index of the firing of that frame, of those of this call."""
        b = self.b
        at = b.sub(self.last, frame) if self.kernel.backward else frame
        return b.add(self.function.fired, at)

    def _write(self, t: ir.Value, result: ir.Value) -> None:
        """Store what the last lane gave."""
        fn, b = self.function, self.b
        out = b.extract_element(result, integer(fn.width - 1))
        k = self._firing(b.sub(t, integer(fn.width - 1)))
        for target in self.targets:
            b.store(out, target.at(b, b.sub(k, target.tokens)))

    def _one_lane(self, first: int, mode: str) -> Entry:
        """Where a port of one lane lies."""
        b, args = self.b, self.function.args
        if mode == "table":
            return read_entry(b, word(b, args, first + w.TABLE, PTR))
        tokens, stride = integer(0), integer(8)  # of a ring that is written
        if mode == "uniform":
            tokens = word(b, args, first + w.TOKENS)
            stride = word(b, args, first + w.SLOT_STRIDE)
        base = word(b, args, first + w.BASE, PTR)
        return Entry(base, word(b, args, first + w.MASK), tokens, stride)
