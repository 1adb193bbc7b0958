"""The adjoint of a graph, which is a graph: every edge turned round, every node its adjoint.

It stands beside the recording twin of the graph and is numbered by the same tokens: an adjoint firing has
the number of the firing that it undoes, and runs from the last one back. A stream's cotangent is the sum
of what its readers give, in the order of the readers; an edge with n tokens in flight is read n tokens
later. So what may run before what is the mirror image of the graph's own order, and no rate, delay or
loop needs a rule of its own. (Griewank & Walther, "Evaluating Derivatives", 2nd ed., SIAM 2008, ch. 3.)
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from amp.errors import NotDifferentiable
from amp.frozen import Edge
from amp.jit.adjoint_edges import (
    Aligned,
    Arriving,
    Fold,
    Gathered,
    GatheredTokens,
    Leaving,
    Overlapping,
    Unbatch,
    Unheard,
    Unread,
    Untake,
    Warming,
)
from amp.jit.adjoint_joint import Turned
from amp.jit.adjoint_nodes import instance, make_adjoint, make_recorder
from amp.jit.adjoint_parts import Adding, Given, Slopes
from amp.jit.adjoint_plan import plan_adjoint
from amp.jit.adjoint_replay import Opened, Replays
from amp.jit.adjoint_trace import Pattern, edge_counts, edge_rates, refuse, wanted_params

if TYPE_CHECKING:
    from amp.contract import NodeType, Take
    from amp.frozen import Frozen, Node
    from amp.jit.adjoint_blocks import Blocks
    from amp.jit.adjoint_joint import Backward
    from amp.jit.adjoint_plan import Plan
    from amp.jit.adjoint_trace import Traced
    from amp.schedule import Paces

MOST = 8
"""Most cotangents of a stream that its node adds up itself, if one token at a time comes."""
LONGEST = 64
"""Most firings of a cycle of rates: each has an arm of a choice in the kernels of a backward pass."""


def differentiate(
    graph: Frozen, pace: Paces, blocks: Blocks, *, replay: bool, every: int = 0
) -> Backward:
    """The adjoint of a settled graph, of which ``blocks`` are calls of prebuilt kernels; with ``every``, also
    of the heat of its nodes, of which one in so many firings is measured.

    With ``replay``, streams that adjoints read are computed again beside them where that needs nothing that
    they do not read anyway: in a common kernel, they need no memory.

    Raises
    ------
    NotDifferentiable
        Naming the node that has none, and the path from it to the output that asks.
    """
    turning = _Turning(graph, pace, blocks, every)
    try:
        return turning.run(replay=replay)
    except NotDifferentiable as error:
        raise turning.slopes.with_path(error) from None


class _Turning:
    def __init__(self, graph: Frozen, pace: Paces, blocks: Blocks, every: int) -> None:
        self.graph, self.pace, self.blocks, self.every = graph, pace, blocks, every
        self.slopes = Slopes(graph, pace, blocks)
        self.heating = {
            (edge.source, edge.outlet)
            for node in (graph.nodes if every else ())
            for edge in node.edges
            if node.thermal.power
        }
        self.readers: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
        self.given: dict[tuple[int, int], Given] = {}
        self.plans: dict[tuple[Any, ...], Opened] = {}
        self.opened: dict[int, Opened] = {}
        self.replays = Replays(self.slopes)
        self.turned = Turned(graph, pace, list(graph.nodes), blocks)
        self.own, self.order = self.turned.own, self.turned.order

    def run(self, *, replay: bool) -> Backward:
        for node in self.graph.nodes:
            if self.graph.dynamic[node.index] or node.type.router:
                raise refuse(node, "its rate depends on data")
            if self.every and node.type.dissipates and node.thermal.power:
                raise refuse(node, "what it dissipates heats it, and goes back to no stream")
        heard = self.slopes.heard({source for source, _ in self.heating})
        nodes = [node for node in self.graph.nodes if node.index in heard]
        for node in nodes:
            self._check(node)
            for at, edge in self.slopes.moved(node):
                self.readers[edge.source, edge.outlet].append((node.index, at))
        for node in reversed(nodes):
            self._open(node)
        if replay:
            self.order += self.replays.find(nodes, self.opened)
        for node in reversed(nodes):
            self._connect(node)
        return self.turned.join()

    def _check(self, node: Node) -> None:
        if node in self.blocks:
            self.blocks.check(node)
        for at in range(len(node.edges)):
            cycles = self.graph.cycles.get(self.slopes.number(node, at))
            if cycles is None:
                continue
            if self.graph.takes(node) and len(cycles[1]) > 1:
                raise refuse(node, "what it rearranges comes at another rate from firing to firing")
            if max(map(len, cycles)) > LONGEST:
                raise refuse(node, f"a cycle of its rates has more than {LONGEST} firings")

    # ---- which adjoints there are, and what they give

    def _open(self, node: Node) -> None:
        """Make the adjoints of a node, still without what they read."""
        kind, mine = node.type, self.own.setdefault(node.index, [])
        if kind.border == "output":
            channels = self.slopes.widths(node)[0]
            mine.append(Adding(Arriving(channels), node, channels, ("input", channels)))
            self._give(node, 0, mine[0], 0, channels)
        elif kind.border == "input":
            mine.append(Adding(Leaving(), node, node.channels, ("output", node.channels)))
        elif kind.is_sum:
            if not self._passes(node):
                code = ("sum", self._count(node, 0), node.channels)
                mine.append(Adding(Gathered(), node, node.channels, code))
                for at in range(len(node.edges)):
                    self._give(node, at, mine[0], 0, node.channels)
        elif node in self.blocks:
            outlets = range(len(type(kind).outlets))
            heard = tuple(bool(self._count(node, outlet)) for outlet in outlets)
            for adding, piece in self.blocks.open(node, heard, self.turned):
                mine.append(adding)
                for outlet, at in enumerate(piece):
                    self._give(node, at, adding, outlet, adding.channels)
        else:
            self._open_node(node, mine)

    def _passes(self, node: Node) -> bool:
        """The terms of a sum have the cotangent of its only reader."""
        readers = self.readers[node.index, 0]
        if len(readers) != 1 or (node.index, 0) in self.heating:
            return False
        reader = self.graph.nodes[readers[0][0]]
        edge = reader.edges[readers[0][1]]
        same = self.pace[reader.index] == self.pace[node.index]
        return (
            same
            and not edge.tokens
            and not reader.type.is_sum
            and edge_counts(reader)[readers[0][1]] == (1,)
        )

    def _give(self, node: Node, at: int, by: Adding, outlet: int, channels: int) -> None:
        tokens = node.edges[at].tokens
        self.given[node.index, at] = Given(
            by, outlet, channels, tokens, self.slopes.number(node, at)
        )

    def _plan(self, node: Node, takes: list[Take]) -> Opened:
        """What the adjoint of a node is like; equal nodes share it."""
        moved = range(len(takes)) if takes else (at for at, _ in self.slopes.moved(node))
        readers = (
            1 if self._gathers(node, outlet) else self._count(node, outlet)
            for outlet in range(len(type(node.type).outlets))
        )
        pattern = Pattern((*moved,), (*wanted_params(node),), (*readers,))
        same, traced = self.slopes.traced(node)
        key = (same, pattern)
        if key not in self.plans:
            plan = plan_adjoint(traced, pattern)
            traced = dataclasses.replace(traced, kept=plan.kept)
            self.plans[key] = Opened(key, traced, pattern, plan, {})
        plan = self.plans[key].plan
        if takes and plan.reads:
            raise refuse(node, "its forward is not linear in the tokens it rearranges")
        if takes and node.type.spread > 1 and not plan.is_identity:
            raise refuse(node, "it spreads over lanes something else than a sum of what it takes")
        return self.plans[key]

    def _open_node(self, node: Node, mine: list[Adding]) -> None:
        takes = self.graph.takes(node)
        opened = self._plan(node, takes)
        key, traced, pattern, plan, kinds = opened
        self.turned.starts[node.index] = traced.starts()
        if plan.kept:
            self._write_down(node, traced, kinds)
        for number, piece in enumerate(_pieces(traced, pattern, plan)):
            found = piece, number == 0
            if found not in kinds:
                kinds[found] = make_adjoint(traced, pattern, plan, piece, first=number == 0)
            channels = (
                self.slopes.widths(node)[piece[0]] if traced.whole and piece else node.channels
            )
            code = (key, found, channels)
            mine.append(Adding(instance(kinds[found], node.type), node, channels, code))
            if not takes:
                for outlet, at in enumerate(piece):
                    self._give(node, at, mine[-1], outlet, channels)
        if takes:
            alike = plan.is_identity and len({take.batch for take in takes}) == 1
            self._put_back(node, takes, mine, same=alike)
        if mine:
            self.opened[node.index] = opened

    def _write_down(self, node: Node, traced: Traced, kinds: dict[Any, Any]) -> None:
        """Have the node's twin write down what the adjoint needs."""
        if "twin" not in kinds:
            kinds["twin"] = make_recorder(traced)
        self.turned.write_down(node, instance(kinds["twin"], node.type), (kinds["twin"],))

    def _put_back(self, node: Node, takes: list[Take], mine: list[Adding], *, same: bool) -> None:
        """The cotangents of what a node takes go to where it took it from."""
        for at, width in enumerate(self.slopes.widths(node)):
            rate = int(self.graph.consumed[self.slopes.number(node, at)])
            kind = Untake(tuple(takes), at, width, rate, node.type.spread, same)
            mine.append(Adding(kind, node, width, ("untake", kind.key)))
            self._give(node, at, mine[-1], 0, width)

    def _gathers(self, node: Node, outlet: int) -> bool:
        """The cotangents of an outlet are added up by a node of their own."""
        if node in self.blocks:
            return self._count(node, outlet) > 1
        rate = node.type.counts(type(node.type).outlets[outlet])
        return self._count(node, outlet) > MOST and rate == (1,)

    def _count(self, node: Node, outlet: int) -> int:
        """How many cotangents of an outlet arrive."""
        at = node.index, outlet
        return len(self.readers[at]) + (at in self.heating)

    # ---- what they read

    def _connect(self, node: Node) -> None:
        """Put the adjoints of a node in order, each behind what it needs alone."""
        mine, kind = self.own[node.index], node.type
        if kind.border == "output":
            self.order += mine
        elif kind.border == "input":
            arriving = self._arriving(node, 0)
            if len(arriving) > 1:
                arriving = [self._gather(node, arriving, 1)]
            if arriving:
                self._read(mine[0], arriving)
                self.order += mine
        elif kind.is_sum:
            for adding in mine:
                arriving = self._arriving(node, 0)
                self._read_all(adding, arriving)
                self.order.append(adding)
        else:
            self._connect_node(node, mine)

    def _connect_node(self, node: Node, mine: list[Adding]) -> None:
        arriving: list[Given] = []
        for outlet in range(len(type(node.type).outlets)):
            some = self._arriving(node, outlet)
            if self._gathers(node, outlet):
                rate = max(node.type.counts(type(node.type).outlets[outlet]))
                some = [self._gather(node, some, rate)]
            arriving += some
        if not mine:
            self._put_aside(node)
        taken: list[Given] = []
        for adding in mine:
            if isinstance(adding.kind, Untake):
                continue
            names = [inlet.name for inlet in type(adding.kind).inlets]
            constants = [s for s in node.sources if not isinstance(s, tuple | Edge)]
            adding.sources += constants
            for name in names[len(constants) :]:
                what, _, number = name.partition("_")
                if what == "stream":
                    self.replays.read(adding, node, int(number))
                elif what in {"own", "kept"}:
                    written = len(type(node.type).outlets) if what == "kept" else 0
                    outlet = written + int(number)
                    adding.sources.append(Edge(node.index, outlet))
                    adding.numbers.append(-1)
            self._read(adding, arriving)
            self.order.append(adding)
            taken += [
                Given(adding, o, node.channels, 0, -1)
                for o in range(len(type(adding.kind).outlets))
            ]
        self._connect_untakes(node, mine, arriving, taken)

    def _connect_untakes(
        self, node: Node, mine: list[Adding], arriving: list[Given], taken: list[Given]
    ) -> None:
        """Have the cotangents of what a node has ``taken`` go where that came from; of all of it they are
        those ``arriving`` if it says nothing else."""
        untakes = [(adding, adding.kind) for adding in mine if isinstance(adding.kind, Untake)]
        if not untakes:
            return
        if not taken:
            taken = (
                arriving if len(arriving) == 1 else [self._gather(node, arriving, node.type.spread)]
            )
        taken = self._unbatch(node, untakes[0][1], taken)
        for adding, _ in untakes:
            self._read_all(adding, taken)
            self.order.append(adding)

    def _put_aside(self, node: Node) -> None:
        """Have cotangents of tokens in flight lie in memory though their source has no use for any."""
        for outlet, name in enumerate(type(node.type).outlets):
            for reader, at in self.readers[node.index, outlet]:
                edge = self.graph.nodes[reader].edges[at]
                given = self.turned.arrivals[reader, at]
                if edge.tokens > 0 or self.pace[reader] != self.pace[node.index]:
                    counts = node.type.counts(name)
                    code = ("unread", counts, given.channels)
                    adding = Adding(Unread(counts), node, given.channels, code)
                    self._read(adding, [given])
                    self.order.append(adding)

    def _unbatch(self, node: Node, kind: Untake, taken: list[Given]) -> list[Given]:
        """The cotangent of each take, or the one of all, with its batches where they came from."""
        takes = kind.takes_[: 1 if kind.same else None]
        found = []
        for given, take in zip(taken * (len(takes) // len(taken)), takes, strict=True):
            one = given
            if take.batch and take.batch != tuple(range(self.graph.batch)):
                back = Unbatch(take.batch, node.channels, node.type.spread)
                adding = Adding(back, node, node.channels, ("unbatch", back.key))
                self._read(adding, [given])
                self.order.append(adding)
                one = Given(adding, 0, node.channels, 0, -1)
            found.append(one)
        return found

    def _arriving(self, node: Node, outlet: int) -> list[Given]:
        """What the readers of an outlet give, channel by channel and from its first token on."""
        found = []
        for reader, at in self.readers[node.index, outlet]:
            given = self._from(self.graph.nodes[reader], at)
            counts = node.type.counts(type(node.type).outlets[outlet])
            if given.channels != node.channels:
                consumer = self.graph.nodes[reader]
                count = edge_rates(consumer)[at]
                fold = Adding(Fold(count), consumer, 1, ("fold", count, given.channels))
                self._read(fold, [dataclasses.replace(given, tokens=0, number=-1)])
                self.order.append(fold)
                given = dataclasses.replace(given, by=fold, outlet=0, channels=1)
            given = self._with_unread(self.graph.nodes[reader], at, given)
            self.turned.arrivals[reader, at] = given
            skip = -given.tokens
            if len(counts) > 1:
                code: tuple[Any, ...] = ("aligned", counts, node.channels)
                given = self._behind(Aligned(counts), node, given, code)
            if skip > 0:
                code = ("late", skip, counts, node.channels)
                given = self._behind(Unheard(skip, counts), node, given, code)
            found.append(given)
        if (node.index, outlet) in self.heating and self.own[node.index]:
            found.append(self._warm(node, outlet))
        return found

    def _warm(self, node: Node, outlet: int) -> Given:
        """What the heat of those that read an outlet gives for it."""
        counts = {*node.type.counts(type(node.type).outlets[outlet])}
        if len(counts) > 1:
            raise refuse(node, "what it writes comes at another rate from firing to firing")
        (count,) = counts
        # apart from those of other nodes, so that they become one kernel with the adjoints of theirs
        code = ("warming", node.signature, outlet, count, node.channels)
        adding = Adding(Warming(self.every, count), node, node.channels, code)
        adding.sources.append(Edge(node.index, outlet))
        adding.numbers.append(-1)
        self.order.append(adding)
        self.turned.warmings[node.index, outlet] = adding
        return Given(adding, 0, node.channels, 0, -1)

    def _with_unread(self, reader: Node, at: int, given: Given) -> Given:
        """The same by the tokens that firings took, where these are others than they saw."""
        number, seen = self.slopes.number(reader, at), edge_rates(reader)[at]
        cycles = self.graph.cycles.get(number)
        taken = cycles[1].counts if cycles else (int(self.graph.consumed[number]),)
        if isinstance(given.by.kind, Untake) or taken == (seen,):
            return given
        code = ("overlapping", taken, seen, given.channels)
        alone = dataclasses.replace(given, tokens=0, number=-1)
        made = self._behind(Overlapping(taken, seen), reader, alone, code)
        return dataclasses.replace(given, by=made.by, outlet=0)

    def _behind(self, kind: NodeType, like: Node, given: Given, code: tuple[Any, ...]) -> Given:
        """What one of that kind makes of it."""
        adding = Adding(kind, like, given.channels, code)
        self._read(adding, [given])
        self.order.append(adding)
        return Given(adding, 0, given.channels, 0, -1)

    def _from(self, reader: Node, at: int) -> Given:
        """What a reader gives for one of its edges."""
        if reader.type.is_sum and not self.own[reader.index]:
            ((over, there),) = self.readers[reader.index, 0]
            given = self._from(self.graph.nodes[over], there)
            return dataclasses.replace(
                given, tokens=reader.edges[at].tokens, number=self.slopes.number(reader, at)
            )
        return self.given[reader.index, at]

    def _gather(self, node: Node, arriving: list[Given], count: int) -> Given:
        """Their sum, as one, of ``count`` tokens a firing."""
        kind: NodeType = Gathered()
        code: tuple[Any, ...] = ("sum", len(arriving), node.channels)
        if count > 1:
            kind, code = GatheredTokens(count), (*code, count)
        adding = Adding(kind, node, node.channels, code)
        self._read_all(adding, arriving)
        self.order.append(adding)
        return Given(adding, 0, node.channels, 0, -1)

    def _read_all(self, adding: Adding, given: list[Given]) -> None:
        """Into the only inlet of ``adding``, which takes any number."""
        edges = len(adding.sources)
        self._read(adding, given)
        adding.sources[edges:] = [tuple(adding.sources[edges:])]

    def _read(self, adding: Adding, given: list[Given]) -> None:
        adding.sources += given
        adding.numbers += [one.number for one in given]


def _pieces(traced: Traced, pattern: Pattern, plan: Plan) -> list[tuple[int, ...]]:
    """The inlets whose cotangents one node gives: all, or, since all outlets of a node have one number of
    channels, one by one."""
    if traced.takes and plan.is_identity:
        return []
    if not pattern.wanted:
        return [()] if pattern.params or traced.states() else []
    return [(i,) for i in pattern.wanted] if traced.whole else [pattern.wanted]
