"""A stream that does not change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from amp.contract import NodeType, Trace, array_of
from amp.errors import BadNode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from amp.ir import Value


class Constant(NodeType):
    """The same value at every frame: ``y = value``. An array of values is what inlets take.

    Examples
    --------
    >>> Constant(0.5)
    Constant(value=0.5)
    """

    value: float
    params = ("value",)

    def check(self) -> None:
        array = array_of(self.value)
        if array.ndim or not np.isfinite(array):
            raise BadNode("Constant.value is one finite number", got=repr(self.value))

    def forward(self, b: Trace) -> Value:
        value: Value = b.param("value")
        return value

    def reference(self, sample_rate: float, frames: int) -> NDArray[np.float64]:
        return np.full((1, 1, frames), array_of(self.value))

    @classmethod
    def samples(cls) -> Iterator[NodeType]:
        yield cls(0.5)
        yield cls(-3)

    @classmethod
    def refuses(cls) -> Iterator[tuple[dict[str, Any], str]]:
        yield {}, "Constant needs the attribute 'value'"
        yield {"value": float("nan")}, "Constant.value is finite"
        yield {"value": [1.0, 2.0]}, "Constant.value is one finite number"
