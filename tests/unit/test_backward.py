"""`Program.backward`: what it refuses, what it gives in full, and what it keeps."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from bits import assert_same_bits
from forward_mode import assert_same_gradients

import amp
from amp import nodes
from amp.contract import Inlet, NodeType, Trace
from amp.errors import BadInput, BadValue, NotDifferentiable

if TYPE_CHECKING:
    from amp.program import Program

RNG = np.random.default_rng(1)


class Mantissa(NodeType):
    """Lowest bit of a number. For tests."""

    inlets = (Inlet("input"),)

    def forward(self, b: Trace, x: Any) -> Any:
        return b.emit("from_bits", b.emit("iand", b.emit("bits", x), b.iconst(1)))


class Squares(NodeType):
    """Takes two channels and multiplies them. For tests."""

    inlets = (Inlet("input"),)

    def takes(self, widths: list[int]) -> list[Any]:
        return [amp.contract.Take((0,), (0,)), amp.contract.Take((0,), (1,))]

    def forward(self, b: Trace, x: Any, y: Any) -> Any:
        return x * y


class Halved(nodes.Overlap):  # type: ignore[misc, valid-type]
    """Half of that. For tests."""

    def forward(self, b: Trace, *pieces: Any) -> Any:
        return 0.5 * b.tree_sum(pieces)


class Pair(NodeType):
    """Sees all channels of two streams, and remembers. For tests."""

    inlets = (Inlet("a"), Inlet("b"))
    channels = "all"

    def out_channels(self, widths: dict[str, int]) -> int:
        return 1

    def forward(self, b: Trace, x: Any, y: Any) -> Any:
        total = b.state("total")
        b.next("total", 0.5 * total + x[0] + 2.0 * y[0])
        return [total]


class Turns(NodeType):
    """Takes two tokens, then none, and adds up the last two. For tests."""

    inlets = (Inlet("input"),)

    def rate(self, port: str) -> int | tuple[int, ...]:
        return (2, 0) if port == "input" else 1

    def forward(self, b: Trace, x: Any) -> Any:
        return x[0] + x[1]


class Slow(NodeType):
    """Takes 65 tokens every 65th firing. For tests."""

    inlets = (Inlet("input"),)

    def rate(self, port: str) -> int | tuple[int, ...]:
        return (65,) + (0,) * 64 if port == "input" else 1

    def forward(self, b: Trace, x: Any) -> Any:
        return x[-1]


class Ring(NodeType):
    """Twice a token, which is said as a cycle of one count. For tests."""

    inlets = (Inlet("input"),)

    def rate(self, port: str) -> int | tuple[int, ...]:
        return (1,)

    def forward(self, b: Trace, x: Any) -> Any:
        return x * 2.0


def recorded(graph: amp.Graph, frames: int = 8, **inputs: Any) -> Program:
    program = amp.compile(graph)
    program.run(inputs, frames=frames, record=True)
    return program


def gain_graph() -> amp.Graph:
    g = amp.Graph()
    g.output("out", amp.Param(0.5, name="gain") * g.input("x"))
    return g


X = RNG.normal(size=(1, 1, 8))


def test_a_node_without_a_derivative_is_named() -> None:
    g = amp.Graph()
    g.output("out", g.add(Mantissa(), g.input("x"), name="lowest"))
    with pytest.raises(NotDifferentiable, match="the bits of a number") as error:
        recorded(g, x=X)
    assert "lowest" in str(error.value)


class Rounded(NodeType):
    """Steps of a hundredth. For tests."""

    learnable: bool
    inlets = (Inlet("input"),)

    def forward(self, b: Trace, x: Any) -> Any:
        stepped = b.floor(100.0 * x) * 0.01
        return b.as_if(stepped, b.tanh(x)) if self.learnable else stepped


class Secret(NodeType):
    """Says of itself that it has no derivative. For tests."""

    inlets = (Inlet("input", default=1.0),)
    not_differentiable = "it is a secret"

    def forward(self, b: Trace, x: Any) -> Any:
        return 2.0 * x


def test_a_value_goes_forward_and_another_one_back() -> None:
    for learnable, slope in ((True, 1.0 - np.tanh(X) ** 2), (False, 0.0 * X)):
        g = amp.Graph()
        g.output("out", g.add(Rounded(learnable), g.input("x")))
        program = recorded(g, x=X)
        np.testing.assert_allclose(program.backward({"out": 1.0 + 0.0 * X}).inputs["x"], slope)
        program.reset()
        np.testing.assert_array_equal(program.run({"x": X})["out"], np.floor(100.0 * X) * 0.01)
        assert "as_if" not in program.ir  # nor anything that it would cost


def test_a_node_type_may_say_that_it_has_no_derivative() -> None:
    g = amp.Graph()
    hidden = g.add(Secret(), 3.0 * g.input("x"), name="hidden")
    low = g.add(nodes.OnePole(), hidden, cutoff=100.0, name="low")
    g.output("out", low)
    with pytest.raises(NotDifferentiable, match="it is a secret") as error:
        recorded(g, x=X)
    assert "node 'hidden' (Secret" in str(error.value)
    assert "on the path 'hidden' > 'low' > 'out'" in str(error.value)
    g = amp.Graph()
    g.output("out", g.input("x") + g.add(Secret()))  # nothing of it is asked for
    recorded(g, x=X)


@pytest.mark.parametrize("late", [0.0, 1e-3])
def test_a_follower_at_rest_moves_with_its_target(late: float) -> None:
    """As differences say, whose step is far above the width of the dead band: the output is the target."""
    g = amp.Graph(sample_rate=1.0)
    g.output("out", g.add(nodes.Follower(0.5), g.input("x"), slew=1.0, acceleration=0.5))
    program, x = amp.compile(g), np.full((1, 1, 30), 0.5)
    x[..., 15:] += late  # rests, is moved, and rests
    weights = RNG.normal(size=x.shape)
    program.run({"x": x}, record=True)
    got = program.backward({"out": weights}).inputs["x"]
    slopes = np.empty_like(x)
    for frame in range(30):
        ends = []
        for step in (1e-5, -1e-5):
            moved = x.copy()
            moved[..., frame] += step
            program.reset()
            ends.append((program.run({"x": moved})["out"] * weights).sum())
        slopes[..., frame] = (ends[0] - ends[1]) / 2e-5
    np.testing.assert_allclose(got, slopes, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(got, weights, rtol=1e-12)


@pytest.mark.parametrize(
    "kind, channels",
    [
        (nodes.Switch(), 1),
        (nodes.Trigger(), 1),
        (Slow(), 1),
        (Squares(), 2),
    ],
)
def test_what_has_no_backward_pass_yet_is_refused_by_name(kind: NodeType, channels: int) -> None:
    g = amp.Graph()
    x = g.input("x", channels)
    made = g.add(kind, *[x] * len(type(kind).inlets), name="odd")
    stream = made[0] if isinstance(made, tuple) else made
    if type(kind).router:
        stream = amp.edge(stream, default=0.0)
    g.output("out", stream)
    program = amp.compile(g)
    array = RNG.normal(size=(1, channels, 8))
    with pytest.raises(NotDifferentiable, match=r"node '(odd|out)'"):
        program.run({"x": array}, record=True)
    program.run({"x": array})  # it runs all the same


def test_a_spread_of_more_than_a_sum_is_refused_by_name() -> None:
    g = amp.Graph()
    g.output("out", g.add(Halved(4, 2), g.add(nodes.Window(4, 2), g.input("x")), name="odd"))
    with pytest.raises(NotDifferentiable, match="node 'odd'"):
        recorded(g, x=X)


def test_what_nobody_hears_is_not_asked() -> None:
    g = amp.Graph()
    x = g.input("x")
    g.add(Mantissa(), x)
    g.output("out", 2.0 * x)
    gradients = recorded(g, x=X).backward({"out": X})
    assert_same_bits(gradients.inputs["x"], 2.0 * X)


def test_backward_goes_over_a_recorded_run() -> None:
    program = amp.compile(gain_graph())
    for _ in range(2):
        with pytest.raises(BadValue, match=r"call program\.run"):
            program.backward({"out": X})
        program.run({"x": X})


def test_runs_that_are_not_recorded_leave_the_last_recorded_one() -> None:
    g = amp.Graph()
    x = g.input("x")
    low = g.add(nodes.OnePole(), x * x, cutoff=amp.Param(900.0, name="cutoff"))
    g.output("out", g.add(nodes.Delay(3, delay=3.0), low))
    program = recorded(g, x=X)
    want = program.backward({"out": X})
    program.run({"x": 2.0 * X})
    assert_same_gradients(program.backward({"out": X}), want)
    program.reset()
    assert_same_gradients(program.backward({"out": X}), want)


@pytest.mark.parametrize(
    "cotangents, words",
    [
        ({"aut": X}, "of outputs of the graph"),
        ({"out": X[..., :7]}, "the cotangent of output 'out' is a real array"),
        ({"out": X[0]}, "expected: (1, 1, 8)"),
        ({"out": 1j * X}, "got: complex128"),
        (X, "cotangents are arrays by name"),
        ("out", "cotangents are arrays by name"),
        ({"out": np.ones((1, 2, 8))}, "got: float64 (1, 2, 8)"),
    ],
)
def test_wrong_cotangents_are_refused(cotangents: Any, words: str) -> None:
    program = recorded(gain_graph(), x=X)
    with pytest.raises(BadInput, match=re.escape(words)):
        program.backward(cotangents)
    assert_same_bits(program.backward({"out": X}).inputs["x"], 0.5 * X)


def test_outputs_left_out_have_no_cotangent() -> None:
    g = amp.Graph()
    x = g.input("x")
    g.output("one", 2.0 * x)
    g.output("two", 3.0 * x)
    program = recorded(g, x=X)
    assert_same_bits(program.backward({"two": X}).inputs["x"], 3.0 * X)
    assert_same_bits(program.backward({}).inputs["x"], 0.0 * abs(X))


def test_an_input_that_is_changed_after_the_run_changes_nothing() -> None:
    g = amp.Graph()
    x = g.input("x")
    g.output("out", x * x)
    given = X.copy()
    program = recorded(g, x=given)
    given[:] = np.nan
    np.testing.assert_allclose(program.backward({"out": X}).inputs["x"], 2.0 * X * X, rtol=1e-15)


@pytest.mark.parametrize("shape", [(), (1, 1), (3, 1), (1, 2), (3, 2)])
def test_a_param_has_the_sum_over_what_it_was_broadcast_to(shape: tuple[int, ...]) -> None:
    g = amp.Graph(batch=3)
    g.output("out", amp.Param(np.ones(shape), name="gain") * g.input("x", 2))
    x, cotangent = RNG.normal(size=(2, 3, 2, 8))
    got = recorded(g, x=x).backward({"out": cotangent}).params["gain"]
    lanes = (x * cotangent).sum(axis=2)
    axes = tuple(i for i in (0, 1) if not shape or shape[i] == 1)
    np.testing.assert_allclose(got, lanes.sum(axes).reshape(shape), atol=1e-13)


@pytest.mark.parametrize("batches", [(1, 2, 0), (0, 0, 2), (2, 2, 2)])
@pytest.mark.parametrize("back", [(), (3, 0)])
@pytest.mark.parametrize("block", [0, 4])
def test_cotangents_go_to_the_batch_they_came_from(
    batches: tuple[int, ...], back: tuple[int, ...], block: int
) -> None:
    """By the matrix of the map, made of the node's own runs."""
    g = amp.Graph(batch=3)
    g.output("out", g.add(nodes.Rearrange((1, 0), back, batches), g.input("x", 2)))
    program = amp.compile(g, amp.plan(g, block) if block else None)
    x, cotangent = RNG.normal(size=(2, 3, 2, 9))
    program.run({"x": x}, record=True)
    want = np.zeros_like(x)
    for to, source in enumerate(batches):
        for channel, late in zip((1, 0), back or (0, 0), strict=True):
            want[source, channel, : 9 - late] += cotangent[to, 1 - channel, late:]
    np.testing.assert_allclose(
        program.backward({"out": cotangent}).inputs["x"], want, rtol=1e-14, atol=1e-14
    )


def test_takes_of_different_batches_are_told_apart() -> None:
    class Batches(NodeType, register=False):
        """A stream and its batches the other way round, added. For tests."""

        inlets = (Inlet("input"),)

        def takes(self, widths: list[int]) -> list[Any]:
            return [amp.contract.Take((0,), (0,)), amp.contract.Take((0,), (0,), batch=(2, 1, 0))]

        def forward(self, b: Trace, x: Any, y: Any) -> Any:
            return x + y

    g = amp.Graph(batch=3)
    g.output("out", g.add(Batches(), g.input("x")))
    x, cotangent = RNG.normal(size=(2, 3, 1, 9))
    got = recorded(g, 9, x=x).backward({"out": cotangent}).inputs["x"]
    np.testing.assert_allclose(got, cotangent + cotangent[::-1], rtol=1e-15)


@pytest.mark.parametrize("source", [nodes.Noise(1), nodes.Constant(2.0)])
def test_tokens_in_flight_from_a_source_have_cotangents(source: NodeType) -> None:
    g = amp.Graph()
    g.input("x")
    g.output("out", amp.edge(g.add(source), initial=3, delay=1))
    gradients = recorded(g, x=X).backward({"out": X})
    assert_same_bits(gradients.state.edges["out", 0], X[..., :3])


@pytest.mark.parametrize("block", [0, 8])
def test_factors_that_were_in_flight_are_those_that_were_multiplied(block: int) -> None:
    g = amp.Graph()
    factor = amp.edge(g.add(nodes.Gain(gain=2.0), g.input("y")), initial=2)
    g.output("out", g.add(nodes.Multiply(), factor, g.input("x")))
    program = amp.compile(g, amp.plan(g, block) if block else None)
    y = RNG.normal(size=(1, 1, 21))
    program.run({"x": y[..., :5], "y": y[..., :5]})
    for begin in (5, 13):  # a second recording finds rings that the first has used
        now = y[..., begin : begin + 8]
        program.run({"x": now, "y": now}, record=True)
        got = program.backward({"out": np.ones_like(now)}).inputs["x"]
        assert_same_bits(got, 2.0 * y[..., begin - 2 : begin + 6])


@pytest.mark.parametrize("channels", [1, 2])
def test_of_a_faster_stream_read_by_the_clock_the_last_token_counts(channels: int) -> None:
    g = amp.Graph()
    x = g.input("x")
    fast = g.add(
        nodes.Window(3, 3), g.add(nodes.Hold(3), x)
    )  # three copies of a token, one a frame
    g.output("fast", fast)
    some = g.add(nodes.Multiply(), g.add(nodes.Hold(3), x), np.ones((1, channels)))
    g.output("out", amp.edge(some, delay=2, default=0.5))
    cotangent = RNG.normal(size=(1, channels, 8))
    got = recorded(g, x=X).backward({"out": cotangent}).inputs["x"]
    want = np.pad(cotangent.sum(axis=1, keepdims=True)[..., 2:], ((0, 0), (0, 0), (0, 2)))
    np.testing.assert_allclose(got, want, rtol=1e-14, atol=1e-14)


def test_readers_of_several_tokens_are_added_token_by_token() -> None:
    g = amp.Graph()
    both = g.add(nodes.Overlap(4, 2), g.add(nodes.Window(4, 2), g.input("x")))  # twice x, 2 late
    g.output("now", both)
    g.output("late", amp.edge(both, initial=3))
    now, late = RNG.normal(size=(2, 1, 1, 12))
    got = recorded(g, 12, x=RNG.normal(size=(1, 1, 12))).backward({"now": now, "late": late})
    want = np.zeros((1, 1, 12))
    want[..., :9] += 2.0 * now[..., 3:]  # which waits a frame for the first of them
    want[..., :7] += 2.0 * late[..., 5:]
    np.testing.assert_allclose(got.inputs["x"], want, rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("block", [0, 4, 16])
def test_what_several_firings_see_has_the_sum_of_their_cotangents(block: int) -> None:
    g = amp.Graph()
    g.output("out", g.add(Turns(), g.input("x")))
    program = amp.compile(g, amp.plan(g, block) if block else None)
    cotangent = RNG.normal(size=(1, 1, 11))
    y = program.run({"x": np.ones((1, 1, 11))}, record=True)["out"]
    assert y.ravel().tolist() == [0.0, *[2.0] * 10]  # the first two tokens are there in frame 1
    found = program.backward({"out": cotangent}).inputs["x"].ravel()
    pairs = cotangent[0, 0, 1:].reshape(5, 2).sum(1)
    np.testing.assert_allclose(found, [*np.repeat(pairs, 2), 0.0], rtol=1e-14)


def test_what_is_dealt_out_and_taken_in_turn_has_its_own_cotangents() -> None:
    g = amp.Graph()
    even, odd = g.add(nodes.Distributor(), g.input("x"))
    g.output("out", g.add(nodes.Commutator(), 2.0 * even, 3.0 * odd))
    program = amp.compile(g, amp.plan(g, 8))
    cotangent, factors = RNG.normal(size=(1, 1, 11)), np.resize([2.0, 3.0], 11)
    y = program.run({"x": np.ones((1, 1, 11))}, record=True)["out"]
    late = int(np.argmax(y != 0.0))  # frames that it takes
    found = program.backward({"out": cotangent}).inputs["x"]
    expected = np.zeros(11)
    expected[: 11 - late] = (cotangent[0, 0] * np.roll(factors, late))[late:]
    np.testing.assert_allclose(found[0, 0], expected, rtol=1e-15)


def test_a_cycle_of_one_count_is_a_rate() -> None:
    g = amp.Graph()
    g.output("out", g.add(Ring(), g.input("x")))
    assert_same_bits(recorded(g, x=X).backward({"out": X}).inputs["x"], 2.0 * X)


def late_graph(frames: int) -> amp.Graph:
    g = amp.Graph(1000.0)
    x = g.add(nodes.Function("tanh"), g.input("x"))
    g.output("out", g.add(nodes.Delay(frames, delay=float(frames)), x))
    return g


def kept(graph: amp.Graph, frames: int) -> int:
    """Bytes that a recorded run keeps besides its input."""
    program = amp.compile(graph, amp.plan(graph, 64))
    program.run({"x": np.zeros((1, 1, frames))}, record=True)
    tape = program._instance.tape
    return int(tape._last.nbytes + sum(store.nbytes for _, store in tape._pieces))


def test_a_long_line_is_not_kept_block_by_block() -> None:
    """What a block writes over is, whatever the line's length."""
    short, long = kept(late_graph(1024), 8192), kept(late_graph(65536), 8192)
    assert long <= 1.1 * short + 64
    assert long <= 8 * 8192 * 2 + 8192


def test_what_is_kept_grows_with_the_frames_and_not_with_their_square() -> None:
    once, twice = kept(late_graph(2048), 16384), kept(late_graph(2048), 32768)
    assert twice <= 2.1 * once


def test_a_parameter_that_was_set_is_the_one_gone_back_over() -> None:
    program = amp.compile(gain_graph())
    for value in (2.0, -3.0):
        program.set("gain", value)
        program.run({"x": X}, record=True)
        assert_same_bits(program.backward({"out": X}).inputs["x"], value * X)
    program.set("gain", 7.0)  # after the run
    assert_same_bits(program.backward({"out": X}).inputs["x"], -3.0 * X)


def test_clones_record_on_their_own() -> None:
    program = recorded(gain_graph(), x=X)
    want = program.backward({"out": X})
    other = program.clone()
    with pytest.raises(BadValue, match="the last recorded run"):
        other.backward({"out": X})
    other.run({"x": 3.0 * X}, record=True)
    other.backward({"out": X})
    assert_same_gradients(program.backward({"out": X}), want)


def test_what_came_later_reaches_every_inlet_of_a_node() -> None:
    g = amp.Graph()
    g.output("out", g.add(Pair(), g.input("x"), g.input("y")))
    program = amp.compile(g)
    inputs = {name: RNG.normal(size=(1, 1, 8)) for name in "xy"}
    cotangent = RNG.normal(size=(1, 1, 8))
    program.run(inputs, record=True)
    want = program.backward({"out": cotangent})
    first, second = ({n: a[..., s] for n, a in inputs.items()} for s in (np.s_[:4], np.s_[4:]))
    program.reset()
    program.run(first)
    program.run(second, record=True)
    later = program.backward({"out": cotangent[..., 4:]}).state
    program.reset()
    program.run(first, record=True)
    got = program.backward({"out": cotangent[..., :4]}, later=later)
    for name in "xy":
        np.testing.assert_allclose(got.inputs[name], want.inputs[name][..., :4], rtol=1e-14)


def test_a_router_that_nobody_hears_is_refused_too() -> None:
    g = amp.Graph()
    x = g.input("x")
    g.output("out", 2.0 * x)
    g.probe(amp.edge(g.add(nodes.Trigger(), x, control=x), default=0.0), "seen")
    with pytest.raises(NotDifferentiable, match="depends on data"):
        amp.compile(g).run({"x": RNG.normal(size=(1, 1, 64))}, record=True)


def test_the_cotangent_of_a_param_has_the_shape_of_its_present_value() -> None:
    g = amp.Graph(batch=2)
    g.output("out", amp.Param(np.array([[1.0, 2.0]]), name="gain") * g.input("x", channels=2))
    program = amp.compile(g)
    ones = np.ones((2, 2, 3))
    program.run({"x": ones}, record=True)
    program.set("gain", np.array([[1.0], [2.0]]))  # the same bytes
    program.run({"x": ones}, record=True)
    gradients = program.backward({"out": ones})
    np.testing.assert_array_equal(gradients.inputs["x"][..., 0], [[1.0, 1.0], [2.0, 2.0]])
    np.testing.assert_array_equal(gradients.params["gain"], [[6.0], [6.0]])


@pytest.mark.parametrize("later", [{}, "state", None])
def test_later_is_the_state_of_this_graph_at_this_clock(later: Any) -> None:
    program, other = (amp.compile(gain_graph()) for _ in range(2))
    for some in (program, other):
        some.run({"x": X}, record=True)
    if later is None:  # of its beginning, and not of its end
        later = other.backward({"out": X}).state
    with pytest.raises(BadInput, match="later is what backward gave"):
        program.backward({"out": X}, later=later)


def test_what_a_node_begins_with_counts_where_set_moves_it() -> None:
    """From clock 0; a node that a swap has brought has begun, so its state is what can be moved."""

    def tone(name: str) -> amp.Graph:
        g = amp.Graph()
        phase = amp.Param(0.1, name="phase")
        g.output("out", g.input("x") + g.add(nodes.Sine(phase=phase), 300.0, name=name))
        return g

    program = amp.compile(tone("first"))
    program.run({"x": X}, record=True)
    weights = {"out": RNG.normal(size=X.shape)}
    assert abs(program.backward(weights).params["phase"]) > 1e-3
    program.swap(tone("second"))
    begin = program.state()
    program.run({"x": X}, record=True)
    gradients = program.backward(weights)
    program.restore(begin)
    unmoved = program.run({"x": X})["out"]
    program.restore(begin)
    program.set("phase", 0.2)
    np.testing.assert_array_equal(program.run({"x": X})["out"], unmoved)
    assert gradients.params["phase"] == 0.0
    angles = 2.0 * np.pi * (0.1 + 300.0 / 48_000.0 * np.arange(X.shape[2]))
    slope = (weights["out"] * 2.0 * np.pi * np.cos(angles)).sum()
    assert gradients.state.nodes["second"]["phase"].item() == pytest.approx(slope, rel=1e-9)
