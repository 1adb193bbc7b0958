"""Kernels of the user's own in random graphs: the bits of a traced node of the same arithmetic, in every
schedule, split and engine, from snapshots too."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from bits import Array, assert_same_runs
from hypothesis import given
from hypothesis import strategies as st
from native_calls import native_run
from native_kernels import NATIVE, TWINS
from random_schedules import examples, run_split, schedules, splits
from strategies import Case, cases

import amp
from amp import nodes

if TYPE_CHECKING:
    from collections.abc import Callable

FRAMES = 330
KINDS = (
    *["leak", "moved", "cross", "unread", "spread", "loop", "alone", "slow", "clock", "plain"],
)


@dataclass(frozen=True)
class Plan:
    """A graph still to be made, of kernels or of their twins; each step leaves a stream."""

    batch: int
    channels: int
    steps: list[tuple[str, int, int, int, float]]

    def graph(self, kinds: dict[str, Callable[[], Any]]) -> amp.Graph:
        """The graph; streams have as many channels as x, or one."""
        g = amp.Graph(batch=self.batch)
        streams = [g.input("x", self.channels), g.input("y")]
        for kind, back, delay, tokens, number in self.steps:
            x, y = (streams[-1 - (back + i) % len(streams)] for i in (0, 1))
            streams.append(self._step(g, kinds, kind, x, y, (delay, tokens, number)))
        for i, stream in enumerate(streams[2:]):
            g.output(f"out {i}", stream)
        return g

    @staticmethod
    def _step(
        g: amp.Graph,
        kinds: dict[str, Callable[[], Any]],
        kind: str,
        x: Any,
        y: Any,
        numbers: tuple[int, int, float],
    ) -> Any:
        delay, tokens, number = numbers
        late = amp.edge(y, delay=delay)
        match kind:
            case "leak":
                return g.add(kinds["leak"](), x, decay=number)
            case "moved":
                return g.add(kinds["leak"](), x, decay=g.add(nodes.Clip(low=-0.9, high=0.9), late))
            case "cross":
                u, v = g.add(kinds["cross"](), x, late)
                return g.add(nodes.Add(), u, amp.edge(v, initial=tokens))
            case "unread":
                return g.add(kinds["cross"](), x, number)[0]
            case "spread":
                return 0.5 * g.add(kinds["spread"](), x)
            case "loop":
                loop = g.feedback(x.channels)
                again = g.add(kinds["spread"](), amp.edge(loop, initial=tokens))
                made = g.add(kinds["leak"](), x + 0.125 * again, decay=number / 4)
                loop.connect(made)
                return made
            case "alone":  # a loop of one node
                loop = g.feedback(x.channels)
                made = g.add(
                    kinds["leak"](), amp.edge(loop, initial=(0.5, tokens)), decay=number / 4
                )
                loop.connect(made)
                return g.add(nodes.Add(), made, x)
            case "slow":
                slow = g.add(kinds["leak"](), g.add(nodes.Downsample(3), x), decay=number)
                return g.add(nodes.Hold(3), slow)
            case "clock":
                held = amp.edge(y, delay=delay, default=number)
                return g.add(kinds["cross"](), x, held)[1]
        return g.add(nodes.OnePole(), x, cutoff=900.0 + 500 * number)

    def arrays(self, seed: int) -> dict[str, Array]:
        """Noise for both inputs."""
        rng = np.random.default_rng(seed)
        widths = {"x": self.channels, "y": 1}
        return {name: rng.normal(size=(self.batch, n, FRAMES)) for name, n in widths.items()}


STEPS = st.tuples(
    st.sampled_from(KINDS),
    st.integers(0, 3),
    st.integers(0, 40),
    st.sampled_from((1, 2, 5, 70)),
    st.sampled_from((-0.5, 0.0, 0.75)),
)
PLANS = st.builds(
    Plan, st.sampled_from((1, 1, 2, 3)), st.integers(1, 3), st.lists(STEPS, min_size=1, max_size=7)
)


@examples(0.3)
@given(PLANS, st.data())
def test_a_kernel_is_a_traced_node_in_every_schedule(plan: Plan, data: st.DataObject) -> None:
    inputs = plan.arrays(data.draw(st.integers(0, 99)))
    want = amp.compile(plan.graph(TWINS)).run(inputs)
    graph = plan.graph(NATIVE)
    pieces = data.draw(splits(FRAMES))
    order = data.draw(schedules(graph))
    threads = data.draw(st.sampled_from((1, 1, 2)))
    for schedule in (None, order):
        program = amp.compile(graph, schedule, threads=threads)
        assert_same_runs(run_split(program, inputs, pieces), want, f"{schedule}")
        program.reset()
        assert_same_runs(program.run(inputs), want, f"after a reset, {schedule}")


@examples(0.2)
@given(PLANS, st.data())
def test_snapshots_clones_and_swaps_keep_a_kernels_state(plan: Plan, data: st.DataObject) -> None:
    inputs = plan.arrays(data.draw(st.integers(0, 99)))
    graph = plan.graph(NATIVE)
    want = amp.compile(graph).run(inputs)
    engines = st.one_of(st.none(), schedules(graph))
    giver, taker = (amp.compile(graph, data.draw(engines)) for _ in range(2))
    at = data.draw(st.integers(1, FRAMES - 1))
    begin = giver.run({name: array[..., :at] for name, array in inputs.items()})
    rest = {name: array[..., at:] for name, array in inputs.items()}
    clone = giver.clone()
    taker.run(plan.arrays(5))
    for program in (taker, clone):
        program.restore(giver.state())
    giver.swap(plan.graph(NATIVE))
    for program in (giver, taker, clone):
        end = program.run(rest)
        joined = {name: np.concatenate([begin[name], end[name]], axis=2) for name in want}
        assert_same_runs(joined, want)


@examples(0.2)
@given(cases(), st.data())
def test_native_calls_give_the_bits_of_runs(case: Case, data: st.DataObject) -> None:
    """Any graph, schedule and split; each piece run by one side or the other."""
    inputs = case.arrays(FRAMES)
    want = amp.compile(case.graph).run(inputs)
    threads = data.draw(st.sampled_from((1, 1, 2)))
    program = amp.compile(
        case.graph, data.draw(st.one_of(st.none(), schedules(case.graph))), threads=threads
    )
    pieces = data.draw(splits(FRAMES))
    joined: dict[str, list[Array]] = {name: [] for name in want}
    for first, end in pairwise(np.cumsum([0, *pieces]).tolist()):
        piece = {name: array[..., first:end] for name, array in inputs.items()}
        native = data.draw(st.booleans())
        result = native_run(program, piece, end - first) if native else program.run(piece)
        for name, parts in joined.items():
            parts.append(result[name])
    assert program.clock == FRAMES
    assert_same_runs({name: np.concatenate(p, axis=2) for name, p in joined.items()}, want)
