"""Rates: what is in balance, what is refused, and when nodes fire."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

import amp
from amp import nodes
from amp.errors import BadNode, Deadlock, InconsistentRates, PortMismatch
from amp.schedule import paces

if TYPE_CHECKING:
    from bits import Array

    from amp.stream import Stream


def test_firings_follow_from_the_balance_of_edges() -> None:
    """The CD to DAT chain of the SDF literature, 2:3 then 5:7 downwards."""
    g = amp.Graph()
    y: Stream = g.input("x")
    for up, down in ((2, 3), (5, 7)):
        y = g.add(nodes.Downsample(down), g.add(nodes.Hold(up), y))
    slow = g.add(nodes.Gain(), y, name="slow")
    g.output("out", g.add(nodes.Downsample(10), g.add(nodes.Hold(21), slow)))
    frozen = g.freeze()
    pace = paces(frozen)[g["slow"].index]
    assert (pace.firings, pace.frames) == (10, 21)
    assert [pace.fired(clock) for clock in (0, pace.start, pace.start + 21)] == [0, 0, 10]


def test_a_node_at_another_rate_has_another_sample_rate() -> None:
    g = amp.Graph(48_000)
    x = g.input("x")
    tone = g.add(nodes.Sine(), frequency=1000.0)  # its rate follows from its reader's
    g.output("out", g.add(nodes.Hold(4), tone * g.add(nodes.Downsample(4), x)))
    result = amp.compile(g).run({"x": np.ones((1, 1, 4000))})
    late = result.latency["out"]
    want = np.sin(2 * np.pi * 1000 / 12_000 * np.arange(990))
    np.testing.assert_allclose(result["out"][0, 0, late::4][:990], want, atol=1e-12)


def test_inconsistent_rates_say_the_equation() -> None:
    g = amp.Graph()
    x = g.input("x")
    slow = g.add(nodes.Downsample(3), x, name="slow")
    g.output("out", g.add(nodes.Add(), x, slow, name="sum"))
    with pytest.raises(InconsistentRates) as caught:
        amp.compile(g)
    text = str(caught.value)
    assert "firings of 'slow' x 1 = firings of 'sum' x 1" in text
    assert "1/3 x 1 = 1/3 tokens per frame written, and 1 x 1 = 1 read" in text
    assert __file__ in text


@pytest.mark.parametrize("node", [nodes.Hold(2), nodes.Downsample(2)])
def test_outputs_are_at_the_clock(node: amp.NodeType) -> None:
    g = amp.Graph()
    g.output("out", g.add(node, g.input("x")))
    with pytest.raises(InconsistentRates, match=r"one token per frame|as many tokens"):
        amp.compile(g)


def test_a_slow_cycle_needs_a_token_for_each_firing() -> None:
    def loop(tokens: int) -> amp.Graph:
        g = amp.Graph()
        back = g.feedback()
        y = g.input("x") + 0.5 * amp.edge(back, initial=tokens)
        back.connect(g.add(nodes.Hold(4), g.add(nodes.Downsample(4), y)))
        g.output("out", y)
        return g

    for tokens in range(1, 4):
        with pytest.raises(Deadlock, match="tokens for a firing of each"):
            amp.compile(loop(tokens))
    g = loop(4)
    x = np.random.default_rng(1).normal(size=40)
    want = x.copy()
    for t in range(4, 40):
        want[t] += 0.5 * want[(t - 4) // 4 * 4]
    for plan in (None, amp.plan(g, 1), amp.plan(g, 7), amp.plan(g, 64)):
        got = amp.compile(g, plan).run({"x": x.reshape(1, 1, -1)})["out"][0, 0]
        np.testing.assert_allclose(got, want, rtol=1e-15)


def test_pieces_of_any_size_add_up_to_the_stream() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1, 2, 6000))
    for size, hop in ((512, 128), (1000, 250), (441, 441), (3, 1)):
        g = amp.Graph()
        pieces = g.add(nodes.Window(size, hop), g.input("x", 2))
        g.output("out", g.add(nodes.Overlap(size, hop), pieces))
        for plan in (None, amp.plan(g, 256)):
            result = amp.compile(g, plan).run({"x": x})
            late = result.latency["out"] + size - hop
            got = result["out"][..., late:] * hop / size
            np.testing.assert_allclose(got, x[..., : 6000 - late], rtol=1e-12, atol=1e-12)
            assert result.latency["out"] == hop - 1


def test_what_rearranges_says_what_it_cannot_take() -> None:
    g = amp.Graph(batch=2)
    x = g.input("x", 3)
    with pytest.raises(PortMismatch, match="takes channels that there are"):
        g.add(nodes.Rearrange((0, 3)), x)
    with pytest.raises(PortMismatch, match="one batch for each of the graph's"):
        g.add(nodes.Rearrange((0,), (), (0, 1, 0)), x)
    with pytest.raises(PortMismatch, match="one batch for each of the graph's"):
        g.add(nodes.Rearrange((0,), (), (0, 2)), x)
    with pytest.raises(PortMismatch, match="multiple of its size"):
        g.add(nodes.Overlap(2, 1), x)
    with pytest.raises(PortMismatch, match="Stack takes streams of one number of channels"):
        g.add(nodes.Stack(), x, g.add(nodes.Rearrange((0, 1)), x))
    swapped = g.add(nodes.Rearrange((2, 1, 0), (), (1, 0)), x)
    g.output("out", swapped)
    given = np.random.default_rng(3).normal(size=(2, 3, 5))
    assert (amp.compile(g).run({"x": given})["out"] == given[::-1, ::-1]).all()


def test_a_loop_of_slow_nodes_lasts_for_frames() -> None:
    g = amp.Graph()
    back = g.feedback()
    x = g.add(nodes.Downsample(3), g.input("x"))
    y = g.add(nodes.Add(), x, amp.edge(back, initial=1))
    back.connect(y)
    g.output("out", g.add(nodes.Hold(3), y))
    plan = amp.plan(g, 8)
    ones = {"x": np.ones((1, 1, 30))}
    want = amp.compile(g).run(ones)["out"]
    assert (amp.compile(g, plan).run(ones)["out"] == want).all()


def ramp(count: int) -> dict[str, Array]:
    return {"x": np.arange(1.0, count + 1).reshape(1, 1, -1)}


def test_an_edge_with_a_default_is_read_by_the_clock() -> None:
    """Nobody waits for it: what is not visible yet is the default, what has passed is passed."""

    def heard(late: int, delay: int, initial: object) -> list[float]:
        g = amp.Graph()
        x = g.input("x")
        control = amp.edge(x, delay=delay, initial=initial, default=0.5)  # type: ignore[arg-type]
        g.output("out", g.add(nodes.Add(), amp.edge(x * 0.0, delay=late), control))
        want = amp.compile(g).run(ramp(9))
        for block in (1, 4, 64):
            assert (amp.compile(g, amp.plan(g, block)).run(ramp(9))["out"] == want["out"]).all()
        assert want.latency["out"] == late
        return list(want["out"][0, 0, late:])

    assert heard(0, 3, 0) == [0.5, 0.5, 0.5, 1, 2, 3, 4, 5, 6]
    assert heard(0, 2, (7.0, 1)) == [7, 7, 1, 2, 3, 4, 5, 6, 7]
    assert heard(4, 0, 0) == [5, 6, 7, 8, 9]
    assert heard(4, 6, 0) == [0.5, 0.5, 1, 2, 3]


def test_reading_by_the_clock_closes_a_loop_only_with_a_delay() -> None:
    def loop(delay: int) -> amp.Graph:
        g = amp.Graph()
        back = g.feedback()
        y = g.input("x") + 0.5 * amp.edge(back, delay=delay, default=0.0)
        back.connect(y)
        g.output("out", y)
        return g

    with pytest.raises(Deadlock):
        amp.compile(loop(0))
    assert list(amp.compile(loop(2)).run(ramp(5))["out"][0, 0]) == [1, 2, 3.5, 5, 6.75]


def test_what_cannot_be_read_by_the_clock_is_refused() -> None:
    g = amp.Graph()
    slow = g.add(nodes.Hold(2), g.add(nodes.Downsample(2), g.input("x")))
    g.output("out", amp.edge(slow, default=0.0))
    with pytest.raises(InconsistentRates, match="one token a firing at both ends"):
        amp.compile(g)
    with pytest.raises(BadNode, match="is finite"):
        amp.edge(slow, default=float("nan"))
