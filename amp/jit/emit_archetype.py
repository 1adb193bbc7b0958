"""Prebuilt kernels in generated code: one call for each lane."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llvmlite import ir

from amp.jit.emit_ports import Ports
from amp.jit.emit_power import measure_areas
from amp.jit.llvm import I64, PTR, VOID, function_named, integer, loop, offset

if TYPE_CHECKING:
    from amp.jit.kernel_function import KernelFunction


def archetype_symbol(name: str) -> str:
    """Name under which a kernel calls an archetype."""
    return f"amp_archetype_{name}"


def emit_archetype(function: KernelFunction, b: ir.IRBuilder) -> None:
    """Emit ``f(params, in planes, out planes, in count, out count, frames)`` for every lane."""
    kernel = function.kernel
    if not kernel.outlets:  # no one reads it
        return
    sides = (("in", kernel.inlets), ("out", kernel.outlets))
    tables = {side: b.alloca(PTR, ports[0].planes) for side, ports in sides}
    kind = ir.FunctionType(VOID, [PTR, PTR, PTR, I64, I64, I64])
    callee = function_named(function.module, archetype_symbol(kernel.archetype), kind)

    def each_lane(lane: ir.Value) -> None:
        fn = function.at_tile(lane)
        ports = Ports(fn)
        ports.begin_tile(b)
        for port in range(1, len(kernel.outlets)):  # all readers get the same
            ports.areas["out", port] = ports.areas["out", 0]
        areas = {side: ports.areas[side, 0] for side in tables}

        def call(_first: ir.Value, _count: ir.Value) -> None:
            for side, table in tables.items():
                for i, area in enumerate(areas[side]):
                    b.store(area, offset(b, table, integer(8 * i)))
            params = offset(b, fn.params, b.mul(lane, integer(8 * len(kernel.params))))
            counts = [integer(len(some)) for some in areas.values()]
            b.call(callee, [params, *tables.values(), *counts, fn.frames])
            measure_areas(fn, b, 0, areas["out"])

        ports.in_pieces(b, call)

    loop(b, function.tiles, "lane", each_lane)
