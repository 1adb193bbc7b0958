"""Functions from outside in generated code: one call for each lane, by address."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llvmlite import ir

from amp.jit.emit_ports import Ports
from amp.jit.llvm import F64, I64, PTR, VOID, integer, loop, offset, typed, word
from amp.jit.words import port_areas

if TYPE_CHECKING:
    from collections.abc import Iterator

    from amp.ir import Foreign
    from amp.jit.kernel_function import KernelFunction

TYPE = ir.FunctionType(VOID, [PTR, PTR, PTR, PTR, I64, F64])
"""``void f(double** inputs, double** outputs, int64_t* channels, double* state, int64_t frames, double
sample_rate)``; see `amp.nodes.Native`."""


def emit_foreign(function: KernelFunction, b: ir.IRBuilder, foreign: Foreign) -> None:
    """Emit the call for every lane, between gathering what it reads and scattering what it writes.

    What a pointer of an inlet or outlet points at is an array (channels, frames): the areas of a port's
    planes lie one after another.
    """
    kernel = function.kernel
    ends = [planes for _, _, planes in foreign.inlets]
    ends += [foreign.planes] * len(foreign.outlets)
    inputs = b.alloca(PTR, max(len(foreign.inlets), 1))
    outputs = b.alloca(PTR, max(len(foreign.outlets), 1))
    channels = b.alloca(I64, max(len(ends), 1))
    for i, planes in enumerate(ends):
        b.store(integer(planes), offset(b, channels, integer(8 * i)))

    def each_lane(lane: ir.Value) -> None:
        fn = function.at_tile(lane)
        ports = Ports(fn)
        ports.begin_tile(b)
        own = _own_areas(fn, b)
        params = offset(b, fn.params, b.mul(lane, integer(8 * len(kernel.params))))
        state = offset(b, fn.states, b.mul(lane, integer(8 * len(kernel.states))))
        for i, (kind, first, planes) in enumerate(foreign.inlets):
            areas = ports.areas["in", first] if kind == "in" else [next(own) for _ in range(planes)]
            if kind == "param":
                for plane, area in enumerate(areas):
                    _fill(b, area, word(b, params, first + plane, F64), fn.frames)
            b.store(areas[0], offset(b, inputs, integer(8 * i)))
        for i, readers in enumerate(foreign.outlets):
            if readers:
                areas = ports.areas["out", readers[0]]
                for port in readers:  # all get the same
                    ports.areas["out", port] = areas
            else:
                areas = [next(own) for _ in range(foreign.planes)]
            b.store(areas[0], offset(b, outputs, integer(8 * i)))
        callee = typed(word(b, params, 0, PTR), TYPE)
        rate = ir.Constant(F64, foreign.sample_rate)
        arguments = [inputs, outputs, channels, state, fn.frames, rate]
        ports.in_pieces(b, lambda _first, _count: b.call(callee, arguments))

    loop(b, function.tiles, "lane", each_lane)


def _own_areas(fn: KernelFunction, b: ir.IRBuilder) -> Iterator[ir.Value]:
    """Scratch memory behind that of the ports, plane by plane."""
    used = port_areas(fn.kernel)
    while True:
        yield offset(b, fn.scratch, fn.bytes(b, fn.frames, used))
        used += 1


def _fill(b: ir.IRBuilder, area: ir.Value, value: ir.Value, frames: ir.Value) -> None:
    """The same number in every frame."""
    loop(b, frames, "frame", lambda i: b.store(value, offset(b, area, b.mul(i, integer(8)))))
