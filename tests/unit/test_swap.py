"""Swaps: what is kept, what is heard, what is refused, and what a real-time loop notices."""

from __future__ import annotations

import itertools
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from bits import Array, assert_same_bits, assert_same_runs

import amp
from amp import nodes
from amp.errors import (
    BadGraph,
    BadInput,
    BadState,
    BadValue,
    Deadlock,
    IllegalSchedule,
    ProgramBusy,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from amp.graph import Stream
    from amp.program import Program

ENGINES = ["kpn", "ipls"]
X = np.random.default_rng(5).normal(size=(2, 1, 6000))


def compiled(engine: str, graph: amp.Graph, **more: Any) -> Program:
    return amp.compile(graph, amp.plan(graph, 64, 4) if engine == "ipls" else None, **more)


def voice(
    cutoff: float = 700.0, *, mode: str = "lowpass", late: int = 0, extra: bool = False
) -> amp.Graph:
    """Something of everything: phases, filter states, a line, noise, an echo, a delayed edge."""
    g = amp.Graph(batch=2)
    x = g.input("x")
    saw = g.add(nodes.Saw(phase=0.2), 220.0, name="saw")
    noise = g.add(nodes.Noise(3), name="noise")
    sum_ = g.add(nodes.Mix(), amp.edge(x, delay=late), saw, noise, name="sum")
    low = g.add(
        nodes.StateVariable(mode), sum_, cutoff=amp.Param(cutoff, name="cutoff"), name="low"
    )
    line = g.add(nodes.Delay(50, delay=40.0), low, name="line")
    loop = g.feedback()
    y = g.add(nodes.Add(), line, 0.5 * amp.edge(loop, initial=30), name="y")
    loop.connect(y)
    g.output("out", amp.edge(y, delay=11))
    if extra:
        g.output("extra", g.add(nodes.Sine(), 100.0))
    return g


def in_pieces(program: Program, x: Array, pieces: list[int]) -> dict[str, Array]:
    ends = np.cumsum([0, *pieces])
    runs = [program.run({"x": x[..., a:b]}) for a, b in pairwise(ends)]
    return {name: np.concatenate([r[name] for r in runs], axis=2) for name in runs[-1]}


def one(frames: int, value: float = 1.0) -> Array:
    return np.full((1, 1, frames), value)


def mono(make: Callable[[amp.Graph, Stream], Any]) -> amp.Graph:
    g = amp.Graph()
    g.output("out", make(g, g.input("x")))
    return g


# ---- what is kept


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("crossfade", [0, 1, 100, 5000])
def test_the_same_graph_goes_on_as_if_nothing_had_been(engine: str, crossfade: int) -> None:
    """Mixed with itself, in native code, a signal stays what it is to the bit."""
    want = compiled("kpn", voice()).run({"x": X})
    program = compiled(engine, voice())
    first = program.run({"x": X[..., :777]})
    program.swap(voice(), crossfade=crossfade)
    assert program.clock == 777
    rest = in_pieces(program, X[..., 777:], [1, 50, 49, 1, 2000, 3122])
    assert_same_bits(np.concatenate([first["out"], rest["out"]], axis=2), want["out"])


@pytest.mark.parametrize("engine", ENGINES)
def test_oscillators_filters_lines_and_echoes_go_on_in_another_graph(engine: str) -> None:
    """A swap to another filter constant is what setting a parameter is."""
    program, want = compiled(engine, voice()), compiled("kpn", voice())
    for p in (program, want):
        p.run({"x": X[..., :1000]})
    other = voice(2000.0)
    program.swap(other)
    want.set("cutoff", 2000.0)
    assert_same_runs(program.run({"x": X[..., 1000:]}), want.run({"x": X[..., 1000:]}))
    assert program.schedule is None or program.schedule.block == 64


@pytest.mark.parametrize("engine", ENGINES)
def test_every_engine_swaps_to_the_same_bits(engine: str) -> None:
    """Between graphs that differ in delays, nodes and names, with and without a crossfade."""
    graphs = [voice(), voice(mode="bandpass", late=70), voice(extra=True), voice(late=3)]
    runs = []
    for kind, pieces in (("kpn", [500]), (engine, [1, 99, 400])):
        program = compiled(kind, graphs[0])
        heard = [in_pieces(program, X[..., :500], pieces)["out"]]
        for i, graph in enumerate(graphs[1:]):
            program.swap(graph, crossfade=(0, 120, 450)[i])
            at = program.clock
            heard.append(in_pieces(program, X[..., at : at + 500], pieces)["out"])
        runs.append(np.concatenate(heard, axis=2))
    assert_same_bits(runs[1], runs[0])


def test_states_of_another_type_name_or_width_start_fresh() -> None:
    def counter(kind: amp.NodeType, name: str) -> amp.Graph:
        return mono(lambda g, x: g.add(kind, x, name=name))

    program = amp.compile(counter(Count(), "count"))
    assert program.run({"x": one(3)})["out"].ravel().tolist() == [1, 2, 3]
    program.swap(counter(Count(), "count"))
    assert program.run({"x": one(2)})["out"].ravel().tolist() == [4, 5]
    program.swap(counter(Count(), "other"))
    assert program.run({"x": one(2)})["out"].ravel().tolist() == [1, 2]
    program.swap(counter(Count2(), "other"))
    assert program.run({"x": one(2)})["out"].ravel().tolist() == [2, 4]
    wide = mono(lambda g, x: g.add(Count2(), g.add(nodes.Concat(), x, x), name="other"))
    program.swap(mono(lambda g, x: g.add(nodes.Gain(), x)))
    with pytest.raises(BadGraph, match="as many channels"):
        program.swap(wide)
    assert program.run({"x": one(2)})["out"].ravel().tolist() == [1, 1]


class Count(amp.NodeType):
    """Running sum. For tests."""

    inlets = (amp.Inlet("input"),)

    def forward(self, b: Any, x: Any) -> Any:
        total = b.state("total") + x
        b.next("total", total)
        return total


class Count2(amp.NodeType):
    """Twice the running sum. For tests."""

    inlets = (amp.Inlet("input"),)

    def forward(self, b: Any, x: Any) -> Any:
        total = b.fma(2.0, x, b.state("total"))
        b.next("total", total)
        return total


def test_a_line_of_another_length_keeps_its_newest_values() -> None:
    def line(longest: int, delay: float) -> amp.Graph:
        return mono(lambda g, x: g.add(nodes.Delay(longest, delay=delay), x, name="line"))

    ramp = np.arange(1.0, 41.0).reshape(1, 1, 40)
    program = amp.compile(line(8, 8.0))
    program.run({"x": ramp[..., :20]})
    program.swap(line(16, 8.0))
    assert program.run({"x": ramp[..., 20:24]})["out"].ravel().tolist() == [13, 14, 15, 16]
    program.swap(line(16, 16.0))  # what was written before the longer line is silence
    assert program.run({"x": ramp[..., 24:30]})["out"].ravel().tolist() == [0, 0, 11, 12, 13, 14]
    program.swap(line(4, 2.0))
    assert program.run({"x": ramp[..., 30:33]})["out"].ravel().tolist() == [29, 30, 31]


@pytest.mark.parametrize("engine", ENGINES)
def test_another_latency_leaves_a_gap_or_skips(engine: str) -> None:
    """Tokens in flight are the newest ones that were written."""

    def late(delay: int) -> amp.Graph:
        return mono(lambda g, x: amp.edge(x, delay=delay))

    ramp = np.arange(1.0, 101.0).reshape(1, 1, 100)
    program = compiled(engine, late(5))
    program.run({"x": ramp[..., :20]})
    program.swap(late(8))
    assert program.latency == {"out": 8}
    got = program.run({"x": ramp[..., 20:30]})["out"].ravel().tolist()
    assert got == [0, 0, 0, 16, 17, 18, 19, 20, 21, 22]
    program.swap(late(2))
    got = program.run({"x": ramp[..., 30:34]})["out"].ravel().tolist()
    assert got == [29, 30, 31, 32]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_new_loop_sounds_with_its_initial_tokens(engine: str) -> None:
    """A string that is added to a running graph is plucked then, and not at clock 0."""
    pluck = np.array([[[4.0, 2.0, 1.0]]])

    def strings(count: int) -> amp.Graph:
        g = amp.Graph()
        out = g.input("x")
        for i in range(count):
            loop = g.feedback()
            string = g.add(nodes.Gain(gain=0.5), amp.edge(loop, initial=pluck), name=f"string {i}")
            loop.connect(string)
            out = out + string
        g.output("out", out)
        return g

    program = compiled(engine, strings(1))
    first = program.run({"x": one(200, 0.0)})["out"]
    assert first[0, 0, :6].tolist() == [2.0, 1.0, 0.5, 1.0, 0.5, 0.25]
    program.swap(strings(2))
    second = program.run({"x": one(6, 0.0)})["out"][0, 0]
    np.testing.assert_allclose(second, first[0, 0, :6], rtol=1e-12)


def test_an_edge_to_a_new_reader_has_what_its_producer_wrote() -> None:
    """A node put into the middle of a delayed path leaves no gap."""
    program = amp.compile(mono(lambda g, x: amp.edge(x, delay=5)))
    ramp = np.arange(1.0, 41.0).reshape(1, 1, 40)
    program.run({"x": ramp[..., :20]})
    program.swap(mono(lambda g, x: g.add(nodes.Gain(gain=10.0), amp.edge(x, delay=5))))
    got = program.run({"x": ramp[..., 20:23]})["out"].ravel().tolist()
    assert got == [160, 170, 180]


@pytest.mark.parametrize("engine", ENGINES)
def test_parameters_that_were_set_stay_where_they_fit(engine: str) -> None:
    def gains(**values: Any) -> amp.Graph:
        def make(g: amp.Graph, x: Any) -> Any:
            for name, value in values.items():
                x = g.add(nodes.Gain(), x, gain=amp.Param(value, name=name), name=name)
            return x

        return mono(make)

    program = compiled(engine, gains(a=1.0, b=2.0, c=3.0))
    program.set("a", 5.0)
    program.set("b", [[7.0]])
    program.run({"x": one(3)})
    program.swap(gains(a=1.5, b=2.5, c=4.0, d=1.0))
    assert {n: v.item() for n, v in program.params.items()} == {"a": 5, "b": 7, "c": 4, "d": 1}
    assert (program.run({"x": one(2)})["out"] == 5 * 7 * 4).all()
    g = mono(lambda g, x: g.add(nodes.OnePole(), x, cutoff=amp.Param(99.0, name="a")))
    program.set("a", -1.0)
    program.swap(g)  # -1 is no cutoff
    assert program.params == {"a": 99.0}
    assert program.clone().params == {"a": 99.0}


def test_a_swap_at_clock_0_is_a_fresh_program() -> None:
    program = amp.compile(voice())
    program.swap(voice(900.0, mode="highpass", late=9))
    want = amp.compile(voice(900.0, mode="highpass", late=9))
    assert program.latency == want.latency
    assert_same_runs(program.run({"x": X}), want.run({"x": X}))


@pytest.mark.parametrize("engine", ENGINES)
def test_engine_and_options_carry_over(engine: str) -> None:
    program = compiled(engine, voice(), timing=True)
    program.swap(voice(extra=True))
    assert (program.schedule is None) == (engine == "kpn")
    program.run({"x": X})
    assert any(row.frames for row in program.timing)
    if program.schedule is not None:
        widths = {c.width for _, stage, _ in program.schedule.walk() for c in stage.cohorts}
        assert (program.schedule.block, widths) == (64, {4})
    mine = amp.plan(voice(), 16, 8)
    program.swap(voice(), mine)
    assert program.schedule == mine
    program.swap(voice(mode="peak"))
    assert program.schedule == mine, "a schedule that fits is kept"
    assert_same_runs(program.clone().run({"x": X}), amp.compile(voice(mode="peak")).run({"x": X}))


# ---- the crossfade


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("frames", [1, 7, 480])
def test_no_click_is_beyond_the_bound(engine: str, frames: int) -> None:
    """A step is at most the greater one of both signals and their distance by the length."""
    old, new = voice(300.0), voice(5000.0, mode="highpass", late=40)
    program = compiled(engine, old)
    sides = [compiled(engine, old), compiled(engine, old)]
    for p in (program, *sides):
        p.run({"x": X[..., :999]})
    before = program.run({"x": X[..., 999:1000]})["out"]
    for p in sides:
        p.run({"x": X[..., 999:1000]})
    program.swap(new, crossfade=frames)
    sides[1].swap(new)
    rest = {"x": X[..., 1000:2000]}
    heard, a, b = (p.run(rest)["out"] for p in (program, *sides))
    assert_same_bits(heard[..., frames:], b[..., frames:], "the new one alone")
    assert_same_bits(heard[..., :1], a[..., :1], "begins with the old one")
    w = np.minimum(np.arange(1000) / frames, 1.0)
    np.testing.assert_allclose(heard, (1 - w) * a + w * b, rtol=0, atol=1e-14)
    a, b, heard = (np.concatenate([before, y], axis=2) for y in (a, b, heard))
    steps = [np.abs(np.diff(y[..., : frames + 2])) for y in (heard, a, b)]
    steps[2][..., 0] = 0.0  # the new one was not heard before
    apart = np.abs(b - a)[..., 1 : frames + 2].max()
    assert (steps[0] <= np.maximum(steps[1], steps[2]) + apart / frames + 1e-14).all()


@pytest.mark.parametrize("engine", ENGINES)
def test_a_fade_follows_the_clock_and_not_the_calls(engine: str) -> None:
    runs = []
    for pieces in ([5000], [1] * 99 + [1, 4900], [300, 4500, 200], [99, 2, 4899]):
        program = compiled(engine, voice())
        program.run({"x": X[..., :1000]})
        program.swap(voice(mode="highpass", late=30), crossfade=4700)
        runs.append(in_pieces(program, X[..., 1000:], pieces))
    for run in runs[1:]:
        assert_same_runs(run, runs[0])


def test_outputs_of_one_side_come_from_silence_and_go_there() -> None:
    def constants(**outputs: float) -> amp.Graph:
        g = amp.Graph()
        x = g.input("x")
        for name, value in outputs.items():
            g.output(name, value * x)
        return g

    program = amp.compile(constants(stays=1.0, goes=8.0))
    program.run({"x": one(5)})
    program.swap(constants(comes=4.0, stays=3.0), crossfade=4)
    assert program.latency == {"comes": 0, "stays": 0, "goes": 0}
    first = program.run({"x": one(1)})
    second = program.run({"x": one(5)}, out={"goes": np.full((1, 1, 5), np.nan)})
    both = {name: [*first[name].ravel(), *second[name].ravel()] for name in first}
    assert both == {
        "comes": [0, 1, 2, 3, 4, 4],
        "stays": [1, 1.5, 2, 2.5, 3, 3],
        "goes": [8, 6, 4, 2, 0, 0],
    }
    assert set(program.run({"x": one(1)})) == {"comes", "stays"} == set(program.latency)
    program.swap(constants(stays=1.0))
    assert set(program.run({"x": one(1)})) == {"stays"}


def test_the_new_latency_is_silent_while_the_old_graph_fades() -> None:
    program = amp.compile(mono(lambda g, x: x))
    program.run({"x": one(2)})
    program.swap(mono(lambda g, x: g.add(nodes.Gain(), amp.edge(x, delay=6))), crossfade=4)
    got = program.run({"x": one(8)})["out"].ravel().tolist()
    assert got == [1, 0.75, 0.5, 0.25, 0, 0, 1, 1]


def test_during_a_fade_the_program_does_or_says_why_not() -> None:
    program = amp.compile(voice())
    program.run({"x": X[..., :100]})
    program.swap(voice(mode="highpass"), crossfade=1000)
    program.run({"x": X[..., 100:300]})
    with pytest.raises(BadState, match="crossfade has two"):
        program.state()
    with pytest.raises(ProgramBusy, match="when its last crossfade is over") as caught:
        program.swap(voice())
    assert "800 frames" in str(caught.value)
    want = amp.compile(voice(mode="highpass"))
    assert_same_runs(program.clone().run({"x": X}), want.run({"x": X}), "a clone")
    program.run({"x": X[..., 300:1100]})
    program.state()
    program.swap(voice(), crossfade=1000)
    program.run({"x": X[..., 1100:1200]})
    program.reset()
    assert_same_runs(program.run({"x": X}), amp.compile(voice()).run({"x": X}), "a reset")
    program.reset()
    program.run({"x": X[..., :100]})
    state = program.state()
    program.swap(voice(), crossfade=1000)
    program.restore(state)
    program.swap(voice(), crossfade=1000)
    assert_same_runs(program.render({"x": X}), amp.compile(voice()).render({"x": X}), "a render")
    assert program.state().clock == X.shape[2] + max(program.latency.values())


def test_a_parameter_set_during_a_fade_is_heard_on_both_sides() -> None:
    def gain(factor: float) -> amp.Graph:
        level = amp.Param(1.0, name="level")
        return mono(lambda g, x: g.add(nodes.Gain(), factor * x, gain=level))

    program = amp.compile(gain(2.0))
    program.run({"x": one(5)})
    program.swap(gain(4.0), crossfade=4)
    program.set("level", 10.0)
    assert program.run({"x": one(5)})["out"].ravel().tolist() == [20, 25, 30, 35, 40]


def test_an_interrupted_fade_is_over() -> None:
    program = amp.compile(voice())
    program.run({"x": X[..., :100]})
    program.swap(voice(mode="highpass"), crossfade=50_000)

    def stop(_done: int, _total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        program.run({"x": X}, progress=stop)
    state, rest = program.state(), {"x": X[..., program.clock :]}
    other = amp.compile(voice(mode="highpass"))
    other.restore(state)
    assert_same_runs(program.run(rest), other.run(rest))


# ---- what is refused, and changes nothing


def changed(name: str) -> tuple[Any, ...]:
    g = amp.Graph(44_100, batch=2) if name == "rate" else amp.Graph(batch=2 + (name == "batch"))
    x = g.input("z" if name == "input" else "x", 2 if name == "channels" else 1)
    if name == "output":
        x = g.add(nodes.Stack(), x, x)
    if name == "deadlock":
        loop = g.feedback()
        x = g.add(nodes.Add(), x, loop)
        loop.connect(x)
    g.output("out", x)
    if name == "schedule":
        return g, amp.plan(voice())
    return (g,)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_refused_swap_changes_nothing(engine: str) -> None:
    program, want = compiled(engine, voice()), compiled(engine, voice()).run({"x": X})
    first = program.run({"x": X[..., :1000]})
    for arguments, more, error, words in [
        (changed("rate"), {}, BadGraph, "keeps the sample rate"),
        (changed("batch"), {}, BadGraph, "keeps the batch"),
        (changed("input"), {}, BadGraph, "keeps the inputs"),
        (changed("channels"), {}, BadGraph, "keeps the inputs"),
        (changed("output"), {}, BadGraph, "as many channels as before: 'out'"),
        (changed("deadlock"), {}, Deadlock, "a cycle holds"),
        (changed("schedule"), {}, IllegalSchedule, "does not fit"),
        ((amp.Graph(batch=2),), {}, BadGraph, "keeps the inputs"),
        (("graph",), {}, BadGraph, "swapped for a graph"),
        ((voice(), "plan"), {}, BadValue, "ipls is an amp.IPLS"),
        ((voice(),), {"crossfade": -1}, BadValue, "a crossfade is a whole number"),
        ((voice(),), {"crossfade": 1.5}, BadValue, "a crossfade is a whole number"),
    ]:
        with pytest.raises(error, match=words):
            program.swap(*arguments, **more)
    rest = program.run({"x": X[..., 1000:]})
    assert_same_bits(np.concatenate([first["out"], rest["out"]], axis=2), want["out"])


def test_a_swap_from_within_a_run_is_refused() -> None:
    program = amp.compile(voice())
    caught: list[str] = []

    def progress(_done: int, _total: int) -> None:
        with pytest.raises(ProgramBusy) as error:
            program.swap(voice())
        caught.append(error.value.rule)

    program.run({"x": X}, progress=progress)
    assert set(caught) == {"a program is not swapped from within its own run"}
    program.swap(voice())


# ---- beside a loop that runs blocks


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("crossfade", [0, 300])
def test_a_loop_in_another_thread_never_notices(engine: str, crossfade: int) -> None:
    """Swaps to the same graph while blocks run: no block is refused, and no bit changes."""
    program = compiled(engine, voice())
    stop = threading.Event()
    swaps: set[int] = set()

    def control() -> None:
        while not stop.is_set():
            try:
                program.swap(voice(), crossfade=crossfade)
            except ProgramBusy:  # the last crossfade is not over
                time.sleep(0.001)
            else:
                swaps.add(program.clock)

    heard = []
    with ThreadPoolExecutor() as threads:
        controls = threads.submit(control)
        fed = itertools.cycle(range(0, X.shape[2], 50))
        deadline = time.monotonic() + 20
        try:
            while len(swaps) < 5 and time.monotonic() < deadline and not controls.done():
                at = next(fed)
                heard.append(program.run({"x": X[..., at : at + 50]})["out"])
        finally:
            stop.set()
    controls.result()
    assert len(swaps) >= 5
    whole = np.concatenate(heard, axis=2)
    fed_again = np.tile(X, (1, 1, -(-whole.shape[2] // X.shape[2])))[..., : whole.shape[2]]
    assert_same_bits(whole, amp.compile(voice()).run({"x": fed_again})["out"])


def test_a_swap_waits_for_the_run_and_two_do_not_mix() -> None:
    program = amp.compile(voice())
    ends: list[int] = []
    with ThreadPoolExecutor() as threads:
        swap: Future[None] | None = None

        def progress(done: int, _total: int) -> None:
            nonlocal swap
            if swap is None:
                swap = threads.submit(program.swap, voice(extra=True))
                time.sleep(0.3)  # compiled or not, it waits
                with pytest.raises(ProgramBusy, match="swapped by one thread at a time"):
                    threads.submit(program.swap, voice()).result()
            assert not swap.done()
            ends.append(done)

        program.run({"x": X}, progress=progress)
        assert swap is not None
        swap.result(10)
    assert ends[-1] == X.shape[2]
    assert set(program.run({"x": X})) == {"out", "extra"}
    with pytest.raises(BadInput):
        program.run({})
