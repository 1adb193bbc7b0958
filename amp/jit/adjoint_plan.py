"""Transposing the trace of a node, and what of the node that needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from amp.contract import Trace
from amp.errors import NotDifferentiable
from amp.ir import ancestors
from amp.ir.vjp import Cotangents, movable, transpose
from amp.jit.adjoint_trace import SCOPE, refuse

if TYPE_CHECKING:
    from collections.abc import Callable

    from amp.ir import Value
    from amp.jit.adjoint_trace import Pattern, Planes, Traced

GRADIENT = "gradient."
"""First letters of the name of a state that adds up the cotangent of a value that does not vary."""


class Copy:
    """The values of a trace in another one, each when it is first asked for."""

    def __init__(self, b: Trace, traced: Traced, known: Callable[[Value], Value | None]) -> None:
        self._b, self._traced, self._known = b, traced, known
        self._made: dict[int, Value] = {}

    def __call__(self, value: Value) -> Value:
        pending = [value]
        while pending:  # not by recursion: a chain may be long
            now = pending[-1]
            if now.index in self._made:
                pending.pop()
                continue
            found = self._known(now)
            if found is None:
                missing = [v for v in now.operands if v.index not in self._made]
                if missing:
                    pending += missing
                    continue
                found = self._make(now)
            self._made[now.index] = found
        return self._made[value.index]

    def _make(self, value: Value) -> Value:
        b, operands = self._b, [self._made[v.index] for v in value.operands]
        name = str(value.attribute).removeprefix(f"{SCOPE}.")
        match value.op:
            case "param" | "iparam":
                return b.slot(name, integer=value.op == "iparam")
            case "state" | "istate" | "tstate":
                initial: Any = self._traced.trace.inits[f"{SCOPE}.{name}"]
                make = {"state": b.state, "istate": b.istate, "tstate": b.tstate}[value.op]
                return make(name, initial)
            case "line":
                length = self._traced.trace.line_lengths[f"{SCOPE}.{name}"]
                return b.line(name, operands[0], length)
            case "as_if":
                return operands[0]
            case "from_turn" if operands[0].type == "f64":  # a turn that was written down
                return b.fma(*operands)
        return b.emit(value.op, *operands, attribute=value.attribute)


@dataclass
class Plan:
    """An adjoint, made as a trial: which edges and outlets of the node it reads, what it needs written
    down, and the edges that get something."""

    reads: list[int]
    own: list[int]
    kept: list[Value]
    moved: list[int]
    is_identity: bool  # every wanted inlet has the cotangent of the outlet


def plan_adjoint(traced: Traced, pattern: Pattern) -> Plan:
    """What the adjoint of a node reads.

    Where it can do with the node's outlets in place of as many states, they are not written down: others
    may read the outlets too.
    """
    why = type(traced.node.type).not_differentiable
    if why and (pattern.wanted or pattern.params or traced.states()):
        raise refuse(traced.node, why)
    plan = _try(traced, pattern, {})
    if plan.kept and not traced.takes:
        other = _try(traced, pattern, traced.single())
        if len(other.own) + len(other.kept) <= len(plan.kept):
            return other
    return plan


def _try(traced: Traced, pattern: Pattern, own: dict[int, tuple[int, int]]) -> Plan:
    """The same, if values of its outlets are known: ``own``, the outlet and plane by index."""
    b = Trace(traced.trace.sample_rate)
    b.enter(SCOPE, traced.node.type)
    unknown = {value.index: n for n, value in enumerate(traced.unknown())}
    first = len(traced.inlets)
    seeds_at = first + len(unknown)
    own_at = seeds_at + len(traced.outlets)

    def known(value: Value) -> Value | None:
        if value.index in own:
            outlet, plane = own[value.index]
            return b.emit("inlet", attribute=(own_at + outlet, plane))
        if value.index in unknown:
            return read_kept(b, value, b.emit("inlet", attribute=(first + unknown[value.index], 0)))
        if value.op == "inlet":
            return b.emit("inlet", attribute=value.attribute)
        return None

    seeds = [
        [
            [
                b.emit("inlet", attribute=(seeds_at + o, t * len(planes) + p))
                for p in range(len(planes))
            ]
            for t, planes in enumerate(tokens)
        ]
        for o, tokens in enumerate(traced.outlets)
    ]
    seeds = [s if count else [] for s, count in zip(seeds, pattern.readers, strict=True)]
    try:
        given = spread(b, traced, pattern, known, seeds)
    except NotDifferentiable as error:
        raise refuse(traced.node, error.rule) from None
    wanted = [v for edge in pattern.wanted for planes in given[edge] for v in planes]
    moved = [
        edge
        for edge in range(len(given))
        if any(v.op != "const" or v.attribute for planes in given[edge] for v in planes)
    ]
    roots = [*wanted, *b.nexts.values(), *(v for v in b.values if v.op == "drain")]
    at: list[Any] = [value.attribute for value in ancestors(roots) if value.op == "inlet"]
    ports = {port for port, _ in at}
    kept = traced.unknown()
    plain = len(seeds) == 1 and [len(planes) for planes in seeds[0]] == [1]
    return Plan(
        sorted(port for port in ports if port < first),
        sorted(port - own_at for port in ports if port >= own_at),
        [kept[port - first] for port in sorted(ports) if first <= port < seeds_at],
        moved,
        plain and not b.states and all(v is seeds[0][0][0] for v in wanted),
    )


def read_kept(b: Trace, value: Value, number: Value) -> Value:
    """A value from how it was written down; a turn stays the fraction of a cycle."""
    return b.emit("bits", number) if value.type == "i64" else number


def spread(
    b: Trace,
    traced: Traced,
    pattern: Pattern,
    known: Callable[[Value], Value | None],
    seeds: list[Planes],
) -> list[Planes]:
    """Cotangents of the inlets, from ``seeds``, those of the outlets; states and params get theirs.

    What does not vary is the same in every frame. So the cotangents of those values of it that frames
    work with are added up frame by frame, and the sums are carried to the params once, at the end.
    """
    trace, sums = traced.trace, _Sums(b, traced, pattern)
    copy = Copy(b, traced, known)

    def pool(line: Value) -> Value:
        name = str(line.attribute)
        return b.pool(name.removeprefix(f"{SCOPE}."), trace.line_lengths[name])

    cotangents = Cotangents(b, copy, pool, sums.begin)
    for outlet, seed in zip(traced.outlets, seeds, strict=True):
        for values, planes in zip(outlet, seed, strict=bool(seed)):
            for value, cotangent in zip(values, planes, strict=True):
                cotangents.add(value, cotangent)
    states = [(value, str(value.attribute)) for value in traced.states()]
    for _, name in states:
        cotangents.add(trace.nexts[name], b.state(name.removeprefix(f"{SCOPE}.")))
    transpose(cotangents, [value for value in trace.values if value.varies])
    for value, name in states:
        b.next(name.removeprefix(f"{SCOPE}."), _known(cotangents, value))
    sums.end(cotangents, Cotangents(b, copy, pool))
    return [
        [[_known(cotangents, v) for v in planes] for planes in tokens] for tokens in traced.inlets
    ]


class _Sums:
    """Cotangents of values that do not vary: states that add them up, and the params' made of them."""

    def __init__(self, b: Trace, traced: Traced, pattern: Pattern) -> None:
        self._b = b
        self._steady = [value for value in traced.trace.values if not value.varies]
        params = ((v, str(v.attribute)) for v in self._steady if v.op == "param")
        names = ((value, name.removeprefix(f"{SCOPE}.")) for value, name in params)
        self._wanted = [(value, name) for value, name in names if name in pattern.params]
        self._moved = movable(self._steady, {value.index for value, _ in self._wanted})
        self._states: list[tuple[Value, Value]] = []

    def begin(self, value: Value) -> Value | None:
        """What is added to, if a param that is asked for moves ``value``."""
        if value.index not in self._moved:
            return None
        so_far = self._b.state(f"{GRADIENT}{len(self._states)}")
        self._states.append((value, so_far))
        return so_far

    def end(self, cotangents: Cotangents, totals: Cotangents) -> None:
        """Set the states of what ``cotangents`` came to, and carry them to the params with ``totals``."""
        b = self._b
        found = {value.index: _known(cotangents, value) for value in self._steady}
        for number, (value, so_far) in enumerate(self._states):
            b.next(f"{GRADIENT}{number}", found[value.index])
            totals.put(value, so_far)
        transpose(totals, self._steady)
        for value, name in self._wanted:
            b.total(name, _known(totals, value))


def _known(cotangents: Cotangents, value: Value) -> Value:
    """The cotangent of ``value``, 0 if nothing depends on it."""
    found = cotangents[value]
    return cotangents.b.const(0.0) if found is None else found


def inlet_of(traced: Traced, value: Value, edges: Any) -> Value | None:
    """What inlet ``value`` of a trace is among ``edges``, by number."""
    if value.op != "inlet":
        return None
    at: Any = value.attribute
    token, plane = divmod(at[1], len(traced.inlets[at[0]][0]))
    found: Value = edges[at[0]][token][plane]
    return found
