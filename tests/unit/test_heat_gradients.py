"""Heat as a training loss: closed forms, Euler's theorem, finite differences, and bits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from bits import assert_same_bits

import amp
from amp import losses, nodes
from amp.errors import BadInput, BadValue, NotDifferentiable
from amp.testing import check_grads

if TYPE_CHECKING:
    from bits import Array

    from amp.program import Program
    from amp.result import Gradients, Result

RATE = 1000.0
THERMAL = amp.Thermal(coupling=0.7, loss=0.1, power=0.3, capacity=2.0)
RNG = np.random.default_rng(11)


def pair() -> amp.Graph:
    """A gain between an input and an output."""
    g = amp.Graph(sample_rate=RATE, batch=2)
    half = g.add(nodes.Gain(), g.input("x"), gain=amp.Param(0.5, name="gain"), name="half")
    g.output("out", half)
    return g


def network() -> amp.Graph:
    """Linear in its input: a loop, rates, a rearrangement, a wide sum and paths of different delay."""
    g = amp.Graph(sample_rate=RATE, batch=2)
    x = g.input("x")
    back = g.feedback()
    looped = g.add(nodes.Mix(), x, amp.edge(back, initial=3), name="loop", thermal=THERMAL)
    back.connect(0.5 * looped)
    slow = g.add(nodes.Downsample(3), looped, name="slow", thermal=THERMAL)
    held = g.add(nodes.Hold(3), slow, name="held", thermal=THERMAL)
    low = g.add(nodes.OnePole(), held, cutoff=80.0, name="low", thermal=THERMAL)
    mixed = g.add(nodes.MatrixMix(np.array([[0.5, 0.2]])), g.add(nodes.Concat(), low, looped))
    g.add(nodes.Gain(), mixed, gain=0.3, name="deaf", thermal=THERMAL)  # heard by nobody
    total = g.add(nodes.Mix(), *(amp.edge(low, delay=d) for d in range(10)), name="total")
    g.output("out", g.add(nodes.Pan(), total, position=0.3, name="pan", thermal=THERMAL))
    return g


def noise(frames: int) -> Array:
    return RNG.standard_normal((2, 1, frames))


def weights(result: Result) -> dict[str, Array]:
    rng = np.random.default_rng(3)
    return {name: rng.standard_normal(array.shape) for name, array in result.heat.items()}


def loss(result: Result, some: dict[str, Array]) -> float:
    return float(sum((result.heat[name] * array).sum() for name, array in some.items()))


@pytest.mark.parametrize("every", [1, 5])
def test_the_slope_of_energy_is_twice_the_stream(every: int) -> None:
    program, x = amp.compile(pair(), heat=every), noise(5000)
    result = program.run({"x": x}, record="heat")
    np.testing.assert_array_equal(result.heat.clock, [4096, 5000])
    some = {"half": np.array([[0.0, 2.0], [0.0, 3.0]]), "out": np.array([[1.0, 0.0], [0.5, 0.0]])}
    gradients = program.backward({}, heat=some)
    measured = np.arange(5000) % every == 0
    each = (some["half"][:, 1:2] + 0.25 * some["out"][:, :1] * (np.arange(5000) < 4096))[:, None]
    expected = 2.0 * each * x * measured * every / RATE
    np.testing.assert_allclose(gradients.inputs["x"], expected, rtol=1e-12, atol=1e-18)
    squares = (np.square(x[..., :4096]) * measured[:4096]).sum(axis=2)[:, 0] * every / RATE
    slope = 2.0 * 0.5 * (5.0 * some["half"][:, 1] + squares * some["out"][:, 0]).sum()
    assert gradients.params["gain"] == pytest.approx(slope, rel=1e-12)


@pytest.mark.parametrize("every", [1, 23])
def test_a_quadratic_form_obeys_eulers_theorem(every: int) -> None:
    """With nothing but streams, heat is a quadratic form of the input: x . grad = 2 J."""
    program, x = amp.compile(network(), heat=every), noise(9000)
    result = program.run({"x": x}, record="heat")
    some = weights(result)
    gradients = program.backward({}, heat=some)
    program.reset()
    still = loss(program.run({"x": 0.0 * x}), some)
    wanted = 2.0 * (loss(result, some) - still)
    assert (gradients.inputs["x"] * x).sum() == pytest.approx(wanted, rel=1e-9)


def test_finite_differences_of_everything_that_moves() -> None:
    g = amp.Graph(sample_rate=RATE, batch=2)
    x = g.input("x")
    drive = amp.Param(np.array([[1.5], [0.5]]), name="drive")
    loud = g.add(nodes.Gain(), x, gain=drive, name="loud", thermal=THERMAL)
    bent = g.add(nodes.Function("tanh"), loud, name="bent", thermal=THERMAL)
    cutoff = amp.Param(3.0, name="cutoff")
    low = g.add(nodes.OnePole(), amp.edge(bent, delay=7), cutoff=cutoff, thermal=THERMAL)
    late = g.add(
        nodes.Delay(40, "linear"), low, delay=amp.Param(12.5, name="time"), thermal=THERMAL
    )
    g.output("out", g.add(nodes.Multiply(), late, amp.edge(loud, initial=2), thermal=THERMAL))
    for ipls in (None, amp.plan(g, block=100)):
        program = amp.compile(g, ipls, heat=3)
        program.run({"x": noise(4000)})
        check_grads(program, {"x": noise(300)}, heat=True)


def recorded(program: Program, x: Array) -> tuple[Result, Gradients]:
    result = program.run({"x": x}, record="heat")
    out = {name: np.ones_like(array) for name, array in result.items()}
    return result, program.backward(out, heat=weights(result))


def test_schedules_and_threads_change_no_bit() -> None:
    x = noise(9001)
    _, want = recorded(amp.compile(network(), heat=5), x)
    for block, width, threads in ((77, 4, 1), (256, 8, 2), (5000, 1, 1)):
        plan = amp.plan(network(), block=block, width=width)
        _, got = recorded(amp.compile(network(), plan, heat=5, threads=threads), x)
        assert_same_bits(got.inputs["x"], want.inputs["x"])
        for name, array in want.state.heat.items():
            assert_same_bits(got.state.heat[name], array)


def test_runs_chain() -> None:
    """What the later run says of heat, and of the energy of a cell that both share, goes on into the first."""
    x, cut = noise(9000), 5000
    program = amp.compile(network(), heat=3)
    result = program.run({"x": x}, record="heat")
    some = weights(result)
    want = program.backward({}, heat=some)
    program.reset()
    one = program.run({"x": x[..., :cut]}).heat.clock.tolist()
    two = program.run({"x": x[..., cut:]}, record="heat").heat.clock.tolist()
    parts: list[dict[str, Array]] = []
    for clocks in (one, two):
        part = {name: np.zeros((2, len(clocks))) for name in some}
        for i, clock in enumerate(clocks):
            if clock in result.heat.clock:  # not the end of the first run
                at = result.heat.clock.tolist().index(clock)
                for name, array in some.items():
                    part[name][:, i] = array[:, at]
        parts.append(part)
    second = program.backward({}, heat=parts[1])
    program.reset()
    program.run({"x": x[..., :cut]}, record="heat")
    first = program.backward({}, heat=parts[0], later=second.state)
    joined = np.concatenate([first.inputs["x"], second.inputs["x"]], axis=2)
    np.testing.assert_allclose(joined, want.inputs["x"], rtol=1e-10, atol=1e-16)
    for name, state in want.state.heat.items():
        np.testing.assert_allclose(first.state.heat[name], state, rtol=1e-12)
    program.reset()
    program.run({"x": x[..., :cut]}, record=True)
    with pytest.raises(BadInput, match="recorded with heat if the one that follows is"):
        program.backward({}, later=second.state)


def test_a_loss_reads_heat_and_temperature() -> None:
    x = noise(5000)
    target = np.full((2, 1, 2), 1.5)
    mixed = (
        losses.mse("out", x)
        + 0.1 * losses.mean(lambda b, k: b.max(k - amp.AMBIENT, 0.0), losses.temperature("low"))
        + losses.mse(losses.heat("pan"), target)
    )
    g = amp.Graph(sample_rate=RATE, batch=2)
    low = g.add(nodes.OnePole(), g.input("x"), cutoff=amp.Param(20.0, name="cutoff"), name="low",
                thermal=THERMAL)  # fmt: skip
    g.output("wide", g.add(nodes.Pan(), low, name="pan"))
    g.output("out", low)
    results = []
    for ipls in (None, amp.plan(g, block=64)):
        program = amp.compile(g, ipls, heat=1)
        value, gradients = program.value_and_grad(mixed, {"x": x})
        results.append((value, gradients))
        program.reset()
        result = program.run({"x": x})
        expected = np.mean(np.square(result["out"] - x))
        expected += 0.1 * np.mean(result.temperature["low"] - amp.AMBIENT)
        expected += np.mean(np.square(result.heat["pan"] - 1.5))
        assert value == pytest.approx(expected, rel=1e-12)
        slopes = []
        for step in (1e-3, -1e-3):
            program.reset()
            program.set("cutoff", 20.0 + step)
            slopes.append(program.value_and_grad(mixed, {"x": x})[0])
        difference = (slopes[0] - slopes[1]) / 2e-3
        assert gradients.params["cutoff"] == pytest.approx(difference, rel=1e-6)
    assert results[0][0] == results[1][0]
    assert_same_bits(results[0][1].inputs["x"], results[1][1].inputs["x"])


def test_a_node_learns_to_stay_cool() -> None:
    """A hundred steps of descent bring a node to the temperature that is asked for."""
    g = amp.Graph(sample_rate=RATE)
    g.output("out", g.add(nodes.Gain(), g.input("x"), gain=amp.Param(2.0, name="gain")))
    program, x = amp.compile(g, heat=1), np.ones((1, 1, 1000))
    aim = losses.mse(losses.temperature("out"), np.full((1, 1, 1), amp.AMBIENT + 1.0))
    value = 1.0
    for _ in range(100):
        program.reset()
        value, gradients = program.value_and_grad(aim, {"x": x})
        program.set("gain", program.params["gain"] - 0.02 * gradients.params["gain"])
    assert value < 1e-12
    assert program.params["gain"] == pytest.approx(1.0, abs=1e-6)  # 1 s of 1 W


def test_a_stream_of_uneven_rate_is_refused_though_nobody_hears_it() -> None:
    g = amp.Graph(sample_rate=RATE)
    dealt = g.add(nodes.Distributor(), g.input("x"), name="dealt")
    g.add(nodes.Gain(), dealt[0], gain=2.0)
    g.output("out", 0.5 * g.input("y"))
    program, x = amp.compile(g), np.ones((1, 1, 8))
    program.run({"x": x, "y": x}, record=True)
    with pytest.raises(NotDifferentiable, match="node 'dealt'"):
        program.run({"x": x, "y": x}, record="heat")


def test_refusals() -> None:
    program, x = amp.compile(pair()), noise(10)
    with pytest.raises(BadValue, match="record is True, False or 'heat'"):
        program.run({"x": x}, record="hot")  # type: ignore[arg-type]
    with pytest.raises(BadValue, match="in a program that measures it"):
        amp.compile(pair(), heat=0).run({"x": x}, record="heat")
    program.run({"x": x}, record=True)
    with pytest.raises(BadValue, match="a run that was recorded with it"):
        program.backward({}, heat={"out": np.zeros((2, 1))})
    program.run({"x": x}, record="heat")
    with pytest.raises(BadInput, match="of nodes of the graph"):
        program.backward({}, heat={"nobody": np.zeros((2, 1))})
    wrong: Any
    for wrong in (np.zeros(2), np.zeros((2, 1), complex)):
        with pytest.raises(BadInput, match="the cotangent of the heat of 'out'"):
            program.backward({}, heat={"out": wrong})
    with pytest.raises(BadInput, match="a loss is of the heat of nodes of the graph"):
        program.value_and_grad(losses.mean_square(losses.heat("nobody")), {"x": x})
    with pytest.raises(BadInput, match="shape of the heat of 'out'"):
        program.value_and_grad(losses.mse(losses.heat("out"), np.zeros((2, 1, 9))), {"x": x})
