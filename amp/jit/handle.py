"""A program as native callers see it: the structures of ``amp/archetypes_cpp/program.cpp``, field by field.

Addresses are words, like everything else.
"""

from __future__ import annotations

import ctypes
import functools
from typing import TYPE_CHECKING, Any

import numpy as np

from amp.jit.runtime import check_tables, load_library

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from amp.jit.bind import BorderPort, Bound

CELL = np.dtype([("entry", np.int64), ("row", np.int64)])
PORT = np.dtype(
    [("cells", np.int64), ("cell_count", np.int64), ("rows", np.int64), ("start", np.int64)]
)
PROGRAM = np.dtype(
    [
        ("user", np.int64),
        ("waiting", np.int64),
        ("ready", np.int64),
        ("clock", np.int64),
        ("network", np.int64),
        ("driver", np.int64),
        ("steps", np.int64),
        ("step_count", np.int64),
        ("block", np.int64),
        ("heat", np.int64),
        ("inputs", np.int64),
        ("input_count", np.int64),
        ("outputs", np.int64),
        ("output_count", np.int64),
    ]
)
_TARGET = ("network", "driver", "steps", "step_count", "block")

DONE, BUSY, STANDING, INVALID, STARVED = range(5)


class Handle:
    """A program's native entry: a C function, and the address that it is called with.

    ::

        int64_t run(void* program, const double* const* inputs, double* const* outputs, int64_t frames)

    moves the clock on by ``frames``. ``inputs`` and ``outputs`` have a pointer to a C-contiguous float64
    array ``(batch, channels, frames)`` for each name of `inputs` and of `outputs`, in that order; no
    output overlaps another array. No Python runs and the GIL is not needed.

    =============  =======================================================================
    answer         what it means; but for the last one, nothing has changed
    =============  =======================================================================
    0              done
    1 (BUSY)       another thread uses the program
    2 (STANDING)   a crossfade is under way, which `Program.run` finishes; or the program
                   was swapped for one with other outputs: call `Program.handle` again
    3 (INVALID)    ``frames`` is negative, or a pointer is null
    4 (STARVED)    a defect of amp, please report it
    =============  =======================================================================

    Attributes
    ----------
    run
        The function, as ctypes knows it; its arguments are integers. Python can call it, and so can a
        function compiled by ``numba.njit``.
    address
        Where the function starts. It is the same for all programs.
    program
        What `run` is called with first. It is good as long as the handle lives, which keeps the
        program.
    inputs, outputs
        Names in the order of the pointers: that in which the graph was made.
    """

    def __init__(self, owner: object) -> None:
        self._owner = owner  # lives as long as someone can call it
        self._table = np.zeros(1, PROGRAM)
        self._fits = False
        self._library = _functions()
        self.program: int = self._table.ctypes.data
        self.run: Callable[[int, int, int, int], int] = self._library.amp_program_run
        self.address = ctypes.cast(self._library.amp_program_run, ctypes.c_void_p).value or 0
        self.inputs: tuple[str, ...] = ()
        self.outputs: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"<Handle of {self._owner!r}>"

    def follow(
        self, bound: Bound, target: dict[str, int], heat: int, *, accept: bool = False
    ) -> None:
        """Be that of a program with this memory and engine, and heat at that address unless it is 0; of
        other outputs only if ``accept``."""
        ports = sorted(bound.border_ports(), key=lambda port: port.node.index)
        sides = {
            side: [port for port in ports if port.node.type.border == side]
            for side in ("input", "output")
        }
        self._kept: list[NDArray[Any]] = []
        for side, some in sides.items():
            rows = np.zeros(len(some), PORT)
            for row, port in zip(rows, some, strict=True):
                self._fill(row, port, bound.batch)
            self._kept.append(rows)
            self._table[f"{side}s"], self._table[f"{side}_count"] = rows.ctypes.data, len(rows)
        self._table["clock"], self._table["heat"] = bound.clock.ctypes.data, heat
        for name in _TARGET:
            self._table[name] = target.get(name, 0)
        outputs = tuple((port.node.name, port.node.channels) for port in sides["output"])
        if accept:
            self._known = outputs
            self.inputs, self.outputs = (
                tuple(port.node.name for port in some) for some in sides.values()
            )
        self._fits = outputs == self._known

    def _fill(self, row: Any, port: BorderPort, batch: int) -> None:
        row["rows"] = batch * port.node.channels
        cells = np.ascontiguousarray(port.cells(int(row["rows"])), np.int64)
        self._kept.append(cells)
        row["cells"], row["cell_count"], row["start"] = (
            cells.ctypes.data,
            len(cells),
            port.pace.start,
        )

    def enter(self) -> bool:
        """Keep native callers out, unless one is in."""
        return bool(self._library.amp_program_enter(self.program))

    def wait(self) -> None:
        """Keep them out when the one that is in has come out."""
        self._library.amp_program_wait(self.program)

    def leave(self, *, ready: bool) -> None:
        """Let native callers in, who find the program ``ready`` or not."""
        self._library.amp_program_leave(self.program, ready and self._fits)


@functools.cache
def _functions() -> Any:
    """The runtime library, with the types of what is called here."""
    found = load_library()
    word, place = ctypes.c_int64, ctypes.c_size_t
    for name, arguments, result in (
        ("run", [place, place, place, word], word),
        ("enter", [place], word),
        ("wait", [place], None),
        ("leave", [place, word], None),
    ):
        function = getattr(found, f"amp_program_{name}")
        function.argtypes, function.restype = arguments, result
    check_tables(found.amp_program_sizes, (PROGRAM, PORT, CELL))
    return found
