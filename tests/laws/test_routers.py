"""The laws that routers are asked: node types whose rates depend on data."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from bits import Array, assert_same_bits

import amp
from amp import nodes
from amp.errors import ArenaExhausted, BadGraph, BadNode, BadValue, PortMismatch, ProgramBusy

if TYPE_CHECKING:
    from amp.contract import NodeType
    from amp.program import Program

FRAMES = 700
ROUTERS = {name: kind for name, kind in nodes.NODE_TYPES.items() if kind.router}
SAMPLES = {
    f"{name}.{i}": node for name, kind in ROUTERS.items() for i, node in enumerate(kind.samples())
}


def graph(node: NodeType, channels: int = 2) -> amp.Graph:
    """``node`` alone; each outlet is heard beside a count of its tokens."""
    g = amp.Graph()
    taken: dict[str, Any] = {
        inlet.name: g.input(inlet.name, inlet.channels or channels) for inlet in type(node).inlets
    }
    outlets = g.add(node, **taken)
    for name, stream in zip(
        type(node).outlets, outlets if isinstance(outlets, tuple) else (outlets,), strict=True
    ):
        back = g.feedback()
        ones = g.add(nodes.Clip(low=1.0, high=1.0), g.add(nodes.Rearrange((0,)), stream))
        count = ones + amp.edge(back, initial=1)
        back.connect(count)
        g.output(name, amp.edge(stream, default=0.25))
        g.output(f"{name} count", amp.edge(count, default=0.0))
    return g


def signals(node: NodeType, seed: int = 3, frames: int = FRAMES) -> dict[str, Array]:
    """Noise; controls stay for some frames on either side of 0, or on it."""
    rng = np.random.default_rng(seed)
    made: dict[str, Array] = {}
    for inlet in type(node).inlets:
        x = rng.normal(size=(1, inlet.channels or 2, frames))
        if inlet.name == "control":
            held = np.repeat(
                rng.integers(-1, 2, (1, 1, frames)), rng.integers(1, 9, frames), axis=2
            )
            x = np.where(rng.random(frames) < 0.02, np.nan, held[..., :frames])
        made[inlet.name] = x
    return made


def expected(node: NodeType, inputs: dict[str, Array]) -> dict[str, Array]:
    """What is heard, from the node's reference of every beginning of the inputs."""
    names = type(node).outlets
    out = {name: np.full((1, 2, FRAMES), 0.25) for name in names}
    out |= {f"{name} count": np.zeros((1, 1, FRAMES)) for name in names}
    for t in range(FRAMES):
        until = {name: x[..., : t + 1] for name, x in inputs.items()}
        results = node.reference(48_000.0, t + 1, **until)
        for name, tokens in zip(
            names, results if isinstance(results, tuple) else (results,), strict=True
        ):
            if count := tokens.shape[2]:
                out[name][..., t] = tokens[..., -1]
            out[f"{name} count"][..., t] = count
    return out


def run(program: Program, inputs: dict[str, Array], pieces: tuple[int, ...]) -> dict[str, Array]:
    parts, at = [], 0
    for piece in pieces:
        parts.append(program.run({n: x[..., at : at + piece] for n, x in inputs.items()}))
        at += piece
    assert at == FRAMES
    return {name: np.concatenate([part[name] for part in parts], axis=2) for name in parts[0]}


@pytest.mark.parametrize("threads", [1, 2, 4, 8])
@pytest.mark.parametrize("name", SAMPLES)
def test_routed_equals_reference(name: str, threads: int) -> None:
    """L1, L3 and L4, on any number of threads."""
    node = SAMPLES[name]
    inputs = signals(node)
    want = expected(node, inputs)
    program = amp.compile(graph(node), threads=threads)
    for pieces in ((FRAMES,), (1, 63, 64, 2, 570), (350, 350)):
        got = run(program, inputs, pieces)
        for port, array in want.items():
            assert_same_bits(got[port], array, f"{port}, pieces {pieces}")
        program.reset()


@pytest.mark.parametrize("name", SAMPLES)
def test_a_snapshot_goes_on(name: str) -> None:
    node = SAMPLES[name]
    inputs = signals(node)
    giver = amp.compile(graph(node))
    want = run(giver, inputs, (FRAMES,))
    giver.reset()
    for at in (0, 1, 100, 333):
        giver.reset()
        if at:
            giver.run({n: x[..., :at] for n, x in inputs.items()})
        state = giver.state()
        taker = giver.clone()
        taker.run(signals(node, 9))
        taker.restore(state)
        assert taker.clock == at
        rest = taker.run({n: x[..., at:] for n, x in inputs.items()})
        for port, array in want.items():
            assert_same_bits(rest[port], array[..., at:], f"{port} from {at}")


def test_a_path_around_a_switch_keeps_the_order_of_tokens() -> None:
    """What goes either way through delays comes back in the order of the control."""
    g = amp.Graph()
    x, control = g.input("x"), g.input("control")
    up, down = g.add(nodes.Switch(), x, control)
    late = g.add(nodes.Gain(), amp.edge(down, delay=13), gain=-1.0)
    y = g.add(nodes.Select(), g.add(nodes.Gain(), up, gain=10.0), late, control)
    count = g.feedback()
    total = y + amp.edge(count, initial=1)
    count.connect(total)
    g.output("out", amp.edge(y, default=0.0))
    rng = np.random.default_rng(0)
    a, c = rng.normal(size=(1, 1, 500)), rng.normal(size=(1, 1, 500))
    out = amp.compile(g).run({"x": a, "control": c})["out"][0, 0]
    # token k is visible from the clock at which it, and all before it, are
    clocks = np.maximum.accumulate(np.arange(500) + np.where(c[0, 0] > 0, 0, 13))
    tokens = np.where(c[0, 0] > 0, 10.0, -1.0) * a[0, 0]
    newest = np.searchsorted(clocks, np.arange(500), side="right") - 1
    assert np.array_equal(out, np.where(newest >= 0, tokens[newest], 0.0))


def test_a_loop_through_the_clock_goes_frame_by_frame() -> None:
    """What a trigger lets through is subtracted from its control, a frame later, until the next one."""
    g = amp.Graph()
    pulse, level = g.feedback(), g.feedback()
    pull = g.add(nodes.Gain(), amp.edge(pulse, delay=1, default=0.0), gain=0.75)
    moved = g.input("x") + 0.5 * amp.edge(level, initial=1) - pull
    level.connect(moved)
    pulse.connect(g.add(nodes.Trigger(), moved, control=moved))
    g.output("level", moved)
    x = np.random.default_rng(5).normal(size=300)
    got = amp.compile(g).run({"x": x.reshape(1, 1, -1)})["level"][0, 0]
    y = held = 0.0
    want = []
    for sample in x:
        before, y = y, sample + 0.5 * y - 0.75 * held
        want.append(y)
        if y > 0 and not before > 0:
            held = y
    assert np.array_equal(got, want)


@pytest.mark.parametrize("first", ["a", "b"])
def test_reads_of_one_loop_follow_each_other_within_a_frame(first: str) -> None:
    """Whichever reader was made first: ``a[t] = x[t] + b[t] / 2; b[t] = x[t] - a[t - 1] / 2``."""
    g = amp.Graph()
    x = g.input("x")
    back = {"a": g.feedback(), "b": g.feedback()}
    made = {}
    for name in sorted(back, reverse=first == "b"):
        if name == "a":
            made["a"] = x + 0.5 * amp.edge(back["b"], default=0.0)
        else:
            made["b"] = x - 0.5 * amp.edge(back["a"], delay=1, default=0.25)
    always = g.add(nodes.Clip(low=1.0, high=1.0), x)
    for name, stream in made.items():
        back[name].connect(g.add(nodes.Switch(), stream, always)[0])
        g.output(name, stream)
    signal = np.random.default_rng(2).normal(size=200)
    got = amp.compile(g).run({"x": signal.reshape(1, 1, -1)})
    a, want = 0.25, []
    for sample in signal:
        b = sample - 0.5 * a
        a = sample + 0.5 * b
        want.append((a, b))
    assert np.array_equal(np.stack([got["a"][0, 0], got["b"][0, 0]], axis=1), want)


@pytest.mark.parametrize("initial", [0, 1])
def test_a_read_that_waits_for_itself_is_refused(initial: int) -> None:
    g = amp.Graph()
    x = g.input("x")
    back = g.feedback()
    y = x + 0.5 * amp.edge(back, default=0.0, initial=initial)
    back.connect(g.add(nodes.Switch(), y, x, name="ways")[0])
    g.output("out", y)
    with pytest.raises(amp.errors.Deadlock, match="has a frame of delay") as caught:
        amp.compile(g)
    assert "'ways' -> 'multiply.0'" in str(caught.value)


@pytest.mark.parametrize("delay", [0, 1, 5, 70])
def test_who_starts_late_reads_what_is_visible_then(delay: int) -> None:
    """A node that waits for another inlet reads by its own clock, and not by the run's."""
    g = amp.Graph()
    x, control = g.input("x"), g.input("control")
    up, _ = g.add(nodes.Switch(), x, control)
    g.output("out", g.add(nodes.Add(), amp.edge(x, delay=delay), amp.edge(up, default=0.25)))
    rng = np.random.default_rng(7)
    a, c = rng.normal(size=(2, 300))
    out = amp.compile(g).run({"x": a.reshape(1, 1, -1), "control": c.reshape(1, 1, -1)})["out"]
    newest = np.maximum.accumulate(np.where(c > 0, np.arange(300), -1))
    heard = np.where(newest >= 0, a[newest], 0.25)
    want = np.concatenate([np.zeros(delay), a[: 300 - delay] + heard[delay:]])
    assert np.array_equal(out[0, 0], want)


def test_who_reads_several_tokens_gets_the_newest() -> None:
    """Tokens of the stream, not what was newest at earlier firings."""
    g = amp.Graph()
    x, control = g.input("x"), g.input("control")
    up, _ = g.add(nodes.Switch(), x, control)
    heard = amp.edge(up, initial=(0.5, 3), default=0.25)
    g.output("before", g.add(nodes.Rearrange((0,), (2,)), heard))
    g.output("slow", g.add(nodes.Hold(2), g.add(nodes.Downsample(2, 0), heard)))
    rng = np.random.default_rng(7)
    a, c = rng.normal(size=(2, 300))
    out = amp.compile(g).run({"x": a.reshape(1, 1, -1), "control": c.reshape(1, 1, -1)})
    tokens = np.concatenate([np.full(3, 0.5), a[c > 0]])
    newest = 2 + np.cumsum(c > 0)
    assert np.array_equal(out["before"][0, 0], tokens[newest - 2])
    assert np.array_equal(out["slow"][0, 0], np.repeat(tokens[newest[::2] - 1], 2))


def test_a_router_behind_a_gate_waits_for_a_token_of_it_each_time() -> None:
    g = amp.Graph()
    x, control = g.input("x"), g.input("control")
    g.gate("late", [amp.edge(control, delay=5)])
    up, _ = g.add(nodes.Switch(), amp.edge(x, gate="late"), control)
    g.output("out", amp.edge(up, default=0.25))
    rng = np.random.default_rng(7)
    a, c = rng.normal(size=(2, 300))
    out = amp.compile(g).run({"x": a.reshape(1, 1, -1), "control": c.reshape(1, 1, -1)})["out"]
    newest = np.maximum.accumulate(np.where(c > 0, np.arange(300), -1))[:295]
    heard = np.where(newest >= 0, a[newest], 0.25)
    assert np.array_equal(out[0, 0], np.concatenate([np.full(5, 0.25), heard]))


def test_a_select_behind_a_gate_waits_for_a_token_of_it_each_time() -> None:
    g = amp.Graph()
    x, control = g.input("x"), g.input("control")
    g.gate("late", [amp.edge(control, delay=5)])
    y = g.add(nodes.Select(), amp.edge(x, gate="late"), g.add(nodes.Gain(gain=-1.0), x), control)
    g.output("out", amp.edge(y, default=0.25))
    a, c = np.random.default_rng(7).normal(size=(2, 300))
    out = amp.compile(g).run({"x": a.reshape(1, 1, -1), "control": c.reshape(1, 1, -1)})["out"]
    taken = np.cumsum(np.stack([c > 0, c <= 0]), axis=1) - 1
    want = np.where(c > 0, a[taken[0]], -a[taken[1]])
    assert np.array_equal(out[0, 0], np.concatenate([np.full(5, 0.25), want[:295]]))


@pytest.mark.parametrize(
    "kind, arguments, words",
    [
        pytest.param(kind, arguments, words, id=f"{name}.{i}")
        for name, kind in ROUTERS.items()
        for i, (arguments, words) in enumerate(kind.refuses())
    ],
)
def test_refusals_say_the_right_words(
    kind: type[NodeType], arguments: dict[str, Any], words: str
) -> None:
    """L7."""
    with pytest.raises(BadNode, match=re.escape(words)):
        kind(**arguments)


def select(batch: int = 1) -> amp.Graph:
    """A select of which one side may never be taken."""
    g = amp.Graph(batch=batch)
    x, control = g.input("x"), g.input("control")
    y = g.add(nodes.Select(), x, g.add(nodes.Gain(), x, gain=2.0), control)
    g.output("out", amp.edge(y, default=0.0))
    return g


def test_what_a_pace_cannot_wait_for_is_refused() -> None:
    with pytest.raises(BadGraph, match="graphs of batch 1"):
        amp.compile(select(batch=2))
    g = amp.Graph()
    x = g.input("x")
    up, _ = g.add(nodes.Switch(), x, x)
    g.output("out", up)
    with pytest.raises(BadGraph, match=re.escape("amp.edge(stream, default=0.0)")):
        amp.compile(g)
    g = amp.Graph()
    x = g.input("x")
    up, _ = g.add(nodes.Switch(), x, x)
    mixed = g.add(nodes.Add(), up, amp.edge(x, default=0.0))
    g.output("out", amp.edge(mixed, default=0.0))
    with pytest.raises(BadGraph, match="reads its tokens in order"):
        amp.compile(g)
    g = amp.Graph()
    x = g.input("x")
    up, _ = g.add(nodes.Switch(), x, x)
    g.gate("late", [up])
    g.output("out", amp.edge(x, gate="late"))
    with pytest.raises(BadGraph):
        amp.compile(g)
    g = amp.Graph()
    with pytest.raises(PortMismatch, match="takes tokens of streams"):
        g.add(nodes.Switch(), g.input("x"), 1.0)
    with pytest.raises(BadNode, match="as many channels"):
        g.add(nodes.Select(), g.input("a", 2), g.input("b"), g.input("c"))


def test_a_schedule_and_a_swap_are_refused() -> None:
    g = select()
    with pytest.raises(BadGraph, match="a schedule fires nodes at known clocks"):
        amp.plan(g)
    stages = tuple(amp.Stage((amp.Cohort(node.kind, (node.name,)),)) for node in g.nodes)
    by_hand = amp.IPLS(64, stages, graph=g.fingerprint())
    with pytest.raises(amp.errors.IllegalSchedule, match="compile without a schedule"):
        amp.compile(g, by_hand)
    program = amp.compile(g)
    with pytest.raises(BadGraph, match="do not depend on data"):
        program.swap(select())


def test_a_ring_that_nobody_empties_doubles() -> None:
    program = amp.compile(select())
    (waiting,) = [use for use in program.memory.rings if use.source == "gain.0"]
    assert (waiting.capacity, waiting.tokens, waiting.growth) == (16, 0, ())
    ones = np.ones((1, 1, 5000))
    assert np.array_equal(program.run({"x": ones, "control": ones})["out"], ones)
    (waiting,) = [use for use in program.memory.rings if use.source == "gain.0"]
    assert (waiting.capacity, waiting.tokens, waiting.most) == (8192, 5000, 5000)
    assert [size for _, size in waiting.growth] == [32, 64, 128, 256, 512, 1024, 2048, 4096, 8192]
    clocks = [clock for clock, _ in waiting.growth]
    assert clocks == sorted(clocks)
    assert all(size / 2 <= clock + 64 for clock, size in waiting.growth)
    back = program.run({"x": ones, "control": -ones})["out"]  # they come out again, in order
    assert np.array_equal(back, 2.0 * ones)


def test_a_run_out_of_memory_is_resumed() -> None:
    rng = np.random.default_rng(1)
    inputs = {"x": rng.normal(size=(1, 1, 9000)), "control": np.ones((1, 1, 9000))}
    inputs["control"][..., 6000:] = rng.normal(size=3000)
    want = amp.compile(select()).run(inputs)["out"]
    program = amp.compile(select(), max_arena_bytes=30_000)
    with pytest.raises(ArenaExhausted, match=r"gain\.0") as caught:
        program.run(inputs)
    assert "max_arena_bytes" in str(caught.value)
    for call in (lambda: program.run(inputs), program.state, lambda: program.set("a", 1.0)):
        with pytest.raises(ProgramBusy, match="resume"):
            call()
    with pytest.raises(ArenaExhausted):
        program.resume()
    program.max_arena_bytes = 1 << 20
    assert_same_bits(program.resume()["out"], want)
    with pytest.raises(BadValue, match="resume"):
        program.resume()
    program.reset()
    assert_same_bits(program.run(inputs)["out"], want)


def test_reset_drops_a_run_out_of_memory() -> None:
    program = amp.compile(select(), max_arena_bytes=30_000)
    ones = np.ones((1, 1, 5000))
    with pytest.raises(ArenaExhausted):
        program.run({"x": ones, "control": ones})
    program.reset()
    some = {"x": ones[..., :100], "control": ones[..., :100]}
    assert np.array_equal(program.run(some)["out"], ones[..., :100])


def test_too_little_memory_is_refused_before_anything_runs() -> None:
    g = amp.Graph()
    g.output("out", amp.edge(g.input("x"), delay=100_000))
    with pytest.raises(ArenaExhausted, match="of which"):
        amp.compile(g, max_arena_bytes=100_000)
    with pytest.raises(ArenaExhausted):
        amp.compile(g, amp.plan(g), max_arena_bytes=100_000)
    with pytest.raises(BadValue, match="max_arena_bytes"):
        amp.compile(g, max_arena_bytes=0)


def test_a_part_that_waits_for_itself_is_reported_and_the_rest_goes_on() -> None:
    g = amp.Graph()
    x, control = g.input("x"), g.input("control")
    loop = g.feedback()
    y = g.add(nodes.Select(), x, loop, control, name="choose")
    loop.connect(g.add(nodes.Gain(), y, gain=0.5, name="fade"))
    g.output("loop", amp.edge(y, default=0.0))
    g.output("other", 2.0 * x)
    program = amp.compile(g)
    ramp = np.arange(1.0, 9.0).reshape(1, 1, 8)
    takes_two = np.where(np.arange(8) < 2, 1.0, -1.0).reshape(1, 1, 8)
    assert program.run({"x": ramp, "control": takes_two})["loop"].tolist() == [
        [[1.0, 2.0, 0.5, 1.0, 0.25, 0.5, 0.125, 0.25]]
    ]
    program.reset()
    with pytest.raises(amp.errors.Deadlock, match="wait for one another") as caught:
        program.run({"x": ramp, "control": -np.ones((1, 1, 8))})
    assert "'choose'" in str(caught.value)
    assert "'fade'" in str(caught.value)
    assert np.array_equal(caught.value.result["other"], 2.0 * ramp)
    with pytest.raises(amp.errors.Deadlock):
        program.run({"x": ramp, "control": -np.ones((1, 1, 8))})
    program.reset()
    assert program.run({"x": ramp, "control": takes_two})["loop"][0, 0, 0] == 1.0


def test_a_damaged_snapshot_is_refused() -> None:
    program = amp.compile(select())
    ones = np.ones((1, 1, 50))
    program.run({"x": ones, "control": ones})
    good = program.state()
    for firings in ({}, {**good.firings, "select.0": np.array([-1, 0, 0, 0, 0])}):
        with pytest.raises(amp.errors.BadState, match="firings"):
            program.restore(dataclasses.replace(good, firings=firings))
    more = {**good.firings, "select.0": good.firings["select.0"] + np.array([0, 1, 0, 0, 0])}
    with pytest.raises(amp.errors.BadState, match="firings"):
        program.restore(dataclasses.replace(good, firings=more))
    program.restore(good)
    assert np.array_equal(program.run({"x": ones, "control": ones})["out"], ones)
