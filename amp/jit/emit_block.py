"""Calls of blocks in generated code: a function from outside, an archetype's or the user's, lane by lane.

What it is given are planes at a base and a stride. Where those of a port lie evenly apart and token after
token until the call ends, it works in the rings themselves; else in areas of scratch memory, which native
loops fill before and empty afterwards. No code grows with the number of planes.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, NamedTuple

from llvmlite import ir

from amp.contract import NATIVE
from amp.jit import words as w
from amp.jit.arena import ALIGN
from amp.jit.emit_border import read_entry
from amp.jit.emit_planes import MOVE_PLANES, planes_symbol
from amp.jit.emit_ports import token_numbers
from amp.jit.emit_power import measure_planes
from amp.jit.llvm import F64, I64, PTR, VOID, function_named, integer, loop, offset, typed, word

if TYPE_CHECKING:
    from collections.abc import Callable

    from amp.ir import BlockCall, InPort, OutPort
    from amp.jit.kernel_function import KernelFunction

NATIVE_TYPES = {
    "forward": ir.FunctionType(VOID, [PTR] * 4 + [I64, F64]),
    "adjoint": ir.FunctionType(VOID, [PTR] * 6 + [I64, F64]),
}
"""The functions of a user, see `amp.nodes.Native`."""
TYPES = {
    "forward": ir.FunctionType(VOID, [PTR] * 8 + [I64]),
    "adjoint": ir.FunctionType(VOID, [PTR] * 12 + [I64]),
}
"""The functions of an archetype, see ``amp/archetypes_cpp/archetype.hpp``."""
NULL = ir.Constant(PTR, None)


class Planes(NamedTuple):
    """Where the planes of an argument lie: the first, and numbers from one to the next."""

    base: ir.Value
    stride: ir.Value


def archetype_symbol(name: str, entry: str) -> str:
    """Name under which a kernel calls a function of an archetype."""
    return f"amp_archetype_{name}_{entry}"


def emit_block(function: KernelFunction, b: ir.IRBuilder, block: BlockCall) -> None:
    """Emit the call for every lane."""
    lane = _Lane(function, b, block)
    loop(b, function.tiles, "lane", lane.run)


class _Lane:
    """What is emitted once for all lanes: the tables of arguments, and the call of one lane."""

    def __init__(self, function: KernelFunction, b: ir.IRBuilder, block: BlockCall) -> None:
        self.function, self.b, self.block = function, b, block
        self.kernel = function.kernel
        self.is_native = self.kernel.archetype == NATIVE
        self.is_turned = block.entry == "adjoint"
        ends = {"in": block.inlets, "over": block.cotangents, "out": block.outlets}
        self.bases = {end: b.alloca(PTR, max(len(some), 1)) for end, some in ends.items()}
        self.strides = {end: b.alloca(I64, max(len(some), 1)) for end, some in ends.items()}
        sizes = [*block.sizes]
        if self.is_native:  # channels of the inlets, and of the node's own outlets
            sizes = [planes for _, _, planes in block.inlets]
            sizes += [planes for _, _, planes in block.cotangents]
            sizes += [planes for _, planes, _ in block.outlets if not self.is_turned]
        kind = ir.ArrayType(I64, len(sizes))
        self.sizes = ir.GlobalVariable(function.module, kind, "sizes")
        self.sizes.linkage, self.sizes.global_constant = "internal", True
        self.sizes.initializer = ir.Constant(kind, sizes)

    def run(self, lane: ir.Value) -> None:
        """The call of one lane; firing by firing, if it is to say where each begins."""
        if self.block.log < 2 or self.is_turned:
            self._run(lane)
            return
        whole = self.function

        def step(i: ir.Value) -> None:
            self.function = copy.copy(whole)
            self.function.fired = self.b.add(whole.fired, i)
            self.function.frames = integer(1)
            self._run(lane)

        loop(self.b, whole.frames, "step", step)
        self.function = whole

    def _run(self, lane: ir.Value) -> None:
        fn, b, block = self.function, self.b, self.block
        self.lane = lane
        self.used = integer(0)  # of scratch memory, in bytes
        self.params = offset(b, fn.params, b.mul(lane, integer(8 * len(self.kernel.params))))
        for end, arguments in (("in", block.inlets), ("over", block.cotangents)):
            for i, argument in enumerate(arguments):
                self._put(end, i, self._inlet(*argument))
        finish, made = [], []
        for j, (rate, planes, ports) in enumerate(block.outlets):
            where, done = self._outlet(rate, planes, ports)
            self._put("out", j, where)
            finish.append(done)
            made.append(where)
        words = sum(slot.count for slot in self.kernel.states)
        state = offset(b, fn.states, b.mul(lane, integer(8 * words)))
        log = self._log()
        if log is not None and not self.is_turned:
            loop(
                b,
                integer(block.memory),
                "number",
                lambda i: b.store(b.load(_number(b, state, i), typ=F64), _number(b, log, i)),
            )
        self._call(state, NULL if log is None else log)
        for outlet, at in block.sums:
            self._add_up(made[outlet], block.outlets[outlet][1], _number(b, state, integer(at)))
        for done in finish:
            done()

    def _put(self, end: str, number: int, planes: Planes) -> None:
        at = integer(8 * number)
        self.b.store(planes.base, offset(self.b, self.bases[end], at))
        self.b.store(planes.stride, offset(self.b, self.strides[end], at))

    def _log(self) -> ir.Value | None:
        """Where the state is put down in which this call begins."""
        fn, b, block = self.function, self.b, self.block
        if not block.log:
            return None
        first = word(b, self.params, int(self.is_native), PTR)
        lane = b.urem(self.lane, self._word(w.SHARE))
        slot = b.and_(fn.fired, integer(block.log - 1))
        at = b.add(b.mul(lane, integer(block.log)), slot)
        return offset(b, first, b.mul(at, integer(8 * block.memory)))

    def _call(self, state: ir.Value, before: ir.Value) -> None:
        """Call the function; of an adjoint, ``state`` is the cotangent of that, and ``before`` the state."""
        fn, b, block = self.function, self.b, self.block
        if self.is_native:
            given = [self.bases["in"], self.bases["out"], self.sizes, state]
            if self.is_turned:
                given[1:1] = [self.bases["over"]]
                given[-1:] = [before, state]
            rate = ir.Constant(F64, block.sample_rate)
            callee = typed(word(b, self.params, 0, PTR), NATIVE_TYPES[block.entry])
            b.call(callee, [*given, fn.frames, rate])
            return
        ends = ("in", "over", "out") if self.is_turned else ("in", "out")
        given = [self._tables(), self.sizes]
        given += [one[end] for end in ends for one in (self.bases, self.strides)]
        if self.is_turned:
            there = block.params >= 0
            given += [_number(b, state, integer(block.params)) if there else NULL, before]
        line = integer(ALIGN)
        free = b.mul(b.udiv(b.add(self.used, integer(ALIGN - 1)), line), line)
        symbol = archetype_symbol(self.kernel.archetype, block.entry)
        callee = function_named(fn.module, symbol, TYPES[block.entry])
        b.call(callee, [*given, state, offset(b, fn.scratch, free), fn.frames])

    def _word(self, number: int, kind: ir.Type = I64) -> ir.Value:
        """A word of the call."""
        return word(self.b, self.function.args, self.function.words.call + number, kind)

    def _tables(self) -> ir.Value:
        """Where the tables of this lane's node begin."""
        b = self.b
        node = b.udiv(self.lane, self._word(w.SHARE))
        return offset(b, self._word(w.TABLES, PTR), b.mul(node, self._word(w.TABLE_STRIDE)))

    def _constant(self, number: int) -> ir.Value:
        """Where the numbers of a constant are: lane by lane, behind the tables and the constants before."""
        b, block, share = self.b, self.block, self._word(w.SHARE)
        tables = sum(count for _, count in block.tables)
        before = sum(planes for _, planes in block.constants[:number])
        own = b.mul(b.urem(self.lane, share), integer(block.constants[number][1]))
        first = b.add(integer(tables), b.add(b.mul(share, integer(before)), own))
        return _number(b, self._tables(), first)

    def _add_up(self, where: Planes, planes: int, to: ir.Value) -> None:
        """Add each plane to a number, from the last frame back."""
        fn, b = self.function, self.b

        def each(plane: ir.Value) -> None:
            row = _number(b, where.base, b.mul(where.stride, plane))
            total = _number(b, to, plane)

            def add(i: ir.Value) -> None:
                back = b.sub(b.sub(fn.frames, integer(1)), i)
                value = b.load(_number(b, row, back), typ=F64)
                b.store(b.fadd(b.load(total, typ=F64), value), total)

            loop(b, fn.frames, "frame", add)

        loop(b, integer(planes), "plane", each)

    def _area(self, planes: int, rate: int) -> Planes:
        """Planes in scratch memory."""
        fn, b = self.function, self.b
        stride = b.mul(fn.frames, integer(rate))
        area = offset(b, fn.scratch, self.used)
        self.used = b.add(self.used, b.mul(stride, integer(8 * planes)))
        return Planes(area, stride)

    def _inlet(self, kind: str, first: int, planes: int) -> Planes:
        """Where an argument's planes are: its port's, or a number in every frame."""
        fn, b = self.function, self.b
        if kind == "none":
            return Planes(NULL, integer(0))
        if kind == "in":
            port = _Port(self, fn.words.inlet(first), self.kernel.inlets[first])
            return port.in_place(port.gather)
        numbers = None if kind == "zero" else self._constant(first)
        area = self._area(planes, first if numbers is None else 1)

        def fill(plane: ir.Value) -> None:
            value: ir.Value = ir.Constant(F64, 0.0)
            if numbers is not None:
                value = b.load(_number(b, numbers, plane), typ=F64)
            row = _number(b, area.base, b.mul(plane, area.stride))
            loop(b, area.stride, "token", lambda i: b.store(value, _number(b, row, i)))

        loop(b, integer(planes), "plane", fill)
        return area

    def _outlet(
        self, rate: int, planes: int, ports: tuple[int, ...]
    ) -> tuple[Planes, Callable[[], None]]:
        """Where an outlet's planes go, and what is to be done once they are there."""
        if not planes:
            return Planes(NULL, integer(0)), lambda: None
        if not ports:
            return self._area(planes, rate), lambda: None
        fn, b = self.function, self.b
        first, *others = (_Port(self, fn.words.outlet(p), self.kernel.outlets[p]) for p in ports)
        where = first.in_place(lambda area: None)

        def done() -> None:
            measure_planes(fn, b, ports[0], self.lane, where)
            with b.if_then(b.not_(first.is_direct)):
                first.move("scatter", where)
            for port in others:
                port.move("scatter", where)

        return where, done


class _Port:
    """A table port of one lane."""

    def __init__(self, lane: _Lane, words: int, port: InPort | OutPort) -> None:
        self.lane, self.words, self.port = lane, words, port
        fn, b = lane.function, lane.b
        table = word(b, fn.args, words + w.TABLE, PTR)
        self.entries = offset(b, table, b.mul(lane.lane, integer(8 * w.ENTRY_WORDS)))
        self.begin = token_numbers(fn, b, words, port.step)
        self.count = b.mul(fn.frames, integer(port.rate))

    def in_place(self, prepare: Callable[[Planes], None]) -> Planes:
        """Where the planes lie if a call can work there; else an area, which ``prepare`` is asked to
        fill. A `Native` sees planes side by side, so it may have several of them in areas only."""
        b, area = self.lane.b, self.lane._area(self.port.planes, self.port.rate)
        if self.port.step != self.port.rate or (self.lane.is_native and self.port.planes > 1):
            self.is_direct: ir.Value = ir.Constant(ir.IntType(1), 0)
            prepare(area)
            return area
        entry = read_entry(b, self.entries)
        k = b.sub(self.begin(b, integer(0)), entry.tokens)
        apart = word(b, self.lane.function.args, self.words + w.APART)
        whole = b.icmp_signed("==", entry.until_end(b, k, self.count), self.count)
        self.is_direct = b.and_(whole, b.icmp_signed("!=", apart, integer(0)))
        with b.if_then(b.not_(self.is_direct)):
            prepare(area)
        return Planes(
            b.select(self.is_direct, entry.at(b, k), area.base),
            b.select(self.is_direct, b.sdiv(apart, integer(8)), area.stride),
        )

    def gather(self, area: Planes) -> None:
        """Fill an area."""
        self.move("gather", area)

    def move(self, name: str, area: Planes) -> None:
        """Call ``gather`` or ``scatter`` for the planes of ``area``."""
        fn, b, port = self.lane.function, self.lane.b, self.port
        callee = function_named(fn.module, planes_symbol(name), MOVE_PLANES)
        apart = b.mul(fn.tiles, integer(8 * w.ENTRY_WORDS))
        fixed = [self.entries, apart, area.base, area.stride, integer(port.planes)]
        if port.step:
            step = integer(port.step // port.rate)
            b.call(callee, [*fixed, self.begin(b, integer(0)), self.count, step])
            return

        def each(i: ir.Value) -> None:
            fixed[2] = offset(b, area.base, b.mul(i, integer(8 * port.rate)))
            b.call(callee, [*fixed, self.begin(b, i), integer(port.rate), integer(1)])

        loop(b, fn.frames, "firing", each)


def _number(b: ir.IRBuilder, base: ir.Value, i: ir.Value) -> ir.Value:
    """Address of number ``i``."""
    return offset(b, base, b.mul(i, integer(8)))
