"""The ``forward`` of one node, traced alone, and what is asked of its adjoint."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from amp.contract import Param, Take, Trace
from amp.errors import NotDifferentiable
from amp.frozen import Edge
from amp.jit.trace import arguments, by_token, call_forward, constant_list, one_or_all

if TYPE_CHECKING:
    from collections.abc import Sequence

    from amp.frozen import Node
    from amp.ir import Value

    Planes = list[list[Value]]
    """The tokens of a firing, each with a value for every plane."""

SCOPE = "0.0"
"""Scope of the trace."""


@dataclass(frozen=True)
class Pattern:
    """What the adjoints of equal nodes have in common.

    Attributes
    ----------
    wanted
        Edges whose cotangents are asked for.
    params
        Slots whose cotangents are asked for.
    readers
        Of each outlet how many cotangents arrive.
    """

    wanted: tuple[int, ...]
    params: tuple[str, ...]
    readers: tuple[int, ...]


@dataclass
class Traced:
    """The ``forward`` of one node, alone: what it reads by edge, and what its outlets give."""

    node: Node
    trace: Trace
    inlets: list[Planes]
    outlets: list[Planes]
    takes: list[Take]
    kept: list[Value] = field(default_factory=list)

    @classmethod
    def of(cls, node: Node, widths: Sequence[int], sample_rate: float) -> Traced:
        """Trace ``node``, whose edges have ``widths`` channels."""
        b, kind = Trace(sample_rate), node.type
        whole = kind.channels == "all"
        takes = kind.takes(list(widths))
        rates = [1] * len(takes) or edge_rates(node)
        planes = widths if whole else [1] * len(rates)
        inlets = [
            [
                [b.emit("inlet", attribute=(i, token * count + p)) for p in range(count)]
                for token in range(rate)
            ]
            for i, (rate, count) in enumerate(zip(rates, planes, strict=True))
        ]
        b.enter(SCOPE, kind)
        if takes:
            result = call_forward(b, node, [tokens[0][0] for tokens in inlets])
        elif whole:
            result = call_forward(b, node, arguments(b, node, inlets, one_or_all, constant_list))
        else:
            lanes = [[[t[0]] for t in tokens] for tokens in inlets]
            result = call_forward(
                b,
                node,
                arguments(
                    b,
                    node,
                    lanes,
                    lambda tokens: one_or_all([t[0] for t in tokens]),
                    lambda b, name, _: b.slot(name),
                ),
            )
        several = len(type(kind).outlets) > 1
        results = list(result) if several else [result]
        outlets = [
            [
                [b.value(v) for v in (token if whole else [token])]
                for token in ([out] if takes else by_token(node, i, out))
            ]
            for i, out in enumerate(results)
        ]
        return cls(node, b, inlets, outlets, takes)

    @property
    def whole(self) -> bool:
        """``forward`` sees all channels at once."""
        return self.node.type.channels == "all"

    @property
    def row(self) -> int:
        """Values that an outlet has room for."""
        return max(1, self.node.channels) if self.whole else 1

    def states(self) -> list[Value]:
        """States that have a cotangent."""
        return [v for v in self.trace.values if v.op in {"state", "tstate"}]

    def starts(self) -> dict[str, list[str]]:
        """States that start with a param, by that."""
        found: dict[str, list[str]] = {}
        for name, initial in self.trace.inits.items():
            if isinstance(initial, str):
                found.setdefault(initial, []).append(name.removeprefix(f"{SCOPE}."))
        return found

    def single(self) -> dict[int, tuple[int, int]]:
        """Values that an outlet of one token is of, by index: outlet and plane."""
        names = type(self.node.type).outlets
        return {
            value.index: (outlet, plane)
            for outlet, tokens in enumerate(self.outlets)
            for plane, value in enumerate(tokens[0])
            if self.node.type.counts(names[outlet]) == (1,) and value.varies and value.op != "inlet"
        }

    def unknown(self) -> list[Value]:
        """Values that no later firing could compute again."""
        values = self.trace.values
        turns = {v.operands[0].index for v in values if v.op == "from_turn"}
        return [v for v in values if v.op in {"state", "istate", "tap"} or v.index in turns]


def edge_counts(node: Node) -> list[tuple[int, ...]]:
    """Tokens that firings of a cycle take of each edge."""
    counts: list[tuple[int, ...]] = []
    for inlet, source in zip(type(node.type).inlets, node.sources, strict=True):
        count = len(source) if isinstance(source, tuple) else isinstance(source, Edge)
        counts += [node.type.counts(inlet.name)] * count
    return counts


def edge_rates(node: Node) -> list[int]:
    """Most tokens that a firing sees of each edge."""
    return [max(counts) for counts in edge_counts(node)]


def wanted_params(node: Node, *, whole: bool = False) -> dict[str, tuple[Param, Any]]:
    """Slots that hold a `Param`'s value: which, and what entry of it; channels, and arrays of the node's own,
    entry by entry, or ``whole``."""
    found: dict[str, tuple[Param, Any]] = {}
    for inlet, source in zip(type(node.type).inlets, node.sources, strict=True):
        if not isinstance(source, Param):
            continue
        if whole or node.type.channels == "each":
            found[inlet.name] = (source, None)
        else:
            count = source.value.shape[1] if source.value.ndim == 2 else 1
            found.update({f"{inlet.name}.{i}": (source, i) for i in range(count)})
    for name in type(node.type).params:
        value = getattr(node.type, name)
        if isinstance(value, Param) and whole:
            found[name] = value, None if value.value.size > 1 else (0,) * value.value.ndim
        elif isinstance(value, Param):
            for index in np.ndindex(value.value.shape):
                slot = f"{name}[{','.join(map(str, index))}]" if index else name
                found[slot] = (value, index)
    return found


def refuse(node: Node, why: str) -> NotDifferentiable:
    """The error that names ``node``."""
    return NotDifferentiable(
        "a backward pass goes through every node between what is asked for and the outputs",
        got=why,
        where=str(node),
    )
