"""Ports in generated code: tokens out of rings and tables into lanes, and lanes back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llvmlite import ir

from amp.jit import words as w
from amp.jit.emit_border import MOVE_TYPE, read_entry, symbol
from amp.jit.emit_squares import MOST, Squares
from amp.jit.llvm import F64, I64, PTR, function_named, integer, loop, offset, pieces, smaller, word

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from amp.ir import InPort, OutPort
    from amp.jit.kernel_function import KernelFunction

    Reader = Callable[[ir.IRBuilder, int], ir.Value]
    """Loads one plane of the current token."""
    Writer = Callable[[ir.IRBuilder, int, ir.Value], None]
    """Stores one plane of the current token."""


DIRECT = 2
"""Most lanes of a tile that are read where they lie."""


class Ports:
    """The in ports, rings and tables of one tile of a kernel."""

    def __init__(self, function: KernelFunction) -> None:
        self._function, self._kernel = function, function.kernel
        # few lanes are read where they lie: moving them first costs more than their addresses
        self._moves = function.width > DIRECT
        self.areas: dict[tuple[str, int], list[ir.Value]] = {}

    def begin_tile(self, b: ir.IRBuilder) -> None:
        """Find the scratch memory of this tile."""
        self.areas = self._scratch_areas(b)

    def in_pieces(self, b: ir.IRBuilder, run: Callable[[ir.Value, ir.Value], object]) -> None:
        """Emit ``run(first, count)`` for as many frames at a time as lie in scratch: tables are turned
        into lanes before, and lanes written to where tables say afterwards."""
        fn = self._function
        inlets = [i for i, p in enumerate(self._kernel.inlets) if p.mode == "table" and self._moves]
        outlets = [i for i, port in enumerate(self._kernel.outlets) if port.mode == "table"]
        if not inlets and not outlets:
            run(integer(0), fn.frames)
            return
        rest = b.sub(fn.lanes, b.mul(fn.tile, integer(fn.width)))
        lanes = smaller(b, rest, integer(fn.width))

        def gather(done: ir.Value, count: ir.Value) -> None:
            for i in inlets:
                self._move(b, "in", i, (done, count), integer(fn.width))

        def scatter(done: ir.Value, count: ir.Value) -> None:
            for i in outlets:
                self._move(b, "out", i, (done, count), lanes)

        if not self._fits_squares(inlets, outlets):
            gather(integer(0), fn.frames)
            run(integer(0), fn.frames)
            scatter(integer(0), fn.frames)
            return
        squares = Squares(
            b,
            fn,
            [(fn.words.inlet(i), self.areas["in", i]) for i in inlets],
            [(fn.words.outlet(i), self.areas["out", i]) for i in outlets],
        )
        fit = b.and_(squares.fit, b.icmp_signed("==", lanes, integer(fn.width)))

        def piece(done: ir.Value) -> ir.Value:
            left, size = b.sub(fn.frames, done), integer(squares.size)
            square = b.and_(fit, b.icmp_signed(">=", left, size))
            count = b.select(square, size, left)
            if self._kernel.backward:
                done = b.sub(left, count)
            with b.if_else(square) as (then, otherwise):
                with then:
                    squares.read(b, done)
                with otherwise:
                    gather(done, count)
            run(done, count)
            with b.if_else(square) as (then, otherwise):
                with then:
                    squares.write(b, done)
                with otherwise:
                    scatter(done, count)
            return count

        pieces(b, fn.frames, piece)

    def _fits_squares(self, inlets: list[int], outlets: list[int]) -> bool:
        kernel = self._kernel
        ports: list[InPort | OutPort] = [kernel.inlets[i] for i in inlets]
        ports += [kernel.outlets[i] for i in outlets]
        even = all(port.rate == port.step == 1 for port in ports)
        few = sum(port.planes for port in ports) <= MOST
        return even and few and self._function.width >= 4

    def reader(self, b: ir.IRBuilder, port: int) -> Reader:
        """How to load one plane of the current token: a vector, or one number if it is uniform."""
        fn, inlet = self._function, self._kernel.inlets[port]
        mode = inlet.mode
        if mode == "table" and not self._moves:
            return self._direct(b, port)
        if mode == "table":
            areas = self.areas["in", port]

            def from_scratch(f: ir.IRBuilder, number: int) -> ir.Value:
                token, plane = divmod(number, inlet.planes)
                return fn.load(
                    f, offset(f, areas[plane], fn.bytes(f, _token(f, fn.j, inlet.rate, token)))
                )

            return from_scratch
        first = fn.words.inlet(port)
        base = word(b, fn.args, first + w.BASE, PTR)
        mask = word(b, fn.args, first + w.MASK)
        tokens = word(b, fn.args, first + w.TOKENS)
        plane_stride = word(b, fn.args, first + w.PLANE_STRIDE)
        last = word(b, fn.args, first + w.TILE_STRIDE)
        begin = token_numbers(fn, b, first, inlet.step)
        if mode == "aligned":
            base = offset(b, base, b.mul(fn.tile, last))
        starts = [
            offset(b, base, b.mul(plane_stride, integer(plane))) for plane in range(inlet.planes)
        ]

        def from_ring(f: ir.IRBuilder, number: int) -> ir.Value:
            token, plane = divmod(number, inlet.planes)
            slot = f.and_(f.sub(f.add(begin(f, fn.i), integer(token)), tokens), mask)
            if mode == "aligned":
                return fn.load(f, offset(f, starts[plane], fn.bytes(f, slot)))
            at = offset(f, starts[plane], f.mul(slot, last))
            return f.load(at, typ=F64)

        return from_ring

    def _direct(self, b: ir.IRBuilder, port: int) -> Reader:
        """How to load one plane from where each lane lies."""
        fn, inlet = self._function, self._kernel.inlets[port]
        table = word(b, fn.args, fn.words.inlet(port) + w.TABLE, PTR)
        begin = token_numbers(fn, b, fn.words.inlet(port), inlet.step)
        entries = []
        for plane in range(inlet.planes):
            tile = b.add(b.mul(fn.tiles, integer(plane)), fn.tile)
            first = offset(b, table, b.mul(tile, integer(8 * w.ENTRY_WORDS * fn.width)))
            entries.append(
                [
                    read_entry(b, offset(b, first, integer(8 * w.ENTRY_WORDS * lane)))
                    for lane in range(fn.width)
                ]
            )

        def from_lanes(f: ir.IRBuilder, number: int) -> ir.Value:
            token, plane = divmod(number, inlet.planes)
            k = f.add(begin(f, fn.i), integer(token))
            lanes = [
                f.load(entry.at(f, f.sub(k, entry.tokens)), typ=F64) for entry in entries[plane]
            ]
            if fn.width == 1:
                return lanes[0]
            row: ir.Value = ir.Constant(fn.vector(F64), ir.Undefined)
            for lane, value in enumerate(lanes):
                row = f.insert_element(row, value, integer(lane))
            return row

        return from_lanes

    def writer(self, b: ir.IRBuilder, port: int) -> Writer:
        """How to store one plane of the current token, in a ring or for `end_tile`."""
        fn, outlet = self._function, self._kernel.outlets[port]
        if outlet.mode == "table":
            areas = self.areas["out", port]

            def to_scratch(f: ir.IRBuilder, number: int, value: ir.Value) -> None:
                token, plane = divmod(number, outlet.planes)
                at = fn.bytes(f, _token(f, fn.j, outlet.rate, token))
                f.store(value, offset(f, areas[plane], at), align=fn.align)

            return to_scratch
        first = fn.words.outlet(port)
        base = word(b, fn.args, first + w.BASE, PTR)
        plane_stride = word(b, fn.args, first + w.PLANE_STRIDE)
        tile_stride = word(b, fn.args, first + w.TILE_STRIDE)
        base = offset(b, base, b.mul(fn.tile, tile_stride))
        begin = token_numbers(fn, b, first, outlet.step)
        starts = [offset(b, base, b.mul(plane_stride, integer(p))) for p in range(outlet.planes)]
        mask = word(b, fn.args, first + w.MASK)

        def to_ring(f: ir.IRBuilder, number: int, value: ir.Value) -> None:
            token, plane = divmod(number, outlet.planes)
            slot = f.and_(f.add(begin(f, fn.i), integer(token)), mask)
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
                        offset(b, fn.scratch, fn.bytes(b, fn.frames, used + plane * port.rate))
                        for plane in range(port.planes)
                    ]
                    used += port.planes * port.rate
        return areas

    def _move(
        self,
        b: ir.IRBuilder,
        side: str,
        number: int,
        some: tuple[ir.Value, ir.Value],
        lanes: ir.Value,
    ) -> None:
        """Call ``gather`` or ``scatter`` for each plane of a port: ``some`` is the first frame and how
        many, ``lanes`` how many of the tile's are moved."""
        fn, (done, count) = self._function, some
        inward = side == "in"
        port = self._kernel.inlets[number] if inward else self._kernel.outlets[number]
        first = fn.words.inlet(number) if inward else fn.words.outlet(number)
        name = symbol("gather" if inward else "scatter", fn.width)
        move = function_named(fn.module, name, MOVE_TYPE)
        table = word(b, fn.args, first + w.TABLE, PTR)
        begin = token_numbers(fn, b, first, port.step)
        vectors = b.mul(count, integer(port.rate))
        step = integer(port.step // port.rate)
        for plane, area in enumerate(self.areas[side, number]):
            tile = b.add(b.mul(fn.tiles, integer(plane)), fn.tile)
            entries = offset(b, table, b.mul(tile, integer(8 * w.ENTRY_WORDS * fn.width)))
            if port.step:
                b.call(move, [entries, area, begin(b, done), vectors, lanes, step])
                continue

            def each(i: ir.Value, entries: ir.Value = entries, area: ir.Value = area) -> None:
                here = offset(b, area, fn.bytes(b, i, port.rate))
                at = begin(b, b.add(done, i))
                b.call(move, [entries, here, at, integer(port.rate), lanes, integer(1)])

            loop(b, count, "firing", each)


def token_numbers(
    fn: KernelFunction, b: ir.IRBuilder, first: int, step: int
) -> Callable[[ir.IRBuilder, ir.Value], ir.Value]:
    """The number from which a firing of this call, by its index, reads or writes the port whose words begin
    at ``first``."""
    if step:
        return lambda f, i: f.mul(f.add(fn.fired, i), integer(step))
    cycle = word(b, fn.args, first + w.CYCLE)
    whole = b.sdiv(fn.fired, cycle)
    base = b.mul(whole, word(b, fn.args, first + w.TOTAL))
    phase = b.sub(fn.fired, b.mul(whole, cycle))
    table = word(b, fn.args, first + w.STARTS, PTR)
    starts = offset(b, table, b.mul(phase, integer(8)))

    def begin(f: ir.IRBuilder, i: ir.Value) -> ir.Value:
        return f.add(base, f.load(offset(f, starts, f.mul(i, integer(8))), typ=I64))

    return begin


def _token(f: ir.IRBuilder, firing: ir.Value, rate: int, token: int) -> ir.Value:
    """Number of token ``token`` of a firing."""
    return f.add(f.mul(firing, integer(rate)), integer(token))
