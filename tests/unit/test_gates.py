"""Gates: nodes that wait for tokens they do not read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

import amp
from amp import nodes
from amp.errors import BadGraph, BadValue, Deadlock, IllegalSchedule
from amp.schedule import paces

if TYPE_CHECKING:
    from bits import Array

X = {"x": np.arange(1.0, 13.0).reshape(1, 1, -1)}


def heard(g: amp.Graph) -> tuple[dict[str, int], dict[str, Array]]:
    """Latency and outputs, the same under every engine."""
    want = amp.compile(g).run(X)
    for block in (1, 5, 64):
        for made in (g, amp.graph_from_json(amp.graph_to_json(g))):
            got = amp.compile(made, amp.plan(g, block)).run(X)
            assert got.latency == want.latency
            for name in want:
                assert (got[name] == want[name]).all()
    return want.latency, {name: want[name][0, 0] for name in want}


def test_a_gate_waits_for_its_last_contributor() -> None:
    g = amp.Graph()
    x = g.input("x")
    slow = g.add(nodes.Gain(), amp.edge(x, delay=2), gain=1.0)
    g.gate("bar", [amp.edge(x, delay=3), amp.edge(slow, delay=4, initial=1)])
    g.output("gated", amp.edge(x, gate="bar"))
    g.output("free", x)
    latency, out = heard(g)
    assert latency == {"gated": 5, "free": 0}  # 2 + 4 - 1
    assert list(out["gated"]) == [0] * 5 + [1, 2, 3, 4, 5, 6, 7]


def test_a_node_may_stand_behind_several_gates_and_a_gate_before_several_nodes() -> None:
    g = amp.Graph()
    x = g.input("x")
    g.gate("one", [amp.edge(x, delay=1)])
    g.gate("six", [amp.edge(x, delay=6)])
    both = g.add(nodes.Add(), amp.edge(x, gate=("one", "six")), amp.edge(x, gate="one"))
    g.output("both", both)
    g.output("one", amp.edge(x, gate="one"))
    assert heard(g)[0] == {"both": 6, "one": 1}


def test_a_gate_adds_delay_and_never_another_value() -> None:
    def graph(gated: bool) -> amp.Graph:
        g = amp.Graph()
        x = g.input("x")
        low = g.add(nodes.OnePole(), amp.edge(x, gate="bar") if gated else x, cutoff=3000.0)
        g.gate("bar", [amp.edge(x, delay=4)])
        g.output("out", low)
        return g

    free, gated = heard(graph(gated=False))[1]["out"], heard(graph(gated=True))[1]["out"]
    assert (gated[4:] == free[:-4]).all()


def test_a_gate_that_can_never_open_is_refused() -> None:
    g = amp.Graph()
    y = g.add(nodes.Gain(), amp.edge(g.input("x"), gate="bar"), name="behind")
    g.gate("bar", [y])
    g.output("out", y)
    with pytest.raises(Deadlock, match="'behind' -> 'behind'"):
        amp.compile(g)


def test_gates_are_checked_where_they_are_written() -> None:
    g = amp.Graph()
    x = g.input("x")
    with pytest.raises(BadGraph, match="a gate has contributors"):
        g.gate("bar", [])
    with pytest.raises(BadGraph, match="stand behind no gate"):
        g.gate("bar", [amp.edge(x, gate="other")])
    g.gate("bar", [x])
    with pytest.raises(BadGraph, match="a name of its own"):
        g.gate("bar", [x])
    with pytest.raises(BadValue, match="name is text"):
        amp.edge(x, gate=("bar", 3))  # type: ignore[arg-type]
    g.output("out", amp.edge(x, gate="bat"))
    with pytest.raises(BadGraph) as caught:
        amp.compile(g)
    assert "no gate 'bat'" in str(caught.value)
    assert __file__ in str(caught.value)


def test_a_schedule_must_meet_its_gates() -> None:
    g = amp.Graph()
    x = g.input("x")
    late = g.add(nodes.Gain(), x, name="late")
    g.gate("bar", [late])
    g.output("out", g.add(nodes.OnePole(), amp.edge(x, gate="bar"), cutoff=100.0, name="behind"))
    plan = amp.plan(g, 64)
    assert [c.type for _, s, _ in plan.walk() for c in s.cohorts] == [
        *("Input", "Gain", "OnePole", "Output")
    ]
    stages = (plan.stages[0], plan.stages[2], plan.stages[1], plan.stages[3])
    with pytest.raises(IllegalSchedule, match="'late' -> 'behind'"):
        amp.compile(g, amp.IPLS(64, stages, plan.graph))


def test_a_gate_joins_any_rates() -> None:
    """A firing waits for the tokens of its own time: token k // 3 of a slow contributor, tokens up
    to 2 k + 1 of a fast one."""
    g = amp.Graph()
    x = g.input("x")
    slow = g.add(nodes.Downsample(3), amp.edge(x, delay=1))  # token j at clock 3 j + 3
    fast = g.add(nodes.Hold(2), amp.edge(x, delay=4))  # tokens 2 j and 2 j + 1 at clock j + 4
    g.gate("slow", [slow])
    g.gate("fast", [fast])
    g.gate("both", [slow, fast])
    for name in ("slow", "fast", "both"):
        g.output(name, amp.edge(x, gate=name))
    g.output("each", amp.edge(x, gate=("slow", "fast")))
    held = g.add(nodes.Downsample(3), amp.edge(x, gate="fast"))  # at a slow rate itself
    g.output("held", g.add(nodes.Hold(3), held))
    latency, out = heard(g)
    assert latency == {"slow": 3, "fast": 4, "both": 4, "each": 4, "held": 6}
    assert list(out["both"]) == [0] * 4 + [1, 2, 3, 4, 5, 6, 7, 8]


def test_a_gate_between_broken_ratios_waits_for_its_share() -> None:
    """Two tokens in three firings: before firing k there have to be ceil((k + 1) 2 / 3)."""
    g = amp.Graph()
    x = g.input("x")
    two = g.add(nodes.Downsample(3), g.add(nodes.Hold(2), x), name="two")  # 2 in 3 frames
    g.gate("bar", [amp.edge(two, initial=1)])
    g.output("gated", amp.edge(x, gate="bar"))
    pace = paces(g.freeze())
    theirs = pace[g["two"].index]
    need = [-(-(k + 1) * 2 // 3) - 2 for k in range(12)]  # the initial token is the first
    late = max(theirs.clock(j) - k for k, j in enumerate(need) if j >= 0)
    assert heard(g)[0] == {"gated": max(late, 0)} == {"gated": pace[g["gated"].index].start}


def test_a_gate_of_another_rate_that_can_never_open_is_refused() -> None:
    g = amp.Graph()
    y = g.add(nodes.Gain(), amp.edge(g.input("x"), gate="bar"), name="behind")
    slow = g.add(nodes.Downsample(2), y, name="slow")
    g.gate("bar", [amp.edge(slow, initial=0)])
    g.output("out", y)
    with pytest.raises(Deadlock, match=r"'behind' -> 'slow'|'slow' -> 'behind'"):
        amp.compile(g)


def test_nothing_but_gates_may_join_a_part() -> None:
    """Such a part fires once a frame, and its tokens are waited for."""
    g = amp.Graph()
    x = g.input("x")
    tick = g.add(nodes.Noise(1))
    g.gate("bar", [amp.edge(tick, delay=2)])
    g.output("out", g.add(nodes.Hold(2), g.add(nodes.Downsample(2), amp.edge(x, gate="bar"))))
    assert heard(g)[0] == {"out": 3}
