"""The native runtime under sanitizers: no race, no stray access, no undefined arithmetic, no hang."""

from __future__ import annotations

import math
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest

from amp.jit.archetypes import Row, manifest

ROOT = Path(__file__).parents[2]
SCHEDULER = ("kpn_stress", ("pool", "trace"), "all networks agree\n")
PRODUCTS = ("matrix_mix_stress", ("matrix_mix",), "700 products agree\n")
CONVOLUTIONS = ("fir_stress", ("fir",), "9 convolutions agree\n")
CALLERS = ("program_stress", ("pool", "heat"), "all callers take turns\n")
SOURCES = tuple(dict.fromkeys(row.source for row in manifest().values()))
ARCHETYPES = ("archetypes_stress", SOURCES, "every archetype agrees\n")
MEMORY = "address,undefined"


def eigen() -> Path:
    """Headers of the package that the runtime is built with."""
    try:
        found = distribution("cmeel-eigen").locate_file("cmeel.prefix/include/eigen3")
    except PackageNotFoundError:
        pytest.skip("cmeel-eigen is not installed")
    return Path(str(found))


def written(row: Row) -> str:
    """A row of the manifest in C++, as ``archetypes_stress.cpp`` has it."""
    sizes = row.self_test.sizes
    kinds = ["forward", "adjoint", "state", "scratch", "prepared", "prepare"]
    functions = [row.symbol(k) if k in row.prototypes else "nullptr" for k in kinds]
    params = sum(math.prod(row.shape(table, sizes)) for table in row.params)
    ports = [
        "{" + ", ".join("{{{}, {}}}".format(*row.extent(p, sizes, 1)) for p in some) + "}"
        for some in (row.inlets, row.outlets)
    ]
    numbers = "{" + ", ".join(map(str, sizes)) + "}"
    return "{" + ", ".join([f'"{row.name}"', *functions, numbers, str(params), *ports]) + "},\n"


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="sanitizers of Linux")
@pytest.mark.parametrize(
    "what, kind",
    [
        (SCHEDULER, "thread"),
        (SCHEDULER, MEMORY),
        (PRODUCTS, MEMORY),
        (CONVOLUTIONS, MEMORY),
        (ARCHETYPES, "thread"),
        (ARCHETYPES, MEMORY),
        (CALLERS, "thread"),
        (CALLERS, MEMORY),
    ],
)
def test_native_code_is_clean(
    what: tuple[str, tuple[str, ...], str], kind: str, tmp_path: Path
) -> None:
    driver, sources, expected = what
    compiler = shutil.which("c++") or shutil.which("g++")
    if compiler is None:
        pytest.skip("no C++ compiler")
    program = tmp_path / "stress"
    includes = [f'#include "{source}.hpp"\n' for source in SOURCES]
    (tmp_path / "rows_headers.inc").write_text("".join(includes))
    (tmp_path / "rows.inc").write_text("".join(map(written, manifest().values())))
    options = ["-std=c++17", "-O1", "-g", "-w", f"-fsanitize={kind}", "-fno-sanitize-recover=all"]
    options += ["-I", "amp/archetypes_cpp", "-I", str(tmp_path), "-isystem", str(eigen())]
    # As they are built: with vectors, and fused where the source says so.
    if what in {ARCHETYPES, CONVOLUTIONS}:
        options += ["-march=native", "-ffp-contract=off"]
    build = subprocess.run(
        [compiler, *options, f"tests/native/{driver}.cpp",
         *(f"amp/archetypes_cpp/{source}.cpp" for source in sources), "-o", str(program), "-lpthread"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if "cannot find" in build.stderr:
        pytest.skip(f"the compiler has no {kind} sanitizer")
    assert build.returncode == 0, build.stderr
    done = subprocess.run([program], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout == expected
