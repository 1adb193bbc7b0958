"""From a kernel in IR to machine code, new or from the cache."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, NamedTuple

from amp.contract import NATIVE
from amp.ir import print_kernel
from amp.jit.archetypes import load
from amp.jit.emit import emit_kernel
from amp.jit.emit_block import archetype_symbol
from amp.jit.emit_border import emit_move, moves, symbol
from amp.jit.emit_planes import emit_planes, planes_symbol
from amp.jit.engine import native, registers

if TYPE_CHECKING:
    from amp.ir import BlockCall, Kernel
    from amp.jit.engine import Native
    from amp.jit.lowered import Call


class Natives(NamedTuple):
    """Machine code of a call's kernel, and of those that run once, before and after it; a router of the
    scheduler's has none."""

    kernel: Native | None = None
    prepare: Native | None = None
    finish: Native | None = None


def generate(call: Call) -> Natives:
    """Machine code of all kernels of a call."""
    code = call.code
    if call.router:
        return Natives()
    ragged = bool(call.lanes % call.width)
    lone = call.lanes == call.groups[0].slots
    single = call.tiles == 1
    kernel = machine_code(code.kernel, call.width, ragged=ragged, single=single, lone=lone)
    once = (
        None if one is None else machine_code(one, call.width)
        for one in (code.prepare, code.finish)
    )
    return Natives(kernel, *once)


def machine_code(
    kernel: Kernel,
    width: int,
    *,
    ragged: bool = False,
    single: bool = True,
    lone: bool = False,
) -> Native:
    """Machine code of a kernel that computes ``width`` lanes at a time.

    Parameters
    ----------
    kernel, width
        The kernel and its lanes.
    ragged
        The lanes do not fill the last tile.
    single
        There is one tile, or it does not matter.
    lone
        Each term of a sum is one lane.
    """
    if kernel.block is None:
        imports = {symbol(name, width): _move(name, width).address for name in moves(kernel)}
    else:
        imports = _called(kernel.archetype, kernel.block)
    sums = any(port.mode == "sum" for port in kernel.outlets)
    ragged, lone = ragged and sums, lone and sums  # only they can tell
    tiles = {"ragged": ragged, "single": single, "lone": lone}
    return native(
        "kernel",
        f"width {width} {tiles}\n{print_kernel(kernel)}",
        lambda: emit_kernel(kernel, width, registers(width), **tiles),
        imports,
    )


@functools.cache
def _move(name: str, width: int) -> Native:
    return native(name, f"width {width}", lambda: emit_move(name, width))


def _called(archetype: str, block: BlockCall) -> dict[str, int]:
    """What the call of a block calls by name."""
    found = {planes_symbol(name): _move_planes(name).address for name in ("gather", "scatter")}
    if archetype != NATIVE:
        found[archetype_symbol(archetype, block.entry)] = load(archetype).address[block.entry]
    return found


@functools.cache
def _move_planes(name: str) -> Native:
    return native(name, "planes", lambda: emit_planes(name))
