"""Prebuilt C++ kernels: from the manifest, through cppyy, to an address LLVM can call.

This is the only module that imports cppyy, and only inside :func:`load`: a graph without archetypes
never pays for it.
"""

from __future__ import annotations

import ctypes
import functools
import platform
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import llvmlite.binding as llvm
import msgspec
import numpy as np
import numpy.typing as npt

from amp.errors import ArchetypeUnavailable

Values = Mapping[str, "int | npt.NDArray[np.float64]"]

# What each x86-64 level adds to the one before it, in LLVM's words.
_LEVELS = {
    "v2": {"cx16", "popcnt", "sahf", "sse3", "sse4.1", "sse4.2", "ssse3"},
    "v3": {"avx", "avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe", "xsave"},
    "v4": {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"},
}


class Argument(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One argument of a kernel, as the manifest declares it."""

    name: str
    type: Literal["const double*", "double*", "const double*const*", "double*const*", "int64_t"]
    direction: Literal["in", "out", "inout"]
    shape: tuple[str, ...] = ()


class SelfTest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A call with known values, and what it must leave in its outputs, bit for bit."""

    given: dict[str, int | list[list[float]]]
    expected: dict[str, list[list[float]]]


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One C entry point: its symbol, its arguments in order, and its self-test."""

    symbol: str
    reference: str
    aliasing: Literal["none"]
    alignment: int
    arguments: tuple[Argument, ...]
    self_test: SelfTest

    @property
    def prototype(self) -> str:
        """The signature as cppyy words it."""
        arguments = ", ".join(f"{a.type} {a.name}" for a in self.arguments)
        return f"void {self.symbol}({arguments})"


class Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One archetype of the manifest; `twin` says its order of operations in IR words."""

    name: str
    header: str
    twin: str
    forward: Entry
    adjoint: Entry


@dataclass(frozen=True)
class Archetype:
    """A loaded and tested kernel: machine addresses of its two entry points."""

    name: str
    forward_address: int
    adjoint_address: int


def host_level() -> str:
    """Name the build of the kernels that suits this processor.

    Examples
    --------
    >>> host_level() in {"v2", "v3", "v4", "portable"}
    True
    """
    if platform.machine().lower() not in {"x86_64", "amd64"}:
        return "portable"
    present = {name for name, has in llvm.get_host_cpu_features().items() if has}
    best = ""
    for level, needed in _LEVELS.items():
        if not needed <= present:
            break
        best = level
    if not best:
        raise ArchetypeUnavailable(
            "an archetype needs a processor of x86-64 level v2 or later",
            expected=", ".join(sorted(_LEVELS["v2"])),
            got=f"a processor without {', '.join(sorted(_LEVELS['v2'] - present))}",
            fix="use the node's implementation in IR",
        )
    return best


def library_path(level: str) -> Path:
    """Locate the kernels built for one level."""
    return installed(f"lib/libamp_archetypes_{level}.so")


@functools.cache
def manifest() -> dict[str, Row]:
    """Read the manifest: one row per archetype, by name.

    Examples
    --------
    >>> manifest()["matrix_mix"].forward.symbol
    'amp_matrix_mix_forward'
    """
    table = tomllib.loads(installed("manifest.toml").read_text(encoding="utf-8"))
    rows = msgspec.convert(table["archetype"], tuple[Row, ...])
    return {row.name: row for row in rows}


@functools.cache
def load(name: str) -> Archetype:
    """Load an archetype, check its signature, test it once, and give its addresses.

    Parameters
    ----------
    name
        A name of the manifest.

    Raises
    ------
    ArchetypeUnavailable
        When it is unknown, not built, cannot be reflected, or fails its check. A failure is not
        remembered: after mending the installation the next call tries again.
    """
    row = manifest().get(name)
    if row is None:
        raise ArchetypeUnavailable(
            "an archetype has a row in the manifest",
            expected=f"one of {', '.join(sorted(manifest()))}",
            got=repr(name),
            fix="correct the name, or add a row to amp/archetypes_cpp/manifest.toml",
        )
    cppyy = _cppyy()
    cppyy.load_library(str(library_path(host_level())))
    cppyy.include(str(installed(row.header)))
    addresses = [_address(cppyy, entry) for entry in (row.forward, row.adjoint)]
    for entry, address in zip((row.forward, row.adjoint), addresses, strict=True):
        _self_test(entry, address)
    return Archetype(name, *addresses)


def invoke(entry: Entry, address: int, values: Values) -> None:
    """Call a kernel on NumPy arrays, in place: for tests; generated code calls it directly.

    Parameters
    ----------
    entry
        The manifest's declaration of the entry point.
    address
        Where its machine code is.
    values
        Every argument by name: an int, or a C-contiguous float64 array of two dimensions.
    """
    types = [ctypes.c_int64 if a.type == "int64_t" else ctypes.c_void_p for a in entry.arguments]
    arguments = [_argument(a, values[a.name]) for a in entry.arguments]
    ctypes.CFUNCTYPE(None, *types)(address)(*arguments)


def _argument(argument: Argument, value: int | npt.NDArray[np.float64]) -> Any:
    if isinstance(value, int):
        return value
    if argument.type.endswith("*const*"):
        return (ctypes.c_void_p * len(value))(*(channel.ctypes.data for channel in value))
    return value.ctypes.data


def installed(name: str) -> Path:
    """Path of a file of ``amp/archetypes_cpp``, built or not."""
    # An editable install keeps sources and built libraries in two folders; the package knows both.
    roots = [Path(root) / "archetypes_cpp" for root in sys.modules["amp"].__path__]
    for root in roots:
        if (root / name).is_file():
            return root / name
    raise ArchetypeUnavailable(
        "the prebuilt kernels are installed beside the package",
        expected=name,
        got=f"no such file in {', '.join(map(str, roots))}",
        fix="install amp with its build (pip install), not from a bare copy of its sources",
    )


def _cppyy() -> Any:
    try:
        import cppyy
    except (ImportError, RuntimeError) as error:
        raise ArchetypeUnavailable(
            "an archetype is loaded through cppyy",
            got=str(error),
            fix="pip install 'amp-dsp[archetypes]'",
        ) from error
    return cppyy


def _address(cppyy: Any, entry: Entry) -> int:
    function = getattr(cppyy.gbl, entry.symbol, None)
    reflected = getattr(function, "__doc__", "nothing of that name")
    if reflected != entry.prototype:
        raise ArchetypeUnavailable(
            "a kernel's header agrees with its manifest row",
            expected=entry.prototype,
            got=reflected,
            where=entry.symbol,
            fix="make the row and the header say the same",
        )
    return int(cppyy.addressof(function))


def _self_test(entry: Entry, address: int) -> None:
    given, expected = entry.self_test.given, entry.self_test.expected
    values: dict[str, int | npt.NDArray[np.float64]] = {
        name: value if isinstance(value, int) else np.array(value) for name, value in given.items()
    }
    for argument in entry.arguments:
        if argument.direction == "out":
            # Not zero: a kernel that adds where it should write must show.
            shape = [given[size] for size in argument.shape]
            values[argument.name] = np.full(shape, np.nan)  # type: ignore[arg-type]
    invoke(entry, address, values)
    for name, value in expected.items():
        if not np.array_equal(values[name], value):
            raise ArchetypeUnavailable(
                "a kernel passes its self-test, bit for bit",
                expected=f"{name} = {value}",
                got=f"{name} = {np.asarray(values[name]).tolist()}",
                where=f"{entry.symbol} in {library_path(host_level())}",
                fix="reinstall amp, or use the node's implementation in IR",
            )
