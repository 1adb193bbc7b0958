"""Any node in a graph whose inputs and outputs have one token a frame."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from timed_reference import counts_of

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
        case "FDN":
            return int(node.arrays[1].shape[1]) if inlet.name == "input" else 1
        case "StateSpace":
            return int(node.matrices[3].shape[1])
        case "FIR":
            return int(node.responses.shape[-2]) if node.responses.ndim > 1 else 1
        case "Overlap":
            return int(node.size)
        case "Rearrange":
            return 1 + int(max(node.order))
        case "ISTFT" | "FFTDivision":
            return int(2 * node.bands)
        case "SpectralMap" | "FilterBank":
            return int(node.bands)
        case "SpectralGain":
            channels, bands, _ = node.layout
            return int(2 * channels * bands)
    return inlet.channels or 1


def ratio(node: NodeType) -> tuple[int, int]:
    """Tokens of each outlet for so many tokens of each inlet."""

    def moved(port: str) -> int:
        counts = counts_of(node, port)
        return sum(counts) * node.phases // len(counts)

    read = max((moved(inlet.name) for inlet in type(node).inlets), default=1)
    made = moved(type(node).outlets[0]) if type(node).outlets else 1
    common = math.gcd(made, read)
    return made // common, read // common


def at_clock(graph: amp.Graph, node: NodeType, stream: Any) -> Stream:
    """What ``node`` makes of streams at the clock's rate, brought back to it: the tokens of a frame
    side by side as channels, or each repeated; and so its outlets."""
    made, read = ratio(node)
    if isinstance(stream, tuple):
        stream = graph.add(nodes.Concat(), *stream)
    if made > 1:
        stream = graph.add(nodes.Window(made, made), stream)
    clocked: Stream = graph.add(nodes.Hold(read), stream) if read > 1 else stream
    return clocked


def as_clocked(node: NodeType, tokens: Array, latency: int) -> Array:
    """The same for an array, on the clock's timeline."""
    made, read = ratio(node)
    batch, width, count = tokens.shape
    apart = tokens.reshape(batch, width, count // made, made).transpose(0, 1, 3, 2)
    held = np.repeat(apart.reshape(batch, width * made, -1), read, axis=2)
    late = np.pad(held, ((0, 0), (0, 0), (latency, read)))
    return late[..., : count // made * read]
