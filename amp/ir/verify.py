"""The rules that every kernel obeys before and after each pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amp.errors import BadIR
from amp.ir.build import OutPort
from amp.ir.ops import OPS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from amp.ir.build import BlockCall, InPort, Kernel, Value

_ATTRIBUTE_TYPES = {"": type(None), "float": float, "int": int, "name": str, "port": tuple}
_MODES_IN = {"aligned", "uniform", "table"}
_MODES_OUT = {"ring", "table", "sum"}


def verify(kernel: Kernel) -> Kernel:
    """Return ``kernel`` unchanged, or raise.

    Raises
    ------
    BadIR
        Naming the first rule broken and the value that breaks it.
    """
    _verify_values(kernel)
    _verify_modes(kernel)
    if kernel.block is None:
        _verify_ports(kernel)
    else:
        _verify_block(kernel, kernel.block)
    known = {id(v) for v in kernel.values}
    for root in kernel.roots:
        if id(root) not in known:
            raise BadIR("an effect uses a value of the kernel", got=repr(root))
    types = [slot.type for slot in kernel.states]
    for slot, value in zip(kernel.states, kernel.nexts, strict=kernel.block is None):
        if value.type != slot.type:
            raise BadIR(f"next of state {slot.name} is {slot.type}", got=repr(value))
    if any(slot.count != 1 for slot in kernel.states if kernel.block is None):
        raise BadIR("a state is one number, but of the call of a block")
    if any(kind not in {"f64", "i64", "turn"} for kind in types):
        raise BadIR("a state is f64, i64 or turn", got=str(types))
    if kernel.every < 1 or any(v.type != "f64" for some in kernel.powers for v in some):
        raise BadIR(
            "the squares of f64 are added up every so many firings", got=repr(kernel.powers)
        )
    return kernel


def _verify_values(kernel: Kernel) -> None:
    seen: set[int] = set()
    names = {
        "param": {name for name, kind in kernel.params if kind == "f64"},
        "iparam": {name for name, kind in kernel.params if kind == "i64"},
        "state": {slot.name for slot in kernel.states if slot.type == "f64"},
        "istate": {slot.name for slot in kernel.states if slot.type == "i64"},
        "tstate": {slot.name for slot in kernel.states if slot.type == "turn"},
        "line": set(kernel.lines),
        "pool": set(kernel.lines),
    }
    for value in kernel.values:
        spec = OPS.get(value.op)
        if spec is None:
            raise BadIR("every operation is in the closed set", got=repr(value))
        if tuple(v.type for v in value.operands) != spec.operands:
            raise BadIR(f"{value.op} takes {spec.operands}", got=repr(value.operands))
        if not all(id(v) in seen for v in value.operands):
            raise BadIR("operands come before their users", got=_line(value))
        if not isinstance(value.attribute, _ATTRIBUTE_TYPES[spec.attribute]):
            raise BadIR(f"{value.op} has an attribute of kind {spec.attribute!r}", got=_line(value))
        if value.op in names and value.attribute not in names[value.op]:
            raise BadIR(f"{value.op} names a declared slot", got=_line(value))
        if isinstance(value.attribute, tuple):
            port, plane = value.attribute
            inlets = kernel.inlets
            if not (
                0 <= port < len(inlets) and 0 <= plane < inlets[port].planes * inlets[port].rate
            ):
                raise BadIR("an inlet names a declared port and plane", got=_line(value))
        seen.add(id(value))


def _verify_modes(kernel: Kernel) -> None:
    sides: list[tuple[Sequence[InPort | OutPort], set[str]]]
    sides = [(kernel.inlets, _MODES_IN), (kernel.outlets, _MODES_OUT)]
    for ports, modes in sides:
        for port in ports:
            if isinstance(port, OutPort) and port.sums:
                if not (kernel.archetype or port.mode == "sum"):
                    raise BadIR("a measured out port is a sum's or an archetype's", got=repr(port))
                if port.sums not in {1, port.planes}:
                    raise BadIR("an out port has one sum, or one for each plane", got=repr(port))
            if port.mode not in modes or min(port.planes, port.rate, port.step + 1) < 1:
                raise BadIR(f"a port's mode is one of {sorted(modes)}", got=repr(port))


def _verify_ports(kernel: Kernel) -> None:
    ports: list[InPort | OutPort] = [*kernel.inlets, *kernel.outlets]
    if kernel.skewed and (
        [port.mode in {"uniform", "table"} for port in kernel.inlets] != [True]
        or any(port.mode == "sum" or port.planes != 1 for port in kernel.outlets)
        or any(port.step != 1 for port in ports)
        or len({value.index for port in kernel.stores for value in port}) > 1
        or kernel.lines
        or any(value.op == "clock" for value in kernel.values)
    ):
        raise BadIR("a skewed kernel has one lane in, one value out, no lines and no clock")
    if kernel.across and (
        kernel.states or kernel.lines or any(port.step != 1 or port.mode == "sum" for port in ports)
    ):
        raise BadIR("a kernel across time has no memory, no sums, and rates of 1")
    if len(kernel.stores) != len(kernel.outlets):
        raise BadIR("each out port has its stores", got=f"{len(kernel.stores)} stores")
    for outlet, planes in zip(kernel.outlets, kernel.stores, strict=True):
        if len(planes) != outlet.planes * outlet.rate:
            raise BadIR(f"an out port of {outlet.planes} planes stores each", got=repr(planes))
        if outlet.mode == "sum" and outlet.step != 1:
            raise BadIR("a sum writes one token a firing", got=repr(outlet))
        if any(value.type != "f64" for value in planes):
            raise BadIR("a token is f64", got=repr(planes))


def _verify_block(kernel: Kernel, block: BlockCall) -> None:
    if kernel.values or kernel.nexts or kernel.lines or not kernel.archetype:
        raise BadIR("the call of a block is of an archetype, and has no values, nexts or lines")
    if kernel.archetype == "native" and [kind for _, kind in kernel.params[:1]] != ["i64"]:
        raise BadIR("a function of the user's has its address as first param")
    ports: list[InPort | OutPort] = [*kernel.inlets, *kernel.outlets]
    if any(port.mode != "table" for port in ports):
        raise BadIR("the call of a block reads and writes tables")
    ends = {
        "in": [port.planes for port in kernel.inlets],
        "constant": [planes for _, planes in block.constants],
    }
    for kind, number, planes in (*block.inlets, *block.cotangents):
        if kind not in {"none", "zero"} and [planes] != ends.get(kind, [])[number : number + 1]:
            raise BadIR("an argument is an in port or a constant", got=f"{kind} {number} {planes}")
    written = [port for _, _, some in block.outlets for port in some]
    if sorted(written) != list(range(len(kernel.outlets))) or any(
        (kernel.outlets[port].planes, kernel.outlets[port].rate) != (planes, rate)
        for rate, planes, some in block.outlets
        for port in some
    ):
        raise BadIR("each out port is one outlet's, and as wide and fast as that", got=str(written))
    words = sum(slot.count for slot in kernel.states)
    if any(not 0 <= at < words for _, at in block.sums) or block.params >= words:
        raise BadIR("a sum is one of the states", got=str(block.sums))


def _line(value: Value) -> str:
    return f"{value!r} {value.attribute!r} of {value.operands!r}"
