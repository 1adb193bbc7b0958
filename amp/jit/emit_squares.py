"""Squares of frames and lanes in generated code: where the tokens of every lane lie side by side, as in
the caller's arrays, a kernel reads and writes them in place, eight frames at a time. What it computes
meanwhile hides how long memory takes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from llvmlite import ir

from amp.jit import words as w
from amp.jit.emit_border import Entry, move_square, read_entry
from amp.jit.llvm import I1, I32, PTR, VOID, function_named, integer, offset, word

if TYPE_CHECKING:
    from amp.jit.kernel_function import KernelFunction

    Port = tuple[int, list[ir.Value]]
    """First word of a table port, and the area of each of its planes."""

MOST = 8
"""Planes of a kernel that are moved in squares; more would be long code."""
AHEAD = 64
"""Frames that are asked for before they are read."""


class Squares:
    """The table ports of one tile, ``inlets`` and ``outlets``; `size` frames are moved at a time."""

    def __init__(
        self, b: ir.IRBuilder, function: KernelFunction, inlets: list[Port], outlets: list[Port]
    ) -> None:
        self._function = function
        self.size = min(function.width, 8)
        self.fit: ir.Value = ir.Constant(I1, 1)  # every lane lies so that squares can be moved
        self._inward = [plane for port in inlets for plane in self._planes(b, port)]
        self._outward = [plane for port in outlets for plane in self._planes(b, port)]

    def _planes(self, b: ir.IRBuilder, port: Port) -> list[tuple[list[ir.Value], ir.Value]]:
        """For each plane where its lanes start, and its area."""
        fn, (first, areas) = self._function, port
        table = word(b, fn.args, first + w.TABLE, PTR)
        planes = []
        for plane, area in enumerate(areas):
            lane = b.mul(b.add(b.mul(fn.tiles, integer(plane)), fn.tile), integer(fn.width))
            at = offset(b, table, b.mul(lane, integer(8 * w.ENTRY_WORDS)))
            entries = [
                read_entry(b, offset(b, at, integer(8 * w.ENTRY_WORDS * i)))
                for i in range(fn.width)
            ]
            planes.append(([self._start(b, entry) for entry in entries], area))
        return planes

    def _start(self, b: ir.IRBuilder, entry: Entry) -> ir.Value:
        """Address of a lane's first token; all of them have to follow it in one piece."""
        fn = self._function
        k = b.sub(fn.fired, entry.tokens)
        whole = b.icmp_signed("==", entry.until_end(b, k, fn.frames), fn.frames)
        self.fit = b.and_(self.fit, b.and_(entry.is_flat(b), whole))
        return entry.at(b, k)

    def read(self, b: ir.IRBuilder, done: ir.Value) -> None:
        """Move the frames from ``done`` on into the areas."""
        backward = self._function.kernel.backward
        for starts, area in self._inward:
            for along, across in self._rows(b, done, starts, area):
                for at in along:
                    _ask_for(b, offset(b, at, integer(-8 * AHEAD if backward else 8 * AHEAD)))
                move_square(b, along, across)

    def write(self, b: ir.IRBuilder, done: ir.Value) -> None:
        """Move the areas to the frames from ``done`` on."""
        for starts, area in self._outward:
            for along, across in self._rows(b, done, starts, area):
                move_square(b, across, along)

    def _rows(
        self, b: ir.IRBuilder, done: ir.Value, starts: list[ir.Value], area: ir.Value
    ) -> list[tuple[list[ir.Value], list[ir.Value]]]:
        """The squares side by side in a tile: rows along the frames, and across them."""
        size, width = self.size, self._function.width
        skip = b.mul(done, integer(8))
        return [
            (
                [offset(b, start, skip) for start in starts[lane : lane + size]],
                [offset(b, area, integer(8 * (width * i + lane))) for i in range(size)],
            )
            for lane in range(0, width, size)
        ]


def _ask_for(b: ir.IRBuilder, at: ir.Value) -> None:
    kind = ir.FunctionType(VOID, [PTR, I32, I32, I32])
    to_read, keep, data = (ir.Constant(I32, value) for value in (0, 3, 1))
    b.call(function_named(b.module, "llvm.prefetch.p0", kind), [at, to_read, keep, data])
