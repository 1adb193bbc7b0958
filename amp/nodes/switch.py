"""Tokens to one of two streams, as a control says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amp.contract import Inlet, NodeType

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray


class Switch(NodeType):
    """Sends each token to outlet ``true`` while ``control > 0``, else to outlet ``false``::

        true  = the x[k] with control[k] > 0, in order
        false = the others, in order

    How many tokens an outlet has depends on data. What reads them fires whenever they are visible: read
    them by the clock, ``amp.edge(stream, default=0.0)``, or join them by `Select`.

    Source: J. Buck, "Scheduling dynamic dataflow graphs with bounded memory using the token flow
    model", PhD thesis, UC Berkeley, 1993 (SWITCH). Runs data-driven only, in graphs of batch 1.

    Inlets: ``input``, of any number of channels; ``control``, of one. NaN is not above 0.

    Examples
    --------
    >>> import amp
    >>> import numpy as np
    >>> g = amp.Graph()
    >>> x = g.input("x")
    >>> loud, soft = g.add(Switch(), x, control=x - 0.5)
    >>> g.output("loud", amp.edge(loud, default=0.0))
    >>> amp.compile(g).run({"x": np.array([[[0.1, 0.8, 0.2, 0.9]]])})["loud"]
    array([[[0. , 0.8, 0.8, 0.9]]])
    """

    inlets = (Inlet("input"), Inlet("control", channels=1))
    outlets = ("true", "false")
    channels = "all"
    router = "switch"

    def out_channels(self, widths: dict[str, int]) -> int:
        return widths.get("input", 1)

    def reference(
        self,
        sample_rate: float,
        frames: int,
        *,
        input: NDArray[np.float64],
        control: NDArray[np.float64],
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        chosen = control[0, 0] > 0
        return input[..., chosen], input[..., ~chosen]

    @classmethod
    def samples(cls) -> Iterator[NodeType]:
        yield cls()
