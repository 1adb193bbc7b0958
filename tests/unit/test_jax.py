"""Programs in JAX's transformations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import amp
from amp import nodes
from amp.errors import BadInput, BadValue, NotDifferentiable

if TYPE_CHECKING:
    from collections.abc import Iterator

jax: Any = pytest.importorskip("jax")
check_grads: Any = pytest.importorskip("jax.test_util").check_grads
import amp.jax

GAIN = np.array([[0.5], [0.3]])
X = np.random.default_rng(3).normal(size=(2, 1, 12))


@pytest.fixture(autouse=True)
def double() -> Iterator[None]:
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", before)


def graph() -> amp.Graph:
    g = amp.Graph(batch=2)
    cutoff = amp.Param(1800.0, name="cutoff")
    low = g.add(nodes.StateVariable("lowpass", q=0.9), g.input("x"), cutoff=cutoff)
    g.output("out", low * amp.Param(GAIN, name="gain"))
    g.output("side", np.tanh(low))
    return g


def loss_of(f: Any) -> Any:
    def loss(x: Any, gain: Any, cutoff: Any) -> Any:
        found = f({"x": x}, {"gain": gain, "cutoff": cutoff})
        return (found["out"] ** 2).sum() + found["side"].sum()

    return loss


@pytest.mark.parametrize("plan", [False, True])
def test_gradients_agree_with_differences(plan: bool) -> None:
    g = graph()
    f = amp.jax.function(amp.compile(g, amp.plan(g, 8) if plan else None))
    loss = loss_of(f)
    work = jax.jit(lambda x, gain, kilo: loss(x, gain, 1e3 * kilo))
    check_grads(work, (X, GAIN, 1.8), order=1, modes=["rev"], rtol=1e-6)


def test_it_is_the_program_bit_for_bit_and_leaves_it_alone() -> None:
    program = amp.compile(graph())
    f = jax.jit(amp.jax.function(program))
    found = [f({"x": X}), f({"x": X})]
    assert program.clock == 0
    expected = program.run({"x": X})
    for one in found:
        np.testing.assert_array_equal(one["out"], expected["out"])
        np.testing.assert_array_equal(one["side"], expected["side"])


def test_gradients_are_those_of_backward() -> None:
    program = amp.compile(graph())
    loss = loss_of(amp.jax.function(program))
    slopes = jax.jit(jax.grad(loss, (0, 1, 2)))(X, GAIN, 1800.0)
    y = program.run({"x": X}, record=True)["out"]
    expected = program.backward({"out": 2 * y, "side": np.ones_like(y)})
    np.testing.assert_allclose(slopes[0], expected.inputs["x"], rtol=1e-13)
    np.testing.assert_allclose(slopes[1], expected.params["gain"], rtol=1e-13)
    np.testing.assert_allclose(slopes[2], expected.params["cutoff"], rtol=1e-13)


def test_vmap_calls_it_once_for_each() -> None:
    loss = loss_of(amp.jax.function(amp.compile(graph())))
    cutoffs = np.array([500.0, 1800.0, 4000.0])
    found = jax.vmap(jax.value_and_grad(lambda c: loss(X, GAIN, c)))(cutoffs)
    for i, cutoff in enumerate(cutoffs):
        value, slope = jax.value_and_grad(lambda c: loss(X, GAIN, c))(cutoff)
        assert float(found[0][i]) == pytest.approx(float(value), rel=1e-14)
        assert float(found[1][i]) == pytest.approx(float(slope), rel=1e-12)


def test_params_that_are_left_out_stay_as_they_were_set() -> None:
    program = amp.compile(graph())
    program.set("cutoff", 500.0)
    f = amp.jax.function(program)
    f({"x": X}, {"cutoff": 5000.0})["out"].block_until_ready()
    np.testing.assert_array_equal(f({"x": X})["out"], program.run({"x": X})["out"])


def test_second_derivatives_and_forward_mode_are_refused() -> None:
    loss = loss_of(amp.jax.function(amp.compile(graph())))
    with pytest.raises(NotDifferentiable, match="first derivatives, and no second ones"):
        jax.grad(jax.grad(lambda c: loss(X, GAIN, c)))(1800.0)
    with pytest.raises(TypeError, match="forward-mode"):
        jax.jvp(lambda c: loss(X, GAIN, c), (1800.0,), (1.0,))


def test_a_long_signal_comes_through_again_and_again() -> None:
    """A callback of some megabytes must not wait for a thread that waits for it."""
    f = amp.jax.function(amp.compile(graph()))
    work = jax.jit(jax.grad(lambda x: (f({"x": x})["out"] ** 2).sum()))
    x = np.random.default_rng(1).normal(size=(2, 1, 100_000))
    slopes = [np.asarray(work(x)) for _ in range(5)]
    assert all((slope == slopes[0]).all() for slope in slopes)


@pytest.mark.parametrize(
    ("inputs", "params", "frames", "error", "words"),
    [
        ({}, {}, None, BadInput, "a run is given each input"),
        ({"x": X[:1]}, {}, None, BadInput, "input 'x' has shape"),
        ({"x": X[0]}, {}, None, BadInput, "input 'x' has shape"),
        ({"x": X}, {}, 5, BadInput, "input 'x' has shape"),
        ({"x": X[..., :0]}, {}, None, BadInput, "a run has one number of frames"),
        ({"x": X}, {"q": 1.0}, None, BadValue, "no parameter 'q'"),
        ({"x": X}, {"gain": 1.0}, None, BadValue, "keeps its shape"),
    ],
)
def test_what_does_not_fit_is_refused(
    inputs: Any, params: Any, frames: Any, error: Any, words: str
) -> None:
    with pytest.raises(error, match=words):
        amp.jax.function(amp.compile(graph()))(inputs, params, frames=frames)


def test_single_precision_is_refused() -> None:
    jax.config.update("jax_enable_x64", False)
    with pytest.raises(BadValue, match="64 bits"):
        amp.jax.function(amp.compile(graph()))({"x": X})


def test_a_graph_without_inputs_is_told_how_many_frames() -> None:
    g = amp.Graph()
    g.output("out", g.add(nodes.Sine(), amp.Param(440.0, name="pitch")))
    f = amp.jax.function(amp.compile(g))
    t = np.arange(100)
    slope = jax.grad(lambda pitch: (f(params={"pitch": pitch}, frames=100)["out"] * t).sum())(440.0)
    expected = np.sum(t * np.cos(2 * np.pi * 440.0 / 48e3 * t) * 2 * np.pi * t / 48e3)
    assert float(slope) == pytest.approx(expected, rel=1e-9)
