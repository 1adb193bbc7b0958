"""Prebuilt C++ kernels: from the manifest, through cppyy, to addresses LLVM can call.

This is the only module that imports cppyy, and only inside :func:`load`: a graph without archetypes
never pays for it.
"""

from __future__ import annotations

import ctypes
import functools
import math
import platform
import re
import sys
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
import msgspec
import numpy as np
import numpy.typing as npt

from amp.errors import ArchetypeUnavailable

APART = 3
"""Numbers between the planes of what `Archetype` calls a kernel with."""
Array = npt.NDArray[np.float64]
Arrays = Mapping[str, Array]

# What each x86-64 level adds to the one before it, in LLVM's words.
_LEVELS = {
    "v2": {"cx16", "popcnt", "sahf", "sse3", "sse4.1", "sse4.2", "ssse3"},
    "v3": {"avx", "avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe", "xsave"},
    "v4": {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"},
}

_SIZES = "const int64_t* sizes"
_GIVEN = f"const double* params, {_SIZES}, const double*const* in, const int64_t* in_stride"
PROTOTYPES = {
    "forward": f"void amp_%s_forward({_GIVEN}, double*const* out, const int64_t* out_stride, "
    "double* state, double* scratch, int64_t frames)",
    "adjoint": f"void amp_%s_adjoint({_GIVEN}, const double*const* dout, const int64_t* dout_stride, "
    "double*const* din, const int64_t* din_stride, double* dparams, const double* state, "
    "double* dstate, double* scratch, int64_t frames)",
    "state": f"int64_t amp_%s_state({_SIZES})",
    "scratch": f"int64_t amp_%s_scratch({_SIZES}, int64_t frames)",
    "prepared": f"int64_t amp_%s_prepared({_SIZES})",
    "prepare": f"void amp_%s_prepare(double* params, {_SIZES})",
}
"""The functions of an archetype, as cppyy words what ``archetype.hpp`` declares; the last two are those
of one that ``prepares``."""


class Port(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An inlet or outlet of a kernel: its planes, and its tokens a firing."""

    name: str
    planes: str
    rate: str = "1"


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A param of a kernel, row-major."""

    name: str
    shape: tuple[str, ...] = ()


class SelfTest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A call with known values, and what it must leave."""

    sizes: tuple[int, ...]
    frames: int
    given: dict[str, Any]
    expected: dict[str, Any]


class Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One archetype of the manifest; the file says what its fields mean."""

    name: str
    source: str
    about: str
    reference: str
    sizes: tuple[str, ...]
    params: tuple[Table, ...]
    inlets: tuple[Port, ...]
    outlets: tuple[Port, ...]
    self_test: SelfTest
    twin: str = ""
    prepares: bool = False
    counts: int = 0
    tolerance: float = 0.0

    @property
    def prototypes(self) -> dict[str, str]:
        """The declaration of each function, as cppyy words it."""
        kinds = [kind for kind in PROTOTYPES if self.prepares or not kind.startswith("prepare")]
        return {kind: PROTOTYPES[kind] % self.name for kind in kinds}

    def symbol(self, kind: str) -> str:
        """Name of a function."""
        return f"amp_{self.name}_{kind}"

    def number(self, text: str, sizes: Sequence[int]) -> int:
        """What a product of whole numbers and names of sizes comes to."""
        known = dict(zip(self.sizes, sizes, strict=True))
        factors = [factor.strip() for factor in text.split("*")]
        return math.prod(known[f] if f in known else int(f) for f in factors)

    def shape(self, table: Table, sizes: Sequence[int]) -> tuple[int, ...]:
        """Shape of a param."""
        return tuple(self.number(extent, sizes) for extent in table.shape)

    def extent(self, port: Port, sizes: Sequence[int], frames: int) -> tuple[int, int]:
        """Planes of a port, and its tokens in so many firings."""
        return self.number(port.planes, sizes), frames * self.number(port.rate, sizes)


@dataclass(frozen=True, eq=False)
class Archetype:
    """A kernel in memory: its manifest row, and the machine address of each of its functions.

    The methods are for tests and for what is done once; generated code calls `address` directly.
    """

    row: Row
    address: Mapping[str, int]

    def count(self, kind: str, sizes: Sequence[int]) -> int:
        """Doubles of ``state`` of a lane, or of what is ``prepared`` behind the params."""
        if kind not in self.address:
            return 0
        function = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p)(self.address[kind])
        return int(function(_integers(sizes).ctypes.data))

    def scratch(self, sizes: Sequence[int], frames: int) -> int:
        """Doubles of scratch memory for calls of at most ``frames`` firings."""
        kinds = ctypes.c_int64, ctypes.c_void_p, ctypes.c_int64
        function = ctypes.CFUNCTYPE(*kinds)(self.address["scratch"])
        return int(function(_integers(sizes).ctypes.data, frames))

    def prepare(self, params: int, sizes: Sequence[int]) -> None:
        """Have what follows the params at an address made of them."""
        if "prepare" in self.address:
            function = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)
            function(self.address["prepare"])(params, _integers(sizes).ctypes.data)

    def forward(
        self, sizes: Sequence[int], frames: int, given: Arrays, state: Array | None = None
    ) -> dict[str, Array]:
        """Outlets by name, (planes, tokens), of the params and inlets that are ``given``; an inlet that is
        not is null. ``state`` is moved on; it is a fresh one if not given."""
        row = self.row
        made = {p.name: _room(row.extent(p, sizes, frames)) for p in row.outlets}
        self._call("forward", sizes, frames, given, [_ports(row.outlets, made)], [
            self.fresh(sizes) if state is None else state,
        ])  # fmt: skip
        return made

    def adjoint(
        self,
        sizes: Sequence[int],
        frames: int,
        given: Arrays,
        state: Array | None = None,
        d_state: Array | None = None,
        wanted: Sequence[str] | None = None,
    ) -> dict[str, Array]:
        """Cotangents ``d_<name>`` of the params and inlets, or of those that are ``wanted``; ``given`` are
        the inlets and params, and by ``d_<name>`` the cotangents of the outlets and what those of the
        params are added to. ``d_state`` is moved back."""
        row = self.row
        names = [table.name for table in row.params] + [port.name for port in row.inlets]
        names = [name for name in names if wanted is None or name in wanted]
        into = {
            p.name: _room(row.extent(p, sizes, frames))
            for p in row.inlets
            if p.name in names and p.name in given
        }
        d_params = self._flat(sizes, given, "d_")
        wants_params = any(table.name in names for table in row.params)
        outward = {p.name: np.ascontiguousarray(given[f"d_{p.name}"]) for p in row.outlets}
        self._call(
            "adjoint",
            sizes,
            frames,
            given,
            [_ports(row.outlets, outward), _ports(row.inlets, into)],
            [
                d_params if wants_params else None,
                self.fresh(sizes) if state is None else state,
                self.fresh(sizes) if d_state is None else d_state,
            ],
        )
        made, at = {f"d_{name}": array for name, array in into.items()}, 0
        for table in row.params:
            shape = row.shape(table, sizes)
            if table.name in names:
                made[f"d_{table.name}"] = d_params[at : at + math.prod(shape)].reshape(shape)
            at += math.prod(shape)
        return made

    def fresh(self, sizes: Sequence[int]) -> Array:
        """The state of a lane at first; a number at least."""
        return np.zeros(max(self.count("state", sizes), 1))

    def _flat(self, sizes: Sequence[int], given: Arrays, prefix: str = "") -> Array:
        """The params side by side, zeros if they are not given."""
        rows = [(prefix + t.name, self.row.shape(t, sizes)) for t in self.row.params]
        flat = [np.ravel(given[n]) if n in given else np.zeros(math.prod(s)) for n, s in rows]
        return np.concatenate([*flat, np.zeros(0)]).astype(np.float64)

    def _call(
        self,
        kind: str,
        sizes: Sequence[int],
        frames: int,
        given: Arrays,
        ports: list[tuple[Any, Array]],
        memory: list[Array | None],
    ) -> None:
        numbers = np.zeros(self.scratch(sizes, frames) + 8)
        scratch = numbers[-numbers.ctypes.data % 64 // 8 :]
        scratch[:] = np.nan  # a kernel that reads what it has not written must show
        params = np.concatenate([self._flat(sizes, given), np.zeros(self.count("prepared", sizes))])
        self.prepare(params.ctypes.data, sizes)
        whole = _integers(sizes)
        inlets = {
            p.name: np.ascontiguousarray(given[p.name]) for p in self.row.inlets if p.name in given
        }
        ends = [_ports(self.row.inlets, inlets), *ports]
        arguments: list[int | None] = [params.ctypes.data, whole.ctypes.data]
        for pointers, strides in ends:
            arguments += [ctypes.addressof(pointers), strides.ctypes.data]
        arguments += [None if array is None else array.ctypes.data for array in memory]
        arguments += [scratch.ctypes.data, frames]
        kinds = [*[ctypes.c_void_p] * (len(arguments) - 1), ctypes.c_int64]
        ctypes.CFUNCTYPE(None, *kinds)(self.address[kind])(*arguments)


def _room(shape: tuple[int, int]) -> Array:
    """Planes for a kernel to write, some numbers apart. They are not zero: one that adds where it should
    write must show."""
    return np.full((shape[0], shape[1] + APART), np.nan)[:, : shape[1]]


def _integers(sizes: Sequence[int]) -> npt.NDArray[np.int64]:
    return np.array([*sizes, 0], np.int64)


def _ports(ports: Sequence[Port], arrays: Arrays) -> tuple[Any, Any]:
    """Pointer and stride of each port's array; null if it has none."""
    found = [arrays.get(port.name) for port in ports]
    pointers = [None if a is None else a.ctypes.data for a in found]
    strides = [0 if a is None else a.strides[0] // 8 for a in found]
    return (ctypes.c_void_p * max(len(found), 1))(*pointers), _integers(strides)


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
    >>> manifest()["matrix_mix"].symbol("forward")
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
    cppyy.include(str(installed(f"{row.source}.hpp")))
    kernel = Archetype(row, _addresses(cppyy, row))
    self_test(kernel)
    return kernel


def open_level(name: str, level: str) -> Archetype:
    """The kernel of one level's library, unchecked: cppyy has only the one that suits the host."""
    library = ctypes.CDLL(str(library_path(level)))

    def address(kind: str) -> int:
        return ctypes.cast(library[row.symbol(kind)], ctypes.c_void_p).value or 0

    row = manifest()[name]
    return Archetype(row, {kind: address(kind) for kind in row.prototypes})


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


def _addresses(cppyy: Any, row: Row) -> dict[str, int]:
    """The functions, if the header declares them as the row says."""
    found = {}
    for kind, prototype in row.prototypes.items():
        function = getattr(cppyy.gbl, row.symbol(kind), None)
        reflected = str(getattr(function, "__doc__", "nothing of that name"))
        reflected = re.sub("^(long )+", "int64_t ", reflected)  # what is returned has no alias
        if reflected != prototype:
            raise ArchetypeUnavailable(
                "a kernel's header agrees with its manifest row",
                expected=prototype,
                got=reflected,
                where=row.symbol(kind),
                fix="declare it with AMP_ARCHETYPE, or AMP_PREPARED_ARCHETYPE if the row says "
                "`prepares`",
            )
        found[kind] = int(cppyy.addressof(function))
    return found


def self_test(kernel: Archetype) -> None:
    """Call a kernel as its row says.

    Raises
    ------
    ArchetypeUnavailable
        If what it leaves is something else.
    """
    test, row = kernel.row.self_test, kernel.row
    given = {name: np.array(value, np.float64) for name, value in test.given.items()}
    calls: list[Callable[..., dict[str, Array]]] = [kernel.forward, kernel.adjoint]
    for kind, call in zip(("forward", "adjoint"), calls, strict=True):
        for name, value in call(test.sizes, test.frames, given).items():
            expected = np.array(test.expected[name], np.float64)
            if value.shape != expected.shape or not _agree(value, expected, row.tolerance):
                raise ArchetypeUnavailable(
                    "a kernel passes its self-test"
                    + (f" to {row.tolerance}" if row.tolerance else ", bit for bit"),
                    expected=f"{name} = {test.expected[name]}",
                    got=f"{name} = {value.tolist()}",
                    where=f"{row.symbol(kind)} in {library_path(host_level())}",
                    fix="reinstall amp, or use the node's implementation in IR",
                )


def _agree(value: Array, expected: Array, tolerance: float) -> bool:
    if not tolerance:
        return np.array_equal(value, expected)
    return bool((np.abs(value - expected) <= tolerance).all())
