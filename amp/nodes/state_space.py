"""A linear system with a state, by its matrices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from amp.contract import Inlet, NodeType, Param, Trace, array_of
from amp.errors import BadNode
from amp.nodes._dot import dot

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike, NDArray

    from amp.ir import Value

MOST = 64


class StateSpace(NodeType):
    """A linear system of n states, with all channels in and out of it::

        y[k] = C x[k] + D u[k];   x[k + 1] = A x[k] + B u[k];   x[0] = 0

    Each entry of y and x is one sum, over states and then channels, in the eight chains of
    `Resample`. The matrices are discrete (``scipy.signal.cont2discrete`` makes them of continuous ones), and
    whether A is stable is not judged.

    Source: T. Kailath, "Linear Systems", 1980, section 2.3.

    Inlets: ``input``, with as many channels as B has columns; the channels of several streams are put one
    after another. The outlet has as many channels as C has rows.

    Parameters
    ----------
    A, B, C, D
        Arrays of shape (n, n), (n, inputs), (outputs, n) and (outputs, inputs); 1 to 64 of each. An
        `amp.Param` can be set between runs.

    Examples
    --------
    >>> node = StateSpace([[0.5]], [[1.0]], [[0.5]], [[0.0]])
    >>> node.A.shape, node.D.shape
    ((1, 1), (1, 1))
    """

    A: ArrayLike | Param
    B: ArrayLike | Param
    C: ArrayLike | Param
    D: ArrayLike | Param
    inlets = (Inlet("input", gather="concat"),)
    params = ("A", "B", "C", "D")
    channels = "all"

    def check(self) -> None:
        a, _, _, d = shapes = [matrix.shape for matrix in self.matrices]
        fits = all(len(shape) == 2 for shape in shapes)
        if fits:
            n, (outputs, inputs) = a[0], d
            fits = shapes == [(n, n), (n, inputs), (outputs, n), (outputs, inputs)]
            fits &= all(1 <= count <= MOST for count in (n, outputs, inputs))
        if not fits:
            raise BadNode(
                "StateSpace.A, B, C and D have shapes (n, n), (n, inputs), (outputs, n) and "
                "(outputs, inputs)",
                expected=f"1 to {MOST} of each",
                got=", ".join(map(str, shapes)),
            )

    @property
    def matrices(self) -> list[NDArray[np.float64]]:
        """A, B, C and D as arrays."""
        given = (self.A, self.B, self.C, self.D)
        return [array_of(m) for m in given]

    def out_channels(self, widths: dict[str, int]) -> int:
        outputs, inputs = self.matrices[3].shape
        self.columns("StateSpace.B", inputs, widths)
        return int(outputs)

    def forward(self, b: Trace, u: list[Value]) -> list[Value]:
        A, B, C, D = (b.param(name) for name in "ABCD")
        x = [b.state(f"x_{i}") for i in range(len(A))]

        def rows(of_x: list[list[Value]], of_u: list[list[Value]]) -> list[Value]:
            return [
                dot(b, [*zip(r, x, strict=True), *zip(s, u, strict=True)])
                for r, s in zip(of_x, of_u, strict=True)
            ]

        for i, value in enumerate(rows(A, B)):
            b.next(f"x_{i}", value)
        return rows(C, D)

    def reference(
        self, sample_rate: float, frames: int, *, input: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        a, b, c, d = self.matrices
        x = np.zeros((len(input), len(a)))
        out = np.empty((len(input), len(c), frames))
        for k in range(frames):
            u = input[..., k]
            out[..., k] = x @ c.T + u @ d.T
            x = x @ a.T + u @ b.T
        return out

    @classmethod
    def samples(cls) -> Iterator[NodeType]:
        yield cls([[0.5]], [[1.0]], [[0.5]], [[0.25]])
        yield cls(
            [[0.5, -0.6, 0.1], [0.7, 0.3, 0.0], [0.1, -0.2, -0.4]],
            [[1.0, 0.5], [0.0, -1.0], [0.3, 0.2]],
            [[1.0, 0.0, 2.0], [0.0, 1.0, -0.5]],
            [[0.0, 0.5], [1.0, -0.1]],
        )

    @classmethod
    def refuses(cls) -> Iterator[tuple[dict[str, Any], str]]:
        one = [[1.0]]
        words = "StateSpace.A, B, C and D have shapes (n, n), (n, inputs)"
        yield {"A": [[1.0, 2.0]], "B": one, "C": one, "D": one}, words
        yield {"A": 1.0, "B": one, "C": one, "D": one}, words
        yield {"A": one, "B": [[1.0, 2.0]], "C": one, "D": one}, words
        yield {"A": [[np.nan]], "B": one, "C": one, "D": one}, "StateSpace.A is finite"
