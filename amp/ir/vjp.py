"""Reverse-mode derivatives: the cotangents of values, from those of the values made of them.

One table has the vector-Jacobian product of every operation; `transpose` walks a trace backwards through
it. Griewank & Walther, "Evaluating Derivatives", 2nd ed., SIAM 2008, chapter 3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from amp.errors import NotDifferentiable
from amp.ir.build import ancestors
from amp.ir.ops import OPS

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from amp.ir.build import Builder, Value

    Image = Callable[[Value], Value]
    """Where the value of a trace is found again."""
    Begin = Callable[[Value], Value | None]
    Rule = Callable[["Cotangents", Value, Value], None]


class Cotangents:
    """Cotangents of the values of one trace, by index, as values of the builder ``b``.

    Attributes
    ----------
    image
        What a value of the trace is in ``b``.
    pool
        Makes the pool of a line.
    begin
        What the cotangent of a value is before anything is added to it, if not nothing.
    """

    def __init__(
        self, b: Builder, image: Image, pool: Image, begin: Begin = lambda _: None
    ) -> None:
        self.b, self.image, self.pool, self._begin = b, image, pool, begin
        self._known: dict[int, Value] = {}
        self._scaled: dict[int, dict[int, tuple[Value, Value]]] = {}  # by value and factor

    def __getitem__(self, value: Value) -> Value | None:
        """Cotangent of ``value``; None if nothing depends on it."""
        for more, factor in self._scaled.pop(value.index, {}).values():
            so_far = self._so_far(value)
            self._known[value.index] = (
                self.b.mul(more, factor) if so_far is None else self.b.fma(more, factor, so_far)
            )
        return self._known.get(value.index)

    def add(self, value: Value, more: Value, factor: Value | float | None = None) -> None:
        """Add ``more``, times a ``factor`` if there is one, to the cotangent of ``value``; what has one
        factor is multiplied together."""
        b = self.b
        if factor is None:
            so_far = self._so_far(value)
            self._known[value.index] = more if so_far is None else b.add(so_far, more)
        else:
            by, scaled = b.value(factor), self._scaled.setdefault(value.index, {})
            known = scaled.get(by.index)
            scaled[by.index] = (more if known is None else b.add(known[0], more)), by

    def take(self, value: Value, less: Value) -> None:
        """Take ``less`` from the cotangent of ``value``."""
        so_far = self._so_far(value)
        self._known[value.index] = self.b.neg(less) if so_far is None else self.b.sub(so_far, less)

    def _so_far(self, value: Value) -> Value | None:
        found = self._known.get(value.index)
        return self._begin(value) if found is None else found

    def put(self, value: Value, cotangent: Value) -> None:
        """Make it the cotangent of ``value``."""
        self._known[value.index] = cotangent

    def share(self, condition: Value, x: Value, y: Value, more: Value) -> None:
        """Add ``more`` to the cotangent of ``x`` where ``condition`` holds, and else to that of ``y``."""
        self.add(x, self.b.select(condition, more, 0.0))
        self.add(y, self.b.select(condition, 0.0, more))


def transpose(cotangents: Cotangents, values: Iterable[Value]) -> None:
    """Spread cotangents from the values of a trace, which are in order, to what they are made of."""
    for value in reversed(list(values)):
        cotangent = cotangents[value]
        if cotangent is not None:
            VJP[value.op](cotangents, value, cotangent)


def movable(values: Iterable[Value], sources: Collection[int]) -> set[int]:
    """Those of ``values``, which are in order, that move with one of ``sources``: by index."""
    found: set[int] = set()
    for value in values:
        moves = value.op not in FLAT and value.type != "i1"
        if value.index in sources or (moves and any(v.index in found for v in value.operands)):
            found.add(value.index)
    return found


def _add(c: Cotangents, v: Value, g: Value) -> None:
    for operand in v.operands:
        c.add(operand, g)


def _sub(c: Cotangents, v: Value, g: Value) -> None:
    x, y = v.operands
    c.add(x, g)
    c.take(y, g)


def _mul(c: Cotangents, v: Value, g: Value) -> None:
    x, y = v.operands
    c.add(x, g, c.image(y))
    c.add(y, g, c.image(x))


def _div(c: Cotangents, v: Value, g: Value) -> None:
    x, y = v.operands
    b, by = c.b, c.image(y)
    if y.varies:
        share, quotient = b.div(g, by), c.image(v)
    else:  # which is inverted once
        once = b.div(1.0, by)
        share, quotient = b.mul(g, once), b.mul(c.image(x), once)
    c.add(x, share)
    c.take(y, b.mul(share, quotient))


def _fma(c: Cotangents, v: Value, g: Value) -> None:
    x, y, z = v.operands
    c.add(z, g)
    c.add(x, g, c.image(y))
    c.add(y, g, c.image(x))


def _abs(c: Cotangents, v: Value, g: Value) -> None:
    (x,) = v.operands
    b, at = c.b, c.image(x)
    c.add(x, b.select(b.lt(0.0, at), g, b.select(b.lt(at, 0.0), b.neg(g), 0.0)))


def _min(c: Cotangents, v: Value, g: Value) -> None:
    x, y = v.operands
    c.share(c.b.lt(c.image(x), c.image(y)), x, y, g)


def _max(c: Cotangents, v: Value, g: Value) -> None:
    x, y = v.operands
    c.share(c.b.lt(c.image(y), c.image(x)), x, y, g)


def _select(c: Cotangents, v: Value, g: Value) -> None:
    condition, x, y = v.operands
    c.share(c.image(condition), x, y, g)


def _sqrt(c: Cotangents, v: Value, g: Value) -> None:
    c.add(v.operands[0], g, c.b.div(0.5, c.image(v)))


def _tan(c: Cotangents, v: Value, g: Value) -> None:
    at = c.image(v)
    c.add(v.operands[0], g, c.b.fma(at, at, 1.0))


def _tanh(c: Cotangents, v: Value, g: Value) -> None:
    at = c.image(v)
    c.add(v.operands[0], g, c.b.fma(c.b.neg(at), at, 1.0))


def _to_turn(c: Cotangents, v: Value, g: Value) -> None:
    x, per = v.operands
    c.add(x, c.b.div(g, c.image(per)))  # per is a constant


def _from_turn(c: Cotangents, v: Value, g: Value) -> None:
    turn, scale, plus = v.operands
    c.add(plus, g)
    c.add(turn, g, c.image(scale))
    if scale.op != "const":
        c.add(scale, g, c.image(turn))


def _tap(c: Cotangents, v: Value, g: Value) -> None:
    line, frames = v.operands
    pool = c[line]
    if pool is None:
        pool = c.pool(line)
    c.put(line, c.b.emit("deposit", pool, c.image(frames), g))


def _line(c: Cotangents, v: Value, pool: Value) -> None:
    c.add(v.operands[0], c.b.emit("drain", pool))


def _from_bits(c: Cotangents, v: Value, _: Value) -> None:
    """Bits that are made of nothing but whole numbers (noise) have no slope; those of a number would."""
    if any(value.op == "bits" for value in ancestors([v])):
        raise NotDifferentiable("the bits of a number have no derivative", got=repr(v))


def _nothing(_: Cotangents, __: Value, ___: Value) -> None:
    """What is piecewise constant has no slope, and a source no operands."""


VJP: dict[str, Rule] = {
    "add": _add,
    "sub": _sub,
    "mul": _mul,
    "div": _div,
    "fma": _fma,
    "neg": lambda c, v, g: c.take(v.operands[0], g),
    "abs": _abs,
    "min": _min,
    "max": _max,
    "sqrt": _sqrt,
    "exp": lambda c, v, g: c.add(v.operands[0], g, c.image(v)),
    "log": lambda c, v, g: c.add(v.operands[0], c.b.div(g, c.image(v.operands[0]))),
    "sin": lambda c, v, g: c.add(v.operands[0], g, c.b.cos(c.image(v.operands[0]))),
    "cos": lambda c, v, g: c.take(v.operands[0], c.b.mul(g, c.b.sin(c.image(v.operands[0])))),
    "tan": _tan,
    "tanh": _tanh,
    "select": _select,
    "as_if": lambda c, v, g: c.add(v.operands[1], g),
    "to_turn": _to_turn,
    "tadd": _add,
    "from_turn": _from_turn,
    "tap": _tap,
    "line": _line,
    "from_bits": _from_bits,
    **dict.fromkeys(
        ("floor", "to_float", "const", "inlet", "param", "state", "tstate", "look"), _nothing
    ),
}
FLAT = frozenset(name for name, rule in VJP.items() if rule is _nothing)
"""Operations whose results do not move with what they are made of."""
WITHOUT = frozenset(
    {name for name, op in OPS.items() if op.result in {"i1", "i64", "table"}}
    | {"pool", "deposit", "drain"}
)
"""Operations whose results have no cotangent: conditions, whole numbers, tables, and those of adjoints."""
