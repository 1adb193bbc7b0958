"""A matrix between channels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from amp.contract import Inlet, NodeType, Param, Trace, array_of
from amp.errors import BadNode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike, NDArray

    from amp.ir import Value

MAX_CHANNELS = 4096


class MatrixMix(NodeType):
    """Mixes every input channel into every output channel (a bleed matrix)::

        y[o] = sum_i matrix[o, i] x[i]

    added up in ascending i with fused multiply-adds, in IR and in the Eigen archetype alike.

    Parameters
    ----------
    matrix
        Gains of shape (output channels, input channels), at most 4096 each; an `amp.Param` can be
        set between runs.

    Inlets: ``input``, with as many channels as the matrix has columns; the channels of several streams
    are put one after another.

    Examples
    --------
    >>> MatrixMix([[0.5, 0.5]])
    MatrixMix(matrix=array([[0.5, 0.5]]))
    """

    matrix: ArrayLike | Param

    inlets = (Inlet("input", gather="concat"),)
    params = ("matrix",)
    channels = "all"
    archetype = "matrix_mix"

    @property
    def gains(self) -> NDArray[np.float64]:
        """The matrix as an array."""
        return array_of(self.matrix)

    def check(self) -> None:
        shape = self.gains.shape
        if len(shape) != 2 or not all(1 <= n <= MAX_CHANNELS for n in shape):
            raise BadNode(
                "MatrixMix.matrix has shape (output channels, input channels)",
                expected=f"1 to {MAX_CHANNELS} of each",
                got=str(shape),
            )

    def out_channels(self, widths: dict[str, int]) -> int:
        outputs, inputs = self.gains.shape
        self.columns("MatrixMix", inputs, widths)
        return int(outputs)

    def sizes(self, widths: dict[str, int]) -> tuple[int, ...]:
        outputs, inputs = self.gains.shape
        return inputs, outputs

    def forward(self, b: Trace, x: list[Value]) -> list[Value]:
        out = []
        for row in b.param("matrix"):
            total = b.const(0.0)
            for gain, value in zip(row, x, strict=True):
                total = b.fma(gain, value, total)
            out.append(total)
        return out

    def reference(
        self, sample_rate: float, frames: int, *, input: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        mixed: NDArray[np.float64] = np.einsum("oi,bif->bof", self.gains, input)
        return mixed

    @classmethod
    def samples(cls) -> Iterator[NodeType]:
        yield cls([[0.5, -2.0, 0.25], [1.0, 0.0, 3.0]])
        yield cls([[0.7]])

    @classmethod
    def refuses(cls) -> Iterator[tuple[dict[str, Any], str]]:
        yield {"matrix": [1.0, 2.0]}, "shape (output channels, input channels)"
        yield {"matrix": [[float("nan")]]}, "MatrixMix.matrix is finite"
        yield {}, "MatrixMix needs the attribute 'matrix'"
