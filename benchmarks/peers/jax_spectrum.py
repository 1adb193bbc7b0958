"""W4 in JAX: the same sums, compiled ahead of time for each number of pieces that comes."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.harness import Array, Candidate, NotInstalledError, Pieces, Player
from benchmarks.peers.scipy_spectrum import stream
from benchmarks.spectrum import BATCH, DUAL, GAINS, HOP, SIZE, WINDOW


def candidates() -> list[Candidate]:
    """The one candidate."""

    def make(pieces: Pieces) -> Player:
        try:
            import jax
        except ImportError as missing:
            raise NotInstalledError("jax") from missing
        jax.config.update("jax_enable_x64", True)
        jnp = jax.numpy

        def step(x: Any, sums: Any) -> tuple[Any, Any]:
            parts = x.reshape(BATCH, -1, HOP)
            count = parts.shape[1] - SIZE // HOP + 1
            windows = jnp.concatenate([parts[:, m : m + count] for m in range(SIZE // HOP)], axis=2)
            v = jnp.fft.irfft(jnp.fft.rfft(windows * WINDOW) * GAINS, SIZE) * DUAL
            v = v.reshape(BATCH, count, -1, HOP)
            after = SIZE // HOP - 1
            y = jnp.pad(sums.reshape(BATCH, -1, HOP), ((0, 0), (0, count), (0, 0)))
            for m in range(SIZE // HOP):
                y = y + jnp.pad(v[:, :, m], ((0, 0), (m, after - m), (0, 0)))
            flat = y.reshape(BATCH, -1)
            return flat[:, : count * HOP], flat[:, count * HOP :]

        program = jax.jit(step)

        def work(x: Array, sums: Array) -> tuple[Array, Array]:
            made, left = program(x, sums)
            return np.asarray(made), np.asarray(left)

        for _ in stream(pieces, work):  # every shape is compiled
            pass
        return lambda: stream(pieces, work)

    return [Candidate("jax", "jax", make)]
