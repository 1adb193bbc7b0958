"""A bounded record of what ran when: native code writes it, Python empties it between native calls.

The layout is that of ``amp/archetypes_cpp/trace.cpp``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]

ROOM = 1 << 20
"""Events between two native calls that are kept; memory is touched as they come."""
CALL, FRAMES, BEGIN, END, THREAD = range(5)
"""Columns: number of the call among the engine's records, its firings, the CPU's counter before and
after, the system's number of the thread."""


class Events:
    """Room for events.

    Attributes
    ----------
    dropped
        Events that found no room.
    """

    def __init__(self) -> None:
        self._rows = np.empty((ROOM, THREAD + 1), np.int64)
        self._words = np.array([0, ROOM, self._rows.ctypes.data], np.int64)
        self._taken: list[Ints] = []
        self.dropped = 0

    @property
    def address(self) -> int:
        """Where native code notes them."""
        return self._words.ctypes.data

    def drain(self) -> None:
        """Take out what has been noted."""
        count = int(self._words[0])
        self._taken.append(self._rows[:count].copy())
        self.dropped += max(0, count - ROOM)
        self._words[0] = 0

    def rows(self) -> Ints:
        """Everything taken out so far."""
        self.drain()
        return np.concatenate(self._taken)
