"""Traces: what ran when, on which thread."""

from __future__ import annotations

import json
import threading
from collections import defaultdict
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from bits import assert_same_runs

import amp
from amp import nodes
from amp.errors import ArchetypeUnavailable, BadValue
from amp.jit import events
from amp.jit.runtime import load_pool

if TYPE_CHECKING:
    from pathlib import Path

    from amp.program import Program

FRAMES = 2000


def graph() -> amp.Graph:
    """Two branches that may run side by side, each a few kernels, and a loop."""
    g = amp.Graph(batch=2)
    x = g.input("x")
    ends = []
    for i in range(2):
        low = g.add(nodes.Delay(512), g.add(nodes.OnePole(cutoff=300.0 * (i + 1)), x), 300.0 + i)
        ends.append(g.add(nodes.Mix(), *(low * 0.1 for _ in range(12))))
    again = g.feedback()
    total = ends[0] + ends[1] + 0.5 * amp.edge(again, initial=16)
    again.connect(total)
    g.output("out", total)
    return g


def inputs() -> dict[str, Any]:
    return {"x": np.random.default_rng(1).normal(size=(2, 1, FRAMES))}


def program(block: int | None, threads: int = 1, *, timing: bool = True) -> Program:
    if threads > 1:
        try:
            load_pool()
        except ArchetypeUnavailable as error:
            pytest.skip(f"no thread pool: {error}")
    g = graph()
    return amp.compile(g, amp.plan(g, block) if block else None, timing=timing, threads=threads)


def slices(path: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    whole = json.loads(path.read_text(encoding="utf-8"))
    return [event for event in whole["traceEvents"] if event["ph"] == "X"], whole


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("block", [None, 64, 100])
def test_a_trace_has_every_call_once(block: int | None, threads: int, tmp_path: Path) -> None:
    traced, path = program(block, threads), tmp_path / "trace.json"
    result = amp.observe.trace(traced, path, inputs())
    assert_same_runs(result, amp.compile(graph()).run(inputs()))
    found, whole = slices(path)
    assert whole["otherData"]["dropped"] == 0
    calls: dict[str, int] = defaultdict(int)
    firings: dict[str, int] = defaultdict(int)
    for event in found:
        calls[event["name"]] += 1
        firings[event["name"]] += event["args"]["frames"]
    counted: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for row in traced.timing:
        counted[row.label][0] += row.firings
        counted[row.label][1] += row.frames
    assert {name: [calls[name], firings[name]] for name in calls} == counted
    assert result.timing is not None
    spent = sum(row.seconds for row in result.timing)
    assert sum(event["dur"] for event in found) == pytest.approx(1e6 * spent, rel=0.05)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("block", [None, 64])
def test_slices_of_a_thread_stand_one_after_another(
    block: int | None, threads: int, tmp_path: Path
) -> None:
    amp.observe.trace(program(block, threads), tmp_path / "trace.json", inputs())
    found, whole = slices(tmp_path / "trace.json")
    lanes = defaultdict(list)
    for event in found:
        lanes[event["tid"]].append(event)
    names = {
        event["tid"]: event["args"]["name"]
        for event in whole["traceEvents"]
        if event["name"] == "thread_name"
    }
    assert names.keys() == lanes.keys()
    assert min(names.values()) == "caller" or threads > 1
    assert len(lanes) <= threads + 1
    for events_of_one in lanes.values():
        events_of_one.sort(key=lambda event: event["ts"])
        assert events_of_one[0]["ts"] >= 0
        for before, after in pairwise(events_of_one):
            assert before["dur"] >= 0
            assert before["ts"] + before["dur"] <= after["ts"] + 1e-3
        last = events_of_one[-1]
        assert last["ts"] + last["dur"] <= 1e6 * whole["otherData"]["seconds"] + 1e-3
    assert {event["pid"] for event in whole["traceEvents"]} == {found[0]["pid"]}


def test_the_caller_is_named(tmp_path: Path) -> None:
    amp.observe.trace(program(64), tmp_path / "trace.json", inputs())
    found, _ = slices(tmp_path / "trace.json")
    assert {event["tid"] for event in found} == {threading.get_native_id()}


def test_a_run_after_a_trace_notes_nothing(tmp_path: Path) -> None:
    for block in (None, 64):
        traced = program(block)
        first = amp.observe.trace(traced, tmp_path / "a.json", inputs())
        traced.reset()
        assert_same_runs(traced.run(inputs()), first)
        amp.observe.trace(traced, tmp_path / "b.json", inputs())
        sizes = [len(slices(tmp_path / name)[0]) for name in ("a.json", "b.json")]
        assert sizes[0] == sizes[1]


def test_what_has_no_room_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "ROOM", 5)
    traced = program(64)
    amp.observe.trace(traced, tmp_path / "trace.json", inputs())
    found, whole = slices(tmp_path / "trace.json")
    assert whole["otherData"]["dropped"] > 0
    assert len(found) + whole["otherData"]["dropped"] == sum(row.firings for row in traced.timing)


def test_a_trace_needs_timing(tmp_path: Path) -> None:
    with pytest.raises(BadValue, match="timing=True"):
        amp.observe.trace(program(64, timing=False), tmp_path / "trace.json", inputs())
    with pytest.raises(BadValue, match="a trace is one of a program"):
        amp.observe.trace(graph(), tmp_path / "trace.json")  # type: ignore[arg-type]


@pytest.mark.parametrize("block", [None, 64])
def test_a_trace_shows_both_sides_of_a_crossfade(block: int | None, tmp_path: Path) -> None:
    traced, path = program(block), tmp_path / "trace.json"
    traced.run(inputs())
    traced.swap(graph(), crossfade=700)
    amp.observe.trace(traced, path, inputs())
    frames: dict[str, int] = defaultdict(int)
    for event in slices(path)[0]:
        if "'out'" in event["name"]:
            frames[event["cat"]] += event["args"]["frames"]
    assert frames["kernel"] == FRAMES
    assert frames["old graph"] == frames["crossfade"] == 700
