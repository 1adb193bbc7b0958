"""Ports in generated code: tokens out of rings and tables into lanes, and lanes back."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from llvmlite import ir

from amp.jit import words as w
from amp.jit.llvm import F64, I1, I64, PTR, integer, loop, offset, smaller, transposed, word

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from amp.ir import InPort, OutPort
    from amp.jit.kernel_function import KernelFunction

    Reader = Callable[[ir.IRBuilder, int], ir.Value]
    """Loads one plane of the current token."""
    Writer = Callable[[ir.IRBuilder, int, ir.Value], None]
    """Stores one plane of the current token."""


class Entry(NamedTuple):
    """The words of a table's entry, which say where one lane of one plane lies."""

    base: ir.Value
    mask: ir.Value
    tokens: ir.Value
    stride: ir.Value

    def at(self, b: ir.IRBuilder, k: ir.Value) -> ir.Value:
        """Address of the token of index ``k``, tokens counted already."""
        return offset(b, self.base, b.mul(b.and_(k, self.mask), self.stride))


def read_entry(b: ir.IRBuilder, at: ir.Value) -> Entry:
    """The entry that lies at an address."""
    kinds = {w.ENTRY_BASE: PTR}
    return Entry(*(word(b, at, i, kinds.get(i, I64)) for i in range(w.ENTRY_WORDS)))


class Ports:
    """The in ports, rings and tables of one tile of a kernel."""

    def __init__(self, function: KernelFunction) -> None:
        self._function, self._kernel = function, function.kernel
        self.areas: dict[tuple[str, int], list[ir.Value]] = {}

    def begin_tile(self, b: ir.IRBuilder) -> None:
        """Turn one tile of every table that is read into lanes."""
        self.areas = self._scratch_areas(b)
        for port, inlet in enumerate(self._kernel.inlets):
            if inlet.mode == "table":
                self._gather(b, port)

    def end_tile(self, b: ir.IRBuilder) -> None:
        """Write the lanes of one tile to where its tables say."""
        for port, outlet in enumerate(self._kernel.outlets):
            if outlet.mode == "table":
                self._scatter(b, port)

    def reader(self, b: ir.IRBuilder, port: int) -> Reader:
        """How to load one plane of the current token."""
        fn, mode = self._function, self._kernel.inlets[port].mode
        if mode == "table":
            areas = self.areas["in", port]

            def from_scratch(f: ir.IRBuilder, plane: int) -> ir.Value:
                return fn.load(f, offset(f, areas[plane], fn.bytes(f, fn.i)))

            return from_scratch
        first = fn.words.inlet(port)
        base = word(b, fn.args, first + w.BASE, PTR)
        mask = word(b, fn.args, first + w.MASK)
        tokens = word(b, fn.args, first + w.TOKENS)
        plane_stride = word(b, fn.args, first + w.PLANE_STRIDE)
        last = word(b, fn.args, first + w.TILE_STRIDE)
        if mode == "aligned":
            base = offset(b, base, b.mul(fn.tile, last))
        starts = [
            offset(b, base, b.mul(plane_stride, integer(plane)))
            for plane in range(self._kernel.inlets[port].planes)
        ]

        def from_ring(f: ir.IRBuilder, plane: int) -> ir.Value:
            slot = f.and_(f.sub(fn.k, tokens), mask)
            if mode == "aligned":
                return fn.load(f, offset(f, starts[plane], fn.bytes(f, slot)))
            at = offset(f, starts[plane], f.mul(slot, last))
            return fn.splat(f, f.load(at, typ=F64))

        return from_ring

    def writer(self, b: ir.IRBuilder, port: int) -> Writer:
        """How to store one plane of the current token, in a ring or for `end_tile`."""
        fn, outlet = self._function, self._kernel.outlets[port]
        if outlet.mode == "table":
            areas = self.areas["out", port]

            def to_scratch(f: ir.IRBuilder, plane: int, value: ir.Value) -> None:
                f.store(value, offset(f, areas[plane], fn.bytes(f, fn.i)), align=fn.align)

            return to_scratch
        first = fn.words.outlet(port)
        base = word(b, fn.args, first + w.BASE, PTR)
        plane_stride = word(b, fn.args, first + w.PLANE_STRIDE)
        tile_stride = word(b, fn.args, first + w.TILE_STRIDE)
        base = offset(b, base, b.mul(fn.tile, tile_stride))
        starts = [offset(b, base, b.mul(plane_stride, integer(p))) for p in range(outlet.planes)]
        mask = word(b, fn.args, first + w.MASK)

        def to_ring(f: ir.IRBuilder, plane: int, value: ir.Value) -> None:
            slot = f.and_(fn.k, mask)
            f.store(value, offset(f, starts[plane], fn.bytes(f, slot)), align=fn.align)

        return to_ring

    def _scratch_areas(self, b: ir.IRBuilder) -> dict[tuple[str, int], list[ir.Value]]:
        """Start of the scratch memory of each table port and plane."""
        fn = self._function
        areas: dict[tuple[str, int], list[ir.Value]] = {}
        used = 0
        sides: dict[str, Sequence[InPort | OutPort]]
        sides = {"in": self._kernel.inlets, "out": self._kernel.outlets}
        for side, ports in sides.items():
            for i, port in enumerate(ports):
                if port.mode == "table":
                    areas[side, i] = [
                        offset(b, fn.scratch, fn.bytes(b, fn.frames, used + plane))
                        for plane in range(port.planes)
                    ]
                    used += port.planes
        return areas

    def _entry(self, b: ir.IRBuilder, table: ir.Value, plane: int, lane: ir.Value) -> Entry:
        """Where ``table`` says that one lane of this tile lies."""
        fn = self._function
        padded = b.mul(fn.tiles, integer(fn.width))
        row = b.add(b.mul(padded, integer(plane)), b.add(b.mul(fn.tile, integer(fn.width)), lane))
        return read_entry(b, offset(b, table, b.mul(row, integer(8 * w.ENTRY_WORDS))))

    def _gather(self, b: ir.IRBuilder, port: int) -> None:
        fn = self._function
        table = word(b, fn.args, fn.words.inlet(port) + w.TABLE, PTR)
        for plane, area in enumerate(self.areas["in", port]):
            self._gather_plane(b, table, plane, area)

    def _gather_plane(self, b: ir.IRBuilder, table: ir.Value, plane: int, area: ir.Value) -> None:
        fn = self._function
        done = self._transpose(b, table, plane, area, inward=True)
        done = self._gather_rows(b, table, plane, area, done)

        def each_lane(lane: ir.Value) -> None:
            entry = self._entry(b, table, plane, lane)
            first = b.sub(fn.fired, entry.tokens)
            target = offset(b, area, b.mul(lane, integer(8)))

            def each_frame(i: ir.Value) -> None:
                i = b.add(i, done)
                token = b.load(entry.at(b, b.add(first, i)), typ=F64)
                b.store(token, offset(b, target, fn.bytes(b, i)))

            loop(b, b.sub(fn.frames, done), "gather", each_frame)

        loop(b, integer(fn.width), "lane", each_lane)

    def _gather_rows(
        self, b: ir.IRBuilder, table: ir.Value, plane: int, area: ir.Value, done: ir.Value
    ) -> ir.Value:
        """Frame by frame where every lane of the tile reads a ring of one shape, so that all share
        the slot; the number of frames moved so far."""
        fn = self._function
        if fn.width == 1:
            return done
        entries = [self._entry(b, table, plane, integer(lane)) for lane in range(fn.width)]
        alike, head = ir.Constant(I1, 1), entries[0]
        for entry in entries[1:]:
            for mine, first in zip(entry[1:], head[1:], strict=True):
                alike = b.and_(alike, b.icmp_signed("==", mine, first))
        rows = b.select(alike, b.sub(fn.frames, done), integer(0))
        start = b.sub(fn.fired, head.tokens)

        def each_frame(i: ir.Value) -> None:
            i = b.add(i, done)
            at = b.mul(b.and_(b.add(start, i), head.mask), head.stride)
            row: ir.Value = ir.Constant(fn.vector(F64), ir.Undefined)
            for lane, entry in enumerate(entries):
                token = b.load(offset(b, entry.base, at), typ=F64)
                row = b.insert_element(row, token, integer(lane))
            b.store(row, offset(b, area, fn.bytes(b, i)), align=fn.align)

        loop(b, rows, "row", each_frame)
        return b.add(done, rows)

    def _scatter(self, b: ir.IRBuilder, port: int) -> None:
        fn = self._function
        table = word(b, fn.args, fn.words.outlet(port) + w.TABLE, PTR)
        rest = b.sub(fn.lanes, b.mul(fn.tile, integer(fn.width)))
        count = smaller(b, rest, integer(fn.width))
        for plane, area in enumerate(self.areas["out", port]):
            self._scatter_plane(b, table, plane, area, count)

    def _scatter_plane(
        self, b: ir.IRBuilder, table: ir.Value, plane: int, area: ir.Value, count: ir.Value
    ) -> None:
        fn = self._function
        done = self._transpose(b, table, plane, area, inward=False, count=count)

        def each_lane(lane: ir.Value) -> None:
            entry = self._entry(b, table, plane, lane)
            first = b.sub(fn.fired, entry.tokens)
            source = offset(b, area, b.mul(lane, integer(8)))

            def each_frame(i: ir.Value) -> None:
                i = b.add(i, done)
                token = b.load(offset(b, source, fn.bytes(b, i)), typ=F64)
                b.store(token, entry.at(b, b.add(first, i)))

            loop(b, b.sub(fn.frames, done), "scatter", each_frame)

        loop(b, count, "lane", each_lane)

    def _transpose(
        self,
        b: ir.IRBuilder,
        table: ir.Value,
        plane: int,
        area: ir.Value,
        *,
        inward: bool,
        count: ir.Value | None = None,
    ) -> ir.Value:
        """Move squares of frames and lanes in registers where every lane of the tile lies frame by
        frame, as the caller's arrays do; the number of frames moved (a multiple of the square)."""
        fn = self._function
        size = min(fn.width, 8)
        if size < 4:
            return integer(0)
        entries = [self._entry(b, table, plane, integer(lane)) for lane in range(fn.width)]
        whole = count is None
        flat = ir.Constant(I1, 1) if whole else b.icmp_signed("==", count, integer(fn.width))
        for entry in entries:
            flat = b.and_(flat, b.icmp_signed("==", entry.mask, integer(-1)))
            flat = b.and_(flat, b.icmp_signed("==", entry.stride, integer(8)))
        starts = [
            offset(b, entry.base, b.mul(b.sub(fn.fired, entry.tokens), integer(8)))
            for entry in entries
        ]
        squares = b.select(flat, b.sdiv(fn.frames, integer(size)), integer(0))

        def each_square(i: ir.Value) -> None:
            frame = b.mul(i, integer(size))
            for first in range(0, fn.width, size):
                along = [
                    offset(b, start, b.mul(frame, integer(8)))
                    for start in starts[first : first + size]
                ]
                lanes = offset(b, area, integer(8 * first))
                across = [
                    offset(b, lanes, fn.bytes(b, b.add(frame, integer(f)))) for f in range(size)
                ]
                _move_square(b, along, across) if inward else _move_square(b, across, along)

        loop(b, squares, "square", each_square)
        return b.mul(squares, integer(size))


def _move_square(b: ir.IRBuilder, sources: list[ir.Value], targets: list[ir.Value]) -> None:
    """Rows at ``sources`` become columns at ``targets``."""
    row = ir.VectorType(F64, len(sources))
    rows = transposed(b, [b.load(at, typ=row, align=8) for at in sources])
    for value, at in zip(rows, targets, strict=True):
        b.store(value, at, align=8)
