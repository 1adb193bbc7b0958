"""Kernels compiled by numba, in graphs: what they are given, what they keep, what is refused."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numba
import numpy as np
import pytest
from bits import assert_same_bits
from native_kernels import LEAK_PORTS, NATIVE, SIGNATURE, leak, leak_adjoint

import amp
from amp import nodes
from amp.errors import BadFile, BadIR, BadNode, BadValue, PortMismatch
from amp.ir import parse_kernel, print_kernel, verify
from amp.nodes.native import Native

if TYPE_CHECKING:
    from pathlib import Path

    from bits import Array

    from amp.program import Program


@numba.cfunc(SIGNATURE)
def double(inputs, outputs, channels, state, frames, rate):  # type: ignore[no-untyped-def]
    x, y = numba.carray(inputs[0], frames), numba.carray(outputs[0], frames)
    for k in range(frames):
        y[k] = 2.0 * x[k]


@numba.cfunc(SIGNATURE)
def triple(inputs, outputs, channels, state, frames, rate):  # type: ignore[no-untyped-def]
    x, y = numba.carray(inputs[0], frames), numba.carray(outputs[0], frames)
    for k in range(frames):
        y[k] = 3.0 * x[k]


@numba.cfunc(SIGNATURE)
def count(inputs, outputs, channels, state, frames, rate):  # type: ignore[no-untyped-def]
    """Frames so far, and the sample rate."""
    y, z = numba.carray(outputs[0], frames), numba.carray(outputs[1], frames)
    for k in range(frames):
        y[k] = state[0]
        z[k] = rate
        state[0] += 1.0


@numba.cfunc(SIGNATURE)
def mean(inputs, outputs, channels, state, frames, rate):  # type: ignore[no-untyped-def]
    """Of all channels, and in a second channel how many there are of each inlet."""
    x = numba.carray(inputs[0], (channels[0], frames))
    y = numba.carray(outputs[0], (channels[2], frames))
    gain = numba.carray(inputs[1], (channels[1], frames))
    for k in range(frames):
        total = 0.0
        for c in range(channels[0]):
            total += x[c, k] * gain[c % channels[1], k]
        y[0, k] = total / channels[0]
        y[1, k] = 10.0 * channels[0] + channels[1]


def ramp(*shape: int) -> Array:
    return np.arange(1.0, 1.0 + np.prod(shape)).reshape(shape)


def engines(graph: amp.Graph) -> list[Program]:
    return [amp.compile(graph), amp.compile(graph, amp.plan(graph, 16))]


def test_kernels_of_one_form_share_machine_code_and_not_each_other() -> None:
    """What a kernel's code is made of has no address, which is a word in memory."""
    g = amp.Graph()
    x = g.input("x")
    for name, kernel in (("two", double), ("three", triple)):
        g.output(name, g.add(Native(kernel), x))
    for program in engines(g):
        result = program.run({"x": ramp(1, 1, 40)})
        assert_same_bits(result["two"], 2.0 * ramp(1, 1, 40))
        assert_same_bits(result["three"], 3.0 * ramp(1, 1, 40))
        own = [
            bound.native
            for bound in program._instance.bound.calls
            if bound.call.groups[0].first.kind == "Native"
        ]
        assert len(own) == 2
        assert own[0] is own[1]
        assert str(double.address) not in program.ir


SECOND_PROCESS = """
import sys, numba, numpy as np, amp
from amp import nodes
from amp.jit.engine import Statistics
scale = float(sys.argv[1])
pad = [bytearray(1 << 20) for _ in range(int(scale))]  # functions come to lie elsewhere
@numba.cfunc(nodes.Native.signature)
def kernel(inputs, outputs, channels, state, frames, rate):
    x, y = numba.carray(inputs[0], frames), numba.carray(outputs[0], frames)
    for k in range(frames):
        y[k] = scale * x[k]
g = amp.Graph()
g.output("out", g.add(nodes.Native(kernel), g.input("x")))
out = amp.compile(g).run({"x": np.ones((1, 1, 5))})["out"]
print(out[0, 0, 4], Statistics.compiled)
"""


def test_another_process_finds_the_code_and_calls_its_own_function(tmp_path: Path) -> None:
    said = []
    for scale in (2, 7):
        done = subprocess.run(
            [sys.executable, "-c", SECOND_PROCESS, str(scale)],
            env={**os.environ, "AMP_CACHE_DIR": str(tmp_path)},
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        said.append(done.stdout.split())
    assert said[0][0] == "2.0"
    assert int(said[0][1]) > 0
    assert said[1] == ["7.0", "0"]


def test_a_constant_inlet_is_held_in_every_frame_of_its_lane() -> None:
    g = amp.Graph(batch=2)
    decay = amp.Param(np.array([[0.0, 0.5], [-0.5, 1.0]]), name="decay")
    g.output("out", g.add(NATIVE["leak"](), g.input("x", 2), decay=decay))
    for program in engines(g):
        got = program.run({"x": np.ones((2, 2, 3))})["out"]
        want = np.array([[[1, 1, 1], [1, 1.5, 1.75]], [[1, 0.5, 0.75], [1, 2, 3]]])
        assert_same_bits(got, want)
        program.set("decay", 0.0)
        assert_same_bits(program.run({"x": np.ones((2, 2, 20))})["out"], np.ones((2, 2, 20)))
        with pytest.raises(BadValue, match=r"lies in \[-1, 1\]"):
            program.set("decay", 2.0)


def test_a_kernel_that_sees_all_channels_is_told_how_many() -> None:
    ports = (amp.Inlet("input"), amp.Inlet("gain", default=1.0))
    node = Native(mean, inlets=ports, channels="all", channel_count=2)
    x = ramp(2, 3, 50)
    for gain, width in ((2.0, 1), (np.array([[1.0, 2.0, 3.0]]), 3), (None, 1)):
        g = amp.Graph(batch=2)
        stream = g.input("g", 1)
        g.output("out", g.add(node, g.input("x", 3), stream if gain is None else gain))
        factors = np.full((2, 1, 50), 4.0) if gain is None else np.reshape(gain, (1, -1, 1))
        for program in engines(g):
            got = program.run({"x": x, "g": np.full((2, 1, 50), 4.0)})["out"]
            assert got.shape == (2, 2, 50)
            np.testing.assert_allclose(got[:, 0], (x * factors).mean(axis=1), rtol=1e-15)
            assert (got[:, 1] == 30.0 + width).all()


def test_a_source_counts_its_frames_at_its_own_rate() -> None:
    g = amp.Graph(sample_rate=8000)
    source = Native(count, state={"n": 10.0}, inlets=(), outlets=("count", "rate"))
    now, rate = g.add(source)
    g.output("now", now)
    g.output("rate", rate)
    slow = Native(count, state={"n": 0.0}, inlets=(amp.Inlet("x"),), outlets=("n", "r"))
    g.output("slow", g.add(nodes.Hold(4), g.add(slow, g.add(nodes.Downsample(4), now))[1]))
    for program in engines(g):
        result = program.run(frames=70)
        assert_same_bits(result["now"][0, 0], 10.0 + np.arange(70))
        assert (result["rate"] == 8000.0).all()
        assert (result["slow"][..., 3:] == 2000.0).all()
        assert program.state().nodes["native.0"]["n"] == 80.0
        program.reset()
        assert program.run(frames=1)["now"] == 10.0


def test_a_swap_to_another_kernel_keeps_the_state_of_the_same_name() -> None:
    """So a kernel can be mended in a notebook while it is heard."""

    def graph(kernel: Any, state: str) -> amp.Graph:
        g = amp.Graph()
        node = Native(kernel, state={state: 0.0}, inlets=LEAK_PORTS)
        g.output("out", g.add(node, g.input("x"), decay=1.0, name="own"))
        return g

    @numba.cfunc(SIGNATURE)
    def minus(inputs, outputs, channels, state, frames, rate):  # type: ignore[no-untyped-def]
        x, y = numba.carray(inputs[0], frames), numba.carray(outputs[0], frames)
        for k in range(frames):
            state[0] -= x[k]
            y[k] = state[0]

    x = {"x": np.ones((1, 1, 3))}
    program = amp.compile(graph(leak, "y"))
    assert program.run(x)["out"].tolist() == [[[1.0, 2.0, 3.0]]]
    program.swap(graph(minus, "y"))
    assert program.run(x)["out"].tolist() == [[[2.0, 1.0, 0.0]]]
    program.swap(graph(leak, "z"))
    assert program.run(x)["out"].tolist() == [[[1.0, 2.0, 3.0]]]


def test_a_kernel_no_one_hears_still_keeps_its_state() -> None:
    g = amp.Graph()
    x = g.input("x")
    g.add(NATIVE["leak"](), x, decay=1.0, name="unheard")
    g.output("out", x)
    for program in engines(g):
        program.run({"x": np.ones((1, 1, 100))})
        assert program.state().nodes["unheard"]["y"] == 100.0


def test_a_file_holds_no_code() -> None:
    g = amp.Graph()
    g.output("out", g.add(Native(double), g.input("x")))
    with pytest.raises(BadFile, match="a file holds no code") as caught:
        amp.graph_to_json(g)
    assert "node 'native.0' (Native" in str(caught.value)
    other = amp.Graph()
    other.output("out", other.add(nodes.Gain(), other.input("x")))
    text = amp.graph_to_json(other).replace('"Gain"', '"Native"')
    with pytest.raises(BadFile, match="a file holds no code"):
        amp.graph_from_json(text)


def test_what_is_no_kernel_is_refused_with_what_to_write() -> None:
    @numba.njit
    def compiled(x: float) -> float:
        return x

    @numba.cfunc("float64(float64)")
    def other(x: float) -> float:
        return x

    with pytest.raises(BadNode, match=r"@numba\.cfunc\(nodes\.Native\.signature\)"):
        Native(compiled)
    with pytest.raises(BadNode) as caught:
        Native(other)
    assert "expected: (float64**, float64**, int64*, float64*, int64, float64)" in str(caught.value)
    assert "got: (float64,) -> float64" in str(caught.value)
    with pytest.raises(BadNode, match=r"Native\.adjoint_signature"):
        Native(double, adjoint=double)
    with pytest.raises(BadNode, match="as in Python"):
        Native(double, state={"two words": 0.0})
    g = amp.Graph()
    with pytest.raises(PortMismatch, match="inlet 'input' is mandatory"):
        g.add(Native(double))


def test_the_text_of_its_ir_is_read_back_and_verified() -> None:
    g = amp.Graph()
    u, _ = g.add(NATIVE["cross"](), g.input("x"), 0.5)
    g.output("u", u)
    program = amp.compile(g)
    call = next(c for c in program._instance.bound.lowered.calls if c.code.kernel.block)
    text = print_kernel(call.code.kernel)
    assert print_kernel(verify(parse_kernel(text))) == text
    for line, wrong in (
        ("param 0.0.address i64", "param 0.0.address f64"),
        ("argument constant 0 1", "argument constant 1 1"),
        ("argument in 0 1", "argument in 1 1"),
        ("result 1 1 0", "result 1 1 1"),
        ("out 0 table 1", "out 0 ring 1"),
    ):
        broken = "\n".join(
            wrong if row.endswith(line[-len(line) :]) else row for row in text.split("\n")
        )
        if broken != text:
            with pytest.raises(BadIR):
                verify(parse_kernel(broken))


def pointers(*arrays: Array) -> Any:
    numbers = ctypes.POINTER(ctypes.c_double)
    return (numbers * len(arrays))(*[a.ctypes.data_as(numbers) for a in arrays])


def test_the_adjoints_signature_is_enough_for_an_adjoint() -> None:
    """Block by block, last one first: inlets, and the state at the start, by central differences."""
    node = Native(leak, leak_adjoint, state={"y": 0.0}, inlets=LEAK_PORTS)
    assert node.adjoint is leak_adjoint
    rng = np.random.default_rng(3)
    frames, cuts = 30, [0, 11, 12, 30]
    x, dy = rng.normal(size=(2, frames))
    decay = rng.uniform(-0.9, 0.9, frames)
    one = (ctypes.c_int64 * 3)(1, 1, 1)

    def forward(x: Array, decay: Array, first: float) -> tuple[Array, list[float]]:
        y, states = np.empty(frames), [first]
        for a, b in pairwise(cuts):
            s = ctypes.c_double(states[-1])
            given = pointers(x[a:b], decay[a:b])
            node.kernel.ctypes(given, pointers(y[a:b]), one, ctypes.pointer(s), b - a, 48e3)
            states.append(s.value)
        return y, states

    _, states = forward(x, decay, 0.25)
    dx, ddecay, ds = np.empty(frames), np.empty(frames), ctypes.c_double(0.0)
    for i in (2, 1, 0):
        here = slice(cuts[i], cuts[i + 1])
        s = ctypes.c_double(states[i])
        node.adjoint.ctypes(
            pointers(x[here], decay[here]), pointers(dy[here]), pointers(dx[here], ddecay[here]),
            one, ctypes.pointer(s), ctypes.pointer(ds), cuts[i + 1] - cuts[i], 48e3,
        )  # fmt: skip
    tx, tdecay = rng.normal(size=(2, frames))
    step = 1e-6
    ends = [forward(x + e * tx, decay + e * tdecay, 0.25 + e)[0] for e in (step, -step)]
    along = dy @ (ends[0] - ends[1]) / (2 * step)
    assert dx @ tx + ddecay @ tdecay + ds.value == pytest.approx(along, rel=1e-7)
