"""Losses and their gradients: values from NumPy and closed forms, bits from the other engine."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from bits import assert_same_bits
from scipy.signal import lfilter

import amp
from amp import losses, nodes
from amp.errors import BadInput, BadNode, BadValue

if TYPE_CHECKING:
    from amp.ir import Value

RANDOM = np.random.default_rng(7)
X = RANDOM.normal(size=(3, 2, 500))
TARGET = RANDOM.normal(size=(3, 2, 500))
POLE = 0.8


def gain_graph() -> amp.Graph:
    g = amp.Graph(batch=3)
    g.output("out", amp.Param(0.5, name="gain") * g.input("x", channels=2))
    return g


def filter_graph() -> amp.Graph:
    g = amp.Graph(batch=3)
    pole = amp.Param(-POLE, name="a1")
    y = g.add(nodes.Biquad(), g.input("x", channels=2), a1=pole)
    g.output("out", y)
    g.output("twice", 2.0 * y)
    return g


def test_mse_of_a_gain_is_its_closed_form() -> None:
    value, gradients = amp.compile(gain_graph()).value_and_grad(losses.mse("out", TARGET), {"x": X})
    error = 0.5 * X - TARGET
    assert value == pytest.approx(np.mean(error**2), rel=1e-14)
    assert gradients.params["gain"] == pytest.approx(np.mean(2 * error * X), rel=1e-12)
    np.testing.assert_allclose(gradients.inputs["x"], error / X.size, rtol=1e-12)


def test_gradients_of_a_filter_are_filters() -> None:
    """With y = x / A, the slopes are dy / A backwards in time, and of a1 the sum of that times -y late."""
    value, gradients = amp.compile(filter_graph()).value_and_grad(
        losses.mean_square("out"), {"x": X}
    )
    y = lfilter([1.0], [1.0, -POLE], X)
    back = lfilter([1.0], [1.0, -POLE], (2 * y / y.size)[..., ::-1])[..., ::-1]
    assert value == pytest.approx(np.mean(y**2), rel=1e-13)
    np.testing.assert_allclose(gradients.inputs["x"], back, rtol=1e-10, atol=1e-18)
    slope = -np.sum(back[..., 1:] * y[..., :-1])
    assert gradients.params["a1"] == pytest.approx(slope, rel=1e-11)


def absolute(b: Any, y: Value, target: Value, weight: Value) -> Value:
    value: Value = weight * b.abs(y - target)
    return value


def test_a_loss_may_be_any_function_of_values_and_weights() -> None:
    weight = np.zeros((3, 1, 500))
    weight[..., 100:] = 1.0
    loss = losses.mean(absolute, "out", TARGET, weight)
    value, gradients = amp.compile(gain_graph()).value_and_grad(loss, {"x": X})
    error = 0.5 * X - TARGET
    assert value == pytest.approx(np.mean(weight * abs(error)), rel=1e-14)
    expected = 0.5 * weight * np.sign(error) / X.size
    np.testing.assert_allclose(gradients.inputs["x"], expected, rtol=1e-14)


def test_a_loss_of_two_outputs_has_cotangents_of_both() -> None:
    product = losses.mean(lambda b, y, z: y * z, "out", "twice")
    value, one = amp.compile(filter_graph()).value_and_grad(product, {"x": X})
    same, other = amp.compile(filter_graph()).value_and_grad(
        2.0 * losses.mean_square("out"), {"x": X}
    )
    assert value == pytest.approx(same, rel=1e-13)
    np.testing.assert_allclose(one.inputs["x"], other.inputs["x"], rtol=1e-11, atol=1e-18)


def test_losses_add_up() -> None:
    program = amp.compile(gain_graph())
    parts = [losses.mse("out", TARGET), losses.mean_square("out")]
    total = 0.25 * parts[0] + parts[1] * 3.0
    assert repr(total) == "<Loss of 2 terms>"
    value, gradients = program.value_and_grad(total, {"x": X})
    each = [program.value_and_grad(part, {"x": X}) for part in parts]
    assert value == pytest.approx(0.25 * each[0][0] + 3.0 * each[1][0], rel=1e-14)
    expected = 0.25 * each[0][1].inputs["x"] + 3.0 * each[1][1].inputs["x"]
    np.testing.assert_allclose(gradients.inputs["x"], expected, rtol=1e-12, atol=1e-18)


def test_the_bits_are_the_same_under_every_engine_and_schedule() -> None:
    loss = losses.mean(lambda b, y: b.tanh(y) * y, "out")
    value, gradients = amp.compile(filter_graph()).value_and_grad(loss, {"x": X})
    for block, width in ((1, 1), (7, 4), (64, 8)):
        plan = amp.plan(filter_graph(), block, width)
        other, theirs = amp.compile(filter_graph(), plan).value_and_grad(loss, {"x": X})
        assert other == value
        assert_same_bits(theirs.inputs["x"], gradients.inputs["x"])
        assert_same_bits(theirs.params["a1"], gradients.params["a1"])


def test_the_sum_is_exact_where_a_plain_one_is_not() -> None:
    g = amp.Graph()
    g.output("out", g.input("x"))
    x = np.tile([1.0, 1e16, 1.0, -1e16], 50)[None, None]
    value, _ = amp.compile(g).value_and_grad(losses.mean(lambda b, y: y, "out"), {"x": x})
    assert value == math.fsum(x.ravel()) / x.size == 0.5


@pytest.mark.parametrize("odd", [np.inf, np.nan])
def test_what_is_not_finite_comes_through(odd: float) -> None:
    x = X.copy()
    x[0, 0, 3] = odd
    value, _ = amp.compile(gain_graph()).value_and_grad(losses.mean_square("out"), {"x": x})
    np.testing.assert_equal(value, odd)


def test_it_goes_on_from_the_present_state() -> None:
    program = amp.compile(filter_graph())
    loss = losses.mean_square("out")
    first, _ = program.value_and_grad(loss, {"x": X[..., :200]})
    second, _ = program.value_and_grad(loss, {"x": X[..., 200:]})
    assert program.clock == 500
    whole, _ = amp.compile(filter_graph()).value_and_grad(loss, {"x": X})
    assert 0.4 * first + 0.6 * second == pytest.approx(whole, rel=1e-13)


def test_a_function_of_the_result_gives_value_and_cotangents() -> None:
    def loss(result: Any) -> Any:
        return np.mean(result["out"] ** 2), {"out": 2 * result["out"] / result["out"].size}

    value, gradients = amp.compile(filter_graph()).value_and_grad(loss, {"x": X})
    same, others = amp.compile(filter_graph()).value_and_grad(losses.mean_square("out"), {"x": X})
    assert value == pytest.approx(same, rel=1e-14)
    np.testing.assert_allclose(gradients.inputs["x"], others.inputs["x"], rtol=1e-12, atol=1e-18)


def test_gradient_descent_finds_the_gain() -> None:
    program = amp.compile(gain_graph())
    loss = losses.mse("out", 1.75 * X)
    for _ in range(40):
        program.reset()
        _, gradients = program.value_and_grad(loss, {"x": X})
        program.set("gain", program.params["gain"] - 0.3 * gradients.params["gain"])
    assert program.params["gain"] == pytest.approx(1.75, rel=1e-9)


def remembers(b: Any, y: Value) -> Any:
    last = b.state("last")
    b.next("last", y)
    return y - last


@pytest.mark.parametrize(
    ("loss", "error", "words"),
    [
        (lambda: "mse", BadValue, "a loss is made by amp.losses"),
        (lambda: losses.mse("x", TARGET), BadInput, "a loss is of outputs of the graph"),
        (lambda: losses.mse("out", TARGET[:2]), BadInput, "have the shape of output 'out'"),
        (lambda: losses.mse("out", TARGET[0]), BadValue, "has shape .batch, channel, frame."),
        (lambda: losses.mse("out", "a"), BadInput, "a loss is of outputs of the graph"),
        (lambda: losses.mean(absolute, TARGET), BadValue, "a loss is of at least one output"),
        (lambda: losses.mean(lambda b, y, z: y, "out", "out"), BadValue, "each output once"),
        (lambda: losses.mean(remembers, "out"), BadNode, "of one frame, without memory"),
        (lambda: lambda result: 1.0, BadValue, "returns its value and the cotangents"),
    ],
)
def test_what_is_no_loss_is_refused(loss: Any, error: type[Exception], words: str) -> None:
    program = amp.compile(gain_graph())
    with pytest.raises(error, match=words):
        program.value_and_grad(loss(), {"x": X})


def test_outputs_may_have_any_name() -> None:
    for name in ("loss", "signal 1", "slope 0", "scale"):
        g = amp.Graph()
        g.output(name, 0.5 * g.input("x"))
        loss = losses.mse(name, np.zeros((1, 1, 4)))
        value, gradients = amp.compile(g).value_and_grad(loss, {"x": np.ones((1, 1, 4))})
        assert value == 0.25
        np.testing.assert_array_equal(gradients.inputs["x"], np.full((1, 1, 4), 0.125))


def test_a_loss_is_added_to_losses_and_multiplied_by_numbers() -> None:
    loss = losses.mean_square("out")
    with pytest.raises(TypeError):
        loss + 1.0  # type: ignore[operator]
    with pytest.raises(BadValue, match="multiplied by a finite number"):
        loss * "a"


def test_a_wrong_output_is_found_before_anything_runs() -> None:
    program = amp.compile(gain_graph())
    with pytest.raises(BadInput):
        program.value_and_grad(losses.mean_square("nope"), {"x": X})
    assert program.clock == 0


def test_a_program_cannot_go_back_over_inputs_that_it_does_not_own() -> None:
    program = amp.compile(gain_graph())
    program.value_and_grad(losses.mean_square("out"), {"x": X})
    with pytest.raises(BadValue, match="the last recorded run"):
        program.backward({"out": X})


def test_update_changes_all_params_or_none() -> None:
    g = amp.Graph()
    y = amp.Param(2.0, name="a") * g.input("x")
    g.output("out", g.add(nodes.OnePole(), y, cutoff=amp.Param(100.0, name="b")))
    program = amp.compile(g)
    with pytest.raises(BadValue, match="cutoff"):
        program.update({"a": 3.0, "b": -1.0})
    assert program.params["a"] == 2.0
    program.update({"a": 3.0, "b": 50.0})
    assert program.params["a"] == 3.0
    assert program.params["b"] == 50.0
