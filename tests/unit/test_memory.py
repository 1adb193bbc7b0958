"""L12: memory stays flat over many compiles and over many blocks, and a warm run allocates nothing."""

from __future__ import annotations

import gc
import os
import time
import tracemalloc
import weakref
from pathlib import Path

import numpy as np
import pytest

import amp
from amp import nodes

STATM = Path("/proc/self/statm")
MIB = 1 << 20


def resident() -> int:
    """Bytes of this process in memory."""
    gc.collect()
    return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def small(number: int) -> amp.Graph:
    """One of a few graphs; numbers in it differ, kernels repeat."""
    g = amp.Graph()
    x = g.input("x")
    y = g.add(nodes.OnePole(("lowpass", "highpass")[number % 2], cutoff=100.0 + number), x)
    if number % 3 == 0:
        y = g.add(nodes.Delay(50, delay=3.0), y)
    g.output("out", y)
    return g


@pytest.mark.slow
@pytest.mark.skipif(not STATM.exists(), reason="reads /proc")
def test_memory_is_flat_over_a_thousand_compiles() -> None:
    x = np.ones((1, 1, 64))

    def compile_some(count: int) -> float:
        before = time.perf_counter()
        for number in range(count):
            g = small(number)
            amp.compile(g, amp.plan(g, 64) if number % 2 else None).run({"x": x})
        return time.perf_counter() - before

    compile_some(100)
    first, early = resident(), compile_some(100)
    compile_some(700)
    grown, late = resident() - first, compile_some(100)
    assert grown < 4 * MIB, f"grew by {grown / MIB:.1f} MiB"
    assert late < 3 * early + 0.5, "compiling does not get slower"
    assert early + late < 20.0


@pytest.mark.slow
@pytest.mark.skipif(not STATM.exists(), reason="reads /proc")
@pytest.mark.parametrize("block", [None, 16])
def test_memory_is_flat_over_a_hundred_thousand_blocks(block: int | None) -> None:
    g = small(3)
    program = amp.compile(g, amp.plan(g, block) if block else None)
    x = np.random.default_rng(0).normal(size=(1, 1, 16))
    out = {"out": np.empty((1, 1, 16))}
    long = np.random.default_rng(0).normal(size=(1, 1, 16 * 5000))

    def short_runs(count: int) -> None:
        for _ in range(count):
            program.run({"x": x}, out=out)

    short_runs(2000)
    program.run({"x": long})
    before, started = resident(), time.perf_counter()
    short_runs(20_000)
    for _ in range(16):
        program.run({"x": long})
    assert time.perf_counter() - started < 20.0
    grown = resident() - before
    assert program.clock == 16 * (22_000 + 17 * 5000)
    assert grown < 2 * MIB, f"grew by {grown / MIB:.1f} MiB"


@pytest.mark.parametrize("block", [None, 64])
def test_a_warm_run_allocates_next_to_nothing(block: int | None) -> None:
    g = small(3)
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
    g = small(0)
    for plan in (None, amp.plan(g)):
        program = amp.compile(g, plan)
        program.run({"x": np.ones((1, 1, 9))})
        watched = weakref.ref(program), weakref.ref(program._bound)
        del program
        gc.collect()
        assert watched[0]() is None
        assert watched[1]() is None
