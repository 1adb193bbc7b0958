"""Programs as JAX functions: ``import amp.jax``. Needs JAX with 64-bit numbers."""

from __future__ import annotations

import functools
import threading
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from amp.arrays import check_shapes
from amp.errors import BadInput, BadValue, NotDifferentiable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from amp.program import Program

__all__ = ["function"]


def function(program: Program) -> Callable[..., dict[str, jax.Array]]:
    """A differentiable JAX function of a program's inputs and params.

    It is called ``f(inputs, params, frames=None)`` and returns arrays by output,
    ``(batch, channel, frame)``. ``inputs`` are arrays by input; ``params`` are arrays by param, of the
    params' own shapes, and those left out stay as they were set. ``frames`` is needed only without inputs.

    JAX may run a function twice, or not at all, so this one is pure: each call is from a fresh state. It
    runs a clone, with the params that the program has now; the program is left alone. It is a callback
    to the CPU (`jax.pure_callback`) with a `jax.custom_vjp`: `jax.jit`, `jax.grad` and `jax.vmap` (one call
    after another) take it; forward mode and second derivatives are refused. A gradient runs the forward
    pass once more, so that no state is kept between calls.

    Parameters
    ----------
    program
        A compiled graph.

    Raises
    ------
    BadInput, BadValue
        When called: unknown or missing names, wrong shapes, numbers of 32 bits.
    NotDifferentiable
        For a second derivative.

    Examples
    --------
    >>> import amp
    >>> import amp.jax
    >>> jax.config.update("jax_enable_x64", True)
    >>> g = amp.Graph()
    >>> g.output("out", amp.Param(0.5, name="gain") * g.input("x"))
    >>> f = amp.jax.function(amp.compile(g))
    >>> def loss(gain):
    ...     return (f({"x": np.ones((1, 1, 4))}, {"gain": gain})["out"] ** 2).sum()
    >>> print(jax.jit(loss)(0.5), jax.grad(loss)(0.5))
    1.0 4.0
    """
    runs = _Runs(program.clone())

    @functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
    def run(frames: int, *given: Any) -> Any:
        shapes = {n: _shape((*width, frames)) for n, width in runs.program.outputs.items()}
        call = functools.partial(runs.run, frames)
        return jax.pure_callback(call, shapes, *given, vmap_method="sequential")

    @functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
    def back(frames: int, *given: Any) -> Any:
        shapes = jax.tree.map(lambda array: _shape(array.shape), given[:2])
        call = functools.partial(runs.go_back, frames)
        return jax.pure_callback(call, shapes, *given, vmap_method="sequential")

    run.defvjp(
        lambda frames, *given: (run(frames, *given), given),
        lambda frames, given, cotangents: back(frames, *given, cotangents),
    )
    back.defvjp(_refuse, _refuse)

    def call(
        inputs: Mapping[str, Any] | None = None,
        params: Mapping[str, Any] | None = None,
        *,
        frames: int | None = None,
    ) -> dict[str, jax.Array]:
        if not jax.config.jax_enable_x64:
            raise BadValue(
                "amp computes with numbers of 64 bits",
                got="JAX with 32",
                fix='jax.config.update("jax_enable_x64", True)',
            )
        arrays = {name: jnp.asarray(array, np.float64) for name, array in (inputs or {}).items()}
        values = {name: jnp.asarray(array, np.float64) for name, array in (params or {}).items()}
        check_shapes({name: array.shape for name, array in values.items()}, runs.params)
        result: dict[str, jax.Array] = run(_count(arrays, frames, runs.program), arrays, values)
        return result

    return call


class _Runs:
    """A program that callbacks take turns with."""

    def __init__(self, program: Program) -> None:
        self.program, self.params, self.lock = program, program.params, threading.Lock()

    def run(self, frames: int, inputs: Any, params: Any, *, record: bool = False) -> dict[str, Any]:
        with self.lock:
            return self._run(frames, inputs, params, record=record)

    def go_back(self, frames: int, inputs: Any, params: Any, cotangents: Any) -> tuple[Any, Any]:
        with self.lock:
            self._run(frames, inputs, params, record=True)
            found = self.program.backward({name: np.asarray(c) for name, c in cotangents.items()})
        return (
            {name: found.inputs[name] for name in inputs},
            {name: found.params[name] for name in params},
        )

    def _run(self, frames: int, inputs: Any, params: Any, *, record: bool) -> dict[str, Any]:
        self.program.reset()
        values = {name: np.asarray(value) for name, value in params.items()}
        self.program.update(self.params | values)
        arrays = {name: np.asarray(array) for name, array in inputs.items()}
        return dict(self.program.run(arrays, frames=frames, record=record))


def _count(inputs: Mapping[str, Any], frames: int | None, program: Program) -> int:
    """Frames of a run with these inputs."""
    if set(inputs) != set(program.inputs):
        raise BadInput(
            "a run is given each input of the graph",
            expected=str(sorted(program.inputs)),
            got=str(sorted(inputs)),
        )
    counts = {array.shape[-1] for array in inputs.values() if array.ndim == 3}
    if frames is not None:
        counts.add(frames)
    count = counts.pop() if len(counts) == 1 else -1
    for name, array in inputs.items():
        if array.shape != (*program.inputs[name], count):
            raise BadInput(
                f"input {name!r} has shape (batch, channel, frame), and all the same frames",
                expected=f"({', '.join(map(str, program.inputs[name]))}, frames)",
                got=str(array.shape),
            )
    if count < 1:
        raise BadInput("a run has one number of frames", got=repr(frames), fix="say frames=n")
    return count


def _shape(shape: tuple[int, ...]) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, np.float64)


def _refuse(*_: Any) -> None:
    raise NotDifferentiable(
        "a program has first derivatives, and no second ones", where="amp.jax.function"
    )
