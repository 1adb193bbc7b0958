"""What `Oscillator`, `Harmonics` and `Unison` make, against closed forms and SciPy."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from bits import assert_same_bits
from scipy import signal

import amp
from amp import nodes
from amp.errors import BadNode
from amp.nodes._edges import CHEBYSHEV, POLES, RESIDUES

if TYPE_CHECKING:
    from bits import Array

RATE, SETTLED = 48_000, 4_800
WAVEFORMS, SYNCS = ("saw", "triangle", "pulse"), ("hard", "soft")


def render(node: Any, frames: int = SETTLED + RATE, **inlets: Any) -> Array:
    """One lane."""
    g = amp.Graph(sample_rate=RATE)
    g.output("out", g.add(node, **inlets))
    made: Array = amp.compile(g).run(frames=frames)["out"][0, 0]
    return made


def cauer() -> tuple[Array, Array, float]:
    """Zeros, poles and gain of the filter that is claimed, per frame, by SciPy."""
    zeros, poles, gain = signal.ellipap(11, 0.05, 93.0)
    edge = 2 * np.pi * 5 / 12
    return zeros * edge, poles * edge, gain * edge ** (len(poles) - len(zeros))


def test_the_filter_is_cauers() -> None:
    zeros, poles, gain = cauer()
    upper = poles[poles.imag > -1e-9]
    np.testing.assert_allclose(np.array(POLES), upper[np.argsort(upper.imag)], rtol=1e-12)
    hertz = np.linspace(0, 3, 301)
    _, want = signal.freqs_zpk(zeros, poles, gain, 2 * np.pi * hertz)
    assert np.abs(want[hertz <= 5 / 12]).min() > 10 ** (-0.0501 / 20)
    assert np.abs(want[hertz >= 0.5]).max() < 10 ** (-93 / 20)
    # a pair's residue is doubled, and only the real part of its mode is heard
    s = 2j * np.pi * hertz[:, None]
    both = [np.array(RESIDUES) / 2 / (s - np.array(POLES))]
    both.append(np.conj(RESIDUES) / 2 / (s - np.conj(POLES)))
    np.testing.assert_allclose(sum(both).sum(axis=1), want, atol=1e-12)


def test_the_polynomials_are_exponentials() -> None:
    f = np.linspace(0, 1, 101)
    for pole, series in zip(POLES, CHEBYSHEV, strict=True):
        got = np.polynomial.chebyshev.chebval(2 * f - 1, series)
        np.testing.assert_allclose(got, np.exp(pole * f), rtol=0, atol=1.3e-7)


@pytest.mark.parametrize("pitch", [441, 5010, -1310])
@pytest.mark.parametrize("waveform", WAVEFORMS)
def test_harmonics_are_those_of_the_waveform_through_the_filter(waveform: str, pitch: int) -> None:
    """Fourier's series, times the response at each harmonic, in magnitude and phase."""
    width, phase = 0.3, 0.25
    more: dict[str, Any] = {"width": width} if waveform == "pulse" else {}
    node = nodes.Oscillator(waveform, phase=phase)
    line = np.fft.rfft(render(node, frequency=float(pitch), **more)[SETTLED:]) / RATE
    k = np.arange(1, int(0.5 * RATE / abs(pitch)) + 1)
    series = {
        "saw": 1j / (np.pi * k),
        "triangle": np.where(k % 2, -4 / (np.pi * k) ** 2, 0),
        "pulse": (1 - np.exp(-2j * np.pi * k * width)) / (1j * np.pi * k),
    }[waveform]
    begin = phase + pitch * SETTLED / RATE
    want = series * np.exp(2j * np.pi * k * begin)
    _, response = signal.freqs_zpk(*cauer(), 2 * np.pi * k * pitch / RATE)
    want = want * response
    if pitch < 0:
        want = np.conj(want)
    np.testing.assert_allclose(line[k * abs(pitch)], want, atol=2e-6)
    mean = 2 * width - 1 if waveform == "pulse" else 0.0
    assert abs(line[0] - mean) < 1e-6


@pytest.mark.parametrize("waveform, sync", list(product(WAVEFORMS, SYNCS)))
@pytest.mark.parametrize("frequency", [3487.3, -9001.7])
def test_sync_equals_the_reference(waveform: str, sync: str, frequency: float) -> None:
    """Those that the laws do not ask."""
    rng = np.random.default_rng(3)
    arrays = {
        "frequency": frequency + 500 * rng.normal(size=(2, 1, 300)),
        "sync_frequency": 2310.0 + 500 * rng.normal(size=(2, 1, 300)),
    }
    if waveform == "pulse":
        arrays["width"] = 0.5 + 0.1 * rng.normal(size=(2, 1, 300))
    node = nodes.Oscillator(waveform, sync, phase=0.2)
    g = amp.Graph(sample_rate=RATE, batch=2)
    streams: dict[str, Any] = {name: g.input(name) for name in arrays}
    g.output("out", g.add(node, **streams))
    want = node.reference(RATE, 300, **arrays)
    np.testing.assert_allclose(amp.compile(g).run(arrays)["out"], want, atol=1e-9)


@pytest.mark.parametrize("waveform", WAVEFORMS)
def test_hard_sync_at_its_own_frequency_changes_nothing(waveform: str) -> None:
    node = nodes.Oscillator(waveform)
    free = render(node, 5000, frequency=1234.5)
    np.testing.assert_allclose(
        render(node, 5000, frequency=1234.5, sync_frequency=1234.5), free, atol=1e-6
    )


@pytest.mark.parametrize("frequency", [0.0, 1e-30, 24_000.0, -24_000.0, np.inf, np.nan])
@pytest.mark.parametrize("waveform, sync", list(product(WAVEFORMS, SYNCS)))
def test_no_frequency_makes_it_loud(waveform: str, sync: str, frequency: float) -> None:
    """What is held is finite, and edges at the ends of frames are counted once."""
    g = amp.Graph(sample_rate=RATE)
    hz = g.input("hz")
    g.output("free", g.add(nodes.Oscillator(waveform), hz))
    g.output("synced", g.add(nodes.Oscillator(waveform, sync), hz, sync_frequency=abs(hz)))
    made = amp.compile(g).run({"hz": np.full((1, 1, 2000), frequency)})
    for array in made.values():
        assert np.abs(array).max() < 3.0


@pytest.mark.parametrize("divisor", [3, 4, 5, 10, 16])
@pytest.mark.parametrize("waveform", WAVEFORMS)
def test_edges_on_frames_are_counted_once(waveform: str, divisor: int) -> None:
    """A pitch with a whole number of frames has edges at their ends, where a rounding decides."""
    pitch = RATE / divisor
    made = render(nodes.Oscillator(waveform), 3000, frequency=pitch)[1000:]
    near = render(nodes.Oscillator(waveform), 3000, frequency=pitch * (1 + 1e-9))[1000:]
    np.testing.assert_allclose(made, near, atol=1e-4)


def test_a_width_is_a_pulses() -> None:
    g = amp.Graph()
    g.output("out", g.add(nodes.Oscillator("saw"), 440.0, width=0.3))
    with pytest.raises(BadNode, match="only a pulse has a width"):
        amp.compile(g)


def test_unison_is_its_voices() -> None:
    """To the bit, for an oscillator on each frequency."""
    g = amp.Graph(sample_rate=RATE)
    pitch = g.input("pitch")
    voices = g.add(nodes.Unison(3), pitch, detune=20.0)
    g.output("stack", g.add(nodes.Saw(), voices))
    g.output("frequencies", voices)
    made = amp.compile(g).run({"pitch": np.full((1, 1, 500), 440.0)})
    cents = 1200 * np.log2(made["frequencies"][0, :, 0] / 440.0)
    np.testing.assert_allclose(cents, [-20.0, 0.0, 20.0], atol=1e-9)
    for voice in range(3):
        alone = amp.Graph(sample_rate=RATE)
        alone.output("out", alone.add(nodes.Saw(), alone.input("hz")))
        hz = made["frequencies"][:, voice : voice + 1]
        want = amp.compile(alone).run({"hz": hz})["out"]
        assert_same_bits(made["stack"][:, voice : voice + 1], want, f"voice {voice}")


def test_many_harmonics_are_as_exact_as_one() -> None:
    """The 1000th of 20 Hz, by rotation."""
    amplitudes = np.zeros(1000)
    amplitudes[-1] = 1.0
    made = render(nodes.Harmonics(amplitudes), RATE, frequency=20.0)
    t = np.arange(RATE) % 12  # 20 kHz at 48 kHz comes back after 12 frames
    np.testing.assert_allclose(made, np.sin(2 * np.pi * 5 * t / 12), atol=1e-11)


@pytest.mark.parametrize("pitch, whole", [(30, 400), (441, 13), (5010, 1)])
def test_wavetable_has_the_harmonics_of_its_table(pitch: int, whole: int) -> None:
    """As the discrete Fourier transform has them, up to an eighth of the sample rate, or all it has."""
    table = np.random.default_rng(8).normal(size=801)
    line = np.fft.rfft(render(nodes.Wavetable(table), RATE, frequency=float(pitch))) / RATE
    want = np.fft.rfft(table) / len(table)
    k = np.arange(whole + 1)
    k = k[(k * pitch <= RATE / 8) & (k <= 256)]
    np.testing.assert_allclose(line[k * pitch], want[k], atol=2e-5 * np.abs(want).max())
    above = line[np.arange(len(line)) % pitch != 0]
    assert np.abs(above).max() < 2e-5 * np.abs(want).max()


def test_wavetable_of_a_slow_wave_has_all_harmonics() -> None:
    table = np.cos(2 * np.pi * 64 * np.arange(200) / 200)  # the 64th alone, which is the last
    made = render(nodes.Wavetable(table), RATE, frequency=10.0)
    t = np.arange(RATE)
    np.testing.assert_allclose(made, np.cos(2 * np.pi * 640 * t / RATE), atol=3e-5)


def test_node_types_with_lists_go_through_files() -> None:
    g = amp.Graph(sample_rate=RATE)
    both = g.add(nodes.Wavetable([0.0, 1.0, 0.0, -1.0]), 440.0)
    g.output("out", both + g.add(nodes.Harmonics([1.0, 0.5], angles=[0.0, 0.25]), 440.0))
    again = amp.graph_from_json(amp.graph_to_json(g))
    assert again.fingerprint() == g.fingerprint()
    runs = [amp.compile(graph).run(frames=100)["out"] for graph in (g, again)]
    assert_same_bits(runs[0], runs[1])
