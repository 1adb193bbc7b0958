"""The prebuilt kernels: bits, levels, adjoints, refusals; and the thread pool."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import numpy.typing as npt
import pytest
from bits import assert_same_bits
from references.archetypes import fma, matrix_mix_adjoint, matrix_mix_forward

import amp
from amp import nodes
from amp.errors import ArchetypeUnavailable
from amp.jit import archetypes, runtime
from amp.jit.archetypes import Archetype

if TYPE_CHECKING:
    from collections.abc import Iterator

Matrix = npt.NDArray[np.float64]
ROWS = archetypes.manifest()
ROW = ROWS["matrix_mix"]
LEVELS = ["v2", "v3", "v4"]

# (c_in, c_out, frames): single, odd, and past every tile, panel and depth of the kernel.
SMALL = [(1, 1, 1), (1, 3, 2), (3, 1, 5), (2, 2, 17), (5, 7, 9), (3, 4, 33)]
LARGE = [(64, 64, 64), (64, 64, 1024), (65, 63, 31), (130, 67, 101), (1, 200, 129), (200, 1, 65)]


def runs(level: str) -> bool:
    """Tell whether this processor can execute a level's library."""
    host = archetypes.host_level()
    return level <= host if host != "portable" else level == "portable"


def forward(kernel: Archetype, w: Matrix, x: Matrix) -> Matrix:
    return kernel.forward(w.shape[::-1], x.shape[1], {"matrix": w, "input": x})["out"]


def adjoint(
    kernel: Archetype, w: Matrix, x: Matrix, dy: Matrix, dw: Matrix
) -> tuple[Matrix, Matrix]:
    given = {"matrix": w, "input": x, "d_out": dy, "d_matrix": dw}
    got = kernel.adjoint(w.shape[::-1], x.shape[1], given)
    return got["d_matrix"], got["d_input"]


def case(c_in: int, c_out: int, frames: int) -> tuple[Matrix, Matrix, Matrix, Matrix]:
    rng = np.random.default_rng([c_in, c_out, frames])
    shapes = [(c_out, c_in), (c_in, frames), (c_out, frames), (c_out, c_in)]
    w, x, dy, dw = (rng.normal(size=shape) for shape in shapes)
    return w, x, dy, dw


@pytest.fixture(scope="module")
def kernel() -> Archetype:
    return archetypes.load("matrix_mix")


def test_reference_fma_rounds_once() -> None:
    near = 1 + 2.0**-30
    assert fma(near, near, -1.0) == 2.0**-29 + 2.0**-60 != near * near - 1.0


@pytest.mark.eigen
@pytest.mark.parametrize("size", SMALL)
def test_small_products_equal_the_reference_bitwise(
    kernel: Archetype, size: tuple[int, int, int]
) -> None:
    w, x, dy, dw = case(*size)
    np.testing.assert_array_equal(forward(kernel, w, x), matrix_mix_forward(w, x))
    got = adjoint(kernel, w, x, dy, dw)
    for value, expected in zip(got, matrix_mix_adjoint(w, x, dy, dw), strict=True):
        np.testing.assert_array_equal(value, expected)


@pytest.mark.eigen
@pytest.mark.parametrize("size", LARGE)
def test_large_products_agree_with_numpy(kernel: Archetype, size: tuple[int, int, int]) -> None:
    w, x, dy, dw = case(*size)
    np.testing.assert_allclose(forward(kernel, w, x), w @ x, atol=1e-11)
    got_dw, got_dx = adjoint(kernel, w, x, dy, dw)
    np.testing.assert_allclose(got_dw, dw + dy @ x.T, atol=1e-11)
    np.testing.assert_allclose(got_dx, w.T @ dy, atol=1e-11)


@pytest.mark.eigen
@pytest.mark.parametrize("size", [*SMALL, *LARGE])
def test_adjoint_passes_the_dot_product_test(kernel: Archetype, size: tuple[int, int, int]) -> None:
    w, x, dy, dw = case(*size)
    got_dw, got_dx = adjoint(kernel, w, x, dy, np.zeros_like(dw))
    rng = np.random.default_rng(1)
    step_w, step_x = rng.normal(size=w.shape), rng.normal(size=x.shape)
    pushed = forward(kernel, step_w, x) + forward(kernel, w, step_x)
    assert np.vdot(dy, pushed) == pytest.approx(
        np.vdot(got_dw, step_w) + np.vdot(got_dx, step_x), rel=1e-9, abs=1e-9
    )


@pytest.mark.eigen
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("size", [*SMALL, (130, 67, 101)])
def test_every_level_gives_the_same_bits(
    kernel: Archetype, level: str, size: tuple[int, int, int]
) -> None:
    if not runs(level):
        pytest.skip(f"this processor cannot run {level}")
    w, x, dy, dw = case(*size)
    y = forward(archetypes.open_level("matrix_mix", level), w, x)
    np.testing.assert_array_equal(y, forward(kernel, w, x))
    got = adjoint(archetypes.open_level("matrix_mix", level), w, x, dy, dw)
    for value, expected in zip(got, adjoint(kernel, w, x, dy, dw), strict=True):
        np.testing.assert_array_equal(value, expected)


@pytest.mark.eigen
def test_any_split_of_the_frames_gives_the_same_bits(kernel: Archetype) -> None:
    w, x, dy, dw = case(6, 5, 100)
    pieces = [slice(0, 37), slice(37, 38), slice(38, 100)]
    y = [forward(kernel, w, np.ascontiguousarray(x[:, p])) for p in pieces]
    np.testing.assert_array_equal(np.hstack(y), forward(kernel, w, x))
    whole_dw, whole_dx = adjoint(kernel, w, x, dy, dw)
    split_dx: list[Matrix] = []
    for p in reversed(pieces):
        dw, dx = adjoint(kernel, w, x[:, p].copy(), dy[:, p].copy(), dw)
        split_dx.insert(0, dx)
    np.testing.assert_array_equal(dw, whole_dw)
    np.testing.assert_array_equal(np.hstack(split_dx), whole_dx)


@pytest.mark.eigen
def test_nonfinite_input_stays_in_its_frame(kernel: Archetype) -> None:
    w, x, _, _ = case(4, 4, 10)
    x[2, 3] = np.nan
    y = forward(kernel, w, x)
    assert np.isnan(y[:, 3]).all()
    assert np.isfinite(np.delete(y, 3, axis=1)).all()


@pytest.mark.eigen
def test_loading_is_done_once(kernel: Archetype) -> None:
    assert archetypes.load("matrix_mix") is kernel


def test_an_unknown_archetype_names_the_known_ones() -> None:
    with pytest.raises(ArchetypeUnavailable, match=r"one of .*matrix_mix"):
        archetypes.load("matrix_mux")


def test_without_cppyy_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    archetypes.load.cache_clear()
    monkeypatch.setitem(sys.modules, "cppyy", None)
    with pytest.raises(ArchetypeUnavailable, match=r"pip install 'amp-dsp\[archetypes\]'"):
        archetypes.load("matrix_mix")


def test_without_cppyy_what_has_a_twin_is_computed_in_ir(monkeypatch: pytest.MonkeyPatch) -> None:
    g = amp.Graph()
    g.output("out", g.add(nodes.MatrixMix(np.eye(17)), g.input("x", 17)))
    archetypes.load.cache_clear()
    monkeypatch.setitem(sys.modules, "cppyy", None)
    assert "in IR" in amp.compile(g).explain()
    with pytest.raises(ArchetypeUnavailable, match="pip install"):
        amp.compile(g, archetypes="eigen")


def test_a_missing_library_is_named() -> None:
    with pytest.raises(ArchetypeUnavailable, match=r"libamp_archetypes_v9\.so"):
        archetypes.library_path("v9")


@pytest.mark.eigen
def test_a_header_that_disagrees_with_its_row_is_refused(kernel: Archetype) -> None:
    import cppyy  # noqa: TID251

    wrong = msgspec.structs.replace(ROW, prepares=True)
    with pytest.raises(ArchetypeUnavailable, match="header agrees with its manifest row"):
        archetypes._addresses(cppyy, wrong)


@pytest.mark.eigen
def test_a_wrong_answer_fails_the_self_test(kernel: Archetype) -> None:
    for name, value in ROW.self_test.expected.items():
        near = np.nextafter(value, np.inf).tolist()
        test = msgspec.structs.replace(
            ROW.self_test, expected={**ROW.self_test.expected, name: near}
        )
        wrong = Archetype(msgspec.structs.replace(ROW, self_test=test), kernel.address)
        with pytest.raises(ArchetypeUnavailable, match=f"got: {name} ="):
            archetypes.self_test(wrong)


def test_importing_amp_does_not_load_cppyy() -> None:
    code = "import sys, amp, amp.jit.archetypes; assert 'cppyy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


# The pool.


@pytest.fixture(params=[1, 2, 5])
def pool(request: pytest.FixtureRequest) -> Iterator[tuple[runtime.Pool, int]]:
    functions = runtime.load_pool()
    handle = functions.create(request.param)
    assert handle is not None
    yield functions, handle
    functions.destroy(handle)


@pytest.mark.parametrize("count", [0, 1, 2, 7, 1000])
def test_the_pool_runs_every_index_once(pool: tuple[runtime.Pool, int], count: int) -> None:
    functions, handle = pool
    seen = np.zeros(count + 1, dtype=np.int64)

    @functions.task
    def task(argument: int, index: int) -> None:
        assert argument == 1234
        seen[index] += 1

    for _ in range(3):
        functions.run(handle, task, 1234, count)
    assert seen.tolist() == [3] * count + [0]


def test_the_pool_uses_its_workers_and_the_caller(pool: tuple[runtime.Pool, int]) -> None:
    functions, handle = pool
    threads = set()

    @functions.task
    def task(_argument: int, _index: int) -> None:
        threads.add(threading.get_native_id())
        time.sleep(0.005)

    functions.run(handle, task, None, 20)
    assert threading.get_native_id() in threads
    assert len(threads) > 1


def test_a_run_inside_a_run_does_not_lock_up(pool: tuple[runtime.Pool, int]) -> None:
    functions, handle = pool
    counted = np.zeros(64, dtype=np.int64)

    @functions.task
    def inner(argument: int | None, index: int) -> None:
        counted[8 * (argument or 0) + index] += 1

    @functions.task
    def outer(_argument: int, index: int) -> None:
        functions.run(handle, inner, index, 8)

    functions.run(handle, outer, None, 8)
    assert (counted == 1).all()


@pytest.mark.skipif(archetypes.host_level() == "portable", reason="reads the x86 behaviour")
def test_workers_flush_denormals_and_the_caller_does_not(
    pool: tuple[runtime.Pool, int],
) -> None:
    functions, handle = pool
    halves: dict[int, float] = {}
    smallest, half = sys.float_info.min, 0.5

    @functions.task
    def task(_argument: int, _index: int) -> None:
        halves[threading.get_native_id()] = smallest * half
        time.sleep(0.005)

    functions.run(handle, task, None, 20)
    assert halves.pop(threading.get_native_id()) > 0.0
    assert set(halves.values()) == {0.0}


def test_a_null_pool_runs_on_the_caller() -> None:
    functions = runtime.load_pool()
    order = []

    @functions.task
    def task(_argument: int, index: int) -> None:
        order.append((index, threading.get_native_id()))

    functions.run(None, task, None, 3)
    assert order == [(i, threading.get_native_id()) for i in range(3)]


@pytest.mark.eigen
@pytest.mark.parametrize("tokens", [1, 3, 64, 256])
def test_a_kernel_in_a_loop_of_its_own_sees_what_it_has_just_written(tokens: int) -> None:
    """A prebuilt kernel works on whole blocks, in its rings: the loop has to be narrowed, if it is one node
    too, and what it writes must not lie where it still reads."""
    g = amp.Graph()
    loop = g.feedback(2)
    given = amp.edge(loop, initial=(1.0, tokens))
    mixed = g.add(nodes.MatrixMix([[0.5, 0.25], [0.125, 0.5]]), given)
    loop.connect(mixed)
    g.output("out", mixed)
    want = amp.compile(g, archetypes="ir").run(frames=600)["out"]
    for ipls in (None, amp.plan(g, 64), amp.plan(g, 256)):
        got = amp.compile(g, ipls, archetypes="eigen").run(frames=600)["out"]
        assert_same_bits(got, want)


@pytest.mark.eigen
def test_a_matrix_counts_by_its_size_whether_or_not_it_can_be_set() -> None:
    for matrix in (np.eye(17), amp.Param(np.eye(17), name="bleed")):
        g = amp.Graph()
        g.output("out", g.add(nodes.MatrixMix(matrix), g.input("x", channels=17)))
        assert "archetype matrix_mix" in amp.compile(g).explain()
