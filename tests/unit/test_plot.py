"""Pictures: they can be drawn of everything, and say what they should."""

from __future__ import annotations

import io
import itertools
from typing import Any

import numpy as np
import pytest

import amp
from amp import demo, nodes, plot
from amp.errors import BadInput, BadValue
from amp.plot import graphs

pytest.importorskip("matplotlib")
TIMES = "\N{MULTIPLICATION SIGN}"


def words(figure: Any) -> str:
    """Every text of a picture that can be written as PNG without a warning."""
    figure.savefig(io.BytesIO(), format="png", dpi=40)
    shown = [text.get_text() for axes in figure.axes for text in axes.texts]
    titles = [axes.get_title(loc=loc) for axes in figure.axes for loc in ("left", "right")]
    return "\n".join([*shown, *filter(None, titles)])


def small() -> amp.Graph:
    g = amp.Graph(batch=2)
    x = g.input("x $^", 2)
    loop = g.feedback(2)
    again = g.add(
        nodes.Gain(gain=0.5), amp.edge(loop, initial=7), name="a very long name of a node"
    )
    total = x + again
    loop.connect(total)
    g.output("out", amp.edge(total, delay=30))
    return g


def voices(count: int) -> amp.Graph:
    g = amp.Graph()
    saws = [g.add(nodes.Saw(frequency=50.0 + i)) for i in range(count)]
    g.output("out", g.add(nodes.Mix(), *saws))
    return g


def test_a_graph_shows_nodes_tokens_and_delays() -> None:
    shown = words(plot.graph(small()))
    for word in (r"x \$^", "a very long name o…", "$z^{-7}$", "30 frames", "4 nodes", "batch 2"):
        assert word in shown


def test_a_large_graph_shows_cohorts() -> None:
    shown = words(plot.graph(voices(100)))
    assert f"Saw\n{TIMES} 100" in shown
    assert shown.count("Saw") == 1


def test_a_graph_of_many_cohorts_shows_types() -> None:
    g = amp.Graph()
    x = g.input("x")
    for i in range(300):
        x = g.add(nodes.OnePole("lowpass" if i % 2 else "highpass", cutoff=100.0), x)
        x = g.add(nodes.Gain(), x)
    g.output("out", x)
    shown = words(plot.graph(g))
    assert f"OnePole\n{TIMES} 300" in shown
    assert f"Gain\n{TIMES} 300" in shown


def test_boxes_of_a_layer_do_not_overlap() -> None:
    g = demo.graph()
    frozen = g.freeze()
    boxes = list({id(b): b for b in graphs._boxes(frozen.nodes).values()}.values())
    graphs._place(boxes)
    for layer in {box.layer for box in boxes}:
        column = sorted((b for b in boxes if b.layer == layer), key=lambda b: b.y)
        for above, below in itertools.pairwise(column):
            assert below.y - above.y >= above.half + below.half - 1e-9


def test_one_node_and_a_graph_that_cannot_run() -> None:
    g = amp.Graph()
    x = g.input("x")
    assert "1 node, 0 edges" in words(plot.graph(g))
    loop = g.feedback()
    total = x + loop
    loop.connect(total)
    g.output("out", total)
    assert "add.0" in words(plot.graph(g))


@pytest.mark.parametrize("block", [0, 16])
def test_a_schedule_shows_kernels_and_times(block: int) -> None:
    g = voices(8)
    program = amp.compile(g, amp.plan(g, block=block) if block else None, timing=True)
    with pytest.raises(BadValue, match="run the program first"):
        plot.schedule(program)
    program.run(frames=480)
    figure = plot.schedule(program)
    shown = words(figure)
    if block:
        assert "Stages in order" in shown
        assert "mix.0 > out" in shown
        assert "8 lanes   width 8" in shown
        assert "IPLS: 16 frames in" in shown
    else:
        labels = [text.get_text() for text in figure.axes[0].get_yticklabels()]
        assert sorted(labels) == ["Mix", "Output", "Saw"]
        assert "8 processes   8 lanes" in shown
        assert "KPN: 64 frames in" in shown
    assert "times real time" in shown


def test_a_schedule_with_threads_and_loops() -> None:
    g = small()
    program = amp.compile(g, amp.plan(g), threads=2, timing=True)
    program.run({"x $^": np.zeros((2, 2, 512))})
    shown = words(plot.schedule(program))
    assert "IPLS: 256 frames" in shown
    assert "loop of block 7" in shown


def test_a_schedule_needs_timing() -> None:
    with pytest.raises(BadValue, match="timing=True"):
        plot.schedule(amp.compile(small()))


@pytest.mark.parametrize("frames", [1, 5, 100, 48_000])
def test_a_signal_shows_every_output_and_channel(frames: int) -> None:
    program = amp.compile(small())
    result = program.run({"x $^": np.random.default_rng(0).uniform(-1, 1, (2, 2, frames))})
    figure = plot.signal(result, batch=1)
    shown = words(figure)
    assert "out, channel 0" in shown
    assert "out, channel 1" in shown
    assert "peak " in shown
    assert len(figure.axes) == 5  # two of each channel, and the bar


def test_a_signal_may_be_silent_broken_or_plain_arrays() -> None:
    silent = np.zeros((1, 1, 1000))
    broken = np.full((1, 3, 1000), np.nan)
    shown = words(plot.signal({"a": silent, "b": broken}, sample_rate=8000))
    assert "peak silent, RMS silent" in shown
    assert "b, channel 2" in shown


@pytest.mark.parametrize("array", [np.zeros(10), np.zeros((1, 1, 0)), np.zeros((2, 0, 5))])
def test_what_is_not_a_signal_is_refused(array: np.ndarray) -> None:
    with pytest.raises(BadInput, match="a signal to draw"):
        plot.signal({"a": array})
    with pytest.raises(BadInput, match="at least one output"):
        plot.signal({})


def test_a_spectrogram_peaks_at_the_tone() -> None:
    x = np.sin(2 * np.pi * 1000 * np.arange(48_000) / 48_000)
    figure = plot.signal({"a": x[None, None]}, sample_rate=48_000)
    mesh = figure.axes[1].collections[0]
    heights = mesh.get_coordinates()[:, 0, 1]  # type: ignore[attr-defined]
    loudest = int(np.argmax(mesh.get_array().mean(axis=1)))  # type: ignore[union-attr]
    assert heights[loudest - 2] <= 1000 <= heights[loudest + 3]


def test_a_figure_shows_itself_in_a_notebook() -> None:
    figure = plot.graph(small())
    assert figure._repr_png_().startswith(b"\x89PNG")  # type: ignore[attr-defined]


def test_rings_are_drawn_over_time() -> None:
    g = amp.Graph()
    x, control = g.input("x"), g.input("control")
    chosen = g.add(nodes.Select(), x, g.add(nodes.Gain(gain=2.0), x), control)
    g.output("out", amp.edge(chosen, default=0.0))
    ones = np.ones((1, 1, 3000))
    program = amp.compile(g)
    with pytest.raises(BadInput, match="on request"):
        plot.memory(program.run({"x": ones, "control": ones}))
    program.reset()
    result = program.run({"x": ones, "control": ones}, memory_every=100)
    clocks = [sample.clock for sample in result.memory]
    assert clocks == list(range(100, 3001, 100))
    waiting = [
        next(use for use in sample.rings if (use.source, use.consumer) == ("gain.0", "select.0"))
        for sample in result.memory
    ]
    assert [use.tokens for use in waiting] == clocks  # none is ever taken
    assert waiting[-1].most == 3000
    assert waiting[-1].capacity == 4096
    shown = words(plot.memory(result))
    assert "gain.0 > select.0" in shown
    assert "3000 at most, capacity 4096, grown 8 times" in shown


def test_heat_is_drawn_over_time_hottest_first() -> None:
    g = amp.Graph(sample_rate=1000)
    x = g.input("x")
    g.output("out", x)
    g.add(nodes.Gain(), x, gain=0.0, name="warm", thermal=amp.Thermal(power=8.0))
    program = amp.compile(g, heat=1)
    runs = [program.run({"x": np.ones((1, 1, 5000))}) for _ in range(2)]
    figure = plot.heat(runs)
    hottest, next_one, _ = figure.axes
    assert "80 J" in words(figure)
    assert "90 J in 3 nodes" in figure.get_suptitle()
    seconds, kelvin = np.array(hottest.lines[0].get_data(), np.float64)
    np.testing.assert_allclose(seconds, [4.096, 5.0, 8.192, 10.0])
    np.testing.assert_allclose(kelvin, amp.AMBIENT + 8.0 * seconds)
    assert hottest.get_title("left") == "warm"
    assert next_one.get_title("left") == "out"
    assert len(plot.heat(runs[0], ["out"]).axes) == 1
    with pytest.raises(BadInput, match="heat of nodes"):
        plot.heat(amp.compile(g, heat=0).run({"x": np.ones((1, 1, 10))}))
    with pytest.raises(BadInput, match="heat of nodes"):
        plot.heat(runs, ["cold"])
