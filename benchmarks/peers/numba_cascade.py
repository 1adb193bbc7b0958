"""W2 in numba: one signal at a time, sections as lanes skewed in time, signals as lanes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from benchmarks.cascade import SECTIONS
from benchmarks.harness import Array, Candidate, Pieces, Player
from benchmarks.peers.numba_jit import carray, njit, stack_pointer

FAMILY = "numba"
LANE_VARIANTS = ((16, 256), (32, 256))
N = SECTIONS


def section_kernel() -> Any:
    """`kernel(x (B, n), sections (8, 5), state (B, 8, 2), out (B, n))`: a section at a time."""

    @njit()
    def kernel(x, c, state, out):  # type: ignore[no-untyped-def]
        for b in range(x.shape[0]):
            for k in range(N):
                b0, b1, b2, a1, a2 = c[k, 0], c[k, 1], c[k, 2], c[k, 3], c[k, 4]
                s1, s2 = state[b, k, 0], state[b, k, 1]
                source = x if k == 0 else out
                for t in range(x.shape[1]):
                    value = source[b, t]
                    y = b0 * value + s1
                    s1 = b1 * value - a1 * y + s2
                    s2 = b2 * value - a2 * y
                    out[b, t] = y
                state[b, k, 0], state[b, k, 1] = s1, s2

    return kernel


def frame_kernel(fast: bool) -> Any:
    """The same, all eight sections unrolled within each frame, states in registers."""
    slot, table = stack_pointer(2 * N), stack_pointer(5 * N)

    @njit(fastmath=fast)
    def kernel(x, c, state, out):  # type: ignore[no-untyped-def]
        s, q = carray(slot(), (2, N)), carray(table(), (5, N))
        for k in range(N):
            for j in range(5):
                q[j, k] = c[k, j]
        for b in range(x.shape[0]):
            for k in range(N):
                s[0, k], s[1, k] = state[b, k, 0], state[b, k, 1]
            for t in range(x.shape[1]):
                value = x[b, t]
                for k in range(N):
                    y = q[0, k] * value + s[0, k]
                    s[0, k] = q[1, k] * value - q[3, k] * y + s[1, k]
                    s[1, k] = q[2, k] * value - q[4, k] * y
                    value = y
                out[b, t] = value
            for k in range(N):
                state[b, k, 0], state[b, k, 1] = s[0, k], s[1, k]

    return kernel


def skewed_kernel() -> Any:
    """The sections as lanes of one vector: at step t section k works on frame t - k."""
    slot, table, line = stack_pointer(2 * N), stack_pointer(5 * N), stack_pointer(N)

    @njit(fastmath=True, boundscheck=False)
    def kernel(x, c, state, out):  # type: ignore[no-untyped-def]
        n = x.shape[1]
        s, q = carray(slot(), (2, N)), carray(table(), (5, N))
        last, now = carray(line(), N), carray(line(), N)
        for k in range(N):
            for j in range(5):
                q[j, k] = c[k, j]
        for b in range(x.shape[0]):
            for k in range(N):
                s[0, k], s[1, k], last[k] = state[b, k, 0], state[b, k, 1], 0.0
            for t in range(n + N - 1):
                if N - 1 <= t < n:  # every section is busy: one vector step
                    now[0] = x[b, t]
                    for k in range(N - 1):
                        now[k + 1] = last[k]
                    for k in range(N):
                        y = q[0, k] * now[k] + s[0, k]
                        s[0, k] = q[1, k] * now[k] - q[3, k] * y + s[1, k]
                        s[1, k] = q[2, k] * now[k] - q[4, k] * y
                        last[k] = y
                else:  # filling or draining: only the sections whose frame exists
                    for j in range(N):
                        k = N - 1 - j
                        if 0 <= t - k < n:
                            value = x[b, t] if k == 0 else last[k - 1]
                            y = q[0, k] * value + s[0, k]
                            s[0, k] = q[1, k] * value - q[3, k] * y + s[1, k]
                            s[1, k] = q[2, k] * value - q[4, k] * y
                            last[k] = y
                if t >= N - 1:
                    out[b, t - (N - 1)] = last[N - 1]
            for k in range(N):
                state[b, k, 0], state[b, k, 1] = s[0, k], s[1, k]

    return kernel


def lane_kernel(lanes: int, frames: int) -> Any:
    """Signals as lanes: transpose a tile, run the sections over it in place, transpose back.

    `contract` (fused multiply-add) without reassociation: full fast-math lengthens the recurrence.
    """
    slot, tile = stack_pointer(lanes), stack_pointer(lanes * frames)
    t_tile = frames

    @njit(fastmath={"contract"}, boundscheck=False)
    def filter_tile(z, count, c, state):  # type: ignore[no-untyped-def]
        s1, s2 = carray(slot(), lanes), carray(slot(), lanes)
        for k in range(N):
            b0, b1, b2, a1, a2 = c[k, 0], c[k, 1], c[k, 2], c[k, 3], c[k, 4]
            for j in range(lanes):
                s1[j], s2[j] = state[k, 0, j], state[k, 1, j]
            for t in range(count):
                for j in range(lanes):
                    value = z[t, j]
                    y = b0 * value + s1[j]
                    s1[j] = (b1 * value + s2[j]) - a1 * y
                    s2[j] = b2 * value - a2 * y
                    z[t, j] = y
            for j in range(lanes):
                state[k, 0, j], state[k, 1, j] = s1[j], s2[j]

    @njit(boundscheck=False)
    def load(x, z, count):  # type: ignore[no-untyped-def]
        for t in range(count):
            for j in range(lanes):
                z[t, j] = x[j, t]

    @njit(boundscheck=False)
    def store(z, out, count):  # type: ignore[no-untyped-def]
        for t in range(count):
            for j in range(lanes):
                out[j, t] = z[t, j]

    @njit()
    def kernel(x, c, state, out):  # type: ignore[no-untyped-def]
        batch, n = x.shape
        z = carray(tile(), (t_tile, lanes))
        lane_state = np.empty((N, 2, lanes))
        for low in range(0, batch, lanes):
            width = min(lanes, batch - low)
            lane_state[:] = 0.0
            z[:] = 0.0
            for j in range(width):
                lane_state[:, :, j] = state[low + j]
            for start in range(0, n, t_tile):
                count = min(t_tile, n - start)
                source = x[low : low + width, start : start + count]
                target = out[low : low + width, start : start + count]
                if width == lanes:
                    load(source, z, count)
                else:
                    z[:count, :width] = source.T
                filter_tile(z, count, c, lane_state)
                if width == lanes:
                    store(z, target, count)
                else:
                    target[:] = z[:count, :width].T
            for j in range(width):
                state[low + j] = lane_state[:, :, j]

    return kernel


def candidates(sections: Array, batch: int) -> list[Candidate]:
    """One signal at a time (strict), the skewed cascade, and signals as lanes."""

    def maker(build: Callable[[], Any]) -> Callable[[Pieces], Player]:
        def make(pieces: Pieces) -> Player:
            kernel = build()
            few = np.zeros((batch, 8))
            kernel(few, sections, np.zeros((batch, N, 2)), few.copy())

            def play() -> Iterator[Array]:
                state = np.zeros((batch, N, 2))
                for piece in pieces:
                    out = np.empty_like(piece)
                    kernel(piece, sections, state, out)
                    yield out

            return play

        return make

    one, strict = "one signal at a time", "numba strict"
    found = [
        Candidate("numba strict sections", strict, maker(section_kernel), note=one),
        Candidate("numba strict frames", strict, maker(lambda: frame_kernel(False)), note=one),
        Candidate("numba fast frames", FAMILY, maker(lambda: frame_kernel(True)), note=one),
        Candidate("numba skewed", FAMILY, maker(skewed_kernel), note="sections as lanes"),
    ]
    for lanes, frames in LANE_VARIANTS:
        if batch >= 8:
            make = maker(lambda w=lanes, f=frames: lane_kernel(w, f))  # type: ignore[misc]
            found.append(
                Candidate(f"numba lanes {lanes}x{frames}", FAMILY, make, note="signals as lanes")
            )
    return found
