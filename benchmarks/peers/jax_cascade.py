"""W6 in JAX: a scan over frames, sections as lanes skewed in time, and an associative scan.

Every form computes the mean of the squared output of the cascade, and JAX differentiates it with respect
to the coefficients `(8, 5)` and the signal `(B, n)`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks import gradient
from benchmarks.cascade import SECTIONS
from benchmarks.harness import Array, Candidate, NotInstalledError, Pieces, Player

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FAMILY = "jax"


def _load() -> Any:
    try:
        import jax
    except ImportError as missing:
        raise NotInstalledError("jax") from missing
    jax.config.update("jax_enable_x64", True)
    return jax


def scan_loss(jax: Any) -> Callable[[Any, Any], Any]:
    """One step a frame, the sections one after another in it."""
    jnp = jax.numpy

    def loss(c: Any, x: Any) -> Any:
        def step(state: Any, value: Any) -> Any:
            nexts = []
            for k in range(SECTIONS):
                b0, b1, b2, a1, a2 = c[k]
                y = b0 * value + state[k][0]
                nexts.append((b1 * value - a1 * y + state[k][1], b2 * value - a2 * y))
                value = y
            return tuple(nexts), value

        zero = jnp.zeros(x.shape[0])
        _, y = jax.lax.scan(step, ((zero, zero),) * SECTIONS, x.T)
        return jnp.mean(y * y)

    return loss


def skewed_loss(jax: Any) -> Callable[[Any, Any], Any]:
    """All sections at once in a step: section k works on frame t - k."""
    jnp = jax.numpy

    def loss(c: Any, x: Any) -> Any:
        b0, b1, b2, a1, a2 = (c[:, i, None] for i in range(5))
        rows = x.shape[0]
        late = jnp.pad(x.T, ((0, SECTIONS - 1), (0, 0)))

        def step(state: Any, value: Any) -> Any:
            s1, s2, last = state
            values = jnp.concatenate([value[None], last[:-1]])
            y = b0 * values + s1
            return (b1 * values - a1 * y + s2, b2 * values - a2 * y, y), y[-1]

        zero = jnp.zeros((SECTIONS, rows))
        _, y = jax.lax.scan(step, (zero, zero, zero), late)
        y = y[SECTIONS - 1 :]
        return jnp.mean(y * y)

    return loss


def associative_loss(jax: Any) -> Callable[[Any, Any], Any]:
    """A section at a time; its states are a prefix product of 2 x 2 affine maps."""
    jnp = jax.numpy

    def combine(first: Any, second: Any) -> Any:
        (m, u), (n, v) = first, second
        return n @ m, jnp.einsum("...ij,...j->...i", n, u) + v

    def section(c: Any, x: Any) -> Any:  # x: (n, B)
        b0, b1, b2, a1, a2 = c
        matrix = jnp.array([[-a1, 1.0], [-a2, 0.0]])
        driven = jnp.stack([(b1 - a1 * b0) * x, (b2 - a2 * b0) * x], axis=-1)  # (n, B, 2)
        maps = jnp.broadcast_to(matrix, (x.shape[0], 1, 2, 2))
        _, states = jax.lax.associative_scan(combine, (maps, driven))
        before = jnp.concatenate([jnp.zeros((1, x.shape[1])), states[:-1, :, 0]])
        return b0 * x + before

    def loss(c: Any, x: Any) -> Any:
        y = x.T
        for k in range(SECTIONS):
            y = section(c[k], y)
        return jnp.mean(y * y)

    return loss


FORMS = {
    "jax scan": scan_loss,
    "jax skewed": skewed_loss,
    "jax associative": associative_loss,
}


def candidates(sections: Array) -> list[Candidate]:
    """Every form, compiled ahead of time, its arguments in JAX's hands."""

    def of(form: Callable[[Any], Callable[[Any, Any], Any]]) -> Callable[[Pieces], Player]:
        def make(pieces: Pieces) -> Player:
            jax = _load()
            c, x = jax.numpy.asarray(sections), jax.numpy.asarray(pieces[0])
            work = jax.jit(jax.value_and_grad(form(jax), (0, 1)))
            program = work.lower(c, x).compile()

            def play() -> Iterator[Array]:
                value, slopes = jax.block_until_ready(program(c, x))
                yield gradient.answer(value, *slopes)

            return play

        return make

    return [Candidate(name, FAMILY, of(form)) for name, form in FORMS.items()]
