"""Spectra: reconstruction, numbers from NumPy and SciPy, any number of bands, refusals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from bits import assert_same_bits

import amp
from amp import nodes
from amp.errors import BadNode, PortMismatch
from amp.nodes._spectra import WINDOWS, named_window

if TYPE_CHECKING:
    from bits import Array

eigen = pytest.mark.eigen
FORMS: list[tuple[int, int, Any]] = [
    (2048, 512, "hann"),
    (1024, 256, "blackman"),
    (600, 250, "hamming"),
    (441, 100, "sine"),
    (64, 64, "rectangular"),
    (33, 5, "hann"),
    (256, 64, np.random.default_rng(1).uniform(0.1, 1.0, 129)),
    (1, 1, "rectangular"),
]


def noise(*shape: int) -> Array:
    return np.random.default_rng(shape).uniform(-1, 1, shape)


def through(size: int, hop: int, window: Any, channels: int = 1, batch: int = 1) -> amp.Graph:
    g = amp.Graph(batch=batch)
    spectrum = g.add(nodes.STFT(size, hop, window), g.input("x", channels))
    g.output("out", g.add(nodes.ISTFT(size, hop, window), spectrum))
    return g


@eigen
@pytest.mark.parametrize("size, hop, window", FORMS, ids=[f"{s}-{h}" for s, h, _ in FORMS])
def test_what_goes_through_comes_out_the_same_when_it_is_said(
    size: int, hop: int, window: Any
) -> None:
    x = noise(2, 2, 5000)
    program = amp.compile(through(size, hop, window, 2, 2))
    result = program.run({"x": x})
    inverse: Any = nodes.ISTFT(size, hop, window)
    late = result.latency["out"] + inverse.late
    assert late == np.size(inverse.window) - 1
    assert np.abs(result["out"][..., late:] - x[..., : 5000 - late]).max() < 1e-12
    assert not np.abs(result["out"][..., :late]).max(initial=0.0) > 1e-12


@eigen
def test_every_schedule_gives_the_same_bits() -> None:
    x, graph = noise(3, 1, 3000), through(60, 16, "hann", 1, 3)
    want = amp.compile(graph).run({"x": x})["out"]
    for block in (16, 100, 512):
        program = amp.compile(graph, amp.plan(graph, block))
        parts = [program.run({"x": x[..., :1111]})["out"], program.run({"x": x[..., 1111:]})["out"]]
        assert_same_bits(np.concatenate(parts, axis=2), want, f"block {block}")


@eigen
@pytest.mark.parametrize("size, channels", [(32, 1), (32, 64), (32_768, 2)])
def test_any_number_of_bands(size: int, channels: int) -> None:
    x, gain = noise(1, channels, 2 * size), noise(size // 2 + 1)
    g = amp.Graph()
    spectrum = g.add(nodes.STFT(size, size // 2), g.input("x", channels))
    g.output("out", g.add(nodes.ISTFT(size, size // 2), g.add(nodes.SpectralGain(gain), spectrum)))
    result = amp.compile(g, amp.plan(g, size)).run({"x": x})
    window = named_window(nodes.STFT, "hann", size)
    padded = np.pad(x, ((0, 0), (0, 0), (size // 2, 0)))
    want = np.zeros(padded.shape)
    for at in range(0, padded.shape[2] - size + 1, size // 2):
        piece = np.fft.rfft(padded[..., at : at + size] * window) * gain
        want[..., at : at + size] += np.fft.irfft(piece, size) * window
    sums = window[: size // 2] ** 2 + window[size // 2 :] ** 2
    late = result.latency["out"]
    want = want[..., : 2 * size] / np.tile(sums, 4)
    np.testing.assert_allclose(result["out"][..., late:], want[..., :-late], atol=1e-12)


def halved(b: Any, re: Any, im: Any, frequency: Any) -> tuple[Any, Any]:
    return 0.5 * re, 0.5 * im


@eigen
def test_code_does_not_grow_with_bands() -> None:
    def lines(size: int) -> int:
        g = amp.Graph()
        spectrum = g.add(nodes.STFT(size, size // 2), g.input("x"))
        re, im = g.add(nodes.SpectralMap(size, halved), *amp.parts(spectrum))
        gained = g.add(nodes.SpectralGain(np.ones(size // 2 + 1)), amp.pairs(re, im))
        g.output("out", g.add(nodes.ISTFT(size, size // 2), gained))
        program = amp.compile(g, amp.plan(g, size))
        return len(program.ir.splitlines()) + len(program.asm.splitlines())

    small, large = lines(16), lines(4096)
    assert large < 1.2 * small


@pytest.mark.parametrize("name", WINDOWS)
def test_windows_are_scipys(name: str) -> None:
    from scipy import signal

    known = {"rectangular": "boxcar", "sine": "cosine"}.get(name, name)
    got = named_window(nodes.STFT, name, 24)
    want = signal.get_window(
        known, 24, fftbins=name != "sine"
    )  # that is symmetric: half a sample on
    np.testing.assert_allclose(np.broadcast_to(got, 24), want, atol=1e-15)


def spectra(count: int, bands: int, tokens: int, seed: int = 1) -> tuple[Array, Any]:
    """Random spectra: channels of a stream, and complex ones (channel, band, token)."""
    pairs = np.random.default_rng(seed).normal(size=(1, count, bands, 2, tokens))
    return pairs.reshape(1, -1, tokens), pairs[0, :, :, 0] + 1j * pairs[0, :, :, 1]


def to_complex(planes: Array, bands: int) -> Any:
    pairs = planes.reshape(-1, bands, 2, planes.shape[-1])
    return pairs[:, :, 0] + 1j * pairs[:, :, 1]


@eigen
@pytest.mark.parametrize("response", [(5,), (5, 2), (3, 5, 2)])
@pytest.mark.parametrize("width", [0, 5, 10, 15, 30])
def test_gains(response: tuple[int, ...], width: int) -> None:
    """Every form of a response, and of a stream of gains: none, real or complex, of one channel or of
    each."""
    x, z = spectra(3, 5, 7)
    h = noise(*response)
    g = amp.Graph()
    inputs = {"x": x}
    streams: dict[str, Any] = {}
    factor = h[..., 0] + 1j * h[..., 1] if len(response) > 1 else h
    want = z * factor[..., None]
    if width:
        inputs["gain"] = noise(1, width, 7)
        streams["gain"] = g.input("gain", width)
        gain = inputs["gain"][0]
        want = want * gain.reshape(-1, 5, 7) if width % 10 else want * to_complex(gain, 5)
    g.output("out", g.add(nodes.SpectralGain(h), g.input("x", 30), **streams))
    got = amp.compile(g).run(inputs)["out"]
    np.testing.assert_allclose(to_complex(got, 5), want, atol=1e-14)


@eigen
def test_a_recording_is_divided_by_what_went_in() -> None:
    """The division finds the filter that one spectrum went through, in its bands alone."""
    x, z = spectra(2, 9, 4)
    h = np.exp(2j * np.pi * noise(9)) * (1.5 + noise(9))
    given = z * h[:, None]
    planes = np.stack([given.real, given.imag], axis=2).reshape(1, -1, 4)
    g = amp.Graph()
    node = nodes.FFTDivision(16, 1, 7, regularisation=1e-14, phase=0.25)
    g.output("out", g.add(node, g.input("y", 36), divisor=g.input("x", 36)))
    got = to_complex(amp.compile(g).run({"y": planes, "x": x})["out"], 9)
    np.testing.assert_allclose(
        got[:, 1:7], np.broadcast_to(1j * h[1:7, None], (2, 6, 4)), rtol=1e-9
    )
    assert not got[:, [0, 7, 8]].any()


def test_parts_and_pairs_are_opposites() -> None:
    x, _ = spectra(2, 3, 4)
    g = amp.Graph()
    re, im = amp.parts(g.input("x", 12))
    g.output("out", amp.pairs(re, im))
    g.output("re", re)
    result = amp.compile(g).run({"x": x})
    assert_same_bits(result["out"], x)
    assert_same_bits(result["re"], x[:, ::2])
    with pytest.raises(PortMismatch, match="two channels a band"):
        amp.parts(g.input("odd", 3))


@pytest.mark.parametrize("slope", [4, 8])
@pytest.mark.parametrize("points", [(1000.0,), (300.0, 1200.0, 5000.0, 12_000.0)])
def test_crossovers_add_up_flat(slope: int, points: tuple[float, ...]) -> None:
    """An allpass within 1e-6 dB; and each band is one."""
    g = amp.Graph()
    bank = nodes.FilterBank("crossover", points, slope)
    g.output("out", g.add(bank, g.input("x")))
    x = np.zeros((1, 1, 1 << 15))
    x[..., 0] = 1.0
    bands = amp.compile(g, amp.plan(g, 1024)).run({"x": x})["out"][0]
    whole = np.abs(np.fft.rfft(bands.sum(axis=0)))
    assert np.abs(20 * np.log10(whole)).max() < 1e-6
    edges = np.array([0.0, *points, 24_000.0])
    middle = np.sqrt(edges[1:-2] * edges[2:-1]) if len(points) > 1 else []
    places = np.rint(np.array([10.0, *middle, 23_000.0]) / 48_000 * x.shape[2]).astype(int)
    gains = np.abs(np.fft.rfft(bands))[:, places]
    assert (gains.argmax(axis=0) == np.arange(len(bands))).all()
    meet = np.rint(np.array(points) / 48_000 * x.shape[2]).astype(int)
    heard = np.abs(np.fft.rfft(bands))[np.arange(len(points)), meet]
    if len(points) == 1:  # 6 dB down where they meet
        np.testing.assert_allclose(heard, 0.5, rtol=1e-2)


def gammatone(centre: float) -> Any:
    """Its frequency response, at the bands of a transform of 2^14 points."""
    g = amp.Graph()
    g.output("out", g.add(nodes.FilterBank("gammatone", [centre]), g.input("x")))
    x = np.zeros((1, 1, 1 << 14))
    x[..., 0] = 1.0
    return np.fft.rfft(amp.compile(g).run({"x": x})["out"][0, 0])


def test_gammatones_are_scipys() -> None:
    """Where SciPy's one polynomial of eight close poles has digits to lose."""
    from scipy import signal

    got = gammatone(8000.0)
    b, a = signal.gammatone(8000.0, "iir", fs=48_000)
    _, want = signal.freqz(b, a, np.linspace(0, np.pi, got.size))
    assert np.abs(got - want).max() < 1e-9


@pytest.mark.parametrize("centre", [100.0, 1000.0])
def test_gammatones_have_the_bandwidth_of_the_ear(centre: float) -> None:
    """Near its centre the magnitude is that of ``t^3 exp(-b t) cos(w t)``."""
    got = np.abs(gammatone(centre))
    f = np.arange(got.size) * 48_000 / (1 << 14)
    b = 1.019 * (24.7 + centre / 9.26449)
    near = np.abs(f - centre) < 2 * b
    want = (1 + ((f[near] - centre) / b) ** 2) ** -2
    # what is left is the resonance at the negative frequency
    np.testing.assert_allclose(got[near], want, atol=0.02)


def test_a_bank_splits_each_channel() -> None:
    x = noise(1, 2, 300)
    bank: Any = nodes.FilterBank("constant_q", [500.0, 2000.0, 7000.0])
    g = amp.Graph()
    given = g.input("x", 2)
    g.output("out", g.add(bank, amp.edge(given, channels=bank.order(2))))
    got = amp.compile(g).run({"x": x})["out"]
    for channel in (0, 1):
        alone = amp.Graph()
        alone.output("out", alone.add(bank, alone.input("x")))
        want = amp.compile(alone).run({"x": x[:, channel : channel + 1]})["out"]
        assert_same_bits(got[:, 3 * channel : 3 * channel + 3], want)
    with pytest.raises(PortMismatch, match=r"bank\.order\(2\)"):
        g.add(bank, given)


def test_what_does_not_fit_is_refused() -> None:
    g = amp.Graph()
    x = g.input("x", 12)
    for node, words in (
        (nodes.ISTFT(8, 4), "a multiple of 10 channels, 5 bands"),
        (nodes.SpectralGain(np.ones(5)), "a multiple of 10 channels"),
        (nodes.SpectralGain(np.ones((3, 3, 2))), "a row for each channel"),
    ):
        with pytest.raises(PortMismatch, match=words):
            g.add(node, x)
    with pytest.raises(PortMismatch, match="a channel or two for each band"):
        g.add(nodes.SpectralGain(np.ones(3)), x, gain=g.input("gain", 4))
    with pytest.raises(PortMismatch, match="a divisor for each channel"):
        g.add(nodes.FFTDivision(2), x, divisor=g.input("d", 8))
    with pytest.raises(PortMismatch, match="as many real as imaginary parts"):
        g.add(nodes.SpectralMap(4, halved), g.input("re", 3), g.input("im"))
    g.output("out", g.add(nodes.SpectralMap(4, lambda b, re, im, f: re), *amp.parts(x))[0])
    with pytest.raises(BadNode, match="gives a real and an imaginary part"):
        amp.compile(g)
