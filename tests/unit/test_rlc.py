"""RLC ladders against closed forms, and where their energy goes."""

from __future__ import annotations

import numpy as np
import pytest
from bits import assert_same_bits
from scipy import signal

import amp
from amp import nodes
from amp.testing import check_grads

RATE = 96_000


def step(
    node: amp.NodeType, frames: int, rate: float = RATE
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Voltage and current after a step of 1 V, and the times of the frames: to the trapezoid the step
    is a ramp of one frame, whose middle is half a frame before."""
    g = amp.Graph(rate)
    out, current = g.add(node, g.input("u"))
    g.output("out", out)
    g.output("current", current)
    result = amp.compile(g).run({"u": np.ones((1, 1, frames))})
    return result["out"][0, 0], result["current"][0, 0], (np.arange(frames) + 0.5) / rate


def test_a_capacitor_charges() -> None:
    r, c = 1e3, 1e-6
    out, current, t = step(nodes.RLC(("series R", "parallel C"), [r, c]), 500)
    np.testing.assert_allclose(out, 1 - np.exp(-t / (r * c)), atol=2e-5)
    np.testing.assert_allclose(current, np.exp(-t / (r * c)) / r, atol=2e-8)


def test_an_inductor_takes_its_time() -> None:
    r, inductance = 50.0, 20e-3
    out, current, t = step(nodes.RLC(("series L", "parallel R"), [inductance, r]), 500)
    np.testing.assert_allclose(current, (1 - np.exp(-t * r / inductance)) / r, atol=1e-4 / r)
    np.testing.assert_allclose(out, r * current, rtol=1e-12)


@pytest.mark.parametrize("r", [20.0, 200.0, 400.0], ids=["rings", "critical", "slow"])
def test_a_series_circuit_steps_as_its_closed_form(r: float) -> None:
    """Underdamped, critical and overdamped; the error of the trapezoid falls with the square of a frame."""
    inductance, c = 10e-3, 1e-6
    alpha, omega2 = r / (2 * inductance), 1 / (inductance * c)
    root = np.sqrt(complex(alpha**2 - omega2))

    def closed(t: np.ndarray) -> np.ndarray:
        if abs(root) < 1e-6 * alpha:
            return 1 - np.exp(-alpha * t) * (1 + alpha * t)
        slow, fast = -alpha + root, -alpha - root
        y: np.ndarray = (
            1 + (fast * np.exp(slow * t) - slow * np.exp(fast * t)) / (slow - fast)
        ).real
        return y

    node = nodes.RLC(("series R", "series L", "parallel C"), [r, inductance, c])
    errors = []
    for rate in (RATE, 4 * RATE):
        out, _, t = step(node, int(0.005 * rate), rate)
        errors.append(abs(out - closed(t)).max())
    assert errors[0] < 4e-3
    assert errors[1] < errors[0] / 12


def test_a_butterworth_ladder_is_its_bilinear_transform() -> None:
    """The doubly terminated ladder 1, 1, 2, 1, 1 (Zverev), at 600 ohm and 2 kHz."""
    ohm, omega = 600.0, 2 * np.pi * 2000
    node = nodes.RLC(
        ("series R", "parallel C", "series L", "parallel C", "parallel R"),
        [ohm, 1 / (ohm * omega), 2 * ohm / omega, 1 / (ohm * omega), ohm],
    )
    g = amp.Graph(RATE)
    g.output("out", g.add(node, g.input("u"))[0])
    u = np.random.default_rng(1).normal(size=2000)
    got = amp.compile(g).run({"u": u.reshape(1, 1, -1)})["out"][0, 0]
    b, a = signal.bilinear(*signal.butter(3, omega, analog=True), fs=RATE)
    np.testing.assert_allclose(got, 0.5 * signal.lfilter(b, a, u), atol=1e-9)


def test_stages_of_an_input_a_core_and_an_output_load_each_other() -> None:
    """A divider of 1 k and 1 k, loaded by 500 ohm: a quarter; behind a node of its own, a half and no load."""
    core, load = ("series R", "parallel R"), ("parallel R",)
    out, current, _ = step(nodes.RLC(core + load, [1e3, 1e3, 500.0]), 3)
    np.testing.assert_allclose(out, 0.25, rtol=1e-14)
    np.testing.assert_allclose(current, 0.75e-3, rtol=1e-14)


def heats(node: amp.NodeType, u: np.ndarray, block: int = 0) -> np.ndarray:
    g = amp.Graph(RATE, batch=u.shape[0])
    g.output("out", g.add(node, g.input("u", channels=u.shape[1]), name="ladder")[0])
    program = amp.compile(g, amp.plan(g, block) if block else None, heat=1)
    joules: np.ndarray = program.run({"u": u}).heat["ladder"]
    return joules


def test_heat_is_what_the_resistors_dissipate() -> None:
    """A capacitor that is charged over a resistor: half of the energy C V^2 is lost, whatever R is."""
    u = np.full((2, 1, 20_000), 3.0)
    u[1] = 2.0
    for r in (100.0, 1e3):
        joules = heats(nodes.RLC(("series R", "parallel C"), [r, 2e-6]), u)
        np.testing.assert_allclose(joules[:, -1], [0.5 * 2e-6 * 9, 0.5 * 2e-6 * 4], rtol=2e-2)
    steady = heats(nodes.RLC(("series R", "parallel R"), [100.0, 200.0]), u)
    np.testing.assert_allclose(steady[0, -1], 9 / 300 * 20_000 / RATE, rtol=1e-12)
    for block in (16, 256):
        np.testing.assert_array_equal(
            heats(nodes.RLC(("series R",), [1.0]), u, block),
            heats(nodes.RLC(("series R",), [1.0]), u),
        )
        ladder = nodes.RLC(("series R", "parallel C", "parallel R"), [10.0, 1e-6, 70.0])
        np.testing.assert_array_equal(heats(ladder, u, block), heats(ladder, u))


def test_a_snapshot_takes_its_heat_along() -> None:
    g = amp.Graph(RATE, batch=2)
    ladder = nodes.RLC(("series R", "parallel C", "parallel R"), [10.0, 1e-6, 70.0])
    g.output("out", g.add(ladder, g.input("u", channels=3), name="ladder")[0])
    u = np.random.default_rng(5).normal(size=(2, 3, 9000))
    whole = amp.compile(g).run({"u": u}).heat["ladder"]
    first, second = amp.compile(g), amp.compile(g, amp.plan(g, 64))
    first.run({"u": u[..., :5000]})
    second.restore(first.state())
    assert_same_bits(second.run({"u": u[..., 5000:]}).heat["ladder"][:, -1], whole[:, -1], "heat")


def test_energy_is_conserved() -> None:
    """What the source gives is dissipated or stored: by the trapezoid's mean of v i at frames and between."""
    c, inductance = 1e-6, 5e-3
    node = nodes.RLC(
        ("series R", "series L", "parallel C", "parallel R"), [30.0, inductance, c, 400.0]
    )
    rng = np.random.default_rng(2)
    u = np.zeros(6000)
    u[:3000] = signal.lfilter([0.05], [1, -0.95], rng.normal(size=3000))
    g = amp.Graph(RATE)
    out, current = g.add(node, g.input("u"), name="ladder")
    g.output("out", out)
    g.output("current", current)
    result = amp.compile(g, heat=1).run({"u": u.reshape(1, 1, -1)})
    given = float(u @ result["current"][0, 0]) / RATE
    assert abs(result["out"][0, 0, -1]) < 1e-6  # nothing is stored any more
    # the trapezoid's power is of the means of neighbouring frames: the square of the step is missing
    assert result.heat["ladder"][0, -1] == pytest.approx(given, rel=2e-2)


def test_a_capacitor_keeps_its_charge_when_its_value_is_set() -> None:
    g = amp.Graph(RATE)
    values = amp.Param([1e12, 1e-6], name="values")
    g.output("out", g.add(nodes.RLC(("series R", "parallel C"), values), g.input("u"))[0])
    program = amp.compile(g)
    state = program.state()
    (name,) = state.nodes["rlc.0"]
    state.nodes["rlc.0"][name][:] = 5e-6  # as / 2
    program.restore(state)
    quiet = {"u": np.zeros((1, 1, 10))}
    np.testing.assert_allclose(program.run(quiet)["out"][0, 0], 5.0, rtol=1e-9)
    program.set("values", [1e12, 2e-6])
    np.testing.assert_allclose(program.run(quiet)["out"][0, 0], 2.5, rtol=1e-9)


def test_values_are_learnt() -> None:
    g = amp.Graph(sample_rate=1)
    values = amp.Param([1.0, 2.0, 0.5], name="values")
    g.output(
        "out", g.add(nodes.RLC(("series R", "parallel C", "parallel R"), values), g.input("u"))[0]
    )
    u = np.random.default_rng(3).normal(size=(1, 1, 60))
    check_grads(amp.compile(g), {"u": u})
