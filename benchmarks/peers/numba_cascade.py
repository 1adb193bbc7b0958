"""W2 in numba: one signal at a time, sections as lanes skewed in time, signals as lanes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.cascade import SECTIONS
from benchmarks.harness import Array, Candidate, Pieces, Player
from benchmarks.peers.numba_jit import carray, njit, stack_pointer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FAMILY = "numba"
LANE_VARIANTS = ((8, 2), (8, 4), (16, 1))
"""Signals per tile and sections per pass: the fastest of those tried."""

TILE_FRAMES = 256
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


def plain_lane_kernel() -> Any:
    """`kernel` as in `section_kernel`, with the signals innermost: three plain loops, fast-math."""

    @njit(fastmath=True, boundscheck=False)
    def kernel(x, c, state, out):  # type: ignore[no-untyped-def]
        batch = x.shape[0]
        s, value = np.empty((N, 2, batch)), np.empty(batch)
        for j in range(batch):
            for k in range(N):
                s[k, 0, j], s[k, 1, j] = state[j, k, 0], state[j, k, 1]
        for t in range(x.shape[1]):
            for j in range(batch):
                value[j] = x[j, t]
            for k in range(N):
                b0, b1, b2, a1, a2 = c[k, 0], c[k, 1], c[k, 2], c[k, 3], c[k, 4]
                for j in range(batch):
                    y = b0 * value[j] + s[k, 0, j]
                    s[k, 0, j] = b1 * value[j] - a1 * y + s[k, 1, j]
                    s[k, 1, j] = b2 * value[j] - a2 * y
                    value[j] = y
            for j in range(batch):
                out[j, t] = value[j]
        for j in range(batch):
            for k in range(N):
                state[j, k, 0], state[j, k, 1] = s[k, 0, j], s[k, 1, j]

    return kernel


def tile_filter(lanes: int, group: int) -> Any:
    """`filter_tile(z (frames, lanes), count, sections, state (8, 2, lanes))`, in place.

    `group` sections at a time, each skewed by one frame from the one before: the vector's lanes are
    group x signals, so a narrow batch still fills the pipeline. `contract` (fused multiply-add)
    without reassociation: full fast-math lengthens the recurrence.
    """
    width = lanes * group
    slot = stack_pointer(width)
    fused = {"contract"}

    @njit(fastmath=fused, boundscheck=False)
    def edge(z, count, t, q0, q1, q2, q3, q4, s1, s2, y):  # type: ignore[no-untyped-def]
        for r in range(group):  # filling or draining: only the sections whose frame exists
            k = group - 1 - r
            if 0 <= t - k < count:
                for j in range(lanes):
                    i = k * lanes + j
                    value = z[t, j] if k == 0 else y[i - lanes]
                    o = q0[i] * value + s1[i]
                    s1[i] = (q1[i] * value + s2[i]) - q3[i] * o
                    s2[i] = q2[i] * value - q4[i] * o
                    y[i] = o
        if t >= group - 1:
            for j in range(lanes):
                z[t - (group - 1), j] = y[width - lanes + j]

    @njit(fastmath=fused, boundscheck=False)
    def filter_tile(z, count, c, state):  # type: ignore[no-untyped-def]
        s1, s2, y = carray(slot(), width), carray(slot(), width), carray(slot(), width)
        q0, q1, q2 = carray(slot(), width), carray(slot(), width), carray(slot(), width)
        q3, q4, now = carray(slot(), width), carray(slot(), width), carray(slot(), width)
        full = min(group - 1, count)
        for m in range(0, N, group):
            for k in range(group):
                for j in range(lanes):
                    i, s = k * lanes + j, m + k
                    q0[i], q1[i], q2[i], q3[i], q4[i] = c[s, 0], c[s, 1], c[s, 2], c[s, 3], c[s, 4]
                    s1[i], s2[i] = state[s, 0, j], state[s, 1, j]
            for t in range(full):
                edge(z, count, t, q0, q1, q2, q3, q4, s1, s2, y)
            for t in range(group - 1, count):
                for j in range(lanes):
                    now[j] = z[t, j]
                for i in range(width - lanes):
                    now[i + lanes] = y[i]
                for i in range(width):
                    value = now[i]
                    o = q0[i] * value + s1[i]
                    s1[i] = (q1[i] * value + s2[i]) - q3[i] * o
                    s2[i] = q2[i] * value - q4[i] * o
                    y[i] = o
                for j in range(lanes):
                    z[t - (group - 1), j] = y[width - lanes + j]
            for t in range(max(count, full), count + group - 1):
                edge(z, count, t, q0, q1, q2, q3, q4, s1, s2, y)
            for k in range(group):
                for j in range(lanes):
                    i = k * lanes + j
                    state[m + k, 0, j], state[m + k, 1, j] = s1[i], s2[i]

    return filter_tile


def lane_kernel(lanes: int, group: int) -> Any:
    """Signals as lanes: transpose a tile, run the sections over it in place, transpose back."""
    filter_tile = tile_filter(lanes, group)
    tile = stack_pointer(lanes * TILE_FRAMES)

    @njit(boundscheck=False)
    def load(x, z):  # type: ignore[no-untyped-def]
        for t in range(x.shape[1]):
            for j in range(lanes):
                z[t, j] = x[j, t]

    @njit(boundscheck=False)
    def store(z, out):  # type: ignore[no-untyped-def]
        for t in range(out.shape[1]):
            for j in range(lanes):
                out[j, t] = z[t, j]

    @njit(boundscheck=False)
    def kernel(x, c, state, out):  # type: ignore[no-untyped-def]
        n = x.shape[1]
        z = carray(tile(), (TILE_FRAMES, lanes))
        lane_state = np.empty((N, 2, lanes))
        for low in range(0, x.shape[0], lanes):
            for k in range(N):
                for j in range(lanes):
                    lane_state[k, 0, j] = state[low + j, k, 0]
                    lane_state[k, 1, j] = state[low + j, k, 1]
            for start in range(0, n, TILE_FRAMES):
                count = min(TILE_FRAMES, n - start)
                load(x[low : low + lanes, start : start + count], z)
                filter_tile(z, count, c, lane_state)
                store(z, out[low : low + lanes, start : start + count])
            for k in range(N):
                for j in range(lanes):
                    state[low + j, k, 0] = lane_state[k, 0, j]
                    state[low + j, k, 1] = lane_state[k, 1, j]

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
        Candidate(
            "numba skewed", FAMILY, maker(skewed_kernel), note="SIMD over sections, skewed in time"
        ),
    ]
    if batch > 1:
        note = "fast-math, SIMD over signals, plain loops"
        found.append(Candidate("numba lanes", "numba lanes", maker(plain_lane_kernel), note=note))
    for lanes, group in LANE_VARIANTS:
        if batch % lanes == 0:
            make = maker(lambda w=lanes, g=group: lane_kernel(w, g))  # type: ignore[misc]
            name = f"numba tiles {lanes} signals x {group} sections"
            found.append(Candidate(name, FAMILY, make, note="SIMD over signals, by hand"))
    return found
