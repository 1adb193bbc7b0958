"""The diode clipper against the differential equation, solved with fine steps by SciPy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.optimize import brentq

import amp
from amp import nodes
from amp.testing import check_grads

if TYPE_CHECKING:
    from bits import Array

R, C, I, V = 2.2e3, 10e-9, 2.52e-9, 45.3e-3


def clipped(u: Array, rate: float, **options: float) -> tuple[Array, Array]:
    g = amp.Graph(rate)
    out, residual = g.add(nodes.DiodeClipper(**options), g.input("u"))
    g.output("out", out)
    g.output("residual", residual)
    result = amp.compile(g).run({"u": u.reshape(1, 1, -1)})
    return result["out"][0, 0], result["residual"][0, 0]


def test_it_follows_the_differential_equation() -> None:
    """4.5 V at 1 kHz into diodes that hold 0.6 V; the error of the trapezoid falls with the square of a
    frame."""

    def drive(t: Array) -> Array:
        u: Array = 4.5 * np.sin(2 * np.pi * 1000 * t) * np.minimum(t / 5e-4, 1.0) ** 2
        return u

    def slope(t: float, v: Array) -> Array:
        d: Array = (drive(np.asarray(t)) - v) / (R * C) - 2 * I / C * np.sinh(v / V)
        return d

    errors, loudest = [], 0.0
    for rate in (384_000, 768_000):
        t = np.arange(int(0.002 * rate)) / rate
        exact = solve_ivp(
            slope, (0, t[-1]), [0.0], method="Radau", t_eval=t, rtol=1e-9, atol=1e-11, max_step=2e-6
        )
        out, residual = clipped(drive(t), rate)
        errors.append(abs(out - exact.y[0]).max())
        loudest = abs(out).max()
        assert residual.max() < 1e-13
    assert 0.5 < loudest < 0.7
    assert errors[0] < 2e-3
    assert errors[1] < errors[0] / 3


@pytest.mark.parametrize("level", [1e-9, 1e-3, 1.0, 1e3, 1e6])
def test_each_frame_is_solved_for_any_level(level: float) -> None:
    """Jumps of noise, against a bracketing solver; the residual is a rounding."""
    rate = 48_000
    u = level * np.random.default_rng(1).normal(size=200)
    out, residual = clipped(u, rate)
    a, stored = 1 / (2 * R * C * rate), 0.0
    for drive, got, rest in zip(u, out, residual, strict=True):
        right = stored + a * drive

        def differs(v: float, right: float = right) -> float:
            return float((1 + a) * v + I / (C * rate) * np.sinh(v / V) - right)

        bound = min(abs(right), 3.0)
        want = brentq(differs, -bound, bound, xtol=1e-300, rtol=1e-14)
        assert got == pytest.approx(want, rel=1e-11)
        assert rest <= 1e-13 * abs(right)
        stored = 2 * got - stored


def test_too_few_iterations_are_reported() -> None:
    u = np.full(50, 4.0)
    few, residual = clipped(u, 48_000, iterations=1)
    enough, solved = clipped(u, 48_000)
    assert residual[0] > 1e-2
    assert solved.max() < 1e-14
    assert abs(few - enough).max() > 1e-3


def test_a_quiet_signal_meets_a_plain_filter() -> None:
    """Far below the knee a diode is a resistor of V / (2 I): 9 megohm, so nearly only R and C are left."""
    rate = 192_000
    u = 1e-6 * np.sin(2 * np.pi * 500 * np.arange(4000) / rate)
    out, _ = clipped(u, rate)
    omega = 2 * np.pi * 500
    gain = 1 / (1 + 1j * omega * R * C + R * 2 * I / V)
    late = slice(2000, None)
    want = 1e-6 * np.imag(gain * np.exp(1j * omega * np.arange(4000) / rate))
    np.testing.assert_allclose(out[late], want[late], atol=1e-6 * 2e-5)


def test_its_heat_is_what_the_source_gives() -> None:
    """At rest all power is lost in the resistor and the diodes."""
    g = amp.Graph(48_000)
    out, _ = g.add(nodes.DiodeClipper(), g.input("u"), name="clip")
    g.output("out", out)
    program = amp.compile(g, heat=1)
    program.run({"u": np.full((1, 1, 4800), 4.0)})
    before = program.run({"u": np.full((1, 1, 10), 4.0)}).heat["clip"][0, -1]
    result = program.run({"u": np.full((1, 1, 4800), 4.0)})
    current = (4.0 - result["out"][0, 0, -1]) / R
    given = 4.0 * current * 0.1
    assert result.heat["clip"][0, -1] - before == pytest.approx(given, rel=1e-9)


def test_its_values_are_learnt() -> None:
    g = amp.Graph(48_000)
    resistance = amp.Param(2.2e3, name="resistance")
    saturation = amp.Param(3e-9, name="saturation")
    node = nodes.DiodeClipper(saturation=saturation)
    g.output("out", g.add(node, g.input("u"), resistance=resistance)[0])
    u = np.random.default_rng(2).normal(size=(1, 1, 80))
    check_grads(amp.compile(g), {"u": u})
