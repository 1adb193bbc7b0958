"""The timed meaning of a graph, token by token: what both engines are compared with.

Written from the model and not from any engine. Every node fires once per frame of the clock from its
start on, so its k-th firing is at clock ``k + start``. An edge is a FIFO that begins with its initial
tokens, visible from clock 0; a token made by the firing at clock t is written at ``t + processing
delay`` and visible ``delay`` frames later. Starts are the least ones at which no node ever waits::

    start(consumer) >= start(producer) + processing delay + delay - initial tokens

A firing takes one token from every edge, and it is asserted that each is visible by then. What a node
computes is its traced ``forward``, evaluated operation by operation (`interpret.evaluate`).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from interpret import Array, evaluate

from amp.contract import Param, Trace
from amp.graph import Edge
from amp.ir import InPort, Kernel, OutPort, StateSlot
from amp.jit.passes.expand_elementary import expand_elementary

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy.typing as npt

    from amp import Graph
    from amp.graph import Node
    from amp.ir import Value


def start_clocks(nodes: list[Node]) -> list[int]:
    """Clock of each node's first firing: the least solution, by repetition until nothing moves."""
    start = [0] * len(nodes)
    for _ in range(len(nodes) + 1):
        before = list(start)
        for node in nodes:
            for edge in node.edges:
                lag = nodes[edge.source].type.processing_delay + edge.delay - edge.tokens
                start[node.index] = max(start[node.index], start[edge.source] + lag)
        if start == before:
            return start
    raise AssertionError("a cycle has more delay than tokens")


@dataclass
class Fifo:
    """Tokens on one edge, each with the clock from which it is visible."""

    edge: Edge
    tokens: deque[tuple[int, Array]] = field(default_factory=deque)

    def take(self, clock: int) -> Array:
        """The oldest token; it must have expired."""
        visible_from, token = self.tokens.popleft()
        assert visible_from <= clock, f"read at {clock}, visible from {visible_from}"
        return token


@dataclass
class Traced:
    """A node's ``forward`` in IR; inlet port i reads channel ``ports[i][1]`` (-1: its own) of the
    node's edge ``ports[i][0]``. Everything the trace names begins with ``n.``."""

    kernel: Kernel
    trace: Trace
    ports: list[tuple[int, int]]


def trace_node(node: Node, nodes: list[Node], sample_rate: float) -> Traced:
    """Call ``forward`` with one value (or a list by channel) for each inlet."""
    trace = Trace(sample_rate)
    trace.enter("n", node.type)
    ports: list[tuple[int, int]] = []
    whole = node.type.channels == "all"
    edges = iter(enumerate(node.edges))

    def port(edge: int, channel: int) -> Value:
        ports.append((edge, channel))
        return trace.emit("inlet", attribute=(len(ports) - 1, 0))

    def stream() -> Any:
        number, edge = next(edges)
        if not whole:
            return port(number, -1)
        return [port(number, c) for c in range(nodes[edge.source].channels)]

    arguments: list[Any] = [port(0, -1)] if node.type.border == "input" else []
    for inlet, source in zip(type(node.type).inlets, node.sources, strict=True):
        if isinstance(source, tuple):
            arguments.append([stream() for _ in source])
        elif isinstance(source, Edge):
            arguments.append(stream())
        elif source is None:
            arguments.append(None)
        elif whole:
            count = np.atleast_2d(_value(source)).shape[1]
            arguments.append([trace.slot(f"{inlet.name}.{c}") for c in range(count)])
        else:
            arguments.append(trace.slot(inlet.name))
    result = node.type.forward(trace, *arguments)
    outlets = list(result) if isinstance(result, tuple) else [result]
    kernel = Kernel(
        tuple(trace.values),
        (InPort("aligned", 1),) * len(ports),
        tuple(OutPort("ring", len(outlet) if whole else 1) for outlet in outlets),
        tuple((name, value.type) for name, value in trace.slots.items()),
        tuple(StateSlot(name, value.type) for name, value in trace.states.items()),
        tuple(trace.line_lengths),
        tuple(trace.nexts[name] for name in trace.states),
        tuple(tuple(outlet) if whole else (outlet,) for outlet in outlets),
    )
    return Traced(kernel, trace, ports)


class Process:
    """One node with its memory. Lanes are (batch, channel), or batch for nodes that see all."""

    def __init__(self, node: Node, nodes: list[Node], sample_rate: float, batch: int) -> None:
        self.node, self.batch = node, batch
        self.shape = (batch, 1 if node.type.channels == "all" else node.channels)
        traced = trace_node(node, nodes, sample_rate)
        trace, self.ports = traced.trace, traced.ports
        self.kernel = expand_elementary(traced.kernel)
        params = {name: self._slot(name.removeprefix("n.")) for name in trace.slots}
        self.state = {
            name: self._lanes(self._slot(start) if isinstance(start, str) else start)
            for name, start in trace.inits.items()
        }
        self.past: dict[str, list[Array]] = {name: [] for name in trace.line_lengths}
        self.clock = 0
        values = self.kernel.values
        access = {"param": params.__getitem__, "iparam": params.__getitem__}
        self.still = evaluate([v for v in values if not v.varies], access)
        self.moving = [v for v in values if v.varies]

    def fire(self, tokens: list[Array]) -> list[Array]:
        """One token, ``(batch, channel)``, of every edge in; one of every outlet."""
        planes = [
            self._lanes(tokens[e] if channel < 0 else tokens[e][:, channel : channel + 1])
            for e, channel in self.ports
        ]
        access: dict[str, Callable[..., Any]] = {
            "inlet": lambda place: planes[place[0]],
            "state": self.state.__getitem__,
            "istate": self.state.__getitem__,
            "line": self._write,
            "tap": _tap,
            "clock": lambda _: self.clock,
        }
        results = evaluate(self.moving, access, self.still)
        self.clock += 1
        for slot, value in zip(self.kernel.states, self.kernel.nexts, strict=True):
            self.state[slot.name] = self._lanes(results[value])
        outlets = []
        for planes_out in self.kernel.stores:
            columns = [self._lanes(results[v]).reshape(self.shape) for v in planes_out]
            outlets.append(np.concatenate(columns, axis=1))
        return outlets

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


def run_reference(
    graph: Graph, inputs: Mapping[str, npt.ArrayLike], frames: int
) -> tuple[dict[str, Array], dict[str, int]]:
    """Outputs on the clock's timeline, zero before the first visible token; and each latency."""
    nodes = graph.freeze().nodes
    start = start_clocks(nodes)
    arrays = {name: np.asarray(array, np.float64) for name, array in inputs.items()}
    processes = [Process(node, nodes, graph.sample_rate, graph.batch) for node in nodes]
    fifos = {(n.index, i): Fifo(edge) for n in nodes for i, edge in enumerate(n.edges)}
    readers: list[list[Fifo]] = [[] for _ in nodes]
    for fifo in fifos.values():
        readers[fifo.edge.source].append(fifo)
        initial = fifo.edge.initial
        if initial is not None:
            fifo.tokens.extend((0, initial[:, :, i]) for i in range(initial.shape[2]))
    outputs = {
        node.name: np.zeros((graph.batch, node.channels, frames))
        for node in nodes
        if node.type.border == "output"
    }

    def fire(node: Node, clock: int) -> None:
        if node.type.border == "input":
            tokens = [arrays[node.name][:, :, clock - start[node.index]]]
        else:
            tokens = [fifos[node.index, i].take(clock) for i in range(len(node.edges))]
        results = processes[node.index].fire(tokens)
        if node.type.border == "output":
            outputs[node.name][:, :, clock] = results[0]
            return
        for fifo in readers[node.index]:
            visible_from = clock + node.type.processing_delay + fifo.edge.delay
            fifo.tokens.append((visible_from, results[fifo.edge.outlet]))

    order = list(range(len(nodes)))
    for clock in range(frames):
        due = [i for i in order if clock >= start[i]]
        fired: list[int] = []
        while due:  # whoever has its tokens fires; a producer of this very frame goes first
            ready = [i for i in due if all(fifos[i, e].tokens for e in range(len(nodes[i].edges)))]
            assert ready, f"nobody can fire at {clock}: {[nodes[i].name for i in due]}"
            for i in ready:
                fire(nodes[i], clock)
            fired += ready
            due = [i for i in due if i not in set(ready)]
    return outputs, {name: start[graph[name].index] for name in outputs}
