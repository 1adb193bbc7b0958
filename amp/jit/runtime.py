"""The native runtime: the KPN scheduler and the thread pool, prebuilt, with plain C functions."""

from __future__ import annotations

import ctypes
import functools
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from amp.errors import ArchetypeUnavailable
from amp.jit import kpn
from amp.jit.archetypes import installed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np

KEEP_WORDS, STEPS_WORDS, BLOCKS_WORDS = 16, 4, 4
"""Words of the structures of ``amp/archetypes_cpp/tape.hpp``."""
_TASK = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64)


@dataclass(frozen=True)
class Pool:
    """The thread pool's C functions; `run_address` is `run` for generated code.

    Attributes
    ----------
    create
        ``create(threads)`` gives a handle, or None when no thread could be started.
    destroy
        ``destroy(handle)`` joins the workers.
    run
        ``run(handle, task, argument, count)`` calls ``task(argument, i)`` for each i below count,
        on the workers and the caller, and returns when all are done. `task` is made by :meth:`task`
        or is the address of generated code.
    """

    create: Callable[[int], int | None]
    destroy: Callable[[int], None]
    run: Callable[[int | None, Any, int | None, int], None]
    run_address: int

    @staticmethod
    def task(function: Callable[[Any, int], None]) -> Any:
        """Make a Python function ``(argument, index)`` a task; keep it alive while it runs."""
        return _TASK(function)


class Threads:
    """A thread pool that dies with the program that it works for."""

    def __init__(self, threads: int) -> None:
        self._library = load_pool()
        self.handle: int = self._library.create(threads) or 0
        self.run_address = self._library.run_address

    def __del__(self) -> None:
        if getattr(self, "handle", None):
            self._library.destroy(self.handle)


@functools.cache
def load_pool() -> Pool:
    """Load the thread pool.

    Examples
    --------
    >>> import ctypes
    >>> pool = load_pool()
    >>> seen = (ctypes.c_int64 * 4)()
    >>> @pool.task
    ... def square(argument, index):
    ...     seen[index] = index * index
    >>> handle = pool.create(2)
    >>> pool.run(handle, square, None, 4)
    >>> pool.destroy(handle)
    >>> list(seen)
    [0, 1, 4, 9]
    """
    found = load_library()
    create, destroy, run = found.amp_pool_create, found.amp_pool_destroy, found.amp_pool_run
    create.argtypes, create.restype = [ctypes.c_int64], ctypes.c_void_p
    destroy.argtypes, destroy.restype = [ctypes.c_void_p], None
    # A bare pointer, so that a Python task and the address of generated code both fit.
    run.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64]
    run.restype = None
    return Pool(create, destroy, run, ctypes.cast(run, ctypes.c_void_p).value or 0)


@functools.cache
def load_scheduler() -> Callable[[int, int, int], int]:
    """``run(network, clock, frames)`` of ``amp/archetypes_cpp/kpn.hpp``, given addresses.

    Raises
    ------
    ArchetypeUnavailable
        When the library is not installed, or was built from other sources.
    """
    found = load_library()
    run = found.amp_kpn_run
    check_tables(found.amp_kpn_sizes, kpn.TABLES)
    run.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64]
    run.restype = ctypes.c_int64
    scheduler: Callable[[int, int, int], int] = run
    return scheduler


@dataclass(frozen=True)
class TapeFunctions:
    """The functions of ``amp/archetypes_cpp/tape.hpp``, given addresses."""

    record: Callable[[int, int, int, int, int], None]
    border: Callable[[int, int, int, int, int], None]
    backward: Callable[[int, int, int, int, int, int], None]


@functools.cache
def load_tape() -> TapeFunctions:
    """Load the tape.

    Raises
    ------
    ArchetypeUnavailable
        When the library is not installed, or was built from other sources.
    """
    library = load_library()
    check_sizes(library.amp_tape_sizes, [8 * n for n in (KEEP_WORDS, STEPS_WORDS, BLOCKS_WORDS)])
    record, border, backward = (
        getattr(library, f"amp_tape_{name}") for name in ("record", "border", "backward")
    )
    place, word = ctypes.c_void_p, ctypes.c_int64
    record.argtypes = [place, place, word, place, place]
    border.argtypes = [place, word, place, word, word]
    backward.argtypes = [place, place, place, word, place, place]
    record.restype = border.restype = backward.restype = None
    return TapeFunctions(record, border, backward)


def check_tables(sizes: Any, tables: Sequence[np.dtype[Any]]) -> None:
    """Raise unless the library has rows of the same ``sizes`` as ``tables``."""
    check_sizes(sizes, [table.itemsize for table in tables])


def check_sizes(sizes: Any, expected: list[int]) -> None:
    """The same for rows of so many bytes."""
    sizes.argtypes, sizes.restype = [ctypes.c_int64], ctypes.c_int64
    require_sizes([int(sizes(i)) for i in range(len(expected))], expected)


def require_sizes(built: list[int], expected: list[int]) -> None:
    """Raise unless the library was ``built`` with rows of as many bytes as are ``expected``."""
    if built != expected:
        raise ArchetypeUnavailable(
            "the runtime was built from this package's sources",
            expected=f"table rows of {expected} bytes",
            got=f"{built}",
            fix="install amp again",
        )


@dataclass(frozen=True)
class HeatFunctions:
    """The functions of ``amp/archetypes_cpp/heat.hpp``, given addresses."""

    advance: Callable[[int, int, int], None]
    peek: Callable[[int, int, int, int], None]
    energy: Callable[[int, int, int, int], None]
    back: Callable[[int, int, int, int], None]


@functools.cache
def load_heat(size: int) -> HeatFunctions:
    """The functions of a table of ``size`` bytes.

    Raises
    ------
    ArchetypeUnavailable
        When the library is not installed, or was built from other sources.
    """
    library = load_library()
    built = library.amp_heat_size
    built.argtypes, built.restype = [], ctypes.c_int64
    require_sizes([int(built())], [size])
    found = [getattr(library, f"amp_heat_{field.name}") for field in fields(HeatFunctions)]
    place, word = ctypes.c_void_p, ctypes.c_int64
    for function in found:
        function.argtypes, function.restype = [place, word, word, place], None
    found[0].argtypes = [place, word, place]
    return HeatFunctions(*found)


@functools.cache
def load_tracer() -> int:
    """Address of ``amp_trace_note``, see ``amp/archetypes_cpp/trace.hpp``."""
    return ctypes.cast(load_library().amp_trace_note, ctypes.c_void_p).value or 0


@functools.cache
def load_library() -> ctypes.CDLL:
    """The runtime library, whose functions still lack their types."""
    return ctypes.CDLL(str(installed("lib/libamp_runtime.so")))
