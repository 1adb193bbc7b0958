"""The arena: one allocation for all memory of a program, and the rings in it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

    from amp.jit.lowered import Ring

ALIGN = 64
APART = 512
"""Bytes of a ring's tile from which on tiles are a cache line apart, so that they do not meet in one set; it
would be most of the memory of shorter ones."""


class Arena:
    """One allocation, handed out in aligned slices before it is made."""

    def __init__(self) -> None:
        self.size = 0
        self._bytes: NDArray[np.uint8] | None = None

    def reserve(self, count: int) -> int:
        """Offset of ``count`` bytes; slices are a cache line apart, so that streams of one length
        do not meet in the same cache set."""
        at = self.size
        self.size += -(-count // ALIGN) * ALIGN + ALIGN
        return at

    def allocate(self) -> None:
        """Make the memory, all zeros."""
        raw = np.zeros(self.size + ALIGN, np.uint8)
        skip = -raw.ctypes.data % ALIGN
        self._bytes = raw[skip : skip + self.size]
        self.base = self._bytes.ctypes.data

    def view(self, at: int, shape: tuple[int, ...], dtype: DTypeLike = np.float64) -> NDArray[Any]:
        """Array of ``shape`` at offset ``at``."""
        assert self._bytes is not None
        kind = np.dtype(dtype)
        count = math.prod(shape) * kind.itemsize
        return self._bytes[at : at + count].view(kind).reshape(shape)

    def clear(self, until: int) -> None:
        """Zero everything before offset ``until``."""
        assert self._bytes is not None
        self._bytes[:until] = 0


class BoundRing:
    """A ring with an address; its frames may be more than it was planned with."""

    __slots__ = ("_arena", "at", "frames", "plane_stride", "ring", "stamps_at", "tile_stride")

    def __init__(self, ring: Ring, frames: int, arena: Arena) -> None:
        self.ring, self.frames, self._arena = ring, frames, arena
        tiles = -(-ring.lanes // ring.width)
        row = frames * ring.width * 8
        self.tile_stride = row + (ALIGN if row >= APART else 0)
        self.plane_stride = tiles * self.tile_stride
        self.at = arena.reserve(self.bytes)
        self.stamps_at = arena.reserve(8 * frames) if ring.stamped else -1

    @property
    def bytes(self) -> int:
        """What its tokens take."""
        return self.ring.planes * self.plane_stride

    @property
    def mask(self) -> int:
        """Of the index of a token: its slot."""
        return self.frames - 1

    @property
    def slot_stride(self) -> int:
        """Bytes from one frame to the next."""
        return self.ring.width * 8

    def offsets(self, plane: NDArray[np.int64] | int, lane: NDArray[np.int64]) -> NDArray[np.int64]:
        """Arena offset of slot 0 of each (plane, lane)."""
        tile, place = np.divmod(lane, self.ring.width)
        at = self.at + plane * self.plane_stride + tile * self.tile_stride + place * 8
        return np.asarray(at, np.int64)

    def tokens(self) -> NDArray[np.float64]:
        """Array (planes, tiles, slots, width)."""
        strides = (self.plane_stride, self.tile_stride, self.slot_stride, 8)
        shape = (self.ring.planes, self.plane_stride // self.tile_stride, self.frames)
        flat = self._arena.view(self.at, (self.bytes // 8,))
        return np.lib.stride_tricks.as_strided(flat, (*shape, self.ring.width), strides)

    def stamps(self) -> NDArray[np.int64]:
        """When each slot's token was written, if the ring says so."""
        return self._arena.view(self.stamps_at, (self.frames,), np.int64)

    def put(self, lanes: NDArray[np.int64], tokens: NDArray[np.float64]) -> None:
        """Write tokens of shape (planes, lanes, count) as the last ones before index 0."""
        tile, place = np.divmod(lanes, self.ring.width)
        slots = np.arange(-tokens.shape[2], 0) & self.mask
        self.tokens()[:, tile[:, None], slots[None, :], place[:, None]] = tokens

    def take_over(self, other: BoundRing, written: int) -> None:
        """Copy all tokens of a smaller ring, whose next token has the index ``written``."""
        index = np.arange(written - other.frames, written)
        self.tokens()[:, :, index & self.mask] = other.tokens()[:, :, index & other.mask]
        if self.stamps_at >= 0:
            self.stamps()[index & self.mask] = other.stamps()[index & other.mask]
