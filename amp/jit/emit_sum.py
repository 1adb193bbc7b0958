"""Sums over members in generated code, in the order of `amp.ir.Builder.tree_sum`.

Each frame has a row of eight accumulators for every plane and lane of one term. Every tile adds its
lanes to the rows; when all have run, the eight are folded in halves, written to where a table says, and
cleared for the next call: `Bound` cleared them for the first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from llvmlite import ir

from amp.jit import words as w
from amp.jit.emit_border import read_entry
from amp.jit.emit_power import add_square, each_measured, port_sums
from amp.jit.llvm import F64, PTR, integer, loop, offset, picked, word

if TYPE_CHECKING:
    from amp.jit.emit_ports import Writer
    from amp.jit.kernel_function import KernelFunction


class Sums:
    """The out ports of a kernel that add up over members."""

    def __init__(self, function: KernelFunction, *, ragged: bool, lone: bool) -> None:
        self._function, self._ragged, self._lone = function, ragged, lone
        outlets = enumerate(function.kernel.outlets)
        self._planes = {i: port.planes for i, port in outlets if port.mode == "sum"}
        self._exists: ir.Value = None  # which lanes of this tile exist
        self._places: list[ir.Value] = []  # where its groups of 8 lanes stand in a row

    def at_tile(self, function: KernelFunction) -> Sums:
        """The same ports, of a tile."""
        return Sums(function, ragged=self._ragged, lone=self._lone)

    def _buffer(self, b: ir.IRBuilder, port: int) -> tuple[ir.Value, ir.Value]:
        """The rows, and the lanes of one term."""
        buffer = word(b, self._function.args, self._words(port) + w.SUM_BUFFER, PTR)
        return buffer, self._lanes(b, port)

    def _lanes(self, b: ir.IRBuilder, port: int) -> ir.Value:
        if self._lone:  # LLVM sees then that all tiles add to the same place
            return integer(1)
        return word(b, self._function.args, self._words(port) + w.SUM_LANES)

    def _words(self, port: int) -> int:
        return self._function.words.outlet(port)

    def begin_tile(self, b: ir.IRBuilder) -> None:
        """Which lanes of this tile exist, and where they go."""
        fn, self._places = self._function, []
        if not self._planes:
            return
        lane = b.mul(fn.tile, integer(fn.width))
        numbers = b.add(fn.splat(b, lane), fn.iota())
        self._exists = b.icmp_signed("<", numbers, fn.splat(b, fn.lanes))
        # every sum of one kernel runs over the same members, so its rows have one length
        row = b.mul(self._lanes(b, next(iter(self._planes))), integer(w.SUM_ORDER))
        for chunk in range(0, fn.width, w.SUM_ORDER):
            place = b.urem(b.add(lane, integer(chunk)), row)
            self._places.append(b.mul(place, integer(8)))

    def writer(self, b: ir.IRBuilder, port: int) -> Writer:
        """How to add one plane of the current token."""
        fn = self._function
        planes = self._planes[port]
        buffer, lanes = self._buffer(b, port)
        row = b.mul(lanes, integer(8 * w.SUM_ORDER))
        starts = [offset(b, buffer, b.mul(row, integer(p))) for p in range(planes)]
        frame = b.mul(row, integer(planes))

        def add(f: ir.IRBuilder, plane: int, value: ir.Value) -> None:
            self._add(f, value, offset(f, starts[plane], f.mul(fn.i, frame)))

        return add

    def _add(self, f: ir.IRBuilder, value: ir.Value, row: ir.Value) -> None:
        fn = self._function
        if self._ragged:
            value = f.select(self._exists, value, fn.constant(F64, -0.0))
        size = min(fn.width, w.SUM_ORDER)
        for number, place in enumerate(self._places):
            part = value
            if fn.width > w.SUM_ORDER:
                lanes = range(number * size, (number + 1) * size)
                part = f.shuffle_vector(value, value, picked(list(lanes)))
            at = offset(f, row, place)
            f.store(f.fadd(f.load(at, typ=part.type, align=8 * size), part), at, align=8 * size)

    def end(self, b: ir.IRBuilder) -> None:
        """Fold every row and write what it comes to."""
        fn = self._function
        for port, planes in self._planes.items():
            buffer, lanes = self._buffer(b, port)
            table = word(b, fn.args, self._words(port) + w.SUM_TABLE, PTR)
            row = b.mul(lanes, integer(8 * w.SUM_ORDER))
            for plane in range(planes):
                start = offset(b, buffer, b.mul(row, integer(plane)))
                self._fold(b, plane, start, b.mul(row, integer(planes)), (table, lanes))
            if fn.kernel.outlets[port].sums:
                self._measure(b, port, table, lanes)

    def _measure(self, b: ir.IRBuilder, port: int, table: ir.Value, lanes: ir.Value) -> None:
        """Add up the squares of what was written."""
        fn = self._function
        sums = port_sums(fn, b, port, lanes)

        def each(at: ir.Value) -> None:
            entry = read_entry(b, offset(b, table, b.mul(at, integer(8 * w.ENTRY_WORDS))))
            here = offset(b, sums, b.mul(at, integer(8)))

            def one(i: ir.Value) -> None:
                x = b.load(entry.at(b, b.add(fn.fired, i)), typ=F64)
                add_square(fn, b, x, here)

            each_measured(b, fn.fired, fn.frames, fn.kernel.every, one)

        loop(b, b.mul(lanes, integer(self._planes[port])), "sum", each)

    def _fold(
        self,
        b: ir.IRBuilder,
        plane: int,
        start: ir.Value,
        row: ir.Value,
        where: tuple[ir.Value, ir.Value],
    ) -> None:
        """One plane; ``where`` is the table and its lanes."""
        fn = self._function
        table, lanes = where

        def each_lane(lane: ir.Value) -> None:
            entry = b.add(b.mul(lanes, integer(plane)), lane)
            at = offset(b, table, b.mul(entry, integer(8 * w.ENTRY_WORDS)))
            base = word(b, at, w.ENTRY_BASE, PTR)
            mask, stride = word(b, at, w.ENTRY_MASK), word(b, at, w.ENTRY_STRIDE)

            def store(i: ir.Value, total: ir.Value) -> None:
                slot = b.and_(b.add(fn.fired, i), mask)
                b.store(total, offset(b, base, b.mul(slot, stride)))

            def each_frame(i: ir.Value) -> None:
                mine = offset(b, start, b.add(b.mul(i, row), b.mul(lane, integer(8))))
                step = b.mul(lanes, integer(8))
                places = [offset(b, mine, b.mul(step, integer(j))) for j in range(w.SUM_ORDER)]
                terms = [b.load(place, typ=F64) for place in places]
                for place in places:
                    b.store(ir.Constant(F64, -0.0), place)
                while len(terms) > 1:
                    half = len(terms) // 2
                    pairs = zip(terms[:half], terms[half:], strict=True)
                    terms = [b.fadd(x, y) for x, y in pairs]
                store(i, terms[0])

            def each_row(i: ir.Value) -> None:
                kind = ir.VectorType(F64, w.SUM_ORDER)
                at = offset(b, start, b.mul(i, row))
                row_ = b.load(at, typ=kind, align=8 * w.SUM_ORDER)
                b.store(ir.Constant(kind, [-0.0] * w.SUM_ORDER), at, align=8 * w.SUM_ORDER)
                half = w.SUM_ORDER // 2
                while half:
                    low = b.shuffle_vector(row_, row_, picked(list(range(half))))
                    high = b.shuffle_vector(row_, row_, picked(list(range(half, 2 * half))))
                    row_, half = b.fadd(low, high), half // 2
                store(i, b.extract_element(row_, integer(0)))

            # the eight accumulators of a term of one lane are one vector
            single = b.icmp_signed("==", lanes, integer(1))
            loop(b, b.select(single, fn.frames, integer(0)), "row", each_row)
            loop(b, b.select(single, integer(0), fn.frames), "fold", each_frame)

        loop(b, lanes, "lane", each_lane)
