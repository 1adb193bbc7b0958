"""Checks of gradients, for users' tests."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from amp.errors import BadInput, BadValue, WrongGradient
from amp.graph import Graph
from amp.pipeline import compile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from numpy.typing import ArrayLike, NDArray

    from amp.program import Program
    from amp.result import Gradients, State

    Array = NDArray[np.float64]
    Loss = Callable[[float], float]

FRAMES = 64


def check_grads(
    program: Program | Graph,
    inputs: Mapping[str, ArrayLike] | None = None,
    *,
    frames: int | None = None,
    seed: int = 0,
    step: float = 1e-3,
    rtol: float = 1e-6,
    atol: float = 1e-9,
    heat: bool = False,
) -> None:
    """Compare `Program.backward` with finite differences along random directions.

    Outputs are multiplied by random cotangents and added up. The derivative of that sum along a random
    direction is taken twice: as the dot product of the direction and the cotangents that come back, and
    by central differences at two steps, extrapolated (Ridders, "Accurate computation of F'(x) and
    F'(x)F''(x)", Adv. Eng. Softw. 4, 1982), whose error falls with the fourth power of the step. That is
    done for each input, each param, and each real state, delay line and edge in the state at first.

    Parameters
    ----------
    program
        A program, of which a clone is run from the state that it is in; or a graph, from its start.
    inputs
        As for `Program.run`; by default normal noise of ``frames`` frames.
    frames
        Frames of a run, 64 unless there are inputs.
    seed
        Of the noise, the cotangents and the directions.
    step
        Of the differences, relative to what is moved.
    rtol, atol
        How far the two numbers may be apart.
    heat
        The heat of nodes is multiplied and added up too, and moved in the state at first.

    Raises
    ------
    WrongGradient
        If they are further apart: it names what was moved, and both numbers.
    NotDifferentiable, BadInput, BadValue
        As `Program.run` and `Program.backward`.

    Examples
    --------
    >>> import amp
    >>> from amp import nodes
    >>> g = amp.Graph()
    >>> cutoff = amp.Param(2000.0, name="cutoff")
    >>> g.output("out", g.add(nodes.OnePole(), g.input("x"), cutoff=cutoff))
    >>> check_grads(g)
    """
    if isinstance(program, Graph):
        program = compile(program)
    if not step > 0.0:
        raise BadValue("step is a positive number", got=repr(step))
    random = np.random.default_rng(seed)
    check = _Check(program, _signals(program, inputs, frames, random), frames, random, heat=heat)
    for what, slope, loss, size in check.directions():
        expected = _difference(loss, step * size)
        if not abs(slope - expected) <= atol + rtol * max(abs(slope), abs(expected)):
            raise WrongGradient(
                f"the derivative along {what} is what finite differences say",
                expected=f"{expected:.12g} by finite differences",
                got=f"{slope:.12g} by backward",
                fix="if the outputs have a kink or a jump here (a limit, a gate, an edge), choose other "
                "inputs, another seed, or a smaller step; else a node's adjoint is wrong",
            )


class _Check:
    """A recorded run, and all that can be moved in it."""

    def __init__(
        self,
        program: Program,
        signals: dict[str, Array],
        frames: int | None,
        random: np.random.Generator,
        *,
        heat: bool,
    ) -> None:
        self.random, self.signals = random, signals
        self.frames = frames if signals else frames or FRAMES
        self.start: State = program.state()
        self.program = program.clone()
        self.program.restore(self.start)
        record: Any = "heat" if heat else True
        result = self.program.run(signals, frames=self.frames, record=record)
        self.weights, self.heat_weights = (
            {name: random.normal(size=array.shape) for name, array in some.items()}
            for some in (result, result.heat if heat else {})
        )
        self.gradients: Gradients = self.program.backward(
            self.weights, heat=self.heat_weights if heat else None
        )

    def loss(
        self,
        signals: dict[str, Array],
        params: Mapping[str, Array],
        start: State,
    ) -> float:
        """Outputs times cotangents."""
        self.program.restore(start)
        self.program.update(params)
        result = self.program.run(signals, frames=self.frames)
        total = sum((result[name] * weight).sum() for name, weight in self.weights.items())
        for name, weight in self.heat_weights.items():
            total += (result.heat[name] * weight).sum()
        return float(total)

    def directions(self) -> Iterator[tuple[str, float, Loss, float]]:
        """What is moved, the derivative along a direction, the loss by how far, and a natural size."""
        for name, gradient in self.gradients.inputs.items():
            yield self._input(name, gradient)
        for name, gradient in self.gradients.params.items():
            yield self._param(name, gradient)
        for kind in ("nodes", "lines"):
            for node, slopes in getattr(self.gradients.state, kind).items():
                for name, gradient in slopes.items():
                    if _is_real(getattr(self.start, kind).get(node, {}).get(name)):
                        yield self._state(kind, node, name, gradient)
        for edge, gradient in self.gradients.state.edges.items():
            if edge in self.start.edges:
                yield self._edge(edge, gradient)
        for node, gradient in self.gradients.state.heat.items():
            yield self._heat(node, gradient)

    def _direction(self, gradient: Array) -> tuple[Array, float]:
        direction = self.random.normal(size=gradient.shape)
        return direction, float((gradient * direction).sum())

    def _input(self, name: str, gradient: Array) -> tuple[str, float, Loss, float]:
        direction, slope = self._direction(gradient)
        array = self.signals[name]

        def loss(distance: float) -> float:
            moved = {**self.signals, name: array + distance * direction}
            return self.loss(moved, {}, self.start)

        return f"input {name!r}", slope, loss, _size(array)

    def _param(self, name: str, gradient: Array) -> tuple[str, float, Loss, float]:
        direction, slope = self._direction(gradient)
        value = self.start.params[name]

        def loss(distance: float) -> float:
            return self.loss(self.signals, {name: value + distance * direction}, self.start)

        return f"param {name!r}", slope, loss, _size(value)

    def _state(
        self, kind: str, node: str, name: str, gradient: Array
    ) -> tuple[str, float, Loss, float]:
        direction, slope = self._direction(gradient)
        known = getattr(self.start, kind)
        array = known[node][name]

        def loss(distance: float) -> float:
            moved = {**known, node: {**known[node], name: array + distance * direction}}
            changed: Any = {kind: moved}
            return self.loss(self.signals, {}, replace(self.start, **changed))

        return f"state {name!r} of node {node!r}", slope, loss, _size(array)

    def _edge(self, edge: tuple[str, int], gradient: Array) -> tuple[str, float, Loss, float]:
        direction, slope = self._direction(gradient)
        known = self.start.edges

        def loss(distance: float) -> float:
            moved = {**known, edge: known[edge] + distance * direction}
            return self.loss(self.signals, {}, replace(self.start, edges=moved))

        what = f"the tokens in flight on edge {edge[1]} into node {edge[0]!r}"
        return what, slope, loss, _size(known[edge])

    def _heat(self, node: str, gradient: Array) -> tuple[str, float, Loss, float]:
        direction, slope = self._direction(gradient)
        known = self.start.heat

        def loss(distance: float) -> float:
            heat = known[node].copy()
            heat[:2] += distance * direction
            return self.loss(self.signals, {}, replace(self.start, heat={**known, node: heat}))

        return f"the heat of node {node!r}", slope, loss, _size(known[node][:2])


def _signals(
    program: Program,
    inputs: Mapping[str, ArrayLike] | None,
    frames: int | None,
    random: np.random.Generator,
) -> dict[str, Array]:
    if inputs is not None:
        try:
            return {name: np.array(array, np.float64) for name, array in inputs.items()}
        except (AttributeError, TypeError, ValueError) as error:
            raise BadInput("inputs are real arrays by name", got=str(error)) from None
    count = FRAMES if frames is None else frames
    return {name: random.normal(size=(*width, count)) for name, width in program.inputs.items()}


def _difference(loss: Loss, step: float) -> float:
    """Slope of ``loss`` at 0."""
    wide, narrow = ((loss(h) - loss(-h)) / (2.0 * h) for h in (step, 0.5 * step))
    return (4.0 * narrow - wide) / 3.0


def _size(array: Array) -> float:
    """Root mean square, or 1 where there is nothing."""
    return float(np.sqrt(np.mean(array * array))) or 1.0 if array.size else 1.0


def _is_real(array: Any) -> bool:
    return array is not None and array.dtype == np.float64
