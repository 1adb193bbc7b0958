"""Hypothesis strategy: random legal schedules, legal by construction and not by trial; and runs in pieces.

A node is *late* on another if fewer tokens are in flight between them than a block has frames, so
that the producer has to stand in an earlier stage. Any order that respects this is legal; what is
cyclic goes into a loop of narrower blocks, and any run of stages may.
"""

from __future__ import annotations

import math
import random
from itertools import chain, pairwise
from typing import TYPE_CHECKING

import numpy as np
from bits import assert_same_runs, flushed
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from timed_reference import Ends, Pace, ends_of, paces_of, run_reference

import amp
from amp.schedule import IPLS, Cohort, Loop, Stage, plan, settle
from amp.schedule.ipls import WIDTHS

if TYPE_CHECKING:
    from bits import Array
    from strategies import Case

    from amp import Graph
    from amp.graph import Frozen
    from amp.program import Program

Item = Stage | Loop


def lasting(theirs: Pace, mine: Pace, ends: Ends) -> int:
    """Frames for which the tokens in flight last, whenever they are counted; by trying."""
    tokens = ends.edge.tokens
    if ends.made == ends.taken == (1,) and theirs.firings == theirs.frames == 1:
        return tokens + mine.offset - theirs.offset
    least = 1 << 30
    period = math.lcm(theirs.frames * len(ends.made), mine.frames * len(ends.taken))
    for clock in range(max(theirs.offset, mine.offset) + 2 * period + 1):
        have = ends.wrote(theirs.fired(clock)) + tokens
        k = have // sum(ends.taken) * len(ends.taken)
        while ends.took(k + 1) <= have:
            k += 1
        least = min(least, mine.clock(k) - clock)  # the first firing to lack tokens
    return least


class _Scheduler:
    def __init__(self, graph: Frozen, rng: random.Random, wild: float) -> None:
        self.nodes, self.rng, self.wild = graph.nodes, rng, wild
        self.width = rng.choice(WIDTHS)
        pace = paces_of(graph)
        self.edges = [
            (end.source, end.consumer, lasting(pace[end.source], pace[end.consumer], end))
            for end in ends_of(graph)
        ]

    def dare(self, share: float = 1.0) -> bool:
        return self.rng.random() < self.wild * share

    def items(self, members: list[int], block: int) -> tuple[Item, ...]:
        """Stages and loops of ``members`` when they run in blocks of ``block``."""
        late = [(s, c) for s, c, n in self.edges if n < block and s in members and c in members]
        unit = self._cycles(members, late)
        loops = {unit[m] for m in members if sum(unit[o] == unit[m] for o in members) > 1}
        loops |= {unit[s] for s, c in late if s == c}
        waits: dict[int, set[int]] = {unit[m]: set() for m in members}
        for source, consumer in late:
            if unit[source] != unit[consumer]:
                waits[unit[consumer]].add(unit[source])
        out: list[Item] = []
        while waits:
            ready = [u for u, before in waits.items() if not before & waits.keys()]
            if self.dare(0.7):
                ready = self.rng.sample(ready, self.rng.randint(1, len(ready)))
            made: list[Item] = []
            if plain := [u for u in ready if u not in loops]:
                made.append(self._stage(plain))
            cyclic = [[m for m in members if unit[m] == u] for u in ready if u in loops]
            if len(cyclic) > 1 and self.dare(0.5):
                cyclic = [list(chain.from_iterable(cyclic))]
            made += [self._loop(cycle, block) for cycle in cyclic]
            if self.dare():
                self.rng.shuffle(made)
            out += made
            for u in ready:
                del waits[u]
        return tuple(self._wrap(out, block))

    def _cycles(self, members: list[int], late: list[tuple[int, int]]) -> dict[int, int]:
        """Each member's cycle, by the least member of it."""
        place = {m: i for i, m in enumerate(members)}
        reach = np.eye(len(members), dtype=bool)
        for source, consumer in late:
            reach[place[source], place[consumer]] = True
        for k in range(len(members)):
            reach |= reach[:, k : k + 1] & reach[k]
        both = reach & reach.T
        return {m: members[int(np.argmax(both[i]))] for i, m in enumerate(members)}

    def _loop(self, cycle: list[int], block: int) -> Loop:
        cut = [n for s, c, n in self.edges if s in cycle and c in cycle and 0 < n < block]
        narrow = max(cut)
        if self.dare():
            narrow = self.rng.randint(1, self.rng.choice((narrow, block - 1)))
        return Loop(narrow, self.items(cycle, narrow))

    def _wrap(self, items: list[Item], block: int) -> list[Item]:
        """Repeat some run of items in narrower blocks, which is never needed and always legal."""
        if block == 1 or not self.dare(0.25):
            return items
        first = self.rng.randrange(len(items))
        last = self.rng.randint(first, len(items) - 1) + 1
        inner = tuple(items[first:last])
        least = 1 + max((item.block for item in inner if isinstance(item, Loop)), default=0)
        if least >= block:
            return items
        return [*items[:first], Loop(self.rng.randint(least, block - 1), inner), *items[last:]]

    def _stage(self, members: list[int]) -> Stage:
        kinds: dict[str, list[str]] = {}
        for index in members:
            kinds.setdefault(self.nodes[index].kind, []).append(self.nodes[index].name)
        cohorts = []
        width = self.rng.choice(WIDTHS) if self.dare(0.3) else self.width
        for kind, names in kinds.items():
            if self.dare(0.5):
                self.rng.shuffle(names)
            first = 0
            while first < len(names):
                rest = len(names) - first
                count = self.rng.randint(1, rest) if self.dare(0.4) else rest
                own = self.rng.choice(WIDTHS) if self.dare(0.5) else width
                cohorts.append(Cohort(kind, tuple(names[first : first + count]), own))
                first += count
        if self.dare():
            self.rng.shuffle(cohorts)
        return Stage(tuple(cohorts))


@st.composite
def schedules(draw: st.DrawFn, graph: Graph) -> IPLS:
    """A legal schedule; the wilder, the further from what `amp.plan` makes."""
    some = st.sampled_from((1, 2, 3, 8, 16, 64, 128, 256))
    block = draw(st.one_of(some, st.integers(1, 300)))
    if draw(st.integers(0, 5)) == 5:
        return plan(graph, block, draw(st.sampled_from(WIDTHS)))
    rng = random.Random(draw(st.integers(0, 1 << 16)))
    maker = _Scheduler(settle(graph.freeze()), rng, draw(st.sampled_from((0.0, 0.3, 0.6, 1.0))))
    return IPLS(block, maker.items(list(range(len(graph.nodes))), block), graph.fingerprint())


def splits(frames: int) -> st.SearchStrategy[list[int]]:
    """Pieces, each of at least one frame, that add up to ``frames``."""
    cuts = st.sets(st.integers(1, frames - 1), max_size=6)
    return cuts.map(lambda at: np.diff([0, *sorted(at), frames]).tolist())


def moved(plan: IPLS, seed: int) -> IPLS:
    """``plan`` with one node taken out and put elsewhere, legal or not."""
    rng = random.Random(seed)
    counts = [len(stage.cohorts) for _, stage, _ in plan.walk()]
    places = [(s, c) for s, count in enumerate(counts) for c in range(count)]
    stages = [stage for _, stage, _ in plan.walk()]
    source, number = rng.choice(places)
    cohort = stages[source].cohorts[number]
    name = rng.choice(cohort.members)
    target = rng.randrange(len(stages))
    counter = iter(range(len(stages)))

    def rebuild(item: Item) -> Item:
        if isinstance(item, Loop):
            return Loop(item.block, tuple(map(rebuild, item.stages)))
        here = next(counter)
        cohorts = [
            Cohort(c.type, tuple(m for m in c.members if m != name), c.width) for c in item.cohorts
        ]
        cohorts = [c for c in cohorts if c.members]
        if here == target:
            cohorts.append(Cohort(cohort.type, (name,), cohort.width))
        return Stage(tuple(cohorts))

    return IPLS(plan.block, tuple(map(rebuild, plan.stages)), plan.graph)


def examples(share: float) -> settings:
    """A share of the examples that the profile asks for."""
    profile = settings.default
    assert profile is not None
    return settings(
        max_examples=max(1, int(profile.max_examples * share)),
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


def assert_like_reference(case: Case, frames: int) -> None:
    """Fail unless a run as a process network gives the bits of the timed reference."""
    inputs = {name: flushed(array) for name, array in case.arrays(frames).items()}
    want, latency = run_reference(case.graph, inputs, frames)
    result = amp.compile(case.graph).run(inputs)
    assert result.latency == latency
    assert_same_runs(result, {name: flushed(array) for name, array in want.items()})


def run_split(program: Program, inputs: dict[str, Array], pieces: list[int]) -> dict[str, Array]:
    """Outputs of a run in pieces, put together."""
    ends = np.cumsum([0, *pieces])
    results = [
        program.run({name: array[..., a:b] for name, array in inputs.items()}, frames=int(b - a))
        for a, b in pairwise(ends)
    ]
    return {name: np.concatenate([r[name] for r in results], axis=2) for name in results[0]}
