"""Lowering: clusters to kernels in IR, with what each kernel is bound to.

Each node's ``forward`` is traced once per distinct kernel. What differs between kernels of one text
(addresses, parameters, start states) is a `Call`: data, not code.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np

from amp.cycles import Cycle
from amp.frozen import Edge
from amp.jit.emit_across import FRAMES
from amp.jit.group import Cluster, NarrowLoop, dataflow_order
from amp.jit.lowered import (
    SILENCE,
    Call,
    Code,
    InBinding,
    Lowered,
    Narrow,
    OutBinding,
    Ring,
    tile_width,
)
from amp.jit.trace import Part, trace_alone, trace_kernel
from amp.jit.trace_block import trace_block

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from amp.contract import Take
    from amp.jit.cluster import Clustering
    from amp.jit.group import Group, Item, Read
    from amp.jit.guard import Mode
    from amp.jit.lowered import Step

    Ints = NDArray[np.int64]


ACROSS = 4
"""Most lanes of a kernel that works across time: with more, lanes fill a vector."""


def lower(
    clustering: Clustering,
    items: list[Item],
    *,
    frames: int,
    batch: int,
    sample_rate: float,
    guard: Mode,
    every: int,
) -> Lowered:
    """Kernels of ``items`` when no call runs more than ``frames`` frames; the power of streams is
    measured in every ``every``-th firing."""
    return _Lowering(clustering, frames, batch, sample_rate, guard, every).run(items)


class _Lowering:
    def __init__(
        self,
        clustering: Clustering,
        frames: int,
        batch: int,
        sample_rate: float,
        guard: Mode,
        every: int,
    ) -> None:
        self.clustering, self.guard, self.every = clustering, guard, every
        self.frames, self.batch, self.sample_rate = frames, batch, sample_rate
        self.rings: list[Ring] = []
        self.calls: list[Call] = []
        self.ring_of: dict[tuple[int, int, int], int] = {}  # group, outlet, initial class
        self.traced: dict[tuple[object, ...], Code] = {}
        self.cluster_of: dict[int, int] = {}
        self.forgetful: dict[int, bool] = {}  # signature to whether a node remembers nothing
        self.classes: dict[int, int] = {}  # id of an edge to its initial class, if not 0

    def run(self, items: list[Item]) -> Lowered:
        self._number(items)
        for item in items:
            self._put_across(item)
        self._make_rings()
        steps = self._steps(items)
        return Lowered(steps, self.calls, self.rings, self.frames, self.clustering.dynamic)

    def _number(self, items: list[Item]) -> None:
        for item in items:
            if isinstance(item, NarrowLoop):
                self._number(item.items)
            else:
                for group in item.groups:
                    self.cluster_of[group.number] = item.index

    def _put_across(self, item: Item) -> None:
        """Note which kernels work across time: those that remember nothing, of few lanes."""
        groups = item.groups
        if (
            isinstance(item, Cluster)
            and self.batch * item.head.lanes <= ACROSS
            and self.frames >= FRAMES
            and self.guard != "raise"  # which remembers
            and all(self._forgets(group, item) for group in groups)
        ):
            for group in groups:
                group.across = True

    def _forgets(self, group: Group, item: Cluster) -> bool:
        node = group.first
        if (
            group.wide
            or group.prebuilt
            or group.skewed
            or node.type.channels != "each"
            or any((read.rate, read.step) != (1, 1) for read in group.reads)
            or any(node.type.rate(outlet) != 1 for outlet in type(node.type).outlets)
        ):
            return False
        own = {other.number for other in item.groups}
        numbers = [self.clustering.group_of[r.source] for r in group.reads if not r.plain]
        if any(number in own for some in numbers for number in some.tolist()):
            return False  # a frame waits for the one before it
        if group.signature not in self.forgetful:
            trace = trace_alone(group, self.sample_rate)
            self.forgetful[group.signature] = not (trace.states or trace.line_lengths)
        return self.forgetful[group.signature]

    def _steps(self, items: list[Item]) -> list[Step]:
        return [
            Narrow(item.block, self._steps(item.items), item)
            if isinstance(item, NarrowLoop)
            else self._call(item)
            for item in items
        ]

    def _in_registers(self, read: Read, group: Group) -> bool:
        """The values stay inside one kernel."""
        source = self.clustering.groups[self.clustering.group_of[read.source[0]]]
        return (
            read.plain
            and not source.wide
            and self.cluster_of[source.number] == self.cluster_of[group.number]
        )

    # ---- rings

    def _make_rings(self) -> None:
        """A ring for each outlet that someone reads from memory, large enough for its readers."""
        initial: dict[tuple[int, int], list[NDArray[np.float64]]] = defaultdict(list)
        apart = self._read_apart() | self._block_ends()
        for (number, outlet, class_), frames in self._needs(initial).items():
            group = self.clustering.groups[number]
            lanes = (1 if group.collapsed else group.slots) * self.batch * group.parts
            width = tile_width(lanes, group.width)
            if group.across or (number, outlet) in apart:
                width = 1
            self.ring_of[number, outlet, class_] = len(self.rings)
            stamped = bool(self.clustering.dynamic[group.first.index])
            size = 1 << (frames - 1).bit_length()
            self.rings.append(Ring(group.planes, lanes, width, size, stamped))
        for (source, outlet), classes in initial.items():
            for class_, tokens in enumerate(classes):
                self._put_tokens(source, outlet, class_, tokens)

    def _read_apart(self) -> set[tuple[int, int]]:
        """Outlets whose lanes are read at different times, by delays of their own: each lane lies
        frame by frame then, so that a cache line holds what is read together. What a kernel reads
        of its own is left as it is, to be read in the frame it is written in."""
        apart: set[tuple[int, int]] = set()
        own: set[tuple[int, int]] = set()
        for group in self.clustering.groups:
            for read in group.reads:
                numbers = self.clustering.group_of[read.source].tolist()
                outlets = set(zip(numbers, read.outlet.tolist(), strict=True))
                if any(self.cluster_of[n] == self.cluster_of[group.number] for n in set(numbers)):
                    own |= outlets
                elif not group.wide and (read.tokens != read.tokens[0]).any():
                    apart |= outlets
        return apart - own

    def _block_ends(self) -> set[tuple[int, int]]:
        """Outlets that a call of blocks writes, or that nothing else reads: it works in their rings if the
        frames of a lane lie side by side."""
        found: set[tuple[int, int]] = set()
        others: set[tuple[int, int]] = set()
        for group in self.clustering.groups:
            if group.archetype:
                found |= {(group.number, o) for o in range(len(type(group.first.type).outlets))}
            for read in group.reads:
                numbers = self.clustering.group_of[read.source].tolist()
                outlets = set(zip(numbers, read.outlet.tolist(), strict=True))
                if group.archetype:
                    found |= outlets
                else:
                    others |= outlets
        return {
            end for end in found if end not in others or self.clustering.groups[end[0]].archetype
        }

    def _needs(
        self, initial: dict[tuple[int, int], list[NDArray[np.float64]]]
    ) -> dict[tuple[int, int, int], int]:
        """Frames that each ring must hold; ``initial`` gets the tokens of each outlet's classes."""
        group_of = self.clustering.group_of
        need: dict[tuple[int, int, int], int] = {}
        for group in self.clustering.groups:
            for read in group.reads:
                if self._in_registers(read, group):
                    continue
                if read.tokens.any() or read.history:
                    for edge in read.edges:
                        known = initial[edge.source, edge.outlet]
                        self._classify(edge, self._initial(edge, read.history), known)
                most = int(read.held.max())
                outlets = np.unique(np.stack([group_of[read.source], read.outlet]), axis=1)
                classes = {self.classes.get(id(edge), 0) for edge in read.edges}
                for number, outlet in outlets.T.tolist():
                    for class_ in classes:
                        key = (number, outlet, class_)
                        need[key] = max(need.get(key, 0), most)
        return need

    def _put_tokens(
        self, source: int, outlet: int, class_: int, tokens: NDArray[np.float64]
    ) -> None:
        number = int(self.clustering.group_of[source])
        group = self.clustering.groups[number]
        slot = 0 if group.collapsed else int(self.clustering.slot_of[source])
        lanes = slot * self.batch * group.parts + np.arange(self.batch * group.parts)
        shape = (self.batch, group.parts, group.planes, tokens.shape[2])
        planar = tokens.reshape(shape).transpose(2, 0, 1, 3)
        ring = self.rings[self.ring_of[number, outlet, class_]]
        ring.initial.append((lanes, planar.reshape(group.planes, len(lanes), -1)))

    def _initial(self, edge: Edge, history: int) -> NDArray[np.float64] | None:
        """Tokens of an edge at clock 0 that are not skipped, after what it reads as its past: silence, or
        its default."""
        have = 0 if edge.initial is None else edge.initial.shape[2]
        silent = history + edge.tokens - have
        if edge.initial is not None and silent <= 0:
            return edge.initial[:, :, -silent:] if -silent < have else None
        if silent <= 0:
            return None
        shape = (self.batch, self.clustering.nodes[edge.source].channels)
        given = np.zeros((*shape, 0)) if edge.initial is None else edge.initial
        past = np.full((*shape, silent), edge.default or 0.0)
        return np.concatenate([past, given], axis=2)

    def _classify(
        self,
        edge: Edge,
        initial: NDArray[np.float64] | None,
        classes: list[NDArray[np.float64]],
    ) -> None:
        """Readers whose initial tokens agree share a ring."""
        if initial is None:
            return
        for class_, known in enumerate(classes):
            shared = min(known.shape[2], initial.shape[2])
            if (known[:, :, -shared:] == initial[:, :, -shared:]).all():
                if initial.shape[2] > known.shape[2]:
                    classes[class_] = initial
                break
        else:
            class_ = len(classes)
            classes.append(initial)
        if class_:
            self.classes[id(edge)] = class_

    # ---- calls

    def _call(self, cluster: Cluster) -> Call:
        head = cluster.head
        lanes = self.batch * head.lanes
        width = 1 if head.prebuilt or head.across else tile_width(lanes, head.width)
        ins: list[InBinding] = []
        order = dataflow_order(cluster.groups, self.clustering.group_of)
        parts: dict[int, Part] = {}
        ports: dict[tuple[object, ...], int] = {}
        numbered: dict[tuple[object, ...], int] = {}
        for i in order:
            group = cluster.groups[i]
            sources = self._bind_reads(group, cluster, ins, ports, width)
            if group.first.type.border == "input":
                sources.append(("port", len(ins), 0))
                ins.append(_border_input(group, 1 if head.skewed else lanes, i))
            outs = self._bind_outs(group, i, width)
            slots = numbered.setdefault(_numbers(group), i) if group.first.type.backward else i
            parts[i] = Part(group, sources, outs, self._sums(group), slots)
        key = (tuple(order), *(part.key(ins) for part in parts.values()))
        code = self.traced.get(key)
        if code is None:
            rate = self.sample_rate * head.pace.firings / head.pace.frames
            if head.archetype:
                code = trace_block(parts[0], ins, rate, self.every)
            else:
                code = trace_kernel(parts, ins, rate, self.guard, self.every)
            self.traced[key] = code
        bindings = [out for part in parts.values() for _, out in part.outs]
        call = Call(code, cluster.groups, width, lanes, head.pace, ins, bindings, cluster)
        self.calls.append(call)
        return call

    def _bind_reads(
        self,
        group: Group,
        cluster: Cluster,
        ins: list[InBinding],
        ports: dict[tuple[object, ...], int],
        width: int,
    ) -> list[tuple[str, int, int]]:
        """What each read of ``group`` is, see `Part`; new in ports go to ``ins``, and known ones, by what
        they read, are in ``ports``."""
        lanes = self.batch * cluster.head.lanes
        sources: list[tuple[str, int, int]] = []
        for take in group.takes:
            # edges that are taken from at different numbers are ports of their own
            alike = {number: group.reads[number].moves for number in dict.fromkeys(take.edge)}
            sources.append(("port", len(ins), len({*alike.values()}) - 1))
            for moves in dict.fromkeys(alike.values()):
                edges = [number for number, other in alike.items() if other == moves]
                ins.append(self._bind_take(take, edges, group, lanes, width))
        for read in () if group.takes else group.reads:
            if self._in_registers(read, group):
                number = int(self.clustering.group_of[read.source[0]])
                source = next(i for i, g in enumerate(cluster.groups) if g.number == number)
                sources.append(("value", source, read.edges[0].outlet))
                continue
            binding = self._bind_in(read, group, lanes, width)
            if cluster.head.skewed:
                binding.mode = "uniform"
            port = len(ins)
            if group.first.type.backward:  # what several read is read once
                port = ports.setdefault(binding.key, port)
            if port == len(ins):
                ins.append(binding)
            sources.append(("port", port, 0))
        return sources

    def _sums(self, group: Group) -> tuple[int, ...]:
        """Which of its reads are of sums over lanes, if values are looked at."""
        if self.guard == "propagate" or group.takes:
            return ()
        groups, group_of = self.clustering.groups, self.clustering.group_of
        return tuple(
            number
            for number, read in enumerate(group.reads)
            if any(groups[source].wide for source in np.unique(group_of[read.source]))
        )

    def _bind_in(self, read: Read, group: Group, lanes: int, width: int) -> InBinding:
        """Ring, plane and lane of every token that ``read`` needs, by (plane, slot, batch, part)."""
        clustering = self.clustering
        numbers = clustering.group_of[read.source]
        whole = group.first.type.channels == "all"
        planes = clustering.groups[numbers[0]].first.channels if whole else group.planes
        # the channel that (plane, part) holds; a one-channel stream is broadcast
        channel = np.arange(planes)[:, None] + np.arange(group.parts) * planes
        lanes = lanes if not group.skewed else 1
        shape = (planes, len(numbers), self.batch, group.parts)
        ring, plane, lane = (np.empty(shape, np.int64) for _ in range(3))
        for number in np.unique(numbers):
            source = clustering.groups[number]
            here = numbers == number
            part, inner = np.divmod(
                channel if source.first.channels > 1 else np.zeros_like(channel), source.planes
            )
            slots = np.zeros(here.sum(), np.int64)
            if not source.collapsed:
                slots = clustering.slot_of[read.source[here]]
            row = (slots[:, None] * self.batch + np.arange(self.batch)) * source.parts
            for outlet in np.unique(read.outlet[here]).tolist():
                there = here & (read.outlet == outlet)
                ring[:, there] = self.ring_of.get((int(number), outlet, 0), -1)
            plane[:, here] = inner[:, None, None, :]
            lane[:, here] = row[None, :, :, None] + part[:, None, None, :]
        if self.classes:
            for slot, edge in enumerate(read.edges):
                class_ = self.classes.get(id(edge), 0)
                ring[:, slot] = self.ring_of[int(numbers[slot]), edge.outlet, class_]
        read.rings = ring[0, :, 0, 0].copy()
        last = read.tokens + read.back  # where its last token is
        tokens = np.broadcast_to(last[None, :, None, None] + read.rate - 1, shape)
        ring, plane, lane, tokens = (
            array.reshape(planes, lanes) for array in (ring, plane, lane, tokens)
        )
        binding = InBinding("table", ring, plane, lane, tokens, read.rate, read.step, read.cycle)
        if not group.prebuilt:
            binding.mode = self._mode(binding, lanes, width)
        return binding

    def _bind_take(
        self, take: Take, edges: list[int], group: Group, lanes: int, width: int
    ) -> InBinding:
        """Ring, plane and lane of every token that ``take`` names of some edges, by (slot, batch,
        channel); silence in place of those of others."""
        clustering = self.clustering
        shape = (len(group.members), self.batch, len(take.edge))
        ring, plane, lane, tokens = (np.zeros(shape, np.int64) for _ in range(4))
        ring[:] = SILENCE
        edge, channel, back = (np.array(c) for c in (take.edge, take.channel, take.back))
        for number in edges:
            read = group.reads[number]
            here = np.flatnonzero(edge == number)
            read.rings = np.empty(len(read.edges), np.int64)
            for slot, item in enumerate(read.edges):
                source = clustering.groups[clustering.group_of[item.source]]
                class_ = self.classes.get(id(item), 0)
                found = self.ring_of[source.number, item.outlet, class_]
                part, inner = np.divmod(channel[here], source.planes)
                first = 0 if source.collapsed else int(clustering.slot_of[item.source])
                batch = np.array(take.batch or range(self.batch))
                row = (first * self.batch + batch) * source.parts
                read.rings[slot] = found
                silent = (channel[here] < 0) | (batch[:, None] < 0)
                ring[slot][:, here] = np.where(silent, SILENCE, found)
                plane[slot][:, here] = inner
                lane[slot][:, here] = row[:, None] + part
                tokens[slot][:, here] = item.tokens + back[here] + read.back
        read = group.reads[edges[0]]
        at = np.stack([ring, plane, lane, tokens]).reshape(4, 1, lanes)
        binding = InBinding("table", at[0], at[1], at[2], at[3], 1, read.step, read.cycle)
        if (ring != SILENCE).all():
            binding.mode = self._mode(binding, lanes, width)
        return binding

    def _mode(self, binding: InBinding, lanes: int, width: int) -> str:
        """The cheapest way to read these tokens."""
        ring, plane, lane, tokens = binding.ring, binding.plane, binding.lane, binding.tokens
        source = self.rings[ring[0, 0]]
        # planes are evenly apart: planes of the ring, or lanes of one or of different tiles
        places = (plane[:, 0], *np.divmod(lane[:, 0], source.width))
        if (
            (ring != ring[0, 0]).any()
            or (tokens != tokens[0, 0]).any()
            or (plane != plane[:, :1]).any()
            or any((np.diff(place, 2) != 0).any() for place in places)
        ):
            return "table"
        if (lane == lane[:, :1]).all() and lanes > 1:
            return "uniform"
        if (lane != lane[0]).any():
            return "table"
        same = source.lanes == lanes and source.width == width
        return "aligned" if same and (lane == np.arange(lanes)).all() else "table"

    def _bind_outs(self, group: Group, position: int, width: int) -> list[tuple[int, OutBinding]]:
        node = group.first
        if node.type.border in {"output", "probe"}:
            return [(0, OutBinding("table", border="output", border_group=position))]
        mode = "sum" if group.wide else "ring"
        if group.prebuilt or group.spread > 1:
            mode = "table"

        def cycle_of(outlet: int) -> Cycle | None:
            counts = node.type.counts(type(node.type).outlets[outlet])
            return Cycle(counts) if len({*counts}) > 1 else None

        def mode_of(ring: int) -> str:
            fits = self.rings[ring].width == width
            return mode if mode != "ring" or fits or group.skewed else "table"

        return [
            (outlet, OutBinding(mode_of(ring), ring, cycle_of(outlet), outlet=outlet))
            for outlet in range(len(type(node.type).outlets))
            for class_ in range(1 + max(self.classes.values(), default=0))
            if (ring := self.ring_of.get((group.number, outlet, class_), -1)) >= 0
        ]


def _numbers(group: Group) -> tuple[object, ...]:
    """Equal for groups whose members are given the same numbers: a node's adjoint, and what computes its
    outlets again."""
    numbers = []
    for node in group.members:
        inlets = zip(type(node.type).inlets, node.sources, strict=True)
        numbers += [(i.name, id(s)) for i, s in inlets if not isinstance(s, tuple | Edge)]
        numbers += [(name, id(getattr(node.type, name))) for name in type(node.type).params]
    return group.parts, group.planes, group.spread, *numbers


def _border_input(group: Group, lanes: int, position: int) -> InBinding:
    """A table whose entries point at the caller's array, run by run."""
    none = np.full((group.planes, lanes), -1, np.int64)
    return InBinding("table", none, none, none, none, border="input", border_group=position)
