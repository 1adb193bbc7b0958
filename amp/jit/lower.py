"""Lowering: clusters to kernels in IR, with what each kernel is bound to.

Each node's ``forward`` is traced once per distinct kernel. What differs between kernels of one text
(addresses, parameters, start states) is a `Call`: data, not code.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from amp.contract import Param, Trace
from amp.errors import BadNode
from amp.graph import Edge
from amp.ir import InPort, Kernel, OutPort, StateSlot, Value
from amp.jit.cluster import Cluster, NarrowLoop

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from amp.graph import Node
    from amp.jit.cluster import Clustering, Group, Item, Read

    Ints = NDArray[np.int64]


@dataclass(slots=True)
class Ring:
    """Memory of an outlet: ``(planes, tiles, frames, width)``, ``frames`` a power of two."""

    planes: int
    lanes: int
    width: int
    frames: int
    initial: list[tuple[Ints, NDArray[np.float64]]] = field(default_factory=list)
    """Initial tokens: (lane of each (channel plane, lane)...), see `Lowering.initial`."""


@dataclass(slots=True)
class InBinding:
    """Where a port reads: arrays of shape (planes, lanes); ``ring`` is -1 for a graph input."""

    mode: str
    ring: Ints
    plane: Ints
    lane: Ints
    tokens: Ints
    read: Read | None = None
    border: str = ""
    border_group: int = -1


@dataclass(slots=True)
class OutBinding:
    """Where a port writes: a ring, or a graph output."""

    mode: str
    ring: int = -1
    border: str = ""
    border_group: int = -1


@dataclass(slots=True)
class Code:
    """A traced kernel and what its slots hold, in order."""

    kernel: Kernel
    inits: tuple[float | int | str, ...]
    line_lengths: tuple[int, ...]


@dataclass(slots=True)
class Call:
    """One kernel at work: code, lanes, and bindings."""

    code: Code
    groups: list[Group]
    width: int
    lanes: int
    start: int
    ins: list[InBinding]
    outs: list[OutBinding]
    item: Cluster

    @property
    def tiles(self) -> int:
        """Number of passes over the lanes."""
        return -(-self.lanes // self.width)

    def __str__(self) -> str:
        return " > ".join(map(str, self.groups))


@dataclass(slots=True)
class Narrow:
    """Steps repeated in blocks of ``block`` frames."""

    block: int
    steps: list[Step]
    item: NarrowLoop


Step = Call | Narrow


@dataclass(slots=True)
class Lowered:
    """Everything native code needs, still without addresses."""

    steps: list[Step]
    calls: list[Call]
    rings: list[Ring]
    frames: int  # most frames of one call


def tile_width(lanes: int, width: int) -> int:
    """Lanes computed at a time: ``width``, or less where there are fewer lanes."""
    while width > 1 and width // 2 >= lanes:
        width //= 2
    return width


def lower(
    clustering: Clustering, items: list[Item], *, frames: int, batch: int, sample_rate: float
) -> Lowered:
    """Kernels of ``items`` when no call runs more than ``frames`` frames."""
    return _Lowering(clustering, frames, batch, sample_rate).run(items)


class _Lowering:
    def __init__(self, clustering: Clustering, frames: int, batch: int, sample_rate: float) -> None:
        self.clustering, self.nodes = clustering, clustering.nodes
        self.frames, self.batch, self.sample_rate = frames, batch, sample_rate
        self.rings: list[Ring] = []
        self.calls: list[Call] = []
        self.ring_of: dict[tuple[int, int, int], int] = {}  # group, outlet, initial class
        self.traced: dict[tuple[object, ...], Code] = {}
        self.cluster_of: dict[int, int] = {}
        self.classes: dict[int, int] = {}  # id of an edge to its initial class, if not 0

    def run(self, items: list[Item]) -> Lowered:
        self._number(items)
        self._make_rings()
        steps = self._steps(items)
        return Lowered(steps, self.calls, self.rings, self.frames)

    def _number(self, items: list[Item]) -> None:
        for item in items:
            if isinstance(item, NarrowLoop):
                self._number(item.items)
            else:
                for group in item.groups:
                    self.cluster_of[group.number] = item.index

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
        groups, group_of = self.clustering.groups, self.clustering.group_of
        need: dict[tuple[int, int, int], int] = {}
        initial: dict[tuple[int, int], list[NDArray[np.float64]]] = defaultdict(list)
        for group in groups:
            for read in group.reads:
                if self._in_registers(read, group):
                    continue
                if read.tokens.any():
                    for edge in read.edges:
                        self._classify(edge, initial[edge.source, edge.outlet])
                most = self.frames + int(max(read.in_flight.max(), read.tokens.max()))
                outlets = np.unique(np.stack([group_of[read.source], read.outlet]), axis=1)
                classes = {self.classes.get(id(edge), 0) for edge in read.edges}
                for number, outlet in outlets.T.tolist():
                    for class_ in classes:
                        key = (number, outlet, class_)
                        need[key] = max(need.get(key, 0), most)
        for (number, outlet, class_), frames in need.items():
            group = groups[number]
            lanes = (1 if group.collapsed else group.slots) * self.batch * group.parts
            width = tile_width(lanes, group.width)
            self.ring_of[number, outlet, class_] = len(self.rings)
            self.rings.append(Ring(group.planes, lanes, width, 1 << (frames - 1).bit_length()))
        for (source, outlet), classes in initial.items():
            for class_, tokens in enumerate(classes):
                group = groups[group_of[source]]
                slot = 0 if group.collapsed else int(self.clustering.slot_of[source])
                ring = self.rings[self.ring_of[int(group_of[source]), outlet, class_]]
                lanes = slot * self.batch * group.parts + np.arange(self.batch * group.parts)
                shape = (self.batch, group.parts, group.planes, tokens.shape[2])
                planar = tokens.reshape(shape).transpose(2, 0, 1, 3)
                ring.initial.append((lanes, planar.reshape(group.planes, len(lanes), -1)))

    def _classify(self, edge: Edge, classes: list[NDArray[np.float64]]) -> None:
        """Readers whose initial tokens agree share a ring."""
        if edge.initial is None:
            return
        for class_, known in enumerate(classes):
            shared = min(known.shape[2], edge.tokens)
            if (known[:, :, -shared:] == edge.initial[:, :, -shared:]).all():
                if edge.tokens > known.shape[2]:
                    classes[class_] = edge.initial
                break
        else:
            class_ = len(classes)
            classes.append(edge.initial)
        if class_:
            self.classes[id(edge)] = class_

    # ---- calls

    def _call(self, cluster: Cluster) -> Call:
        head = cluster.head
        lanes = head.slots * self.batch * head.parts
        width = 1 if head.archetype else tile_width(lanes, head.width)
        ins: list[InBinding] = []
        outs: list[OutBinding] = []
        shape: list[object] = []
        number_of = {group.number: i for i, group in enumerate(cluster.groups)}
        order = _dataflow_order(cluster.groups, self.clustering.group_of, number_of)
        sources: dict[int, list[tuple[str, int, int]]] = {}
        for i in order:
            group = cluster.groups[i]
            mine: list[tuple[str, int, int]] = []
            for read in group.reads:
                if self._in_registers(read, group):
                    source = number_of[int(self.clustering.group_of[read.source[0]])]
                    mine.append(("value", source, read.edges[0].outlet))
                else:
                    mine.append(("port", len(ins), 0))
                    ins.append(self._bind_in(read, group, lanes, width))
                    if head.skewed:
                        ins[-1].mode = "uniform"
            if group.first.type.border == "input":
                mine.append(("port", len(ins), 0))
                ins.append(_border_input(group, 1 if head.skewed else lanes, i))
            stores = self._bind_outs(group, i)
            outs += [out for _, out in stores]
            sources[i] = mine
            modes = [(ins[k].mode, len(ins[k].ring)) for kind, k, _ in mine if kind == "port"]
            outlets = [(outlet, out.mode) for outlet, out in stores]
            shape.append(
                (
                    group.signature,
                    group.parts,
                    group.wide,
                    tuple(mine),
                    tuple(modes),
                    str(outlets),
                    group.archetype,
                    group.skewed,
                )
            )
        key = (tuple(order), *shape)
        code = self.traced.get(key)
        if code is None:
            code = self.traced[key] = self._trace(cluster.groups, order, sources, ins)
        call = Call(code, cluster.groups, width, lanes, head.start, ins, outs, cluster)
        self.calls.append(call)
        return call

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
        tokens = np.broadcast_to(read.tokens[None, :, None, None], shape)
        columns = [array.reshape(planes, lanes) for array in (ring, plane, lane, tokens)]
        mode = "table" if group.archetype else self._mode(*columns, lanes, width)
        return InBinding(mode, *columns, read)

    def _mode(
        self, ring: Ints, plane: Ints, lane: Ints, tokens: Ints, lanes: int, width: int
    ) -> str:
        """The cheapest way to read these tokens."""
        steps = np.diff(plane[:, 0])
        if (
            (ring != ring[0, 0]).any()
            or (tokens != tokens[0, 0]).any()
            or (plane != plane[:, :1]).any()
            or (lane != lane[0]).any()
            or (steps != steps[:1]).any()
        ):
            return "table"
        if (lane == lane[0, 0]).all() and lanes > 1:
            return "uniform"
        source = self.rings[ring[0, 0]]
        same = source.lanes == lanes and source.width == width
        return "aligned" if same and (lane == np.arange(lanes)).all() else "table"

    def _bind_outs(self, group: Group, position: int) -> list[tuple[int, OutBinding]]:
        node = group.first
        if node.type.border == "output":
            return [(0, OutBinding("table", -1, "output", position))]
        mode = "sum" if group.wide else "table" if group.archetype else "ring"
        return [
            (outlet, OutBinding(mode, ring))
            for outlet in range(len(type(node.type).outlets))
            for class_ in range(1 + max(self.classes.values(), default=0))
            if (ring := self.ring_of.get((group.number, outlet, class_), -1)) >= 0
        ]

    # ---- tracing

    def _trace(
        self,
        groups: list[Group],
        order: list[int],
        sources: dict[int, list[tuple[str, int, int]]],
        ins: list[InBinding],
    ) -> Code:
        b = Trace(self.sample_rate)
        results: dict[int, list[list[Value]]] = {}  # group to outlet to plane
        outlets: list[OutPort] = []
        stores: list[tuple[Value, ...]] = []
        for i in order:
            group = groups[i]
            streams = []
            for kind, which, outlet in sources[i]:
                if kind == "value":
                    streams.append(results[which][outlet])
                else:
                    planes = len(ins[which].ring)
                    streams.append(
                        [b.emit("inlet", attribute=(which, plane)) for plane in range(planes)]
                    )
            if group.archetype:
                b.enter(f"{i}.0", group.first.type)
                for name in type(group.first.type).params:
                    b.param(name)
                outs = self._bind_outs(group, i)
                planes = OutPort("table", group.planes)
                return _archetype_code(group.archetype, b, ins, [planes for _ in outs])
            results[i] = _trace_group(b, i, group, streams)
            for outlet, out in self._bind_outs(group, i):
                values = tuple(results[i][outlet])
                outlets.append(OutPort(out.mode, len(values)))
                stores.append(values)
        missing = set(b.states) - set(b.nexts)
        if missing:
            raise BadNode("forward sets the next value of each of its states", got=str(missing))
        kernel = Kernel(
            tuple(b.values),
            tuple(InPort(binding.mode, len(binding.ring)) for binding in ins),
            tuple(outlets),
            tuple((name, value.type) for name, value in b.slots.items()),
            tuple(StateSlot(name, value.type) for name, value in b.states.items()),
            tuple(b.line_lengths),
            tuple(b.nexts[name] for name in b.states),
            tuple(stores),
            skewed=any(group.skewed for group in groups),
        )
        return Code(kernel, tuple(b.inits.values()), tuple(b.line_lengths.values()))


def _archetype_code(name: str, b: Trace, ins: list[InBinding], outlets: list[OutPort]) -> Code:
    """A kernel that hands whole blocks to a prebuilt function, its params being one array."""
    inlets = tuple(InPort("table", len(binding.ring)) for binding in ins)
    slots = tuple((slot, value.type) for slot, value in b.slots.items())
    return Code(Kernel((), inlets, tuple(outlets), slots, (), (), (), (), name), (), ())


def _border_input(group: Group, lanes: int, position: int) -> InBinding:
    """A table whose entries point at the caller's array, run by run."""
    none = np.full((group.planes, lanes), -1, np.int64)
    return InBinding("table", none, none, none, none, None, "input", position)


def trace_alone(group: Group, sample_rate: float) -> Trace:
    """The trace of one member of ``group`` that reads streams of one channel."""
    b = Trace(sample_rate)
    streams = [[b.emit("inlet", attribute=(port, 0))] for port in range(len(group.reads))]
    _trace_group(b, 0, group, streams)
    return b


def _trace_group(
    b: Trace, number: int, group: Group, streams: list[list[Value]]
) -> list[list[Value]]:
    """Values of each outlet and plane."""
    node = group.first
    if group.wide:
        return [streams[0]]
    if node.type.channels == "all":
        b.enter(f"{number}.0", node.type)
        lists = _arguments(b, node, streams, lambda planes: planes, _constant_list)
        result = node.type.forward(b, *lists)
        return [list(result)] if len(type(node.type).outlets) <= 1 else [list(r) for r in result]
    per_plane = []
    for plane in range(group.planes):
        b.enter(f"{number}.{plane}", node.type)
        values = _arguments(
            b,
            node,
            streams,
            lambda planes, p=plane: planes[p if len(planes) > 1 else 0],
            lambda b, name, _: b.slot(name),
        )
        result = node.type.forward(b, *values)
        per_plane.append(result if isinstance(result, tuple) else (result,))
    return [list(outlet) for outlet in zip(*per_plane, strict=True)]


def _constant_list(b: Trace, name: str, source: Any) -> list[Value]:
    value = source.value if isinstance(source, Param) else source
    count = value.shape[1] if np.ndim(value) == 2 else 1
    return [b.slot(f"{name}.{channel}") for channel in range(count)]


def _arguments(
    b: Trace, node: Node, streams: list[list[Value]], pick: Any, constant: Any
) -> list[Any]:
    """What ``forward`` gets for each inlet: a value, a list, or None."""
    remaining = iter(streams)
    arguments: list[Any] = []
    if node.type.border == "input":
        return [pick(next(remaining))]
    for inlet, source in zip(type(node.type).inlets, node.sources, strict=True):
        if isinstance(source, tuple):
            arguments.append([pick(next(remaining)) for _ in source])
        elif isinstance(source, Edge):
            arguments.append(pick(next(remaining)))
        elif source is None:
            arguments.append(None)
        else:
            arguments.append(constant(b, inlet.name, source))
    return arguments


def _dataflow_order(groups: list[Group], group_of: Ints, number_of: dict[int, int]) -> list[int]:
    """Order in which every value comes before its users in registers."""
    done: set[int] = set()
    order: list[int] = []

    def sources(i: int) -> list[int]:
        return [
            number_of[int(group_of[read.source[0]])]
            for read in groups[i].reads
            if read.plain and int(group_of[read.source[0]]) in number_of
        ]

    for first in range(len(groups)):
        stack = [first]
        while stack:
            i = stack[-1]
            waiting = [s for s in sources(i) if s not in done and s != i]
            if i in done:
                stack.pop()
            elif waiting:
                stack += waiting
            else:
                done.add(i)
                order.append(stack.pop())
    return order


def slot_values(
    call: Call, name: str, batch: int, params: dict[str, NDArray[np.float64]]
) -> NDArray[Any]:
    """What slot ``name`` holds in each lane; ``params`` overrides the values of `Param`s."""
    number, plane, rest = name.split(".", 2)
    group = call.groups[int(number)]
    channels, parts, planes = group.first.channels, group.parts, group.planes
    picked = np.arange(parts) * planes + int(plane)
    if rest == "lane":
        lane = np.arange(batch)[:, None] * channels + picked
        return np.tile(lane.ravel(), len(group.members))
    inlets = [inlet.name for inlet in type(group.first.type).inlets]
    inlet, _, channel = rest.partition(".")
    if inlet in inlets and (channel or inlet == rest):
        position = inlets.index(inlet)
        if channel:
            picked = np.array([int(channel)])
        raw = [_value(node.sources[position], params) for node in group.members]
    else:
        attribute, _, index = rest.partition("[")
        raw = [_value(getattr(node.type, attribute), params) for node in group.members]
        if index:
            at = tuple(map(int, index[:-1].split(",")))
            raw = [value[at] for value in raw]
        return np.repeat(np.array(raw), batch * parts)
    if all(np.ndim(value) == 0 for value in raw):
        return np.repeat(np.array(raw, np.float64), batch * parts)
    spread = [
        np.broadcast_to(v, (batch, max(np.shape(v)[1] if np.ndim(v) else 1, int(picked.max()) + 1)))
        if np.ndim(v) == 0 or np.shape(v)[1] == 1
        else np.broadcast_to(v, (batch, np.shape(v)[1]))
        for v in raw
    ]
    return np.concatenate([s[:, picked].ravel() for s in spread])


def _value(source: Any, params: dict[str, NDArray[np.float64]]) -> Any:
    if isinstance(source, Param):
        return params.get(source.name, source.value)
    return source
