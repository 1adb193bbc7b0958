"""The stable text form of a kernel: printed for people, golden tests and cache keys, and parsed back."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from amp.errors import BadIR
from amp.ir.build import Builder, InPort, Kernel, OutPort, StateSlot
from amp.ir.ops import OPS

if TYPE_CHECKING:
    from amp.ir.build import Attribute, Value


def print_kernel(kernel: Kernel) -> str:
    """Text of ``kernel``, one value a line.

    Examples
    --------
    >>> b = Builder()
    >>> x = b.emit("inlet", attribute=(0, 0))
    >>> out = x * 0.5
    >>> print(print_kernel(Kernel(tuple(b.values), (InPort("aligned", 1),), (OutPort("ring", 1),),
    ...                           (), (), (), (), ((out,),))))
    in 0 aligned 1
    out 0 ring 1
    %0 = inlet 0.0
    %1 = const 0.5
    %2 = mul %0 %1
    store 0.0 %2
    """
    lines = [f"archetype {kernel.archetype}"] if kernel.archetype else []
    lines += ["skewed"] if kernel.skewed else []
    lines += [f"in {i} {port.mode} {port.planes}" for i, port in enumerate(kernel.inlets)]
    lines += [f"out {i} {port.mode} {port.planes}" for i, port in enumerate(kernel.outlets)]
    lines += [f"param {name} {kind}" for name, kind in kernel.params]
    lines += [f"state {slot.name} {slot.type}" for slot in kernel.states]
    lines += [f"line {name}" for name in kernel.lines]
    lines += [f"%{v.index} = {_right_hand(v)}" for v in kernel.values]
    pairs = zip(kernel.states, kernel.nexts, strict=True)
    lines += [f"next {slot.name} %{value.index}" for slot, value in pairs]
    lines += [
        f"store {port}.{plane} %{value.index}"
        for port, planes in enumerate(kernel.stores)
        for plane, value in enumerate(planes)
    ]
    return "\n".join(lines)


def _right_hand(value: Value) -> str:
    words = [value.op, *(f"%{operand.index}" for operand in value.operands)]
    if isinstance(value.attribute, tuple):
        words.insert(1, f"{value.attribute[0]}.{value.attribute[1]}")
    elif value.attribute is not None:
        words.insert(1, repr(value.attribute).strip("'"))
    return " ".join(words)


_READ_ATTRIBUTE = {
    "float": float,
    "int": int,
    "name": str,
    "port": lambda text: tuple(int(part) for part in text.split(".")),
}


def parse_kernel(text: str) -> Kernel:
    """Kernel of a text made by `print_kernel`; equal values come out as one.

    Raises
    ------
    BadIR
        With the line that cannot be read.
    """
    builder = Builder()
    named: dict[str, Value] = {}
    inlets, outlets, params, states, lines, nexts = [], [], [], [], [], []
    stores: dict[int, list[Value]] = {}
    archetype, skewed = "", False
    for line in text.splitlines():
        words = line.split()
        try:
            match words:
                case ["archetype", name]:
                    archetype = name
                case ["skewed"]:
                    skewed = True
                case ["in", _, mode, planes]:
                    inlets.append(InPort(mode, int(planes)))
                case ["out", _, mode, planes]:
                    outlets.append(OutPort(mode, int(planes)))
                case ["param", name, kind]:
                    params.append((name, kind))
                case ["state", name, kind]:
                    states.append(StateSlot(name, kind))  # type: ignore[arg-type]
                case ["line", name]:
                    lines.append(name)
                case ["next", _, value]:
                    nexts.append(named[value])
                case ["store", place, value]:
                    stores.setdefault(int(place.split(".")[0]), []).append(named[value])
                case [name, "=", op, *rest] if re.fullmatch(r"%\d+", name):
                    kind = OPS[op].attribute
                    attribute: Attribute = _READ_ATTRIBUTE[kind](rest.pop(0)) if kind else None
                    named[name] = builder.emit(op, *(named[r] for r in rest), attribute=attribute)
                case []:
                    continue
                case _:
                    raise ValueError(line)
        except (KeyError, ValueError, IndexError) as error:
            raise BadIR("a line of IR text cannot be read", got=line) from error
    return Kernel(
        tuple(builder.values),
        tuple(inlets),
        tuple(outlets),
        tuple(params),  # type: ignore[arg-type]
        tuple(states),
        tuple(lines),
        tuple(nexts),
        tuple(tuple(stores.get(port, ())) for port in range(len(outlets))),
        archetype,
        skewed,
    )
