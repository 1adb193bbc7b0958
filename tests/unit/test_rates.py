"""Rates: what is in balance, what is refused, and when nodes fire."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import amp
from amp import nodes
from amp.errors import BadNode, Deadlock, InconsistentRates, PortMismatch
from amp.schedule import paces

if TYPE_CHECKING:
    from bits import Array

    from amp.contract import Trace
    from amp.ir import Value
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


def heard(g: amp.Graph, x: Array) -> Array:
    """Output ``out`` without its latency, the same under every engine and from a file."""
    want = amp.compile(g).run({"x": x.reshape(1, 1, -1)})
    late = want.latency["out"]
    for block in (1, 5, 64):
        for made in (g, amp.graph_from_json(amp.graph_to_json(g))):
            got = amp.compile(made, amp.plan(g, block)).run({"x": x.reshape(1, 1, -1)})
            assert got.latency == want.latency
            assert (got["out"] == want["out"]).all()
    return want["out"][0, 0, late:]


def test_by_the_clock_a_fast_node_reads_slow_tokens_again() -> None:
    """Slow token j is of the 3 frames before clock 3 j + 3, and visible from 3 j + 2 + delay on."""
    x = np.arange(20.0)
    for delay in range(5):
        g = amp.Graph()
        fast = g.input("x")
        slow = g.add(nodes.Downsample(3), fast)
        g.output("out", g.add(nodes.Add(), 0.0 * fast, amp.edge(slow, delay=delay, default=-1.0)))
        newest = (np.arange(20) - 2 - delay) // 3
        assert (heard(g, x) == np.where(newest < 0, -1.0, 3.0 * newest)).all()


def test_by_the_clock_a_slow_node_skips_fast_tokens() -> None:
    """It fires at clock 4 j + 3, and never waits."""
    x = np.arange(40.0)
    for delay in (0, 2, 6):
        g = amp.Graph()
        fast = g.input("x")
        slow = g.add(nodes.Downsample(4), fast * 0.0)
        seen = g.add(nodes.Add(), slow, amp.edge(fast, delay=delay, initial=(7.0, 1), default=0.0))
        g.output("out", g.add(nodes.Hold(4), seen))
        newest = 4 * np.arange(10) + 3 - delay
        want = np.where(newest < 0, 7.0, newest)
        assert (heard(g, x)[::4] == want[: len(heard(g, x)[::4])]).all()


def test_by_the_clock_bursts_and_ratios_give_the_newest_token() -> None:
    """Three firings in two frames, a burst of three every two: by counting clocks."""
    g = amp.Graph()
    x = g.input("x")
    fast = g.add(nodes.Hold(3), g.add(nodes.Downsample(2), x))
    own = g.add(nodes.Gain(), fast, gain=0.0)
    tokens = g.add(nodes.Add(), own, amp.edge(x, delay=1, default=-1.0))
    g.output("out", g.add(nodes.Hold(2), g.add(nodes.Downsample(3), tokens)))
    count = np.arange(30)
    starts = (2 * 3 * count + 3) // 3  # of every third firing, which is kept
    got = heard(g, np.arange(60.0))[::2]
    assert (got == starts[: len(got)] - 1).all()


def test_a_node_that_reads_again_reads_by_the_clock() -> None:
    """The past of such an edge is what was visible, before that the default, and never silence."""
    x = np.arange(1.0, 13.0)
    g = amp.Graph()
    dry = g.input("x")
    pieces = g.add(nodes.Window(4, 1), amp.edge(dry, delay=1, default=-1.0))
    g.output("out", g.add(nodes.MatrixMix([[1.0, 10.0, 100.0, 1000.0]]), pieces))
    past = np.concatenate([[-1.0] * 4, x])
    want = [past[k : k + 4] @ [1, 10, 100, 1000] for k in range(12)]
    assert (heard(g, x) == want).all()
    g = amp.Graph()  # a hop of 2, each piece the newest of what comes four times as often
    dry = g.input("x")
    late = amp.edge(dry, delay=1)
    pieces = g.add(nodes.Window(3, 2), amp.edge(g.add(nodes.Hold(4), dry), default=0.0))
    assert pieces.channels == 3
    g.output("out", g.add(nodes.Add(), 0.0 * late, amp.edge(pieces, default=0.0)))
    heard(g, x)


def test_a_loop_by_the_clock_needs_a_delay_at_any_rates() -> None:
    def loop(delay: int) -> amp.Graph:
        g = amp.Graph()
        back = g.feedback()
        y = g.input("x") + 0.5 * amp.edge(back, delay=delay, default=0.0)
        back.connect(g.add(nodes.Downsample(3), y))
        g.output("out", y)
        return g

    with pytest.raises(Deadlock):
        amp.compile(loop(0))
    x = np.random.default_rng(5).normal(size=30)
    for delay in (1, 2, 5):
        want = x.copy()
        for t in range(30):
            newest = (t - 2 - delay) // 3
            want[t] += 0.5 * want[3 * newest] if newest >= 0 else 0.0
        np.testing.assert_allclose(heard(loop(delay), x), want, rtol=1e-15)


def test_a_node_that_rearranges_takes_from_any_rates() -> None:
    """Each channel as it comes, and the sign of a zero too."""
    x = np.arange(24.0)
    x[3::6] = -0.0
    g = amp.Graph()
    dry = g.input("x")
    slow = g.add(nodes.Downsample(3), dry)
    streams = [dry, amp.edge(slow, default=-0.0), amp.edge(g.add(nodes.Hold(2), dry), default=1.0)]
    g.output("out", g.add(nodes.Concat(), *streams, amp.edge(dry, delay=1, default=2.0)))
    index = (np.arange(24) - 2) // 3
    want = [x, np.where(index < 0, -0.0, x[3 * np.maximum(index, 0)]), x, np.append(2.0, x[:-1])]
    for plan in (None, amp.plan(g, 1), amp.plan(g, 7), amp.plan(g, 64)):
        got = amp.compile(g, plan).run({"x": x.reshape(1, 1, -1)})["out"][0]
        assert got.tobytes() == np.array(want).tobytes()


def test_a_default_is_finite() -> None:
    with pytest.raises(BadNode, match="is finite"):
        amp.edge(amp.Graph().input("x"), default=float("nan"))


class Shuffle(amp.NodeType):
    """Three in, three out, a token at a time or two: ``y`` is ``x`` scaled by 1 + its phase."""

    inlets = (amp.Inlet("input"),)

    def rate(self, port: str) -> int | tuple[int, ...]:
        return (2, 0, 1) if port == "input" else (1, 2, 0)

    def forward(self, b: Trace, x: list[Value]) -> list[Value]:
        gain = 1.0 + b.emit("to_float", b.phase())
        return [x[0] * gain, x[1] * gain]


def test_cyclo_static_rates_move_their_tokens_phase_by_phase() -> None:
    """Phase 0 takes two and writes the first, phase 1 writes both again, phase 2 takes one."""
    g = amp.Graph()
    g.output("out", g.add(Shuffle(), g.input("x")))
    x = np.arange(1.0, 31.0)
    groups = x.reshape(-1, 3)
    want = np.stack([groups[:, 0], 2 * groups[:, 0], 2 * groups[:, 1]], axis=1).ravel()
    got = heard(g, x)
    assert (got == want[: len(got)]).all()
    assert amp.compile(g).latency["out"] == 1  # token 1 is there at clock 1, for firing 0


def test_a_cycle_through_phases_needs_no_tokens() -> None:
    """Every odd token is made of the even one before it: y[2k] = x[2k], y[2k + 1] = y[2k] / 2."""
    g = amp.Graph()
    back = g.feedback()
    even, _ = g.add(nodes.Distributor(), g.input("x"))
    y = g.add(nodes.Commutator(), even, 0.5 * g.add(nodes.Distributor(), back)[0])
    back.connect(y)
    g.output("out", y)
    x = np.arange(20.0)
    got = heard(g, x)
    want = np.stack([x[::2], x[::2] / 2], axis=1).ravel()
    assert (got == want[: len(got)]).all()
    g = amp.Graph()  # but not of the odd one, which is itself
    back = g.feedback()
    even, _ = g.add(nodes.Distributor(), g.input("x"))
    y = g.add(nodes.Commutator(), even, 0.5 * g.add(nodes.Distributor(), back)[1])
    back.connect(y)
    g.output("out", y)
    with pytest.raises(Deadlock):
        amp.compile(g)


def test_inconsistent_cycles_say_their_counts() -> None:
    g = amp.Graph()
    x = g.input("x")
    even, _ = g.add(nodes.Distributor(), x, name="deal")
    g.output("out", g.add(nodes.Add(), x, even, name="sum"))
    with pytest.raises(InconsistentRates) as caught:
        amp.compile(g)
    text = str(caught.value)
    assert "cycles of 2 firings of 'deal' x (1 + 0) = firings of 'sum' x 1" in text
    assert "1/2 x (1 + 0) = 1/2 tokens per frame written, and 1 x 1 = 1 read" in text


@pytest.mark.parametrize(
    "rate, words",
    [
        (-1, "is a whole number of tokens"),
        (0, "moves a token in some firing"),
        ((), "moves a token in some firing"),
        ((0, 0), "moves a token in some firing"),
        ((1, -1), "is a whole number of tokens"),
        ((1, 1.5), "is a whole number of tokens"),
        ("two", "is a whole number of tokens"),
        ((1, 0, 1, 0), "have one cycle, or an even part of it"),
    ],
)
def test_rates_that_are_none_are_refused(rate: object, words: str) -> None:
    class Odd(amp.NodeType):
        inlets = (amp.Inlet("input"),)

        def rate(self, port: str) -> Any:
            return rate if port == "input" else (1, 1, 0)

        def forward(self, b: Trace, x: Any) -> Any:
            return x

    g = amp.Graph()
    with pytest.raises(BadNode, match=words) as caught:
        g.add(Odd(), g.input("x"))
    assert __file__ in str(caught.value)


def test_a_joint_cycle_has_a_bound() -> None:
    def graph(slow: int, fast: int) -> amp.Graph:
        g = amp.Graph()
        x = g.input("x")
        low = g.add(nodes.Downsample(slow), x)
        high = g.add(nodes.Hold(fast), x)
        read = g.add(nodes.Add(), high, amp.edge(low, default=0.0))
        g.output("out", g.add(nodes.Downsample(fast), read))
        return g

    amp.compile(graph(10_007, 3))
    with pytest.raises(InconsistentRates, match="within 1048576 firings"):
        amp.compile(graph(65_521, 64))
