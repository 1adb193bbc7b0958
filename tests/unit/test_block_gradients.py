"""Backward passes through archetypes and the user's functions: their adjoints are called, block by block."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from forward_mode import assert_same_gradients
from leaky import Leaky, LeakyTwin, leaky
from native_kernels import LEAK_PORTS, NATIVE, TWINS, leak

import amp
from amp import nodes
from amp.errors import NotDifferentiable
from amp.testing import check_grads

if TYPE_CHECKING:
    from collections.abc import Callable

    from amp.jit.archetypes import Archetype
    from amp.result import Gradients

__all__ = ["leaky"]
BATCH, FRAMES = 2, 600
BLOCKS = (0, 16, 64, 512)
"""0 is the KPN; a backward pass goes 256 frames at a time, or a block."""


def gradients(graph: amp.Graph, block: int, **options: Any) -> Gradients:
    """Of a recorded run after another one."""
    program = amp.compile(graph, amp.plan(graph, block) if block else None, **options)
    rng = np.random.default_rng(4)

    def some(frames: int) -> dict[str, Any]:
        inputs = [node for node in graph.nodes if node.type.border == "input"]
        return {n.name: rng.normal(size=(BATCH, n.channels, frames)) for n in inputs}

    program.run(some(37))
    result = program.run(some(FRAMES), record=True)
    return program.backward({n: rng.normal(size=result[n].shape) for n in sorted(result)})


def assert_close(got: Gradients, want: Gradients) -> None:
    """To rounding: a twin has other names for what it remembers, and another order of adding."""
    for some, other in ((got.inputs, want.inputs), (got.params, want.params)):
        assert some.keys() == other.keys()
        for name, value in other.items():
            scale = np.abs(value).max()
            np.testing.assert_allclose(some[name], value, rtol=1e-11, atol=1e-12 * scale)


def ask(make: Callable[[bool], amp.Graph], **options: Any) -> None:
    """Every engine gives the same bits, which are those of the traced twin to rounding."""
    want = gradients(make(False), 0, archetypes="ir")
    first = gradients(make(True), 0, **options)
    assert_close(first, want)
    for block in BLOCKS[1:]:
        assert_same_gradients(gradients(make(True), block, **options), first, f"block {block}")
    threads = gradients(make(True), 64, threads=2, **options)
    assert_same_gradients(threads, first, "2 threads")


def add_leaky(g: amp.Graph, x: Any, kind: type[amp.NodeType], gain: Any) -> Any:
    decay = amp.Param(np.array([0.5, -0.25, 0.625]), name="decay")
    doubled = g.add(nodes.Commutator(), x, 0.5 * x)
    return g.add(kind(decay, 2), doubled, gain=gain, name="leaky")


@pytest.mark.parametrize("gain", ["none", "stream", "param"])
@pytest.mark.parametrize("tokens", [0, 1, 7])
def test_an_archetype_with_state_and_rates_in_a_loop(
    leaky: Archetype, gain: str, tokens: int
) -> None:
    def make(native: bool) -> amp.Graph:
        g = amp.Graph(batch=BATCH)
        x, loop = g.input("x", 3), g.feedback(3)
        given: Any = amp.Param(0.75, name="gain") if gain == "param" else None
        if gain == "stream":
            given = 0.5 * g.input("gain")
        if tokens:
            x = x + 0.1 * amp.edge(loop, initial=tokens)
        out, twice = add_leaky(g, x, Leaky if native else LeakyTwin, given)
        loop.connect(out)
        g.output("out", out)
        g.output("again", g.add(nodes.Gain(), out, gain=0.5))
        for name, stream in zip(
            ("first", "second"), g.add(nodes.Distributor(), twice), strict=True
        ):
            g.output(name, stream)
        return g

    ask(make)
    check_grads(make(True), frames=40)


@pytest.mark.eigen
def test_matrix_mix_through_its_eigen_kernel() -> None:
    rng = np.random.default_rng(1)
    gains = rng.normal(size=(5, 4)) / 4

    def make(eigen: bool) -> amp.Graph:
        g = amp.Graph(batch=BATCH)
        x, loop = g.input("x", 4), g.feedback(5)
        back = g.add(nodes.MatrixMix(0.5 * gains.T), amp.edge(loop, initial=9))
        mixed = g.add(nodes.MatrixMix(amp.Param(gains, name="gains")), x + back)
        loop.connect(mixed)
        g.output("out", mixed)
        return g

    ask(make, archetypes="eigen")
    program = amp.compile(make(True), archetypes="eigen")
    check_grads(program, frames=40)


@pytest.mark.parametrize("name", NATIVE)
@pytest.mark.parametrize("tokens", [0, 5])
def test_a_function_of_the_users_with_its_adjoint(name: str, tokens: int) -> None:
    def make(native: bool) -> amp.Graph:
        g = amp.Graph(batch=BATCH)
        x, loop = g.input("x", 2), g.feedback(2)
        if tokens:
            x = x + 0.2 * amp.edge(loop, initial=tokens)
        node = (NATIVE if native else TWINS)[name]()
        if name == "leak":
            out = g.add(node, x, decay=amp.Param(np.array([[0.5, -0.25]]), name="decay"))
        elif name == "cross":
            u, v = g.add(node, x, g.input("y"))
            out = u + 0.25 * v
        else:
            out = g.add(node, 0.5 * x)
        loop.connect(out)
        g.output("out", out)
        return g

    ask(make)
    check_grads(make(True), frames=40)


def test_what_comes_later_counts_by_the_state() -> None:
    """Two recorded runs, gone back over one after the other, are one."""
    g = amp.Graph(batch=BATCH)
    g.output("out", g.add(NATIVE["leak"](), g.input("x"), decay=amp.Param(0.5, name="decay")))
    rng = np.random.default_rng(2)
    x, out = rng.normal(size=(2, BATCH, 1, 500))
    whole = amp.compile(g)
    whole.run({"x": x}, record=True)
    want = whole.backward({"out": out})
    program = amp.compile(g)
    program.run({"x": x[..., :300]})
    program.run({"x": x[..., 300:]}, record=True)
    last = program.backward({"out": out[..., 300:]})
    program.reset()
    program.run({"x": x[..., :300]}, record=True)
    first = program.backward({"out": out[..., :300]}, later=last.state)
    joined = np.concatenate([first.inputs["x"], last.inputs["x"]], axis=2)
    np.testing.assert_array_equal(joined, want.inputs["x"])
    total = first.params["decay"] + last.params["decay"]
    np.testing.assert_allclose(total, want.params["decay"], rtol=1e-12)
    assert first.state.nodes.keys() == want.state.nodes.keys() == {"native.0"}
    np.testing.assert_array_equal(
        first.state.nodes["native.0"]["y"], want.state.nodes["native.0"]["y"]
    )


def test_without_an_adjoint_it_is_refused_by_name_and_says_what_to_give() -> None:
    g = amp.Graph()
    node = nodes.Native(leak, state={"y": 0.0}, inlets=LEAK_PORTS)
    g.output("out", g.add(node, g.input("x"), name="mine"))
    program = amp.compile(g)
    with pytest.raises(
        NotDifferentiable, match=r"(?s)without an adjoint.*'mine'.*adjoint_signature"
    ):
        program.run({"x": np.ones((1, 1, 4))}, record=True)
