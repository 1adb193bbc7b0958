"""Where a stream leaves the graph."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amp.contract import Inlet, NodeType, Trace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from amp.ir import Value


class Output(NodeType):
    """A stream that the caller receives: ``y = x``; made by ``graph.output(name, stream)``.

    Inlets: ``input``.
    """

    inlets = (Inlet("input"),)
    outlets = ()
    border = "output"

    def forward(self, b: Trace, x: Value) -> Value:
        return x

    @classmethod
    def samples(cls) -> Iterator[NodeType]:
        """None: the laws read every other node through one."""
        yield from ()
