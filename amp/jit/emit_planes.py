"""Moving the planes of one lane between where a table says they lie and an area, plane after plane.

Native functions that every call of a block shares; how many planes there are is an argument.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from llvmlite import ir

from amp.jit.emit_border import read_entry
from amp.jit.llvm import F64, I64, PTR, VOID, integer, loop, offset, pieces

if TYPE_CHECKING:
    from amp.jit.emit_border import Entry

MOVE_PLANES = ir.FunctionType(VOID, [PTR, I64, PTR, I64, I64, I64, I64, I64])
"""``void move(i64* entries, i64 apart, f64* area, i64 stride, i64 planes, i64 first, i64 count, i64 step)``:
plane p's entry lies ``p apart`` bytes after the first, its tokens ``p stride`` numbers after the area's
beginning; they are the ``count`` of numbers ``first``, ``first + step``, and so on."""


def planes_symbol(name: str) -> str:
    """Name under which a kernel calls ``gather`` or ``scatter``."""
    return f"amp_{name}_planes"


def emit_planes(name: str) -> ir.Module:
    """Module with the function ``gather`` (rings to an area) or ``scatter`` (an area to rings)."""
    module = ir.Module(name=name)
    function = ir.Function(module, MOVE_PLANES, name)
    entries, apart, area, stride, planes, first, count, step = function.args
    b = ir.IRBuilder(function.append_basic_block("entry"))

    def move(outside: ir.Value, inside: ir.Value) -> None:
        source, target = (outside, inside) if name == "gather" else (inside, outside)
        b.store(b.load(source, typ=F64), target)

    def in_pieces(entry: Entry, inside: ir.Value, begin: ir.Value) -> None:
        """Token after token until the ring begins again."""

        def piece(done: ir.Value) -> ir.Value:
            here = b.add(begin, done)
            some = entry.until_end(b, here, b.sub(count, done))
            at, to = entry.at(b, here), offset(b, inside, b.mul(done, integer(8)))
            with b.if_else(entry.is_flat(b)) as (flat, spread):
                with flat:
                    loop(b, some, "token", lambda i: move(_number(b, at, i), _number(b, to, i)))
                with spread:
                    loop(
                        b,
                        some,
                        "token",
                        lambda i: move(offset(b, at, b.mul(i, entry.stride)), _number(b, to, i)),
                    )
            return some

        pieces(b, count, piece)

    def each_plane(plane: ir.Value) -> None:
        entry = read_entry(b, offset(b, entries, b.mul(plane, apart)))
        inside = _number(b, area, b.mul(plane, stride))
        begin = b.sub(first, entry.tokens)
        with b.if_else(b.icmp_signed("==", step, integer(1))) as (dense, sparse):
            with dense:
                in_pieces(entry, inside, begin)
            with sparse:
                loop(
                    b,
                    count,
                    "token",
                    lambda i: move(
                        entry.at(b, b.add(begin, b.mul(i, step))), _number(b, inside, i)
                    ),
                )

    loop(b, planes, "plane", each_plane)
    b.ret_void()
    return module


def _number(b: ir.IRBuilder, base: ir.Value, i: ir.Value) -> ir.Value:
    """Address of number ``i``."""
    return offset(b, base, b.mul(i, integer(8)))
