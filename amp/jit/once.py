"""Kernels that run for one frame: before all others, for coefficients, and after them, for totals."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from amp.jit import words as w
from amp.jit.flushed import call_flushed
from amp.jit.words import Words

if TYPE_CHECKING:
    from amp.ir import Kernel
    from amp.jit.arena import Arena
    from amp.jit.engine import Native
    from amp.jit.lowered import Call


class Once:
    """One of these kernels of a call, with its memory: it has the call's lanes and one out port."""

    def __init__(self, call: Call, kernel: Kernel, native: Native, arena: Arena) -> None:
        self.kernel, self._native, self._arena = kernel, native, arena
        self._call, self._layout = call, Words.of(kernel)
        self._words_at = arena.reserve(8 * self._layout.total)
        self.param_at = arena.reserve(8 * call.tiles * call.width * len(kernel.params))

    def fill(self, states_at: int, out_at: int, planes: int) -> None:
        """Have it work on the states at one arena offset, and write to another, the first of so many
        ``planes`` of a tile there."""
        call, arena = self._call, self._arena
        words = arena.view(self._words_at, (self._layout.total,), np.int64)
        words[w.TILES], words[w.LANES] = call.tiles, call.lanes
        words[w.PARAMS] = arena.base + self.param_at
        words[w.STATES] = arena.base + states_at
        port = words[self._layout.outlet(0) :]
        port[w.BASE] = arena.base + out_at
        port[w.PLANE_STRIDE] = 8 * call.width
        port[w.TILE_STRIDE] = 8 * call.width * planes

    def run(self) -> None:
        """Run it."""
        words = self._arena.view(self._words_at, (self._layout.total,), np.int64)
        call_flushed(self._native.address, words.ctypes.data, 1)
