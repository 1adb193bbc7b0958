"""Binding: addresses for everything that a lowered program works on.

All memory of a program is one allocation of 64-byte aligned slices: first what a reset clears (rings,
states, delay lines), then what stays (parameters, tables, records, scratch).
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

import numpy as np

from amp.contract import NATIVE
from amp.errors import ArenaExhausted
from amp.jit import words as w
from amp.jit.archetypes import load
from amp.jit.arena import ALIGN, Arena, BoundRing
from amp.jit.lowered import SILENCE
from amp.jit.once import Once
from amp.jit.passes.hoist import PREPARED
from amp.jit.slots import node_tables, slot_values
from amp.jit.words import Words, scratch_areas
from amp.thermal import CELLS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from amp.graph import Node
    from amp.ir import Kernel
    from amp.jit.engine import Native
    from amp.jit.generate import Natives
    from amp.jit.lowered import Call, InBinding, Lowered, OutBinding
    from amp.schedule import Pace


class BoundCall:
    """A call with its memory."""

    def __init__(self, call: Call, arena: Arena, frames: int, natives: Natives) -> None:
        self.call, self.arena = call, arena
        self.natives, self.native = natives, natives.kernel
        kernel = call.code.kernel
        self.layout = Words.of(kernel)
        tiles, width = call.tiles, call.width
        starts = np.cumsum([0, *(slot.count for slot in kernel.states)]).tolist()
        self.state_starts, self.state_words = starts[:-1], starts[-1]
        self.state_at = arena.reserve(8 * tiles * width * self.state_words)
        self.frames = call.pace.most(frames)
        self.line_frames = [1 << int(length).bit_length() for length in call.code.line_lengths]
        self.line_strides = [8 * width * n + ALIGN for n in self.line_frames]
        self.line_at = [arena.reserve(tiles * stride) for stride in self.line_strides]
        self.power_at = 0  # of its sums, in words from the beginning of a cell's

    def reserve_rest(self) -> None:
        """Reserve what a reset does not clear."""
        call, arena, kernel = self.call, self.arena, self.call.code.kernel
        padded = call.tiles * call.width
        self.words_at = arena.reserve(8 * self.layout.total)
        self.param_at = arena.reserve(8 * padded * len(kernel.params))
        self.preparing = self._once(call.code.prepare, self.natives.prepare)
        self.finishing = self._once(call.code.finish, self.natives.finish)
        self.total_at = arena.reserve(8 * padded * len(call.code.totals))
        self.node_words = self.nodes_at = 0
        if kernel.block is not None:
            shared = sum(count for _, count in kernel.block.tables)
            each = sum(planes for _, planes in kernel.block.constants)
            self.node_words = -(-(shared + self.share * each) // 8) * 8
            self.nodes_at = arena.reserve(8 * self.node_words * call.groups[0].slots)
        entry = 8 * w.ENTRY_WORDS
        self.in_tables = [
            arena.reserve(entry * padded * port.planes) if port.mode == "table" else -1
            for port in kernel.inlets
        ]
        self.out_tables = [
            -1 if port.mode == "ring" else arena.reserve(entry * padded * port.planes)
            for port in kernel.outlets
        ]
        cycles = [*[port.cycle for port in call.ins], *[port.cycle for port in call.outs]]
        self.start_at = [
            arena.reserve(8 * (len(cycle) + self.frames)) if cycle else -1 for cycle in cycles
        ]
        self.sum_at = [
            arena.reserve(8 * w.SUM_ORDER * self.sum_lanes(i) * self.frames * port.planes)
            if port.mode == "sum"
            else -1
            for i, port in enumerate(kernel.outlets)
        ]
        self.scratch_bytes = 8 * scratch_areas(kernel) * self.frames * call.width
        if kernel.block is not None and kernel.archetype != NATIVE:
            own = load(kernel.archetype).scratch(kernel.block.sizes, self.frames)
            self.scratch_bytes += 8 * own + ALIGN

    def _once(self, kernel: Kernel | None, native: Native | None) -> Once | None:
        if kernel is None or native is None:
            return None
        return Once(self.call, kernel, native, self.arena)

    @property
    def share(self) -> int:
        """Lanes of a node."""
        return self.call.lanes // self.call.groups[0].slots

    def sum_lanes(self, port: int) -> int:
        """Lanes of one term of the sum that ``port`` adds up."""
        return self.call.lanes // self.call.groups[0].slots

    @property
    def port_sums(self) -> list[tuple[int, int]]:
        """Where the sums of each out port would begin, in words, and how many lanes a plane of it has;
        last, where the sums of all end."""
        kernel, call = self.call.code.kernel, self.call
        at, found = call.tiles * call.width * len(kernel.powers), []
        for i, outlet in enumerate(kernel.outlets):
            lanes = self.sum_lanes(i) if outlet.mode == "sum" else call.lanes
            found.append((at, lanes))
            at += outlet.sums * lanes
        return [*found, (at, 0)]

    @property
    def words(self) -> NDArray[np.int64]:
        """The kernel's argument words."""
        return self.arena.view(self.words_at, (self.layout.total,), np.int64)

    def states(self) -> NDArray[np.float64]:
        """Array (tiles, numbers of a lane, width)."""
        shape = (self.call.tiles, self.state_words, self.call.width)
        return self.arena.view(self.state_at, shape)

    def line(self, number: int) -> NDArray[np.float64]:
        """Array (tiles, slots, width) of a delay line; each tile is padded by a cache line."""
        width, slots = self.call.width, self.line_frames[number]
        stride = self.line_strides[number] // 8
        flat = self.arena.view(self.line_at[number], (self.call.tiles * stride,))
        return np.lib.stride_tricks.as_strided(
            flat, (self.call.tiles, slots, width), (8 * stride, 8 * width, 8)
        )

    def table(self, at: int, planes: int) -> NDArray[np.int64]:
        """Entries of a table: (planes, padded lanes, words)."""
        padded = self.call.tiles * self.call.width
        return self.arena.view(at, (planes, padded, w.ENTRY_WORDS), np.int64)


class Bound:
    """A lowered program in memory."""

    def __init__(
        self,
        lowered: Lowered,
        natives: list[Natives],
        batch: int,
        *,
        own_scratch: bool,
        max_bytes: int,
    ):
        self.lowered, self.batch, self.max_bytes = lowered, batch, max_bytes
        self._natives, self._own_scratch = natives, own_scratch
        self.params: dict[str, NDArray[np.float64]] = {}
        self.clock = np.zeros(1, np.int64)  # native code moves it
        self._lay_out([ring.frames for ring in lowered.rings])
        self.reset()

    def _lay_out(self, frames: list[int]) -> None:
        """Give everything an address, with rings of so many ``frames``."""
        arena = Arena()
        rings = [BoundRing(*sized, arena) for sized in zip(self.lowered.rings, frames, strict=True)]
        calls = [
            BoundCall(call, arena, self.lowered.frames, native)
            for call, native in zip(self.lowered.calls, self._natives, strict=True)
        ]
        power_words = 0
        for call in calls:
            call.power_at = power_words
            power_words += -(-call.port_sums[-1][0] // 8) * 8  # aligned as vectors are
        power_at = arena.reserve(8 * CELLS * power_words if power_words else 0)
        volatile = arena.size
        for call in calls:
            call.reserve_rest()
        silence = arena.reserve(ALIGN)
        shared = 0
        if not self._own_scratch:
            shared = arena.reserve(max((c.scratch_bytes for c in calls), default=0))
        scratch = [arena.reserve(c.scratch_bytes) if self._own_scratch else shared for c in calls]
        if arena.size > self.max_bytes:
            raise self._exhausted(arena.size, rings)
        arena.allocate()
        self.arena, self.rings, self.calls = arena, rings, calls
        self._volatile, self._silence = volatile, silence
        self._power_at, self._power_words = power_at, power_words
        for call, at in zip(calls, scratch, strict=True):
            self._fill(call, at)
            self.fill_params(call)

    def _exhausted(self, size: int, rings: list[BoundRing]) -> ArenaExhausted:
        """The error, which names the ring that has grown, or the largest one."""
        names = {node.index: node for call in self.lowered.calls for node in call.nodes()}
        known = getattr(self, "rings", rings)
        number, ring = max(
            enumerate(rings), key=lambda at: (at[1].frames > known[at[0]].frames, at[1].bytes)
        )
        edges = [
            f"{names[edge.source]} -> {node}"
            for call in self.lowered.calls
            for node, _, edge, at in call.edges()
            if at == number
        ]
        return ArenaExhausted(
            "a program's memory stays within max_arena_bytes",
            expected=f"at most {self.max_bytes} bytes",
            got=f"{size} bytes, of which {ring.bytes} are a ring of {ring.frames} tokens",
            where=f"ring {number}, edge {', '.join(edges[:4])}",
            fix="raise program.max_arena_bytes and call program.resume(), or have the tokens taken as "
            "fast as they come"
            if known is not rings
            else "amp.compile(..., max_arena_bytes=...), or shorter delays and blocks",
        )

    def grow(self, number: int, written: int) -> None:
        """Double ring ``number``, whose next token has the index ``written``; all else is as it was.

        Raises
        ------
        ArenaExhausted
            If there is no room; nothing has changed then.
        """
        rings, calls = self.rings, self.calls
        frames = [ring.frames for ring in rings]
        frames[number] *= 2
        powers = self.powers()
        self._lay_out(frames)
        for old, new in zip(rings, self.rings, strict=True):
            if new.frames > old.frames:
                new.take_over(old, written)
            else:
                new.tokens()[:] = old.tokens()
                if old.stamps_at >= 0:
                    new.stamps()[:] = old.stamps()
        for before, now in zip(calls, self.calls, strict=True):
            now.states()[:] = before.states()
            now.words[w.FIRED] = before.words[w.FIRED]
            for line in range(len(now.line_at)):
                now.line(line)[:] = before.line(line)
        self.powers()[:] = powers

    def powers(self) -> NDArray[np.float64]:
        """Sums of squares, by cell: array (cells, words)."""
        return self.arena.view(self._power_at, (CELLS, self._power_words))

    def power_place(
        self, bound: BoundCall, group: int, outlet: int, slot: int
    ) -> NDArray[np.int64]:
        """Words of a cell at which the squares of an outlet of a member are added up: (batch, number),
        channel by channel."""
        call, known = bound.call, bound.call.code.powers[group, outlet]
        part = call.groups[group]
        row = part.parts * part.spread
        lane = np.arange(self.batch * row).reshape(self.batch, part.parts, 1, part.spread)
        if known[0] == "lane":
            planes = np.array(known[1], np.int64)[:, None]
            tile, place = np.divmod(lane + slot * self.batch * row, call.width)
            at = (tile * len(call.code.kernel.powers) + planes) * call.width + place
        else:
            first, lanes = bound.port_sums[known[1][0]]
            planes = np.arange(call.code.kernel.outlets[known[1][0]].sums)[:, None]
            at = first + planes * lanes + lane + slot * self.batch * row
        words: NDArray[np.int64] = (bound.power_at + at).reshape(self.batch, -1)
        return words

    def address(self, at: int) -> int:
        """Address of arena offset ``at``."""
        return self.arena.base + at

    def fill_params(self, bound: BoundCall) -> None:
        """Write every parameter of a call into its lanes, and prepare its coefficients."""
        self._fill_slots(bound, bound.param_at, bound.call.code.kernel)
        if bound.node_words:
            self._fill_tables(bound)
        for once in (bound.preparing, bound.finishing):
            if once is not None:
                self._fill_slots(bound, once.param_at, once.kernel)
        if bound.preparing is not None:
            bound.preparing.run()

    def _fill_slots(self, bound: BoundCall, at: int, kernel: Kernel) -> None:
        call = bound.call
        view = self.arena.view(at, (call.tiles, len(kernel.params), call.width))
        for i, (name, kind) in enumerate(kernel.params):
            if not name.startswith(PREPARED):
                values = slot_values(call, name, self.batch, self.params)
                _fill_lanes(view[:, i], values, kind)

    def _fill_tables(self, bound: BoundCall) -> None:
        """Write the tables of each node of the call of a block, and have the rest made of them."""
        name, block = bound.call.code.kernel.archetype, bound.call.code.kernel.block
        assert block is not None
        own, constants = node_tables(bound.call, block, self.batch, self.params)
        rows = self.arena.view(bound.nodes_at, (len(own), bound.node_words))
        rows[:, : own.shape[1]] = own
        first = sum(count for _, count in block.tables)
        rows[:, first : first + constants.shape[1]] = constants
        for row in rows if name != NATIVE else ():
            load(name).prepare(row.ctypes.data, block.sizes)

    def _fill_once(self, bound: BoundCall) -> None:
        """Have the preparing kernel write to where the main kernel reads, and the finishing one read what
        that has left."""
        names = [name for name, _ in bound.call.code.kernel.params]
        if bound.preparing is not None:
            first = 8 * bound.call.width * names.index(f"{PREPARED}0")
            bound.preparing.fill(bound.state_at, bound.param_at + first, len(names))
        if bound.finishing is not None:
            bound.finishing.fill(bound.state_at, bound.total_at, len(bound.call.code.totals))

    def reset(self) -> None:
        """Start states, initial tokens, clocks at 0."""
        self.clock[0] = 0
        self.arena.clear(self._volatile)
        for bound in self.calls:
            kernel = bound.call.code.kernel
            states = bound.states()
            slots = zip(bound.state_starts, kernel.states, bound.call.code.inits, strict=True)
            for i, slot, initial in slots:
                if slot.count > 1:  # zeros, as all was cleared
                    continue
                if isinstance(initial, str):
                    scope = slot.name.rsplit(".", 1)[0]
                    name = f"{scope}.{initial}"
                    values = slot_values(bound.call, name, self.batch, self.params)
                    _fill_lanes(states[:, i], values, slot.type)
                else:
                    _fill_lanes(states[:, i], np.array([initial]), slot.type)
            bound.words[w.FIRED] = bound.words[w.POWER_END] = 0
        for ring in self.rings:
            for lanes, tokens in ring.ring.initial:
                ring.put(lanes, tokens)

    def _fill(self, bound: BoundCall, scratch: int) -> None:
        call, kernel = bound.call, bound.call.code.kernel
        words = bound.words
        words[w.TILES] = call.tiles
        words[w.PARAMS] = self.address(bound.param_at)
        words[w.STATES] = self.address(bound.state_at)
        words[w.SCRATCH] = self.address(scratch)
        words[w.LANES] = call.lanes
        words[w.POWER] = words[w.POWER_BASE] = self.address(self._power_at + 8 * bound.power_at)
        words[w.POWER_STRIDE] = 8 * self._power_words
        # where some firings are at no known clock, a run stops at each border of a cell
        pace = (1, 0, 0) if self.lowered.dynamic.any() else call.pace
        words[w.POWER_PACE : w.POWER_PACE + 3] = pace
        if kernel.block is not None:
            own = words[bound.layout.call :]
            own[w.TABLES], own[w.TABLE_STRIDE] = self.address(bound.nodes_at), 8 * bound.node_words
            own[w.SHARE] = bound.share
        for i, binding in enumerate(call.ins):
            self._fill_in_port(bound, i, binding)
        for i, out in enumerate(call.outs):
            self._fill_out_port(bound, i, out)
        self._fill_starts(bound)
        self._fill_once(bound)
        for i, at in enumerate(bound.line_at):
            line = words[bound.layout.line(i) :]
            line[w.LINE_BASE] = self.address(at)
            line[w.LINE_MASK] = bound.line_frames[i] - 1
            line[w.LINE_TILE_STRIDE] = bound.line_strides[i]

    def _fill_starts(self, bound: BoundCall) -> None:
        """Write where the firings of uneven ports begin: those of one call, from any phase on."""
        ports: list[InBinding | OutBinding] = [*bound.call.ins, *bound.call.outs]
        for i, (port, at) in enumerate(zip(ports, bound.start_at, strict=True)):
            if port.cycle:
                words = bound.words[bound.layout.inlet(i) :]  # out ports follow in ports
                count = len(port.cycle) + bound.frames
                inward = i < len(bound.call.ins)
                table = self.arena.view(at, (count,), np.int64)
                table[:] = port.cycle.before(np.arange(count) + inward)
                if (
                    not inward and bound.call.code.kernel.backward
                ):  # it gives the newest tokens last
                    table[:] = port.cycle.before(np.arange(count) + 1) - max(port.cycle.counts)
                words[w.STARTS], words[w.CYCLE] = self.address(at), len(port.cycle)
                words[w.TOTAL] = port.cycle.total

    def _point_at_ring(
        self, table: NDArray[np.int64], ring: BoundRing, lanes: int, spread: int = 1
    ) -> None:
        """Entries for every plane and lane of a ring, to write it, ``spread`` lanes to one of its."""
        lane, token = np.divmod(np.arange(lanes), spread)
        at = ring.offsets(np.arange(len(table))[:, None], lane[None, :])
        table[:, :lanes, w.ENTRY_BASE] = at + self.arena.base
        table[:, :lanes, w.ENTRY_TOKENS] = -token
        table[..., w.ENTRY_MASK] = ring.mask
        table[..., w.ENTRY_STRIDE] = ring.slot_stride

    def _fill_in_port(self, bound: BoundCall, i: int, binding: InBinding) -> None:
        port = bound.words[bound.layout.inlet(i) :]
        if binding.mode == "table":
            at, kernel = bound.in_tables[i], bound.call.code.kernel
            port[w.TABLE] = self.address(at)
            if not binding.border:
                self._fill_table(bound, at, binding)
                if kernel.block is not None:
                    port[w.APART] = _apart(bound.table(at, kernel.inlets[i].planes))
            return
        ring = self.rings[binding.ring[0, 0]]
        places = ring.offsets(binding.plane[:, 0], binding.lane[:, 0])
        port[w.MASK] = ring.mask
        port[w.TOKENS] = binding.tokens[0, 0]
        port[w.PLANE_STRIDE] = places[1] - places[0] if len(places) > 1 else 0
        port[w.BASE] = self.address(int(places[0]))
        if binding.mode == "aligned":
            port[w.TILE_STRIDE] = ring.tile_stride
        else:
            port[w.SLOT_STRIDE] = ring.slot_stride

    def _fill_out_port(self, bound: BoundCall, i: int, out: OutBinding) -> None:
        call, port = bound.call, bound.words[bound.layout.outlet(i) :]
        planes = call.code.kernel.outlets[i].planes
        if out.border:
            port[w.TABLE] = self.address(bound.out_tables[i])
            return
        ring = self.rings[out.ring]
        if out.mode == "table":
            port[w.TABLE] = self.address(bound.out_tables[i])
            table = bound.table(bound.out_tables[i], planes)
            self._point_at_ring(table, ring, call.lanes, call.groups[0].spread)
            if call.code.kernel.block is not None:
                port[w.APART] = _apart(table)
        elif out.mode == "ring":
            port[w.BASE] = self.address(ring.at)
            port[w.MASK] = ring.mask
            port[w.PLANE_STRIDE] = ring.plane_stride
            port[w.TILE_STRIDE] = ring.tile_stride
        else:
            lanes = bound.sum_lanes(i)
            rows = (bound.frames, w.SUM_ORDER * lanes * planes)
            self.arena.view(bound.sum_at[i], rows, np.float64).fill(-0.0)  # see `Sums`
            port[w.SUM_BUFFER] = self.address(bound.sum_at[i])
            port[w.SUM_LANES] = lanes
            port[w.SUM_TABLE] = self.address(bound.out_tables[i])
            shape = (planes, lanes, w.ENTRY_WORDS)
            table = self.arena.view(bound.out_tables[i], shape, np.int64)
            self._point_at_ring(table, ring, lanes)

    def _fill_table(self, bound: BoundCall, at: int, binding: InBinding) -> None:
        table = bound.table(at, len(binding.ring))
        lanes = bound.call.lanes
        entries = table[:, :lanes]
        entries[binding.ring == SILENCE, w.ENTRY_BASE] = self.address(self._silence)
        for number in np.unique(binding.ring[binding.ring != SILENCE]):
            ring = self.rings[number]
            here = binding.ring == number
            entries[here, w.ENTRY_BASE] = (
                ring.offsets(binding.plane[here], binding.lane[here]) + self.arena.base
            )
            entries[here, w.ENTRY_MASK] = ring.mask
            entries[here, w.ENTRY_STRIDE] = ring.slot_stride
        entries[..., w.ENTRY_TOKENS] = binding.tokens
        table[:, lanes:] = table[:, lanes - 1 : lanes]

    def border_ports(self) -> list[BorderPort]:
        """Every place where a kernel touches the caller's arrays."""
        ports = []
        for bound in self.calls:
            for i, binding in enumerate(bound.call.ins):
                if binding.border:
                    ports += self._border(bound, binding.border_group, bound.in_tables[i])
            for i, out in enumerate(bound.call.outs):
                if out.border:
                    ports += self._border(bound, out.border_group, bound.out_tables[i])
        return ports

    def _border(self, bound: BoundCall, number: int, at: int) -> list[BorderPort]:
        group = bound.call.groups[number]
        table = bound.table(at, group.planes)
        lanes = self.batch * group.parts
        table[..., w.ENTRY_MASK] = -1
        ports = []
        for slot, node in enumerate(group.members):
            entries = table[:, slot * lanes : (slot + 1) * lanes]
            if slot == len(group.members) - 1:
                entries = table[:, slot * lanes :]
            ports.append(BorderPort(node, group.pace, group.parts, entries))
        return ports


class BorderPort:
    """Entries of a table that point at the array of one input, output or probe of the graph.

    Attributes
    ----------
    node, pace
        The node, and when it fires.
    clocked
        It has one token a frame.
    """

    __slots__ = (
        "_bases",
        "_entries",
        "_offsets",
        "_rows",
        "_shape",
        "_tokens",
        "clocked",
        "node",
        "pace",
    )

    def __init__(self, node: Node, pace: Pace, parts: int, entries: NDArray[np.int64]) -> None:
        self.node, self.pace, self._entries = node, pace, entries
        planes, lanes = entries.shape[:2]
        lane = np.arange(lanes)
        # the lanes of a tile's padding repeat the last one
        row = np.minimum(lane, max(lanes - 1, 0))
        batch, part = np.divmod(row, parts)
        self._rows = (batch * parts + part) * planes + np.arange(planes)[:, None]
        self._bases, self._tokens = entries[..., w.ENTRY_BASE], entries[..., w.ENTRY_TOKENS]
        entries[..., w.ENTRY_STRIDE] = 8
        self._shape: tuple[int, ...] = ()  # for which rows are at these offsets
        self._offsets = self._rows
        self.clocked = pace[:2] == (1, 1)

    def first(self, clock: int) -> int:
        """Number of its first token from ``clock`` on; on the clock's timeline, if it had always had
        one a frame."""
        return int(self.pace.before(clock)) if self.clocked else self.pace.fired(clock)

    def cells(self, rows: int) -> NDArray[np.int64]:
        """Address of each entry, and which of the ``rows`` of an array it is pointed at."""
        (planes, lanes), strides = self._rows.shape, self._entries.strides
        at = np.arange(planes)[:, None] * strides[0] + np.arange(lanes) * strides[1]
        at += self._entries.ctypes.data
        return np.stack([at, np.minimum(self._rows, rows - 1)], axis=-1).reshape(-1, 2)

    def point(self, array: NDArray[np.float64], clock: int) -> None:
        """Use C-contiguous ``array`` (batch, channel, token), which begins at ``clock``."""
        if array.shape != self._shape:
            batch, channels, tokens = self._shape = array.shape
            # not array.strides: that of an axis of length 1 means nothing
            self._offsets = np.minimum(self._rows, batch * channels - 1) * (8 * tokens)
        np.add(self._offsets, address_of(array), out=self._bases)
        self._tokens[...] = self.first(clock)


def address_of(array: NDArray[np.float64]) -> int:
    """Where the first number of a C-contiguous array lies."""
    if array.size and array.flags.writeable:  # a fifth of what the other way takes
        return ctypes.addressof(ctypes.c_char.from_buffer(array.data))
    return int(array.ctypes.data)


def _apart(table: NDArray[np.int64]) -> int:
    """Bytes from plane to plane if, in every lane, all are evenly apart and else like the first, and tokens
    lie side by side; or 0."""
    base, rest = table[..., w.ENTRY_BASE], table[..., w.ENTRY_BASE + 1 :]
    if (rest != rest[:1]).any() or (table[0, :, w.ENTRY_STRIDE] != 8).any():
        return 0
    if len(base) == 1:
        return 8
    apart = int(base[1, 0] - base[0, 0])
    return apart if apart > 0 and (np.diff(base, axis=0) == apart).all() else 0


def _fill_lanes(view: NDArray[np.float64], values: NDArray[Any], kind: str) -> None:
    """Write one number per lane into (tiles, width), the last one into the padding."""
    target = view if kind == "f64" else view.view(np.int64)
    if kind == "turn":
        values = _turns(values)
    if len(values) == 1:
        target[:] = values
        return
    padded = np.full(view.size, values[-1], values.dtype)
    padded[: len(values)] = values
    target[:] = padded.reshape(view.shape)


def _turns(cycles: NDArray[np.float64]) -> NDArray[np.int64]:
    """Multiples of 2^-64 nearest to numbers of cycles, without the whole ones."""
    nearest = np.rint((cycles - np.rint(cycles)) * 2.0**64)
    return np.where(nearest < 2.0**63, nearest, -(2.0**63)).astype(np.int64)
