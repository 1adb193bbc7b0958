"""A token whenever a control crosses zero."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from amp.contract import Inlet, NodeType

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray


class Trigger(NodeType):
    """Lets a token through in the frames in which ``control`` crosses zero::

        y = the x[k] with control[k] > 0 and not control[k - 1] > 0     (crossing="rising")
            the x[k] with not control[k] > 0 and control[k - 1] > 0     ("falling")
            both                                                        ("both")

    and ``control[-1] = 0``. Read by the clock, ``amp.edge(stream, default=0.0)``, this is a sample and
    hold; what reads it in order fires once a crossing. Runs data-driven only, in graphs of batch 1.

    Inlets: ``input``, of any number of channels; ``control``, of one. NaN is not above 0.

    Parameters
    ----------
    crossing
        ``rising``, ``falling`` or ``both``.

    Examples
    --------
    >>> import amp
    >>> import numpy as np
    >>> g = amp.Graph()
    >>> taken = g.add(Trigger(), g.input("x"), control=g.input("clock"))
    >>> g.output("held", amp.edge(taken, default=0.0))
    >>> clock = np.array([[[0.0, 1.0, 1.0, -1.0, 1.0, 1.0]]])
    >>> amp.compile(g).run({"x": np.arange(6.0).reshape(1, 1, 6), "clock": clock})["held"]
    array([[[0., 1., 1., 1., 4., 4.]]])
    """

    crossing: str = "rising"
    inlets = (Inlet("input"), Inlet("control", channels=1))
    channels = "all"
    router = "trigger"

    def check(self) -> None:
        self.one_of("crossing", ("rising", "falling", "both"))

    def out_channels(self, widths: dict[str, int]) -> int:
        return widths.get("input", 1)

    def reference(
        self,
        sample_rate: float,
        frames: int,
        *,
        input: NDArray[np.float64],
        control: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        above = np.concatenate([[False], control[0, 0] > 0])
        rises, falls = above[1:] & ~above[:-1], above[:-1] & ~above[1:]
        crosses = {"rising": rises, "falling": falls, "both": rises | falls}[self.crossing]
        return input[..., crosses]

    @classmethod
    def samples(cls) -> Iterator[NodeType]:
        for crossing in ("rising", "falling", "both"):
            yield cls(crossing)

    @classmethod
    def refuses(cls) -> Iterator[tuple[dict[str, Any], str]]:
        yield {"crossing": "up"}, "Trigger.crossing is one of 'rising', 'falling', 'both'"
