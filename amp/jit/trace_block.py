"""Kernels that hand whole blocks to a function: what it is given, and what it remembers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from amp.contract import NATIVE, Trace, array_of, value_of
from amp.errors import BadNode
from amp.ir import BlockCall, Kernel, StateSlot
from amp.jit.archetypes import load
from amp.jit.lowered import Code
from amp.jit.trace import arguments, measured_tables, rate_out, tables_in

if TYPE_CHECKING:
    from amp.contract import NodeType
    from amp.jit.lowered import InBinding
    from amp.jit.trace import Part

    Argument = tuple[str, int, int]

STATE = "state"
"""Name of what an archetype remembers."""
PREPARED = "prepared"
"""Name of the numbers behind an archetype's params that are made of them."""
GRADIENT = "gradient."
"""First letters of the name of a state that adds up the cotangent of a param."""
LOG = "log"
"""Name of the address where states are put down in which calls begin."""
NONE: Argument = ("none", 0, 0)


@dataclass(frozen=True)
class Reverse:
    """What the adjoint of a block's call turns round: its node type says so as ``reverse``.

    Attributes
    ----------
    inlets
        For each inlet of the node its name, and the adjoint's inlets that stand for it: streams, or a constant.
    outlets
        For each outlet of the node its tokens a firing, and the adjoint's inlet of its cotangent or nothing.
    planes
        Channels of those that a lane has.
    params
        Inlets with constants, and params of the node, whose cotangents are asked for.
    """

    inlets: tuple[tuple[str, tuple[str, ...]], ...]
    outlets: tuple[tuple[int, str], ...]
    planes: int
    params: tuple[str, ...]


def trace_block(part: Part, ins: list[InBinding], sample_rate: float, every: int) -> Code:
    """Code of the kernel of a node that an archetype or a function of the user's computes, or turns round."""
    return _Tracing(part, ins, sample_rate).code(every)


def log_slots(kind: NodeType) -> int:
    """States that a node's ``log`` has room for."""
    slots: int = getattr(kind, "log_slots", 0)
    return slots


class _Tracing:
    def __init__(self, part: Part, ins: list[InBinding], sample_rate: float) -> None:
        self.part, self.ins, self.group = part, ins, part.group
        self.node, self.kind = self.group.first, self.group.first.type
        self.name = self.group.archetype
        self.reverse: Reverse | None = getattr(self.kind, "reverse", None)
        self.b = Trace(sample_rate)
        self.b.enter("0.0", self.kind)
        if self.name == NATIVE:
            self.b.slot("address", integer=True)
        self.slots = log_slots(self.kind)
        if self.slots:
            self.b.slot(LOG, integer=True)
        self.constants: list[tuple[str, int]] = []
        self.given = self._given()
        self.states: list[StateSlot] = []
        self.inits: list[float] = []

    def code(self, every: int) -> Code:
        """The kernel, and what its slots hold."""
        outlets, power_at = measured_tables(0, self.part)
        block = self._turned() if self.reverse else self._called()
        kernel = Kernel(
            (),
            tables_in(self.ins),
            outlets,
            tuple((slot, value.type) for slot, value in self.b.slots.items()),
            tuple(self.states),
            (),
            (),
            (),
            self.name,
            backward=self.kind.backward,
            block=block,
            every=every if power_at else 1,
        )
        return Code(kernel, tuple(self.inits), (), power_at)

    def _given(self) -> dict[str, list[Argument]]:
        """What a function is given for each inlet: an in port, a constant, or nothing; of a variadic one,
        for each stream."""

        def constant(_: Trace, name: str, source: Any) -> Argument:
            value = value_of(source)
            wide = self.kind.channels == "all" and np.ndim(value) == 2
            self.constants.append((name, np.shape(value)[1] if wide else 1))
            return "constant", len(self.constants) - 1, self.constants[-1][1]

        sources = self.part.sources
        ports = [("in", port, len(self.ins[port].ring)) for _, port, _ in sources]
        found = arguments(self.b, self.node, ports, lambda port: port, constant)
        return {
            inlet.name: [NONE] if one is None else one if isinstance(one, list) else [one]
            for inlet, one in zip(type(self.kind).inlets, found, strict=True)
        }

    def _ports(self, outlet: int) -> tuple[int, ...]:
        """Out ports that get an outlet."""
        return tuple(port for port, (which, _) in enumerate(self.part.outs) if which == outlet)

    def _called(self) -> BlockCall:
        """The call of a node's own function."""
        results = tuple(
            (rate_out(self.node, which), self.group.planes, self._ports(which))
            for which in range(len(type(self.kind).outlets))
        )
        block = self._block("forward", self.given)
        self._remember(self._memory(block))
        return replace(block, outlets=results)

    def _turned(self) -> BlockCall:
        """The call of its adjoint. Of what is asked for, an archetype is told to leave out the rest; the
        user's function writes all."""
        assert self.reverse is not None
        inlets = {
            name: [one for own in names for one in self.given[own]] or [NONE]
            for name, names in self.reverse.inlets
        }
        block = self._block("adjoint", inlets)
        cotangents = tuple(
            self.given[name][0] if name else ("zero", rate, self.reverse.planes)
            for rate, name in self.reverse.outlets
        )
        self._remember(self._memory(block))
        params, tables = -1, [(_own(name), count) for name, count in block.tables[:-1]]
        if any(name in self.reverse.params for name, _ in tables):
            params = self._words
            self._remember([(GRADIENT + name, count, 0.0) for name, count in tables])
        results: list[tuple[int, int, tuple[int, ...]]] = []
        sums: list[tuple[int, int]] = []
        for name, names in self.reverse.inlets:
            rate = self.kind.counts(names[0])[0] if names else 1
            for at, argument in enumerate(inlets[name]):
                if argument[0] == "constant":
                    wanted = name in self.reverse.params
                    if wanted:
                        sums.append((len(results), self._words))
                        self._remember([(GRADIENT + name, argument[2], 0.0)])
                    results.append(self._result(1, argument, () if wanted else None))
                else:
                    results.append(self._result(rate, argument, self._edge(names, at)))
        return replace(
            block,
            outlets=tuple(results),
            cotangents=cotangents,
            sums=tuple(sums),
            params=params,
        )

    def _edge(self, names: tuple[str, ...], at: int) -> tuple[int, ...] | None:
        """Out ports that get the cotangent of a stream; None if no outlet is that."""
        outlet = names[at].replace("stream", "input") if names else ""
        outlets = type(self.kind).outlets
        return self._ports(outlets.index(outlet)) if outlet in outlets else None

    @property
    def _words(self) -> int:
        """Numbers that a lane remembers so far."""
        return sum(slot.count for slot in self.states)

    def _result(
        self, rate: int, argument: Argument, ports: tuple[int, ...] | None
    ) -> tuple[int, int, tuple[int, ...]]:
        """Where the cotangent of an argument goes."""
        kind, _, planes = argument
        if kind == "none" or (ports is None and self.name != NATIVE):
            return 0, 0, ()
        return rate, planes, ports or ()

    def _block(self, entry: str, inlets: dict[str, list[Argument]]) -> BlockCall:
        """The call of a function, so far as it is given what the node reads."""
        flat = tuple(one for some in inlets.values() for one in some)
        if self.name == NATIVE:
            count = len(vars(self.kind)["state"])
            return BlockCall(
                entry,
                flat,
                self.slots,
                count,
                constants=tuple(self.constants),
                sample_rate=self.b.sample_rate,
            )
        kernel, sizes = load(self.name), self._sizes(inlets)
        params = [
            (f"0.0.{n}", array_of(getattr(self.kind, n)).size) for n in type(self.kind).params
        ]
        return BlockCall(
            entry,
            flat,
            self.slots,
            kernel.count("state", sizes),
            sizes=sizes,
            tables=(*params, (PREPARED, kernel.count("prepared", sizes))),
            constants=tuple(self.constants),
        )

    def _memory(self, block: BlockCall) -> list[tuple[str, int, float]]:
        """Name, size and first value of what a lane remembers, or of its cotangent."""
        if self.name == NATIVE:
            named: tuple[tuple[str, float], ...] = vars(self.kind)["state"]
            return [(name, 1, 0.0 if self.reverse else initial) for name, initial in named]
        return [(STATE, block.memory, 0.0)] if block.memory else []

    def _remember(self, some: list[tuple[str, int, float]]) -> None:
        self.states += [StateSlot(f"0.0.{name}", "f64", count) for name, count, _ in some]
        self.inits += [initial for _, _, initial in some]

    def _sizes(self, inlets: dict[str, list[Argument]]) -> tuple[int, ...]:
        """What the node type says of the channels that a lane has of each inlet."""
        widths = {
            name: max(planes for _, _, planes in some)
            for name, some in inlets.items()
            if some and some[0] != NONE
        }
        sizes = self.kind.sizes(widths)
        if not all(isinstance(size, int) and size >= 0 for size in sizes):
            raise BadNode(
                f"{self.node.kind}.sizes are whole numbers from 0",
                got=repr(sizes),
                where=str(self.node),
            )
        return sizes


def _own(slot: str) -> str:
    """The node's own name of a slot."""
    return slot.split(".", 2)[2]
