"""L12: memory stays flat over many compiles and over many blocks, and a warm run allocates nothing."""

from __future__ import annotations

import gc
import subprocess
import sys
import time
import tracemalloc
import weakref

import numpy as np
import pytest

import amp
from amp import nodes

SMALL = """
import gc, os, time
from pathlib import Path
import numpy as np
import amp
from amp import nodes

def small(number):
    g = amp.Graph()
    x = g.input("x")
    y = g.add(nodes.OnePole(("lowpass", "highpass")[number % 2], cutoff=100.0 + number), x)
    if number % 3 == 0:
        y = g.add(nodes.Delay(50, delay=3.0), y)
    g.output("out", y)
    return g

def resident():
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
"""
COMPILES = """
x = np.ones((1, 1, 64))

def compile_some(count):
    before = time.perf_counter()
    for number in range(count):
        g = small(number)
        amp.compile(g, amp.plan(g, 64) if number % 2 else None).run({"x": x})
    return time.perf_counter() - before

compile_some(100)
first, early = resident(), compile_some(100)
compile_some(700)
late = compile_some(100)
assert late < 3 * early + 0.5, f"compiling gets slower: {early} s, then {late} s"
print(resident() - first)
"""
BLOCKS = """
g = small(3)
program = amp.compile(g, amp.plan(g, block) if block else None)
x = np.random.default_rng(0).normal(size=(1, 1, 16))
out = {"out": np.empty((1, 1, 16))}
long = np.random.default_rng(0).normal(size=(1, 1, 16 * 5000))

def short_runs(count):
    for _ in range(count):
        program.run({"x": x}, out=out)

short_runs(2000)
program.run({"x": long})
first = resident()
short_runs(20_000)
for _ in range(16):
    program.run({"x": long})
assert program.clock == 16 * (22_000 + 17 * 5000)
print(resident() - first)
"""


def growth(script: str) -> float:
    """MiB that a process grows by, as ``script`` prints it in bytes; no other test is in it."""
    before = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", SMALL + script], stdout=subprocess.PIPE, text=True, check=True
    )
    assert time.perf_counter() - before < 60.0
    return int(done.stdout) / (1 << 20)


linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")


@pytest.mark.slow
@linux
def test_memory_is_flat_over_a_thousand_compiles() -> None:
    assert growth(COMPILES) < 4.0


@pytest.mark.slow
@linux
@pytest.mark.parametrize("block", [None, 16])
def test_memory_is_flat_over_a_hundred_thousand_blocks(block: int | None) -> None:
    assert growth(f"block = {block}" + BLOCKS) < 2.0


def small() -> amp.Graph:
    """A filter and a delay line."""
    g = amp.Graph()
    filtered = g.add(nodes.OnePole(cutoff=100.0), g.input("x"))
    g.output("out", g.add(nodes.Delay(50, delay=3.0), filtered))
    return g


@pytest.mark.parametrize("block", [None, 64])
def test_a_warm_run_allocates_next_to_nothing(block: int | None) -> None:
    g = small()
    program = amp.compile(g, amp.plan(g, block) if block else None)
    x, out = np.ones((1, 1, 100_000)), {"out": np.empty((1, 1, 100_000))}
    program.run({"x": x}, out=out)
    tracemalloc.start()
    try:
        program.run({"x": x}, out=out)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 64 << 10, f"{peak} bytes"


def test_programs_are_freed() -> None:
    g = small()
    for plan in (None, amp.plan(g)):
        program = amp.compile(g, plan)
        program.run({"x": np.ones((1, 1, 9))})
        watched = weakref.ref(program), weakref.ref(program._instance.bound)
        del program
        gc.collect()
        assert watched[0]() is None
        assert watched[1]() is None
