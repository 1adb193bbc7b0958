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


def emit_kernel(
    kernel: Kernel, width: int, name: str = "kernel", *, ragged: bool = True
) -> ir.Module:
    """LLVM module with the function ``name``; ``ragged`` lanes do not fill their last tile."""
    module = ir.Module(name=name)
    _Emitter(KernelFunction(module, kernel, width, name), ragged=ragged).run()
    return module


def archetype_symbol(name: str) -> str:
    """Name under which a kernel calls an archetype."""
    return f"amp_archetype_{name}"


class _Emitter:
    def __init__(self, function: KernelFunction, *, ragged: bool) -> None:
        self.function, self.kernel = function, function.kernel
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
        if self.kernel.archetype:
            if self.kernel.outlets:  # otherwise no one reads it
                self._call_archetype(b)
        else:
            self._frames(b)
        self.ports.end_tile(b)

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
        """The loop over frames, with the states in registers; ``b`` continues after it."""
        fn, kernel = self.function, self.kernel
        self.values.readers = [self.ports.reader(b, port) for port in range(len(kernel.inlets))]
        writers = [self._writer(b, port) for port in range(len(kernel.outlets))]
        stride = integer(8 * fn.width * len(kernel.states))
        base = offset(b, fn.states, b.mul(fn.tile, stride))
        kinds = fn.state_types()
        places = [offset(b, base, integer(8 * fn.width * i)) for i in range(len(kinds))]
        first = [fn.load(b, at, kind) for at, kind in zip(places, kinds, strict=True)]
        body = b.append_basic_block("frame")
        after = b.append_basic_block("frame.end")
        f = ir.IRBuilder(body)
        fn.i = f.phi(I64, "i")
        phis = [f.phi(fn.vector(kind)) for kind in kinds]
        fn.k = f.add(fn.fired, fn.i, "k")
        nexts = self._one_frame(b, f, phis, writers)
        following = f.add(fn.i, integer(1))
        f.cbranch(f.icmp_signed("<", following, fn.frames), body, after)
        fn.i.add_incoming(integer(0), b.block)
        fn.i.add_incoming(following, body)
        for phi, start, value in zip(phis, first, nexts, strict=True):
            phi.add_incoming(start, b.block)
            phi.add_incoming(value, body)
        b.branch(body)
        b.position_at_end(after)
        for at, value in zip(places, nexts, strict=True):
            b.store(value, at, align=fn.align)

    def _one_frame(
        self, b: ir.IRBuilder, f: ir.IRBuilder, states: list[ir.Value], writers: list[Writer]
    ) -> list[ir.Value]:
        """Emit all values, before the loop (``b``) or in it (``f``); the next states."""
        kernel, values = self.kernel, self.values
        named = {slot.name: state for slot, state in zip(kernel.states, states, strict=True)}
        for value in kernel.values:
            values.emit(f if value.varies else b, value, named)
        for writer, planes in zip(writers, kernel.stores, strict=True):
            for plane, value in enumerate(planes):
                writer(f, plane, values.lanes(f, value))
        return [values.lanes(f, value) for value in kernel.nexts]

    def _writer(self, b: ir.IRBuilder, port: int) -> Writer:
        summed = self.kernel.outlets[port].mode == "sum"
        return self.sums.writer(b, port) if summed else self.ports.writer(b, port)
