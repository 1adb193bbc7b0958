"""Denormals are zeros inside a run, and the caller's floating-point state is left alone."""

from __future__ import annotations

import sys
import threading
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest
from bits import SMALLEST

import amp
from amp import nodes
from amp.jit.engine import is_x86

if TYPE_CHECKING:
    from amp.program import Program

ENGINES = [None, 64]
pytestmark = pytest.mark.skipif(not is_x86(), reason="the control word is that of x86")


def compiled(g: amp.Graph, block: int | None) -> Program:
    return amp.compile(g, amp.plan(g, block) if block else None)


def keeps_denormals() -> bool:
    """Whether arithmetic in this thread, in Python and NumPy, still has denormals."""
    tiny = np.full(8, sys.float_info.min)
    return sys.float_info.min * 0.5 > 0.0 and bool((tiny * 0.5 > 0.0).all())


@pytest.mark.parametrize("block", ENGINES)
def test_inputs_and_results_are_flushed(block: int | None) -> None:
    g = amp.Graph()
    x = g.input("x")
    g.output("input", g.add(nodes.Gain(), x, gain=2.0**60))
    g.output("result", g.add(nodes.Gain(), g.add(nodes.Gain(), x, gain=0.25), gain=2.0**60))
    given = np.array([1e-310, -1e-310, SMALLEST, -SMALLEST, 2 * SMALLEST, 8 * SMALLEST, 1.0])
    result = compiled(g, block).run({"x": given.reshape(1, 1, -1)})
    whole = np.where(np.abs(given) < SMALLEST, 0.0, given)
    np.testing.assert_array_equal(result["input"][0, 0], whole * 2.0**60)
    quarter = np.where(np.abs(whole * 0.25) < SMALLEST, 0.0, whole * 0.25)
    np.testing.assert_array_equal(result["result"][0, 0], quarter * 2.0**60)


@pytest.mark.parametrize("block", ENGINES)
def test_parameters_are_flushed_alike(block: int | None) -> None:
    """Also where constants meet constants, which is computed ahead of the run."""
    g = amp.Graph()
    gain = amp.Param(1e-160, name="gain")
    y = g.add(nodes.Gain(), g.add(nodes.Constant(1e-160)), gain=gain)
    g.output("out", y)
    g.output("again", g.add(nodes.Gain(), y, gain=2.0**100))
    program = compiled(g, block)
    for _ in range(2):
        result = program.run(frames=3)
        assert not result["out"].any()
        assert not result["again"].any()
        program.set("gain", 2e-160)


@pytest.mark.parametrize("block", ENGINES)
def test_a_decaying_state_reaches_zero(block: int | None) -> None:
    g = amp.Graph()
    g.output("out", g.add(nodes.OnePole(cutoff=3000.0), g.input("x")))
    x = np.zeros((1, 1, 4000))
    x[..., 0] = 1.0
    out = compiled(g, block).run({"x": x})["out"]
    assert out[0, 0, -1] == 0.0
    assert not ((out != 0.0) & (np.abs(out) < SMALLEST)).any()


@pytest.mark.parametrize("block", ENGINES)
def test_the_callers_state_is_restored(block: int | None) -> None:
    g = amp.Graph()
    g.output("out", g.add(nodes.OnePole(cutoff=3000.0), g.input("x")))
    program = compiled(g, block)
    x = np.full((1, 1, 9000), 1e-310)
    assert keeps_denormals()
    seen = []

    def stop(_done: int, _total: int) -> None:
        seen.append(keeps_denormals())
        raise KeyboardInterrupt

    program.run({"x": x})
    assert keeps_denormals()
    with pytest.raises(KeyboardInterrupt):
        program.run({"x": x}, progress=stop)
    assert seen == [True]
    assert keeps_denormals()

    def work() -> None:
        program.run({"x": x})
        seen.append(keeps_denormals())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [True, True]


@pytest.mark.slow
def test_silence_costs_no_more_than_sound() -> None:
    """Without flushing, a filter that rings out is ten times slower."""
    g = amp.Graph()
    y = g.input("x")
    for _ in range(8):
        y = g.add(nodes.StateVariable(cutoff=30.0, q=5.0), y)
    g.output("out", y)
    program = amp.compile(g, amp.plan(g))
    noise = np.random.default_rng(0).normal(size=(1, 1, 200_000))
    seconds = []
    for level in (1.0, 1e-307, 1.0, 1e-307):
        program.reset()
        before = time.perf_counter()
        program.run({"x": noise * level})
        seconds.append(time.perf_counter() - before)
    assert min(seconds[1::2]) < 3 * min(seconds[::2])
