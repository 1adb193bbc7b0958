"""Importing amp is light: what only some graphs or some people need is loaded when it is needed."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = [
    "cppyy",
    "dask",
    "jax",
    "llvmlite",
    "matplotlib",
    "networkx",
    "numba",
    "pandas",
    "scipy",
    "torch",
    "typer",
]


def loaded_after(code: str) -> set[str]:
    """Top-level modules in a fresh interpreter after ``code``."""
    show = "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\n{code}\n{show}"],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.split())


def test_importing_amp_loads_nothing_heavy() -> None:
    loaded = loaded_after("import amp")
    assert "numpy" in loaded
    assert not loaded & set(HEAVY)


def test_describing_and_planning_a_graph_loads_nothing_heavy() -> None:
    code = """
import amp
from amp import nodes
g = amp.Graph()
g.output("out", g.add(nodes.Saw(), g.input("f")) * 0.5)
plan = amp.IPLS.from_json(amp.plan(g).to_json())
amp.graph_from_json(amp.graph_to_json(g))
"""
    assert not loaded_after(code) & set(HEAVY)


def test_compiling_and_running_loads_llvm_alone() -> None:
    code = """
import amp
from amp import nodes
g = amp.Graph()
g.output("out", g.add(nodes.Saw(), 440.0) * 0.5)
for p in (None, amp.plan(g)):
    program = amp.compile(g, p)
    program.run(frames=10)
    program.value_and_grad(amp.losses.mean_square("out"), frames=10)
    amp.testing.check_grads(program)
"""
    assert loaded_after(code) & set(HEAVY) == {"llvmlite"}


@pytest.mark.parametrize("module", ["amp.nodes", "amp.errors", "amp.ir", "amp.schedule"])
def test_rooms_can_be_imported_first(module: str) -> None:
    assert not loaded_after(f"import {module}") & set(HEAVY)
