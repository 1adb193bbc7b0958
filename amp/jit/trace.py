"""Tracing: the nodes of one kernel, group by group, into IR."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from amp.contract import NodeType, Trace, value_of
from amp.errors import AmpError, BadNode, raised_at
from amp.graph import Edge
from amp.ir import InPort, Kernel, OutPort, StateSlot, Value, ancestors
from amp.jit.guard import Guarded
from amp.jit.lowered import Code
from amp.thermal import DISSIPATED

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from amp.graph import Node
    from amp.jit.group import Group
    from amp.jit.guard import Mode
    from amp.jit.lowered import InBinding, OutBinding


@dataclass(slots=True)
class Part:
    """One group of a kernel.

    Attributes
    ----------
    sources
        What each read is: ``("value", group, outlet)`` in registers, or ``("port", in port, n)``, where
        of that in port and the n next ones only one is not silent in each lane.
    outs
        Each outlet that goes to memory, and where to.
    sums
        Which of its reads are of sums that no one looks at before.
    slots
        The first group of the kernel whose nodes are given the same numbers.
    """

    group: Group
    sources: list[tuple[str, int, int]]
    outs: list[tuple[int, OutBinding]]
    sums: tuple[int, ...]
    slots: int

    def key(self, ins: list[InBinding]) -> tuple[object, ...]:
        """Equal for parts of one code."""
        group = self.group
        return (
            group.signature,
            group.parts,
            group.wide,
            tuple(self.sources),
            tuple(
                (ins[k].mode, len(ins[k].ring), ins[k].rate, ins[k].step)
                for kind, first, more in self.sources
                if kind == "port"
                for k in range(first, first + more + 1)
            ),
            group.pace[:2],
            tuple((outlet, out.mode) for outlet, out in self.outs),
            group.prebuilt,
            group.skewed,
            group.across,
            self.sums,
            self.slots,
            group.measured,
        )


def trace_kernel(
    parts: dict[int, Part], ins: list[InBinding], sample_rate: float, guard: Mode, every: int
) -> Code:
    """Code of the kernel of ``parts``, which are in dataflow order and numbered as in the cluster; the
    power of streams is measured in every ``every``-th firing."""
    b = Trace(sample_rate) if guard == "propagate" else Guarded(sample_rate, guard)
    results: dict[int, list[list[Value]]] = {}  # group to outlet to plane
    outlets: list[OutPort] = []
    stores: list[tuple[Value, ...]] = []
    powers: dict[tuple[Value, ...], int] = {}
    power_at: dict[tuple[int, int], tuple[str, tuple[int, ...]]] = {}
    for number, part in parts.items():
        group = part.group
        streams = [
            [results[which][outlet]]
            if kind == "value"
            else _one_of(b, which, outlet)
            if outlet
            else _tokens_in(b, which, len(ins[which].ring), ins[which].rate)
            for kind, which, outlet in part.sources
        ]
        if group.prebuilt:
            return _router_code(number, part, ins, every)
        if isinstance(b, Guarded):
            for read in part.sums:
                streams[read] = [b.guard_sum(number, read, group.first.type, streams[read][0])]
        results[number] = _trace_group(b, number, group, streams, part.slots)
        for outlet, out in part.outs:
            values = tuple(results[number][outlet])
            rate = rate_out(group.first, outlet)
            step, rate = 0 if out.cycle else rate, rate // group.spread
            planes = len(values) // rate
            measured = group.wide and outlet in group.measured and (number, outlet) not in power_at
            if measured:  # a sum is known when its kernel ends
                power_at[number, outlet] = "port", (len(outlets),)
            outlets.append(OutPort(out.mode, planes, rate, step, planes * measured))
            stores.append(values)
        for outlet in () if group.wide else group.measured:
            squared = (
                [tuple(roots) for at, roots in b.heats.items() if at.startswith(f"{number}.")]
                if outlet == DISSIPATED
                else _measured_planes(b, group, outlet, results[number][outlet])
            )
            places = tuple(powers.setdefault(some, len(powers)) for some in squared)
            power_at[number, outlet] = "lane", places
    kernel = Kernel(
        tuple(b.values),
        tuple(InPort(i.mode, len(i.ring), i.rate, i.step) for i in ins),
        tuple(outlets),
        tuple((name, value.type) for name, value in b.slots.items()),
        tuple(StateSlot(name, value.type) for name, value in b.states.items()),
        tuple(b.line_lengths),
        tuple(b.nexts[name] for name in b.states),
        tuple(stores),
        skewed=any(part.group.skewed for part in parts.values()),
        across=all(part.group.across for part in parts.values()),
        backward=all(part.group.first.type.backward for part in parts.values()),
        powers=tuple(powers),
        every=every if power_at else 1,
    )
    return Code(
        kernel,
        tuple(b.inits.values()),
        tuple(b.line_lengths.values()),
        power_at,
        finish=_finishing(b, kernel) if b.totals else None,
        totals=tuple(b.totals),
    )


def _finishing(b: Trace, kernel: Kernel) -> Kernel:
    """The kernel that stores the totals of a trace, of what ``kernel`` has left in its states."""
    states, totals = tuple(b.states.values()), tuple(b.totals.values())
    return Kernel(
        tuple(ancestors((*states, *totals))),
        (),
        (OutPort("ring", len(totals)),),
        kernel.params,
        kernel.states,
        (),
        states,
        (totals,),
    )


def _router_code(number: int, part: Part, ins: list[InBinding], every: int) -> Code:
    """What a router of the scheduler reads and writes."""
    outlets, power_at = measured_tables(number, part)
    kernel = Kernel((), tables_in(ins), outlets, (), (), (), (), (), part.group.prebuilt)
    kernel = replace(kernel, every=every if power_at else 1)
    return Code(kernel, (), (), power_at)


def tables_in(ins: list[InBinding]) -> tuple[InPort, ...]:
    """In ports of a kernel that works on whole blocks."""
    return tuple(InPort("table", len(one.ring), one.rate, one.step) for one in ins)


def measured_tables(
    number: int, part: Part
) -> tuple[tuple[OutPort, ...], dict[tuple[int, int], tuple[str, tuple[int, ...]]]]:
    """Out ports of a group that writes tables, and where the power of its outlets is."""
    group = part.group
    ports = [outlet for outlet, _ in part.outs]
    power_at: dict[tuple[int, int], tuple[str, tuple[int, ...]]] = {
        (number, outlet): ("port", (ports.index(outlet),))
        for outlet in group.measured
        if outlet in ports
    }
    measured = {at[0] for _, at in power_at.values()}
    kind = group.first.type  # what has a twin in IR is measured as that is, plane by plane
    sums = group.planes if kind.router or kind.has_forward() else 1
    outlets = []
    for port, (outlet, out) in enumerate(part.outs):
        rate = rate_out(group.first, outlet)
        step = 0 if out.cycle else rate
        outlets.append(OutPort("table", group.planes, rate, step, sums * (port in measured)))
    return tuple(outlets), power_at


def trace_alone(group: Group, sample_rate: float, widths: Sequence[int] = ()) -> Trace:
    """The trace of one member of ``group``; a node that sees all channels reads streams of ``widths``."""
    b = Trace(sample_rate)
    ports = len(group.takes or group.reads) + (group.first.type.border == "input")
    whole = group.first.type.channels == "all"
    streams = [
        _tokens_in(
            b,
            port,
            widths[port] if whole else 1,
            1 if group.takes or not group.reads else group.reads[port].rate,
        )
        for port in range(ports)
    ]
    _trace_group(b, 0, group, streams, 0)
    return b


def _tokens_in(b: Trace, port: int, planes: int, rate: int) -> list[list[Value]]:
    """What a firing reads from an in port: by token, by plane."""
    return [
        [b.emit("inlet", attribute=(port, token * planes + plane)) for plane in range(planes)]
        for token in range(rate)
    ]


def _one_of(b: Trace, port: int, more: int) -> list[list[Value]]:
    """The token of that in port, or of ``more`` next ones, that is not silent: its bits, for a sum
    would lose the sign of zero."""
    bits = b.emit("bits", b.emit("inlet", attribute=(port, 0)))
    for other in range(port + 1, port + more + 1):
        value = b.emit("inlet", attribute=(other, 0))
        bits = b.emit("ior", bits, b.emit("bits", value))
    return [[b.emit("from_bits", bits)]]


def _measured_planes(
    b: Trace, group: Group, outlet: int, values: list[Value]
) -> list[tuple[Value, ...]]:
    """What of an outlet's ``values``, by token and plane, is measured: each plane's tokens, and of an
    uneven rate those that the firing writes."""
    counts = group.first.type.counts(type(group.first.type).outlets[outlet])
    planes = len(values) * group.spread // max(counts)
    tokens = [values[first : first + planes] for first in range(0, len(values), planes)]
    if len({*counts}) > 1:
        k, size = b.emit("to_float", b.clock()), float(len(counts))
        phase = b.sub(k, b.mul(b.floor(b.div(k, size)), size))
        for token, row in enumerate(tokens):
            written = b.const(0.0)
            for i, count in enumerate(counts):
                if token < count:
                    written = b.select(b.emit("eq", phase, float(i)), 1.0, written)
            tokens[token] = [b.select(b.lt(0.0, written), value, 0.0) for value in row]
    return [tuple(row[plane] for row in tokens) for plane in range(planes)]


def rate_out(node: Node, outlet: int) -> int:
    """Tokens that ``forward`` returns for an outlet."""
    outlets = type(node.type).outlets
    return max(node.type.counts(outlets[outlet])) if outlets else 1


def _trace_group(
    b: Trace, number: int, group: Group, streams: list[list[list[Value]]], slots: int
) -> list[list[Value]]:
    """Values of each outlet, by token and plane; ``streams`` are by token and plane too."""
    node = group.first
    if group.wide:
        return [streams[0][0]]
    if group.takes:
        b.enter(f"{number}.0", node.type, f"{slots}.0")
        return [[b.value(call_forward(b, node, [stream[0][0] for stream in streams]))]]
    if node.type.channels == "all":
        b.enter(f"{number}.0", node.type, f"{slots}.0")
        lists = arguments(b, node, streams, one_or_all, constant_list)
        result = call_forward(b, node, lists)
        outlets = [result] if len(type(node.type).outlets) <= 1 else result
        return [
            [b.value(value) for planes in by_token(node, i, outlet) for value in planes]
            for i, outlet in enumerate(outlets)
        ]
    per_plane = []
    for plane in range(group.planes):
        b.enter(f"{number}.{plane}", node.type, f"{slots}.{plane}")
        values = arguments(
            b,
            node,
            streams,
            lambda tokens, p=plane: one_or_all([t[p if len(t) > 1 else 0] for t in tokens]),
            lambda b, name, _: b.slot(name),
        )
        result = call_forward(b, node, values)
        results = result if isinstance(result, tuple) else (result,)
        per_plane.append([by_token(node, i, outlet) for i, outlet in enumerate(results)])
    return [
        [b.value(value) for planes in zip(*outlet, strict=True) for value in planes]
        for outlet in zip(*per_plane, strict=True)
    ]


def one_or_all(tokens: list[Any]) -> Any:
    """What ``forward`` gets of an inlet: its token, or the list of them if a firing reads more."""
    return tokens[0] if len(tokens) == 1 else tokens


def by_token(node: Node, outlet: int, result: Any) -> list[Any]:
    """What ``forward`` returned for an outlet, by token."""
    return [result] if rate_out(node, outlet) == 1 else list(result)


def call_forward(b: Trace, node: Node, arguments: list[Any]) -> Any:
    """What the node's ``forward`` returns; an error says which node it was."""
    try:
        result = _without_data(node.type).forward(b, *arguments)
    except AmpError as error:
        if error.where:
            raise
        where = _where(node, error)
        raise type(error)(
            error.rule, expected=error.expected, got=error.got, where=where, fix=error.fix
        ) from error
    except Exception as error:
        raise BadNode(
            f"{node.kind}.forward is made of the operations of its first argument",
            got=f"{type(error).__name__}: {error}",
            where=_where(node, error),
            fix="write b.sin(x) and x * x, and b.select(condition, x, y) for a choice",
        ) from error
    if missing := [name for name in b.states if name not in b.nexts]:
        raise BadNode(
            "forward sets the next value of each of its states",
            expected=f"b.next({missing[0].rpartition('.')[2]!r}, value)",
            where=str(node),
        )
    _check_result(node, result)
    if isinstance(b, Guarded) and node.type.border not in {"output", "probe"}:
        return b.guard(result)  # what they are given is finite, or another node's
    return result


def _where(node: Node, error: Exception) -> str:
    """The node, and the line of its ``forward`` that raised ``error``."""
    place = raised_at(error)
    return f"{node}, at {place}" if place else str(node)


def _check_result(node: Node, result: Any) -> None:
    """Refuse what ``forward`` returned unless it is a token for each outlet."""
    outlets = len(type(node.type).outlets)
    given = len(result) if isinstance(result, tuple) else int(result is not None)
    if given != max(outlets, 1):
        raise BadNode(
            f"{node.kind}.forward returns a value for each outlet, as a tuple if there are several",
            expected=str(outlets),
            got=str(given),
            where=str(node),
        )
    rearranged = type(node.type).takes is not NodeType.takes
    for outlet, value in enumerate(result if isinstance(result, tuple) else (result,)):
        rate = 1 if rearranged else rate_out(node, outlet)
        tokens = [value] if rate == 1 else _several(node, value, rate, "tokens as its rate says")
        for token in tokens:
            whole = node.type.channels == "all"
            numbers = _several(node, token, node.channels, "channels") if whole else [token]
            for number in numbers:
                _check_number(node, number)


def _several(node: Node, value: Any, count: int, what: str) -> list[Any]:
    """The ``count`` items of what ``forward`` returned for an outlet, or for a token of it."""
    if isinstance(value, list | tuple) and len(value) == count:
        return list(value)
    raise BadNode(
        f"{node.kind}.forward returns a list for an outlet, of as many {what}",
        expected=str(count),
        got=str(len(value)) if isinstance(value, list | tuple) else repr(value),
        where=str(node),
    )


def _check_number(node: Node, value: Any) -> None:
    if not isinstance(value, int | float) and getattr(value, "type", "") != "f64":
        raise BadNode(
            f"{node.kind}.forward returns numbers that it made with its first argument",
            got=repr(value),
            where=str(node),
            fix="b.select(condition, 1.0, 0.0) makes a number of a condition",
        )


class _Data:
    """A param's place in a traced node: nodes that share the code differ in it."""

    def __init__(self, name: str) -> None:
        self._name = name

    def _refuse(self, *_: object) -> Any:
        raise BadNode(
            "forward reads its params through its first argument, for nodes that share its code "
            "differ in them",
            got=f"self.{self._name}",
            fix=f"write b.param({self._name!r})",
        )

    __float__ = __int__ = __index__ = __bool__ = __array__ = __iter__ = __len__ = _refuse
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __getitem__ = _refuse
    __truediv__ = __rtruediv__ = __pow__ = __rpow__ = __neg__ = __abs__ = _refuse
    __lt__ = __le__ = __gt__ = __ge__ = _refuse


def _without_data(kind: NodeType) -> NodeType:
    """``kind`` as ``forward`` may see it."""
    if not type(kind).params:
        return kind
    seen = copy.copy(kind)
    vars(seen).update((name, _Data(name)) for name in type(kind).params)
    return seen


def constant_list(b: Trace, name: str, source: Any) -> list[Value]:
    value = value_of(source)
    count = value.shape[1] if np.ndim(value) == 2 else 1
    return [b.slot(f"{name}.{channel}") for channel in range(count)]


def arguments(b: Trace, node: Node, streams: Iterable[Any], pick: Any, constant: Any) -> list[Any]:
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
