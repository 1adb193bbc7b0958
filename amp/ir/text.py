"""The stable text form of a kernel: printed for people, golden tests and cache keys, and parsed back."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from amp.errors import BadIR
from amp.ir.build import BlockCall, Builder, InPort, Kernel, OutPort, StateSlot
from amp.ir.ops import OPS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from amp.ir.build import Attribute, Value
    from amp.ir.ops import Type


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
    lines += ["across"] if kernel.across else []
    lines += ["backward"] if kernel.backward else []
    lines += [f"in {i} {_port_words(port)}" for i, port in enumerate(kernel.inlets)]
    lines += [
        f"out {i} {_port_words(port)}{f' sums {port.sums}' * (port.sums > 0)}"
        for i, port in enumerate(kernel.outlets)
    ]
    lines += [f"param {name} {kind}" for name, kind in kernel.params]
    lines += [
        f"state {slot.name} {slot.type}{f' {slot.count}' * (slot.count > 1)}"
        for slot in kernel.states
    ]
    lines += [f"line {name}" for name in kernel.lines]
    lines += [] if kernel.block is None else _block_lines(kernel.block)
    lines += [f"%{v.index} = {_right_hand(v)}" for v in kernel.values]
    pairs = zip(kernel.states, kernel.nexts, strict=kernel.block is None)
    lines += [f"next {slot.name} %{value.index}" for slot, value in pairs]
    lines += [
        f"store {port}.{plane} %{value.index}"
        for port, planes in enumerate(kernel.stores)
        for plane, value in enumerate(planes)
    ]
    lines += [" ".join(["power", *(f"%{v.index}" for v in some)]) for some in kernel.powers]
    lines += [f"every {kernel.every}"] if kernel.every > 1 else []
    return "\n".join(lines)


def _port_words(port: InPort | OutPort) -> str:
    rate = f" rate {port.rate} step {port.step}" if port.step != 1 else ""
    return f"{port.mode} {port.planes}{rate}"


def _block_lines(block: BlockCall) -> list[str]:
    """The call of a block; numbers of a node's own are not in its text, but how many they are."""
    lines = [f"call {block.entry}"]
    lines += [f"log {block.log} {block.memory}"] if block.log else []
    lines += [f"rate {block.sample_rate!r}"] if block.sample_rate else []
    rows: list[tuple[str, Sequence[Any]]] = [("sizes", block.sizes)] if block.sizes else []
    rows += [("table", row) for row in block.tables]
    rows += [("constant", row) for row in block.constants]
    rows += [("argument", row) for row in block.inlets]
    rows += [("cotangent", row) for row in block.cotangents]
    rows += [("result", (rate, planes, *ports)) for rate, planes, ports in block.outlets]
    rows += [("sum", row) for row in block.sums]
    rows += [("gradient", [block.params])] if block.params >= 0 else []
    return [*lines, *[" ".join([word, *map(str, row)]) for word, row in rows]]


def _right_hand(value: Value) -> str:
    words = [value.op, *(f"%{operand.index}" for operand in value.operands)]
    if isinstance(value.attribute, tuple):
        words.insert(1, f"{value.attribute[0]}.{value.attribute[1]}")
    elif value.attribute is not None:
        words.insert(1, repr(value.attribute).strip("'"))
    return " ".join(words)


def _port(text: str) -> tuple[int, int]:
    port, plane = text.split(".")
    return int(port), int(plane)


def _rate(words: list[str]) -> list[int]:
    """What follows a port's planes: nothing, or ``rate n step m``."""
    match words:
        case []:
            return []
        case ["rate", count, "step", step]:
            return [int(count), int(step)]
    raise ValueError(words)


_READ_ATTRIBUTE: dict[str, Callable[[str], Attribute]] = {
    "float": float,
    "int": int,
    "name": str,
    "port": _port,
}


def parse_kernel(text: str) -> Kernel:
    """Kernel of a text made by `print_kernel`; equal values come out as one.

    Raises
    ------
    BadIR
        With the line that cannot be read.
    """
    reader = _Reader()
    for line in text.splitlines():
        words = line.split()
        try:
            if words and not (reader.declare(words) or reader.define(words)):
                raise ValueError(line)
        except (KeyError, ValueError, IndexError) as error:
            raise BadIR("a line of IR text cannot be read", got=line) from error
    return reader.kernel()


class _Reader:
    """A kernel as far as it has been read."""

    def __init__(self) -> None:
        self.builder = Builder()
        self.named: dict[str, Value] = {}
        self.inlets: list[InPort] = []
        self.outlets: list[OutPort] = []
        self.params: list[tuple[str, Type]] = []
        self.states: list[StateSlot] = []
        self.lines: list[str] = []
        self.nexts: list[Value] = []
        self.stores: dict[int, list[Value]] = {}
        self.archetype, self.skewed, self.across, self.backward = "", False, False, False
        self.block: BlockCall | None = None
        self.powers: list[tuple[Value, ...]] = []
        self.every = 1

    def declare(self, words: list[str]) -> bool:
        """Read a line that says what the kernel has."""
        match words:
            case ["archetype", name]:
                self.archetype = name
            case ["skewed" | "across" | "backward" as way]:
                setattr(self, way, True)
            case ["in", _, mode, planes, *rate]:
                self.inlets.append(InPort(mode, int(planes), *_rate(rate)))
            case ["out", _, mode, planes, *rate]:
                sums = int(rate.pop()) if rate[-2:-1] == ["sums"] else 0
                count, step = _rate(rate[: len(rate) - (sums > 0)]) or [1, 1]
                self.outlets.append(OutPort(mode, int(planes), count, step, sums))
            case ["every", count]:
                self.every = int(count)
            case ["param", name, kind]:
                self.params.append((name, cast("Type", kind)))
            case ["state", name, kind, *count]:
                self.states.append(StateSlot(name, cast("Type", kind), *map(int, count)))
            case ["line", name]:
                self.lines.append(name)
            case _:
                return self._declare_call(words)
        return True

    def _declare_call(self, words: list[str]) -> bool:
        """Read a line about the call of a block."""
        block = self.block
        match words:
            case ["call", entry]:
                block = BlockCall(entry)
            case ["log", slots, memory] if block:
                block = replace(block, log=int(slots), memory=int(memory))
            case ["rate", rate] if block:
                block = replace(block, sample_rate=float(rate))
            case ["sizes", *sizes] if block:
                block = replace(block, sizes=tuple(map(int, sizes)))
            case ["table", name, count] if block:
                block = replace(block, tables=(*block.tables, (name, int(count))))
            case ["constant", name, planes] if block:
                block = replace(block, constants=(*block.constants, (name, int(planes))))
            case ["argument", kind, first, planes] if block:
                block = replace(block, inlets=(*block.inlets, (kind, int(first), int(planes))))
            case ["cotangent", kind, first, planes] if block:
                row = kind, int(first), int(planes)
                block = replace(block, cotangents=(*block.cotangents, row))
            case _:
                return self._declare_result(words)
        self.block = block
        return True

    def _declare_result(self, words: list[str]) -> bool:
        """Read a line about what such a call leaves."""
        block = self.block
        match words:
            case ["result", rate, planes, *ports] if block:
                outlet = int(rate), int(planes), tuple(map(int, ports))
                block = replace(block, outlets=(*block.outlets, outlet))
            case ["sum", result, state] if block:
                block = replace(block, sums=(*block.sums, (int(result), int(state))))
            case ["gradient", state] if block:
                block = replace(block, params=int(state))
            case _:
                return False
        self.block = block
        return True

    def define(self, words: list[str]) -> bool:
        """Read a line that makes or uses a value."""
        match words:
            case ["next", _, value]:
                self.nexts.append(self.named[value])
            case ["store", place, value]:
                port, _ = _port(place)
                self.stores.setdefault(port, []).append(self.named[value])
            case ["power", *values]:
                self.powers.append(tuple(self.named[value] for value in values))
            case [name, "=", op, *rest] if re.fullmatch(r"%\d+", name):
                kind = OPS[op].attribute
                attribute = _READ_ATTRIBUTE[kind](rest.pop(0)) if kind else None
                operands = [self.named[operand] for operand in rest]
                self.named[name] = self.builder.emit(op, *operands, attribute=attribute)
            case _:
                return False
        return True

    def kernel(self) -> Kernel:
        """The kernel, when all lines are read."""
        return Kernel(
            tuple(self.builder.values),
            tuple(self.inlets),
            tuple(self.outlets),
            tuple(self.params),
            tuple(self.states),
            tuple(self.lines),
            tuple(self.nexts),
            tuple(tuple(self.stores.get(port, ())) for port in range(len(self.outlets))),
            self.archetype,
            self.skewed,
            self.across,
            self.backward,
            self.block,
            tuple(self.powers),
            self.every,
        )
