"""W1 in numba: one voice at a time, and many voices as lanes of one vector loop."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.harness import Array, Candidate, Pieces, Player
from benchmarks.peers.numba_jit import carray, njit, stack_pointer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.voices import Voices

FAMILY = "numba"
LANE_VARIANTS = ((8, 128), (16, 64), (16, 128))
"""Lanes per tile and frames per time tile: the fastest of those tried."""


def one_voice_kernel(fast: bool) -> Any:
    """`kernel(gate, coefficients (8, V), state (4, V), out (2, n))`, voice by voice, scalar."""

    @njit(fastmath=fast)
    def kernel(gate, c, state, out):  # type: ignore[no-untyped-def]
        out[:] = 0.0
        for v in range(c.shape[1]):
            dt, g, a1, rise, fall = c[0, v], c[1, v], c[2, v], c[3, v], c[4, v]
            gain, left, right = c[5, v], c[6, v], c[7, v]
            p, ic1, ic2, e = state[0, v], state[1, v], state[2, v], state[3, v]
            for t in range(gate.shape[0]):
                blep = 0.0
                if p < dt:
                    x = p / dt
                    blep = 2 * x - x * x - 1
                elif p > 1 - dt:
                    x = (p - 1) / dt
                    blep = x * x + 2 * x + 1
                y = 2 * p - 1 - blep
                p += dt
                p -= math.floor(p)
                v1 = a1 * (ic1 + g * (y - ic2))
                v2 = ic2 + g * v1
                ic1 = 2 * v1 - ic1
                ic2 = 2 * v2 - ic2
                e = min(1.0, e + rise) if gate[t] > 0 else max(0.0, e - fall)
                signal = v2 * e * gain
                out[0, t] += signal * left
                out[1, t] += signal * right
            state[0, v], state[1, v], state[2, v], state[3, v] = p, ic1, ic2, e

    return kernel


def plain_lane_kernel() -> Any:
    """`kernel` as in `one_voice_kernel`, with the voices innermost: two plain loops, fast-math."""

    @njit(fastmath=True, boundscheck=False)
    def kernel(gate, c, state, out):  # type: ignore[no-untyped-def]
        dt, g, a1, rise, fall = c[0], c[1], c[2], c[3], c[4]
        left, right = c[5] * c[6], c[5] * c[7]
        p, ic1, ic2, e = state[0], state[1], state[2], state[3]
        for t in range(gate.shape[0]):
            on = gate[t] > 0
            sum_left, sum_right = 0.0, 0.0
            for k in range(p.shape[0]):
                phase, step = p[k], dt[k]
                x, z = phase / step, (phase - 1.0) / step
                head, tail = 2 * x - x * x - 1.0, z * z + 2 * z + 1.0
                blep = head if phase < step else (tail if phase > 1.0 - step else 0.0)
                y = 2 * phase - 1.0 - blep
                phase += step
                p[k] = phase - math.floor(phase)
                v1 = a1[k] * (ic1[k] + g[k] * (y - ic2[k]))
                v2 = ic2[k] + g[k] * v1
                ic1[k] = 2 * v1 - ic1[k]
                ic2[k] = 2 * v2 - ic2[k]
                up, down = min(1.0, e[k] + rise[k]), max(0.0, e[k] - fall[k])
                level = up if on else down
                e[k] = level
                signal = v2 * level
                sum_left += signal * left[k]
                sum_right += signal * right[k]
            out[0, t], out[1, t] = sum_left, sum_right

    return kernel


def lane_kernel(lanes: int, frames: int, fast: bool = True) -> Any:
    """`kernel(gate, coefficients (tiles, 8, lanes), state (tiles, 4, lanes), out (2, n))`.

    Voices are the innermost loop, in tiles held on the stack; time runs in tiles too, whose stereo
    sums stay per lane (in the first-level cache) until all voices are done. Branches are selects.
    """
    slot = stack_pointer(lanes)
    t_tile = frames

    @njit(fastmath=fast, boundscheck=False)
    def kernel(gate, c, state, out):  # type: ignore[no-untyped-def]
        total = gate.shape[0]
        sums = np.empty((t_tile, 2, lanes))
        p, ic1, ic2 = carray(slot(), lanes), carray(slot(), lanes), carray(slot(), lanes)
        e, dt, inv = carray(slot(), lanes), carray(slot(), lanes), carray(slot(), lanes)
        g, a1, rise = carray(slot(), lanes), carray(slot(), lanes), carray(slot(), lanes)
        fall, left, right = carray(slot(), lanes), carray(slot(), lanes), carray(slot(), lanes)
        for start in range(0, total, t_tile):
            count = min(t_tile, total - start)
            sums[:] = 0.0
            for i in range(c.shape[0]):
                for k in range(lanes):
                    p[k], ic1[k], ic2[k] = state[i, 0, k], state[i, 1, k], state[i, 2, k]
                    e[k], dt[k], inv[k] = state[i, 3, k], c[i, 0, k], 1.0 / c[i, 0, k]
                    g[k], a1[k], rise[k], fall[k] = c[i, 1, k], c[i, 2, k], c[i, 3, k], c[i, 4, k]
                    left[k], right[k] = c[i, 5, k] * c[i, 6, k], c[i, 5, k] * c[i, 7, k]
                for t in range(count):
                    on = gate[start + t] > 0
                    for k in range(lanes):
                        phase, step = p[k], dt[k]
                        x, z = phase * inv[k], (phase - 1.0) * inv[k]
                        head, tail = 2 * x - x * x - 1.0, z * z + 2 * z + 1.0
                        blep = head if phase < step else (tail if phase > 1.0 - step else 0.0)
                        y = 2 * phase - 1.0 - blep
                        phase += step
                        p[k] = phase - math.floor(phase)
                        v1 = a1[k] * (ic1[k] + g[k] * (y - ic2[k]))
                        v2 = ic2[k] + g[k] * v1
                        ic1[k] = 2 * v1 - ic1[k]
                        ic2[k] = 2 * v2 - ic2[k]
                        up, down = min(1.0, e[k] + rise[k]), max(0.0, e[k] - fall[k])
                        level = up if on else down
                        e[k] = level
                        signal = v2 * level
                        sums[t, 0, k] += signal * left[k]
                        sums[t, 1, k] += signal * right[k]
                for k in range(lanes):
                    state[i, 0, k], state[i, 1, k], state[i, 2, k] = p[k], ic1[k], ic2[k]
                    state[i, 3, k] = e[k]
            for t in range(count):
                sum_left, sum_right = 0.0, 0.0
                for k in range(lanes):
                    sum_left += sums[t, 0, k]
                    sum_right += sums[t, 1, k]
                out[0, start + t] = sum_left
                out[1, start + t] = sum_right

    return kernel


def tiles(coefficients: Array, lanes: int) -> Array:
    """`(8, V)` as `(tiles, 8, lanes)`, the last tile filled up with silent voices."""
    rows, count = coefficients.shape
    padded = np.zeros((rows, -(-count // lanes) * lanes))
    padded[0] = 0.1
    padded[:, :count] = coefficients
    return np.ascontiguousarray(padded.reshape(rows, -1, lanes).transpose(1, 0, 2))


def player_of(
    kernel: Any, coefficients: Array, state_shape: tuple[int, ...], pieces: Pieces
) -> Player:
    """Compile the kernel by a run of a few frames, then play."""
    kernel(np.zeros(8), coefficients, np.zeros(state_shape), np.empty((2, 8)))

    def play() -> Iterator[Array]:
        state = np.zeros(state_shape)
        for piece in pieces:
            out = np.empty((2, piece.shape[1]))
            kernel(piece[0], coefficients, state, out)
            yield out

    return play


def candidates(voices: Voices) -> list[Candidate]:
    """One voice at a time (strict, then fast-math), then voices as lanes (fast-math)."""
    flat = np.ascontiguousarray(voices.coefficients())

    def scalar(fast: bool) -> Callable[[Pieces], Player]:
        return lambda pieces: player_of(one_voice_kernel(fast), flat, (4, voices.count), pieces)

    def lanes(width: int, frames: int) -> Callable[[Pieces], Player]:
        tiled = tiles(flat, width)
        shape = (len(tiled), 4, width)
        return lambda pieces: player_of(lane_kernel(width, frames), tiled, shape, pieces)

    found = [
        Candidate("numba strict", "numba strict", scalar(fast=False), note="one voice at a time"),
        Candidate("numba fast-math", FAMILY, scalar(fast=True), note="one voice at a time"),
    ]
    if voices.count > 1:

        def plain(pieces: Pieces) -> Player:
            return player_of(plain_lane_kernel(), flat, (4, voices.count), pieces)

        note = "fast-math, SIMD over voices, two plain loops"
        found.append(Candidate("numba lanes", "numba lanes", plain, note=note))
        found += [
            Candidate(
                f"numba tiles {w}x{f}",
                FAMILY,
                lanes(w, f),
                note="fast-math, SIMD over voices, in tiles by hand",
            )
            for w, f in LANE_VARIANTS
        ]
    return found
