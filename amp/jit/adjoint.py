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
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from amp.contract import NATIVE
from amp.frozen import Edge, Frozen, Node
from amp.jit.adjoint_edges import (
    Arriving,
    Fold,
    Gathered,
    GatheredTokens,
    Last,
    Leaving,
    Unbatch,
    Unheard,
    Unread,
    Untake,
)
from amp.jit.adjoint_nodes import (
    Pattern,
    Plan,
    Traced,
    can_replay,
    edge_rates,
    instance,
    make_adjoint,
    make_recorder,
    make_replay,
    plan_adjoint,
    refuse,
    wanted_params,
)
from amp.schedule import Paces

if TYPE_CHECKING:
    from collections.abc import Collection

    from numpy.typing import NDArray

    from amp.contract import NodeType, Take

    Ints = NDArray[np.int64]

MOST = 8
"""Most cotangents of a stream that its node adds up itself, if one token at a time comes."""


@dataclass(frozen=True)
class Given:
    """Where a cotangent lies: an outlet of ``channels`` of an adjoint. Its token k is that of token k of
    an edge of the graph, of which ``tokens`` were there at first, and which ``number`` says how far its
    ends are apart."""

    by: Adding
    outlet: int
    channels: int
    tokens: int
    number: int


@dataclass(eq=False)
class Adding:
    """An adjoint in the making, in place of ``like``."""

    kind: NodeType
    like: Node
    channels: int
    code: tuple[Any, ...]
    sources: list[Any] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)  # edges of the graph that its edges turn round
    index: int = -1


@dataclass
class Backward:
    """A graph and its adjoint as one.

    Attributes
    ----------
    graph, pace
        The recording twin's nodes, numbered as the graph's, and then the adjoints.
    twins, adjoint
        Those of the twin that an adjoint needs something of, and the adjoints, by index.
    inputs, outputs
        Adjoint of each input and output of the graph, by name.
    adjoints
        By node those that have the cotangents of its states, each the whole of them; the first one has
        those of its params too.
    arrivals
        Where the cotangent of an edge's tokens lies, by its consumer and number there: the adjoint, its
        outlet.
    starts
        By node the states that start with a param.
    """

    graph: Frozen
    pace: JointPaces
    twins: Ints
    adjoint: Ints
    inputs: dict[str, Node]
    outputs: dict[str, Node]
    adjoints: dict[int, list[Node]]
    arrivals: dict[tuple[int, int], tuple[Node, int]]
    starts: dict[int, dict[str, list[str]]]


class JointPaces(Paces):
    """The paces of a graph and its adjoint; an edge that was turned round is as the graph says."""

    def __init__(self, graph: Frozen, rows: Ints, paces: Paces, numbers: Ints) -> None:
        super().__init__(graph, *rows)
        self._paces, self.numbers = paces, numbers

    def _with(self, own: Ints, theirs: Ints) -> Ints:
        known = self.numbers >= 0
        own[known] = theirs[self.numbers[known]]
        return own

    def cover(self) -> Ints:
        """See `Paces.cover`."""
        return self._with(np.zeros(len(self.numbers), np.int64), self._paces.cover())

    def held(self, block: int) -> Ints:
        """See `Paces.held`; another edge holds what a block's firings write."""
        n = self._graph.source
        most = -(-block * self.firings[n] // self.frames[n]) + 1
        return self._with(most * self._graph.produced, self._paces.held(block))


def differentiate(graph: Frozen, pace: Paces, *, replay: bool) -> Backward:
    """The adjoint of a settled graph.

    With ``replay``, streams that adjoints read are computed again beside them where that needs nothing that
    they do not read anyway: in a common kernel, they need no memory.

    Raises
    ------
    NotDifferentiable
        Naming the node that has none.
    """
    return _Turning(graph, pace, replay=replay).run()


class _Turning:
    def __init__(self, graph: Frozen, pace: Paces, *, replay: bool) -> None:
        self.graph, self.pace, self.replay = graph, pace, replay
        self.traces: dict[tuple[Any, ...], Traced] = {}
        self.moving: dict[tuple[Any, ...], set[int]] = {}
        self.heard = self._heard()
        self.readers: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
        self.twins = list(graph.nodes)
        self.own: dict[int, list[Adding]] = {}  # adjoints of a node
        self.given: dict[tuple[int, int], Given] = {}
        self.plans: dict[tuple[Any, ...], tuple[Traced, Plan, dict[Any, Any]]] = {}
        self.replays: dict[int, Adding] = {}  # what gives a node's outlets again
        self.plan_of: dict[int, tuple[Traced, Plan, dict[Any, Any]]] = {}
        self.key_of: dict[int, tuple[Any, ...]] = {}
        self.plain = (
            (graph.delay + graph.tokens == 0)
            & (graph.consumed == 1)
            & (graph.produced == 1)
            & (graph.takings == 1)
            & (graph.writings == 1)
            & (pace.offset[graph.source] == pace.offset[graph.consumer])
        )
        self.order: list[Adding] = []
        self.starts: dict[int, dict[str, list[str]]] = {}
        self.arrivals: dict[tuple[int, int], Given] = {}
        self.signatures: dict[tuple[Any, ...], int] = {}

    def run(self) -> Backward:
        for node in self.graph.nodes:
            if self.graph.dynamic[node.index] or node.type.router:
                raise refuse(node, "its rate depends on data")
        nodes = [node for node in self.graph.nodes if node.index in self.heard]
        for node in nodes:
            self._check(node)
            for at, edge in self._moved(node):
                self.readers[edge.source, edge.outlet].append((node.index, at))
        for node in reversed(nodes):
            self._open(node)
        if self.replay:
            self._replay(nodes)
        for node in reversed(nodes):
            self._connect(node)
        return self._finish()

    def _heard(self) -> set[int]:
        """Nodes that some output moves with."""
        nodes = self.graph.nodes
        found = {node.index for node in nodes if node.type.border == "output"}
        pending = list(found)
        while pending:
            for _, edge in self._moved(nodes[pending.pop()]):
                if edge.source not in found:
                    found.add(edge.source)
                    pending.append(edge.source)
        return found

    def _moved(self, node: Node) -> list[tuple[int, Edge]]:
        """Edges of a node that it has a slope in."""
        edges = [*enumerate(node.edges)]
        if not edges or node.type.border or node.type.is_sum or node.type.router:
            return edges
        if self.graph.takes(node):
            return edges
        key, traced = self._traced(node)
        if key not in self.moving:
            pattern = Pattern((*range(len(edges)),), (), (1,) * len(traced.outlets))
            self.moving[key] = set(plan_adjoint(traced, pattern).moved)
        return [(at, edge) for at, edge in edges if at in self.moving[key]]

    def _traced(self, node: Node) -> tuple[tuple[Any, ...], Traced]:
        """The trace of a node, and what equal ones have in common."""
        widths, pace = self._widths(node), self.pace[node.index]
        exact = node.type.channels == "all" or self.graph.takes(node)
        key = (node.signature, pace[:2], tuple(widths) if exact else ())
        if key not in self.traces:
            rate = self.graph.sample_rate * pace.firings / pace.frames
            self.traces[key] = Traced.of(node, widths, rate)
        return key, self.traces[key]

    def _check(self, node: Node) -> None:
        if node.type.archetype == NATIVE:
            raise refuse(node, "it is a kernel of your own, which amp cannot turn round")
        if not (node.type.border or node.type.router or node.type.has_forward()):
            raise refuse(node, "it is a prebuilt kernel without a twin in IR")
        first = int(self.graph.first[node.index])
        if any(first + at in self.graph.cycles for at in range(len(node.edges))):
            raise refuse(node, "what it reads comes at another rate from firing to firing")

    def _number(self, node: Node, at: int) -> int:
        return int(self.graph.first[node.index]) + at

    def _widths(self, node: Node) -> list[int]:
        return [self.graph.nodes[edge.source].channels for edge in node.edges]

    # ---- which adjoints there are, and what they give

    def _open(self, node: Node) -> None:
        """Make the adjoints of a node, still without what they read."""
        kind, mine = node.type, self.own.setdefault(node.index, [])
        if kind.border == "output":
            channels = self._widths(node)[0]
            mine.append(Adding(Arriving(channels), node, channels, ("input", channels)))
            self._give(node, 0, mine[0], 0, channels)
        elif kind.border == "input":
            mine.append(Adding(Leaving(), node, node.channels, ("output", node.channels)))
        elif kind.is_sum:
            if not self._passes(node):
                code = ("sum", len(self.readers[node.index, 0]), node.channels)
                mine.append(Adding(Gathered(), node, node.channels, code))
                for at in range(len(node.edges)):
                    self._give(node, at, mine[0], 0, node.channels)
        else:
            self._open_node(node, mine)

    def _passes(self, node: Node) -> bool:
        """The terms of a sum have the cotangent of its only reader."""
        readers = self.readers[node.index, 0]
        if len(readers) != 1:
            return False
        reader = self.graph.nodes[readers[0][0]]
        edge = reader.edges[readers[0][1]]
        same = self.pace[reader.index] == self.pace[node.index]
        return (
            same
            and not edge.tokens
            and not reader.type.is_sum
            and edge_rates(reader)[readers[0][1]] == 1
        )

    def _give(self, node: Node, at: int, by: Adding, outlet: int, channels: int) -> None:
        tokens = node.edges[at].tokens
        self.given[node.index, at] = Given(by, outlet, channels, tokens, self._number(node, at))

    def _open_node(self, node: Node, mine: list[Adding]) -> None:
        takes = self.graph.takes(node)
        moved = tuple(range(len(takes))) if takes else tuple(at for at, _ in self._moved(node))
        outlets = range(len(type(node.type).outlets))
        readers = tuple(
            1 if self._gathers(node, o) else len(self.readers[node.index, o]) for o in outlets
        )
        pattern = Pattern(moved, tuple(wanted_params(node)), readers)
        same, traced = self._traced(node)
        key = (same, pattern)
        if key not in self.plans:
            plan = plan_adjoint(traced, pattern)
            self.plans[key] = dataclasses.replace(traced, kept=plan.kept), plan, {}
        traced, plan, kinds = self.plans[key]
        self.key_of[node.index], self.plan_of[node.index] = key, self.plans[key]
        self.starts[node.index] = traced.starts()
        if plan.kept:
            self._write_down(node, traced, kinds)
        if takes and plan.reads:
            raise refuse(node, "its forward is not linear in the tokens it rearranges")
        if takes and node.type.spread > 1 and not plan.is_identity:
            raise refuse(node, "it spreads over lanes something else than a sum of what it takes")
        for number, piece in enumerate(_pieces(traced, pattern, plan)):
            found = piece, number == 0
            if found not in kinds:
                kinds[found] = make_adjoint(traced, pattern, plan, piece, first=number == 0)
            channels = self._widths(node)[piece[0]] if traced.whole and piece else node.channels
            code = (key, found, channels)
            mine.append(Adding(instance(kinds[found], node.type), node, channels, code))
            if not takes:
                for outlet, at in enumerate(piece):
                    self._give(node, at, mine[-1], outlet, channels)
        if takes:
            alike = plan.is_identity and len({take.batch for take in takes}) == 1
            self._put_back(node, takes, mine, same=alike)

    def _write_down(self, node: Node, traced: Traced, kinds: dict[Any, Any]) -> None:
        """Have the node's twin write down what the adjoint needs."""
        if "twin" not in kinds:
            kinds["twin"] = make_recorder(traced)
        signature = self._signature((node.signature, kinds["twin"]))
        kind = instance(kinds["twin"], node.type)
        self.twins[node.index] = dataclasses.replace(node, type=kind, signature=signature)

    def _put_back(self, node: Node, takes: list[Take], mine: list[Adding], *, same: bool) -> None:
        """The cotangents of what a node takes go to where it took it from."""
        for at, width in enumerate(self._widths(node)):
            rate = int(self.graph.consumed[self._number(node, at)])
            kind = Untake(tuple(takes), at, width, rate, node.type.spread, same)
            mine.append(Adding(kind, node, width, ("untake", kind.key)))
            self._give(node, at, mine[-1], 0, width)

    def _gathers(self, node: Node, outlet: int) -> bool:
        """The cotangents of an outlet are added up by a node of their own."""
        rate = node.type.counts(type(node.type).outlets[outlet])
        return len(self.readers[node.index, outlet]) > MOST and rate == (1,)

    # ---- what is computed again

    def _replay(self, nodes: list[Node]) -> None:
        """Find the streams that adjoints read and that are computed again beside them."""
        plans = {node.index: self.plan_of[node.index] for node in nodes if node.index in self.plan_of}
        fit: set[int] = set()
        for node in nodes:
            if node.index not in plans:
                continue
            traced, plan, _ = plans[node.index]
            inputs = all(
                at in plan.reads
                or self._again(node, at, fit)
                or self.graph.nodes[edge.source].type.border == "input"
                for at, edge in enumerate(node.edges)
            )
            if inputs and can_replay(traced):
                fit.add(node.index)
        wanted = [
            node.edges[at].source
            for node in nodes
            if node.index in plans and self.own[node.index]
            for at in plans[node.index][1].reads
            if self._again(node, at, fit)
        ]
        while wanted:
            index = wanted.pop()
            if index in self.replays:
                continue
            node = self.graph.nodes[index]
            traced, plan, kinds = plans[index]
            if "replay" not in kinds:
                kinds["replay"] = make_replay(traced, plan)
            code = (self.key_of[index], "replay", node.channels)
            kind = instance(kinds["replay"], node.type)
            self.replays[index] = Adding(kind, node, node.channels, code)
            wanted += [
                edge.source for at, edge in enumerate(node.edges) if self._again(node, at, fit)
            ]
        for node in reversed(nodes):
            if adding := self.replays.get(node.index):
                self._connect_replay(node, adding)

    def _again(self, node: Node, at: int, fit: Collection[int]) -> bool:
        """An edge of ``node`` comes from one of ``fit``, and what it reads was written by the same firing."""
        number, edge = self._number(node, at), node.edges[at]
        return edge.source in fit and bool(self.plain[number])

    def _connect_replay(self, node: Node, adding: Adding) -> None:
        adding.sources += [s for s in node.sources if not isinstance(s, tuple | Edge)]
        for at in range(len(node.edges)):
            self._read_stream(adding, node, at)
        for at in range(len(type(adding.kind).inlets) - len(adding.sources)):
            adding.sources.append(Edge(node.index, len(type(node.type).outlets) + at))
            adding.numbers.append(-1)
        self.order.append(adding)

    def _read_stream(self, adding: Adding, node: Node, at: int) -> None:
        """Have ``adding`` read what ``node`` does at an edge."""
        edge = node.edges[at]
        if self._again(node, at, self.replays):
            by = self.replays[edge.source]
            adding.sources.append(Given(by, edge.outlet, by.channels, 0, -1))
            adding.numbers.append(-1)
        else:
            adding.sources.append(edge)
            adding.numbers.append(self._number(node, at))

    # ---- what they read

    def _connect(self, node: Node) -> None:
        """Put the adjoints of a node in order, each behind what it needs alone."""
        mine, kind = self.own[node.index], node.type
        if kind.border == "output":
            self.order += mine
        elif kind.border == "input":
            arriving = self._arriving(node, 0)
            if len(arriving) > 1:
                arriving = [self._gather(node, arriving)]
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
                some = [self._gather(node, some)]
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
                    self._read_stream(adding, node, int(number))
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
            taken = arriving if len(arriving) == 1 else [self._gather(node, arriving)]
        taken = self._unbatch(node, untakes[0][1], taken)
        for adding, _ in untakes:
            self._read_all(adding, taken)
            self.order.append(adding)

    def _put_aside(self, node: Node) -> None:
        """Have cotangents of tokens in flight lie in memory though their source has no use for any."""
        for outlet, name in enumerate(type(node.type).outlets):
            for reader, at in self.readers[node.index, outlet]:
                edge = self.graph.nodes[reader].edges[at]
                given = self.arrivals[reader, at]
                if edge.tokens > 0 or self.pace[reader] != self.pace[node.index]:
                    count = max(node.type.counts(name))
                    code = ("unread", count, given.channels)
                    adding = Adding(Unread(count), node, given.channels, code)
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
            rate = max(node.type.counts(type(node.type).outlets[outlet]))
            if given.channels != node.channels:
                consumer = self.graph.nodes[reader]
                count = edge_rates(consumer)[at]
                fold = Adding(Fold(count), consumer, 1, ("fold", count, given.channels))
                self._read(fold, [dataclasses.replace(given, tokens=0, number=-1)])
                self.order.append(fold)
                given = dataclasses.replace(given, by=fold, outlet=0, channels=1)
            given = self._with_unread(self.graph.nodes[reader], at, given)
            self.arrivals[reader, at] = given
            if given.tokens < 0:
                late = Adding(
                    Unheard(-given.tokens, rate),
                    node,
                    node.channels,
                    ("late", given.tokens, rate, node.channels),
                )
                self._read(late, [given])
                self.order.append(late)
                given = Given(late, 0, node.channels, 0, -1)
            found.append(given)
        return found

    def _with_unread(self, reader: Node, at: int, given: Given) -> Given:
        """The same with the tokens that a firing took and did not read."""
        taken = int(self.graph.consumed[self._number(reader, at)])
        if isinstance(given.by.kind, Untake) or edge_rates(reader)[at] == taken:
            return given
        code = ("last", taken, given.channels)
        adding = Adding(Last(taken), reader, given.channels, code)
        self._read(adding, [dataclasses.replace(given, tokens=0, number=-1)])
        self.order.append(adding)
        return dataclasses.replace(given, by=adding, outlet=0)

    def _from(self, reader: Node, at: int) -> Given:
        """What a reader gives for one of its edges."""
        if reader.type.is_sum and not self.own[reader.index]:
            ((over, there),) = self.readers[reader.index, 0]
            given = self._from(self.graph.nodes[over], there)
            return dataclasses.replace(
                given, tokens=reader.edges[at].tokens, number=self._number(reader, at)
            )
        return self.given[reader.index, at]

    def _gather(self, node: Node, arriving: list[Given]) -> Given:
        """Their sum, as one."""
        kind: NodeType = Gathered()
        count = node.type.spread
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

    # ---- all of it

    def _signature(self, code: tuple[Any, ...]) -> int:
        return len(self.graph.nodes) + self.signatures.setdefault(code, len(self.signatures))

    def _finish(self) -> Backward:
        count = len(self.graph.nodes)
        self.order.reverse()  # equal nodes stand in the order of those that they are of
        for index, adding in enumerate(self.order, count):
            adding.index = index
        mark = "* "
        while any(mark in node.name for node in self.graph.nodes):  # no name is given twice
            mark = f"*{mark}"
        nodes = [
            *self.twins,
            *(self._node(adding, f"{adding.like.name}{mark}{adding.index}") for adding in self.order),
        ]
        joint = Frozen(
            self.graph.sample_rate, self.graph.batch, nodes, [], {}, self.graph.fingerprint
        )
        rows = np.stack([self.pace.firings, self.pace.frames, self.pace.offset])
        like = [adding.like.index for adding in self.order]
        numbers = [
            *range(len(self.graph.source)),
            *(number for adding in self.order for number in adding.numbers),
        ]
        pace = JointPaces(
            joint,
            np.concatenate([rows, rows[:, like]], axis=1),
            self.pace,
            np.array(numbers, np.int64),
        )
        made = {id(adding): nodes[adding.index] for adding in self.order}
        border: dict[str, dict[str, Node]] = {"input": {}, "output": {}}
        adjoints: dict[int, list[Node]] = {}
        for index, mine in self.own.items():
            node = self.graph.nodes[index]
            if not mine or id(mine[0]) not in made:
                continue
            if node.type.border:
                border[node.type.border][node.name] = made[id(mine[0])]
            elif not isinstance(mine[0].kind, Untake | Gathered):
                adjoints[index] = [made[id(one)] for one in mine if id(one) in made]
        arrivals = {key: (made[id(g.by)], g.outlet) for key, g in self.arrivals.items()}
        twins = _needed(nodes[:count], nodes[count:])
        adjoint = np.arange(count, len(nodes))
        return Backward(
            joint,
            pace,
            twins,
            adjoint,
            border["input"],
            border["output"],
            adjoints,
            arrivals,
            self.starts,
        )

    def _node(self, adding: Adding, name: str) -> Node:
        sources = tuple(self._source(source) for source in adding.sources)
        edges = [
            s
            for source in sources
            for s in (source if isinstance(source, tuple) else (source,))
            if isinstance(s, Edge)
        ]
        signature = self._signature(adding.code)
        return Node(
            adding.index,
            name,
            adding.kind,
            sources,
            tuple(edges),
            adding.channels,
            signature,
            adding.like.created,
        )

    def _source(self, source: Any) -> Any:
        if isinstance(source, tuple):
            return tuple(self._source(one) for one in source)
        if not isinstance(source, Given):
            return source
        shape = (self.graph.batch, source.channels, max(0, -source.tokens))
        initial = np.zeros(shape) if source.tokens < 0 else None
        return Edge(source.by.index, source.outlet, initial=initial, skip=max(0, source.tokens))


def _pieces(traced: Traced, pattern: Pattern, plan: Plan) -> list[tuple[int, ...]]:
    """The inlets whose cotangents one node gives: all, or, since all outlets of a node have one number of
    channels, one by one."""
    if traced.takes and plan.is_identity:
        return []
    if not pattern.wanted:
        return [()] if pattern.params or traced.states() else []
    return [(i,) for i in pattern.wanted] if traced.whole else [pattern.wanted]


def _needed(twins: list[Node], adjoints: list[Node]) -> Ints:
    """Twins that an adjoint reads, and what they read."""
    found: set[int] = set()
    pending = [edge.source for node in adjoints for edge in node.edges]
    while pending:
        index = pending.pop()
        if index < len(twins) and index not in found:
            found.add(index)
            pending += [edge.source for edge in twins[index].edges]
    return np.array(sorted(found), np.int64)
