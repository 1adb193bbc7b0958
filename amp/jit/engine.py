"""The engine: LLVM modules to addresses, with machine code cached on disk.

The key of a cache entry is a hash of the kernel's text, the lane width, the CPU and its features, the
versions of amp and llvmlite, and the text of the emitter itself. An entry that does not match its own
checksum is compiled again.
"""

from __future__ import annotations

import functools
import hashlib
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import llvmlite
import llvmlite.binding as llvm

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from llvmlite import ir

_CHECKSUM_BYTES = 16


class Native:
    """Machine code in memory; it stays there as long as this object does.

    Attributes
    ----------
    address
        Where the function starts.
    """

    __slots__ = ("__weakref__", "_tracker", "address", "machine_code")

    def __init__(self, tracker: llvm.ResourceTracker, address: int, machine_code: bytes) -> None:
        self._tracker, self.address, self.machine_code = tracker, address, machine_code


_loaded: dict[str, Native] = {}
"""Every kernel of this process. None is unloaded: LLVM keeps the memory of a library all the same."""


class Statistics:
    """How often this process compiled, and how often it found code."""

    compiled = 0
    from_disk = 0
    from_memory = 0


def cache_directory() -> Path:
    """``$AMP_CACHE_DIR``, else ``amp`` in the user's cache directory."""
    given = os.environ.get("AMP_CACHE_DIR")
    if given:
        return Path(given)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "amp"


def native(
    symbol: str,
    text: str,
    build: Callable[[], ir.Module],
    imports: Mapping[str, int] | None = None,
) -> Native:
    """Machine code of the function ``symbol``.

    Parameters
    ----------
    symbol
        Name of the function in the module.
    text
        Everything that decides what ``build`` returns.
    build
        Makes the LLVM module; called only if no code is found.
    imports
        Addresses of the functions that the module calls by name.
    """
    key = hashlib.blake2b(
        f"{_environment()}\n{symbol}\n{text}".encode(), digest_size=20
    ).hexdigest()
    found = _loaded.get(key)
    if found is not None:
        Statistics.from_memory += 1
        return found
    path = cache_directory() / key[:2] / f"{key}.o"
    code = _read(path, key)
    if code is None:
        Statistics.compiled += 1
        code = compile_module(build())
        _write(path, key, code)
    else:
        Statistics.from_disk += 1
    library = llvm.JITLibraryBuilder().add_current_process().add_object_img(code)
    for name, address in (imports or {}).items():
        library = library.import_symbol(name, address)
    tracker = library.export_symbol(symbol).link(_session()[1], key)
    made = Native(tracker, tracker[symbol], code)
    _loaded[key] = made
    return made


def compile_module(module: ir.Module) -> bytes:
    """Optimised object code of ``module`` for this CPU."""
    machine = _session()[0]
    parsed = optimise(module)
    return bytes(machine.emit_object(parsed))


def optimise(module: ir.Module) -> llvm.ModuleRef:
    """``module`` verified and optimised at level 3, rounding untouched."""
    machine = _session()[0]
    module.triple = machine.triple
    module.data_layout = str(machine.target_data)
    parsed = llvm.parse_assembly(str(module))
    parsed.verify()
    options = llvm.create_pipeline_tuning_options(speed_level=3)
    builder = llvm.create_pass_builder(machine, options)
    builder.getModulePassManager().run(parsed, builder)
    return parsed


def assembly(code: bytes) -> str:
    """Disassembly of object code, by the system's ``objdump``."""
    import subprocess

    with tempfile.NamedTemporaryFile(suffix=".o") as file:
        file.write(code)
        file.flush()
        command = ["objdump", "-d", "--no-show-raw-insn", "-M", "intel", file.name]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@functools.cache
def _session() -> tuple[llvm.TargetMachine, llvm.LLJIT]:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    target = llvm.Target.from_default_triple()
    machine = target.create_target_machine(
        cpu=llvm.get_host_cpu_name(),
        features=llvm.get_host_cpu_features().flatten(),
        opt=3,
        reloc="pic",
        codemodel="jitdefault",
        jit=True,
    )
    return machine, llvm.create_lljit_compiler(
        target.create_target_machine(codemodel="jitdefault", jit=True)
    )


@functools.cache
def _environment() -> str:
    """What machine code depends on besides its own module."""
    here = Path(__file__).parent
    sources = hashlib.blake2b(digest_size=16)
    for file in sorted(here.rglob("*.py")):
        sources.update(file.read_bytes())
    return " ".join(
        [
            sources.hexdigest(),
            llvmlite.__version__,
            ".".join(map(str, llvm.llvm_version_info)),
            llvm.get_host_cpu_name(),
            llvm.get_host_cpu_features().flatten(),
        ]
    )


def _read(path: Path, key: str) -> bytes | None:
    try:
        data = path.read_bytes()
    except OSError:
        return None
    checksum, code = data[:_CHECKSUM_BYTES], data[_CHECKSUM_BYTES:]
    return code if _checksum(key, code) == checksum else None


def _write(path: Path, key: str, code: bytes) -> None:
    """Put an entry in place whole; a cache that cannot be written is no error."""
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            file.write(_checksum(key, code) + code)
        Path(file.name).replace(path)


def _checksum(key: str, code: bytes) -> bytes:
    return hashlib.blake2b(key.encode() + code, digest_size=_CHECKSUM_BYTES).digest()


def is_x86() -> bool:
    """The CPU has the x86 control word that flushes denormals."""
    return str(_session()[0].triple).startswith(("x86_64", "i686"))


def registers(width: int) -> int:
    """How many vectors of ``width`` numbers the CPU's registers hold."""
    features = llvm.get_host_cpu_features()
    if features.get("avx512f"):
        count, lanes = 32, 8
    elif features.get("avx"):
        count, lanes = 16, 4
    else:
        count, lanes = 16 if is_x86() else 32, 2
    return count * lanes // max(width, lanes)
