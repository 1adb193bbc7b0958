"""Powers in generated code: squares of streams, added up in cells of the clock.

A kernel that measures is a function ``body`` and a function ``kernel`` that calls it cell by cell, so that
a call adds to the sums of one cell only. The sums of a lane are added in the order of its firings,
whatever the calls are: each goes on where the one before left them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from llvmlite import ir

from amp.jit import words as w
from amp.jit.driver import divided
from amp.jit.llvm import F64, KERNEL_TYPE, PTR, integer, larger, loop, offset, pieces, smaller, word
from amp.thermal import CELL, CELLS

if TYPE_CHECKING:
    from collections.abc import Callable

    from amp.ir import Kernel
    from amp.jit.emit_block import Planes
    from amp.jit.emit_values import Values
    from amp.jit.kernel_function import KernelFunction


def emit_cells(module: ir.Module, body: ir.Function) -> None:
    """Emit ``kernel``, which has ``body`` run the firings of one cell of the clock after another."""
    function = ir.Function(module, KERNEL_TYPE, "kernel")
    function.attributes.add("nounwind")
    args, frames = function.args
    b = ir.IRBuilder(function.append_basic_block("entry"))
    end = b.add(word(b, args, w.FIRED), frames)
    with b.if_else(b.icmp_signed("<=", end, word(b, args, w.POWER_END))) as (inside, across):
        with inside:
            b.call(body, [args, frames])
        with across:
            pieces(b, frames, lambda done: _run_cell(b, body, b.sub(frames, done)))
    b.ret_void()


def _run_cell(b: ir.IRBuilder, body: ir.Function, left: ir.Value) -> ir.Value:
    """Run as many of the firings that are ``left`` as belong to the cell of the first; how many."""
    args = b.function.args[0]
    firings, period, late = (word(b, args, w.POWER_PACE + i) for i in range(3))
    base, stride = word(b, args, w.POWER_BASE, PTR), word(b, args, w.POWER_STRIDE)
    k, size = word(b, args, w.FIRED), integer(CELL)
    cell = b.udiv(divided(b, b.add(b.mul(k, period), late), firings), size)
    slot = b.and_(cell, integer(CELLS - 1))
    b.store(offset(b, base, b.mul(slot, stride)), offset(b, args, integer(8 * w.POWER)))
    least = larger(b, period, integer(1))
    border = b.sub(b.mul(b.mul(b.add(cell, integer(1)), size), firings), late)
    end = divided(b, b.add(border, b.sub(least, integer(1))), least)
    paced = b.icmp_signed(">", period, integer(0))  # else all belong to the first cell
    end = b.select(paced, end, integer(1 << 62))
    b.store(end, offset(b, args, integer(8 * w.POWER_END)))
    count = smaller(b, b.sub(end, k), left)
    b.call(body, [args, count])
    return count


def first_measured(b: ir.IRBuilder, k: ir.Value, every: int) -> ir.Value:
    """Firings from ``k`` on until the next one that is measured."""
    past = b.urem(k, integer(every))
    return b.select(b.icmp_signed("==", past, integer(0)), integer(0), b.sub(integer(every), past))


def each_measured(
    b: ir.IRBuilder,
    fired: ir.Value,
    frames: ir.Value,
    every: int,
    body: Callable[[ir.Value], object],
) -> None:
    """Emit ``body(i)`` for those of ``frames`` firings from ``fired`` on that are measured."""
    first = first_measured(b, fired, every)
    rest = larger(b, b.sub(frames, first), integer(0))
    count = b.udiv(b.add(rest, integer(every - 1)), integer(every))
    loop(b, count, "measured", lambda i: body(b.add(first, b.mul(i, integer(every)))))


def add_square(fn: KernelFunction, b: ir.IRBuilder, x: ir.Value, at: ir.Value) -> None:
    """Add the square of one number to the sum at an address."""
    one = fn.with_width(1)
    b.store(one.intrinsic(b, "fma", F64, x, x, b.load(at, typ=F64)), at)


def port_sums(fn: KernelFunction, b: ir.IRBuilder, port: int, lanes: ir.Value) -> ir.Value:
    """Where the sums of a measured out port lie: as many for each of ``lanes`` as it has, after those of the
    lanes and of the ports before."""
    skip = b.mul(fn.tiles, integer(fn.width * len(fn.kernel.powers)))
    before = integer(sum(outlet.sums for outlet in fn.kernel.outlets[:port]))
    return offset(b, fn.power(b), b.mul(b.add(skip, b.mul(lanes, before)), integer(8)))


def measure_planes(
    fn: KernelFunction, b: ir.IRBuilder, port: int, lane: ir.Value, planes: Planes
) -> None:
    """Add up the squares of what one lane has written, token by token and then plane by plane, if the port
    is measured."""
    outlet = fn.kernel.outlets[port]
    if not outlet.sums:
        return
    first = offset(b, port_sums(fn, b, port, fn.tiles), b.mul(lane, integer(8)))
    apart = integer(0) if outlet.sums == 1 else b.mul(fn.tiles, integer(8))

    def each(i: ir.Value) -> None:
        def token(t: ir.Value) -> None:
            row = offset(
                b, planes.base, b.mul(b.add(b.mul(i, integer(outlet.rate)), t), integer(8))
            )

            def plane(p: ir.Value) -> None:
                x = b.load(offset(b, row, b.mul(b.mul(p, planes.stride), integer(8))), typ=F64)
                add_square(fn, b, x, offset(b, first, b.mul(p, apart)))

            loop(b, integer(outlet.planes), "plane", plane)

        loop(b, integer(outlet.rate), "token", token)

    each_measured(b, fn.fired, fn.frames, fn.kernel.every, each)


def known_after(kernel: Kernel) -> dict[int, list[int]]:
    """Powers of a kernel by the value after which all of theirs are known: the sooner they are added, the
    shorter a register is taken. -1 if none of them changes from frame to frame."""
    found: dict[int, list[int]] = {}
    for i, some in enumerate(kernel.powers):
        last = max((value.index for value in some if value.varies), default=-1)
        found.setdefault(last, []).append(i)
    return found


class Powers:
    """The sums of one tile: in registers, or in memory if few firings are measured one at a time."""

    def __init__(self, function: KernelFunction, b: ir.IRBuilder, *, near: bool) -> None:
        fn, self._function, self._kernel = function, function, function.kernel
        self._places: list[ir.Value] = []
        self._memory: list[ir.Value] = []
        powers = self._kernel.powers
        if not powers:
            return
        row = 8 * fn.width
        base = offset(b, fn.power(b), b.mul(fn.tile, integer(row * len(powers))))
        self._memory = [offset(b, base, integer(row * i)) for i in range(len(powers))]
        self._places = self._memory
        if near:
            with b.goto_entry_block():
                self._places = [b.alloca(fn.vector(F64)) for _ in powers]
            for here, at in zip(self._places, self._memory, strict=True):
                b.store(fn.load(b, at), here)

    def add(
        self, b: ir.IRBuilder, values: Values, only: list[int] | None = None, mask: ir.Value = None
    ) -> None:
        """Add the squares of this firing, or those of some powers; in those lanes that a mask says."""
        fn = self._function
        for i in range(len(self._places)) if only is None else only:
            at = self._places[i]
            was = total = fn.load(b, at)
            for value in self._kernel.powers[i]:
                x = values.lanes(b, value)
                total = fn.intrinsic(b, "fma", F64, x, x, total)
            b.store(total if mask is None else b.select(mask, total, was), at, align=fn.align)

    def end(self, b: ir.IRBuilder) -> None:
        """Put the sums back."""
        if self._places is not self._memory:
            for here, at in zip(self._places, self._memory, strict=True):
                b.store(self._function.load(b, here), at, align=self._function.align)
