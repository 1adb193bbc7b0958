"""Calls of blocks in generated code: a function from outside, an archetype's or the user's, lane by lane.

What it is given are planes at a base and a stride. Where those of a port lie evenly apart and token after
token until the call ends, it works in the rings themselves; else in areas of scratch memory, which native
loops fill before and empty afterwards. No code grows with the number of planes.
"""

from __future__ import annotations

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

NATIVE_TYPE = ir.FunctionType(VOID, [PTR, PTR, PTR, PTR, I64, F64])
"""``void f(double** inputs, double** outputs, int64_t* channels, double* state, int64_t frames, double
sample_rate)``; see `amp.nodes.Native`."""
TYPES = {"forward": ir.FunctionType(VOID, [PTR] * 8 + [I64])}
"""The functions of an archetype, see ``amp/archetypes_cpp/archetype.hpp``."""


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
        ends = {"in": len(block.inlets), "out": len(block.outlets)}
        self.bases = {end: b.alloca(PTR, max(count, 1)) for end, count in ends.items()}
        self.strides = {end: b.alloca(I64, max(count, 1)) for end, count in ends.items()}
        if self.is_native:
            sizes = [planes for _, _, planes in block.inlets] + [block.planes] * ends["out"]
        else:
            sizes = [*block.sizes]
        kind = ir.ArrayType(I64, len(sizes))
        self.sizes = ir.GlobalVariable(function.module, kind, "sizes")
        self.sizes.linkage, self.sizes.global_constant = "internal", True
        self.sizes.initializer = ir.Constant(kind, sizes)

    def run(self, lane: ir.Value) -> None:
        """The call of one lane, and what comes before and after."""
        fn, b, block = self.function, self.b, self.block
        self.lane = lane
        self.used = integer(0)  # of scratch memory, in bytes
        self.params = offset(b, fn.params, b.mul(lane, integer(8 * len(self.kernel.params))))
        for i, inlet in enumerate(block.inlets):
            self._put("in", i, self._inlet(*inlet))
        finish = []
        for j, (rate, ports) in enumerate(block.outlets):
            planes, done = self._outlet(rate, ports)
            self._put("out", j, planes)
            finish.append(done)
        words = sum(slot.count for slot in self.kernel.states)
        self._call(offset(b, fn.states, b.mul(lane, integer(8 * words))))
        for done in finish:
            done()

    def _put(self, end: str, number: int, planes: Planes) -> None:
        at = integer(8 * number)
        self.b.store(planes.base, offset(self.b, self.bases[end], at))
        self.b.store(planes.stride, offset(self.b, self.strides[end], at))

    def _call(self, state: ir.Value) -> None:
        fn, b, block = self.function, self.b, self.block
        if self.is_native:
            rate = ir.Constant(F64, block.sample_rate)
            given = [self.bases["in"], self.bases["out"], self.sizes, state, fn.frames, rate]
            b.call(typed(word(b, self.params, 0, PTR), NATIVE_TYPE), given)
            return
        symbol = archetype_symbol(self.kernel.archetype, block.entry)
        callee = function_named(fn.module, symbol, TYPES[block.entry])
        first = fn.words.call
        tables, apart = (
            word(b, fn.args, first + w.TABLES, PTR),
            word(b, fn.args, first + w.TABLE_STRIDE),
        )
        node = b.udiv(self.lane, word(b, fn.args, first + w.SHARE))
        params = offset(b, tables, b.mul(node, apart))
        ends = [one[end] for end in ("in", "out") for one in (self.bases, self.strides)]
        line = integer(ALIGN)
        free = b.mul(b.udiv(b.add(self.used, integer(ALIGN - 1)), line), line)
        scratch = offset(b, fn.scratch, free)
        b.call(callee, [params, self.sizes, *ends, state, scratch, fn.frames])

    def _area(self, planes: int, rate: int) -> Planes:
        """Planes in scratch memory."""
        fn, b = self.function, self.b
        stride = b.mul(fn.frames, integer(rate))
        area = offset(b, fn.scratch, self.used)
        self.used = b.add(self.used, b.mul(stride, integer(8 * planes)))
        return Planes(area, stride)

    def _inlet(self, kind: str, first: int, planes: int) -> Planes:
        """Where an inlet's planes are: its port's, or a constant in every frame."""
        fn, b = self.function, self.b
        if kind == "none":
            return Planes(ir.Constant(PTR, None), integer(0))
        if kind == "param":
            area = self._area(planes, 1)

            def fill(plane: ir.Value) -> None:
                at = offset(b, self.params, b.mul(b.add(plane, integer(first)), integer(8)))
                value = b.load(at, typ=F64)
                row = offset(b, area.base, b.mul(b.mul(plane, area.stride), integer(8)))
                loop(
                    b,
                    fn.frames,
                    "frame",
                    lambda i: b.store(value, offset(b, row, b.mul(i, integer(8)))),
                )

            loop(b, integer(planes), "plane", fill)
            return area
        port = _Port(self, fn.words.inlet(first), self.kernel.inlets[first])
        return port.in_place(port.gather)

    def _outlet(self, rate: int, ports: tuple[int, ...]) -> tuple[Planes, Callable[[], None]]:
        """Where an outlet's planes go, and what is to be done once they are there."""
        if not ports:
            return self._area(self.block.planes, rate), lambda: None
        fn, b = self.function, self.b
        first, *others = (_Port(self, fn.words.outlet(p), self.kernel.outlets[p]) for p in ports)
        planes = first.in_place(lambda area: None)

        def done() -> None:
            measure_planes(fn, b, ports[0], self.lane, planes)
            with b.if_then(b.not_(first.is_direct)):
                first.move("scatter", planes)
            for port in others:
                port.move("scatter", planes)

        return planes, done


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
