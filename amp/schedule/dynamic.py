"""Rates that depend on data: what such a graph may be, and how it is read by the clock.

Behind a `nodes.Switch`, a `nodes.Select` or a `nodes.Trigger` nodes fire when their tokens are visible, and
tokens carry the clock they were written at. Nothing that fires at a pace can wait for them; it reads them
by the clock. Such an edge becomes one to a node of its own, a `Sample`, which fires at its reader's pace
and gives the newest token that is visible.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from amp.contract import Inlet, NodeType
from amp.errors import BadGraph
from amp.frozen import Edge, Frozen, Node

if TYPE_CHECKING:
    from collections.abc import Iterator


class Sample(NodeType, register=False):
    """The newest token that is visible at each firing, else the edge's default."""

    inlets = (Inlet("input"),)
    channels = "all"
    router = "sample"

    def out_channels(self, widths: dict[str, int]) -> int:
        return widths.get("input", 1)


def read_by_clock(graph: Frozen) -> Frozen:
    """The same graph, in which samples stand between nodes whose firings depend on data and those that
    read them by the clock; the same object if there are none.

    Raises
    ------
    BadGraph
        If a node that fires at a pace would have to wait for one that does not, or the other way.
    """
    if not graph.dynamic.any():
        return graph
    _check(graph)
    signature = 1 + max(node.signature for node in graph.nodes)
    samples: list[Node] = []

    def sampled(node: Node, _: int, edge: Edge) -> Edge:
        if edge.default is None or not graph.dynamic[edge.source]:
            return edge
        index, number = len(graph.nodes) + len(samples), len(samples)
        source = graph.nodes[edge.source]
        samples.append(
            Node(
                index,
                f"{node.name} reads {source.name} by the clock, {number}",
                Sample(),
                (edge,),
                (edge,),
                source.channels,
                signature + number,
                node.created,
            )
        )
        return Edge(index, 0)

    nodes = [
        node.with_edges(functools.partial(sampled, node)) if node.type.router != "sample" else node
        for node in graph.nodes
    ]
    if not samples:
        return graph
    return Frozen(
        graph.sample_rate,
        graph.batch,
        [*nodes, *samples],
        graph.params,
        graph.gates,
        graph.fingerprint,
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
