"""Adjoints of nodes that an archetype or a function of the user's computes: calls of the adjoint that it has.

Such a function begins with the state in which the node's own call began. So the twin, which runs a block again,
puts down the state before each call; in a loop, where calls of adjoints are cut otherwise, before each firing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from amp.contract import NATIVE, Inlet, NodeType
from amp.errors import NotDifferentiable
from amp.frozen import Edge, Node, widths_of
from amp.jit.adjoint_nodes import NEUTRAL, instance, subtype
from amp.jit.adjoint_parts import Adding
from amp.jit.adjoint_trace import edge_rates, wanted_params
from amp.jit.archetypes import load
from amp.jit.trace_block import Reverse

if TYPE_CHECKING:
    from collections.abc import Callable

    from amp.frozen import Frozen
    from amp.jit.adjoint_joint import Turned
    from amp.schedule import Paces

    Piece = tuple[int, ...]


@dataclass(frozen=True)
class _Form:
    """What the adjoints of equal nodes have in common, besides their type.

    Attributes
    ----------
    heard
        Which outlets have a cotangent.
    params
        Slots and params whose cotangents are asked for.
    piece
        Edges whose cotangents one of them gives.
    log
        States that are put down.
    """

    heard: tuple[bool, ...]
    params: tuple[str, ...]
    piece: Piece
    log: int


class Blocks:
    """Which nodes of a graph are calls of blocks, and their adjoints.

    Parameters
    ----------
    graph, pace
        The graph.
    choose
        The prebuilt kernel that a node is computed by, if any.
    frames
        Most frames of a block that is run again.
    """

    def __init__(
        self, graph: Frozen, pace: Paces, choose: Callable[[NodeType], str], frames: int
    ) -> None:
        self._graph, self._pace, self._frames = graph, pace, frames
        self._of = {node.index for node in graph.nodes if node.type.archetype and choose(node.type)}
        self._kinds: dict[tuple[Any, ...], type[NodeType]] = {}
        self._loops = self._find_loops() if self._of else set()
        self.logs: dict[int, np.ndarray[Any, np.dtype[np.float64]]] = {}
        """Memory of the states that are put down, by node."""

    def __contains__(self, node: object) -> bool:
        return isinstance(node, Node) and node.index in self._of

    def check(self, node: Node) -> None:
        """Refuse a node without an adjoint."""
        if node.type.archetype == NATIVE and vars(node.type)["adjoint"] is None:
            raise NotDifferentiable(
                "a backward pass goes through every node between what is asked for and the outputs",
                got="it is a kernel of your own without an adjoint",
                where=str(node),
                fix="nodes.Native(kernel, adjoint), of signature nodes.Native.adjoint_signature",
            )

    def open(
        self, node: Node, heard: tuple[bool, ...], turned: Turned
    ) -> list[tuple[Adding, Piece]]:
        """The adjoints of a node, and of which of its edges each gives the cotangents: of all, or, since
        all outlets of a node have one number of channels, one by one."""
        memory = self._memory(node)
        log = self._slots(node) if memory else 0
        if log:
            self._write_down(node, memory, log, turned)
        edges, whole = tuple(range(len(node.edges))), node.type.channels == "all"
        params = tuple(wanted_params(node, whole=True))
        pieces = [(at,) for at in edges] if whole and edges else [edges]
        found = []
        for number, piece in enumerate(pieces):
            form = _Form(heard, () if number else params, piece, log)
            source = self._graph.nodes[node.edges[piece[0]].source] if whole and piece else node
            kind = instance(self._kind(node, form), node.type)
            self._give_log(kind, node)
            found.append(
                (Adding(kind, node, source.channels, ("block", node.signature, form)), piece)
            )
        return found

    def _find_loops(self) -> set[int]:
        """Nodes that are in a loop."""
        import networkx as nx  # only graphs with such nodes pay for it

        nodes = self._graph.nodes
        graph = nx.DiGraph((edge.source, node.index) for node in nodes for edge in node.edges)
        return {
            index
            for some in nx.strongly_connected_components(graph)
            for index in some
            if len(some) > 1 or graph.has_edge(index, index)
        }

    def _memory(self, node: Node) -> int:
        """Numbers that a lane of a node remembers."""
        if node.type.archetype == NATIVE:
            return len(vars(node.type)["state"])
        widths = widths_of(node, self._graph.nodes)
        if node.type.channels == "each":
            widths = dict.fromkeys(widths, 1)
        return load(node.type.archetype).count("state", node.type.sizes(widths))

    def _slots(self, node: Node) -> int:
        """States that are put down in a block."""
        if node.index not in self._loops:
            return 1
        return 1 << (self._pace[node.index].most(self._frames) - 1).bit_length()

    def _write_down(self, node: Node, memory: int, log: int, turned: Turned) -> None:
        """Have the node's twin put down its states."""
        lanes = self._graph.batch * (1 if node.type.channels == "all" else node.channels)
        self.logs[node.index] = np.zeros(lanes * log * memory)
        key = node.signature, log
        if key not in self._kinds:
            self._kinds[key] = subtype(type(node.type), {"log_slots": log})
        kind = instance(self._kinds[key], node.type)
        self._give_log(kind, node)
        turned.write_down(node, kind, ("log", log))

    def _give_log(self, kind: NodeType, node: Node) -> None:
        if node.index in self.logs:
            vars(kind)["log"] = self.logs[node.index].ctypes.data

    def _kind(self, node: Node, form: _Form) -> type[NodeType]:
        key = node.signature, form
        if key not in self._kinds:
            self._kinds[key] = _make_adjoint(node, form)
        return self._kinds[key]


def _make_adjoint(node: Node, form: _Form) -> type[NodeType]:
    """The node type whose kernel calls the adjoint. Its inlets are the node's constants, the edges that it
    reads (``stream_i``), and what arrives (``cotangent_o``)."""
    kind = type(node.type)
    numbers = iter(range(len(node.edges)))
    inlets, constants = [], []
    for inlet, source in zip(kind.inlets, node.sources, strict=True):
        if isinstance(source, tuple | Edge):
            count = len(source) if isinstance(source, tuple) else 1
            names = tuple(f"stream_{next(numbers)}" for _ in range(count))
        else:
            names = (inlet.name,)
            constants.append(inlet)
        inlets.append((inlet.name, names))
    tokens = [node.type.counts(name)[0] for name in kind.outlets]
    rates = {f"stream_{at}": rate for at, rate in enumerate(edge_rates(node))}
    arriving = {f"cotangent_{o}": tokens[o] for o, heard in enumerate(form.heard) if heard}
    leaving = {f"input_{at}": rates[f"stream_{at}"] for at in form.piece}
    known = rates | arriving | leaving
    outlets = ((rate, f"cotangent_{o}" if form.heard[o] else "") for o, rate in enumerate(tokens))
    planes = node.channels if node.type.channels == "all" else 1

    def rate(_: NodeType, port: str) -> int:
        return known.get(port, 1)

    body = NEUTRAL | {
        "inlets": (*constants, *(Inlet(name) for name in (*rates, *arriving))),
        "outlets": (*leaving,),
        "rate": rate,
        "forward": NodeType.forward,
        "archetype": kind.archetype,
        "log_slots": form.log,
        "reverse": Reverse((*inlets,), (*outlets,), planes, form.params),
    }
    if kind.archetype == NATIVE:
        body["address"] = property(lambda self: int(vars(self)["adjoint"].address))
    return subtype(kind, body)
