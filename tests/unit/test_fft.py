"""The real transform of the kernels: accuracy, every size, the same bits at every x86-64 level."""

from __future__ import annotations

import ctypes
import re as regular
import shutil
import subprocess
from pathlib import Path
from typing import Any

import mpmath
import numpy as np
import numpy.typing as npt
import pytest

from amp.jit import archetypes

Real = npt.NDArray[np.float64]
ROOT = Path(__file__).parents[2]
SIZES = [*range(1, 70), 121, 127, 210, 441, 1000, 1024, 1764, 2048, 2049, 2050, 8192, 48_000]


class Transform:
    """One build of ``fft.hpp``; scratch and results hold NaN before a call, as nothing may be read."""

    def __init__(self, library: Path) -> None:
        self.library = ctypes.CDLL(str(library))
        self.library.scratch.restype = ctypes.c_int64

    def call(self, name: str, size: int, *arrays: Real) -> None:
        work = np.full(self.library.scratch(ctypes.c_int64(size)), np.nan)
        addresses = [ctypes.c_void_p(array.ctypes.data) for array in (*arrays, work)]
        self.library[name](ctypes.c_int64(size), *addresses)

    def forward(self, x: Real) -> npt.NDArray[np.complex128]:
        re, im = np.full((2, len(x) // 2 + 1), np.nan)
        self.call("forward", len(x), x, re, im)
        return re + 1j * im

    def inverse(self, bands: npt.NDArray[np.complex128], size: int) -> Real:
        re, im, x = bands.real.copy(), bands.imag.copy(), np.full(size, np.nan)
        im[0] = np.nan  # never read
        if size % 2 == 0:
            im[-1] = np.nan
        self.call("inverse", size, re, im, x)
        return x


@pytest.fixture(scope="module")
def levels(tmp_path_factory: pytest.TempPathFactory) -> list[Transform]:
    """One build for each level that this processor can run, with the options of the kernels."""
    compiler = shutil.which("c++") or shutil.which("g++")
    if compiler is None:
        pytest.skip("no C++ compiler")
    stated = regular.search(r"-O3 [^)]*", (ROOT / "CMakeLists.txt").read_text(encoding="utf-8"))
    assert stated is not None
    host = archetypes.host_level()
    names = [name for name in ("v2", "v3", "v4") if name <= host] if host != "portable" else [""]
    folder = tmp_path_factory.mktemp("fft")
    builds = []
    for name in names:
        options = [*stated.group().split(), *([f"-march=x86-64-{name}"] if name else [])]
        made = folder / f"{name}.so"
        subprocess.run(
            [compiler, "-std=c++17", "-fPIC", "-shared", *options, "-I", "amp/archetypes_cpp",
             "tests/native/transform.cpp", "-o", str(made)],
            cwd=ROOT, check=True, timeout=300,
        )  # fmt: skip
        builds.append(Transform(made))
    return builds


def relative(got: npt.NDArray[Any], expected: npt.NDArray[Any]) -> float:
    return float(np.linalg.norm(got - expected) / np.linalg.norm(expected))


@pytest.mark.parametrize("size", SIZES)
def test_forward_and_inverse_agree_with_numpy_at_every_level(
    levels: list[Transform], size: int
) -> None:
    x = np.random.default_rng(size).standard_normal(size)
    bound = 1.2e-16 * (1 + np.log2(2 * size))
    # NumPy transforms long doubles in long double: its own rounding is out of the comparison.
    expected = np.fft.rfft(x.astype(np.longdouble))
    bands = [level.forward(x) for level in levels]
    back = [level.inverse(bands[0], size) for level in levels]
    assert relative(bands[0], expected) < bound
    assert relative(back[0], size * x) < bound
    for band, signal in zip(bands, back, strict=True):
        assert np.array_equal(band, bands[0])
        assert np.array_equal(signal, back[0])


@pytest.mark.parametrize("size", [12, 22, 32])
def test_bands_against_forty_digits(levels: list[Transform], size: int) -> None:
    x = np.random.default_rng(7).standard_normal(size)
    with mpmath.workdps(40):
        turns = [mpmath.expjpi(mpmath.mpf(-2 * k) / size) for k in range(size)]
        expected = np.array(
            [
                complex(sum(mpmath.mpf(x[n]) * turns[n * k % size] for n in range(size)))
                for k in range(size // 2 + 1)
            ]
        )
    assert np.abs(levels[-1].forward(x) - expected).max() < 1e-15 * np.linalg.norm(x)
