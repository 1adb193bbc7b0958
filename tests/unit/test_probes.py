"""Probes: what they record, at which rates, and when."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from bits import Array, assert_same_bits, assert_same_runs
from strategies import Late

import amp
from amp import nodes
from amp.errors import BadGraph

if TYPE_CHECKING:
    from collections.abc import Mapping

    from amp.program import Program

ENGINES = [None, 64, 7]
X = np.random.default_rng(2).normal(size=(2, 1, 500))


def compiled(g: amp.Graph, block: int | None, **options: Any) -> Program:
    return amp.compile(g, amp.plan(g, block) if block else None, **options)


def voice(*, probed: bool) -> amp.Graph:
    """A filter between others, late by 3 + 20 frames, and a loop."""
    g = amp.Graph(batch=2)
    x = g.input("x")
    low = g.add(nodes.OnePole(cutoff=900.0), g.add(Late(), x))
    again = g.feedback(channels=2)
    total = g.add(nodes.Pan(), low, 0.2) + 0.5 * amp.edge(again, initial=3)
    again.connect(total)
    if probed:
        g.probe(low, "low")
        g.probe(amp.edge(total, delay=20), "total")
        g.probe(amp.edge(x, initial=(0.25, 4)), "x, 4 later")
    g.output("out", total)
    return g


@pytest.mark.parametrize("block", ENGINES)
def test_a_probe_records_what_an_output_would(block: int | None) -> None:
    result = compiled(voice(probed=True), block).run({"x": X})
    plain = compiled(voice(probed=False), block).run({"x": X})
    assert_same_runs(result, plain)
    assert [*result] == ["out"]
    assert result.latency == plain.latency == {"out": 3}
    assert {*result.probes} == {"low", "total", "x, 4 later"}
    late = np.pad(plain["out"], ((0, 0), (0, 0), (20, 0)))[..., :500]
    assert_same_bits(result.probes["total"], late)
    assert_same_bits(result.probes["x, 4 later"][..., 4:], X[..., :-4])
    assert (result.probes["x, 4 later"][..., :4] == 0.25).all()
    assert (result.probes["low"][..., :3] == 0).all()
    assert result.probes["low"][..., 3:].all()
    assert not result.clocks


@pytest.mark.parametrize("block", ENGINES)
def test_pieces_of_a_run_record_its_pieces(block: int | None) -> None:
    g = voice(probed=True)
    down = g.add(nodes.Downsample(5), g.add(nodes.Upsample(3), stream_of(g, "x")))
    g.probe(down, "3 in 5 frames")
    whole = compiled(g, block).run({"x": X})
    program = compiled(g, block)
    parts = [program.run({"x": X[..., a:b]}) for a, b in pairwise([0, 1, 3, 100, 300, 500])]
    for name, array in whole.probes.items():
        joined = np.concatenate([part.probes[name] for part in parts], axis=2)
        assert_same_bits(joined, array, name)
    clocks = np.concatenate([part.clocks["3 in 5 frames"] for part in parts])
    np.testing.assert_array_equal(clocks, whole.clocks["3 in 5 frames"])


def stream_of(g: amp.Graph, name: str) -> Any:
    from amp.stream import Stream

    return Stream(g, g[name].index, 0, g[name].channels)


@pytest.mark.parametrize("block", ENGINES)
def test_tokens_at_other_rates_have_their_clocks(block: int | None) -> None:
    g = amp.Graph(batch=2)
    x = g.input("x")
    slow = g.probe(g.add(nodes.Downsample(4), x), "slow")
    g.probe(g.add(nodes.Upsample(2), x), "fast")
    g.output("out", g.add(nodes.Hold(4), slow))
    result = compiled(g, block).run({"x": X})
    fired = result.clocks["slow"]
    assert result.probes["slow"].shape == (2, 1, 125)
    # a token is made in the frame in which the last of the four that it takes comes
    np.testing.assert_array_equal(fired, 3 + 4 * np.arange(125))
    start = result.latency["out"]
    held = np.repeat(result.probes["slow"], 4, axis=2)[..., : 500 - start]
    assert_same_bits(result["out"][..., start:], held)
    np.testing.assert_array_equal(result.clocks["fast"], np.arange(1000) // 2)
    assert result.probes["fast"].shape == (2, 1, 1000)


def test_a_stream_that_depends_on_data_is_read_by_the_clock() -> None:
    g = amp.Graph()
    x = g.input("x")
    picked = g.add(nodes.Trigger(), x, g.input("when"))
    g.probe(picked, "picked")
    g.output("out", amp.edge(picked, default=0.0))
    when = np.where(np.arange(500) % 50 >= 25, 1.0, -1.0)[None, None]
    result = amp.compile(g).run({"x": X[:1], "when": when})
    assert_same_bits(result.probes["picked"], result["out"])
    at = 25 + 50 * ((np.arange(500) - 25) // 50)
    want = np.where(at >= 0, X[0, 0, at], 0.0)
    assert_same_bits(result.probes["picked"][0, 0], want)


@pytest.mark.parametrize("block", ENGINES)
def test_a_monitor_hears_every_token_once(block: int | None) -> None:
    heard: list[Mapping[str, Array]] = []
    clocks = []

    def monitor(clock: int, probes: Mapping[str, Array]) -> None:
        clocks.append(clock)
        heard.append({name: array.copy() for name, array in probes.items()})

    program = compiled(voice(probed=True), block)
    program.run({"x": X[..., :200]}, monitor=monitor)
    result = program.run({"x": X[..., 200:]}, monitor=monitor, memory_every=64)
    assert clocks == [200, 264, 328, 392, 456, 500]
    for name, array in result.probes.items():
        assert_same_bits(np.concatenate([some[name] for some in heard[1:]], axis=2), array, name)


@pytest.mark.parametrize("block", ENGINES)
def test_a_swap_goes_on_with_the_probes_of_the_new_graph(block: int | None) -> None:
    program = compiled(voice(probed=False), block)
    program.run({"x": X[..., :100]})
    program.swap(voice(probed=True), crossfade=60)
    fading = program.run({"x": X[..., 100:300]})
    plain = compiled(voice(probed=True), block)
    plain.run({"x": X[..., :100]})
    want = plain.run({"x": X[..., 100:300]})
    assert_same_bits(fading.probes["low"], want.probes["low"])
    program.swap(voice(probed=False), crossfade=60)
    assert not program.run({"x": X[..., 300:400]}).probes


def test_rendering_records_from_the_beginning() -> None:
    result = compiled(voice(probed=True), 64).render({"x": X})
    assert result["out"].shape[2] == 500
    assert result.probes["low"].shape == (2, 1, 503)


def test_a_graph_of_probes_alone_is_none() -> None:
    g = amp.Graph()
    g.probe(g.input("x"))
    assert g.nodes[-1].name == "probe.0"
    with pytest.raises(BadGraph, match="at least one output"):
        amp.compile(g)


def test_probes_go_through_files() -> None:
    g = amp.graph_from_json(amp.graph_to_json(voice(probed=True)))
    assert sum(node.kind == "Probe" for node in g.nodes) == 3
