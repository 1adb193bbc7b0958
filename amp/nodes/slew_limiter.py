"""Slew limiter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from amp.contract import Inlet, NodeType, Trace
from amp.nodes._limits import known, step_limit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from amp.ir import Value


class SlewLimiter(NodeType):
    """Follows a stream no faster than a slew::

        y <- min(max(x, y - fall / sample_rate), y + slew / sample_rate)

    The output reaches a constant input in the first frame that the slew allows, exactly, and never
    passes it. State: y, the last output. A NaN on ``input`` counts as the last output, one on a slew
    as 0; infinities count as 1e100.

    Inlets: ``input``; ``slew`` [1/s], at audio rate if a stream, held at 0 or more; ``fall`` [1/s],
    the same for falling, equal to ``slew`` unless given.

    Parameters
    ----------
    start
        The output before the first frame.

    Examples
    --------
    >>> SlewLimiter(slew=100.0)
    SlewLimiter(start=0.0, slew=100.0)
    """

    start: float = 0.0
    params = ("start",)
    inlets = (
        Inlet("input"),
        Inlet("slew", unit="1/s", low=0.0),
        Inlet("fall", unit="1/s", low=0.0, optional=True),
    )

    def forward(self, b: Trace, x: Value, slew: Value, fall: Value | None) -> Value:
        y = b.state("y", "start")
        rise = step_limit(b, slew)
        drop = rise if fall is None else step_limit(b, fall)
        y = b.clip(known(b, x, y), y - drop, y + rise)
        b.next("y", y)
        return y

    def reference(
        self,
        sample_rate: float,
        frames: int,
        *,
        input: NDArray[np.float64],
        slew: NDArray[np.float64],
        fall: NDArray[np.float64] | None = None,
    ) -> NDArray[np.float64]:
        fall = slew if fall is None else fall
        out = np.empty(np.broadcast_shapes(input.shape, slew.shape, fall.shape))
        y = np.full(out.shape[:2], self.start)
        for t in range(frames):
            change = input[..., t] - y
            change = np.minimum(change, slew[..., t] / sample_rate)
            out[..., t] = y = y + np.maximum(change, -fall[..., t] / sample_rate)
        return out

    @classmethod
    def samples(cls) -> Iterator[NodeType]:
        yield cls(slew=5000.0)
        yield cls(0.5, slew=20_000.0, fall=1000.0)

    @classmethod
    def refuses(cls) -> Iterator[tuple[dict[str, Any], str]]:
        yield {"start": np.nan}, "SlewLimiter.start is finite"
