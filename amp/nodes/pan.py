"""Constant-power panning of one channel to two."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from amp.contract import Inlet, NodeType, Trace

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from amp.ir import Value


class Pan(NodeType):
    """Places one channel between left and right at constant power::

        left = gain cos(t) x;   right = gain sin(t) x;   t = (position + 1) pi / 4

    Inlets: ``input`` (one channel); ``position`` in [-1, 1], -1 is left; ``gain`` (a factor, default
    1), which costs nothing if it is constant, as ``position`` does not.

    Examples
    --------
    >>> Pan(position=-1.0)
    Pan(position=-1.0)
    """

    inlets = (
        Inlet("input", channels=1),
        Inlet("position", default=0.0, low=-1.0, high=1.0, channels=1),
        Inlet("gain", default=1.0, channels=1),
    )
    channels = "all"

    def out_channels(self, widths: dict[str, int]) -> int:
        return 2

    def forward(
        self, b: Trace, x: list[Value], position: list[Value], gain: list[Value]
    ) -> list[Value]:
        angle = (b.clip(position[0], -1.0, 1.0) + 1.0) * (np.pi / 4)
        left, right = b.cos(angle) * gain[0], b.sin(angle) * gain[0]
        return [left * x[0], right * x[0]]

    def reference(
        self,
        sample_rate: float,
        frames: int,
        *,
        input: NDArray[np.float64],
        position: NDArray[np.float64],
        gain: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        angle = (np.clip(position, -1, 1) + 1) * (np.pi / 4)
        return np.concatenate([np.cos(angle), np.sin(angle)], axis=1) * (gain * input)
