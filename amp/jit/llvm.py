"""LLVM in small words: the types, and the few builder moves that all generated code is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llvmlite import ir

if TYPE_CHECKING:
    from collections.abc import Callable

I1, I8, I32, I64 = (ir.IntType(bits) for bits in (1, 8, 32, 64))
F64 = ir.DoubleType()
PTR = ir.PointerType()
VOID = ir.VoidType()
KERNEL_TYPE = ir.FunctionType(VOID, [PTR, I64])
"""``void kernel(i64* words, i64 frames)``."""


def integer(value: int) -> ir.Constant:
    """A 64-bit constant."""
    return ir.Constant(I64, value)


def word(b: ir.IRBuilder, base: ir.Value, index: int, kind: ir.Type = I64) -> ir.Value:
    """Load word ``index`` of ``base``."""
    return b.load(offset(b, base, integer(8 * index)), typ=kind)


def offset(b: ir.IRBuilder, base: ir.Value, count: ir.Value) -> ir.Value:
    """``base`` plus ``count`` bytes."""
    return b.gep(base, [count], source_etype=I8)


def smaller(b: ir.IRBuilder, x: ir.Value, y: ir.Value) -> ir.Value:
    """The smaller of two signed integers, the second one if they are equal."""
    return b.select(b.icmp_signed("<", x, y), x, y)


def larger(b: ir.IRBuilder, x: ir.Value, y: ir.Value) -> ir.Value:
    """The larger of two signed integers, the second one if they are equal."""
    return b.select(b.icmp_signed(">", x, y), x, y)


def loop(b: ir.IRBuilder, count: ir.Value, name: str, body: Callable[[ir.Value], object]) -> None:
    """Emit ``for i in range(count): body(i)``; ``b`` continues after it."""
    before = b.block
    head, inside, after = (b.append_basic_block(f"{name}.{part}") for part in ("head", "do", "end"))
    b.branch(head)
    b.position_at_end(head)
    i = b.phi(I64, name)
    i.add_incoming(integer(0), before)
    b.cbranch(b.icmp_signed("<", i, count), inside, after)
    b.position_at_end(inside)
    body(i)
    i.add_incoming(b.add(i, integer(1)), b.block)
    b.branch(head)
    b.position_at_end(after)


def pieces(b: ir.IRBuilder, count: ir.Value, body: Callable[[ir.Value], ir.Value]) -> None:
    """Emit ``done = 0; while done < count: done += body(done)``; ``b`` continues after it."""
    before = b.block
    head, inside, after = (b.append_basic_block(f"piece.{part}") for part in ("head", "do", "end"))
    b.branch(head)
    b.position_at_end(head)
    done = b.phi(I64, "done")
    done.add_incoming(integer(0), before)
    b.cbranch(b.icmp_signed("<", done, count), inside, after)
    b.position_at_end(inside)
    moved = b.add(done, body(done))
    done.add_incoming(moved, b.block)
    b.branch(head)
    b.position_at_end(after)


def transposed(b: ir.IRBuilder, rows: list[ir.Value]) -> list[ir.Value]:
    """Columns of a square of vectors, by swapping ever smaller blocks (Eklundh, "A fast computer
    method for matrix transposing", IEEE Trans. Computers C-21(7), 1972)."""
    size, rows = len(rows), list(rows)
    half = size // 2
    while half:
        upper = [c if not c & half else size + (c ^ half) for c in range(size)]
        lower = [c ^ half if not c & half else size + c for c in range(size)]
        for i in range(size):
            if not i & half:
                x, y = rows[i], rows[i | half]
                rows[i] = b.shuffle_vector(x, y, picked(upper))
                rows[i | half] = b.shuffle_vector(x, y, picked(lower))
        half //= 2
    return rows


def picked(lanes: list[int]) -> ir.Constant:
    """Mask of a shuffle that takes ``lanes``, in that order."""
    return ir.Constant(ir.VectorType(I32, len(lanes)), lanes)


def function_named(module: ir.Module, name: str, kind: ir.FunctionType) -> ir.Function:
    """The function ``name`` of ``module``, declared when it is first asked for."""
    return module.globals.get(name) or ir.Function(module, kind, name)


class _Callee(ir.Value):  # type: ignore[misc]  # llvmlite has no types
    """An address that is called as a function."""

    def __init__(self, value: ir.Value, kind: ir.FunctionType) -> None:
        self.value, self.function_type = value, kind
        self.type = PTR

    def get_reference(self) -> str:
        return str(self.value.get_reference())


def typed(address: ir.Value, kind: ir.FunctionType = KERNEL_TYPE) -> ir.Value:
    """``address`` as a function of type ``kind``."""
    return _Callee(address, kind)
