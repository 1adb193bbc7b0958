"""Where a stream first stopped being finite."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amp.errors import NonFinite

if TYPE_CHECKING:
    from amp.frozen import Frozen
    from amp.schedule import Paces


def first_nonfinite(about: Frozen, pace: Paces, firings: dict[int, int]) -> NonFinite:
    """The error for nodes whose firings were the first to be unsound: of those at the same clock, the
    one that comes first in the direction of the streams."""
    import networkx as nx

    graph = nx.DiGraph()
    graph.add_nodes_from(range(len(about.nodes)))
    at_once = (about.tokens <= 0) & (about.delay == 0)
    ends = zip(about.source[at_once].tolist(), about.consumer[at_once].tolist(), strict=True)
    graph.add_edges_from(ends)
    order = {node: i for i, node in enumerate(nx.lexicographical_topological_sort(graph))}
    paced = {
        node: int(pace[node].clock(firing))
        for node, firing in firings.items()
        if not about.dynamic[node]
    }
    # what fires as data says has no clock of its own: it is first if it heard of no other
    own = [n for n in firings.keys() - paced.keys() if not nx.ancestors(graph, n) & paced.keys()]
    if own:
        index = min(own, key=order.__getitem__)
        when = f"its firing {firings[index]}"
    else:
        index = min(paced, key=lambda node: (paced[node], order[node]))
        when = f"frame {paced[index]}"
    node = about.nodes[index]
    return NonFinite(
        "what a node makes is finite",
        node=node.name,
        frame=paced.get(index, firings[index]),
        got=f"an infinity or NaN at {when}",
        where=str(node),
        fix="look at its streams with graph.probe and on_nonfinite='propagate'; reset or restore the "
        "program before it runs again",
    )
