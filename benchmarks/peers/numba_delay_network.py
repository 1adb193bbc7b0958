"""W3 in numba: all lines of a frame in one inner loop, in time tiles shorter than the shortest line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import delay_network as network
from benchmarks.harness import Array, Candidate, Pieces, Player
from benchmarks.peers.numba_jit import njit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FAMILY = "numba"
MASK = 4095
N = network.COUNT


def frame_kernel(fast: bool) -> Any:
    """`kernel(x (n), at, lengths (N), ring (4096, N), state (N), out (2, n))`: frame by frame."""
    a, gain = network.coefficient(), network.GAIN

    @njit(fastmath=fast, boundscheck=False)
    def kernel(x, at, lengths, ring, state, out):  # type: ignore[no-untyped-def]
        low = np.empty(N)
        for t in range(x.shape[0]):
            total, left, right = 0.0, 0.0, 0.0
            for i in range(N):
                error = ring[(at + t - lengths[i]) & MASK, i] - state[i]
                low[i] = state[i] + a * error
                state[i] += 2 * a * error
                total += low[i]
            for i in range(0, N, 2):
                left += low[i]
                right += low[i + 1]
            for i in range(N):
                ring[(at + t) & MASK, i] = x[t] + gain * (low[i] - 2.0 / N * total)
            out[0, t], out[1, t] = left, right

    return kernel


def candidates() -> list[Candidate]:
    """Strict, then fast-math."""

    def maker(fast: bool) -> Callable[[Pieces], Player]:
        def make(pieces: Pieces) -> Player:
            kernel, lengths = frame_kernel(fast), np.array(network.LENGTHS)
            few = np.zeros(8)
            kernel(few, 0, lengths, np.zeros((MASK + 1, N)), np.zeros(N), np.zeros((2, 8)))

            def play() -> Iterator[Array]:
                ring, state, at = np.zeros((MASK + 1, N)), np.zeros(N), 0
                for piece in pieces:
                    out = np.empty((2, piece.shape[1]))
                    kernel(piece[0], at, lengths, ring, state, out)
                    at += piece.shape[1]
                    yield out

            return play

        return make

    return [
        Candidate("numba strict", "numba strict", maker(fast=False), note="frame by frame"),
        Candidate("numba fast-math", FAMILY, maker(fast=True), note="frame by frame"),
    ]
