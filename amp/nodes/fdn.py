"""A feedback delay network."""

from __future__ import annotations

import math
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
LONGEST = 1 << 24
SHORTEST = 1e-3
"""Shortest time of decay [s]."""


class FDN(NodeType):
    """Delay lines that feed each other through a matrix: a reverberator. Line i is d_i frames long::

        s_i[k] = g_i (1 - p_i) w_i[k - d_i] + p_i s_i[k - 1]        what comes out of line i, damped
        w_i[k] = sum_j A_ij s_j[k] + sum_c B_ic x_c[k]              what goes into it
        y_o[k] = sum_i C_oi s_i[k]

    Each time round, a line loses so much that its sound falls by 60 dB in T seconds at low frequencies, and in T'
    at half the sample rate: ``g = 10^(-3 d / (fs T))``, ``g' = 10^(-3 d / (fs T'))``, ``p = (g - g') / (g + g')``. With an
    orthogonal A that is the decay of all modes, and at T = infinity they would ring for ever. Other matrices
    may make it unstable, which is not judged. Sums over lines are in the eight chains of `Resample`.

    Sources: J.-M. Jot, A. Chaigne, "Digital delay networks for designing artificial reverberators", 90th AES
    Convention, 1991 (absorbent filters); D. Rocchesso, J. O. Smith, "Circulant and elliptic feedback delay networks
    for artificial reverberation", IEEE Trans. Speech and Audio Processing 5(1), 1997 (matrices).

    Inlets: ``input``, with as many channels as B has columns, the channels of several streams one after another;
    ``decay`` T and ``damping`` T' [s], from 0.001, at audio rate if streams.

    Parameters
    ----------
    delays
        Frames of each line, 1 to 2^24; at most 64 lines. Lengths without common factors make the densest sound.
    matrix
        A, (lines, lines), such as `hadamard`; or (lines,), a vector v: then A is the reflection
        ``I - 2 v v' / (v' v)`` (Householder's), which is orthogonal whatever v is, and cheaper.
    inputs, outputs
        B, (lines, channels in), and C, (channels out, lines).

    Examples
    --------
    >>> room = FDN((1031, 1327, 1523, 1871), FDN.hadamard(4), np.ones((4, 1)), np.eye(2, 4))
    >>> room.delays
    (1031, 1327, 1523, 1871)
    """

    delays: tuple[int, ...]
    matrix: ArrayLike | Param
    inputs: ArrayLike | Param
    outputs: ArrayLike | Param
    params = ("matrix", "inputs", "outputs")
    inlets = (
        Inlet("input", gather="concat"),
        Inlet("decay", 2.0, unit="s", low=SHORTEST, channels=1),
        Inlet("damping", 1.0, unit="s", low=SHORTEST, channels=1),
    )
    channels = "all"

    @staticmethod
    def hadamard(lines: int) -> NDArray[np.float64]:
        """The orthogonal matrix of ``lines``, a power of two, whose entries differ only in sign (Sylvester)."""
        if lines < 1 or lines & (lines - 1):
            raise BadNode("a Hadamard matrix has a power of two of rows here", got=repr(lines))
        signs = [[(i & j).bit_count() & 1 for j in range(lines)] for i in range(lines)]
        return (1.0 - 2.0 * np.array(signs)) / math.sqrt(lines)

    def check(self) -> None:
        delays = self.delays
        if not (
            isinstance(delays, tuple)
            and 1 <= len(delays) <= MOST
            and all(type(d) is int and 1 <= d <= LONGEST for d in delays)
        ):
            raise BadNode(
                f"FDN.delays is a tuple of whole numbers of frames from 1 to {LONGEST}",
                expected=f"1 to {MOST} of them",
                got=repr(delays),
            )
        n = len(delays)
        shapes = matrix, into, out = [array.shape for array in self.arrays]
        if matrix == (n,) and not self.arrays[0].any():
            raise BadNode("FDN.matrix reflects along a vector that is not 0", got="zeros")
        if not (
            matrix in {(n, n), (n,)}
            and len(into) == len(out) == 2
            and into[0] == out[1] == n
            and 1 <= into[1] <= MOST
            and 1 <= out[0] <= MOST
        ):
            raise BadNode(
                "FDN.matrix, inputs and outputs have shapes (lines, lines) or (lines,), "
                "(lines, channels in) and (channels out, lines)",
                expected=f"{n} lines, 1 to {MOST} channels",
                got=", ".join(map(str, shapes)),
            )

    @property
    def arrays(self) -> list[NDArray[np.float64]]:
        """A, B and C as arrays."""
        given = (self.matrix, self.inputs, self.outputs)
        return [array_of(m) for m in given]

    def out_channels(self, widths: dict[str, int]) -> int:
        _, into, out = self.arrays
        self.columns("FDN.inputs", into.shape[1], widths)
        return len(out)

    def forward(
        self, b: Trace, x: list[Value], decay: list[Value], damping: list[Value]
    ) -> list[Value]:
        def kept(seconds: Value, delay: int) -> Value:
            return b.exp((-3.0 * math.log(10.0) * delay / b.sample_rate) / b.max(seconds, SHORTEST))

        out = []
        for i, delay in enumerate(self.delays):
            low, high = kept(decay[0], delay), kept(damping[0], delay)
            pole = (low - high) / (low + high)
            # w_i[k - d], read in the frame before: a line is read after it is written
            arrived = b.state(f"arrived_{i}")
            s = b.fma(low * (1.0 - pole), arrived, pole * b.state(f"damped_{i}"))
            b.next(f"damped_{i}", s)
            out.append(s)
        matrix, into = b.param("matrix"), b.param("inputs")
        if isinstance(matrix[0], list):
            mixed = [[*zip(row, out, strict=True)] for row in matrix]
        else:  # less twice that part of them that lies along it
            size = dot(b, [*zip(matrix, matrix, strict=True)])
            along = (-2.0 / size) * dot(b, [*zip(matrix, out, strict=True)])
            mixed = [[(v, along), (1.0, s)] for v, s in zip(matrix, out, strict=True)]
        for i, back in enumerate(mixed):
            w = dot(b, [*back, *zip(into[i], x, strict=True)])
            line = b.line(f"line_{i}", w, self.delays[i])
            b.next(f"arrived_{i}", b.tap(line, self.delays[i] - 1))
        return [dot(b, [*zip(row, out, strict=True)]) for row in b.param("outputs")]

    def reference(
        self,
        sample_rate: float,
        frames: int,
        *,
        input: NDArray[np.float64],
        decay: NDArray[np.float64],
        damping: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        """With all of the past at hand."""
        matrix, into, back = self.arrays
        if matrix.ndim == 1:
            matrix = np.eye(len(matrix)) - 2 * np.outer(matrix, matrix) / (matrix @ matrix)
        delays = np.array(self.delays)
        batch, start = len(input), int(delays.max())
        w = np.zeros((batch, len(delays), start + frames))
        s = np.zeros((batch, len(delays)))
        out = np.empty((batch, len(back), frames))
        lines = np.arange(len(delays))
        for k in range(frames):
            low, high = (
                10 ** (-3 * delays / (sample_rate * np.maximum(t[:, :, k], SHORTEST)))
                for t in (decay, damping)
            )
            pole = (low - high) / (low + high)
            s = low * (1 - pole) * w[:, lines, start + k - delays] + pole * s
            w[:, :, start + k] = s @ matrix.T + input[..., k] @ into.T
            out[..., k] = s @ back.T
        return out

    @classmethod
    def samples(cls) -> Iterator[NodeType]:
        yield cls(
            (1, 7, 12),
            np.array([1.0, -2.0, 1.5]),
            [[1.0], [0.5], [-1.0]],
            [[1.0, 0.0, 2.0], [0.0, 1.0, 1.0]],
        )

    @classmethod
    def refuses(cls) -> Iterator[tuple[dict[str, Any], str]]:
        one = [[1.0]]
        good = {"delays": (3,), "matrix": one, "inputs": one, "outputs": one}
        words = "FDN.matrix, inputs and outputs have shapes (lines, lines) or (lines,)"
        yield {**good, "delays": (0,)}, "FDN.delays is a tuple of whole numbers of frames"
        yield {**good, "delays": (3, 4)}, words
        yield {**good, "inputs": [1.0]}, words
        yield {**good, "matrix": [0.0]}, "FDN.matrix reflects along a vector that is not 0"
