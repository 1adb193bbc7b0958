"""A cascade of second-order sections with fixed coefficients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from amp.contract import Inlet, NodeType, Trace, array_of
from amp.errors import BadNode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike, NDArray

    from amp.ir import Value

MOST = 64


class SecondOrderSections(NodeType):
    """Sections in series, each in transposed direct form II, coefficients divided by ``a0``::

        y = b0 x + s1;   s1 <- b1 x - a1 y + s2;   s2 <- b2 x - a2 y;   the next section's x is y

    State: s1, s2 of each section, two numbers a lane. The poles are not judged.

    Source: Oppenheim & Schafer, "Discrete-Time Signal Processing", 3rd ed., section 6.3; the layout
    of the coefficients is that of ``scipy.signal.sosfilt``.

    Inlets: ``input``.

    Parameters
    ----------
    sos
        Array of shape ``(sections, 6)``, at most 64 sections, rows ``b0, b1, b2, a0, a1, a2`` with
        ``a0`` not 0; for example ``scipy.signal.butter(4, 1000, fs=48_000, output="sos")``.

    Examples
    --------
    >>> SecondOrderSections([[0.5, 0.5, 0.0, 1.0, 0.0, 0.0]]).sos.shape
    (1, 6)
    """

    sos: ArrayLike
    params = ("sos",)
    inlets = (Inlet("input"),)

    def check(self) -> None:
        array = self._array()
        if array.ndim != 2 or array.shape[1] != 6 or not 1 <= len(array) <= MOST:
            raise BadNode(
                f"SecondOrderSections.sos has shape (sections, 6), 1 to {MOST} sections",
                got=f"shape {array.shape}",
            )
        if not array[:, 3].all():
            raise BadNode(
                "SecondOrderSections.sos has no a0 of 0",
                got=f"a0 = {array[:, 3].tolist()}",
                fix="a0 is the fourth of b0, b1, b2, a0, a1, a2",
            )

    def _array(self) -> NDArray[np.float64]:
        return array_of(self.sos)

    def forward(self, b: Trace, x: Value) -> Value:
        for i, row in enumerate(b.param("sos")):
            b0, b1, b2, _, a1, a2 = (coefficient / row[3] for coefficient in row)
            s1, s2 = b.state(f"s1_{i}"), b.state(f"s2_{i}")
            y = b.fma(b0, x, s1)
            b.next(f"s1_{i}", b.fma(-a1, y, b.fma(b1, x, s2)))
            b.next(f"s2_{i}", b.fma(-a2, y, b2 * x))
            x = y
        return x

    def reference(
        self, sample_rate: float, frames: int, *, input: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        out = input.copy()
        for row in self._array():
            b0, b1, b2, _, a1, a2 = row / row[3]
            s1 = np.zeros(input.shape[:2])
            s2 = np.zeros(input.shape[:2])
            for t in range(frames):
                x = out[..., t].copy()
                y = out[..., t] = b0 * x + s1
                s1 = b1 * x - a1 * y + s2
                s2 = b2 * x - a2 * y
        return out

    @classmethod
    def samples(cls) -> Iterator[NodeType]:
        yield cls([[0.2, 0.4, 0.2, 1.0, -0.5, 0.3]])
        yield cls([[1.0, 0.0, -1.0, 2.0, -1.8, 0.9], [0.5, 0.5, 0.0, 1.0, -0.2, 0.0]])

    @classmethod
    def refuses(cls) -> Iterator[tuple[dict[str, Any], str]]:
        yield {}, "SecondOrderSections needs the attribute 'sos'"
        yield {"sos": 1.0}, "SecondOrderSections.sos has shape (sections, 6)"
        yield {"sos": np.ones((2, 5))}, "SecondOrderSections.sos has shape (sections, 6)"
        yield {"sos": [[1, 0, 0, 0, 0, 0]]}, "SecondOrderSections.sos has no a0 of 0"
        yield {"sos": [[1, 0, 0, np.nan, 0, 0]]}, "SecondOrderSections.sos is finite"
