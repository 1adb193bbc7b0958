"""How fast the CPU's cycle counter runs."""

from __future__ import annotations

import ctypes
import functools
import time
from typing import TYPE_CHECKING

from llvmlite import ir

from amp.jit.engine import native

if TYPE_CHECKING:
    from collections.abc import Callable

_CALIBRATION_SECONDS = 0.02


@functools.cache
def counter() -> Callable[[], int]:
    """Reads the CPU's cycle counter."""
    return ctypes.CFUNCTYPE(ctypes.c_int64)(native("ticks", "cycle counter", _build).address)


@functools.cache
def cycles_per_second() -> float:
    """Rate of the counter that timing uses, measured once against the system's clock [1/s]."""
    ticks = counter()
    first, began = ticks(), time.perf_counter()
    while time.perf_counter() - began < _CALIBRATION_SECONDS:
        pass
    return (ticks() - first) / (time.perf_counter() - began)


def _build() -> ir.Module:
    module = ir.Module(name="clock")
    kind = ir.FunctionType(ir.IntType(64), [])
    counter = ir.Function(module, kind, "llvm.readcyclecounter")
    b = ir.IRBuilder(ir.Function(module, kind, "ticks").append_basic_block("entry"))
    b.ret(b.call(counter, []))
    return module
