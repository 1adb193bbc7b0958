"""Emission: one kernel of IR to one LLVM function, ``width`` lanes at a time.

The function is ``void kernel(i64* words, i64 frames)`` with ``frames >= 1``; `amp.jit.words` says what
the words are. Lanes are innermost: the tile is the outer loop, the frame the inner one, states live
in vector registers, and what does not vary from frame to frame is computed before the frame loop.
Nothing here allows LLVM to change a rounding.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

from llvmlite import ir

from amp.jit import words as w
from amp.jit.emit_across import emit_across
from amp.jit.emit_block import emit_block
from amp.jit.emit_ports import Ports
from amp.jit.emit_power import Powers, emit_cells, first_measured, known_after
from amp.jit.emit_skew import emit_skewed
from amp.jit.emit_sum import Sums
from amp.jit.emit_values import PURE, Values
from amp.jit.kernel_function import KernelFunction
from amp.jit.llvm import I64, integer, loop, offset

if TYPE_CHECKING:
    from amp.ir import InPort, Kernel, OutPort, Value
    from amp.jit.emit_ports import Writer

__all__ = ["PURE", "emit_kernel"]

SHORT = 64
"""Most values of a kernel that computes two tiles at a time."""


def emit_kernel(
    kernel: Kernel, width: int, registers: int, *, ragged: bool, single: bool, lone: bool
) -> ir.Module:
    """LLVM module with the function ``kernel``.

    Parameters
    ----------
    kernel, width
        The kernel, and how many lanes it computes at a time.
    registers
        How many vectors of that width the CPU's registers hold.
    ragged
        The lanes do not fill the last tile.
    single
        There is only one tile.
    lone
        Each term of a sum is one lane.
    """
    module = ir.Module(name="kernel")
    function = KernelFunction(module, kernel, width, "body" if kernel.measures else "kernel")
    sums = Sums(function, ragged=ragged, lone=lone)
    _Emitter(function, registers, sums, single=single).run()
    if kernel.measures:
        body = module.get_global("body")
        body.linkage = "internal"
        emit_cells(module, body)
    return module


def read_late(kernel: Kernel, registers: int) -> set[int]:
    """Params that are read in every frame, since registers hold no more: by index.

    LLVM would keep them all, and spill states instead, which then wait for memory in each frame.
    """
    room = max(0, registers * 3 // 4 - len(kernel.states))
    needed = {v.index for value in kernel.values if not value.varies for v in value.operands}
    params = [v.index for v in kernel.values if v.op == "param" and v.index not in needed]
    return set(params[room:])


class _Emitter:
    def __init__(
        self, function: KernelFunction, registers: int, sums: Sums, *, single: bool
    ) -> None:
        self.function, self.kernel = function, function.kernel
        self.registers, self.sums, self.single = registers, sums, single

    def run(self) -> None:
        """Emit the whole function."""
        fn, b = self.function, self.function.entry
        if self.kernel.skewed:
            loop(b, fn.tiles, "tile", lambda t: emit_skewed(fn.at_tile(t), b))
        elif self.kernel.across:
            loop(b, fn.tiles, "tile", lambda t: emit_across(fn.at_tile(t), b))
        elif self.kernel.block is not None:
            emit_block(fn, b, self.kernel.block)
        elif self._in_pairs():
            two = integer(2)
            pairs, rest = b.sdiv(fn.tiles, two), b.srem(fn.tiles, two)
            loop(b, pairs, "pair", lambda i: self._tiles(b.mul(i, two), 2))
            loop(b, rest, "last", lambda i: self._tiles(b.add(b.mul(pairs, two), i), 1))
        else:
            loop(b, fn.tiles, "tile", lambda tile: self._tiles(tile, 1))
        self.sums.end(b)
        if not self.kernel.backward:
            fired = b.add(fn.fired, fn.frames)
            b.store(fired, offset(b, fn.args, integer(8 * w.FIRED)))
        b.ret_void()

    def _in_pairs(self) -> bool:
        """Two tiles in one loop hide each other's latency, if registers hold the states of both and
        what a frame comes to; long code hides its own."""
        kernel = self.kernel
        ports: list[InPort | OutPort] = [*kernel.inlets, *kernel.outlets]
        return (
            not self.single
            and len(kernel.values) <= SHORT
            and 4 * len(kernel.states) <= self.registers
            and all(port.mode != "table" for port in ports)
        )

    def _tiles(self, first: ir.Value, count: int) -> None:
        """All frames of ``count`` tiles, with the states in registers."""
        fn, b = self.function, self.function.entry
        late = read_late(self.kernel, self.registers // count)
        places = [fn.at_tile(b.add(first, integer(i))) for i in range(count)]
        tiles = [_Tile(place, b, late, self.sums.at_tile(place)) for place in places]
        tiles[0].ports.in_pieces(b, lambda begin, some: self._frames(tiles, begin, some))
        for tile in tiles:
            tile.end(b)

    def _frames(self, tiles: list[_Tile], first: ir.Value, count: ir.Value) -> None:
        """The loop over ``count`` frames from ``first`` on, or from the last of them back; there is at
        least one."""
        fn, b, every = self.function, self.function.entry, self.kernel.every
        sparse = bool(self.kernel.powers) and every > 1
        start = first_measured(b, b.add(fn.fired, first), every) if sparse else None
        before = b.block
        body, after = (b.append_basic_block(name) for name in ("frame", "frame.end"))
        b.branch(body)
        b.position_at_end(body)
        j = b.phi(I64, "j")
        j.add_incoming(integer(0), before)
        wait = b.phi(I64, "wait") if sparse else None
        at = b.sub(b.sub(count, integer(1)), j) if self.kernel.backward else j
        for tile in tiles:
            tile.begin_frame(b, first, at)
        due = None if wait is None else b.icmp_signed("==", wait, integer(0))
        known = known_after(self.kernel)
        self._measure(tiles, known.get(-1, []), due)
        for value in self.kernel.values:  # those of all tiles side by side
            for tile in tiles:
                tile.emit(b, value)
            self._measure(tiles, known.get(value.index, []), due)
        for tile in tiles:
            tile.end_frame(b)
        if wait is not None:
            wait.add_incoming(start, before)
            wait.add_incoming(b.select(due, integer(every - 1), b.sub(wait, integer(1))), b.block)
        following = b.add(j, integer(1))
        j.add_incoming(following, b.block)
        b.cbranch(b.icmp_signed("<", following, count), body, after)
        b.position_at_end(after)

    def _measure(self, tiles: list[_Tile], powers: list[int], due: ir.Value | None) -> None:
        """Add up the squares of some powers, if they are ``due`` in this frame."""
        b = self.function.entry
        if not powers:
            return
        for tile in tiles:
            for value in dict.fromkeys(v for i in powers for v in self.kernel.powers[i]):
                tile.values.lanes(b, value)  # before the branch, since others may need it too
        with b.if_then(due, likely=False) if due is not None else nullcontext():
            for tile in tiles:
                tile.powers.add(b, tile.values, powers)


class _Tile:
    """One tile of a kernel: its ports, its values, and its states in registers."""

    def __init__(
        self, function: KernelFunction, b: ir.IRBuilder, late: set[int], sums: Sums
    ) -> None:
        self.function, self.kernel, self.late = function, function.kernel, late
        self.ports, self.values, self.sums = Ports(function), Values(function), sums
        self.ports.begin_tile(b)
        self.sums.begin_tile(b)
        self.values.begin_tile(b)
        self.powers = Powers(function, b, near=function.kernel.every == 1)
        kernel = self.kernel
        self.values.readers = [self.ports.reader(b, port) for port in range(len(kernel.inlets))]
        self.writers = [self._writer(b, port) for port in range(len(kernel.outlets))]
        row = integer(8 * function.width)
        base = b.mul(function.tile, b.mul(row, integer(len(kernel.states))))
        self.places = [
            offset(b, function.states, b.add(base, b.mul(row, integer(i))))
            for i in range(len(kernel.states))
        ]
        self.kinds = function.state_types()
        with b.goto_entry_block():
            self.states = [b.alloca(function.vector(kind)) for kind in self.kinds]
        for state, at, kind in zip(self.states, self.places, self.kinds, strict=True):
            b.store(function.load(b, at, kind), state)
        for value in kernel.values:
            if not value.varies and value.index not in late:
                self.values.emit(b, value, {})

    def _writer(self, b: ir.IRBuilder, port: int) -> Writer:
        summed = self.kernel.outlets[port].mode == "sum"
        return self.sums.writer(b, port) if summed else self.ports.writer(b, port)

    def begin_frame(self, b: ir.IRBuilder, first: ir.Value, j: ir.Value) -> None:
        """Read the states in frame ``j`` of those from ``first`` on."""
        fn = self.function
        fn.j, fn.i = j, b.add(first, j, "i")
        fn.k = b.add(fn.fired, fn.i, "k")
        self.old = {
            slot.name: b.load(state, typ=fn.vector(kind))
            for slot, state, kind in zip(self.kernel.states, self.states, self.kinds, strict=True)
        }

    def emit(self, b: ir.IRBuilder, value: Value) -> None:
        """Emit a value, if it is one of a frame."""
        if value.varies or value.index in self.late:
            self.values.emit(b, value, self.old)

    def end_frame(self, b: ir.IRBuilder) -> None:
        """Store what the values come to."""
        for writer, planes in zip(self.writers, self.kernel.stores, strict=True):
            for plane, value in enumerate(planes):
                writer(b, plane, self.values.lanes(b, value))
        for state, value in zip(self.states, self.kernel.nexts, strict=True):
            b.store(self.values.lanes(b, value), state)

    def end(self, b: ir.IRBuilder) -> None:
        """Put the states and the sums of squares back."""
        fn = self.function
        self.powers.end(b)
        for state, at, kind in zip(self.states, self.places, self.kinds, strict=True):
            b.store(b.load(state, typ=fn.vector(kind)), at, align=fn.align)
