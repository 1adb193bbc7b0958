"""Calling one kernel from Python as it would run inside ``run``: with denormals flushed."""

from __future__ import annotations

import ctypes
import functools
from typing import TYPE_CHECKING

from llvmlite import ir

from amp.jit.driver import with_flushed_denormals
from amp.jit.engine import native
from amp.jit.llvm import I64, PTR, VOID, typed

if TYPE_CHECKING:
    from amp.jit.engine import Native

_TYPE = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)


def call_flushed(function: int, words: int, frames: int) -> None:
    """Call the kernel at address ``function``."""
    _TYPE(_entry().address)(function, words, frames)


@functools.cache
def _entry() -> Native:
    return native("call", "flushed call", _build)


def _build() -> ir.Module:
    module = ir.Module(name="flushed")
    call = ir.Function(module, ir.FunctionType(VOID, [PTR, PTR, I64]), "call")
    function, words, frames = call.args
    b = ir.IRBuilder(call.append_basic_block("entry"))
    with_flushed_denormals(module, b, lambda: b.call(typed(function), [words, frames]))
    b.ret_void()
    return module
