"""Elementwise functions of one stream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from amp.contract import Inlet, NodeType, Trace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from amp.ir import Value

FUNCTIONS: dict[str, tuple[Callable[[Trace, Value], Value], Callable[..., Any]]] = {
    "abs": (lambda b, x: b.abs(x), np.abs),
    "neg": (lambda b, x: b.neg(x), np.negative),
    "square": (lambda b, x: b.mul(x, x), np.square),
    "reciprocal": (lambda b, x: b.div(1.0, x), np.reciprocal),
    "sqrt": (lambda b, x: b.sqrt(x), np.sqrt),
    "exp": (lambda b, x: b.exp(x), np.exp),
    "log": (lambda b, x: b.log(x), np.log),
    "sin": (lambda b, x: b.sin(x), np.sin),
    "cos": (lambda b, x: b.cos(x), np.cos),
    "tan": (lambda b, x: b.tan(x), np.tan),
    "tanh": (lambda b, x: b.tanh(x), np.tanh),
    "floor": (lambda b, x: b.floor(x), np.floor),
    "ceil": (lambda b, x: -b.floor(-x), np.ceil),
    "sign": (lambda b, x: b.select(x > 0.0, 1.0, b.select(x < 0.0, -1.0, x * 0.0)), np.sign),
}
"""IR and NumPy form of each function."""


class Function(NodeType):
    """An elementwise function of one stream: ``y = f(x)``.

    Elementary functions are as accurate as the IR operations of their names; the others are
    rounded once. Outside a function's domain the result is that of IEEE 754, NaN or infinity.

    Inlets: ``input`` (in radians for ``sin, cos, tan``).

    Parameters
    ----------
    function
        ``abs, neg, square, reciprocal, sqrt, exp, log`` (natural), ``sin, cos, tan, tanh, floor,
        ceil, sign``.

    Examples
    --------
    >>> Function("tanh")
    Function(function='tanh')
    """

    function: str
    inlets = (Inlet("input"),)

    def check(self) -> None:
        self.one_of("function", tuple(FUNCTIONS))

    def forward(self, b: Trace, x: Value) -> Value:
        return FUNCTIONS[self.function][0](b, x)

    def reference(
        self, sample_rate: float, frames: int, *, input: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        result: NDArray[np.float64] = FUNCTIONS[self.function][1](input)
        return result

    @classmethod
    def samples(cls) -> Iterator[NodeType]:
        """Each one; those that a noise could take out of their domain have a constant inlet."""
        for name in FUNCTIONS:
            partial = name in {"reciprocal", "sqrt", "log"}
            yield cls(name, input=2.5) if partial else cls(name)

    @classmethod
    def refuses(cls) -> Iterator[tuple[dict[str, Any], str]]:
        yield {}, "Function needs the attribute 'function'"
        yield {"function": "gamma"}, "Function.function is one of 'abs', 'neg'"
