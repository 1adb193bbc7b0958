"""An archetype of the tests, with state, rates, an optional inlet and prepared params: built when asked for."""

from __future__ import annotations

import ctypes
import functools
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scipy.signal import lfilter

import amp
from amp.jit import adjoint_blocks, archetypes, bind, generate, trace_block
from amp.jit.archetypes import Archetype, Port, Row, SelfTest, Table

if TYPE_CHECKING:
    from bits import Array

    from amp.contract import Trace

ROOT = Path(__file__).parents[1]
ROW = Row(
    name="leaky",
    source="leaky",
    about="A leaky sum.",
    reference="leaky.by_name",
    sizes=("c", "r"),
    params=(Table("decay", ("c",)),),
    inlets=(Port("input", "c", "r"), Port("gain", "1")),
    outlets=(Port("out", "c"), Port("twice", "c", "2")),
    self_test=SelfTest((3, 2), 1, {}, {}),
    prepares=True,
)


class Leaky(amp.NodeType, register=False):
    """``s = decay s + gain sum_k x[k]``: see ``tests/native/leaky.cpp``."""

    decay: Any
    count: int = 2
    inlets = (amp.Inlet("input"), amp.Inlet("gain", optional=True, channels=1))
    outlets = ("out", "twice")
    params = ("decay",)
    channels = "all"
    archetype = "leaky"

    def rate(self, port: str) -> int:
        return {"input": self.count, "twice": 2}.get(port, 1)

    def out_channels(self, widths: dict[str, int]) -> int:
        return widths["input"]

    def sizes(self, widths: dict[str, int]) -> tuple[int, ...]:
        return widths["input"], self.count


class LeakyTwin(Leaky, register=False):
    """The same, traced."""

    archetype = ""

    def forward(self, b: Trace, x: Any, gain: Any) -> Any:
        decays = b.param("decay")
        total = b.const(0.0)
        for decay in decays:
            total = total + decay
        out, twice = [], []
        for p, decay in enumerate(decays):
            taken = b.const(0.0)
            for token in x if self.count > 1 else [x]:
                taken = taken + token[p]
            before = b.state(f"s{p}")
            new = decay * before + (gain[0] if gain else 1.0) * taken
            b.next(f"s{p}", new)
            out.append(new)
            twice.append([new, total * new])
        return out, [list(token) for token in zip(*twice, strict=True)]


def by_name(sizes: tuple[int, ...], frames: int, given: dict[str, Array]) -> dict[str, Array]:
    """The outlets of the archetype."""
    out, first, second = reference(given["input"][None], given["decay"], given["gain"][None])
    return {
        "out": out[0],
        "twice": np.stack([first[0], second[0]], axis=-1).reshape(len(out[0]), -1),
    }


def reference(x: Array, decay: Array, gain: Array) -> tuple[Array, Array, Array]:
    """Of interleaved (batch, channel, token) ``x`` the first outlet, and both tokens of the second."""
    taken = gain * (x[..., ::2] + x[..., 1::2])
    out = np.stack([lfilter([1.0], [1.0, -d], taken[:, c]) for c, d in enumerate(decay)], axis=1)
    return out, out, decay.sum() * out


@functools.cache
def build_leaky() -> Archetype:
    """The kernel, compiled; skips without a compiler."""
    compiler = shutil.which("c++") or shutil.which("g++")
    if compiler is None:
        pytest.skip("no C++ compiler")
    path = Path(tempfile.mkdtemp()) / "libleaky.so"
    options = ["-std=c++17", "-O2", "-ffp-contract=off", "-fPIC", "-shared", "-Iamp/archetypes_cpp"]
    command = [compiler, *options, "tests/native/leaky.cpp", "-o", str(path)]
    subprocess.run(command, cwd=ROOT, check=True)
    library = ctypes.CDLL(str(path))

    def address(kind: str) -> int:
        return ctypes.cast(library[ROW.symbol(kind)], ctypes.c_void_p).value or 0

    return Archetype(ROW, {kind: address(kind) for kind in ROW.prototypes})


@pytest.fixture
def leaky(monkeypatch: pytest.MonkeyPatch) -> Archetype:
    """The kernel, and amp knows it."""
    kernel, load = build_leaky(), archetypes.load

    def known(name: str) -> Archetype:
        return kernel if name == "leaky" else load(name)

    for module in (adjoint_blocks, archetypes, bind, generate, trace_block):
        monkeypatch.setattr(module, "load", known)
    return kernel
