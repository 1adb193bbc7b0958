"""Rates that depend on data: what such a graph may be, and how it is read by the clock.

Behind a `nodes.Switch`, a `nodes.Select` or a `nodes.Trigger` nodes fire when their tokens are visible, and
tokens carry the clock they were written at. Nothing that fires at a pace can wait for them; it reads them
by the clock. Such an edge becomes one to a node of its own, a `Sample`, which fires when its reader does
and gives the newest tokens that are visible.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING

import numpy as np

from amp.contract import Inlet, NodeType
from amp.errors import BadGraph, Deadlock
from amp.frozen import Edge, Frozen, Node

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray


class Sample(NodeType, register=False):
    """The newest ``count`` tokens that are visible at each firing. Those before the first one are the
    newest initial token, or the edge's default."""

    count: int
    inlets = (Inlet("input"),)
    channels = "all"
    router = "sample"

    def rate(self, port: str) -> int:
        return self.count if port == "out" else 1

    def out_channels(self, widths: dict[str, int]) -> int:
        return widths.get("input", 1)


def read_by_clock(graph: Frozen) -> Frozen:
    """The same graph, in which samples stand between nodes whose firings depend on data and those that
    read them by the clock; the same object if there are none.

    Raises
    ------
    BadGraph
        If a node that fires at a pace would have to wait for one that does not, or the other way.
    Deadlock
        If what is read by the clock depends on itself within a frame.
    """
    if not graph.dynamic.any():
        return graph
    graph = _probe_by_clock(graph)
    _check(graph)
    signature = 1 + max(node.signature for node in graph.nodes)
    samples: list[Node] = []

    def sampled(node: Node, at: int, edge: Edge) -> Edge:
        if edge.default is None or not graph.dynamic[edge.source]:
            return edge
        index, number = len(graph.nodes) + len(samples), len(samples)
        source = graph.nodes[edge.source]
        count = int(graph.reach[graph.first[node.index] + at])
        past: NDArray[np.float64] | float = edge.default
        if edge.initial is not None:
            past = edge.initial[:, :, -1:]
        shape = (graph.batch, source.channels, count)
        read = dataclasses.replace(edge, initial=np.broadcast_to(past, shape).copy())
        samples.append(
            Node(
                index,
                f"{node.name} reads {source.name} by the clock, {number}",
                Sample(count),
                (read,),
                (read,),
                source.channels,
                signature + number,
                node.created,
            )
        )
        return Edge(index, 0, counts=(count,))

    nodes = [
        node.with_edges(functools.partial(sampled, node)) if node.type.router != "sample" else node
        for node in graph.nodes
    ]
    if not samples:
        return graph
    read = graph.with_nodes([*nodes, *samples])
    samples_in_order(read)
    return read


def samples_in_order(graph: Frozen) -> list[tuple[int, int]]:
    """Samples, and the number of the loop that each is in, or 0: those first that others hear, in a
    loop within a frame.

    Raises
    ------
    Deadlock
        If one hears itself within a frame.
    """
    samples = [node.index for node in graph.nodes if node.type.router == "sample"]
    if not samples:
        return []
    import networkx as nx  # only graphs whose rates depend on data pay for it

    def parts(edges: NDArray[np.bool_]) -> list[set[int]]:
        ends = zip(graph.source[edges].tolist(), graph.consumer[edges].tolist(), strict=True)
        whole = nx.DiGraph(ends)
        whole.add_nodes_from(samples)
        condensed = nx.condensation(whole)
        return [condensed.nodes[part]["members"] for part in nx.topological_sort(condensed)]

    place = {}
    for number, members in enumerate(parts(graph.processing[graph.source] + graph.delay == 0)):
        for index in members.intersection(samples):
            place[index] = number
            if len(members) > 1:
                _refuse_loop(graph, index, members)
    order: list[tuple[int, int]] = []
    for number, members in enumerate(parts(graph.source >= 0), 1):
        loop = number if len(members) > 1 else 0
        order += [(i, loop) for i in sorted(members.intersection(samples), key=place.__getitem__)]
    return order


def _refuse_loop(graph: Frozen, sample: int, members: set[int]) -> None:
    source = graph.nodes[graph.nodes[sample].edges[0].source]
    reader = graph.nodes[int(graph.consumer[graph.source == sample][0])]
    names = (
        node.name for node in graph.nodes if node.index in members and node.type.router != "sample"
    )
    raise Deadlock(
        "a cycle through a stream that is read by the clock has a frame of delay, or it waits for itself",
        got=f"no delay among {', '.join(map(repr, names))}",
        where=f"edge {source.name!r} -> {reader.name!r}, {reader}",
        fix="amp.edge(stream, delay=1, default=0.0)",
    )


def _probe_by_clock(graph: Frozen) -> Frozen:
    """Have probes of streams whose tokens come as data says read them by the clock."""
    late = [node.type.border == "probe" and graph.dynamic[node.index] for node in graph.nodes]
    if not any(late):
        return graph
    nodes = [
        node.with_edges(lambda _, edge: dataclasses.replace(edge, default=0.0)) if probed else node
        for node, probed in zip(graph.nodes, late, strict=True)
    ]
    return Frozen(
        graph.sample_rate, graph.batch, nodes, graph.params, graph.gates, graph.fingerprint
    )


def routers(graph: Frozen) -> Iterator[Node]:
    """Nodes whose rates depend on data."""
    return (node for node in graph.nodes if node.type.router not in {"", "sample"})


def _check(graph: Frozen) -> None:
    router = next(routers(graph))
    if graph.batch > 1:
        raise BadGraph(
            "the tokens of a batch travel together, so rates depend on data in graphs of batch 1",
            got=f"batch {graph.batch}",
            where=str(router),
            fix="use a program for each (Program.clone), or nodes.Clip and arithmetic instead",
        )
    for node in graph.nodes:
        mine = bool(graph.dynamic[node.index])
        if mine and node.type.border:
            raise BadGraph(
                "an output has one token a frame, and how many there are depends on data",
                got=f"a stream behind {router.name!r}",
                where=str(node),
                fix=f"graph.output({node.name!r}, amp.edge(stream, default=0.0)) reads it by the clock",
            )
        for edge in node.controls:
            if graph.dynamic[edge.source]:
                raise BadGraph(
                    "a gate's contributors have tokens at a pace",
                    got=repr(graph.nodes[edge.source].name),
                    where=str(node),
                    fix="contribute a stream from before the node whose rate depends on data",
                )
        if mine and any(edge.default is not None for edge in node.edges):
            raise BadGraph(
                "a node that fires as data says reads its tokens in order",
                got="an edge with a default",
                where=str(node),
                fix="take that stream through the same nodes.Trigger or nodes.Switch",
            )
