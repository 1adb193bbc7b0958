"""The timed meaning of a graph, token by token: what both engines are compared with.

Written from the model and not from any engine. A node that fires a times in b frames fires evenly: its
k-th firing is at clock ``floor((k b + c) / a)``; inputs and outputs fire once a frame. An edge is a FIFO
that begins with its initial tokens, visible from clock 0; a token made by the firing at clock t is
written at ``t + processing delay`` and visible ``delay`` frames later. Each node's c is found by trying:
the least one, from 0 up, with which none of its firings comes before the tokens it takes are visible.

A node behind a gate takes tokens of each of its contributors too, and does not look at them: if n/d are
written in the time of a firing, the first k firings take ``ceil(k n / d)``.

An edge may lose the first tokens that are made.

An edge with a default is read by the clock: nobody waits for it, and at clock t it gives the newest
tokens that are visible then, behind an endless past of its newest initial token or its default.

Routers send tokens where data says (`Simulation.route`). They, and whoever waits for what they send, are
*free*: they fire at the first clock at which what they take is visible, as often as it is.

A firing takes as many tokens from every edge as its inlet's rate says, and it is asserted that each is
visible by then. What a node computes is its traced ``forward``, evaluated operation by operation
(`interpret.evaluate`); a node that rearranges is told by its takes which tokens those are.
"""

from __future__ import annotations

import dataclasses
import math
from collections import deque
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import networkx as nx
import numpy as np
from interpret import Array, evaluate, turns

from amp.contract import Param, Trace
from amp.graph import Edge
from amp.ir import InPort, Kernel, OutPort, StateSlot
from amp.jit.passes.expand_elementary import expand_elementary

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy.typing as npt

    from amp import Graph, NodeType
    from amp.graph import Frozen, Node
    from amp.ir import Value


@dataclass(frozen=True)
class Pace:
    """A node's firings: its k-th is at clock ``floor((k frames + offset) / firings)``."""

    firings: int
    frames: int
    offset: int = 0

    def clock(self, k: int) -> int:
        """Clock of firing k."""
        return (k * self.frames + self.offset) // self.firings

    def fired(self, clock: int) -> int:
        """Firings before ``clock``."""
        k = max(0, (clock * self.firings - self.offset) // self.frames - 1)
        while self.clock(k) < clock:
            k += 1
        return k


@dataclass(frozen=True)
class Ends:
    """An edge, and how many tokens the firings of both its ends move: firing k of a cycle."""

    edge: Edge
    source: int
    consumer: int
    control: bool
    made: tuple[int, ...]
    taken: tuple[int, ...]

    def wrote(self, k: int) -> int:
        """Tokens of the producer's firings before ``k``."""
        return _before(self.made, k)

    def took(self, k: int) -> int:
        """Tokens of the consumer's."""
        return _before(self.taken, k)

    def maker(self, token: int) -> int:
        """The firing that writes ``token``."""
        k = token // sum(self.made) * len(self.made)
        while self.wrote(k + 1) <= token:
            k += 1
        return k


def _before(counts: tuple[int, ...], k: int) -> int:
    whole, rest = divmod(k, len(counts))
    return whole * sum(counts) + sum(counts[:rest])


def counts_of(node: NodeType, port: str) -> tuple[int, ...]:
    """Tokens of each firing of a cycle."""
    rate = node.rate(port)
    return rate if isinstance(rate, tuple) else (rate,)


def ends_of(graph: Frozen) -> list[Ends]:
    """Every edge, by consumer: data first, then gates, whose shares follow from the rates."""
    ends = []
    for node in graph.nodes:
        inlets = [
            inlet.name
            for inlet, source in zip(type(node.type).inlets, node.sources, strict=True)
            for _ in (source if isinstance(source, tuple) else [source])
            if isinstance(source, tuple | Edge)
        ]
        for i, edge in enumerate((*node.edges, *node.controls)):
            producer = graph.nodes[edge.source].type
            made = counts_of(producer, type(producer).outlets[edge.outlet])
            control = i >= len(node.edges)
            taken = (1,) if control else counts_of(node.type, inlets[i])
            taken = edge.counts or taken
            ends.append(Ends(edge, edge.source, node.index, control, made, taken))
    rate = rates_of(graph, ends)
    for i, end in enumerate(ends):
        if end.control and not end.edge.counts:
            share = rate[end.source] * _mean(end.made) / rate[end.consumer]
            before = [math.ceil(k * share) for k in range(share.denominator + 1)]
            taken = tuple(b - a for a, b in pairwise(before))
            ends[i] = dataclasses.replace(end, taken=taken)
    return ends


def _mean(counts: tuple[int, ...]) -> Fraction:
    return Fraction(sum(counts), len(counts))


def rates_of(graph: Frozen, ends: list[Ends]) -> list[Fraction]:
    """Firings per frame: borders fire once, and across each edge that is read in order as much is
    written as read."""
    fixed = {"input", "output"}
    rate = {node.index: Fraction(1) for node in graph.nodes if node.type.border in fixed}
    chosen = {  # a select takes of these as data says
        id(edge) for node in graph.nodes if node.type.router == "select" for edge in node.edges[:2]
    }
    edges = [
        (end.source, end.consumer, _mean(end.made), _mean(end.taken))
        for end in ends
        if end.edge.default is None and not end.control and id(end.edge) not in chosen
    ]
    while True:
        before = len(rate)
        for source, consumer, made, read in edges:
            if source in rate:
                rate.setdefault(consumer, rate[source] * made / read)
            elif consumer in rate:
                rate[source] = rate[consumer] * read / made
        if len(rate) == len(graph.nodes):
            break
        if len(rate) == before:
            rate[next(n.index for n in graph.nodes if n.index not in rate)] = Fraction(1)
    for source, consumer, made, read in edges:
        assert rate[source] * made == rate[consumer] * read
    return [rate[node.index] for node in graph.nodes]


def paces_of(graph: Frozen, free: frozenset[int] = frozenset()) -> list[Pace]:
    """When nodes fire: the least offsets, by repetition until nothing moves; ``free`` nodes have none."""
    nodes, ends = graph.nodes, ends_of(graph)
    pace = [Pace(rate.numerator, rate.denominator) for rate in rates_of(graph, ends)]
    for _ in range(len(nodes) + 1):
        before = list(pace)
        for end in ends:
            if end.edge.default is not None or end.consumer in free:
                continue
            theirs, mine = pace[end.source], pace[end.consumer]
            lag = nodes[end.source].type.processing_delay + end.edge.delay
            period = math.lcm(theirs.frames * len(end.made), mine.frames * len(end.taken))
            first = 0  # the first firing that takes a made token
            while end.took(first + 1) <= end.edge.tokens:
                first += 1
            offset = mine.offset
            for k in range(first, first + period * mine.firings // mine.frames):
                if (index := end.took(k + 1) - 1 - end.edge.tokens) >= 0:
                    visible = theirs.clock(end.maker(index)) + lag
                    offset = max(offset, visible * mine.firings - k * mine.frames)
            pace[end.consumer] = Pace(mine.firings, mine.frames, offset)
        if pace == before:
            return pace
    raise AssertionError("a cycle has more delay than tokens")


@dataclass
class Fifo:
    """Tokens on one edge, each with the clock from which it is visible."""

    ends: Ends
    past: list[Array]
    before: Array  # by the clock: what it gives until a token is visible
    fired: int = 0
    lost: int = 0
    tokens: deque[tuple[int, Array]] = field(default_factory=deque)

    @property
    def edge(self) -> Edge:
        return self.ends.edge

    @property
    def read(self) -> int:
        """Tokens that the next firing takes."""
        return self.ends.took(self.fired + 1) - self.ends.took(self.fired)

    def shows(self, clock: int) -> bool:
        """It has what the next firing takes, visible."""
        read = self.read
        return len(self.tokens) >= read and all(at <= clock for at, _ in list(self.tokens)[:read])

    def take(self, clock: int) -> list[Array]:
        """What a firing reads: its past, and the oldest tokens, which must have expired."""
        if self.edge.default is not None:
            visible = [token for visible_from, token in self.tokens if visible_from <= clock]
            count = len(self.past) + max(self.ends.taken)
            return ([self.before] * count + visible)[-count:]
        taken = []
        for _ in range(self.read):
            visible_from, token = self.tokens.popleft()
            assert visible_from <= clock, f"read at {clock}, visible from {visible_from}"
            taken.append(token)
        self.fired += 1
        seen = self.past + taken
        self.past = seen[len(seen) - len(self.past) :]
        return seen


@dataclass
class Traced:
    """A node's ``forward`` in IR; inlet port i reads token ``ports[i][2]`` of a firing, channel
    ``ports[i][1]`` (-1: its own), of the node's edge ``ports[i][0]``, or its take of number
    ``ports[i][2]`` where the edge is -1. Everything the trace names begins with ``n.``."""

    kernel: Kernel
    trace: Trace
    ports: list[tuple[int, int, int]]


def trace_node(node: Node, nodes: list[Node], sample_rate: float) -> Traced:
    """Call ``forward`` with one value (or a list by channel) for each inlet."""
    trace = Trace(sample_rate)
    trace.enter("n", node.type)
    ports: list[tuple[int, int, int]] = []
    whole = node.type.channels == "all"
    edges = iter(enumerate(node.edges))

    def port(edge: int, channel: int, token: int = 0) -> Value:
        ports.append((edge, channel, token))
        return trace.emit("inlet", attribute=(len(ports) - 1, 0))

    def stream(inlet: str) -> Any:
        number, edge = next(edges)
        tokens = [
            [port(number, c, token) for c in range(nodes[edge.source].channels)]
            if whole
            else port(number, -1, token)
            for token in range(max(counts_of(node.type, inlet)))
        ]
        return tokens if len(tokens) > 1 else tokens[0]

    arguments: list[Any] = [port(0, -1)] if node.type.border == "input" else []
    takes = node.type.takes([nodes[edge.source].channels for edge in node.edges])
    arguments += [port(-1, -1, number) for number in range(len(takes))]
    for inlet, source in zip(type(node.type).inlets, node.sources, strict=True):
        if takes:
            break
        if isinstance(source, tuple):
            arguments.append([stream(inlet.name) for _ in source])
        elif isinstance(source, Edge):
            arguments.append(stream(inlet.name))
        elif source is None:
            arguments.append(None)
        elif whole:
            count = np.atleast_2d(_value(source)).shape[1]
            arguments.append([trace.slot(f"{inlet.name}.{c}") for c in range(count)])
        else:
            arguments.append(trace.slot(inlet.name))
    result = node.type.forward(trace, *arguments)
    outlets = list(result) if isinstance(result, tuple) else [result]
    rates = [
        max(counts_of(node.type, name)) if node.type.spread == 1 else 1
        for name in type(node.type).outlets
    ]
    stores = [
        tuple(value for token in ([outlet] if rate == 1 else outlet) for value in _list(token))
        for outlet, rate in zip(outlets, rates or [1], strict=True)
    ]
    kernel = Kernel(
        tuple(trace.values),
        (InPort("aligned", 1),) * len(ports),
        tuple(
            OutPort("ring", len(values) // rate, rate, rate)
            for values, rate in zip(stores, rates or [1], strict=True)
        ),
        tuple((name, value.type) for name, value in trace.slots.items()),
        tuple(StateSlot(name, value.type) for name, value in trace.states.items()),
        tuple(trace.line_lengths),
        tuple(trace.nexts[name] for name in trace.states),
        tuple(stores),
    )
    return Traced(kernel, trace, ports)


def _list(x: Any) -> list[Any]:
    return x if isinstance(x, list) else [x]


class Process:
    """One node with its memory. Lanes are (batch, channel), or batch for nodes that see all."""

    def __init__(self, node: Node, nodes: list[Node], sample_rate: float, batch: int) -> None:
        self.node, self.batch = node, batch
        each = node.channels * node.type.spread
        self.shape = (batch, 1 if node.type.channels == "all" else each)
        self.takes = node.type.takes([nodes[edge.source].channels for edge in node.edges])
        traced = trace_node(node, nodes, sample_rate)
        trace, self.ports = traced.trace, traced.ports
        self.kernel = expand_elementary(traced.kernel)
        params = {name: self._slot(name.removeprefix("n.")) for name in trace.slots}
        self.state = {
            name: self._lanes(self._slot(start) if isinstance(start, str) else start)
            for name, start in trace.inits.items()
        }
        for name, value in trace.states.items():
            if value.type == "turn":
                self.state[name] = turns(self.state[name])
        self.past: dict[str, list[Array]] = {name: [] for name in trace.line_lengths}
        self.clock = 0
        values = self.kernel.values
        access = {"param": params.__getitem__, "iparam": params.__getitem__}
        self.still = evaluate([v for v in values if not v.varies], access, flush=True)
        self.moving = [v for v in values if v.varies]

    def fire(self, tokens: list[list[Array]]) -> list[list[Array]]:
        """Tokens, ``(batch, channel)``, of every edge in; those of every outlet out."""
        planes = [self._plane(tokens, *place) for place in self.ports]
        access: dict[str, Callable[..., Any]] = {
            "inlet": lambda place: planes[place[0]],
            "state": self.state.__getitem__,
            "istate": self.state.__getitem__,
            "tstate": self.state.__getitem__,
            "line": self._write,
            "tap": _tap,
            "clock": lambda _: self.clock,
        }
        results = evaluate(self.moving, access, self.still, flush=True)
        self.clock += 1
        for slot, value in zip(self.kernel.states, self.kernel.nexts, strict=True):
            self.state[slot.name] = self._lanes(results[value])
        outlets = []
        for port, values in zip(self.kernel.outlets, self.kernel.stores, strict=True):
            columns = [self._lanes(results[v]).reshape(self.shape) for v in values]
            made = [
                np.concatenate(columns[t * port.planes : (t + 1) * port.planes], axis=1)
                for t in range(port.rate)
            ]
            if (spread := self.node.type.spread) > 1:
                apart = made[0].reshape(self.batch, -1, spread)
                made = [apart[:, :, t] for t in range(spread)]
            outlets.append(made)
        return outlets

    def _plane(self, tokens: list[list[Array]], edge: int, channel: int, token: int) -> Array:
        """What an inlet port reads, by lane."""
        if edge < 0:
            out = np.zeros(self.shape)
            take = self.takes[token]
            rows = list(take.batch) or slice(None)
            for lane, (source, c, back) in enumerate(
                zip(take.edge, take.channel, take.back, strict=True)
            ):
                if c >= 0:
                    out[:, lane] = tokens[source][-1 - back][rows, c]
            return out.ravel()
        read = len(tokens[edge]) if self.node.type.border else self._read(edge)
        value = tokens[edge][len(tokens[edge]) - read + token]
        return self._lanes(value if channel < 0 else value[:, channel : channel + 1])

    def _read(self, edge: int) -> int:
        """Most tokens that a firing takes from an edge."""
        names = [
            inlet.name
            for inlet, source in zip(type(self.node.type).inlets, self.node.sources, strict=True)
            for _ in (source if isinstance(source, tuple) else [source])
            if isinstance(source, tuple | Edge)
        ]
        return max(counts_of(self.node.type, names[edge]))

    def _slot(self, name: str) -> Array:
        """What the trace calls ``name``: a lane's number, an inlet's constant, or a param."""
        if name == "lane":
            numbers = np.arange(self.batch * self.node.channels)
            return numbers.reshape(self.batch, -1)[:, : self.shape[1]].ravel()
        inlet, _, channel = name.partition(".")
        names = [i.name for i in type(self.node.type).inlets]
        if inlet in names:
            value = _value(self.node.sources[names.index(inlet)])
            if channel:
                value = np.atleast_2d(value)[:, int(channel) : int(channel) + 1]
            return self._lanes(value)
        attribute, _, index = name.partition("[")
        value = _value(getattr(self.node.type, attribute))
        return self._lanes(value[tuple(map(int, index[:-1].split(",")))] if index else value)

    def _lanes(self, value: npt.ArrayLike) -> Array:
        array = np.asarray(value)
        if array.ndim < 2 and array.size > 1:
            array = array.reshape(self.shape)
        return np.broadcast_to(array, self.shape).ravel()

    def _write(self, name: str, x: Array) -> list[Array]:
        self.past[name].append(self._lanes(x))
        return self.past[name]


def _value(source: Any) -> Array:
    return np.asarray(source.value if isinstance(source, Param) else source)


def _tap(_: None, line: list[Array], frames: Array) -> Array:
    """What each lane wrote ``frames`` ago; silence before that."""
    back = np.broadcast_to(frames, line[-1].shape)
    return np.array(
        [line[-1 - n][lane] if n < len(line) else 0.0 for lane, n in enumerate(back.tolist())]
    )


def fifos_of(graph: Frozen) -> list[list[Fifo]]:
    """The edges into each node, with their initial tokens."""
    fifos: list[list[Fifo]] = [[] for _ in graph.nodes]
    for ends, history in zip(ends_of(graph), graph.history.tolist(), strict=True):
        edge = ends.edge
        silence = np.zeros((graph.batch, graph.nodes[edge.source].channels))
        fifo = Fifo(ends, [silence] * history, silence)
        if edge.default is not None:
            fifo.before = silence + edge.default
            if edge.initial is not None:
                fifo.before = edge.initial[:, :, -1]
        elif edge.initial is not None:
            count = edge.initial.shape[2]
            fifo.lost = min(edge.skip, count)
            fifo.tokens.extend((0, edge.initial[:, :, i]) for i in range(fifo.lost, count))
        fifos[ends.consumer].append(fifo)
    return fifos


class Simulation:
    """A graph that runs clock by clock."""

    def __init__(self, graph: Graph, inputs: Mapping[str, npt.ArrayLike], frames: int) -> None:
        frozen = graph.freeze()
        self.nodes, self.free = frozen.nodes, free_nodes(frozen)
        self.pace = paces_of(frozen, self.free)
        self.arrays = {name: np.asarray(array, np.float64) for name, array in inputs.items()}
        self.processes = [
            None
            if node.type.router
            else Process(
                node, self.nodes, graph.sample_rate * pace.firings / pace.frames, graph.batch
            )
            for node, pace in zip(self.nodes, self.pace, strict=True)
        ]
        self.last_control = dict.fromkeys(self.free, 0.0)  # of triggers
        self.late = [node for node in _sources_first(frozen) if self.is_late(node)]
        self.edges = fifos_of(frozen)
        self.readers = [
            [fifo for fifos in self.edges for fifo in fifos if fifo.edge.source == node.index]
            for node in self.nodes
        ]
        self.fired = [0] * len(self.nodes)
        heard = [node for node in self.nodes if node.type.border == "output"]
        self.outputs = {n.name: np.zeros((graph.batch, n.channels, frames)) for n in heard}

    def advance(self, clock: int) -> None:
        """Whoever is due and has its tokens fires; a producer of this very clock goes first. Who reads
        by the clock what depends on data goes when nobody else can, one at a time."""
        late = {node.index for node in self.late}
        early = [node for node in self.nodes if node.index not in late]
        while True:
            ready = [node for node in early if self.can_fire(node, clock)]
            if not ready:
                ready = [node for node in self.late if self.can_fire(node, clock)][:1]
            if not ready:
                break
            for node in ready:
                self.fire(node, clock)
        for node in self.nodes:
            if node.index not in self.free:
                assert self.next_clock(node.index) > clock, f"{node} cannot fire at {clock}"

    def is_late(self, node: Node) -> bool:
        """It reads by the clock what depends on data."""
        return any(e.default is not None and e.source in self.free for e in node.edges)

    def can_fire(self, node: Node, clock: int) -> bool:
        """It is due, or free, and has what a firing takes."""
        fifos = self.edges[node.index]
        if node.index not in self.free:
            due = self.next_clock(node.index) <= clock
            return due and all(self.is_ready(fifo, clock) for fifo in fifos)
        if node.type.router == "select":
            true, false, control, *gates = fifos
            if not control.shows(clock):
                return False
            fifos = [true if control.tokens[0][1].item() > 0 else false, *gates]
        return all(fifo.shows(clock) for fifo in fifos)

    def next_clock(self, node: int) -> int:
        """Clock of the node's next firing."""
        return self.pace[node].clock(self.fired[node])

    def is_ready(self, fifo: Fifo, clock: int) -> bool:
        """It holds what a firing takes; by the clock, nothing visible now is still to be made."""
        if fifo.edge.default is None:
            return len(fifo.tokens) >= fifo.read
        source = fifo.edge.source
        if source in self.free:
            return True
        lag = self.nodes[source].type.processing_delay + fifo.edge.delay
        return self.next_clock(source) + lag > clock

    def fire(self, node: Node, clock: int) -> None:
        """One firing."""
        process = self.processes[node.index]
        if process is None:
            results = self.route(node, clock)
        elif node.type.border == "input":
            frame = clock - self.pace[node.index].offset
            results = process.fire([[self.arrays[node.name][:, :, frame]]])
        else:
            taken = [fifo.take(clock) for fifo in self.edges[node.index]]
            results = process.fire(taken[: len(node.edges)])
        k = self.fired[node.index]
        self.fired[node.index] += 1
        if node.type.border == "output":
            self.outputs[node.name][:, :, clock] = results[0][0]
            return
        for fifo in self.readers[node.index]:
            visible_from = clock + node.type.processing_delay + fifo.edge.delay
            made = results[fifo.edge.outlet][: fifo.ends.made[k % len(fifo.ends.made)]]
            lose = min(len(made), fifo.edge.skip - fifo.lost)
            fifo.lost, made = fifo.lost + lose, made[lose:]
            fifo.tokens.extend((visible_from, token) for token in made)

    def route(self, node: Node, clock: int) -> list[list[Array]]:
        """One firing of a router: the tokens of each outlet."""
        first, second, *others = self.edges[node.index]
        for fifo in self.edges[node.index][len(node.edges) :]:  # of gates
            fifo.take(clock)
        if node.type.router == "select":
            chosen = first if others[0].take(clock)[-1].item() > 0 else second
            return [[chosen.take(clock)[-1]]]
        token, now = first.take(clock)[-1], second.take(clock)[-1].item()
        if node.type.router == "switch":
            return [[token], []] if now > 0 else [[], [token]]
        before, self.last_control[node.index] = self.last_control[node.index], now
        crosses = {"rising": now > 0 and not before > 0, "falling": before > 0 and not now > 0}
        crosses["both"] = crosses["rising"] or crosses["falling"]
        return [[token] if crosses[vars(node.type)["crossing"]] else []]


def free_nodes(graph: Frozen) -> frozenset[int]:
    """Nodes that fire as data says: routers, and whoever waits for such a node."""
    free = {node.index for node in graph.nodes if node.type.router}
    while True:
        more = {
            node.index
            for node in graph.nodes
            if any(edge.default is None and edge.source in free for edge in node.edges)
        }
        if more <= free:
            return frozenset(free)
        free |= more


def _sources_first(graph: Frozen) -> list[Node]:
    """Nodes in an order in which who can be heard at the same clock comes first."""
    at_once: Any = nx.DiGraph(
        (edge.source, node.index)
        for node in graph.nodes
        for edge in (*node.edges, *node.controls)
        if not edge.delay + graph.nodes[edge.source].type.processing_delay
    )
    at_once.add_nodes_from(node.index for node in graph.nodes)
    parts = nx.condensation(at_once)
    order = [i for part in nx.topological_sort(parts) for i in parts.nodes[part]["members"]]
    return [graph.nodes[index] for index in order]


def run_reference(
    graph: Graph, inputs: Mapping[str, npt.ArrayLike], frames: int
) -> tuple[dict[str, Array], dict[str, int]]:
    """Outputs on the clock's timeline, zero before the first visible token; and each latency."""
    simulation = Simulation(graph, inputs, frames)
    for clock in range(frames):
        simulation.advance(clock)
    starts = {name: simulation.pace[graph[name].index].clock(0) for name in simulation.outputs}
    return simulation.outputs, starts
