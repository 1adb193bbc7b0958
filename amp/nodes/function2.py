"""Elementwise functions of two streams."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from amp.contract import Inlet, NodeType, Trace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from amp.ir import Value

SMALLEST = float(np.finfo(np.float64).tiny)


def _power(b: Trace, x: Value, y: Value) -> Value:
    size = b.exp(y * b.log(b.max(abs(x), SMALLEST)))
    half = y * 0.5
    odd = b.emit("eq", half - b.floor(half), 0.5)
    whole = b.emit("eq", y, b.floor(y))
    below = b.select(odd, -size, b.select(whole, size, float("nan")))
    value = b.select(x < 0.0, below, size)
    value = b.select(b.emit("eq", x, 0.0) & (y > 0.0), 0.0, value)
    return b.select(b.emit("eq", y, 0.0), 1.0, value)


FUNCTIONS: dict[str, tuple[Callable[[Trace, Value, Value], Value], Callable[..., Any]]] = {
    "subtract": (lambda b, x, y: b.sub(x, y), np.subtract),
    "divide": (lambda b, x, y: b.div(x, y), np.divide),
    "minimum": (lambda b, x, y: b.min(x, y), np.minimum),
    "maximum": (lambda b, x, y: b.max(x, y), np.maximum),
    "power": (_power, np.power),
}
"""IR and NumPy form of each function."""


class Function2(NodeType):
    """An elementwise function of two streams: ``y = f(a, b)``.

    All are rounded once except ``power``, ``exp(b log|a|)`` with the sign of an odd whole exponent:
    its relative error grows with the exponent, about ``(2 + |b log|a||)`` units of 1.1e-16 (for
    squares, ``Function("square")`` is exact). A negative base to a broken power is NaN; 0 to a
    negative power is a huge number, that of 2.2e-308. Of ``minimum`` and ``maximum``, one NaN
    operand gives ``b``.

    Inlets: ``a``, ``b``.

    Parameters
    ----------
    function
        ``subtract, divide, minimum, maximum, power``.

    Examples
    --------
    >>> Function2("divide", b=4.0)
    Function2(function='divide', b=4.0)
    """

    function: str
    inlets = (Inlet("a"), Inlet("b"))

    def check(self) -> None:
        self.one_of("function", tuple(FUNCTIONS))

    def forward(self, b: Trace, x: Value, y: Value) -> Value:
        return FUNCTIONS[self.function][0](b, x, y)

    def reference(
        self, sample_rate: float, frames: int, *, a: NDArray[np.float64], b: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        result: NDArray[np.float64] = FUNCTIONS[self.function][1](a, b)
        return result

    @classmethod
    def samples(cls) -> Iterator[NodeType]:
        """Each one, kept from poles and broken powers of negative numbers by a constant inlet."""
        yield cls("subtract")
        yield cls("divide", b=4.0)
        yield cls("minimum")
        yield cls("maximum")
        yield cls("power", a=2.0)
        yield cls("power", b=3.0)

    @classmethod
    def refuses(cls) -> Iterator[tuple[dict[str, Any], str]]:
        yield {}, "Function2 needs the attribute 'function'"
        yield {"function": "sin"}, "Function2.function is one of 'subtract', 'divide'"
