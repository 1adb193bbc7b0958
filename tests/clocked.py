"""Any node in a graph whose inputs and outputs have one token a frame."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from amp import nodes

if TYPE_CHECKING:
    from bits import Array

    import amp
    from amp import NodeType
    from amp.contract import Inlet
    from amp.stream import Stream


def channels_of(node: Any, inlet: Inlet) -> int:
    """Channels that a node's inlet takes: as many as its attributes say, else 1."""
    match type(node).__name__:
        case "MatrixMix":
            return int(np.shape(node.gains)[1])
        case "Overlap":
            return int(node.size)
        case "Rearrange":
            return 1 + int(max(node.order))
    return inlet.channels or 1


def ratio(node: NodeType) -> tuple[int, int]:
    """Tokens out for so many tokens in."""
    ports = [inlet.name for inlet in type(node).inlets]
    read = max((node.rate(port) for port in ports), default=1)
    return node.rate("out") if type(node).outlets == ("out",) else 1, read


def at_clock(graph: amp.Graph, node: NodeType, stream: Stream) -> Stream:
    """What ``node`` makes of streams at the clock's rate, brought back to it: the tokens of a frame
    side by side as channels, or each repeated."""
    made, read = ratio(node)
    if made > 1:
        stream = graph.add(nodes.Window(made, made), stream)
    return graph.add(nodes.Hold(read), stream) if read > 1 else stream


def as_clocked(node: NodeType, tokens: Array, latency: int) -> Array:
    """The same for an array, on the clock's timeline."""
    made, read = ratio(node)
    batch, width, count = tokens.shape
    apart = tokens.reshape(batch, width, count // made, made).transpose(0, 1, 3, 2)
    held = np.repeat(apart.reshape(batch, width * made, -1), read, axis=2)
    late = np.pad(held, ((0, 0), (0, 0), (latency, read)))
    return late[..., : count // made * read]
