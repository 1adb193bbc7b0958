"""Convolution: the kernels by themselves, at every level, and the node type in graphs."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from bits import assert_same_bits
from scipy.signal import correlate, lfilter, oaconvolve

import amp
from amp import nodes
from amp.errors import BadNode
from amp.jit import archetypes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bits import Array

    from amp.contract import Trace
    from amp.ir import Value
    from amp.jit.archetypes import Archetype

pytestmark = pytest.mark.eigen

OWN, SHARED, MATRIX = "own", "shared", "matrix"
# form, outputs, inputs, taps, head, block, frames: chains alone, one size of partitions and several, odd sizes.
CASES = [
    (OWN, 1, 1, 1, 128, 1, 40),
    (OWN, 3, 3, 100, 128, 1, 700),
    (SHARED, 3, 3, 70, 128, 1, 300),
    (MATRIX, 5, 4, 16, 128, 1, 600),
    (OWN, 2, 2, 65, 64, 1, 400),
    (SHARED, 3, 3, 700, 64, 1, 1800),
    (MATRIX, 2, 3, 900, 64, 1, 2100),
    (MATRIX, 6, 1, 333, 8, 1, 1500),
    (OWN, 2, 2, 9000, 64, 1, 12_000),
    (OWN, 2, 2, 40, 0, 64, 640),
    (MATRIX, 3, 2, 2000, 0, 50, 5000),
    (SHARED, 2, 2, 17, 0, 2, 300),
]


class Case:
    """A kernel, its taps, a signal and the cotangents of what it makes."""

    def __init__(self, *case: Any) -> None:
        form, outs, ins, taps, head, self.block, frames = case
        rows = {OWN: outs, SHARED: 1, MATRIX: outs * ins}[form]
        self.form, self.sizes = form, (rows, outs, ins, taps, head, self.block)
        rng = np.random.default_rng([*map(ord, form), *case[1:]])
        self.taps, self.x, self.dy = (
            rng.normal(size=shape) for shape in [(rows, taps), (ins, frames), (outs, frames)]
        )
        self.rng = rng

    def paths(self) -> list[tuple[int, int, int]]:
        """Output, input, row of the taps."""
        _, outs, ins, *_ = self.sizes
        if self.form == MATRIX:
            return [(o, i, o * ins + i) for o in range(outs) for i in range(ins)]
        return [(c, c, 0 if self.form == SHARED else c) for c in range(outs)]

    def pieces(self, count: int) -> list[tuple[int, int]]:
        """The frames as so many calls, of whole firings."""
        firings = self.x.shape[1] // self.block
        cuts = np.unique([0, firings, *self.rng.integers(0, firings, count - 1)]) * self.block
        return [(int(a), int(b)) for a, b in pairwise(cuts)]

    def run(self, kernel: Archetype, pieces: list[tuple[int, int]]) -> dict[str, Array]:
        """Forward over the pieces, and back; what there is at both ends."""
        state = kernel.fresh(self.sizes)
        before, made = [], []
        for begin, end in pieces:
            before.append(state.copy())
            given = {"taps": self.taps, "input": self.x[:, begin:end]}
            made.append(
                kernel.forward(self.sizes, (end - begin) // self.block, given, state)["out"]
            )
        d_state, d_taps, d_input = np.zeros_like(state), np.zeros_like(self.taps), []
        for (begin, end), then in zip(reversed(pieces), reversed(before), strict=True):
            given = {"taps": self.taps, "input": self.x[:, begin:end]}
            given |= {"d_out": self.dy[:, begin:end], "d_taps": d_taps}
            firings = (end - begin) // self.block
            got = kernel.adjoint(self.sizes, firings, given, then, d_state)
            d_taps, back = got["d_taps"], got["d_input"]
            d_input.append(back)
        return {
            "out": np.hstack(made),
            "state": state,
            "d_input": np.hstack(d_input[::-1]),
            "d_taps": d_taps,
            "d_state": d_state,
        }


@pytest.fixture(scope="module")
def kernel() -> Archetype:
    return archetypes.load("fir")


def close(got: Array, want: Array) -> None:
    """To 1e-12 of the largest."""
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-12 * np.abs(want).max())


@pytest.mark.parametrize("case", CASES)
def test_a_kernel_and_its_adjoint_are_scipys(kernel: Archetype, case: Any) -> None:
    this = Case(*case)
    got = this.run(kernel, this.pieces(5))
    want = {name: np.zeros_like(got[name]) for name in ("out", "d_input", "d_taps")}
    frames, taps = this.x.shape[1], this.taps.shape[1]
    for o, i, row in this.paths():
        want["out"][o] += oaconvolve(this.x[i], this.taps[row])[:frames]
        want["d_input"][i] += oaconvolve(this.dy[o, ::-1], this.taps[row])[:frames][::-1]
        lags = correlate(this.dy[o], this.x[i])[frames - 1 :][:taps]
        want["d_taps"][row, : len(lags)] += lags
    for name, array in want.items():
        close(got[name], array)


@pytest.mark.parametrize("case", CASES)
def test_no_split_and_no_level_changes_a_bit(kernel: Archetype, case: Any) -> None:
    this = Case(*case)
    want = this.run(kernel, [(0, this.x.shape[1])])
    host = archetypes.host_level()
    known = [level for level in ("v2", "v3", "v4") if level <= host] if host != "portable" else []
    others = [archetypes.open_level("fir", level) for level in known]
    for other in [kernel, kernel, *others]:
        got = this.run(other, this.pieces(12))
        for name, array in want.items():
            assert_same_bits(got[name], array, name)


@pytest.mark.parametrize("case", CASES)
def test_the_cotangent_of_a_state_is_the_transposed_derivative(
    kernel: Archetype, case: Any
) -> None:
    """Outputs and the state afterwards are linear in the state before."""
    this = Case(*case)
    half = this.x.shape[1] // this.block // 2 * this.block
    firings = (this.x.shape[1] - half) // this.block
    state = kernel.fresh(this.sizes)
    given = {"taps": this.taps, "input": this.x[:, :half]}
    kernel.forward(this.sizes, half // this.block, given, state)
    move, later = this.rng.normal(size=(2, len(state)))
    move[0] = later[0] = 0.0  # the count
    given = {"taps": this.taps, "input": this.x[:, half:], "d_out": this.dy[:, half:]}
    ends = []
    for start in (state, state + move):
        end = start.copy()
        out = kernel.forward(this.sizes, firings, given, end)["out"]
        ends.append(float((given["d_out"] * out).sum() + later @ end))
    kernel.adjoint(this.sizes, firings, given, state, later)
    assert later @ move == pytest.approx(ends[1] - ends[0], rel=1e-9, abs=1e-9)


def test_a_state_from_anywhere_is_read_within_its_bounds(kernel: Archetype) -> None:
    this = Case(*CASES[6])
    for count in (-3.0, 0.5, 1e300, np.nan, np.inf):
        state = np.full_like(kernel.fresh(this.sizes), count)
        given = {"taps": this.taps, "input": this.x[:, :300]}
        assert kernel.forward(this.sizes, 300, given, state)["out"].shape == (2, 300)


# ---- the node type


class Twin(amp.NodeType, register=False):
    """A matrix of short responses, traced: the chains of the kernel in IR."""

    taps: Any
    inlets = (amp.Inlet("input"),)
    params = ("taps",)
    channels = "all"

    def out_channels(self, widths: dict[str, int]) -> int:
        return len(self.taps)

    def forward(self, b: Trace, x: list[Value]) -> list[Value]:
        taps = b.param("taps")
        lines = [b.line(f"x{i}", value, len(taps[0][0])) for i, value in enumerate(x)]
        out = []
        for row in taps:
            total = b.const(0.0)
            for line, response in zip(lines, row, strict=True):
                for k, tap in enumerate(response):
                    total = b.fma(tap, b.tap(line, k), total)
            out.append(total)
        return out


def graph_of(node: amp.NodeType, channels: int, batch: int = 1) -> amp.Graph:
    g = amp.Graph(batch=batch)
    g.output("out", g.add(node, g.input("x", channels)))
    return g


def run_in_pieces(program: Any, x: Array, ends: Sequence[int]) -> Array:
    cuts = [0, *ends, x.shape[-1]]
    return np.concatenate(
        [program.run({"x": x[..., a:b]})["out"] for a, b in pairwise(cuts)], axis=2
    )


def test_short_responses_have_the_bits_of_their_twin_in_ir() -> None:
    rng = np.random.default_rng(3)
    taps, x = rng.normal(size=(3, 2, 5)), rng.normal(size=(2, 2, 300))
    want = amp.compile(graph_of(Twin(taps), 2, batch=2)).run({"x": x})["out"]
    got = amp.compile(graph_of(nodes.FIR(taps), 2, batch=2)).run({"x": x})["out"]
    assert_same_bits(got, want)


@pytest.mark.parametrize("block", [0, 1, 7, 256, 1000])
@pytest.mark.parametrize("taps", [3, 128, 129, 3000])
def test_every_engine_and_block_is_lfilter(taps: int, block: int) -> None:
    rng = np.random.default_rng(taps)
    h, x = rng.normal(size=(3, taps)), rng.normal(size=(2, 3, 3500))
    g = graph_of(nodes.FIR(h), 3, batch=2)
    program = amp.compile(g, amp.plan(g, block) if block else None)
    got = run_in_pieces(program, x, [1, 64, 1300])
    for channel, response in enumerate(h):
        close(got[:, channel], lfilter(response, 1.0, x[:, channel]))
    assert_same_bits(got, amp.compile(g).run({"x": x})["out"])


def test_one_response_is_for_every_channel_and_one_channel_for_every_response() -> None:
    rng = np.random.default_rng(5)
    h, x = rng.normal(size=(3, 200)), rng.normal(size=(1, 3, 500))
    shared = amp.compile(graph_of(nodes.FIR(h[0]), 3)).run({"x": x})["out"]
    spread = amp.compile(graph_of(nodes.FIR(h), 1)).run({"x": x[:, :1]})["out"]
    for c in range(3):
        close(shared[:, c], lfilter(h[0], 1.0, x[:, c]))
        close(spread[:, c], lfilter(h[c], 1.0, x[:, 0]))


@pytest.mark.parametrize("taps", [20, 700])
def test_a_block_is_a_latency_that_is_compensated(taps: int) -> None:
    rng = np.random.default_rng(taps)
    h, x = rng.normal(size=taps), rng.normal(size=(1, 1, 1400))
    g = amp.Graph()
    dry = g.input("x")
    g.output("out", dry - g.add(nodes.FIR(h, block=48), dry))
    for plan in (None, amp.plan(g, 100)):
        result = amp.compile(g, plan).run({"x": x})
        assert result.latency["out"] == 47
        close(result["out"][..., 47:], (x - lfilter(h, 1.0, x))[..., :-47])


def test_taps_are_set_between_runs() -> None:
    rng = np.random.default_rng(7)
    old, new, x = rng.normal(size=100), rng.normal(size=100), rng.normal(size=(1, 1, 300))
    program = amp.compile(graph_of(nodes.FIR(amp.Param(old, name="h")), 1))
    before = program.run({"x": x})["out"]
    program.set("h", new)
    after = program.run({"x": x})["out"]
    both = np.concatenate([x, x], axis=2)
    close(before, lfilter(old, 1.0, x))
    close(after, lfilter(new, 1.0, both)[..., 300:])


def test_long_taps_are_heard_from_the_next_partition_on() -> None:
    rng = np.random.default_rng(8)
    old, new, x = rng.normal(size=500), rng.normal(size=500), rng.normal(size=(1, 1, 1024))
    program = amp.compile(graph_of(nodes.FIR(amp.Param(old, name="h")), 1))
    program.run({"x": x[..., :512]})
    program.set("h", new)
    got = program.run({"x": x[..., 512:]})["out"]
    close(got[..., 64:], lfilter(new, 1.0, x)[..., 576:])
    mixed = np.concatenate([new[:64], old[64:]])
    close(got[..., :64], lfilter(mixed, 1.0, x)[..., 512:576])


def test_a_snapshot_goes_on_in_another_schedule() -> None:
    rng = np.random.default_rng(9)
    x = rng.normal(size=(1, 2, 1500))
    g = graph_of(nodes.FIR(rng.normal(size=(2, 2, 800))), 2)
    first, second = amp.compile(g), amp.compile(g, amp.plan(g, 128))
    want = first.run({"x": x})["out"]
    first.reset()
    first.run({"x": x[..., :777]})
    second.restore(first.state())
    assert_same_bits(second.run({"x": x[..., 777:]})["out"], want[..., 777:])


@pytest.mark.parametrize(
    "taps, channels, words",
    [
        (np.ones((2, 3)), 3, "1 or 2 channel(s)"),
        (np.ones((2, 3, 4)), 2, "3 channel(s)"),
    ],
)
def test_a_stream_of_another_width_is_refused(taps: Array, channels: int, words: str) -> None:
    with pytest.raises(BadNode, match=words.replace("(", r"\(").replace(")", r"\)")):
        graph_of(nodes.FIR(taps), channels)


@pytest.mark.parametrize("block", [1, 64])
@pytest.mark.parametrize("taps", [30, 900])
def test_gradients_are_correlations_in_every_engine(taps: int, block: int) -> None:
    rng = np.random.default_rng([taps, block])
    frames, h = 1800, rng.normal(size=(2, 3, taps))
    x, dy, late = rng.normal(size=(2, 3, frames)), rng.normal(size=(2, 2, frames)), block - 1
    g = graph_of(nodes.FIR(amp.Param(h, name="h"), block=block), 3, batch=2)
    found = []
    for size in (0, 100, 512):
        program = amp.compile(g, amp.plan(g, size) if size else None)
        program.run({"x": x}, record=True)
        found.append(program.backward({"out": dy}))
    for other in found[1:]:
        assert_same_bits(other.params["h"], found[0].params["h"])
        assert_same_bits(other.inputs["x"], found[0].inputs["x"])
    heard = np.pad(x, ((0, 0), (0, 0), (taps - 1 + late, 0)))[..., : frames + taps - 1]
    d_h, d_x = np.zeros_like(h), np.zeros_like(x)
    for b, o, i in np.ndindex(2, 2, 3):
        d_h[o, i] += correlate(heard[b, i], dy[b, o], "valid")[::-1]
        back = lfilter(h[o, i], 1.0, dy[b, o, ::-1])[::-1]
        d_x[b, i, : frames - late] += back[late:]
    close(found[0].params["h"], d_h)
    close(found[0].inputs["x"], d_x)


def test_gradients_of_two_runs_are_those_of_one() -> None:
    """The cotangent of what is there between them goes from the later to the earlier one."""
    rng = np.random.default_rng(11)
    h, x, dy = rng.normal(size=700), rng.normal(size=(1, 1, 1500)), rng.normal(size=(1, 1, 1500))
    program = amp.compile(graph_of(nodes.FIR(amp.Param(h, name="h")), 1))
    program.run({"x": x}, record=True)
    want = program.backward({"out": dy})
    program.reset()
    program.run({"x": x[..., :601]})
    program.run({"x": x[..., 601:]}, record=True)
    last = program.backward({"out": dy[..., 601:]})
    program.reset()
    program.run({"x": x[..., :601]}, record=True)
    first = program.backward({"out": dy[..., :601]}, later=last.state)
    close(first.params["h"] + last.params["h"], want.params["h"])
    both = np.concatenate([first.inputs["x"], last.inputs["x"]], axis=2)
    assert_same_bits(both, want.inputs["x"])
