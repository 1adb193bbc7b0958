"""Emission: one kernel of IR to one LLVM function, ``width`` lanes at a time.

The function is ``void kernel(i64* words, i64 frames)`` with ``frames >= 1``; `amp.jit.words` says what
the words are. Lanes are innermost: the tile is the outer loop, the frame the inner one, states live
in vector registers, and what does not vary from frame to frame is computed before the frame loop.
Nothing here allows LLVM to change a rounding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llvmlite import ir

from amp.jit import words as w
from amp.jit.words import Words

if TYPE_CHECKING:
    from collections.abc import Callable

    from amp.ir import Kernel, Value

_I1, _I8, _I64 = ir.IntType(1), ir.IntType(8), ir.IntType(64)
_F64 = ir.DoubleType()
_PTR = ir.PointerType()
_VOID = ir.VoidType()
KERNEL_TYPE = ir.FunctionType(_VOID, [_PTR, _I64])


def emit_kernel(kernel: Kernel, width: int, name: str = "kernel") -> ir.Module:
    """LLVM module with the function ``name``."""
    module = ir.Module(name=name)
    _Emitter(module, kernel, width, name).run()
    return module


def archetype_symbol(name: str) -> str:
    """Name under which a kernel calls an archetype."""
    return f"amp_archetype_{name}"


def integer(value: int) -> ir.Constant:
    """A 64-bit constant."""
    return ir.Constant(_I64, value)


def word(b: ir.IRBuilder, base: ir.Value, index: int, kind: ir.Type = _I64) -> ir.Value:
    """Load word ``index`` of ``base``."""
    return b.load(offset(b, base, integer(8 * index)), typ=kind)


def offset(b: ir.IRBuilder, base: ir.Value, count: ir.Value) -> ir.Value:
    """``base`` plus ``count`` bytes."""
    return b.gep(base, [count], source_etype=_I8)


def loop(b: ir.IRBuilder, count: ir.Value, name: str, body: Callable[[ir.Value], None]) -> None:
    """Emit ``for i in range(count): body(i)``; ``b`` continues after it."""
    before = b.block
    head, inside, after = (b.append_basic_block(f"{name}.{part}") for part in ("head", "do", "end"))
    b.branch(head)
    b.position_at_end(head)
    i = b.phi(_I64, name)
    i.add_incoming(integer(0), before)
    b.cbranch(b.icmp_signed("<", i, count), inside, after)
    b.position_at_end(inside)
    body(i)
    i.add_incoming(b.add(i, integer(1)), b.block)
    b.branch(head)
    b.position_at_end(after)


def transposed(b: ir.IRBuilder, rows: list[ir.Value]) -> list[ir.Value]:
    """Columns of a square of vectors, by swapping ever smaller blocks (Eklundh, "A fast computer
    method for matrix transposing", IEEE Trans. Computers C-21(7), 1972)."""
    size, rows = len(rows), list(rows)
    half = size // 2
    while half:
        upper = [c if not c & half else size + (c ^ half) for c in range(size)]
        lower = [c ^ half if not c & half else size + c for c in range(size)]
        kind = ir.VectorType(ir.IntType(32), size)
        for i in range(size):
            if not i & half:
                x, y = rows[i], rows[i | half]
                rows[i] = b.shuffle_vector(x, y, ir.Constant(kind, upper))
                rows[i | half] = b.shuffle_vector(x, y, ir.Constant(kind, lower))
        half //= 2
    return rows


class _Emitter:
    def __init__(self, module: ir.Module, kernel: Kernel, width: int, name: str) -> None:
        self.module, self.kernel, self.width = module, kernel, width
        self.words = Words.of(kernel)
        self.function = ir.Function(module, KERNEL_TYPE, name)
        # spilled vectors that straddle cache lines cost twice
        self.function.attributes.alignstack = 64
        self.args, self.frames = self.function.args
        self.align = min(8 * width, 64)

    # ---- types

    def vector(self, scalar: ir.Type) -> ir.Type:
        """``width`` lanes of ``scalar``."""
        return scalar if self.width == 1 else ir.VectorType(scalar, self.width)

    def splat(self, b: ir.IRBuilder, value: ir.Value) -> ir.Value:
        """The same number in every lane."""
        if self.width == 1:
            return value
        kind = self.vector(value.type)
        one = b.insert_element(ir.Constant(kind, ir.Undefined), value, ir.Constant(_I64, 0))
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), self.width), None)
        return b.shuffle_vector(one, ir.Constant(kind, ir.Undefined), zeros)

    def constant(self, scalar: ir.Type, value: float | int) -> ir.Constant:
        """A constant in every lane."""
        one = ir.Constant(scalar, value)
        return one if self.width == 1 else ir.Constant(self.vector(scalar), [one] * self.width)

    def load(self, b: ir.IRBuilder, at: ir.Value, scalar: ir.Type = _F64) -> ir.Value:
        """Load a vector."""
        return b.load(at, align=self.align, typ=self.vector(scalar))

    def bytes(self, b: ir.IRBuilder, count: ir.Value, areas: int = 1) -> ir.Value:
        """Bytes of ``count`` frames of ``areas`` vectors."""
        return b.mul(count, integer(8 * self.width * areas))

    # ---- structure

    def run(self) -> None:
        """Emit the whole function."""
        b = ir.IRBuilder(self.function.append_basic_block("entry"))
        self.tiles = word(b, self.args, w.TILES)
        self.fired = word(b, self.args, w.FIRED)
        self.params = word(b, self.args, w.PARAMS, _PTR)
        self.states = word(b, self.args, w.STATES, _PTR)
        self.scratch = word(b, self.args, w.SCRATCH, _PTR)
        self.lanes = word(b, self.args, w.LANES)
        if self.kernel.archetype:
            sides = (("in", self.kernel.inlets), ("out", self.kernel.outlets))
            self.archetype_tables = {side: b.alloca(_PTR, ports[0].planes) for side, ports in sides}
        sums = [i for i, port in enumerate(self.kernel.outlets) if port.mode == "sum"]
        for port in sums:
            self._clear_sum(b, port)
        loop(b, self.tiles, "tile", lambda tile: self._tile(b, tile))
        for port in sums:
            self._finish_sum(b, port)
        fired = b.add(self.fired, self.frames)
        b.store(fired, offset(b, self.args, integer(8 * w.FIRED)))
        b.ret_void()

    def _tile(self, b: ir.IRBuilder, tile: ir.Value) -> None:
        kernel = self.kernel
        self.tile, self.pre = tile, b
        self.values: dict[int, Any] = {}
        if kernel.skewed:
            self._skewed(b)
            return
        self._areas = self._scratch_areas(b)
        for port, inlet in enumerate(kernel.inlets):
            if inlet.mode == "table":
                self._gather(b, port)
        self._sum_guards(b)
        self._line_bases = [
            (
                offset(
                    b,
                    word(b, self.args, self.words.line(i) + w.LINE_BASE, _PTR),
                    b.mul(tile, word(b, self.args, self.words.line(i) + w.LINE_TILE_STRIDE)),
                ),
                word(b, self.args, self.words.line(i) + w.LINE_MASK),
            )
            for i in range(len(kernel.lines))
        ]
        if kernel.archetype:
            self._call_archetype(b)
            return
        ports = [self._in_port(b, port) for port in range(len(kernel.inlets))]
        out_ports = [self._out_port(b, port) for port in range(len(kernel.outlets))]
        stride = integer(8 * self.width * len(kernel.states))
        state_base = offset(b, self.states, b.mul(tile, stride))
        places = [
            offset(b, state_base, integer(8 * self.width * i)) for i in range(len(kernel.states))
        ]
        kinds = [_F64 if slot.type == "f64" else _I64 for slot in kernel.states]
        first = [self.load(b, at, kind) for at, kind in zip(places, kinds, strict=True)]
        body = b.append_basic_block("frame")
        after = b.append_basic_block("frame.end")
        f = ir.IRBuilder(body)
        self.i = f.phi(_I64, "i")
        phis = [f.phi(self.vector(kind)) for kind in kinds]
        self.k = f.add(self.fired, self.i, "k")
        named = {slot.name: phi for slot, phi in zip(kernel.states, phis, strict=True)}
        self.inlet_at = ports
        for value in kernel.values:
            builder = f if value.varies else b
            self.values[value.index] = self._emit(builder, value, named)
        for port, planes in enumerate(kernel.stores):
            for plane, value in enumerate(planes):
                self._store(f, port, plane, self.values[value.index], out_ports[port])
        nexts = [self.values[value.index] for value in kernel.nexts]
        following = f.add(self.i, integer(1))
        f.cbranch(f.icmp_signed("<", following, self.frames), body, after)
        self.i.add_incoming(integer(0), b.block)
        self.i.add_incoming(following, body)
        for phi, start, value in zip(phis, first, nexts, strict=True):
            phi.add_incoming(start, b.block)
            phi.add_incoming(value, body)
        b.branch(body)
        b.position_at_end(after)
        for at, value in zip(places, nexts, strict=True):
            b.store(value, at, align=self.align)
        for port, outlet in enumerate(kernel.outlets):
            if outlet.mode == "table":
                self._scatter(b, port)

    def _call_archetype(self, b: ir.IRBuilder) -> None:
        """Call ``f(params, in planes, out planes, in count, out count, frames)`` for one lane."""
        counts, tables = [], []
        for side, ports in (("in", self.kernel.inlets), ("out", self.kernel.outlets)):
            planes = self._areas[side, 0]
            table = self.archetype_tables[side]
            for i, area in enumerate(planes):
                b.store(area, offset(b, table, integer(8 * i)))
            tables.append(table)
            counts.append(integer(ports[0].planes))
        kind = ir.FunctionType(_VOID, [_PTR, _PTR, _PTR, _I64, _I64, _I64])
        name = archetype_symbol(self.kernel.archetype)
        function = self.module.globals.get(name) or ir.Function(self.module, kind, name)
        params = offset(b, self.params, b.mul(self.tile, integer(8 * len(self.kernel.params))))
        b.call(function, [params, *tables, *counts, self.frames])
        self._scatter(b, 0)

    def _skewed(self, b: ir.IRBuilder) -> None:
        """A chain: at step t lane m works on frame t - m, on what lane m - 1 gave a step before."""
        kernel, width = self.kernel, self.width
        source, mask, tokens, stride = self._one_lane(b, self.words.inlet(0), kernel.inlets[0].mode)
        targets = [
            self._one_lane(b, self.words.outlet(port), outlet.mode)
            for port, outlet in enumerate(kernel.outlets)
        ]
        kinds = [_F64 if slot.type == "f64" else _I64 for slot in kernel.states]
        states = [b.alloca(self.vector(kind)) for kind in kinds]
        places = [offset(b, self.states, integer(8 * width * i)) for i in range(len(kernel.states))]
        for state, at, kind in zip(states, places, kinds, strict=True):
            b.store(self.load(b, at, kind), state)
        given = b.alloca(self.vector(_F64))  # what each lane gave at the step before
        b.store(self.constant(_F64, 0.0), given)
        for value in kernel.values:
            if not value.varies:
                self.values[value.index] = self._emit(b, value, {})
        shift = ir.Constant(
            ir.VectorType(ir.IntType(32), width), [2 * width - 1, *range(width - 1)]
        )
        iota = ir.Constant(self.vector(_I64), list(range(width)))
        last = b.sub(self.frames, integer(1))

        def step(t: ir.Value, *, idle: bool, ready: bool) -> None:
            frame = b.select(b.icmp_signed("<", t, last), t, last)
            slot = b.and_(b.sub(b.add(self.fired, frame), tokens), mask)
            token = b.load(offset(b, source, b.mul(slot, stride)), typ=_F64)
            before = b.load(given, typ=self.vector(_F64))
            x = b.shuffle_vector(before, self.splat(b, token), shift)
            self.inlet_at = [lambda _b, _plane: x]
            old = [b.load(s, typ=self.vector(k)) for s, k in zip(states, kinds, strict=True)]
            named = {slot.name: value for slot, value in zip(kernel.states, old, strict=True)}
            for value in kernel.values:
                if value.varies:
                    self.values[value.index] = self._emit(b, value, named)
            mine = b.sub(self.splat(b, t), iota)
            busy = b.and_(
                b.icmp_signed(">=", mine, self.constant(_I64, 0)),
                b.icmp_signed("<", mine, self.splat(b, self.frames)),
            )
            for state, was, value in zip(states, old, kernel.nexts, strict=True):
                new = self.values[value.index]
                b.store(b.select(busy, new, was) if idle else new, state)
            result = self.values[kernel.stores[0][0].index]
            b.store(result, given)
            if ready:
                out = b.extract_element(result, integer(width - 1))
                k = b.add(self.fired, b.sub(t, integer(width - 1)))
                for base, ring_mask, shift_back, step_bytes in targets:
                    slot = b.and_(b.sub(k, shift_back), ring_mask)
                    b.store(out, offset(b, base, b.mul(slot, step_bytes)))

        fill = integer(width - 1)
        loop(b, fill, "fill", lambda t: step(t, idle=True, ready=False))
        busy_steps = b.sub(self.frames, fill)
        loop(b, busy_steps, "busy", lambda t: step(b.add(t, fill), idle=False, ready=True))
        begin = b.select(b.icmp_signed(">", self.frames, fill), self.frames, fill)
        drain = b.sub(b.add(self.frames, fill), begin)
        loop(b, drain, "drain", lambda t: step(b.add(t, begin), idle=True, ready=True))
        for state, at, kind in zip(states, places, kinds, strict=True):
            b.store(b.load(state, typ=self.vector(kind)), at, align=self.align)

    def _one_lane(self, b: ir.IRBuilder, first: int, mode: str) -> list[Any]:
        """Base, mask, tokens and bytes per frame of a port of one lane."""
        if mode == "table":
            entry = word(b, self.args, first + w.TABLE, _PTR)
            return [
                word(b, entry, i, _PTR if i == w.ENTRY_BASE else _I64) for i in range(w.ENTRY_WORDS)
            ]
        ends = [integer(0), integer(8)]  # of a ring that is written
        if mode == "uniform":
            ends = [word(b, self.args, first + i) for i in (w.TOKENS, w.SLOT_STRIDE)]
        base = word(b, self.args, first + w.BASE, _PTR)
        return [base, word(b, self.args, first + w.MASK), *ends]

    # ---- ports

    def _in_port(self, b: ir.IRBuilder, port: int) -> Callable[[ir.IRBuilder, int], ir.Value]:
        """How to load one plane of the current token."""
        mode = self.kernel.inlets[port].mode
        if mode == "table":
            areas = self._areas["in", port]

            def from_scratch(f: ir.IRBuilder, plane: int) -> ir.Value:
                return self.load(f, offset(f, areas[plane], self.bytes(f, self.i)))

            return from_scratch
        first = self.words.inlet(port)
        base = word(b, self.args, first + w.BASE, _PTR)
        mask = word(b, self.args, first + w.MASK)
        tokens = word(b, self.args, first + w.TOKENS)
        plane_stride = word(b, self.args, first + w.PLANE_STRIDE)
        last = word(b, self.args, first + w.TILE_STRIDE)
        if mode == "aligned":
            base = offset(b, base, b.mul(self.tile, last))
        starts = [
            offset(b, base, b.mul(plane_stride, integer(plane)))
            for plane in range(self.kernel.inlets[port].planes)
        ]

        def from_ring(f: ir.IRBuilder, plane: int) -> ir.Value:
            slot = f.and_(f.sub(self.k, tokens), mask)
            if mode == "aligned":
                return self.load(f, offset(f, starts[plane], self.bytes(f, slot)))
            at = offset(f, starts[plane], f.mul(slot, last))
            return self.splat(f, f.load(at, typ=_F64))

        return from_ring

    def _out_port(self, b: ir.IRBuilder, port: int) -> tuple[list[ir.Value], ir.Value]:
        """Start of each plane for this tile, and the mask or the number of lanes of a sum."""
        first = self.words.outlet(port)
        outlet = self.kernel.outlets[port]
        if outlet.mode == "table":
            return self._areas["out", port], integer(-1)
        if outlet.mode == "sum":
            base = word(b, self.args, first + w.SUM_BUFFER, _PTR)
            row = b.mul(word(b, self.args, first + w.SUM_LANES), integer(8 * w.SUM_ORDER))
            size = b.mul(self.frames, row)
            planes = [offset(b, base, b.mul(size, integer(p))) for p in range(outlet.planes)]
            return planes, row
        base = word(b, self.args, first + w.BASE, _PTR)
        plane_stride = word(b, self.args, first + w.PLANE_STRIDE)
        tile_stride = word(b, self.args, first + w.TILE_STRIDE)
        base = offset(b, base, b.mul(self.tile, tile_stride))
        planes = [offset(b, base, b.mul(plane_stride, integer(p))) for p in range(outlet.planes)]
        return planes, word(b, self.args, first + w.MASK)

    def _store(
        self,
        f: ir.IRBuilder,
        port: int,
        plane: int,
        value: ir.Value,
        out: tuple[list[ir.Value], ir.Value],
    ) -> None:
        planes, detail = out
        mode = self.kernel.outlets[port].mode
        if mode == "sum":
            self._add_to_sum(f, value, offset(f, planes[plane], f.mul(self.i, detail)))
            return
        slot = self.i if mode == "table" else f.and_(self.k, detail)
        f.store(value, offset(f, planes[plane], self.bytes(f, slot)), align=self.align)

    def _scratch_areas(self, b: ir.IRBuilder) -> dict[tuple[str, int], list[ir.Value]]:
        """Start of the scratch memory of each table port and plane."""
        areas: dict[tuple[str, int], list[ir.Value]] = {}
        used = 0
        for side, ports in (("in", self.kernel.inlets), ("out", self.kernel.outlets)):
            for i, port in enumerate(ports):
                if port.mode == "table":
                    areas[side, i] = [
                        offset(b, self.scratch, self.bytes(b, self.frames, used + plane))
                        for plane in range(port.planes)
                    ]
                    used += port.planes
        return areas

    def _entries(self, b: ir.IRBuilder, table: ir.Value, plane: int, lane: ir.Value) -> list[Any]:
        """The words of a table's entry for one lane of this tile."""
        padded = b.mul(self.tiles, integer(self.width))
        row = b.add(
            b.mul(padded, integer(plane)), b.add(b.mul(self.tile, integer(self.width)), lane)
        )
        at = offset(b, table, b.mul(row, integer(8 * w.ENTRY_WORDS)))
        kinds = {w.ENTRY_BASE: _PTR}
        return [word(b, at, i, kinds.get(i, _I64)) for i in range(w.ENTRY_WORDS)]

    def _gather(self, b: ir.IRBuilder, port: int) -> None:
        """Turn one tile of a table port into lanes."""
        table = word(b, self.args, self.words.inlet(port) + w.TABLE, _PTR)
        for plane, area in enumerate(self._areas["in", port]):
            done = self._transpose(b, table, plane, area, inward=True)

            def each_lane(lane: ir.Value, plane: int = plane, area: ir.Value = area) -> None:
                base, mask, tokens, stride = self._entries(b, table, plane, lane)
                first = b.sub(self.fired, tokens)
                target = offset(b, area, b.mul(lane, integer(8)))

                def each_frame(i: ir.Value) -> None:
                    i = b.add(i, done)
                    slot = b.and_(b.add(first, i), mask)
                    token = b.load(offset(b, base, b.mul(slot, stride)), typ=_F64)
                    b.store(token, offset(b, target, self.bytes(b, i)))

                loop(b, b.sub(self.frames, done), "gather", each_frame)

            loop(b, integer(self.width), "lane", each_lane)

    def _scatter(self, b: ir.IRBuilder, port: int) -> None:
        """Write the lanes of one tile to where a table port says."""
        table = word(b, self.args, self.words.outlet(port) + w.TABLE, _PTR)
        rest = b.sub(self.lanes, b.mul(self.tile, integer(self.width)))
        full = integer(self.width)
        count = b.select(b.icmp_signed("<", rest, full), rest, full)
        for plane, area in enumerate(self._areas["out", port]):
            done = self._transpose(b, table, plane, area, inward=False, count=count)

            def each_lane(lane: ir.Value, plane: int = plane, area: ir.Value = area) -> None:
                base, mask, tokens, stride = self._entries(b, table, plane, lane)
                first = b.sub(self.fired, tokens)
                source = offset(b, area, b.mul(lane, integer(8)))

                def each_frame(i: ir.Value) -> None:
                    i = b.add(i, done)
                    token = b.load(offset(b, source, self.bytes(b, i)), typ=_F64)
                    slot = b.and_(b.add(first, i), mask)
                    b.store(token, offset(b, base, b.mul(slot, stride)))

                loop(b, b.sub(self.frames, done), "scatter", each_frame)

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
        size = min(self.width, 8)
        if size < 4:
            return integer(0)
        entries = [self._entries(b, table, plane, integer(lane)) for lane in range(self.width)]
        flat = (
            ir.Constant(_I1, 1)
            if count is None
            else b.icmp_signed("==", count, integer(self.width))
        )
        for _, mask, _, stride in entries:
            flat = b.and_(flat, b.icmp_signed("==", mask, integer(-1)))
            flat = b.and_(flat, b.icmp_signed("==", stride, integer(8)))
        starts = [
            offset(b, base, b.mul(b.sub(self.fired, tokens), integer(8)))
            for base, _, tokens, _ in entries
        ]
        squares = b.select(flat, b.sdiv(self.frames, integer(size)), integer(0))
        row = ir.VectorType(_F64, size)

        def each_square(i: ir.Value) -> None:
            frame = b.mul(i, integer(size))
            for group in range(0, self.width, size):
                along = [
                    offset(b, start, b.mul(frame, integer(8)))
                    for start in starts[group : group + size]
                ]
                lanes = offset(b, area, integer(8 * group))
                across = [
                    offset(b, lanes, self.bytes(b, b.add(frame, integer(f)))) for f in range(size)
                ]
                sources, targets = (along, across) if inward else (across, along)
                rows = transposed(b, [b.load(at, typ=row, align=8) for at in sources])
                for value, at in zip(rows, targets, strict=True):
                    b.store(value, at, align=8)

        loop(b, squares, "square", each_square)
        return b.mul(squares, integer(size))

    # ---- sums over members, in the order of Builder.tree_sum

    def _clear_sum(self, b: ir.IRBuilder, port: int) -> None:
        first = self.words.outlet(port)
        buffer = word(b, self.args, first + w.SUM_BUFFER, _PTR)
        lanes = word(b, self.args, first + w.SUM_LANES)
        planes = integer(w.SUM_ORDER * self.kernel.outlets[port].planes)
        count = b.mul(b.mul(lanes, self.frames), planes)
        zero = ir.Constant(_F64, -0.0)
        loop(
            b,
            count,
            "clear",
            lambda i: b.store(zero, offset(b, buffer, b.mul(i, integer(8)))) and None,
        )

    def _sum_guards(self, b: ir.IRBuilder) -> None:
        """Which lanes of this tile exist, and where its groups of 8 lanes stand in a row of sums."""
        self._sum_places: list[ir.Value] = []
        ports = [i for i, port in enumerate(self.kernel.outlets) if port.mode == "sum"]
        if not ports:
            return
        lane = b.mul(self.tile, integer(self.width))
        kind = self.vector(_I64)
        iota = ir.Constant(kind, list(range(self.width))) if self.width > 1 else integer(0)
        numbers = b.add(self.splat(b, lane), iota)
        self._exists = b.icmp_signed("<", numbers, self.splat(b, self.lanes))
        # every sum of one kernel runs over the same members, so its rows have one length
        row = b.mul(
            word(b, self.args, self.words.outlet(ports[0]) + w.SUM_LANES), integer(w.SUM_ORDER)
        )
        for chunk in range(0, self.width, w.SUM_ORDER):
            place = b.urem(b.add(lane, integer(chunk)), row)
            self._sum_places.append(b.mul(place, integer(8)))

    def _add_to_sum(self, f: ir.IRBuilder, value: ir.Value, row: ir.Value) -> None:
        value = f.select(self._exists, value, self.constant(_F64, -0.0))
        size = min(self.width, w.SUM_ORDER)
        for number, place in enumerate(self._sum_places):
            part = value
            if self.width > w.SUM_ORDER:
                lanes = range(number * size, (number + 1) * size)
                pick = ir.Constant(ir.VectorType(ir.IntType(32), size), list(lanes))
                part = f.shuffle_vector(value, value, pick)
            at = offset(f, row, place)
            f.store(f.fadd(f.load(at, typ=part.type, align=8 * size), part), at, align=8 * size)

    def _finish_sum(self, b: ir.IRBuilder, port: int) -> None:
        first = self.words.outlet(port)
        buffer = word(b, self.args, first + w.SUM_BUFFER, _PTR)
        lanes = word(b, self.args, first + w.SUM_LANES)
        table = word(b, self.args, first + w.SUM_TABLE, _PTR)
        row = b.mul(lanes, integer(8 * w.SUM_ORDER))
        for plane in range(self.kernel.outlets[port].planes):
            start = offset(b, buffer, b.mul(b.mul(self.frames, row), integer(plane)))

            def each_lane(lane: ir.Value, plane: int = plane, start: ir.Value = start) -> None:
                entry = b.add(b.mul(lanes, integer(plane)), lane)
                at = offset(b, table, b.mul(entry, integer(8 * w.ENTRY_WORDS)))
                base = word(b, at, w.ENTRY_BASE, _PTR)
                mask, stride = word(b, at, w.ENTRY_MASK), word(b, at, w.ENTRY_STRIDE)

                def each_frame(i: ir.Value) -> None:
                    mine = offset(b, start, b.add(b.mul(i, row), b.mul(lane, integer(8))))
                    step = b.mul(lanes, integer(8))
                    terms = [
                        b.load(offset(b, mine, b.mul(step, integer(j))), typ=_F64)
                        for j in range(w.SUM_ORDER)
                    ]
                    while len(terms) > 1:
                        half = len(terms) // 2
                        pairs = zip(terms[:half], terms[half:], strict=True)
                        terms = [b.fadd(x, y) for x, y in pairs]
                    slot = b.and_(b.add(self.fired, i), mask)
                    b.store(terms[0], offset(b, base, b.mul(slot, stride)))

                loop(b, self.frames, "fold", each_frame)

            loop(b, lanes, "lane", each_lane)

    # ---- values

    def _emit(self, b: ir.IRBuilder, value: Value, states: dict[str, ir.Value]) -> Any:
        operands = [self.values[v.index] for v in value.operands]
        match value.op:
            case "const":
                return self.constant(_F64, value.attribute)  # type: ignore[arg-type]
            case "iconst":
                return self.constant(_I64, value.attribute)  # type: ignore[arg-type]
            case "inlet":
                port, plane = value.attribute  # type: ignore[misc]
                return self.inlet_at[port](b, plane)  # type: ignore[index,arg-type]
            case "param" | "iparam":
                return self._param(b, str(value.attribute), _F64 if value.op == "param" else _I64)
            case "state" | "istate":
                return states[str(value.attribute)]
            case "clock":
                return self.splat(b, self.k)
            case "line":
                return self._line(b, str(value.attribute), operands[0])
            case "tap":
                return self._tap(b, operands[0], operands[1], value.operands[1])
        return PURE[value.op](self, b, *operands)

    def _param(self, b: ir.IRBuilder, name: str, kind: ir.Type) -> ir.Value:
        names = [slot for slot, _ in self.kernel.params]
        row = b.add(b.mul(self.tile, integer(len(names))), integer(names.index(name)))
        return self.load(b, offset(b, self.params, self.bytes(b, row)), kind)

    def _line(self, f: ir.IRBuilder, name: str, value: ir.Value) -> tuple[ir.Value, ir.Value]:
        base, mask = self._line_bases[self.kernel.lines.index(name)]
        f.store(value, offset(f, base, self.bytes(f, f.and_(self.k, mask))), align=self.align)
        return base, mask

    def _tap(
        self, f: ir.IRBuilder, line: tuple[ir.Value, ir.Value], frames: ir.Value, source: Value
    ) -> ir.Value:
        base, mask = line
        if source.op == "iconst":
            slot = f.and_(f.sub(self.k, integer(int(source.attribute))), mask)  # type: ignore[arg-type]
            return self.load(f, offset(f, base, self.bytes(f, slot)))
        if self.width == 1:
            slot = f.and_(f.sub(self.k, frames), mask)
            return self.load(f, offset(f, base, self.bytes(f, slot)))
        out: ir.Value = ir.Constant(self.vector(_F64), ir.Undefined)
        for lane in range(self.width):
            back = f.extract_element(frames, integer(lane))
            slot = f.and_(f.sub(self.k, back), mask)
            at = offset(f, base, f.add(self.bytes(f, slot), integer(8 * lane)))
            out = f.insert_element(out, f.load(at, typ=_F64), integer(lane))
        return out

    def intrinsic(self, b: ir.IRBuilder, name: str, kind: ir.Type, *operands: ir.Value) -> ir.Value:
        """Call an LLVM intrinsic on vectors."""
        lanes = "" if self.width == 1 else f"v{self.width}"
        full = self.vector(kind)
        types = ir.FunctionType(full, [operand.type for operand in operands])
        spelled = f"llvm.{name}.{lanes}" + ("f64" if kind == _F64 else f"i64.{lanes}f64")
        function = self.module.globals.get(spelled) or ir.Function(self.module, types, spelled)
        return b.call(function, operands)


def _pick(compare: str) -> Callable[..., ir.Value]:
    return lambda e, b, x, y: b.select(b.fcmp_ordered(compare, x, y), x, y)


PURE: dict[str, Callable[..., ir.Value]] = {
    "add": lambda e, b, x, y: b.fadd(x, y),
    "sub": lambda e, b, x, y: b.fsub(x, y),
    "mul": lambda e, b, x, y: b.fmul(x, y),
    "div": lambda e, b, x, y: b.fdiv(x, y),
    "fma": lambda e, b, x, y, z: e.intrinsic(b, "fma", _F64, x, y, z),
    "neg": lambda e, b, x: b.fneg(x),
    "abs": lambda e, b, x: e.intrinsic(b, "fabs", _F64, x),
    "min": _pick("<"),
    "max": _pick(">"),
    "floor": lambda e, b, x: e.intrinsic(b, "floor", _F64, x),
    "sqrt": lambda e, b, x: e.intrinsic(b, "sqrt", _F64, x),
    "lt": lambda e, b, x, y: b.fcmp_ordered("<", x, y),
    "le": lambda e, b, x, y: b.fcmp_ordered("<=", x, y),
    "eq": lambda e, b, x, y: b.fcmp_ordered("==", x, y),
    "and": lambda e, b, x, y: b.and_(x, y),
    "or": lambda e, b, x, y: b.or_(x, y),
    "not": lambda e, b, x: b.xor(x, e.constant(_I1, 1)),
    "select": lambda e, b, c, x, y: b.select(c, x, y),
    "iadd": lambda e, b, x, y: b.add(x, y),
    "isub": lambda e, b, x, y: b.sub(x, y),
    "imul": lambda e, b, x, y: b.mul(x, y),
    "iand": lambda e, b, x, y: b.and_(x, y),
    "ior": lambda e, b, x, y: b.or_(x, y),
    "ixor": lambda e, b, x, y: b.xor(x, y),
    "ishl": lambda e, b, x, y: b.shl(x, y),
    "ishr": lambda e, b, x, y: b.lshr(x, y),
    "iselect": lambda e, b, c, x, y: b.select(c, x, y),
    "ilt": lambda e, b, x, y: b.icmp_signed("<", x, y),
    "ieq": lambda e, b, x, y: b.icmp_signed("==", x, y),
    "to_int": lambda e, b, x: e.intrinsic(b, "fptosi.sat", _I64, x),
    "to_float": lambda e, b, x: b.sitofp(x, e.vector(_F64)),
    "bits": lambda e, b, x: b.bitcast(x, e.vector(_I64)),
    "from_bits": lambda e, b, x: b.bitcast(x, e.vector(_F64)),
}
"""Operations that become instructions; what reads memory is emitted by `_Emitter` itself."""
