"""Graphs say what is wrong with them: in words, with the node, and at the user's own line."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import amp
from amp import Inlet, NodeType, nodes
from amp.errors import (
    AmpError,
    BadGraph,
    BadInput,
    BadNode,
    BadValue,
    Deadlock,
    PortMismatch,
    TooSlowCycle,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from amp.contract import Trace
    from amp.ir import Value
    from amp.program import Program

NAN = float("nan")
BUFFER = np.zeros(40)


class Sketch:
    """A graph with an input of one, two and three channels, and a stream of another graph."""

    def __init__(self, batch: int = 2) -> None:
        self.graph = amp.Graph(48_000, batch)
        self.one = self.graph.input("one")
        self.two = self.graph.input("two", 2)
        self.three = self.graph.input("three", 3)
        self.foreign = amp.Graph().input("foreign")
        self.half: Any = 0.5
        self.add = self.graph.add  # not a method: its line would be the user's


def message_of(action: Callable[[Sketch], object], kind: type[AmpError]) -> str:
    """The whole message of the error that ``action`` raises."""
    with pytest.raises(kind) as caught:
        action(Sketch())
    assert type(caught.value) is kind
    return str(caught.value)


def line_of(action: Callable[..., object]) -> str:
    """``file:line`` of a one-line lambda."""
    return f"{__file__}:{action.__code__.co_firstlineno}"


BROKEN: list[tuple[Callable[[Any], object], type[AmpError], str]] = [
    # inlets: unknown, missing, too many, twice
    (lambda s: s.add(nodes.Saw(), speed=s.one), PortMismatch, "Saw has no inlet 'speed'"),
    (lambda s: s.add(nodes.Saw()), PortMismatch, "inlet 'frequency' is mandatory"),
    (lambda s: s.add(nodes.Gain(), None), PortMismatch, "inlet 'input' is mandatory"),
    (lambda s: s.add(nodes.Gain(), s.one, 1, 2), PortMismatch, "Gain has 2 inlet(s)"),
    (lambda s: s.add(nodes.Gain(), s.one, input=s.one), PortMismatch, "'input' is given once"),
    (lambda s: s.add(nodes.Mix()), PortMismatch, "'inputs' takes at least one stream"),
    # what is no stream of this graph
    (lambda s: s.add(nodes.Gain(), s.foreign), PortMismatch, "a stream belongs to this graph"),
    (lambda s: s.one + s.foreign, PortMismatch, "a stream belongs to this graph"),
    (lambda s: s.add(nodes.Mix(), 3.0), PortMismatch, "'inputs' takes streams"),
    (lambda s: s.graph.output("o", s.foreign), PortMismatch, "a stream belongs to this graph"),
    (lambda s: s.add(nodes.Mix(), amp.edge(3)), PortMismatch, "an edge is one of a stream"),  # type: ignore[arg-type]
    # channels
    (lambda s: s.two + s.three, PortMismatch, "inlets have one number of channels, or 1"),
    (lambda s: s.add(nodes.Pan(), s.two), PortMismatch, "inlet 'input' takes 1 channel(s)"),
    (lambda s: s.add(nodes.Mix(), s.two, s.three), PortMismatch, "have one number of channels"),
    (lambda s: s.two * np.ones((1, 3)), PortMismatch, "inlets have one number of channels"),
    (lambda s: s.add(nodes.MatrixMix([[1, 2]]), s.one), BadNode, "a column for each input channel"),
    # constants: batch, shape, range, type, NaN
    (lambda s: s.one * np.ones((3, 1)), BadValue, "batch 2 or 1"),
    (lambda s: s.one * np.ones(3), BadValue, "array of shape (batch, channel)"),
    (lambda s: s.one * np.ones((1, 1, 1)), BadValue, "array of shape (batch, channel)"),
    (lambda s: s.add(nodes.Saw(), 24_000.0), BadValue, "'frequency' lies in [-inf, 24000) Hz"),
    (lambda s: s.add(nodes.Pan(), s.one, position=1.5), BadValue, "'position' lies in [-1, 1]"),
    (lambda s: s.add(nodes.OnePole(cutoff=-1.0), s.one), BadValue, "'cutoff' lies in [0, 24000)"),
    (lambda s: s.add(nodes.Gain(), s.one, gain="loud"), BadValue, "'gain' is a real number"),
    (lambda s: s.add(nodes.Gain(), s.one, gain=1j), BadValue, "'gain' is a real number"),
    (lambda s: s.add(nodes.Gain(), s.one, gain=[[1], [1, 2]]), BadValue, "'gain' is a real number"),
    (lambda s: s.one + "noise", BadValue, "'b' is a real number"),
    (lambda s: s.add(nodes.Gain(), s.one, gain=NAN), BadValue, "inlet 'gain' is finite"),
    (lambda s: s.add(nodes.Gain(gain=NAN), s.one), BadValue, "inlet 'gain' is finite"),
    (lambda s: s.one / np.inf, BadValue, "inlet 'b' is finite"),
    # edges: delay and initial tokens
    (lambda s: s.add(nodes.Gain(), amp.edge(s.one, delay=-1)), BadValue, "delay is a whole number"),
    (
        lambda s: s.add(nodes.Gain(), amp.edge(s.one, delay=s.half)),
        BadValue,
        "delay is a whole number",
    ),
    (lambda s: s.add(nodes.Gain(), amp.edge(s.one, delay=1 << 25)), BadValue, "0 to 16777216"),
    (lambda s: s.add(nodes.Gain(), amp.edge(s.one, delay=True)), BadValue, "delay is a whole"),
    (lambda s: s.add(nodes.Gain(), amp.edge(s.one, initial=-1)), BadValue, "initial tokens"),
    (lambda s: s.add(nodes.Gain(), amp.edge(s.one, initial=True)), BadValue, "initial is a count"),
    (
        lambda s: s.add(nodes.Gain(), amp.edge(s.one, initial=(NAN, 2))),
        BadValue,
        "initial is finite",
    ),
    (lambda s: s.add(nodes.Gain(), amp.edge(s.one, initial=("a", 2))), BadValue, "initial"),
    (lambda s: s.add(nodes.Gain(), amp.edge(s.one, initial=([1, 2], 2))), BadValue, "initial"),
    (lambda s: s.add(nodes.Gain(), amp.edge(s.one, initial=1 << 30)), BadValue, "at most 16777216"),
    (lambda s: s.add(nodes.Gain(), amp.edge(s.one, initial=[NAN])), BadValue, "initial is finite"),
    (lambda s: s.add(nodes.Gain(), amp.edge(s.one, initial=[1.0])), BadValue, "(2, 1, count)"),
    (
        lambda s: s.graph.output("o", amp.edge(s.two, initial=np.ones((2, 1, 3)))),
        BadValue,
        "(2, 2,",
    ),
    # names
    (lambda s: s.graph.input("one"), BadGraph, "the name 'one' is used once"),
    (lambda s: s.add(nodes.Gain(), s.one, name="two"), BadGraph, "the name 'two' is used once"),
    (lambda s: s.graph.output("one", s.one), BadGraph, "the name 'one' is used once"),
    (lambda s: s.add(nodes.Gain(), s.one, name=""), BadGraph, "a node's name is text"),
    (lambda s: s.add(nodes.Gain(), s.one, name=3), BadGraph, "a node's name is text"),
    # node types
    (lambda s: s.add(nodes.Saw, s.one), BadNode, "write nodes.Saw(), with parentheses"),
    (lambda s: s.add("Saw", s.one), BadNode, "an instance of a node type"),
    # feedback
    (lambda s: s.graph.feedback(1).connect(s.two), PortMismatch, "with as many channels"),
    (lambda s: s.graph.feedback().connect(s.foreign), PortMismatch, "belongs to this graph"),
    (lambda s: s.graph.feedback().connect(s.graph.feedback()), PortMismatch, "a node's stream"),
    (lambda s: s.graph.feedback().connect(1.0), PortMismatch, "expected a stream"),
]


@pytest.mark.parametrize("action, kind, words", BROKEN, ids=[f"{w[:40]}" for _, _, w in BROKEN])
def test_what_is_wrong_is_said_at_the_users_line(
    action: Callable[[Sketch], object], kind: type[AmpError], words: str
) -> None:
    message = message_of(action, kind)
    assert words in message
    assert line_of(action) in message


def test_nodes_of_a_refused_add_are_not_left_behind() -> None:
    s = Sketch()
    before, fingerprint = len(s.graph.nodes), s.graph.fingerprint()
    for action, _, _ in BROKEN[:40]:
        with pytest.raises(AmpError):
            action(s)
    assert len(s.graph.nodes) == before
    assert s.graph.fingerprint() == fingerprint
    assert s.add(nodes.Gain(), s.one, name="gain") is not None


@pytest.mark.parametrize(
    "arguments, words",
    [
        ({"sample_rate": 0}, "a sample rate is positive and finite"),
        ({"sample_rate": NAN}, "a sample rate is positive and finite"),
        ({"sample_rate": np.inf}, "a sample rate is positive and finite"),
        ({"sample_rate": "48k"}, "a sample rate is positive and finite"),
        ({"batch": 0}, "a batch is a whole number of at least 1"),
        ({"batch": 1.5}, "a batch is a whole number of at least 1"),
        ({"batch": True}, "a batch is a whole number of at least 1"),
    ],
)
def test_graphs_refuse(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(BadValue, match=words):
        amp.Graph(**arguments)


@pytest.mark.parametrize("channels", [0, -1, 1.5, "2"])
def test_inputs_and_feedbacks_have_channels(channels: Any) -> None:
    with pytest.raises(BadValue, match="an input has at least one channel"):
        amp.Graph().input("x", channels)
    with pytest.raises(BadValue, match="channel"):
        amp.Graph().feedback(channels)


@pytest.mark.parametrize(
    "block, width, words",
    [(b, 8, "a block is a whole number from 1 to 65536") for b in (0, -1, 65537, 2.5, True, "64")]
    + [(64, w, "a width is one of") for w in (0, 3, 64, None)],
)
def test_plans_refuse(block: Any, width: Any, words: str) -> None:
    s = Sketch()
    s.graph.output("out", s.one)
    with pytest.raises(BadValue, match=words):
        amp.plan(s.graph, block, width)
    assert amp.plan(s.graph, np.int64(64)) == amp.plan(s.graph, 64)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: amp.Param(NAN, name="p"), "param 'p' is finite"),
        (lambda: amp.Param("a", name="p"), "param 'p' is a real number"),
        (lambda: amp.Param(1.0, name=3), "name"),  # type: ignore[arg-type]
        (lambda: nodes.Saw(phase=NAN), "Saw.phase is finite"),
        (lambda: nodes.MatrixMix([[np.inf]]), "MatrixMix.matrix is finite"),
    ],
)
def test_params_are_finite(make: Callable[[], object], words: str) -> None:
    with pytest.raises(BadNode, match=words):
        make()


# ---- cycles


def test_a_cycle_without_tokens_is_named() -> None:
    g = amp.Graph()
    loop = g.feedback()
    y = g.add(nodes.Add(), g.input("x"), loop, name="sum")
    loop.connect(g.add(nodes.Gain(gain=0.5), y, name="half"))
    g.output("out", y)
    with pytest.raises(Deadlock) as caught:
        amp.compile(g)
    message = str(caught.value)
    assert "'sum' -> 'half' -> 'sum'" in message or "'half' -> 'sum' -> 'half'" in message
    assert "0 tokens" in message
    assert "amp.edge(stream, initial=1)" in message
    places = [f"{g[name].created}" for name in ("sum", "half")]
    assert any(place in message for place in places)
    with pytest.raises(Deadlock):
        amp.plan(g)


def test_only_the_cycle_is_named() -> None:
    g = amp.Graph()
    loop = g.feedback()
    y = g.input("x") + loop
    z = g.add(nodes.Gain(), y, name="behind the loop")
    loop.connect(y)
    g.output("out", z)
    with pytest.raises(Deadlock) as caught:
        amp.compile(g)
    assert "behind" not in str(caught.value)
    assert "'add.0' -> 'add.0'" in str(caught.value)


def test_a_cycle_that_is_too_slow_is_named_with_its_counts() -> None:
    g = amp.Graph()
    loop = g.feedback()
    y = g.add(nodes.Add(), g.input("x"), amp.edge(loop, initial=3, delay=2), name="sum")
    loop.connect(g.add(nodes.Gain(gain=0.5), amp.edge(y, delay=2), name="half"))
    g.output("out", y)
    with pytest.raises(TooSlowCycle) as caught:
        amp.compile(g)
    message = str(caught.value)
    assert "'sum' -> 'half' -> 'sum'" in message or "'half' -> 'sum' -> 'half'" in message
    assert "sum(initial) >= 4" in message
    assert "3 token(s), 4 frame(s) of delay" in message
    assert re.search(rf"{re.escape(__file__)}:\d+", message)


@pytest.mark.parametrize("tokens, delays", [(1, 0), (1, 1), (4, 4), (5, 2)])
def test_a_cycle_that_keeps_up_is_compiled(tokens: int, delays: int) -> None:
    g = amp.Graph()
    loop = g.feedback()
    y = g.input("x") + 0.5 * amp.edge(loop, initial=tokens, delay=delays)
    loop.connect(y)
    g.output("out", y)
    impulse = np.zeros((1, 1, 12))
    impulse[..., 0] = 1.0
    want = [0.5 ** (t // tokens) if t % tokens == 0 else 0.0 for t in range(12)]
    assert amp.compile(g).run({"x": impulse})["out"][0, 0].tolist() == want


def test_an_unconnected_feedback_is_named_by_its_line() -> None:
    g = amp.Graph()
    loop = g.feedback()
    created = loop.created
    g.output("out", g.input("x") + amp.edge(loop, initial=1))
    for action in (amp.compile, amp.plan, amp.Graph.fingerprint):
        with pytest.raises(BadGraph, match="every feedback stream is connected") as caught:
            action(g)
        assert f"{__file__}:{created.line}" in str(caught.value)
        assert "connect(stream)" in str(caught.value)


def test_a_feedback_is_connected_once() -> None:
    g = amp.Graph()
    x, loop = g.input("x"), g.feedback()
    loop.connect(x)
    with pytest.raises(PortMismatch, match="connected once") as caught:
        loop.connect(x)
    assert __file__ in str(caught.value)


def test_a_graph_without_outputs_is_refused() -> None:
    g = amp.Graph()
    g.input("x")
    with pytest.raises(BadGraph, match=r"graph\.output\(name, stream\)"):
        amp.compile(g)


def test_an_unknown_node_is_answered_with_the_known_ones() -> None:
    s = Sketch()
    with pytest.raises(BadGraph, match="no node 'four'") as caught:
        s.graph["four"]
    assert "one, two, three" in str(caught.value)


@pytest.mark.parametrize("threads", [0, -1, 1.5, True, 1000])
def test_threads_are_a_small_number(threads: Any) -> None:
    s = Sketch()
    s.graph.output("out", s.one)
    with pytest.raises(BadValue, match="threads is a whole number from 1 to 256"):
        amp.compile(s.graph, amp.plan(s.graph), threads=threads)


# ---- what a run is given


@pytest.fixture
def program() -> Program:
    s = Sketch()
    s.graph.output("out", s.one + s.two)
    s.graph.output("three out", s.three)
    return amp.compile(s.graph)


def arrays(**changed: Any) -> dict[str, Any]:
    """Good inputs, but for what is changed; None leaves one out."""
    good = {"one": np.ones((2, 1, 5)), "two": np.ones((2, 2, 5)), "three": np.ones((2, 3, 5))}
    return {name: a for name, a in {**good, **changed}.items() if a is not None}


@pytest.mark.parametrize(
    "changed, frames, words",
    [
        ({"one": None}, None, "a run is given each input"),
        ({"four": np.ones((2, 1, 5))}, None, "a run is given each input"),
        ({"one": np.ones((2, 1, 6))}, None, "one: 6, two: 5, three: 5"),
        ({}, 4, "frames=: 4"),
        ({}, 2.5, "frames is a whole number"),
        ({}, True, "frames is a whole number"),
        ({"one": np.ones((1, 1, 5))}, None, r"expected: \(2, 1, frames\)"),
        ({"one": np.ones((2, 2, 5))}, None, r"expected: \(2, 1, frames\)"),
        ({"one": np.ones(5)}, None, "broadcast_to"),
        ({"one": 1.0}, None, r"has shape \(batch, channel, frame\)"),
        ({"one": np.ones((2, 1, 5), complex)}, None, "dtype complex128"),
        ({"one": np.full((2, 1, 5), "a")}, None, "dtype <U1"),
        ({"one": np.full((2, 1, 5), None)}, None, "dtype object"),
        (
            {n: np.ones((2, c, 0)) for n, c in (("one", 1), ("two", 2), ("three", 3))},
            None,
            "one frame",
        ),
    ],
)
def test_runs_refuse(program: Program, changed: Any, frames: Any, words: str) -> None:
    with pytest.raises(BadInput, match=words) as caught:
        program.run(arrays(**changed), frames=frames)
    assert program.clock == 0
    if "one" in changed and "shape" in str(caught.value):
        assert "node 'one'" in str(caught.value)
        assert __file__ in str(caught.value)


@pytest.mark.parametrize("frames", [0, -5, None])
def test_a_run_without_inputs_has_frames(frames: int | None) -> None:
    g = amp.Graph()
    g.output("out", g.add(nodes.Noise()))
    with pytest.raises(BadInput, match="frame"):
        amp.compile(g).run(frames=frames)


@pytest.mark.parametrize("dtype", [np.float32, np.int16, np.uint8, bool])
def test_other_real_types_are_converted(program: Program, dtype: Any) -> None:
    given = {name: array.astype(dtype) for name, array in arrays().items()}
    assert (program.run(given)["out"] == 2.0).all()


def test_strided_and_read_only_inputs_are_taken(program: Program) -> None:
    wide = np.arange(40.0).reshape(2, 2, 10)
    given = arrays(two=wide[..., ::2], one=np.broadcast_to(1.0, (2, 1, 5)))
    np.testing.assert_array_equal(program.run(given)["out"], wide[..., ::2] + 1.0)


@pytest.mark.parametrize(
    "out, words",
    [
        ({"nowhere": np.ones((2, 2, 5))}, "out names outputs of the graph"),
        ({"out": np.ones((2, 2, 4))}, "writable C-contiguous float64"),
        ({"out": np.ones((2, 2, 5), np.float32)}, "writable C-contiguous float64"),
        ({"out": np.ones((2, 2, 10))[..., ::2]}, "writable C-contiguous float64"),
        ({"out": np.broadcast_to(1.0, (2, 2, 5))}, "writable C-contiguous float64"),
        ({"out": [[1.0]]}, "writable C-contiguous float64"),
        (
            {"out": BUFFER[:20].reshape(2, 2, 5), "three out": BUFFER[10:].reshape(2, 3, 5)},
            "overlap",
        ),
    ],
)
def test_outputs_refuse(program: Program, out: Any, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        program.run(arrays(), out=out)


def test_several_streams_at_one_inlet_are_gathered() -> None:
    class Spread(NodeType):
        """``y = x``, of streams channel by channel. For tests."""

        inlets = (Inlet("input", gather="stack"), Inlet("gain", default=1.0, gather="mean"))

        def forward(self, b: Trace, x: Value, gain: Value) -> Value:
            return gain * x

    g = amp.Graph()
    x, y = g.input("x"), g.input("y")
    g.output("sum", g.add(nodes.Gain(), [x, amp.edge(y, initial=1)], gain=2.0))
    g.output("mixed", g.add(nodes.MatrixMix([[1.0, 10.0]]), [x, y]))
    g.output("spread", g.add(Spread(), (x, y), gain=[x, y]))
    a, b = np.array([[[1.0, 2.0, 3.0]]]), np.array([[[10.0, 20.0, 30.0]]])
    result = amp.compile(g).run({"x": a, "y": b})
    assert result["sum"].tolist() == [[[2.0, 24.0, 46.0]]]
    assert result["mixed"].tolist() == [[[101.0, 202.0, 303.0]]]
    mean = (a + b) / 2
    assert np.array_equal(result["spread"], np.concatenate([mean * a, mean * b], axis=1))
    with pytest.raises(BadNode, match="sum, mean, concat or stack"):
        Inlet("input", gather="max")  # type: ignore[arg-type]


def test_an_edge_may_have_a_map() -> None:
    g = amp.Graph(batch=2)
    x = g.input("x", channels=2)
    swapped = amp.edge(x, channels=(1, -1, 0), batches=(1, 0), back=(0, 0, 1), initial=1)
    g.output("out", g.add(nodes.Gain(), swapped))
    a = np.arange(1.0, 13.0).reshape(2, 2, 3)
    out = amp.compile(g).run({"x": a})["out"]
    want = np.zeros((2, 3, 3))
    want[:, 0, 1:], want[:, 2, 2:] = a[::-1, 1, :2], a[::-1, 0, :1]
    assert np.array_equal(out, want)


def test_held_inlets_do_not_wait() -> None:
    class Held(NodeType):
        """``y = gain x`` with a gain that is read by the clock. For tests."""

        inlets = (Inlet("input"), Inlet("gain", default=0.5, hold=True))

        def forward(self, b: Trace, x: Value, gain: Value) -> Value:
            return gain * x

    g = amp.Graph()
    x = g.input("x")
    g.output("held", g.add(Held(), x, gain=amp.edge(x, delay=2)))
    g.output("own", g.add(nodes.Gain(), x, gain=amp.edge(x, delay=2, hold=True)))
    g.output("given", g.add(Held(), x, gain=amp.edge(x, delay=1, default=7.0)))
    g.output("plain", g.add(Held(), x, gain=x))
    program = amp.compile(g)
    assert set(program.latency.values()) == {0}
    result = program.run({"x": np.array([[[1.0, 2.0, 3.0, 4.0]]])})
    assert result["held"].tolist() == [[[0.5, 1.0, 3.0, 8.0]]]
    assert result["own"].tolist() == [[[1.0, 2.0, 3.0, 8.0]]]
    assert result["given"].tolist() == [[[7.0, 2.0, 6.0, 12.0]]]
    assert result["plain"].tolist() == [[[1.0, 4.0, 9.0, 16.0]]]


def test_voices_with_feedback_of_one_frame_are_lanes_of_one_kernel() -> None:
    g = amp.Graph()
    voices = []
    for i in range(64):
        back = g.feedback()
        bent = g.add(nodes.Gain(), amp.edge(back, initial=1), gain=0.01 * i)
        sine = g.add(nodes.Sine(), 100.0 + 7 * i, modulation=bent)
        back.connect(sine)
        voices.append(sine)
    g.output("out", g.add(nodes.Mix(), *voices))
    planned = amp.compile(g, amp.plan(g, 256))
    assert "Gain x64 > Sine x64" in planned.explain().splitlines()[1]
    assert np.array_equal(planned.run(frames=999)["out"], amp.compile(g).run(frames=999)["out"])
