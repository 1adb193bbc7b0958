"""When nodes fire: rates and latency are inferred along edges like a shape, and cycles are judged.

A node that fires ``a`` times in ``b`` frames does so evenly: its k-th firing is at clock
``floor((k b + c) / a)``. Where all rates are 1 that is ``k + c``, and c is the node's start. A token is
written ``processing delay`` after the firing that makes it, and visible ``delay`` later. So the least c,
for every edge whose producer writes p tokens and whose consumer reads q and that holds m at first, is
where no firing k of the consumer comes before the token of index ``q (k + 1) - 1 - m`` is visible. That
is a longest path; it exists if and only if no cycle has more delay than tokens (Reiter, "Scheduling
parallel computations", JACM 15(4), 1968). Where the numbers of tokens repeat in a cycle of firings, the
firings of one joint cycle of both ends are looked at.
"""

from __future__ import annotations

import math
from collections import deque
from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from amp.cycles import MAX_CYCLE
from amp.errors import Deadlock, InconsistentRates, TooSlowCycle
from amp.schedule.gates import share_gates
from amp.schedule.rates import firing_rates, tokens_per_firing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from amp.frozen import Edge, Frozen, Node

    Ints = NDArray[np.int64]


KPN_FRAMES = 256
"""Most frames of one firing of a KPN process."""
FIRST_TOKENS = 16
"""Tokens that an edge without a bound has room for at first."""
FOREVER = 1 << 50
"""Frames by which an edge that no one waits for may be late."""


class Pace(NamedTuple):
    """When a node fires: ``firings`` times in ``frames`` frames, the k-th time at clock
    ``floor((k frames + offset) / firings)``."""

    firings: int
    frames: int
    offset: int

    @property
    def start(self) -> int:
        """Clock of the first firing."""
        return self.offset // self.firings

    def clock(self, k: Any) -> Any:
        """Clock of firing ``k``, a number or an array."""
        return (k * self.frames + self.offset) // self.firings

    def fired(self, clock: int) -> int:
        """Firings before ``clock``."""
        return max(0, int(self.before(clock)))

    def before(self, clock: Any) -> Any:
        """The same if it had always fired: the index of the first firing from ``clock`` on."""
        return -((self.offset - clock * self.firings) // self.frames)

    def most(self, frames: int) -> int:
        """Most firings in ``frames`` frames."""
        return -(-frames * self.firings // self.frames)


class Paces:
    """The pace of every node of a graph, one entry per node in each array."""

    def __init__(self, graph: Frozen, firings: Ints, frames: Ints, offset: Ints) -> None:
        self._graph = graph  # with its gates shared
        self.firings, self.frames, self.offset = firings, frames, offset

    def __getitem__(self, node: int) -> Pace:
        return Pace(int(self.firings[node]), int(self.frames[node]), int(self.offset[node]))

    def fired(self, clock: int) -> Ints:
        """`Pace.fired` of every node."""
        fired: Ints = -(-np.maximum(0, clock * self.firings - self.offset) // self.frames)
        return fired

    def classes(self) -> list[int]:
        """A number for each node, the same for nodes of one pace."""
        rows = np.stack([self.firings, self.frames, self.offset])
        if (rows == rows[:, :1]).all():
            return [0] * rows.shape[1]
        found: list[int] = np.unique(rows, axis=1, return_inverse=True)[1].ravel().tolist()
        return found

    def in_step(self) -> NDArray[np.bool_]:
        """Which edges a firing takes one token from, that of its producer's firing at the same clock."""
        g = self._graph
        found: NDArray[np.bool_] = (
            (g.delay + g.tokens == 0)
            & (g.consumed == 1)
            & (g.produced == 1)
            & (g.takings == 1)
            & (g.writings == 1)
            & (self.offset[g.source] == self.offset[g.consumer])
        )
        return found

    def cover(self) -> Ints:
        """Frames of the clock, by edge, for which the tokens in flight last at any time: in a block
        no longer than this the consumer may run before the producer. Below 1 it may not."""
        made, read, per_frame, common = self._balance()
        g, n, m = self._graph, self._graph.source, self._graph.consumer
        spare = g.tokens * common + read * (self.offset[m] - self.frames[m] + 1)
        spare += common - 1 - made * self.offset[n]  # a count of tokens is whole
        cover: Ints = spare // per_frame
        for number in self._uneven():
            theirs, mine = self[int(n[number])], self[int(m[number])]
            joint = Joint(g, number, theirs, mine)
            cover[number] = (mine.clock(joint.k) - theirs.clock(joint.makes)).min()
        return cover

    def held(self, block: int) -> Ints:
        """Most tokens, by edge, when producers run up to ``block`` frames ahead; those that are read
        again are among them, and those that a producer of uneven rate may write too many. Of an edge
        without a bound, those that it has room for at first."""
        made, read, per_frame, common = self._balance()
        g, n, m = self._graph, self._graph.source, self._graph.consumer
        most = per_frame * block + made * (self.frames[n] - 1 - self.offset[n])
        most += read * self.offset[m] + g.tokens * common
        held: Ints = np.maximum(most // common, g.tokens) + g.history
        most = np.maximum(g.tokens, 0) + g.produced + g.consumed
        held = np.where(g.unbounded, np.maximum(most + g.history, FIRST_TOKENS), held)
        for number in self._uneven():
            written, taken = g.cycles[number]
            theirs, mine = self[int(n[number])], self[int(m[number])]
            joint = Joint(g, number, theirs, mine)
            ahead = written.before(theirs.before(mine.clock(joint.k) + block))
            tokens = int(g.tokens[number])
            peak = tokens + int((ahead - taken.before(joint.k)).max())
            held[number] = max(0, tokens, peak) + written.spare + int(g.history[number])
        return held

    def _uneven(self) -> list[int]:
        """Edges between paces whose tokens differ from firing to firing."""
        return [number for number in self._graph.cycles if not self._graph.unbounded[number]]

    def _balance(self) -> tuple[Ints, Ints, Ints, Ints]:
        """By edge: weights of the producer's and consumer's offsets, and tokens per frame, over a
        common denominator."""
        g = self._graph
        common = self.frames[g.source] * self.frames[g.consumer]
        made = g.produced * self.frames[g.consumer]
        read = g.consumed * self.frames[g.source]
        return made, read, made * self.firings[g.source], common


class Joint:
    """The firings of one edge's ends until all begins again: both cycles, and the rounding of clocks.

    Attributes
    ----------
    k
        The consumer's firings.
    makes
        The producer's firing that writes the last token of each, as if both had always fired.
    """

    def __init__(self, graph: Frozen, number: int, theirs: Pace, mine: Pace) -> None:
        written, taken = graph.cycles[number]
        periods = (
            pace.frames * len(cycle) // math.gcd(pace.firings, len(cycle))
            for pace, cycle in ((theirs, written), (mine, taken))
        )
        count = math.lcm(*periods) * mine.firings // mine.frames
        if count > MAX_CYCLE:
            source, consumer = (graph.nodes[c[number]] for c in (graph.source, graph.consumer))
            raise InconsistentRates(
                f"the ends of an edge with uneven rates meet again within {MAX_CYCLE} firings",
                got=f"{count} firings of {consumer.name!r}",
                where=f"edge {source.name!r} -> {consumer.name!r}, {consumer}",
                fix="take rates with a smaller common multiple",
            )
        self.k = np.arange(count)
        self.makes = written.firing(taken.before(self.k + 1) - 1 - int(graph.tokens[number]))


def paces(graph: Frozen) -> Paces:
    """When each node fires.

    Raises
    ------
    InconsistentRates
        If no firing counts keep the edges in balance.
    Deadlock
        For a cycle without initial tokens.
    TooSlowCycle
        For a cycle whose delays exceed its tokens.
    """
    graph = share_gates(graph)
    firings, frames = firing_rates(graph)
    forward = (graph.source < graph.consumer) | ~graph.waits
    late = graph.delay.any() or graph.processing.any() or (graph.tokens < 0).any()
    if not graph.multirate and not late:
        if not forward[graph.tokens <= 0].all():
            _Solver(graph, firings, frames).order()
        return Paces(graph, firings, frames, np.zeros(len(graph.nodes), np.int64))
    solver = _Solver(graph, firings, frames)
    offset = np.array(solver.solve(solver.order()), np.int64)
    samples = [node.type.router == "sample" for node in graph.nodes]
    reads = np.flatnonzero(np.array(samples)[graph.source])
    # a sample fires when its reader does
    offset[graph.source[reads]] = offset[graph.consumer[reads]]
    return Paces(graph, firings, frames, offset)


class _Solver:
    def __init__(self, graph: Frozen, firings: Ints, frames: Ints) -> None:
        self.graph, self.nodes = graph, graph.nodes
        self.firings: list[int] = firings.tolist()
        self.frames: list[int] = frames.tolist()
        self.multirate = graph.multirate
        self.first: list[int] = graph.first.tolist()
        # by edge: the token that a consumer's first firing needs, back from where it always must
        residue = (-1 - graph.tokens) % np.gcd(graph.consumed, graph.produced)
        self.ahead: list[int] = (graph.consumed - 1 - graph.tokens - residue).tolist()
        lag = graph.processing[graph.source] + graph.delay
        self.lag: list[int] = np.where(graph.waits, lag, -FOREVER).tolist()
        self.produced: list[int] = graph.produced.tolist()
        self.source: list[int] = graph.source.tolist()
        self.joints = {
            i: Joint(graph, i, *(self.pace(int(c[i])) for c in (graph.source, graph.consumer)))
            for i in graph.cycles
            if graph.waits[i]
        }
        # an edge that was read by the clock leads back in time as soon as it has a delay
        self.binds = [
            bool(waits) and not (late > 0 and edge.counts)
            for waits, late, edge in zip(graph.waits, lag, _edges(graph), strict=True)
        ]

    def pace(self, node: int, offset: int = 0) -> Pace:
        return Pace(self.firings[node], self.frames[node], offset)

    def steps(self) -> list[Fraction]:
        """By edge: frames by which the consumer comes after the producer at least, delays and
        offsets left out."""
        out = []
        for number, (source, consumer) in enumerate(
            zip(self.source, self.graph.consumer.tolist(), strict=True)
        ):
            theirs, mine = self.pace(source), self.pace(consumer)
            if not self.binds[number]:
                out.append(Fraction(-FOREVER))
            elif number in self.joints:
                joint, common = self.joints[number], theirs.firings * mine.firings
                ahead = joint.makes * (theirs.frames * mine.firings)
                ahead -= joint.k * (mine.frames * theirs.firings)
                out.append(Fraction(int(ahead.max()), common))
            else:
                made = self.produced[number] * theirs.firings
                out.append(Fraction(self.ahead[number] * theirs.frames, made))
        return out

    def earliest(self, number: int, offset: list[int], consumer: int) -> int:
        """Least offset of the consumer that edge ``number`` allows."""
        source, lag, ahead = self.source[number], self.lag[number], self.ahead[number]
        if not self.multirate:
            return offset[source] + lag + ahead
        if number in self.joints:
            joint, mine = self.joints[number], self.pace(consumer)
            visible = self.pace(source, offset[source]).clock(joint.makes) + lag
            return int((visible * mine.firings - joint.k * mine.frames).max())
        made, a = self.produced[number], self.firings[source]
        scaled = made * (offset[source] + lag * a) + ahead * self.frames[source]
        return int(self.firings[consumer] * scaled // (made * a))

    def solve(self, order: Sequence[int]) -> list[int]:
        """The least offsets, by sweeps until nothing moves."""
        offset = [0] * len(self.nodes)
        cause: list[int] = [-1] * len(self.nodes)
        changed = -1
        # Within one sweep every path of the order settles; each further sweep crosses another edge.
        for _ in range(self.against + 2):
            changed = -1
            for index in order:
                for number in range(self.first[index], self.first[index + 1]):
                    earliest = self.earliest(number, offset, index)
                    if earliest > offset[index]:
                        offset[index], cause[index], changed = earliest, number, index
            if changed < 0:
                return offset
        self.refuse_slow_cycle(cause, changed)
        raise AssertionError("unreachable")

    def order(self) -> Sequence[int]:
        """An order in which producers come before consumers, but where tokens lie between."""
        graph = self.graph
        forward = graph.source < graph.consumer
        waits = np.array(self.binds)
        free = (graph.tokens <= 0) & waits
        if self.multirate or (graph.tokens < 0).any():
            steps = self.steps()
            if not (forward | ~waits).all():
                self.judge_cycles(steps)
            free = np.array([step >= 0 for step in steps], bool)
        self.against = int((graph.waits & ~free).sum())
        self.free = free
        if forward[free].all():
            return range(len(self.nodes))  # as it is whenever no feedback stream is used
        waiting = [0] * len(self.nodes)
        readers: list[list[int]] = [[] for _ in self.nodes]
        for source, consumer in zip(
            graph.source[free].tolist(), graph.consumer[free].tolist(), strict=True
        ):
            waiting[consumer] += 1
            readers[source].append(consumer)
        ready = deque(i for i, count in enumerate(waiting) if not count)
        order = []
        while ready:
            index = ready.popleft()
            order.append(index)
            for reader in readers[index]:
                waiting[reader] -= 1
                if not waiting[reader]:
                    ready.append(reader)
        if len(order) < len(self.nodes):
            self.refuse_deadlock({i for i, count in enumerate(waiting) if count})
        return order

    def judge_cycles(self, steps: list[Fraction]) -> None:
        """Refuse a cycle whose tokens do not carry every firing past its own: one whose lags in
        frames, delays left out, do not sum to less than zero."""
        scale = math.lcm(*{step.denominator for step in steps})
        tiny = Fraction(1, scale * (len(self.nodes) + 1))
        reach = [Fraction(0)] * len(self.nodes)
        cause = [-1] * len(self.nodes)
        changed = -1
        for _ in range(len(self.nodes) + 1):
            changed = -1
            for index in range(len(self.nodes)):
                for number in range(self.first[index], self.first[index + 1]):
                    ahead = reach[self.source[number]] + steps[number] + tiny
                    if ahead > reach[index]:
                        reach[index], cause[index], changed = ahead, number, index
            if changed < 0:
                return
        cycle = self.cycle(cause, changed)
        self.raise_deadlock([self.source[number] for number in cycle], cycle)

    def refuse_deadlock(self, stuck: set[int]) -> None:
        index = min(stuck)
        path: list[int] = []
        while index not in path:  # every stuck node waits for a stuck node
            path.append(index)
            index = next(
                self.source[number]
                for number in range(self.first[index], self.first[index + 1])
                if self.free[number] and self.source[number] in stuck
            )
        self.raise_deadlock(path[path.index(index) :][::-1], [])

    def raise_deadlock(self, cycle: list[int], edges: list[int]) -> None:
        every = _edges(self.graph)
        skipped = sum(every[number].skip for number in edges)
        tokens = int(self.graph.tokens[edges].sum()) + skipped
        raise Deadlock(
            "a cycle holds at least one initial token, or no node of it can ever fire"
            if not tokens
            else "a cycle holds initial tokens for a firing of each of its nodes, or none can fire",
            expected=f"more than {skipped} initial tokens, which are skipped"
            if skipped
            else "more initial tokens"
            if tokens
            else "sum(initial) >= 1",
            got=f"{tokens} tokens on {_path(self.nodes, cycle)}",
            where=str(self.nodes[cycle[0]]),
            fix="give one of its edges initial tokens: amp.edge(stream, initial=1)",
        )

    def cycle(self, cause: list[int], index: int) -> list[int]:
        """Edges of the cycle that ``index`` was moved by, in the direction of the stream."""
        for _ in self.nodes:  # walk far enough to be on the cycle itself
            index = self.source[cause[index]]
        first, edges = index, [cause[index]]
        while (index := self.source[edges[-1]]) != first:
            edges.append(cause[index])
        return edges[::-1]

    def refuse_slow_cycle(self, cause: list[int], index: int) -> None:
        edges = self.cycle(cause, index)
        cycle = [self.source[number] for number in edges]
        tokens, delays = (int(c[edges].sum()) for c in (self.graph.tokens, self.graph.delay))
        processing = int(self.graph.processing[cycle].sum())
        needed = sum(
            (int(self.graph.processing[source] + self.graph.delay[number]))
            * tokens_per_firing(self.graph, number)[0]
            * Fraction(self.firings[source], self.frames[source])
            for source, number in zip(cycle, edges, strict=True)
        )
        raise TooSlowCycle(
            "a cycle has at least as many initial tokens as pass in its delay, or it cannot keep up",
            expected=f"sum(initial) >= {math.ceil(needed)}",
            got=f"{tokens} token(s), {delays} frame(s) of delay and {processing} of processing on "
            + _path(self.nodes, cycle),
            where=str(self.nodes[cycle[0]]),
            fix="add initial tokens, or take delay off its edges",
        )


def _edges(graph: Frozen) -> list[Edge]:
    return [edge for node in graph.nodes for edge in (*node.edges, *node.controls)]


def _path(nodes: list[Node], cycle: list[int]) -> str:
    return " -> ".join(repr(nodes[i].name) for i in [*cycle, cycle[0]])
