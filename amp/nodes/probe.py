"""Where a stream is looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amp.contract import Inlet, NodeType, Trace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from amp.ir import Value


class Probe(NodeType):
    """A stream that a run records: ``y = x``; made by ``graph.probe(stream, name)``.

    Inlets: ``input``.
    """

    inlets = (Inlet("input"),)
    outlets = ()
    border = "probe"

    def forward(self, b: Trace, x: Value) -> Value:
        return x

    @classmethod
    def samples(cls) -> Iterator[NodeType]:
        """None: it is asked of random graphs that it changes no bit."""
        yield from ()
