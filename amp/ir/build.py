"""Building IR: a hash-consed DAG of values for one frame of one lane.

A `Builder` interns values, so equal expressions are one value and the text of a kernel is stable.
What a kernel does to the world is listed in `Kernel`: next states, stores to outlets, and sums over
members.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from amp.errors import BadIR
from amp.ir.ops import FRAME_SOURCES, OPS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from amp.ir.ops import Type

Attribute = float | int | str | tuple[int, int] | None
Operand = "Value | float | int"


class Value:
    """One SSA value. Arithmetic operators build further values.

    Attributes
    ----------
    op, operands, attribute
        The operation that makes it, see `amp.ir.ops.OPS`.
    index
        Position in the builder's order: operands always come first.
    varies
        False if the value is the same for every frame of a block.
    """

    __slots__ = ("attribute", "builder", "index", "op", "operands", "varies")

    def __init__(
        self, builder: Builder, op: str, operands: tuple[Value, ...], attribute: Attribute
    ) -> None:
        self.builder = builder
        self.op = op
        self.operands = operands
        self.attribute = attribute
        self.index = len(builder.values)
        self.varies: bool = op in FRAME_SOURCES or any(v.varies for v in operands)

    @property
    def type(self) -> Type:
        """Type of the result."""
        return OPS[self.op].result

    def __add__(self, other: Value | float) -> Value:
        return self.builder.add(self, other)

    def __radd__(self, other: float) -> Value:
        return self.builder.add(other, self)

    def __sub__(self, other: Value | float) -> Value:
        return self.builder.sub(self, other)

    def __rsub__(self, other: float) -> Value:
        return self.builder.sub(other, self)

    def __mul__(self, other: Value | float) -> Value:
        return self.builder.mul(self, other)

    def __rmul__(self, other: float) -> Value:
        return self.builder.mul(other, self)

    def __truediv__(self, other: Value | float) -> Value:
        return self.builder.div(self, other)

    def __rtruediv__(self, other: float) -> Value:
        return self.builder.div(other, self)

    def __neg__(self) -> Value:
        return self.builder.neg(self)

    def __abs__(self) -> Value:
        return self.builder.abs(self)

    def __lt__(self, other: Value | float) -> Value:
        return self.builder.lt(self, other)

    def __gt__(self, other: Value | float) -> Value:
        return self.builder.lt(other, self)

    def __le__(self, other: Value | float) -> Value:
        return self.builder.le(self, other)

    def __ge__(self, other: Value | float) -> Value:
        return self.builder.le(other, self)

    def __and__(self, other: Value) -> Value:
        return self.builder.emit("and", self, other)

    def __or__(self, other: Value) -> Value:
        return self.builder.emit("or", self, other)

    def __invert__(self) -> Value:
        return self.builder.emit("not", self)

    def __bool__(self) -> bool:
        raise BadIR(
            "a traced value has no truth value in Python",
            got=f"%{self.index} = {self.op}",
            fix="use b.select(condition, a, b), or & | ~ for conditions",
        )

    def __repr__(self) -> str:
        return f"%{self.index}:{self.op}"


@dataclass(frozen=True, slots=True)
class InPort:
    """How a kernel reads a stream: ``aligned`` (same lanes), ``uniform`` (one lane for all), or
    ``table`` (an address for each lane). Firing k reads ``rate`` tokens from number ``k * step`` on,
    or, if step is 0, from where a table in memory says; plane ``p`` of token ``t`` is called
    ``t * planes + p``."""

    mode: str
    planes: int
    rate: int = 1
    step: int = 1


@dataclass(frozen=True, slots=True)
class OutPort:
    """How a kernel writes a stream: ``ring`` (its own lanes), ``table`` (an address for each lane),
    or ``sum`` (added over members, then written by a table). Firing k writes ``rate`` tokens from
    number ``k * step`` on, or from where a table says. The squares of what is written are added up, lane
    by lane of what it writes to, in so many ``sums``: one of each plane, or one of all; or in none."""

    mode: str
    planes: int
    rate: int = 1
    step: int = 1
    sums: int = 0


@dataclass(frozen=True, slots=True)
class StateSlot:
    """One number per lane that lives from frame to frame; of a kernel that is a block call, ``count`` numbers
    side by side."""

    name: str
    type: Type
    count: int = 1


@dataclass(frozen=True, slots=True)
class BlockCall:
    """The call of a C function on a block of firings, one lane at a time.

    It is the function ``entry`` of the kernel's archetype, of the form that
    ``amp/archetypes_cpp/archetype.hpp`` says, or that of a `Native`. A `Native`'s address is the first of the
    kernel's params, since code is kept from one process to the next and addresses are not.

    Attributes
    ----------
    inlets
        For each the planes of an in port, ``("in", port, planes)``; the same numbers in every frame,
        ``("constant", number, planes)``; or nothing, ``("none", 0, 0)``.
    log
        How many states there is room for where those are put down in which calls begin, which an adjoint
        then reads: a power of two. With several, each firing is a call. The address is the next param.
    memory
        Numbers of such a state.
    outlets
        For each the tokens of a firing, planes, and the out ports that get them, none perhaps; no planes if
        it is not wanted. Of an adjoint they are the cotangents of the inlets.
    sizes
        What an archetype is told about its node.
    tables
        Params of the node that all its lanes share: names, and how many numbers each is.
    constants
        What a lane has besides: inlets with constants, and their planes.
    sample_rate
        At which a `Native` fires.
    cotangents
        Of an adjoint, those of the outlets: of an in port, or ``("zero", rate, planes)``.
    sums
        Of an adjoint: an outlet, and the first of the lane's states to which its planes are added, frame by
        frame from the last one back.
    params
        Of an adjoint, where among the lane's states the cotangents of the tables are; -1 if nowhere.
    """

    entry: str
    inlets: tuple[tuple[str, int, int], ...] = ()
    log: int = 0
    memory: int = 0
    outlets: tuple[tuple[int, int, tuple[int, ...]], ...] = ()
    sizes: tuple[int, ...] = ()
    tables: tuple[tuple[str, int], ...] = ()
    constants: tuple[tuple[str, int], ...] = ()
    sample_rate: float = 0.0
    cotangents: tuple[tuple[str, int, int], ...] = ()
    sums: tuple[tuple[int, int], ...] = ()
    params: int = -1

    @property
    def held(self) -> int:
        """Numbers a firing that no port has room for: of constant inlets, of cotangents that are zero, and
        of outlets that no one reads."""
        constant = sum(planes for kind, _, planes in self.inlets if kind == "constant")
        zeros = sum(rate * planes for kind, rate, planes in self.cotangents if kind == "zero")
        return constant + zeros + sum(r * planes for r, planes, ports in self.outlets if not ports)


@dataclass(frozen=True, slots=True)
class Kernel:
    """The work of one cohort for one frame of one lane.

    ``values`` is in SSA order; ``nexts[i]`` is the next value of ``states[i]``;
    ``stores[port][plane]`` is what outlet port ``port`` receives. A kernel with an ``archetype`` has no
    values: its ``block`` says which function is called, which moves its states itself; without one it is a
    router of the scheduler.
    A ``skewed`` kernel is a chain: lane m works on frame t - m at step t and reads lane m - 1.
    A kernel ``across`` time remembers nothing: its frames are computed side by side. A ``backward`` one
    computes the last frame of a call first.
    The squares of the values ``powers[i]`` are added up, lane by lane, in every ``every``-th firing from
    firing 0 on; so are those of out ports with ``sums``.
    """

    values: tuple[Value, ...]
    inlets: tuple[InPort, ...]
    outlets: tuple[OutPort, ...]
    params: tuple[tuple[str, Type], ...]
    states: tuple[StateSlot, ...]
    lines: tuple[str, ...]
    nexts: tuple[Value, ...]
    stores: tuple[tuple[Value, ...], ...]
    archetype: str = ""
    skewed: bool = False
    across: bool = False
    backward: bool = False
    block: BlockCall | None = None
    powers: tuple[tuple[Value, ...], ...] = ()
    every: int = 1

    @property
    def measures(self) -> bool:
        """Whether squares are added up."""
        return bool(self.powers) or any(port.sums for port in self.outlets)

    @property
    def roots(self) -> tuple[Value, ...]:
        """Every value that an effect needs."""
        lines = tuple(v for v in self.values if v.op in {"line", "drain"})
        return self.nexts + tuple(v for some in self.stores + self.powers for v in some) + lines


def table_text(numbers: NDArray[np.float64]) -> str:
    """Numbers as the attribute of a ``table``: their bytes in base 64, without blanks."""
    return b64encode(np.ascontiguousarray(numbers, "<f8").tobytes()).decode()


def table_bytes(text: str) -> bytes:
    """The bytes of the numbers, least ones first."""
    return b64decode(text)


class Builder:
    """Interns values. Numbers become constants where a float is expected.

    Examples
    --------
    >>> b = Builder(sample_rate=48_000.0)
    >>> x = b.emit("inlet", attribute=(0, 0))
    >>> (x + 1.0) is (x + 1.0)
    True
    """

    def __init__(self, sample_rate: float = 48_000.0) -> None:
        self.sample_rate = sample_rate
        self.values: list[Value] = []
        self._interned: dict[tuple[object, ...], Value] = {}

    def emit(self, op: str, *operands: Value | float, attribute: Attribute = None) -> Value:
        """Value of ``op`` on ``operands``; the same one when asked twice."""
        spec = OPS[op]
        if len(operands) != len(spec.operands):
            raise BadIR(f"{op} takes {len(spec.operands)} operands", got=str(len(operands)))
        values = tuple(
            self._lift(operand, kind) for operand, kind in zip(operands, spec.operands, strict=True)
        )
        # repr keeps 0.0 and -0.0, which compare equal, apart
        key = (op, tuple(v.index for v in values), repr(attribute))
        found = self._interned.get(key)
        if found is None:
            for value, kind in zip(values, spec.operands, strict=True):
                if value.type != kind:
                    raise BadIR(f"{op} takes {kind}", got=f"{value!r} of type {value.type}")
            found = Value(self, op, values, attribute)
            self.values.append(found)
            self._interned[key] = found
        return found

    def _lift(self, operand: Value | float, kind: Type) -> Value:
        if isinstance(operand, Value):
            if operand.builder is not self:
                raise BadIR("a value of another trace was used", got=repr(operand))
            return operand
        if kind == "f64":
            return self.emit("const", attribute=float(operand))
        if kind == "i64" and isinstance(operand, int):
            return self.emit("iconst", attribute=_wrap(operand))
        raise BadIR(f"expected a value of type {kind}", got=repr(operand))

    def value(self, x: Value | float) -> Value:
        """``x`` as a value; a number becomes a constant."""
        return self._lift(x, "f64")

    def const(self, value: float) -> Value:
        """A float constant."""
        return self.emit("const", attribute=float(value))

    def iconst(self, value: int) -> Value:
        """An integer constant, taken modulo 2**64."""
        return self.emit("iconst", attribute=_wrap(value))

    def add(self, x: Value | float, y: Value | float) -> Value:
        """``x + y``."""
        return self.emit("add", x, y)

    def sub(self, x: Value | float, y: Value | float) -> Value:
        """``x - y``."""
        return self.emit("sub", x, y)

    def mul(self, x: Value | float, y: Value | float) -> Value:
        """``x * y``."""
        return self.emit("mul", x, y)

    def div(self, x: Value | float, y: Value | float) -> Value:
        """``x / y``."""
        return self.emit("div", x, y)

    def fma(self, x: Value | float, y: Value | float, z: Value | float) -> Value:
        """``x * y + z`` with one rounding."""
        return self.emit("fma", x, y, z)

    def neg(self, x: Value | float) -> Value:
        """``-x``."""
        return self.emit("neg", x)

    def abs(self, x: Value | float) -> Value:
        """Magnitude."""
        return self.emit("abs", x)

    def min(self, x: Value | float, y: Value | float) -> Value:
        """``x if x < y else y``."""
        return self.emit("min", x, y)

    def max(self, x: Value | float, y: Value | float) -> Value:
        """``x if x > y else y``."""
        return self.emit("max", x, y)

    def clip(self, x: Value | float, low: Value | float, high: Value | float) -> Value:
        """``x`` held between ``low`` and ``high``; NaN becomes ``low``."""
        return self.min(self.max(x, low), high)

    def floor(self, x: Value | float) -> Value:
        """Largest integer not above ``x``."""
        return self.emit("floor", x)

    def sqrt(self, x: Value | float) -> Value:
        """Square root."""
        return self.emit("sqrt", x)

    def exp(self, x: Value | float) -> Value:
        """e to the ``x``."""
        return self.emit("exp", x)

    def log(self, x: Value | float) -> Value:
        """Natural logarithm."""
        return self.emit("log", x)

    def sin(self, x: Value | float) -> Value:
        """Sine of radians."""
        return self.emit("sin", x)

    def cos(self, x: Value | float) -> Value:
        """Cosine of radians."""
        return self.emit("cos", x)

    def tan(self, x: Value | float) -> Value:
        """Tangent of radians."""
        return self.emit("tan", x)

    def tanh(self, x: Value | float) -> Value:
        """Hyperbolic tangent."""
        return self.emit("tanh", x)

    def lt(self, x: Value | float, y: Value | float) -> Value:
        """``x < y``."""
        return self.emit("lt", x, y)

    def le(self, x: Value | float, y: Value | float) -> Value:
        """``x <= y``."""
        return self.emit("le", x, y)

    def select(self, condition: Value, x: Value | float, y: Value | float) -> Value:
        """``x`` where ``condition`` holds, else ``y``."""
        return self.emit("select", condition, x, y)

    def as_if(self, x: Value | float, slope: Value | float) -> Value:
        """``x``, whose derivative is said to be that of ``slope``.

        For a value whose own derivative would mislead: one that is held within rounding, or one that is
        piecewise constant and is to be learned through (Bengio, Leonard & Courville, "Estimating or
        Propagating Gradients Through Stochastic Neurons", arXiv 1308.3432, 2013).
        """
        return self.emit("as_if", x, slope)

    def to_turn(self, x: Value | float, per: float) -> Value:
        """``x / per`` cycles as a turn, to the nearest 2^-64.

        It means nothing beyond 2^18 cycles or of NaN: hold ``x`` first (`clip`).
        """
        if not per > 0:
            raise BadIR("a turn is so many per a positive number", got=repr(per))
        return self.emit("to_turn", x, per)

    def tadd(self, x: Value, y: Value) -> Value:
        """Sum of turns, exactly; whole cycles drop out."""
        return self.emit("tadd", x, y)

    def from_turn(self, x: Value, scale: Value | float = 1.0, plus: Value | float = 0.0) -> Value:
        """``scale`` times a turn, which is in [-1/2, 1/2) and rounded down to a multiple of 2^-52; then
        ``plus``.

        Within 2^-52 ``scale``, besides the rounding of the result; exact if ``scale`` is a power of
        two and ``plus`` is 0.
        """
        return self.emit("from_turn", x, scale, plus)

    def tree_sum(self, terms: Iterable[Value]) -> Value:
        """Sum in amp's canonical order, see ``docs/decisions/0003-canonical-sums.md``.

        Term i goes to accumulator i mod 8 in ascending order; the eight accumulators are then
        folded in halves. An absent accumulator is -0.0, which changes no sum, and is skipped.
        """
        lanes: list[Value | None] = [None] * 8
        for i, term in enumerate(terms):
            so_far = lanes[i % 8]
            lanes[i % 8] = term if so_far is None else self.add(so_far, term)
        while len(lanes) > 1:
            half = len(lanes) // 2
            pairs = zip(lanes[:half], lanes[half:], strict=True)
            lanes = [x if y is None else y if x is None else self.add(x, y) for x, y in pairs]
        total = lanes[0]
        return self.const(-0.0) if total is None else total


def ancestors(values: Iterable[Value]) -> list[Value]:
    """``values`` and all that they are made of, operands first."""
    found: dict[int, Value] = {}
    pending = list(values)
    while pending:
        value = pending.pop()
        if value.index not in found:
            found[value.index] = value
            pending += value.operands
    return [found[index] for index in sorted(found)]


def _wrap(value: int) -> int:
    """Two's complement of ``value`` in 64 bits."""
    value &= (1 << 64) - 1
    return value - (1 << 64) if value >> 63 else value
