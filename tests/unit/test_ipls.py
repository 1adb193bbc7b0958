"""Schedules as data: text there and back, the checker's words, and hostile files."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

import amp
from amp import IPLS, Cohort, Loop, Stage, nodes
from amp.errors import BadFile, IllegalSchedule
from amp.schedule.ipls import MAX_BLOCK, schema


def two_voices() -> amp.Graph:
    """Two voices, an echo of 10 tokens, a mix."""
    g = amp.Graph()
    x = g.input("x")
    voices = [g.add(nodes.Gain(gain=f), g.add(nodes.Saw(), x * f)) for f in (1.0, 2.0)]
    loop = g.feedback()
    echo = g.add(nodes.Add(), g.add(nodes.Mix(), *voices), amp.edge(loop, initial=10), name="echo")
    loop.connect(g.add(nodes.Gain(gain=0.5), echo, name="back"))
    g.output("out", echo)
    return g


GRAPH = two_voices()
GOOD = amp.plan(GRAPH, 64)


def stages(*items: Any, block: int = 64, graph: str = "") -> IPLS:
    """A schedule of ``(type, members...)`` lists, one stage each."""
    return IPLS(
        block,
        tuple(
            Stage(tuple(Cohort(kind, tuple(names)) for kind, *names in item))
            if isinstance(item, list)
            else item
            for item in items
        ),
        graph or GRAPH.fingerprint(),
    )


IN, OUT = [("Input", "x")], [("Output", "out")]
MULTIPLY, SAW = [("Multiply", "multiply.0", "multiply.1")], [("Saw", "saw.0", "saw.1")]
GAIN, MIX = [("Gain", "gain.0", "gain.1")], [("Mix", "mix.0")]
ECHO, BACK = [("Add", "echo")], [("Gain", "back")]
LOOP = Loop(10, (Stage((Cohort("Add", ("echo",)),)), Stage((Cohort("Gain", ("back",)),))))


def violations(plan: IPLS) -> tuple[str, ...]:
    with pytest.raises(IllegalSchedule) as caught:
        amp.compile(GRAPH, plan)
    for number, text in enumerate(caught.value.violations, 1):
        assert f"{number}. {text}" in str(caught.value)
    return caught.value.violations


def test_by_hand() -> None:
    amp.compile(GRAPH, stages(IN, MULTIPLY, SAW, GAIN, MIX, LOOP, OUT))
    amp.compile(GRAPH, stages(IN, MULTIPLY, SAW, GAIN, MIX, ECHO, BACK, OUT, block=10))


@pytest.mark.parametrize(
    "plan, words",
    [
        (stages(IN, MULTIPLY, SAW, GAIN, MIX, LOOP), ["node 'out' (Output) is missing; add it"]),
        (
            stages(IN, MULTIPLY, SAW, GAIN, MIX, LOOP, OUT, [("Mix", "mix.0")]),
            ["node 'mix.0' stands 2 times; keep it once"],
        ),
        (
            stages(IN, MULTIPLY, SAW, GAIN, MIX, LOOP, OUT, [("Saw", "saw.7")]),
            ["stage 8: the graph has no node 'saw.7'; drop it"],
        ),
        (
            stages(IN, MULTIPLY, [("Sine", "saw.0", "saw.1")], GAIN, MIX, LOOP, OUT),
            ["node 'saw.0' is a Saw, not a Sine", "node 'saw.1' is a Saw, not a Sine"],
        ),
        (
            stages(IN, SAW, MULTIPLY, GAIN, MIX, LOOP, OUT),
            [
                "edge 'multiply.0' -> 'saw.0': the consumer stands before its producer",
                "edge 'multiply.1' -> 'saw.1'",
            ],
        ),
        (
            stages(IN, MULTIPLY, SAW, [*GAIN, *MIX], LOOP, OUT),
            ["edge 'gain.0' -> 'mix.0': the consumer stands in the same stage", "'gain.1'"],
        ),
        (
            stages(IN, MULTIPLY, SAW, GAIN, MIX, ECHO, BACK, OUT),
            [
                "edge 'back' -> 'echo': the consumer stands before its producer (stages 5 and 6)",
                "which takes 64 token(s) in flight and there are 10; move 'echo' after stage 6",
                "put both in a loop of block 10 or less",
            ],
        ),
        (
            stages(IN, MULTIPLY, SAW, GAIN, MIX, Loop(11, LOOP.stages), OUT),
            ["takes 11 token(s) in flight and there are 10"],
        ),
        (
            stages(IN, MULTIPLY, SAW, GAIN, MIX, LOOP, OUT, block=10),
            ["a loop of block 10 is not narrower than the 10 around it"],
        ),
        (
            stages(IN, MULTIPLY, SAW, GAIN, MIX, Loop(0, LOOP.stages), OUT),
            ["a loop of block 0 is not narrower"],
        ),
        (stages(IN, MULTIPLY, SAW, GAIN, MIX, LOOP, OUT, block=0), ["block 0 is not in 1..65536"]),
        (
            stages(IN, MULTIPLY, SAW, GAIN, MIX, LOOP, OUT, block=MAX_BLOCK + 1),
            ["block 65537 is not in 1..65536"],
        ),
        (
            stages(IN, MULTIPLY, SAW, GAIN, MIX, LOOP, OUT, graph="0123"),
            ["made for another graph: fingerprint '0123'"],
        ),
        (
            stages(IN, MULTIPLY, SAW, GAIN, MIX, LOOP, OUT, [("Saw",)]),
            ["stage 8: a cohort of Saw has no members; drop it"],
        ),
        (
            stages(
                IN,
                MULTIPLY,
                SAW,
                GAIN,
                Stage((Cohort("Mix", ("mix.0",), width=7),)),
                LOOP,
                OUT,
            ),
            ["width 7 of the Mix cohort is not one of (1, 2, 4, 8, 16, 32)"],
        ),
        (stages(), [f"node {node.name!r}" for node in GRAPH.nodes]),
    ],
)
def test_the_checker_names_what_is_wrong(plan: IPLS, words: list[str]) -> None:
    found = violations(plan)
    for word in words:
        assert any(word in text for text in found), (word, found)


def test_several_violations_are_reported_together() -> None:
    plan = stages(
        IN, MULTIPLY, [("Saw", "saw.0", "saw.9")], GAIN, MIX, LOOP, [("Gain", "mix.0")], graph="x"
    )
    text = "\n".join(violations(plan))
    for word in ("'saw.9'", "'saw.1' (Saw) is missing", "'out' (Output) is missing"):
        assert word in text
    for word in ("'mix.0' stands 2 times", "'mix.0' is a Mix, not a Gain", "another graph"):
        assert word in text


def test_a_stale_schedule_is_refused() -> None:
    g = two_voices()
    plan = amp.plan(g)
    amp.compile(two_voices(), plan)  # the same graph made again
    g.output("more", g.add(nodes.Noise()))
    with pytest.raises(IllegalSchedule, match="plan again"):
        amp.compile(g, plan)


def test_the_fingerprint_sees_edges_and_not_values() -> None:
    def graph(gain: float = 0.5, delay: int = 0, tokens: int = 0, batch: int = 1) -> str:
        g = amp.Graph(batch=batch)
        tapped = amp.edge(g.input("x"), delay=delay, initial=(gain, tokens))
        g.output("out", g.add(nodes.Gain(gain=gain), tapped))
        return g.fingerprint()

    assert graph() == graph(gain=0.7)
    different = [graph(), graph(delay=1), graph(tokens=1), graph(delay=1, tokens=1), graph(batch=2)]
    assert len(set(different)) == len(different)


# ---- text


@pytest.mark.parametrize("plan", [GOOD, stages(IN, LOOP), stages(), amp.plan(GRAPH, 1, 32)])
def test_json_there_and_back(plan: IPLS) -> None:
    text = plan.to_json()
    assert IPLS.from_json(text) == plan
    assert IPLS.from_json(text.encode()) == plan
    assert IPLS.from_json(json.dumps(json.loads(text))) == plan
    assert hash(IPLS.from_json(text)) == hash(plan)
    assert str(plan).startswith(f"IPLS of block {plan.block}")


def test_a_schedule_from_a_file_gives_the_same_samples() -> None:
    x = np.random.default_rng(0).uniform(100, 500, (1, 1, 200))
    loaded = amp.compile(GRAPH, IPLS.from_json(GOOD.to_json())).run({"x": x})["out"]
    np.testing.assert_array_equal(loaded, amp.compile(GRAPH).run({"x": x})["out"])


def test_the_schema_describes_what_is_written() -> None:
    definitions: Any = schema()["$defs"]
    assert {"IPLS", "Stage", "Loop", "Cohort"} <= set(definitions)
    document = json.loads(GOOD.to_json())
    assert set(document) <= set(definitions["IPLS"]["properties"])


def broken(**changed: Any) -> str:
    document = json.loads(GOOD.to_json())
    document.update(changed)
    return json.dumps({k: v for k, v in document.items() if v != "absent"})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "null",
        "[]",
        "3",
        '"text"',
        '{"block": 64}',
        b"\xff\xfe\x00",
        b'{"block": "\xff"}',
        broken(block="64"),
        broken(block=64.5),
        broken(block=None),
        broken(stages={}),
        broken(stages=[[]]),
        broken(stages=[{"type": "stage"}]),
        broken(stages=[{"type": "nap", "cohorts": []}]),
        broken(stages=[{"type": "stage", "cohorts": [{"type": "Saw"}]}]),
        broken(stages=[{"type": "stage", "cohorts": [{"type": "Saw", "members": "saw.0"}]}]),
        broken(stages=[{"type": "stage", "cohorts": [{"type": 7, "members": []}]}]),
        broken(stages=[{"type": "stage", "cohorts": [{"type": "Saw", "members": [None]}]}]),
        broken(stages=[{"type": "loop", "stages": []}]),
        broken(graph=None),
        broken(graph="absent"),
        broken(version="1"),
        broken(version=2),
        '{"block": NaN, "stages": [], "graph": ""}',
        GOOD.to_json()[:-2],
        GOOD.to_json() + "}",
    ],
    ids=str,
)
def test_broken_files_are_refused(text: str | bytes) -> None:
    with pytest.raises(BadFile, match="a schedule"):
        IPLS.from_json(text)


def nested(depth: int) -> str:
    inner = '{"type": "loop", "block": 1, "stages": ['
    return f'{{"block": 64, "graph": "", "stages": [{inner * depth}{"]}" * depth}]}}'


@pytest.mark.parametrize("depth", [33, 200, 100_000])
def test_deep_nesting_is_refused_and_crashes_nothing(depth: int) -> None:
    with pytest.raises((BadFile, IllegalSchedule)):
        amp.compile(GRAPH, IPLS.from_json(nested(depth)))


def test_deep_nesting_in_python_is_refused() -> None:
    plan: Any = Stage((Cohort("Input", ("x",)),))
    for _ in range(5000):
        plan = Loop(1, (plan,))
    found = violations(IPLS(64, (plan,), GRAPH.fingerprint()))
    assert any("nested more than 32 deep" in text for text in found)


@pytest.mark.parametrize(
    "changed",
    [
        {"block": -1},
        {"block": 2**63 - 1},
        {"block": 10**40},
        {"stages": [{"type": "loop", "block": -5, "stages": []}]},
        {"stages": [{"type": "loop", "block": 1, "stages": []}] * 1000},
        {"stages": [{"type": "stage", "cohorts": []}] * 1000},
        {"stages": [{"type": "stage", "cohorts": [{"type": "Saw", "members": [], "width": -8}]}]},
        {"graph": "x" * 100_000},
    ],
)
def test_odd_numbers_reach_no_engine(changed: dict[str, Any]) -> None:
    with pytest.raises(IllegalSchedule):
        amp.compile(GRAPH, IPLS.from_json(broken(**changed)))


def test_empty_stages_and_loops_change_nothing() -> None:
    empty = (Stage(()), Loop(5, ()), Loop(6, (Loop(5, ()), Stage(()))))
    plan = IPLS(64, (*empty, *GOOD.stages, *empty), GOOD.graph)
    x = np.full((1, 1, 100), 300.0)
    want = amp.compile(GRAPH).run({"x": x})["out"]
    np.testing.assert_array_equal(amp.compile(GRAPH, plan).run({"x": x})["out"], want)


def test_a_huge_file_is_refused_before_it_is_read() -> None:
    class Huge(str):
        __slots__ = ()

        def __len__(self) -> int:
            return 1 << 40

    with pytest.raises(BadFile, match="at most"):
        IPLS.from_json(Huge("{}"))
