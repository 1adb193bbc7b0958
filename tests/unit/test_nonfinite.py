"""Infinities and NaN: propagated, refused, or reset."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from bits import Array, assert_same_bits

import amp
from amp import nodes
from amp.errors import BadValue, NonFinite

if TYPE_CHECKING:
    from amp.contract import Trace
    from amp.ir import Value
    from amp.program import Program

ENGINES = [None, 64, 7]


class Squarer(amp.NodeType):
    """``y = x + s^2; s <- y``, which overflows; also counts its frames. For tests."""

    start: float = 0.5
    params = ("start",)
    inlets = (amp.Inlet("input"),)
    outlets = ("out", "count")

    def forward(self, b: Trace, x: Value) -> tuple[Value, Value]:
        s, count = b.state("s", "start"), b.istate("count")
        y = b.fma(s, s, x)
        b.next("s", y)
        b.next("count", b.emit("iadd", count, b.iconst(1)))
        return y, b.emit("to_float", count)


class Echo(amp.NodeType):
    """``y = x + g l(-1)``, ``l`` a line of ``1e200 y``: what it writes overflows first. For tests."""

    inlets = (amp.Inlet("input"),)

    def forward(self, b: Trace, x: Value) -> Value:
        old = b.state("old")
        line = b.line("l", old * 1e200, 4)
        y = b.fma(1e-200, b.tap(line, 1), x)
        b.next("old", y)
        return y


def compiled(g: amp.Graph, block: int | None, **options: Any) -> Program:
    return amp.compile(g, amp.plan(g, block) if block else None, **options)


def chain(batch: int = 1) -> amp.Graph:
    """Input, a quotient, a filter, a sum of many terms."""
    g = amp.Graph(batch=batch)
    low = g.add(nodes.OnePole(cutoff=900.0), 1.0 / g.input("x"))
    g.output("out", g.add(nodes.Mix(), *(low * (0.1 * i) for i in range(12))))
    return g


def signal(*zeros: int, batch: int = 1) -> Array:
    x = np.ones((batch, 1, 300))
    x[..., list(zeros)] = 0.0
    return x


@pytest.mark.parametrize("block", ENGINES)
def test_without_a_wish_they_propagate(block: int | None) -> None:
    out = compiled(chain(), block).run({"x": signal(200)})["out"]
    assert np.isfinite(out[..., :200]).all()
    assert not np.isfinite(out[..., 200:]).any()


@pytest.mark.parametrize("block", ENGINES)
@pytest.mark.parametrize("pieces", [[300], [200, 100], [201, 99], [1, 249, 50]])
def test_the_error_names_the_first_node_and_frame(block: int | None, pieces: list[int]) -> None:
    program = compiled(chain(), block, on_nonfinite="raise")
    x, at = signal(200, 220), 0
    with pytest.raises(NonFinite) as caught:  # noqa: PT012
        for count in pieces:
            program.run({"x": x[..., at : at + count]})
            at += count
    assert (caught.value.node, caught.value.frame) == ("function2.0", 200)
    for words in ("frame 200", "'function2.0'", "test_nonfinite.py", "graph.probe"):
        assert words in str(caught.value)


@pytest.mark.parametrize("block", ENGINES)
def test_an_input_is_a_node_too(block: int | None) -> None:
    x = signal()
    x[..., 33] = np.nan
    with pytest.raises(NonFinite, match="an infinity or NaN at frame 33") as caught:
        compiled(chain(), block, on_nonfinite="raise").run({"x": x})
    assert caught.value.node == "x"


@pytest.mark.parametrize("block", ENGINES)
def test_it_raises_until_it_is_reset_or_restored(block: int | None) -> None:
    program = compiled(chain(), block, on_nonfinite="raise")
    program.run({"x": signal()})
    before = program.state()
    for _ in range(2):
        with pytest.raises(NonFinite, match="frame 350"):
            program.run({"x": signal(50)})
    program.restore(before)
    plain = compiled(chain(), block)
    plain.run({"x": signal()})
    again = signal() * np.linspace(1, 2, 300)
    assert_same_bits(program.run({"x": again})["out"], plain.run({"x": again})["out"])
    with pytest.raises(NonFinite, match="frame 610"):
        program.run({"x": signal(10)})
    program.reset()
    program.run({"x": signal()})


@pytest.mark.parametrize("mode", ["raise", "reset"])
@pytest.mark.parametrize("block", ENGINES)
def test_what_is_finite_keeps_its_bits_and_snapshots_fit(block: int | None, mode: str) -> None:
    x = signal() * np.linspace(1, 2, 300)
    guarded = compiled(chain(), block, on_nonfinite=mode)
    plain = compiled(chain(), block)
    assert_same_bits(guarded.run({"x": x})["out"], plain.run({"x": x})["out"])
    plain.restore(guarded.state())
    guarded.restore(plain.state())
    assert_same_bits(guarded.run({"x": x})["out"], plain.run({"x": x})["out"])


def squared(x: Array, start: float) -> tuple[Array, Array]:
    """`Squarer` with resets, frame by frame and lane by lane."""
    y, count = np.zeros_like(x), np.zeros_like(x)
    for lane in np.ndindex(x.shape[:2]):
        s = start
        for t in range(x.shape[2]):
            with np.errstate(over="ignore"):
                made = np.float64(s) * s + x[(*lane, t)]
            if np.isfinite(made):
                y[(*lane, t)], count[(*lane, t)] = made, t
                s = made
            else:
                s = start  # and both outlets are silent in this frame
    return y, count


@pytest.mark.parametrize("block", ENGINES)
def test_a_reset_is_of_one_lane_and_begins_again(block: int | None) -> None:
    g = amp.Graph(batch=2)
    y, count = g.add(Squarer(0.25), g.input("x", channels=2))
    g.output("y", y)
    g.output("count", count)
    x = np.random.default_rng(3).uniform(0.0, 2.0, (2, 2, 300))
    x[0, 1] = 0.1  # never overflows
    result = compiled(g, block, on_nonfinite="reset").run({"x": x})
    want, counted = squared(x, 0.25)
    assert (want[1] == 0).any()
    np.testing.assert_allclose(result["y"], want, rtol=1e-12)
    np.testing.assert_array_equal(result["count"], counted)  # the counter went on
    assert not np.isfinite(compiled(g, block).run({"x": x})["y"][1]).all()


@pytest.mark.parametrize("block", ENGINES)
def test_a_line_keeps_nothing_that_is_not_finite(block: int | None) -> None:
    g = amp.Graph()
    g.output("out", g.add(Echo(), g.input("x")))
    x = np.ones((1, 1, 60))
    x[..., 20] = 1e150  # the line would hold an infinity
    out = compiled(g, block, on_nonfinite="reset").run({"x": x})["out"]
    assert np.isfinite(out).all()
    assert out[0, 0, 22] == 1.0


@pytest.mark.parametrize("block", ENGINES)
def test_a_loop_recovers(block: int | None) -> None:
    g = amp.Graph()
    again = g.feedback()
    total = g.input("x") + 0.5 * amp.edge(again, initial=4)
    again.connect(total)
    g.output("out", total)
    x = np.ones((1, 1, 300))
    x[..., 100] = np.inf
    out = compiled(g, block, on_nonfinite="reset").run({"x": x})["out"]
    want = x.copy()
    want[..., 100] = 0.0  # the input was silent in that frame
    assert_same_bits(out, compiled(g, block).run({"x": want})["out"])


def test_nodes_that_fire_as_data_says_are_named_by_their_firing() -> None:
    g = amp.Graph()
    picked = 1.0 / g.add(nodes.Trigger(), g.input("x"), g.input("when"))
    g.output("out", amp.edge(picked, default=0.0) * 2.0)
    x, pulses = signal(125), np.where(np.arange(300) % 50 >= 25, 1.0, -1.0)[None, None]
    # frame 125 is the third pulse
    with pytest.raises(NonFinite, match="at its firing 2") as caught:
        amp.compile(g, on_nonfinite="raise").run({"x": x, "when": pulses})
    assert (caught.value.node, caught.value.frame) == ("function2.0", 2)
    x[..., 10] = np.nan  # before all pulses, into a node with a pace
    with pytest.raises(NonFinite, match="at frame 10") as caught:
        amp.compile(g, on_nonfinite="raise").run({"x": x, "when": pulses})
    assert caught.value.node == "x"
    assert np.isfinite(
        amp.compile(g, on_nonfinite="reset").run({"x": x, "when": pulses})["out"]
    ).all()


@pytest.mark.parametrize("block", [None, 64])
def test_a_swap_and_a_clone_are_guarded_too(block: int | None) -> None:
    program = compiled(chain(), block, on_nonfinite="raise")
    program.run({"x": signal()})
    program.swap(chain(), crossfade=50)
    with pytest.raises(NonFinite, match="frame 310"):
        program.run({"x": signal(10)})
    with pytest.raises(NonFinite, match="frame 20"):
        program.clone().run({"x": signal(20)})


def test_prebuilt_kernels_are_not_used() -> None:
    g = amp.Graph()
    g.output("out", g.add(nodes.MatrixMix(np.full((20, 20), 0.05)), g.input("x", channels=20)))
    x = np.ones((1, 20, 100))
    x[0, 3, 50] = np.inf
    with pytest.raises(NonFinite, match="frame 50"):
        amp.compile(g, on_nonfinite="raise").run({"x": x})
    out = amp.compile(g, on_nonfinite="reset").run({"x": x})["out"]
    np.testing.assert_allclose(out[..., 50], 0.95)


def test_other_words_are_refused() -> None:
    with pytest.raises(BadValue, match="on_nonfinite is one of"):
        amp.compile(chain(), on_nonfinite="ignore")  # type: ignore[arg-type]


@pytest.mark.parametrize("block", ENGINES)
@pytest.mark.parametrize("late", [0, 9])
def test_a_sum_over_lanes_is_named_and_silent(block: int | None, late: int) -> None:
    def overflowing(read: Any) -> amp.Graph:
        g = amp.Graph(batch=2)
        x = g.input("x")
        total = g.add(nodes.Mix(), *(x * (0.5 + 0.01 * i) for i in range(20)))
        g.output("out", read(g, amp.edge(total, delay=late, initial=late and 3)))
        return g

    x = np.random.default_rng(4).normal(size=(2, 1, 300))
    x[1, 0, 150] = 1e308  # twenty terms are finite, and their sum is not
    calm = x.copy()
    calm[1, 0, 150] = 0.0
    readers = [
        lambda g, total: total,
        lambda g, total: g.add(nodes.OnePole(cutoff=900.0), total),
        lambda g, total: g.add(nodes.Mix(), *(total * 0.1 for _ in range(12))),
        lambda g, total: g.add(nodes.Rearrange((0, 0)), total),
        lambda g, total: g.add(nodes.Hold(2), g.add(nodes.Downsample(2), total)),
    ]
    for read in readers:
        g = overflowing(read)
        program = compiled(g, block, on_nonfinite="raise")
        with pytest.raises(NonFinite, match="frame 150") as caught:
            program.run({"x": x})
        assert caught.value.node == "mix.0"
        out = compiled(g, block, on_nonfinite="reset").run({"x": x})["out"]
        assert np.isfinite(out).all()
        want = compiled(g, block).run({"x": calm})["out"]
        assert_same_bits(out, want)
