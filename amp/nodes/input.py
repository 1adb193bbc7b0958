"""Where an array of the caller enters the graph."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amp.contract import NodeType, Trace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from amp.ir import Value


class Input(NodeType):
    """A stream that the caller supplies: ``y = x``; made by ``graph.input(name)``.

    Parameters
    ----------
    channels
        Number of audio channels.
    """

    channel_count: int = 1
    border = "input"

    def out_channels(self, widths: dict[str, int]) -> int:
        return self.channel_count

    def forward(self, b: Trace, x: Value) -> Value:
        return x

    @classmethod
    def samples(cls) -> Iterator[NodeType]:
        """None: the laws feed every other node through one."""
        yield from ()
