"""What a backward pass does once, and not in every frame: carrying cotangents to params."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from bits import assert_same_bits

import amp
from amp import nodes
from amp.contract import Inlet, NodeType, Trace
from amp.jit.engine import registers

if TYPE_CHECKING:
    from bits import Array

    from amp.ir import Kernel

RNG = np.random.default_rng(2)
BATCH, FRAMES = 3, 300


class Shaped(NodeType):
    """x tanh(p) + exp(p) / q. For tests."""

    inlets = (Inlet("x"), Inlet("p"), Inlet("q"))

    def forward(self, b: Trace, x: Any, p: Any, q: Any) -> Any:
        return b.fma(x, b.tanh(p), b.exp(p) / q)


class Divided(NodeType):
    """x / q. For tests."""

    inlets = (Inlet("x"), Inlet("q"))

    def forward(self, b: Trace, x: Any, q: Any) -> Any:
        return x / q


def gradients(
    graph: amp.Graph, x: Array, cotangent: Array, block: int = 0, width: int = 8
) -> tuple[Any, list[Kernel]]:
    """What the backward pass gives, and its kernels."""
    seen: list[Kernel] = []

    def watch(step: str, kernel: Kernel) -> None:
        if step == "hoist_invariants":
            seen.append(kernel)

    plan = amp.plan(graph, block, width) if block else None
    program = amp.compile(graph, plan, heat=0, watch=watch)
    seen.clear()
    program.run({"x": x}, record=True)
    return program.backward({"out": cotangent}), seen


def noise(*shape: int) -> Array:
    return RNG.normal(size=shape)


@pytest.mark.parametrize("block", [0, 16, 64])
def test_the_chain_rule_of_what_does_not_vary(block: int) -> None:
    p, q = 0.3 + 0.1 * noise(BATCH, 2), np.array(1.7)
    graph = amp.Graph(batch=BATCH)
    params: dict[str, Any] = {"p": amp.Param(p, name="p"), "q": amp.Param(q, name="q")}
    graph.output("out", graph.add(Shaped(), graph.input("x", channels=2), **params))
    x, g = noise(BATCH, 2, FRAMES), noise(BATCH, 2, FRAMES)
    found, _ = gradients(graph, x, g, block)
    slope = np.cosh(p) ** -2.0 * (x * g).sum(2) + np.exp(p) / q * g.sum(2)
    np.testing.assert_allclose(found.params["p"], slope, rtol=1e-12)
    of_q = (-np.exp(p) / q**2 * g.sum(2)).sum()
    np.testing.assert_allclose(found.params["q"], of_q, rtol=1e-12)
    np.testing.assert_allclose(found.inputs["x"], np.tanh(p)[..., None] * g, rtol=1e-14)


def test_no_frame_computes_what_depends_on_params_alone() -> None:
    graph = amp.Graph()
    cutoff, q = amp.Param(900.0, name="cutoff"), amp.Param(0.8, name="q")
    y = graph.add(nodes.StateVariable(), graph.input("x"), cutoff=cutoff, q=q)
    pan = graph.add(nodes.Pan(), y, position=amp.Param(0.2, name="position"))
    graph.output("out", pan)
    _, kernels = gradients(graph, noise(1, 1, 100), noise(1, 2, 100), 32)
    backward = [kernel for kernel in kernels if kernel.backward]
    assert any(
        slot.name.rpartition(".")[0].endswith("gradient") for k in backward for slot in k.states
    )
    for kernel in backward:
        assert {value.op for value in kernel.values if not value.varies} <= {"param", "const"}


@pytest.mark.parametrize("learned", [(), ("cutoff",), ("q",)])
def test_what_nobody_asks_for_is_not_summed(learned: tuple[str, ...]) -> None:
    graph = amp.Graph()
    given: dict[str, Any] = {"cutoff": 900.0, "q": 0.8}
    for name in learned:
        given[name] = amp.Param(given[name], name=name)
    graph.output("out", graph.add(nodes.StateVariable(), graph.input("x"), **given))
    found, kernels = gradients(graph, noise(1, 1, 100), noise(1, 1, 100), 32)
    sums = [slot.name for k in kernels for slot in k.states if ".gradient." in slot.name]
    assert {*found.params} == {*learned}
    assert bool(sums) == bool(learned)


def test_a_stream_that_does_not_vary_has_cotangents() -> None:
    graph = amp.Graph()
    level = graph.add(nodes.Constant(amp.Param(0.25, name="level")))
    graph.output("out", graph.input("x") * level)
    x, g = noise(1, 1, FRAMES), noise(1, 1, FRAMES)
    for block in (0, 32):
        found, _ = gradients(graph, x, g, block)
        np.testing.assert_allclose(found.params["level"], (x * g).sum(), rtol=1e-12)


def test_a_divisor_that_does_not_vary_is_inverted_once() -> None:
    graph = amp.Graph(batch=BATCH)
    q = 1.5 + 0.2 * noise(BATCH, 1)
    graph.output("out", graph.add(Divided(), graph.input("x"), q=amp.Param(q, name="q")))
    x, g = noise(BATCH, 1, FRAMES), noise(BATCH, 1, FRAMES)
    found, kernels = gradients(graph, x, g, 32)
    backward = [kernel for kernel in kernels if kernel.backward]
    assert backward
    assert not any(value.op == "div" for kernel in backward for value in kernel.values)
    np.testing.assert_allclose(found.inputs["x"], g / q[..., None], rtol=1e-15)
    np.testing.assert_allclose(found.params["q"], -(x * g).sum(2) / q**2, rtol=1e-12)


def test_streams_come_again_from_what_adjoints_read_anyway() -> None:
    graph = amp.Graph()
    y = graph.input("x")
    for i in range(3):
        y = graph.add(nodes.Gain(), y, gain=amp.Param(1.1 + i, name=str(i)))
    graph.output("out", y)
    x, g = noise(1, 1, FRAMES), noise(1, 1, FRAMES)
    found, kernels = gradients(graph, x, g, 32)
    ran_again = [kernel for kernel in kernels if not kernel.backward]
    assert not any(value.op == "mul" for kernel in ran_again for value in kernel.values)
    for i in range(3):
        others = np.prod([1.1 + j for j in range(3) if j != i])
        np.testing.assert_allclose(found.params[str(i)], others * (x * g).sum(), rtol=1e-12)
    alone, _ = gradients(graph, x, g)  # a KPN computes nothing again, and gives the same bits
    for name, value in alone.params.items():
        assert_same_bits(found.params[name], value)


def test_registers_hold_the_states_of_an_adjoint() -> None:
    graph = amp.Graph(batch=8)
    y = graph.input("x")
    names = ("b0", "b1", "b2", "a1", "a2")
    for i in range(9):
        params: dict[str, Any] = {name: amp.Param(0.1, name=f"{name}{i}") for name in names}
        y = graph.add(nodes.Biquad(), y, **params)
    graph.output("out", y)
    x, g = noise(8, 1, FRAMES), noise(8, 1, FRAMES)
    found, kernels = gradients(graph, x, g, 256)
    states = [len(kernel.states) for kernel in kernels if kernel.backward]
    assert sum(states) == 9 * 7
    assert max(states) <= max(registers(8) * 3 // 4, 7)
    alone, _ = gradients(graph, x, g)
    for name, value in alone.params.items():
        assert_same_bits(found.params[name], value)


def test_a_node_may_be_called_what_an_adjoint_would_be() -> None:
    graph = amp.Graph()
    y = graph.add(nodes.Gain(), graph.input("x"), gain=2.0, name="gain")
    for i in range(8):
        y = graph.add(nodes.Gain(), y, gain=1.0, name=f"gain* {i}")
    graph.output("out", y)
    found, _ = gradients(graph, noise(1, 1, 9), np.ones((1, 1, 9)), 4)
    np.testing.assert_array_equal(found.inputs["x"], np.full((1, 1, 9), 2.0))
