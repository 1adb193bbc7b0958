"""Tokens from one of two streams, as a control says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from amp.contract import Inlet, NodeType
from amp.errors import BadNode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray


class Select(NodeType):
    """Takes each token from inlet ``true`` while ``control > 0``, else from inlet ``false``::

        y[k] = the next token of true if control[k] > 0, else the next one of false

    Of the stream that is not chosen nothing is taken: its tokens wait, in a ring that grows, which is
    what sets it apart from ``numpy.where``. An inlet that is chosen and has no token is waited for.

    Source: J. Buck, "Scheduling dynamic dataflow graphs with bounded memory using the token flow
    model", PhD thesis, UC Berkeley, 1993 (SELECT). Runs data-driven only, in graphs of batch 1.

    Inlets: ``true`` and ``false``, with as many channels; ``control``, of one. NaN is not above 0.

    Examples
    --------
    >>> import amp
    >>> from amp import nodes
    >>> import numpy as np
    >>> g = amp.Graph()
    >>> x, c = g.input("x"), g.input("c")
    >>> up, down = g.add(nodes.Switch(), x, c)
    >>> y = g.add(Select(), 10 * up, -1 * down, c)
    >>> g.output("y", amp.edge(y, default=0.0))
    >>> c = np.array([[[1.0, 0.0, 0.0, 1.0]]])
    >>> amp.compile(g).run({"x": np.array([[[1.0, 2.0, 3.0, 4.0]]]), "c": c})["y"]
    array([[[10., -2., -3., 40.]]])
    """

    inlets = (Inlet("true"), Inlet("false"), Inlet("control", channels=1))
    channels = "all"
    router = "select"

    def out_channels(self, widths: dict[str, int]) -> int:
        true, false = widths.get("true", 1), widths.get("false", 1)
        if true != false:
            raise BadNode(
                "Select takes streams with as many channels",
                got=f"true: {true}, false: {false}",
                fix="mix, pan or select channels first",
            )
        return true

    def reference(
        self,
        sample_rate: float,
        frames: int,
        *,
        true: NDArray[np.float64],
        false: NDArray[np.float64],
        control: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        chosen = control[0, 0] > 0
        y = np.empty_like(true[..., : len(chosen)])
        y[..., chosen] = true[..., : chosen.sum()]
        y[..., ~chosen] = false[..., : (~chosen).sum()]
        return y

    @classmethod
    def samples(cls) -> Iterator[NodeType]:
        yield cls()
