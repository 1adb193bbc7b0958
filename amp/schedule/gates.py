"""Gates across rates: how many tokens of a contributor each firing behind a gate waits for.

If n/d tokens are written in the time of one firing, the first k firings wait for ``ceil(k n / d)`` of them:
for every token whose time begins before the time of the last of these firings ends, offsets left out.
"""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING

from amp.cycles import MAX_CYCLE
from amp.errors import InconsistentRates
from amp.schedule.rates import firing_rates, tokens_per_firing

if TYPE_CHECKING:
    from amp.frozen import Edge, Frozen, Node


def share_gates(graph: Frozen) -> Frozen:
    """The same graph, in which edges of gates say what each firing waits for; the same object if
    that is one token a firing everywhere, or said already."""
    edges = [edge for node in graph.nodes for edge in node.controls]
    if not graph.multirate or not edges or any(edge.counts for edge in edges):
        return graph
    firings, frames = firing_rates(graph)

    def shared(node: Node, edge: Edge, number: int) -> Edge:
        rate, own = (Fraction(int(firings[i]), int(frames[i])) for i in (edge.source, node.index))
        share = rate * tokens_per_firing(graph, number)[0] / own
        if share.denominator > MAX_CYCLE:
            raise InconsistentRates(
                f"a gate's share of tokens repeats within {MAX_CYCLE} firings",
                got=f"{share} tokens a firing",
                where=str(node),
            )
        ends = [-(-k * share.numerator // share.denominator) for k in range(share.denominator + 1)]
        counts = tuple(b - a for a, b in pairwise(ends))
        return dataclasses.replace(edge, counts=counts)

    nodes = []
    for node in graph.nodes:
        if node.controls:
            first = int(graph.first[node.index]) + len(node.edges)
            controls = tuple(shared(node, e, first + i) for i, e in enumerate(node.controls))
            node = dataclasses.replace(node, controls=controls)  # noqa: PLW2901
        nodes.append(node)
    return graph.with_nodes(nodes)
