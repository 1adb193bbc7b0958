"""The closed set of IR operations.

Every transformation (verify, text, expansion, emission) owns a table keyed by these names, and a
test asks that no table has a hole. Operations are pure: a kernel's effects (next states, stores,
sums) are listed in the kernel itself, see `amp.ir.build.Kernel`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Type = Literal["f64", "i64", "i1", "turn", "line", "table"]


@dataclass(frozen=True, slots=True)
class Op:
    """Signature of an operation: operand types, result type, and what its attribute holds."""

    operands: tuple[Type, ...]
    result: Type
    attribute: Literal["", "float", "int", "name", "port"] = ""


def _f(count: int) -> Op:
    return _same("f64", count)


def _i(count: int) -> Op:
    return _same("i64", count)


def _same(kind: Type, count: int) -> Op:
    return Op((kind,) * count, kind)


ARITHMETIC = {
    "const": Op((), "f64", "float"),
    "add": _f(2),
    "sub": _f(2),
    "mul": _f(2),
    "div": _f(2),
    "fma": _f(3),  # a*b + c with one rounding
    "neg": _f(1),
    "abs": _f(1),
    "min": _f(2),  # a if a < b else b
    "max": _f(2),  # a if a > b else b
    "floor": _f(1),
    "sqrt": _f(1),
    "as_if": _f(2),  # a, whose derivative is that of b
}
ELEMENTARY = {name: _f(1) for name in ("exp", "log", "sin", "cos", "tan", "tanh")}
LOGIC = {
    "lt": Op(("f64", "f64"), "i1"),
    "le": Op(("f64", "f64"), "i1"),
    "eq": Op(("f64", "f64"), "i1"),
    "and": Op(("i1", "i1"), "i1"),
    "or": Op(("i1", "i1"), "i1"),
    "not": Op(("i1",), "i1"),
    "select": Op(("i1", "f64", "f64"), "f64"),
}
INTEGER = {
    "iconst": Op((), "i64", "int"),
    "iadd": _i(2),
    "isub": _i(2),
    "imul": _i(2),
    "iand": _i(2),
    "ior": _i(2),
    "ixor": _i(2),
    "ishl": _i(2),
    "ishr": _i(2),  # logical
    "iselect": Op(("i1", "i64", "i64"), "i64"),
    "ilt": Op(("i64", "i64"), "i1"),  # signed
    "ieq": Op(("i64", "i64"), "i1"),
    "to_int": Op(("f64",), "i64"),  # toward zero, saturating, NaN -> 0
    "to_float": Op(("i64",), "f64"),
    "bits": Op(("f64",), "i64"),
    "from_bits": Op(("i64",), "f64"),
}
TURNS = {  # a turn is a fraction of a cycle in 64 bits; whole cycles do not count
    "to_turn": Op(("f64", "f64"), "turn"),  # a / b to the nearest, b > 0, |a / b| <= 2^18
    "tadd": Op(("turn", "turn"), "turn"),
    # a b + c, where a lies in [-1/2, 1/2), cut to 52 bits
    "from_turn": Op(("turn", "f64", "f64"), "f64"),
}
ACCESS = {
    "inlet": Op((), "f64", "port"),  # the current token of an inlet port's plane
    "param": Op((), "f64", "name"),  # one value per lane, constant in a block
    "iparam": Op((), "i64", "name"),
    "state": Op((), "f64", "name"),  # value left by the previous frame
    "istate": Op((), "i64", "name"),
    "tstate": Op((), "turn", "name"),
    "clock": Op((), "i64"),  # firing index, the same in every lane
    "table": Op(
        (), "table", "name"
    ),  # numbers that never change, as `amp.ir.build.table_text` has them
    "look": Op(("table", "i64"), "f64"),  # one of them
    "line": Op(("f64",), "line", "name"),  # write this frame's value into a delay line
    "tap": Op(("line", "i64"), "f64"),  # read it back n >= 0 frames later
    # the same turned round: what is put into a pool for the frame n >= 0 frames ago adds up there
    "pool": Op((), "line", "name"),
    "deposit": Op(("line", "i64", "f64"), "line"),
    "drain": Op(("line",), "f64"),  # what there is for this frame, which is taken out
}
OPS: dict[str, Op] = {**ARITHMETIC, **ELEMENTARY, **LOGIC, **INTEGER, **TURNS, **ACCESS}

FRAME_SOURCES = frozenset({"inlet", "state", "istate", "tstate", "clock", "line", "pool"})
"""Operations whose result changes from frame to frame by itself."""
