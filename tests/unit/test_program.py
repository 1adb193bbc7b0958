"""A program at work: runs, parameters, snapshots, interrupts, threads, and what it tells of itself."""

from __future__ import annotations

import dataclasses
import itertools
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from bits import assert_same_bits

import amp
from amp import nodes
from amp.errors import ArchetypeUnavailable, BadState, BadValue, ProgramBusy
from amp.jit.engine import Statistics
from amp.jit.runtime import load_pool

if TYPE_CHECKING:
    from collections.abc import Callable

    from amp.program import Program

ENGINES = ["kpn", "ipls"]
X = np.random.default_rng(0).normal(size=(2, 1, 40_000))


def filters(count: int = 4, batch: int = 2) -> amp.Graph:
    """Parallel filters with a shared Q, and an echo of 3 frames."""
    g = amp.Graph(batch=batch)
    x, q = g.input("x"), amp.Param(0.7, name="q")
    cutoffs = [amp.Param(200.0 * (i + 1), name=f"cutoff{i}") for i in range(count)]
    low = [g.add(nodes.StateVariable(), x, cutoff=cutoff, q=q) for cutoff in cutoffs]
    loop = g.feedback()
    y = g.add(nodes.Add(), g.add(nodes.Mix(), *low), 0.5 * amp.edge(loop, initial=3))
    loop.connect(y)
    g.output("out", amp.edge(y, delay=2))
    g.output("dry", x)
    return g


def compiled(engine: str, graph: amp.Graph | None = None, **more: Any) -> Program:
    g = graph or filters()
    return amp.compile(g, amp.plan(g, 64) if engine == "ipls" else None, **more)


@pytest.fixture(params=ENGINES)
def program(request: pytest.FixtureRequest) -> Program:
    return compiled(request.param)


# ---- runs


def test_long_runs_are_the_short_ones_put_together(program: Program) -> None:
    """Longer than the pieces in which native code is called."""
    whole = program.run({"x": X})
    assert program.clock == X.shape[2]
    program.reset()
    pieces = [program.run({"x": X[..., a:b]}) for a, b in ((0, 1), (1, 5000), (5000, 40_000))]
    assert_same_bits(np.concatenate([p["out"] for p in pieces], axis=2), whole["out"])


def test_the_first_frames_are_zero_until_the_first_token(program: Program) -> None:
    assert program.latency == {"out": 2, "dry": 0}
    first = program.run({"x": X[..., :1]})
    assert first["out"].tolist() == [[[0.0]], [[0.0]]]
    assert first.latency == program.latency
    assert not program.run({"x": X[..., :1]})["out"].any()
    assert program.run({"x": X[..., :1]})["out"].all()


def test_a_result_is_a_mapping(program: Program) -> None:
    result = program.run({"x": X[..., :7]})
    assert list(result) == list(program.latency) == ["out", "dry"], "as the graph has them"
    assert len(result) == 2
    assert result.sample_rate == 48_000
    assert repr(result) == "<Result out: (2, 1, 7), dry: (2, 1, 7)>"
    with pytest.raises(KeyError):
        result["wet"]
    before = result["out"].copy()
    program.run({"x": X[..., :7]})
    np.testing.assert_array_equal(result["out"], before)


def test_outputs_are_written_into_the_arrays_given(program: Program) -> None:
    given = X[..., :100].copy()
    want = program.run({"x": given})
    np.testing.assert_array_equal(given, X[..., :100], "inputs are not written to")
    program.reset()
    mine = np.full((2, 1, 100), np.nan)
    result = program.run({"x": given}, out={"out": mine})
    assert result["out"] is mine
    assert_same_bits(mine, want["out"])
    assert_same_bits(result["dry"], want["dry"])


def test_later_changes_of_the_graph_do_not_reach_the_program() -> None:
    g = filters()
    program = amp.compile(g)
    g.output("late", g.add(nodes.Noise()))
    assert set(program.latency) == {"out", "dry"}
    assert set(amp.compile(g).latency) == {"out", "dry", "late"}


def test_rendering_starts_afresh_and_is_aligned(program: Program) -> None:
    whole = program.run({"x": np.pad(X[..., :50], ((0, 0), (0, 0), (0, 2)))})
    rendered = program.render({"x": X[..., :50]})
    assert_same_bits(rendered["out"], whole["out"][..., 2:])
    assert_same_bits(rendered["dry"], X[..., :50])
    assert rendered.latency == {"out": 0, "dry": 0}


def test_progress_is_told_and_ends_at_the_end(program: Program) -> None:
    told: list[tuple[int, int]] = []
    program.run({"x": X}, progress=lambda done, total: told.append((done, total)))
    assert [done for done, _ in told] == sorted({done for done, _ in told})
    assert told[-1] == (40_000, 40_000)
    assert {total for _, total in told} == {40_000}


# ---- parameters


@pytest.mark.parametrize("engine", ENGINES)
def test_parameters_are_set_without_a_recompile(engine: str) -> None:
    program = compiled(engine)
    first = program.run({"x": X[..., :300]})["out"]
    counts = Statistics.compiled, Statistics.from_disk, Statistics.from_memory
    program.set("cutoff1", 5000.0)
    program.set("q", 2.0)
    second = program.run({"x": X[..., :300]})["out"]
    assert (Statistics.compiled, Statistics.from_disk, Statistics.from_memory) == counts
    assert program.params["cutoff1"] == 5000.0
    other = compiled("kpn" if engine == "ipls" else "ipls")
    assert_same_bits(first, other.run({"x": X[..., :300]})["out"])
    other.set("q", 2.0)
    other.set("cutoff1", 5000.0)
    assert_same_bits(second, other.run({"x": X[..., :300]})["out"])
    program.reset()
    assert program.params["q"] == 2.0, "a reset keeps parameters"
    assert (program.run({"x": X[..., :300]})["out"] != first).any()


def test_a_parameter_may_differ_by_lane(program: Program) -> None:
    program.set("q", [[0.7], [3.0]])
    out = program.run({"x": X[..., :300]})["out"]
    program.reset()
    program.set("q", 0.7)
    same = program.run({"x": X[..., :300]})["out"]
    assert_same_bits(out[0], same[0])
    assert (out[1] != same[1]).any()


@pytest.mark.parametrize("engine", ENGINES)
def test_arrays_of_a_node_are_parameters_too(engine: str) -> None:
    g = amp.Graph()
    gains = amp.Param([[1.0, 2.0], [3.0, 4.0]], name="gains")
    g.output("out", g.add(nodes.MatrixMix(gains), g.input("x", 2)))
    program = compiled(engine, g)
    x = np.ones((1, 2, 1))
    assert program.run({"x": x})["out"].ravel().tolist() == [3.0, 7.0]
    program.set("gains", [[0.0, 1.0], [1.0, 0.0]])
    assert program.run({"x": x * [[[5.0], [6.0]]]})["out"].ravel().tolist() == [6.0, 5.0]
    with pytest.raises(BadValue, match="keeps its shape"):
        program.set("gains", 1.0)


@pytest.mark.parametrize(
    "name, value, words",
    [
        ("volume", 1.0, "no parameter 'volume'"),
        ("cutoff0", -1.0, r"lies in \[0, 24000\) Hz"),
        ("cutoff0", np.nan, "is finite"),
        ("cutoff0", "high", "is a real number"),
        ("cutoff0", np.ones((3, 1)), "batch 2 or 1"),
        ("cutoff0", np.ones((1, 3)), "keeps its shape"),
        ("cutoff0", np.ones(2), "array of shape"),
    ],
)
def test_a_refused_parameter_changes_nothing(
    program: Program, name: str, value: Any, words: str
) -> None:
    before = program.params
    with pytest.raises(BadValue, match=words) as caught:
        program.set(name, value)
    assert before == program.params
    if name == "cutoff0":
        assert __file__ in str(caught.value)


def test_two_params_of_one_name_are_refused() -> None:
    g = amp.Graph()
    x = g.input("x")
    for _ in range(2):
        x = g.add(nodes.Gain(), x, gain=amp.Param(0.5, name="gain"))
    g.output("out", x)
    with pytest.raises(BadValue, match="two params are called 'gain'") as caught:
        amp.compile(g)
    assert "'gain.0'" in str(caught.value)
    assert "'gain.1'" in str(caught.value)


# ---- snapshots


def test_a_snapshot_is_a_copy(program: Program) -> None:
    program.run({"x": X[..., :77]})
    state = program.state()
    want = program.run({"x": X[..., 77:200]})["out"]
    for _ in range(2):
        program.restore(state)
        assert program.clock == 77
        assert_same_bits(program.run({"x": X[..., 77:200]})["out"], want)


@pytest.mark.parametrize("engine", ENGINES)
def test_snapshots_of_other_graphs_are_refused(engine: str) -> None:
    program, other = compiled(engine), compiled(engine, filters(5))
    other.run({"x": X[..., :9]})
    program.run({"x": X[..., :9]})
    good = program.state()
    damaged: list[dict[str, Any]] = [
        {"version": 1},
        {"clock": -5},
        {"clock": "a"},
        {"clock": 1 << 62},
        {"nodes": {}},
        {"edges": {**good.edges, ("x", 9): np.zeros(1)}},
        {"nodes": {name: {k: v[:, :0] for k, v in s.items()} for name, s in good.nodes.items()}},
        {"params": {}},
    ]
    wrong: list[Any] = [other.state(), None, {}]
    wrong += [dataclasses.replace(good, **change) for change in damaged]
    for state in wrong:
        with pytest.raises(BadState):
            program.restore(state)
    assert program.clock == 9, "a refused snapshot changes nothing"


# ---- one at a time, interrupts, and the GIL


@pytest.mark.parametrize(
    "action",
    [
        lambda p: p.run({"x": X[..., :5]}),
        lambda p: p.render({"x": X[..., :5]}),
        lambda p: p.reset(),
        lambda p: p.set("q", 1.0),
        lambda p: p.state(),
    ],
    ids=["run", "render", "reset", "set", "state"],
)
def test_a_busy_program_says_so(program: Program, action: Callable[[Program], object]) -> None:
    caught: list[BaseException] = []

    def intrude() -> None:
        try:
            action(program)
        except ProgramBusy as error:
            caught.append(error)

    def progress(_done: int, _total: int) -> None:
        thread = threading.Thread(target=intrude)
        thread.start()
        thread.join(10)
        intrude()

    result = program.run({"x": X}, progress=progress)["out"]
    assert caught
    program.reset()
    assert_same_bits(program.run({"x": X})["out"], result)


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_an_interrupt_in_a_callback_leaves_the_program_usable(
    program: Program, error: type[BaseException]
) -> None:
    want = program.run({"x": X})["out"]
    program.reset()

    def stop(_done: int, _total: int) -> None:
        raise error

    with pytest.raises(error):
        program.run({"x": X}, progress=stop)
    at = program.clock
    assert 0 < at < X.shape[2]
    assert_same_bits(program.run({"x": X[..., at:]})["out"], want[..., at:])


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
def test_an_interrupt_by_signal_leaves_the_program_usable(engine: str) -> None:
    g = filters(12, batch=1)
    program = compiled(engine, g)
    x = np.random.default_rng(1).normal(size=(1, 1, 4_000_000))
    program.run({"x": x[..., :4096]})
    program.reset()
    handler = signal.signal(signal.SIGALRM, signal.default_int_handler)
    before = time.perf_counter()

    def run_and_run() -> None:
        for _ in range(20):
            program.run({"x": x})

    try:
        signal.setitimer(signal.ITIMER_REAL, 0.06)
        with pytest.raises(KeyboardInterrupt):
            run_and_run()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, handler)
    assert time.perf_counter() - before < 1.5, "a native call is kept short"
    at = program.clock
    assert at > 0
    program.restore(program.state())
    rest = np.resize(x, (1, 1, at + 500))
    got = program.run({"x": rest[..., at:]})
    program.reset()
    want = program.run({"x": rest})
    for name in want:
        assert_same_bits(got[name], want[name][..., at:], name)


@pytest.mark.slow
def test_the_gil_is_released() -> None:
    """Another thread ticks on while native code runs, and not only between its calls."""
    program = compiled("kpn", filters(12, batch=1))
    calls, ticks = itertools.count(), 0
    x = np.zeros((1, 1, 4_000_000))
    thread = threading.Thread(
        target=program.run, args=({"x": x},), kwargs={"progress": lambda *_: next(calls)}
    )
    thread.start()
    while thread.is_alive():
        time.sleep(0.001)
        ticks += 1
    assert ticks > 3 * next(calls)


# ---- what it tells of itself


@pytest.mark.parametrize("engine", ENGINES)
def test_programs_explain_themselves(engine: str) -> None:
    program = compiled(engine)
    name = "KPN" if engine == "kpn" else "IPLS of block 64"
    assert repr(program) == f"<Program, {name}, {len(filters().nodes)} nodes, clock 0>"
    text = program.explain()
    assert text.startswith(name)
    assert "kernel(s)" in text
    assert ("StateVariable x4" in text) == (engine == "ipls")
    assert "lane(s) of width" in text
    assert "%0 = " in program.ir
    assert "store 0.0" in program.ir
    assert program.schedule is None or program.schedule.block == 64


def test_assembly_is_shown(program: Program) -> None:
    try:
        text = program.asm
    except FileNotFoundError:
        pytest.skip("no objdump on this machine")
    assert "<kernel>:" in text
    assert "ret" in text


def test_passes_can_be_watched() -> None:
    seen: list[str] = []
    amp.compile(filters(), watch=lambda name, _: seen.append(name))
    assert {"expand_elementary", "prune"} <= set(seen)


@pytest.mark.parametrize("engine", ENGINES)
def test_timing_is_counted_on_request(engine: str) -> None:
    program = compiled(engine, timing=True)
    want = compiled(engine).run({"x": X})["out"]
    assert_same_bits(program.run({"x": X})["out"], want)
    rows = program.timing
    assert all(row.frames in {40_000, 40_000 - 2} for row in rows)
    assert all(1 <= row.firings <= 40_000 and row.seconds > 0 for row in rows)
    program.reset()
    assert all((row.firings, row.frames, row.seconds) == (0, 0, 0.0) for row in program.timing)
    with pytest.raises(BadValue, match=r"timing=True"):
        compiled(engine).timing  # noqa: B018


@pytest.mark.parametrize("threads", [2, 4])
def test_threads_and_timing_go_together(threads: int) -> None:
    try:
        load_pool()
    except ArchetypeUnavailable as error:
        pytest.skip(f"no thread pool: {error}")
    program = compiled("ipls", threads=threads, timing=True)
    assert_same_bits(program.run({"x": X})["out"], compiled("kpn").run({"x": X})["out"])
    assert all(row.firings for row in program.timing)


def test_programs_run_at_the_same_time_in_threads() -> None:
    g = filters()
    want = amp.compile(g).run({"x": X})["out"]
    with ThreadPoolExecutor(6) as pool:
        programs = [pool.submit(compiled, engine, g) for engine in ENGINES * 3]
        runs = [pool.submit(program.result().run, {"x": X}) for program in programs]
    for run in runs:
        assert_same_bits(run.result()["out"], want)


def test_a_clone_shares_code_and_not_state() -> None:
    program = compiled("ipls")
    program.set("q", 2.0)
    first = program.run({"x": X[..., :50]})
    before = (Statistics.compiled, Statistics.from_disk, Statistics.from_memory)
    other = program.clone()
    assert (Statistics.compiled, Statistics.from_disk) == before[:2]
    assert (other.clock, program.clock) == (0, 50)
    assert other.params["q"] == 2.0
    again = other.run({"x": X[..., :50]})
    for name in first:
        assert_same_bits(again[name], first[name], name)
    other.set("q", 0.5)
    assert program.params["q"] == 2.0


@pytest.mark.parametrize("block", [None, 64])
def test_memory_is_said_edge_by_edge(block: int | None) -> None:
    g = amp.Graph()
    x = g.input("x")
    late = g.add(nodes.Gain(), amp.edge(x, delay=100, initial=(0.0, 7)), name="late")
    g.output("out", late)
    program = amp.compile(g, None if block is None else amp.plan(g, block))
    program.run({"x": X[:1, :1, :50]})
    (use,) = [use for use in program.memory.rings if use.consumer == "late"]
    assert (use.source, use.tokens) == ("x", 57)  # 93 frames to go until the first is taken
    assert use.tokens <= use.capacity
    program.run({"x": np.zeros((1, 1, 1000))})
    (use,) = [use for use in program.memory.rings if use.consumer == "late"]
    assert use.tokens == 100
    assert "x -> late: 100 of" in str(program.memory)
    assert program.memory.bytes > use.bytes
