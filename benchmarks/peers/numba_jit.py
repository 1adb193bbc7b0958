"""What the numba peers share: a late import, and arrays on the stack.

`numpy.empty` in a numba kernel is a heap array that LLVM must assume is aliased; a stack array is
a plain alloca, which LLVM promotes to vector registers once the lane loop is vectorised.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.harness import NotInstalledError

if TYPE_CHECKING:
    from collections.abc import Callable

try:
    from llvmlite import ir
    from numba import carray, types  # type: ignore[attr-defined]
    from numba import njit as numba_njit
    from numba.extending import intrinsic
except ImportError:
    numba_njit = carray = None  # type: ignore[assignment]

__all__ = ["carray", "njit", "stack_pointer"]


def njit(**options: Any) -> Callable[[Any], Any]:
    """`numba.njit` with NumPy's division rules; raises `NotInstalledError` where there is none."""
    if numba_njit is None:
        raise NotInstalledError("numba")
    decorate: Callable[[Any], Any] = numba_njit(error_model="numpy", **options)
    return decorate


def stack_pointer(count: int) -> Any:
    """An intrinsic that returns a pointer to `count` doubles on the stack, one per call site."""
    if numba_njit is None:
        raise NotInstalledError("numba")

    @intrinsic
    def pointer(_typing_context):  # type: ignore[no-untyped-def]
        signature = types.CPointer(types.float64)()  # type: ignore[no-untyped-call]

        def emit(_context, builder, _signature, _arguments):  # type: ignore[no-untyped-def]
            with builder.goto_entry_block():
                slot = builder.alloca(ir.ArrayType(ir.DoubleType(), count))
                slot.align = 64
            return builder.bitcast(slot, ir.DoubleType().as_pointer())

        return signature, emit

    return pointer
