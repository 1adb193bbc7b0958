"""A kernel across time in generated code: eight frames of one lane at a time.

Where a kernel remembers nothing, frames do not wait for one another, and few lanes need not leave a
vector empty. Rings of such kernels lie frame by frame. The frames are cut where a ring ends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from llvmlite import ir

from amp.jit import words as w
from amp.jit.emit_border import Entry, read_entry
from amp.jit.emit_power import Powers, each_measured
from amp.jit.emit_values import Values
from amp.jit.llvm import F64, I1, PTR, integer, loop, offset, pieces, word

if TYPE_CHECKING:
    from amp.jit.emit_ports import Reader
    from amp.jit.kernel_function import KernelFunction

FRAMES = 8


def emit_across(function: KernelFunction, b: ir.IRBuilder) -> None:
    """Emit the work of one tile, which is one lane."""
    _Across(function, b).run()


class _Across:
    def __init__(self, function: KernelFunction, b: ir.IRBuilder) -> None:
        self.function, self.b = function, b
        self.kernel, fn = function.kernel, function
        self.sources = [
            [self._entry(fn.words.inlet(i), port.mode, plane) for plane in range(port.planes)]
            for i, port in enumerate(self.kernel.inlets)
        ]
        self.targets = [
            [self._entry(fn.words.outlet(i), port.mode, plane) for plane in range(port.planes)]
            for i, port in enumerate(self.kernel.outlets)
        ]

    def _entry(self, first: int, mode: str, plane: int) -> Entry:
        """Where one plane of this lane lies."""
        b, fn = self.b, self.function
        if mode == "table":
            table = word(b, fn.args, first + w.TABLE, PTR)
            row = b.add(b.mul(fn.tiles, integer(plane)), fn.tile)
            return read_entry(b, offset(b, table, b.mul(row, integer(8 * w.ENTRY_WORDS))))
        base = word(b, fn.args, first + w.BASE, PTR)
        base = offset(b, base, b.mul(word(b, fn.args, first + w.PLANE_STRIDE), integer(plane)))
        mask = word(b, fn.args, first + w.MASK)
        last = word(b, fn.args, first + w.TILE_STRIDE)
        if mode == "uniform":
            return Entry(base, mask, word(b, fn.args, first + w.TOKENS), last)
        tokens = word(b, fn.args, first + w.TOKENS) if mode == "aligned" else integer(0)
        return Entry(offset(b, base, b.mul(fn.tile, last)), mask, tokens, integer(8))

    def run(self) -> None:
        """Pieces of frames, each as vectors and then one by one."""
        b, fn = self.b, self.function
        self.entries = [entry for port in (*self.sources, *self.targets) for entry in port]
        self.flat: ir.Value = ir.Constant(I1, 1)
        for entry in self.entries:
            self.flat = b.and_(self.flat, entry.is_flat(b))
        self.values = {width: Values(fn.with_width(width), across=True) for width in (FRAMES, 1)}
        for values in self.values.values():
            for value in self.kernel.values:
                if not value.varies:
                    values.emit(b, value, {})
        self.powers = Powers(fn.with_width(1), b, near=True)
        pieces(b, fn.frames, self._piece)
        self.powers.end(b)

    def _piece(self, done: ir.Value) -> ir.Value:
        """Frames from ``done`` on, until some ring ends; how many."""
        b, fn = self.b, self.function
        k, count = b.add(fn.fired, done), b.sub(fn.frames, done)
        for entry in self.entries:
            count = entry.until_end(b, b.sub(k, entry.tokens), count)
        starts = {id(entry): entry.at(b, b.sub(k, entry.tokens)) for entry in self.entries}
        vectors = b.select(self.flat, b.sdiv(count, integer(FRAMES)), integer(0))
        rest = b.mul(vectors, integer(FRAMES))
        wide, single = self.values[FRAMES], self.values[1]
        loop(
            b,
            vectors,
            "vector",
            lambda i: self._step(wide, starts, k, b.mul(i, integer(FRAMES))),
        )
        loop(
            b, b.sub(count, rest), "frame", lambda i: self._step(single, starts, k, b.add(rest, i))
        )
        if self.kernel.powers:  # one by one, so that they are added in order
            each_measured(
                b, k, count, self.kernel.every, lambda i: self._measure(single, starts, k, i)
            )
        return count

    def _measure(
        self, values: Values, starts: dict[int, ir.Value], k: ir.Value, i: ir.Value
    ) -> None:
        """Add up the squares of frame ``i`` of the piece, computed once more."""
        self._compute(values, starts, k, i)
        self.powers.add(self.b, values)

    def _step(self, values: Values, starts: dict[int, ir.Value], k: ir.Value, i: ir.Value) -> None:
        """Compute and write ``width`` frames from ``i`` of the piece on."""
        b = self.b
        self._compute(values, starts, k, i)
        for port, planes in zip(self.targets, self.kernel.stores, strict=True):
            for entry, value in zip(port, planes, strict=True):
                at = offset(b, starts[id(entry)], b.mul(i, entry.stride))
                b.store(values.lanes(b, value), at, align=8)

    def _compute(
        self, values: Values, starts: dict[int, ir.Value], k: ir.Value, i: ir.Value
    ) -> None:
        """``width`` frames from ``i`` of the piece on, the first of which is firing ``k + i``."""
        b, fn = self.b, values.function
        fn.k = b.add(k, i)

        def reader(port: int) -> Reader:
            def read(f: ir.IRBuilder, plane: int) -> ir.Value:
                entry = self.sources[port][plane]
                at = offset(f, starts[id(entry)], f.mul(i, entry.stride))
                return f.load(at, align=8, typ=fn.vector(F64))

            return read

        values.readers = [reader(port) for port in range(len(self.sources))]
        for value in self.kernel.values:
            if value.varies:
                values.emit(b, value, {})
