"""The border between rings and lanes: native functions that move one tile of one plane.

Every kernel of one width calls the same two, so they are compiled once. A function is
``void move(i64* entries, f64* area, i64 first, i64 vectors, i64 count, i64 step)``: ``entries`` say where
each of the tile's lanes lies, of which ``count`` are moved; ``area`` holds the vectors, which are the
tokens of numbers ``first``, ``first + step``, and so on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from llvmlite import ir

from amp.jit import words as w
from amp.jit.llvm import (
    F64,
    I64,
    PTR,
    VOID,
    integer,
    loop,
    offset,
    pieces,
    smaller,
    transposed,
    word,
)

if TYPE_CHECKING:
    from amp.ir import Kernel

MOVE_TYPE = ir.FunctionType(VOID, [PTR, PTR, I64, I64, I64, I64])


class Entry(NamedTuple):
    """The words of a table's entry, which say where one lane of one plane lies."""

    base: ir.Value
    mask: ir.Value
    tokens: ir.Value
    stride: ir.Value

    def at(self, b: ir.IRBuilder, k: ir.Value) -> ir.Value:
        """Address of the token of index ``k``, tokens counted already."""
        return offset(b, self.base, b.mul(b.and_(k, self.mask), self.stride))

    def is_flat(self, b: ir.IRBuilder) -> ir.Value:
        """Tokens lie side by side."""
        return b.icmp_signed("==", self.stride, integer(8))

    def until_end(self, b: ir.IRBuilder, k: ir.Value, count: ir.Value) -> ir.Value:
        """How many of ``count`` tokens from index ``k`` on come before the ring begins again."""
        left = b.add(b.sub(self.mask, b.and_(k, self.mask)), integer(1))
        endless = b.icmp_signed("<", self.mask, integer(0))
        return smaller(b, b.select(endless, count, left), count)


def read_entry(b: ir.IRBuilder, at: ir.Value) -> Entry:
    """The entry that lies at an address."""
    kinds = {w.ENTRY_BASE: PTR}
    return Entry(*(word(b, at, i, kinds.get(i, I64)) for i in range(w.ENTRY_WORDS)))


def moves(kernel: Kernel) -> list[str]:
    """Which of ``gather`` and ``scatter`` the emitted ``kernel`` calls."""
    if kernel.skewed or kernel.across:
        return []
    modes = {
        "gather": [port.mode for port in kernel.inlets],
        "scatter": [port.mode for port in kernel.outlets],
    }
    return [name for name, found in modes.items() if "table" in found]


def symbol(name: str, width: int) -> str:
    """Name under which a kernel calls ``gather`` or ``scatter``."""
    return f"amp_{name}_{width}"


def emit_move(name: str, width: int) -> ir.Module:
    """Module with the function ``gather`` (rings to lanes) or ``scatter`` (lanes to rings)."""
    module = ir.Module(name=name)
    _Move(ir.Function(module, MOVE_TYPE, name), width, inward=name == "gather").run()
    return module


class _Move:
    def __init__(self, function: ir.Function, width: int, *, inward: bool) -> None:
        self.width, self.inward = width, inward
        self.entries, self.area, self.number, self.vectors, self.count, self.step = function.args
        self.b = ir.IRBuilder(function.append_basic_block("entry"))

    def run(self) -> None:
        b, done = self.b, integer(0)
        if self.width > 1:
            entries = [self.entry(integer(lane)) for lane in range(self.width)]
            full = b.icmp_signed("==", self.count, integer(self.width))
            done = self.squares(entries, full)
            done = self.rows(entries, full, done)
        loop(b, self.count, "lane", lambda lane: self.one_lane(lane, done, self.vectors))
        b.ret_void()

    def entry(self, lane: ir.Value) -> Entry:
        at = self.b.mul(lane, integer(8 * w.ENTRY_WORDS))
        return read_entry(self.b, offset(self.b, self.entries, at))

    def vector(self, i: ir.Value) -> ir.Value:
        """Address of frame ``i`` in the area."""
        return offset(self.b, self.area, self.b.mul(i, integer(8 * self.width)))

    def squares(self, entries: list[Entry], full: ir.Value) -> ir.Value:
        """Transpose squares of frames and lanes in registers where every lane lies frame by frame, as
        the caller's arrays do; the number of vectors moved: all or none."""
        b, size = self.b, min(self.width, 8)
        if size < 4:
            return integer(0)
        flat = b.and_(full, b.icmp_signed("==", self.step, integer(1)))
        for entry in entries:
            flat = b.and_(flat, entry.is_flat(b))
        count = b.select(flat, self.vectors, integer(0))
        pieces(b, count, lambda done: self.piece(entries, done))
        return count

    def piece(self, entries: list[Entry], done: ir.Value) -> ir.Value:
        """Move vectors from ``done`` on, until the ring of some lane ends; how many."""
        b, size = self.b, min(self.width, 8)
        count = b.sub(self.vectors, done)
        starts = []
        for entry in entries:
            first = b.add(b.sub(self.number, entry.tokens), done)
            starts.append(entry.at(b, first))
            count = entry.until_end(b, first, count)

        def each_square(i: ir.Value) -> None:
            frame = b.mul(i, integer(size))
            rows = [self.vector(b.add(b.add(done, frame), integer(f))) for f in range(size)]
            for first in range(0, self.width, size):
                along = [
                    offset(b, start, b.mul(frame, integer(8)))
                    for start in starts[first : first + size]
                ]
                across = [offset(b, row, integer(8 * first)) for row in rows]
                if self.inward:
                    move_square(b, along, across)
                else:
                    move_square(b, across, along)

        squares = b.sdiv(count, integer(size))
        loop(b, squares, "square", each_square)
        rest = b.add(done, b.mul(squares, integer(size)))
        end = b.add(done, count)
        loop(b, integer(self.width), "rest", lambda lane: self.one_lane(lane, rest, end))
        return count

    def rows(self, entries: list[Entry], full: ir.Value, done: ir.Value) -> ir.Value:
        """Move frame by frame where every lane lies in a ring of one shape, so that all share the
        slot; the number of frames moved so far."""
        b, head, alike = self.b, entries[0], full
        for entry in entries[1:]:
            for mine, first in zip(entry[1:], head[1:], strict=True):
                alike = b.and_(alike, b.icmp_signed("==", mine, first))
        count = b.select(alike, b.sub(self.vectors, done), integer(0))
        start = b.sub(self.number, head.tokens)

        def each_frame(i: ir.Value) -> None:
            i = b.add(i, done)
            at = b.mul(b.and_(b.add(start, b.mul(i, self.step)), head.mask), head.stride)
            row = self.vector(i)
            for lane, entry in enumerate(entries):
                self.move_one(offset(b, entry.base, at), offset(b, row, integer(8 * lane)))

        loop(b, count, "row", each_frame)
        return b.add(done, count)

    def one_lane(self, lane: ir.Value, begin: ir.Value, end: ir.Value) -> None:
        """Move one lane of the vectors from ``begin`` to ``end``."""
        b, entry = self.b, self.entry(lane)
        first = b.sub(self.number, entry.tokens)

        def each_frame(i: ir.Value) -> None:
            i = b.add(i, begin)
            inside = offset(b, self.vector(i), b.mul(lane, integer(8)))
            self.move_one(entry.at(b, b.add(first, b.mul(i, self.step))), inside)

        loop(b, b.sub(end, begin), "frame", each_frame)

    def move_one(self, outside: ir.Value, inside: ir.Value) -> None:
        """One token, between its ring and its place in the area."""
        source, target = (outside, inside) if self.inward else (inside, outside)
        self.b.store(self.b.load(source, typ=F64), target)


def move_square(b: ir.IRBuilder, sources: list[ir.Value], targets: list[ir.Value]) -> None:
    """Rows at ``sources`` become columns at ``targets``."""
    row = ir.VectorType(F64, len(sources))
    rows = transposed(b, [b.load(at, typ=row, align=8) for at in sources])
    for value, at in zip(rows, targets, strict=True):
        b.store(value, at, align=8)
