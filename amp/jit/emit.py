"""Emission: one kernel of IR to one LLVM function, ``width`` lanes at a time.

The function is ``void kernel(i64* words, i64 frames)`` with ``frames >= 1``; `amp.jit.words` says what
the words are. Lanes are innermost: the tile is the outer loop, the frame the inner one, states live
in vector registers, and what does not vary from frame to frame is computed before the frame loop.
Nothing here allows LLVM to change a rounding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from llvmlite import ir

from amp.jit import words as w
from amp.jit.emit_across import emit_across
from amp.jit.emit_ports import Ports
from amp.jit.emit_skew import emit_skewed
from amp.jit.emit_sum import Sums
from amp.jit.emit_values import PURE, Values
from amp.jit.kernel_function import KernelFunction
from amp.jit.llvm import I64, PTR, VOID, function_named, integer, loop, offset

if TYPE_CHECKING:
    from amp.ir import Kernel
    from amp.jit.emit_ports import Writer

__all__ = ["PURE", "archetype_symbol", "emit_kernel"]


def emit_kernel(kernel: Kernel, width: int, registers: int, *, ragged: bool = True) -> ir.Module:
    """LLVM module with the function ``kernel``.

    Parameters
    ----------
    kernel, width
        The kernel, and how many lanes it computes at a time.
    registers
        How many vectors of that width the CPU's registers hold.
    ragged
        The lanes do not fill the last tile.
    """
    module = ir.Module(name="kernel")
    _Emitter(KernelFunction(module, kernel, width, "kernel"), registers, ragged=ragged).run()
    return module


def read_late(kernel: Kernel, registers: int) -> set[int]:
    """Params that are read in every frame, since registers hold no more: by index.

    LLVM would keep them all, and spill states instead, which then wait for memory in each frame.
    """
    room = max(0, registers * 3 // 4 - len(kernel.states))
    needed = {v.index for value in kernel.values if not value.varies for v in value.operands}
    params = [v.index for v in kernel.values if v.op == "param" and v.index not in needed]
    return set(params[room:])


def archetype_symbol(name: str) -> str:
    """Name under which a kernel calls an archetype."""
    return f"amp_archetype_{name}"


class _Emitter:
    def __init__(self, function: KernelFunction, registers: int, *, ragged: bool) -> None:
        self.function, self.kernel = function, function.kernel
        self.late = read_late(self.kernel, registers)
        self.ports, self.values = Ports(function), Values(function)
        self.sums = Sums(function, ragged=ragged)

    def run(self) -> None:
        """Emit the whole function."""
        fn = self.function
        b = fn.entry
        if self.kernel.archetype and self.kernel.outlets:
            sides = (("in", self.kernel.inlets), ("out", self.kernel.outlets))
            self.archetype_tables = {side: b.alloca(PTR, ports[0].planes) for side, ports in sides}
        self.sums.begin(b)
        loop(b, fn.tiles, "tile", lambda tile: self._tile(b, tile))
        self.sums.end(b)
        fired = b.add(fn.fired, fn.frames)
        b.store(fired, offset(b, fn.args, integer(8 * w.FIRED)))
        b.ret_void()

    def _tile(self, b: ir.IRBuilder, tile: ir.Value) -> None:
        self.function.tile = tile
        if self.kernel.skewed:
            emit_skewed(self.function, self.values, b)
            return
        if self.kernel.across:
            emit_across(self.function, b)
            return
        self.ports.begin_tile(b)
        self.sums.begin_tile(b)
        self.values.begin_tile(b)
        if not self.kernel.archetype:
            self._frames(b)
        elif self.kernel.outlets:  # otherwise no one reads it
            self.ports.in_pieces(b, lambda _first, _count: self._call_archetype(b))

    def _call_archetype(self, b: ir.IRBuilder) -> None:
        """Call ``f(params, in planes, out planes, in count, out count, frames)`` for one lane."""
        fn = self.function
        counts, tables = [], []
        for side, table in self.archetype_tables.items():
            planes = self.ports.areas[side, 0]
            for i, area in enumerate(planes):
                b.store(area, offset(b, table, integer(8 * i)))
            tables.append(table)
            counts.append(integer(len(planes)))
        kind = ir.FunctionType(VOID, [PTR, PTR, PTR, I64, I64, I64])
        callee = function_named(fn.module, archetype_symbol(self.kernel.archetype), kind)
        params = offset(b, fn.params, b.mul(fn.tile, integer(8 * len(self.kernel.params))))
        b.call(callee, [params, *tables, *counts, fn.frames])
        for port in range(1, len(self.kernel.outlets)):
            self.ports.areas["out", port] = self.ports.areas["out", 0]

    def _frames(self, b: ir.IRBuilder) -> None:
        """All frames of a tile, with the states in registers; ``b`` continues after them."""
        fn, kernel = self.function, self.kernel
        self.values.readers = [self.ports.reader(b, port) for port in range(len(kernel.inlets))]
        self.writers = [self._writer(b, port) for port in range(len(kernel.outlets))]
        stride = integer(8 * fn.width * len(kernel.states))
        base = offset(b, fn.states, b.mul(fn.tile, stride))
        kinds = fn.state_types()
        places = [offset(b, base, integer(8 * fn.width * i)) for i in range(len(kinds))]
        with b.goto_entry_block():
            self.states = [b.alloca(fn.vector(kind)) for kind in kinds]
        for state, at, kind in zip(self.states, places, kinds, strict=True):
            b.store(fn.load(b, at, kind), state)
        for value in kernel.values:
            if not value.varies and value.index not in self.late:
                self.values.emit(b, value, {})
        self.ports.in_pieces(b, lambda first, count: self._some_frames(b, first, count))
        for state, at, kind in zip(self.states, places, kinds, strict=True):
            b.store(b.load(state, typ=fn.vector(kind)), at, align=fn.align)

    def _some_frames(self, b: ir.IRBuilder, first: ir.Value, count: ir.Value) -> None:
        """The loop over ``count`` frames from ``first`` on; there is at least one."""
        fn, before = self.function, b.block
        body, after = (b.append_basic_block(name) for name in ("frame", "frame.end"))
        b.branch(body)
        b.position_at_end(body)
        fn.j = b.phi(I64, "j")
        fn.j.add_incoming(integer(0), before)
        fn.i = b.add(first, fn.j, "i")
        fn.k = b.add(fn.fired, fn.i, "k")
        self._one_frame(b)
        following = b.add(fn.j, integer(1))
        fn.j.add_incoming(following, b.block)
        b.cbranch(b.icmp_signed("<", following, count), body, after)
        b.position_at_end(after)

    def _one_frame(self, b: ir.IRBuilder) -> None:
        """Emit all values that vary, and store what comes of them."""
        fn, kernel, values = self.function, self.kernel, self.values
        kinds = fn.state_types()
        old = [
            b.load(state, typ=fn.vector(kind))
            for state, kind in zip(self.states, kinds, strict=True)
        ]
        named = {slot.name: state for slot, state in zip(kernel.states, old, strict=True)}
        for value in kernel.values:
            if value.varies or value.index in self.late:
                values.emit(b, value, named)
        for writer, planes in zip(self.writers, kernel.stores, strict=True):
            for plane, value in enumerate(planes):
                writer(b, plane, values.lanes(b, value))
        for state, value in zip(self.states, kernel.nexts, strict=True):
            b.store(values.lanes(b, value), state)

    def _writer(self, b: ir.IRBuilder, port: int) -> Writer:
        summed = self.kernel.outlets[port].mode == "sum"
        return self.sums.writer(b, port) if summed else self.ports.writer(b, port)
