"""Resampling: what each quality promises, against SciPy and closed forms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scipy import signal

import amp
from amp import nodes
from amp.errors import BadGraph, BadNode, Deadlock, PortMismatch
from amp.testing import check_grads

if TYPE_CHECKING:
    from bits import Array

TIERS = {"draft": (60.0, 0.8, 20), "good": (96.0, 0.85, 44), "best": (124.0, 0.9, 84)}
"""Stop-band [dB], end of the pass-band, latency: as the docstring has them."""
RATIOS = [(2, 1), (1, 3), (3, 2), (4, 5)]


def ran(graph: amp.Graph, x: Array, block: int = 0) -> amp.program.Result:
    program = amp.compile(graph, amp.plan(graph, block) if block else None)
    return program.run({"x": x.reshape(1, 1, -1)})


def resampled(node: Any, x: Array) -> Array:
    """Every token that a resampler makes of ``x``."""
    up, down = node.ratio
    g = amp.Graph()
    y = g.add(node, g.input("x"))
    tokens = g.add(nodes.Window(up, up), y)
    g.output("out", g.add(nodes.Hold(down), tokens) if down > 1 else tokens)
    program = amp.compile(g)
    made = program.render({"x": x.reshape(1, 1, -1)})["out"]
    return made[0, :, ::down].T.ravel()


def response(quality: str, up: int, down: int) -> Array:
    """The filter, at ``up`` times the rate of the input, from impulses at every phase."""
    node: Any = nodes.Resample(up, down, quality)
    half = node.latency * down
    h = np.zeros(2 * half + up * down)
    for i in range(down):
        x = np.zeros((2 * half // (up * down) + 3) * down)
        x[i] = 1.0
        y = resampled(node, x)
        at = np.arange(len(y)) * down - i * up
        inside = (at >= 0) & (at < len(h))
        h[at[inside]] = y[inside]
    return h


@pytest.mark.parametrize("up, down", RATIOS)
@pytest.mark.parametrize("quality", TIERS)
def test_a_quality_keeps_its_promises(quality: str, up: int, down: int) -> None:
    stop, passes, latency = TIERS[quality]
    h = response(quality, up, down)
    spectrum = np.abs(np.fft.rfft(h, 1 << 17)) / up
    frequency = np.linspace(0, 0.5, len(spectrum))
    half_of_lower = 0.5 / max(up, down)
    assert spectrum[frequency >= half_of_lower].max() <= 10 ** (-stop / 20)
    passed = spectrum[frequency <= passes * half_of_lower]
    assert abs(passed - 1).max() <= 10 ** (-stop / 20)
    node: Any = nodes.Resample(up, down, quality)
    assert node.latency == -(-latency * max(up, down) // down)
    middle = node.latency * down
    np.testing.assert_allclose(h[: 2 * middle + 1], h[: 2 * middle + 1][::-1], atol=1e-15)
    assert h.argmax() == middle


@pytest.mark.parametrize("up, down", RATIOS)
def test_it_is_what_scipy_makes_of_the_same_filter(up: int, down: int) -> None:
    """Designed and applied by SciPy."""
    stop, passes, _ = TIERS["good"]
    node: Any = nodes.Resample(up, down, "good")
    taps = 2 * node.latency * down + 1
    beta = signal.kaiser_beta(stop + 3)
    # the end of the window lies at whole tokens of the lower rate, and firwin's at its last tap
    assert taps // 2 == 44 * max(up, down) or up == 4
    h = signal.firwin(taps, (1 + passes) / 2 / max(up, down), window=("kaiser", beta), scale=False)
    x = np.random.default_rng(1).normal(size=60 * down)
    want = signal.upfirdn(h * up, x, up, down)
    got = resampled(node, x)
    tolerance = 1e-8 if up != 4 else 1e-4  # coefficients lie on a grid of 2^-32
    np.testing.assert_allclose(got, want[: len(got)], atol=tolerance)


@pytest.mark.parametrize("block", [0, 64])
@pytest.mark.parametrize("quality", TIERS)
def test_oversampling_is_aligned_with_what_it_is_joined_with(quality: str, block: int) -> None:
    stop, _, latency = TIERS[quality]
    g = amp.Graph()
    x = g.input("x")
    g.output("out", amp.oversample(lambda y: y, 4, quality=quality)(x) - x)
    g.output("same", x)
    t = np.arange(4096)
    tone = np.sin(2 * np.pi * 0.3 * t) * np.hanning(len(t))
    result = ran(g, tone, block)
    assert result.latency == {"out": 2 * latency, "same": 0}
    assert abs(result["out"]).max() <= 4 * 10 ** (-stop / 20)
    assert abs(result["out"]).max() > 0


def test_an_impulse_comes_out_at_the_latency() -> None:
    g = amp.Graph()
    g.output("out", amp.oversample(lambda y: y, 3, quality="draft")(g.input("x")))
    impulse = np.zeros(200)
    impulse[60] = 1.0
    out = ran(g, impulse)["out"][0, 0]
    assert out.argmax() == 60 + 40
    np.testing.assert_allclose(out[100:160], out[100:40:-1], atol=1e-15)


def test_what_a_nonlinear_part_makes_above_half_the_rate_is_gone() -> None:
    """The cube of a sine at 0.2 of the rate has its third harmonic at 0.6, which folds back to 0.4."""
    t = np.arange(4800)
    x = np.sin(2 * np.pi * 0.2 * t)

    def harmonic(y: Array) -> float:
        middle = y[1000:4000] * np.blackman(3000)
        return float(
            abs(middle @ np.exp(-2j * np.pi * 0.4 * np.arange(3000))) / np.blackman(3000).sum()
        )

    def cubed(*, oversampled: bool) -> Array:
        def cube(y: Any) -> Any:
            return y * y * y

        g = amp.Graph()
        part = amp.oversample(cube, 2, quality="best") if oversampled else cube
        g.output("out", part(g.input("x")))
        out: Array = amp.compile(g).render({"x": x.reshape(1, 1, -1)})["out"][0, 0]
        return out

    assert harmonic(cubed(oversampled=False)) == pytest.approx(0.125, rel=1e-3)
    assert harmonic(cubed(oversampled=True)) < 1e-6
    # of sin^3 = (3 sin - sin 3) / 4 the first term is left, in phase
    np.testing.assert_allclose(cubed(oversampled=True)[500:4000], 0.75 * x[500:4000], atol=2e-6)


def test_nodes_of_an_oversampled_part_see_its_rate() -> None:
    """A one-pole's time constant is in seconds, whatever the rate."""
    g = amp.Graph(sample_rate=1000)
    x = g.input("x")
    low = amp.oversample(lambda y: g.add(nodes.OnePole(), y, cutoff=5.0), 8)(x)
    g.output("out", low)
    step = np.ones(1200)
    step[:200] = 0.0
    out = amp.compile(g).render({"x": step.reshape(1, 1, -1)})["out"][0, 0]
    t = (np.arange(60) + 40.5) / 1000  # the step lies between two frames
    np.testing.assert_allclose(out[240:300], 1 - np.exp(-2 * np.pi * 5 * t), atol=1e-3)


def test_gradients_go_through_an_oversampled_part() -> None:
    g = amp.Graph()
    drive = amp.Param(2.0, name="drive")
    g.output(
        "out",
        amp.oversample(np.tanh, 2, quality="draft")(g.input("x") * g.add(nodes.Constant(drive))),
    )
    x = np.random.default_rng(2).normal(size=(1, 1, 120))
    check_grads(amp.compile(g), {"x": x})


def test_a_loop_through_an_oversampled_part_needs_its_latency_in_tokens() -> None:
    def graph(initial: int) -> amp.Graph:
        g = amp.Graph()
        loop = g.feedback()
        y = amp.oversample(np.tanh, 2, quality="draft")(
            g.input("x") + 0.5 * amp.edge(loop, initial=initial)
        )
        loop.connect(y)
        g.output("out", y)
        return g

    with pytest.raises(Deadlock, match="more than 40 initial tokens, which are skipped"):
        amp.compile(graph(40))
    x = np.random.default_rng(3).normal(size=300)
    want = ran(graph(43), x)["out"]
    np.testing.assert_array_equal(ran(graph(43), x, 16)["out"], want)


def test_advance_drops_initial_tokens_first() -> None:
    g = amp.Graph()
    x = g.input("x")
    g.output("some", g.add(nodes.Advance(2), amp.edge(x, initial=(9.0, 3))))
    g.output("all", g.add(nodes.Advance(5), amp.edge(x, initial=(9.0, 3))))
    result = ran(g, np.arange(1.0, 9.0))
    np.testing.assert_array_equal(result["some"][0, 0], [9, 1, 2, 3, 4, 5, 6, 7])
    np.testing.assert_array_equal(result["all"][0, 0], [0, 0, 3, 4, 5, 6, 7, 8])
    with pytest.raises(PortMismatch, match="tokens are skipped on an edge that is read in order"):
        g.add(nodes.Advance(2), amp.edge(x, default=0.0))


@pytest.mark.parametrize("initial", [0, 4, 5])
def test_a_loop_that_skips_all_of_its_tokens_is_refused(initial: int) -> None:
    g = amp.Graph()
    loop = g.feedback()
    y = g.add(nodes.Advance(5), g.input("x") + 0.5 * amp.edge(loop, initial=initial))
    loop.connect(y)
    g.output("out", y)
    with pytest.raises(Deadlock, match="more than 5 initial tokens, which are skipped"):
        amp.compile(g)


def test_a_loop_that_skips_all_but_one_runs() -> None:
    g = amp.Graph()
    loop = g.feedback()
    y = g.add(nodes.Advance(5), g.input("x") + 0.5 * amp.edge(loop, initial=6))
    loop.connect(y)
    g.output("out", y)
    for block in (0, 1, 4):
        out = ran(g, np.ones(12), block)["out"][0, 0]
        np.testing.assert_array_equal(out, [*[0.0] * 5, *(2.0 - 0.5 ** np.arange(7))])


def test_varispeed_reads_between_tokens() -> None:
    """At a constant ratio it is the sine at its times, for all qualities to their promises."""
    t = np.arange(3000)
    for quality, (stop, _, latency) in TIERS.items():
        g = amp.Graph()
        y, lag = g.add(nodes.Varispeed(2000, quality, lag=100.3), g.input("x"), ratio=0.98)
        g.output("out", y)
        g.output("lag", lag)
        x = np.sin(2 * np.pi * 0.37 * t)
        result = ran(g, x)
        np.testing.assert_allclose(result["lag"][0, 0], 100.3 + 0.02 * t, rtol=1e-12)
        want = np.sin(2 * np.pi * 0.37 * (t - 100.3 - 0.02 * t))
        late = t > 100.3 + 0.02 * t + latency
        assert abs(result["out"][0, 0] - want)[late].max() <= 3 * 10 ** (-stop / 20)


def test_varispeed_at_an_end_goes_on_at_the_speed_of_the_stream() -> None:
    g = amp.Graph()
    y, lag = g.add(nodes.Varispeed(100, "draft", lag=21.0), g.input("x"), ratio=1.5)
    g.output("out", y)
    g.output("lag", lag)
    x = np.random.default_rng(4).normal(size=200)
    result = ran(g, x)
    np.testing.assert_array_equal(result["lag"][0, 0][:4], [21, 20.5, 20, 20])
    # at a whole lag it is the filter's own phase 0, read 20 tokens ago
    node: Any = nodes.Resample(1, 1, "draft")
    h = node.coefficients
    np.testing.assert_allclose(result["out"][0, 0][2:], signal.lfilter(h, 1.0, x)[2:], atol=1e-3)


@pytest.mark.parametrize(
    "arguments, error, words",
    [
        ({"factor": 0}, BadNode, "Resample.up is a whole number from 1"),
        ({"factor": 33}, BadNode, "a ratio of numbers to 32"),
        ({"factor": 2, "quality": "high"}, BadNode, "Resample.quality is one of"),
    ],
)
def test_oversample_refuses(arguments: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        amp.oversample(np.tanh, **arguments)


def test_oversample_is_called_with_streams_and_gives_streams() -> None:
    g = amp.Graph()
    with pytest.raises(BadGraph, match="is given a stream"):
        amp.oversample(np.tanh, 2)(1.0)
    with pytest.raises(BadGraph, match="gives streams"):
        amp.oversample(lambda y: None, 2)(g.input("x"))
    x = g.input("y")
    first, second = amp.oversample(lambda a, n: (a, n * a), 2, quality="draft")(x, 3.0)
    g.output("out", first + second)
    assert amp.compile(g).latency == {"out": 40}
