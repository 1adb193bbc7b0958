"""Numbers that the nodes must give: closed forms, SciPy's filters, spectra, and statistics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scipy import signal, stats

import amp
from amp import nodes

if TYPE_CHECKING:
    from bits import Array

    from amp.contract import NodeType

RATE = 48_000.0
NOISE = np.random.default_rng(3).normal(size=4000)


def played(node: NodeType, frames: int, rate: float = RATE, **streams: Any) -> Array:
    """One channel of ``node`` on streams by inlet name."""
    g = amp.Graph(rate)
    inputs: dict[str, Any] = {name: g.input(name) for name in streams}
    g.output("out", g.add(node, **inputs))
    program = amp.compile(g, amp.plan(g))
    result = program.run({n: a.reshape(1, 1, -1) for n, a in streams.items()}, frames=frames)
    wave: Array = result["out"][0, 0]
    return wave


def filtered(node: NodeType, x: Array = NOISE, **more: Any) -> Array:
    return played(node, len(x), input=x, **more)


# ---- filters


@pytest.mark.parametrize("mode", ["lowpass", "highpass"])
@pytest.mark.parametrize("cutoff", [20.0, 1000.0, 15_000.0])
def test_one_pole_is_a_first_order_butterworth(mode: str, cutoff: float) -> None:
    b, a = signal.butter(1, cutoff, mode, fs=RATE)
    got = filtered(nodes.OnePole(mode, cutoff=cutoff))
    np.testing.assert_allclose(got, signal.lfilter(b, a, NOISE), atol=1e-11)


def analogue(mode: str, q: float) -> tuple[list[float], list[float]]:
    """Transfer function of a second-order filter at 1 radian per second."""
    numerator = {
        "lowpass": [1.0],
        "bandpass": [1.0, 0.0],
        "highpass": [1.0, 0.0, 0.0],
        "notch": [1.0, 0.0, 1.0],
        "peak": [1.0, 0.0, -1.0],
        "allpass": [1.0, -1.0 / q, 1.0],
    }[mode]
    return numerator, [1.0, 1.0 / q, 1.0]


@pytest.mark.parametrize("mode", ["lowpass", "bandpass", "highpass", "notch", "peak", "allpass"])
@pytest.mark.parametrize("cutoff, q", [(30.0, 0.5), (1000.0, 0.7), (9000.0, 12.0)])
def test_state_variable_is_the_bilinear_transform(mode: str, cutoff: float, q: float) -> None:
    numerator, denominator = analogue(mode, q)
    warped = np.tan(np.pi * cutoff / RATE)
    b, a = signal.bilinear(*signal.lp2lp(numerator, denominator, warped), fs=0.5)
    got = filtered(nodes.StateVariable(mode, cutoff=cutoff, q=q))
    np.testing.assert_allclose(got, signal.lfilter(b, a, NOISE), atol=1e-8)


def test_state_variable_at_its_defaults_is_a_butterworth() -> None:
    b, a = signal.butter(2, 500.0, fs=RATE)
    got = filtered(nodes.StateVariable(cutoff=500.0))
    np.testing.assert_allclose(got, signal.lfilter(b, a, NOISE), atol=1e-10)


def test_biquad_is_lfilter() -> None:
    b, a = signal.iirpeak(3000.0, 5.0, fs=RATE)
    node = nodes.Biquad(b0=b[0], b1=b[1], b2=b[2], a1=a[1], a2=a[2])
    np.testing.assert_allclose(filtered(node), signal.lfilter(b, a, NOISE), atol=1e-11)


@pytest.mark.parametrize("order, kind", [(1, "low"), (4, "low"), (7, "high"), (16, "low")])
def test_second_order_sections_are_sosfilt(order: int, kind: str) -> None:
    sos = signal.butter(order, 2000.0, kind, fs=RATE, output="sos")
    sos[0] *= 3.0  # an a0 other than 1
    want = signal.sosfilt(sos / sos[:, 3:4], NOISE)
    np.testing.assert_allclose(filtered(nodes.SecondOrderSections(sos)), want, atol=1e-10)


def test_a_modulated_cutoff_stays_stable() -> None:
    cutoff = np.where(np.arange(4000) % 7 < 3, 30.0, 20_000.0)
    for kind in (nodes.OnePole(), nodes.StateVariable(q=8.0)):
        assert np.abs(filtered(kind, cutoff=cutoff)).max() < 100.0


# ---- delays


@pytest.mark.parametrize("delay", [1.0, 2.25, 9.5, 30.0])
@pytest.mark.parametrize("interpolation, degree", [("linear", 1), ("lagrange3", 3)])
def test_delays_are_exact_on_polynomials(interpolation: str, degree: int, delay: float) -> None:
    t = np.arange(200) / 50.0
    got = filtered(nodes.Delay(32, interpolation, delay=delay), t**degree)
    np.testing.assert_allclose(got[40:], ((t - delay / 50.0) ** degree)[40:], atol=1e-12)


@pytest.mark.parametrize("delay", [0.0, 0.4, 1.0, 6.6, 32.0, 90.0])
def test_whole_delays_shift(delay: float) -> None:
    whole = int(min(delay, 32.0) + 0.5)
    got = filtered(nodes.Delay(32, delay=delay))
    np.testing.assert_array_equal(got, np.concatenate([np.zeros(whole), NOISE[: 4000 - whole]]))


@pytest.mark.parametrize("delay", [0.5, 3.3, 7.9])
def test_thiran_is_an_allpass_of_that_delay(delay: float) -> None:
    impulse = np.zeros(4096)
    impulse[0] = 1.0
    spectrum = np.fft.rfft(filtered(nodes.Delay(16, "thiran1", delay=delay), impulse))
    np.testing.assert_allclose(np.abs(spectrum), 1.0, atol=1e-9)
    slope = -np.diff(np.unwrap(np.angle(spectrum)))[:20] * 4096 / (2 * np.pi)
    np.testing.assert_allclose(slope, delay, atol=1e-3)


# ---- oscillators


def spectrum_in_db(node: NodeType, seconds: float = 1.0) -> Array:
    """Magnitudes, in dB below the largest, at whole hertz."""
    wave = played(node, int(RATE * seconds))
    magnitude = np.abs(np.fft.rfft(wave))
    decibels: Array = 20 * np.log10(np.maximum(magnitude / magnitude[1:].max(), 1e-15))
    return decibels


def worst_alias(node: NodeType, frequency: int) -> float:
    """Loudest line that is no harmonic, in dB below the fundamental."""
    lines = spectrum_in_db(node)
    lines[::frequency] = -300.0  # harmonics, and the mean
    return float(lines.max())


@pytest.mark.parametrize(
    "kind, limit", [(nodes.Saw, -22.0), (nodes.Square, -22.0), (nodes.Triangle, -36.0)]
)
def test_worst_alias(kind: type[NodeType], limit: float) -> None:
    coarse = worst_alias(kind(points=2, frequency=5010.0), 5010)
    fine = worst_alias(kind(points=4, frequency=5010.0), 5010)
    assert coarse < limit
    assert fine < coarse - 6.0


def test_backwards_is_as_clean_as_forwards() -> None:
    for kind in (nodes.Saw, nodes.Square, nodes.Triangle):
        there, back = (worst_alias(kind(frequency=f), 5010) for f in (5010.0, -5010.0))
        assert there == pytest.approx(back, abs=0.1)


@pytest.mark.parametrize(
    "node, harmonic",
    [
        (nodes.Saw(points=4), lambda n: 1 / n),
        (nodes.Square(points=4), lambda n: n % 2 / n),
        (nodes.Triangle(points=4), lambda n: n % 2 / n**2),
    ],
)
def test_low_harmonics_have_their_levels(node: NodeType, harmonic: Any) -> None:
    wave = played(node, 48_000, frequency=np.full(48_000, 100.0))
    levels = np.abs(np.fft.rfft(wave))[100:2100:100]
    want = np.array([harmonic(n) for n in range(1, 21)])
    np.testing.assert_allclose(levels / levels[0], want, atol=0.004)


@pytest.mark.parametrize("frequency", [0.001, 440.0, -23_000.0])
def test_sine_is_the_sine_of_its_phase(frequency: float) -> None:
    got = played(nodes.Sine(phase=0.125, frequency=frequency), 5000)
    phase = 0.125 + np.arange(5000) * frequency / RATE
    np.testing.assert_allclose(got, np.sin(2 * np.pi * phase), atol=1e-9)


def test_phase_modulation_and_vibrato() -> None:
    t = np.arange(3000)
    bend = 0.7 * np.sin(t / 40.0)
    got = played(nodes.Sine(frequency=700.0), 3000, modulation=bend)
    np.testing.assert_allclose(got, np.sin(2 * np.pi * (700.0 * t / RATE + bend)), atol=1e-9)
    wobble = 700.0 + 300.0 * np.sin(t / 90.0)
    phase = np.concatenate([[0.0], np.cumsum(wobble / RATE)[:-1]])
    got = played(nodes.Sine(), 3000, frequency=wobble)
    np.testing.assert_allclose(got, np.sin(2 * np.pi * phase), atol=1e-9)


def test_oscillators_hold_their_level_at_any_frequency() -> None:
    wild = np.random.default_rng(5).uniform(-90_000.0, 90_000.0, 4000)
    for node in (nodes.Saw(), nodes.Square(), nodes.Triangle(), nodes.Saw(4), nodes.Sine()):
        assert np.abs(played(node, 4000, frequency=wild)).max() <= 1.7, node


# ---- noise


def test_uniform_noise_is_uniform_and_white() -> None:
    x = played(nodes.Noise(11), 1 << 17)
    assert stats.kstest(x, stats.uniform(-1, 2).cdf).pvalue > 1e-3
    _check_white(x / np.sqrt(1 / 3))


def test_normal_noise_is_normal_and_white() -> None:
    x = played(nodes.Noise(11, "normal"), 1 << 17)
    assert stats.kstest(x, stats.norm.cdf).pvalue > 1e-3
    assert abs(stats.kurtosis(x)) < 0.05
    assert np.abs(x).max() <= 8.5
    _check_white(x)


def _check_white(x: Array) -> None:
    """Mean 0, variance 1, no correlation up to 100 frames: all within five standard errors."""
    error = 5 / np.sqrt(len(x))
    assert abs(x.mean()) < error
    assert abs(x.var() - 1) < error * np.sqrt(2)
    power = np.abs(np.fft.rfft(x, 2 * len(x))) ** 2
    correlation = np.fft.irfft(power)[1:100] / len(x)
    assert np.abs(correlation).max() < error


def test_noises_of_other_lanes_and_seeds_are_strangers() -> None:
    g = amp.Graph(batch=2)
    for seed in (0, 1, 2):
        g.output(str(seed), g.add(nodes.Noise(seed, "uniform", 2)))
    result = amp.compile(g).run(frames=20_000)
    rows = np.concatenate([result[name].reshape(4, -1) for name in result])
    correlation = np.corrcoef(rows) - np.eye(12)
    assert np.abs(correlation).max() < 5 / np.sqrt(20_000)


# ---- envelopes

GATE = np.concatenate([np.ones(300), -np.ones(700)])


def test_linear_envelope() -> None:
    got = played(nodes.Envelope(attack=100 / RATE, release=250 / RATE), 1000, gate=GATE)
    t = np.arange(1.0, 1001.0)
    want = np.where(t <= 300, np.minimum(1, t / 100), np.maximum(0, 1 - (t - 300) / 250))
    np.testing.assert_allclose(got, want, atol=1e-12)


def test_exponential_envelope() -> None:
    """``target + (start - target) (r / (1 + r)) ^ (n / frames)``, stopped at its end."""
    node = nodes.Envelope("exponential", attack=100 / RATE, release=250 / RATE)
    got = played(node, 1000, gate=GATE)
    t = np.arange(1.0, 1001.0)
    rise = 1.3 * (1 - (0.3 / 1.3) ** (t / 100))
    fall = -1e-4 + (1 + 1e-4) * (1e-4 / (1 + 1e-4)) ** ((t - 300) / 250)
    want = np.where(t <= 300, np.minimum(1, rise), np.maximum(0, fall))
    np.testing.assert_allclose(got, want, atol=1e-9)


def test_attack_hold_decay_sustain_release() -> None:
    node = nodes.Envelope(
        attack=50 / RATE, hold=20 / RATE, decay=100 / RATE, sustain=0.4, release=200 / RATE
    )
    got = played(node, 1000, gate=GATE)
    corners = [0, 50, 70, 130, 300, 380, 1000]
    levels = [0.0, 1.0, 1.0, 0.4, 0.4, 0.0, 0.0]
    want = np.interp(np.arange(1, 1001), corners, levels)
    np.testing.assert_allclose(got, want, atol=1e-9)


# ---- panning


def test_panning_keeps_the_power() -> None:
    g = amp.Graph()
    g.output("out", g.add(nodes.Pan(), 1.0, position=g.input("position")))
    positions = np.linspace(-1.0, 1.0, 201).reshape(1, 1, -1)
    left, right = amp.compile(g).run({"position": positions})["out"][0]
    np.testing.assert_allclose(left**2 + right**2, 1.0, atol=1e-14)
    assert (left[0], right[-1]) == (1.0, 1.0)
    assert max(abs(right[0]), abs(left[-1])) < 1e-15
    assert left[100] == pytest.approx(right[100])
