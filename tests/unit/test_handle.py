"""A program run by native code: the same bits as by `run`, in turn with it, and codes for what would raise."""

from __future__ import annotations

import subprocess
import sys
import threading
from typing import Any

import numba
import numpy as np
import pytest
from bits import assert_same_bits, assert_same_runs
from native_calls import call, native_run

import amp
from amp import nodes
from amp.errors import BadGraph, ProgramBusy
from amp.jit.handle import BUSY, DONE, INVALID, STANDING


def graph(gain: float = 0.5, outputs: tuple[str, ...] = ("out",), batch: int = 1) -> amp.Graph:
    g = amp.Graph(batch=batch)
    low = g.add(
        nodes.OnePole(), g.input("x", 2), cutoff=amp.Param(900.0, name="cutoff"), name="low"
    )
    for name in outputs:
        g.output(name, amp.edge(g.add(nodes.Gain(), low, gain=gain), delay=30))
    return g


def schedules(g: amp.Graph) -> list[amp.IPLS | None]:
    return [None, amp.plan(g, 16)]


@pytest.mark.parametrize("threads", [1, 2])
def test_native_calls_and_runs_come_in_turn(threads: int) -> None:
    g = graph(batch=3, outputs=("out", "other"))
    x = np.random.default_rng(1).normal(size=(3, 2, 400))
    want = amp.compile(g).run({"x": x})
    for schedule in schedules(g):
        program = amp.compile(g, schedule, threads=threads)
        pieces = []
        for number, (a, b) in enumerate([(0, 1), (1, 20), (20, 33), (33, 300), (300, 400)]):
            part = {"x": x[..., a:b]}
            native = number % 2 == 0
            pieces.append(native_run(program, part, b - a) if native else program.run(part))
            assert program.clock == b
        for name in want:
            joined = np.concatenate([piece[name] for piece in pieces], axis=2)
            assert_same_bits(joined, want[name], name)
        program.reset()
        assert_same_runs(native_run(program, {"x": x}, 400), want)


@pytest.mark.parametrize("block", [None, 100])
def test_native_calls_move_heat(block: int | None) -> None:
    """Over more cells than are kept at a time."""
    g = graph()
    x = np.random.default_rng(3).normal(size=(1, 2, 90_000))
    want = amp.compile(g).run({"x": x}).heat
    program = amp.compile(g, amp.plan(g, block) if block else None)
    program.run({"x": x[..., :100]})
    native_run(program, {"x": x[..., 100:85_000]}, 84_900)
    got = program.run({"x": x[..., 85_000:]}).heat
    np.testing.assert_array_equal(got.clock, [86_016, 90_000])
    for name in want:
        assert_same_bits(got[name], want[name][:, -2:], name)


def test_a_jitted_loop_drives_programs_without_the_gil() -> None:
    """Two threads, each with a program of its own, and one that swaps and sets meanwhile."""
    g = graph()
    x = np.random.default_rng(2).normal(size=(1, 2, 64))
    programs = [amp.compile(g, schedule) for schedule in schedules(g)]
    handles = [program.handle() for program in programs]
    run = handles[0].run
    assert handles[1].address == handles[0].address

    @numba.njit(nogil=True)
    def drive(program, x, y, calls):  # type: ignore[no-untyped-def]
        inputs, outputs = np.empty(1, np.uintp), np.empty(1, np.uintp)
        inputs[0], outputs[0] = x.ctypes.data, y.ctypes.data
        for _ in range(calls):
            answer = run(program, inputs.ctypes.data, outputs.ctypes.data, x.shape[2])
            if answer != 0:
                return answer
        return 0

    answers: dict[int, int] = {}
    y = np.empty((2, 1, 2, 64))

    def work(number: int) -> None:
        answers[number] = drive(handles[number].program, x, y[number], 3000)

    drive(handles[0].program, x, y[0], 0)
    threads = [threading.Thread(target=work, args=(number,)) for number in (0, 1)]
    for thread in threads:
        thread.start()
    for number in range(6):
        for program in programs:
            program.swap(graph(0.5 if number % 2 else 0.25))
    for thread in threads:
        thread.join()
    assert answers == {0: 0, 1: 0}
    assert [program.clock for program in programs] == [3000 * 64] * 2
    assert_same_bits(y[0], y[1])
    want = programs[0].run({"x": x})["out"]
    assert_same_bits(native_run(programs[1], {"x": x}, 64)["out"], want)


def test_parameters_state_and_clones_know_nothing_of_a_handle() -> None:
    g = graph()
    x = np.random.default_rng(3).normal(size=(1, 2, 50))
    for schedule in schedules(g):
        program, other = amp.compile(g, schedule), amp.compile(g)
        handle = program.handle()
        assert program.handle() is handle
        native_run(program, {"x": x}, 50)
        other.restore(program.state())
        for one in (program, other):
            one.set("cutoff", 100.0)
        want = other.run({"x": x})["out"]
        clone = program.clone()
        clone.restore(program.state())
        assert clone.handle() is not handle
        assert_same_bits(native_run(clone, {"x": x}, 50)["out"], want)
        assert program.clock == 50
        assert_same_bits(native_run(program, {"x": x}, 50)["out"], want)


def test_what_would_raise_is_a_code_and_changes_nothing() -> None:
    g = graph()
    x = {"x": np.ones((1, 2, 10))}
    for schedule in schedules(g):
        program = amp.compile(g, schedule)
        handle = program.handle()
        y = {"out": np.full((1, 2, 10), np.nan)}
        assert call(handle, x, y, -1) == INVALID
        assert handle.run(0, 0, 0, 4) == INVALID
        assert handle.run(handle.program, 0, 0, 4) == INVALID
        null = np.zeros(1, np.int64)
        for tables in ((null, null), (np.array([x["x"].ctypes.data]), null)):
            read, written = (table.ctypes.data for table in tables)
            assert handle.run(handle.program, read, written, 4) == INVALID
        assert call(handle, x, y, 0) == DONE
        assert program.clock == 0
        assert np.isnan(y["out"]).all()
        assert call(handle, x, y, 10) == DONE


@pytest.mark.parametrize("schedule", schedules(graph()))
def test_a_crossfade_and_other_outputs_are_refused_until_they_are_over(
    schedule: amp.IPLS | None,
) -> None:
    x = {"x": np.ones((1, 2, 10))}
    y = {"out": np.full((1, 2, 10), np.nan), "more": np.full((1, 2, 10), np.nan)}
    program = amp.compile(graph(), schedule)
    handle = program.handle()
    program.swap(graph(2.0), crossfade=15)
    assert call(handle, x, y, 10) == STANDING
    program.run(x)
    assert call(handle, x, y, 10) == STANDING
    assert np.isnan(y["out"]).all()
    program.run(x)
    assert call(handle, x, y, 10) == DONE
    assert program.clock == 30
    program.swap(graph(2.0, outputs=("out", "more")))
    assert call(handle, x, y, 10) == STANDING
    assert np.isnan(y["more"]).all()
    assert program.handle() is handle
    assert handle.outputs == ("out", "more")
    assert call(handle, x, y, 10) == DONE
    assert not np.isnan(y["more"]).any()
    program.swap(graph())
    assert call(handle, x, y, 10) == STANDING
    program.swap(graph(outputs=("out", "more")))
    assert call(handle, x, y, 10) == DONE
    program.swap(graph(), crossfade=50)
    program.reset()
    assert call(handle, x, y, 10) == STANDING
    assert program.handle().outputs == ("out",)
    assert call(handle, x, y, 10) == DONE


@pytest.mark.parametrize("schedule", schedules(graph()))
def test_a_program_in_use_is_busy_on_both_sides(schedule: amp.IPLS | None) -> None:
    x, y = {"x": np.ones((1, 2, 10))}, {"out": np.full((1, 2, 10), np.nan)}
    program = amp.compile(graph(), schedule)
    handle = program.handle()
    answers: list[int] = []
    program.run(x, progress=lambda *_: answers.append(call(handle, x, y, 10)))
    assert answers == [BUSY]
    assert np.isnan(y["out"]).all()
    assert handle.enter()  # as a native call does
    for use in (program.reset, program.state, lambda: program.run(x), program.handle):
        with pytest.raises(ProgramBusy):
            use()
    swapped = threading.Thread(target=program.swap, args=(graph(2.0),))
    swapped.start()
    swapped.join(0.05)
    assert swapped.is_alive()
    handle.leave(ready=True)
    swapped.join()
    assert program.clock == 10
    program.set("cutoff", 24.0)
    assert call(handle, x, y, 10) == DONE


def test_rates_that_depend_on_data_have_no_handle() -> None:
    g = amp.Graph()
    x = g.input("x")
    loud, _ = g.add(nodes.Switch(), x, control=x)
    g.output("out", amp.edge(loud, default=0.0))
    program = amp.compile(g)
    with pytest.raises(BadGraph, match="do not depend on data") as caught:
        program.handle()
    assert "Switch" in str(caught.value)
    program.run({"x": np.ones((1, 1, 4))})


def test_a_handle_keeps_its_program() -> None:
    def only_handle() -> Any:
        return amp.compile(graph()).handle()

    handle = only_handle()
    x, y = {"x": np.ones((1, 2, 40))}, {"out": np.empty((1, 2, 40))}
    assert call(handle, x, y, 40) == DONE
    assert_same_bits(y["out"], amp.compile(graph()).run(x)["out"])


def test_a_program_without_a_handle_loads_no_numba() -> None:
    code = "import amp, sys; g = amp.Graph(); g.output('o', g.input('x')); amp.compile(g).handle()"
    subprocess.run([sys.executable, "-c", f"{code}; assert 'numba' not in sys.modules"], check=True)
