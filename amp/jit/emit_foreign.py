"""Functions from outside in generated code: one call for each lane, by address."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llvmlite import ir

from amp.jit.emit_ports import Ports
from amp.jit.emit_power import measure_areas
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
        given = [_given(fn, b, inlet, ports, own, params) for inlet in foreign.inlets]
        made = [_made(readers, ports, own, foreign.planes) for readers in foreign.outlets]
        for table, places in ((inputs, given), (outputs, made)):
            for i, place in enumerate(places):
                b.store(place, offset(b, table, integer(8 * i)))
        callee = typed(word(b, params, 0, PTR), TYPE)
        rate = ir.Constant(F64, foreign.sample_rate)
        arguments = [inputs, outputs, channels, state, fn.frames, rate]

        def call(_first: ir.Value, _count: ir.Value) -> None:
            b.call(callee, arguments)
            for readers in foreign.outlets:
                for port in readers[:1]:
                    measure_areas(fn, b, port, ports.areas["out", port])

        ports.in_pieces(b, call)

    loop(b, function.tiles, "lane", each_lane)


def _given(
    fn: KernelFunction,
    b: ir.IRBuilder,
    inlet: tuple[str, int, int],
    ports: Ports,
    own: Iterator[ir.Value],
    params: ir.Value,
) -> ir.Value:
    """The array of an inlet: what its port has gathered, or a constant in every frame."""
    kind, first, planes = inlet
    if kind == "in":
        return ports.areas["in", first][0]
    areas = [next(own) for _ in range(planes)]
    for plane, area in enumerate(areas):
        _fill(b, area, word(b, params, first + plane, F64), fn.frames)
    return areas[0]


def _made(readers: tuple[int, ...], ports: Ports, own: Iterator[ir.Value], planes: int) -> ir.Value:
    """The array of an outlet, which all its ports share."""
    if not readers:
        areas = [next(own) for _ in range(planes)]
        return areas[0]
    areas = ports.areas["out", readers[0]]
    for port in readers:
        ports.areas["out", port] = areas
    return areas[0]


def _own_areas(fn: KernelFunction, b: ir.IRBuilder) -> Iterator[ir.Value]:
    """Scratch memory behind that of the ports, plane by plane."""
    used = port_areas(fn.kernel)
    while True:
        yield offset(b, fn.scratch, fn.bytes(b, fn.frames, used))
        used += 1


def _fill(b: ir.IRBuilder, area: ir.Value, value: ir.Value, frames: ir.Value) -> None:
    """The same number in every frame."""
    loop(b, frames, "frame", lambda i: b.store(value, offset(b, area, b.mul(i, integer(8)))))
