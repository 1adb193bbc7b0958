"""Timing: tables of kernels, cohorts and nodes, and how late nodes answer."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from rich.console import Console
from scipy import signal
from strategies import Late

import amp
import amp.delays
from amp import nodes
from amp.errors import BadValue

if TYPE_CHECKING:
    from amp.program import Program

ENGINES = (None, 64)


def voices() -> amp.Graph:
    """Filtered saws, more than one kernel, and a gain in one of them."""
    g = amp.Graph()
    x = g.input("x")
    low = [
        g.add(nodes.StateVariable(q=2.0), g.add(nodes.Saw(), 55.0 * (i + 1)), cutoff=900.0)
        for i in range(9)
    ]
    g.output("out", g.add(nodes.Mix(), *low) * x)
    return g


def timed(g: amp.Graph, block: int | None) -> Program:
    return amp.compile(g, amp.plan(g, block) if block else None, timing=True)


@pytest.mark.parametrize("block", ENGINES)
def test_a_table_of_kernels_is_divided_without_rest(block: int | None) -> None:
    g = voices()
    program = timed(g, block)
    timing = program.run({"x": np.ones((1, 1, 640))}).timing
    assert timing is not None
    names = [node.name for node in g.nodes]
    assert sorted(name for row in timing for name in row.nodes) == sorted(names)
    assert sorted(name for row in timing.cohorts for name in row.nodes) == sorted(names)
    assert [row.node for row in timing.nodes] == names
    total = sum(row.seconds for row in timing)
    for table in (timing.cohorts, timing.nodes):
        assert sum(row.seconds for row in table) == pytest.approx(total)
        assert sum(row.cycles for row in table) == pytest.approx(
            sum(row.cycles for row in timing), abs=len(table)
        )
    kernels = {row.label: row for row in timing}
    for row in timing.nodes:
        assert row.estimate == (len(kernels[row.kernel].nodes) > 1)
        assert (row.frames, row.firings) == (640, kernels[row.kernel].firings)
        assert 0 < row.seconds <= kernels[row.kernel].seconds
    if block:
        shares = {row.node: row.seconds for row in timing.nodes}
        assert shares["statevariable.3"] > shares["saw.3"]  # its operations are more


def test_lanes_of_a_cohort_are_its_own() -> None:
    program = timed(voices(), 64)
    lanes = {row.nodes[0]: row.lanes for row in program.timing.cohorts}
    assert lanes["saw.0"] == lanes["statevariable.0"] == 9


@pytest.mark.parametrize("block", ENGINES)
def test_a_result_has_the_timing_of_its_run(block: int | None) -> None:
    program = timed(voices(), block)
    x = np.ones((1, 1, 128))
    runs = [program.run({"x": x}).timing for _ in range(3)]
    for i, row in enumerate(program.timing):
        assert row.frames == 3 * 128
        assert row.cycles == sum(run[i].cycles for run in runs if run)
        assert all(run is not None and run[i].frames == 128 for run in runs)
    rendered = program.render({"x": x}).timing
    assert rendered is not None
    assert rendered[0].frames == 128
    assert amp.compile(voices()).run({"x": x}).timing is None


def test_a_swap_goes_on_with_the_timing_of_the_new_graph() -> None:
    program = timed(voices(), 64)
    program.run({"x": np.ones((1, 1, 128))})
    g = amp.Graph()
    g.output("out", 2.0 * g.input("x"))
    program.swap(g, crossfade=64)
    timing = program.run({"x": np.ones((1, 1, 128))}).timing
    assert timing is not None
    assert {row.node: row.frames for row in timing.nodes} == {
        "x": 128,
        "multiply.0": 128,
        "out": 128,
    }
    assert {row.frames for row in program.timing} == {128}


def test_tables_print_in_terminals_and_notebooks() -> None:
    program = timed(voices(), 64)
    program.run({"x": np.ones((1, 1, 128))})
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(program.timing)
    assert "Saw x9" in console.export_text()
    for words in (repr(program.timing), str(program.timing)):
        assert "Kernels" in words
        assert "Saw x9" in words
    assert "simulated" in repr(program.timing.nodes)
    html = program.timing._repr_html_()
    assert html.startswith("<table>")
    assert "&#x27;out&#x27;" in html


def test_long_tables_are_cut_when_they_print() -> None:
    g = amp.Graph()
    x = g.input("x")
    for _ in range(80):
        x = x * 0.5
    g.output("out", x)
    timing = timed(g, None).timing
    assert len(timing) == len(timing.nodes) == 82
    assert "... and 18 more" in repr(timing)
    assert "... and 18 more" in timing._repr_html_()


@pytest.mark.parametrize("library", ["pandas", "xarray"])
def test_other_libraries_get_every_column(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    program = timed(voices(), 64)
    seen: dict[str, Any] = {}

    class Fake:
        DataFrame = Dataset = staticmethod(seen.update)

    monkeypatch.setitem(sys.modules, library, Fake)
    getattr(program.timing.nodes, f"to_{library}")()
    assert [*seen] == [
        "node", "kernel", "firings", "frames", "seconds", "cycles", "estimate", "delay",
        "group_delay", "delay_is",
    ]  # fmt: skip
    column = seen["node"] if library == "pandas" else seen["node"][1]
    assert column == [row.node for row in program.timing.nodes]


@pytest.mark.parametrize("library", ["pandas", "xarray"])
def test_a_missing_library_is_named(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(BadValue, match=f"pip install {library}"):
        getattr(timed(voices(), None).timing, f"to_{library}")()


def test_a_processing_delay_and_a_delay_line_are_measured() -> None:
    g = amp.Graph()
    x = g.input("x")
    g.output("a", g.add(Late(), x))
    g.output("b", g.add(nodes.Delay(900), x, 777.0))
    found = {row.node: (row.delay, row.delay_is) for row in timed(g, None).timing.nodes}
    assert found["late.0"] == (3, "measured")
    assert found["delay.0"] == (777, "measured")


def test_a_long_delay_is_waited_for() -> None:
    g = amp.Graph()
    g.output("out", g.add(nodes.Delay(48_000), g.input("x"), 44_100.0))
    row = timed(g, None).timing.nodes[1]
    assert (row.delay, row.group_delay, row.delay_is) == (44_100, 44_100.0, "measured")


def test_a_group_delay_is_that_of_the_transfer_function() -> None:
    """On the average over frequencies, each by its energy; SciPy knows both."""
    b, a = signal.butter(2, 2000.0, fs=48_000.0)
    g = amp.Graph()
    names = {"b0": b[0], "b1": b[1], "b2": b[2], "a1": a[1], "a2": a[2]}
    g.output("out", g.add(nodes.Biquad(**names), g.input("x")))
    at = np.pi * (np.arange(1 << 14) + 0.5) / (1 << 14)
    energy = np.abs(signal.freqz(b, a, at)[1]) ** 2
    expected = (signal.group_delay((b, a), at)[1] * energy).sum() / energy.sum()
    row = timed(g, 64).timing.nodes[1]
    assert (row.delay, row.delay_is) == (0, "measured")
    assert row.group_delay == pytest.approx(expected, rel=1e-9)


def test_what_does_not_decay_has_no_group_delay() -> None:
    g = amp.Graph()
    g.output("out", g.add(nodes.Sine(), g.input("x")))  # another phase for ever
    row = timed(g, None).timing.nodes[1]
    assert row.delay_is == "measured"
    assert np.isnan(row.group_delay)


@pytest.mark.parametrize("mode", ["raise", "reset"])
def test_a_guarded_node_is_measured_as_it_is_without_guard(mode: Any) -> None:
    g = amp.Graph()
    g.output("out", 1.0 / g.input("x"))  # of silence: an infinity
    rows = [
        amp.compile(g, timing=True, threads=2, on_nonfinite=which).timing.nodes[1]
        for which in ("propagate", mode)
    ]
    assert [(row.delay, row.delay_is) for row in rows] == [(0, "measured")] * 2


def test_delays_are_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    program = timed(voices(), 64)
    first = program.timing.nodes
    assert len(first)
    monkeypatch.setattr(amp.delays, "measured", None)
    run = program.run({"x": np.ones((1, 1, 64))}).timing
    clone = program.clone().timing
    for again in (run, clone):
        assert again is not None
        assert [row.delay for row in again.nodes] == [row.delay for row in first]


def test_what_cannot_be_measured_is_simulated() -> None:
    g = amp.Graph()
    held = g.add(nodes.Hold(4), g.add(nodes.Downsample(4), g.input("x")))
    g.output("out", held + g.add(nodes.Constant(1.0)))
    found = {row.node: (row.delay, row.delay_is) for row in timed(g, None).timing.nodes}
    assert found["downsample.0"] == (3, "simulated")
    assert found["constant.0"] == (0, "simulated")
