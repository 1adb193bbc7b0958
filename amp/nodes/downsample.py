"""Fewer tokens per frame: one of so many is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from amp.contract import Inlet, NodeType, Take, Trace

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from amp.ir import Value

MAX_FACTOR = 1 << 16


class Downsample(NodeType):
    """Lowers the rate by a whole factor: ``y[k] = x[factor k + phase]``.

    What follows runs at the sample rate divided by ``factor``. What lies above half of that folds
    back: a filter in front of this node removes it.

    Inlets: ``input``.

    Parameters
    ----------
    factor
        1 or more.
    phase
        Which of ``factor`` tokens is kept, from 0.

    Examples
    --------
    >>> Downsample(4)
    Downsample(factor=4, phase=0)
    """

    factor: int
    phase: int = 0
    inlets = (Inlet("input"),)

    def check(self) -> None:
        self.whole("factor", 1, MAX_FACTOR)
        self.whole("phase", 0, self.factor - 1)

    def rate(self, port: str) -> int:
        return self.factor if port == "input" else 1

    def takes(self, widths: list[int]) -> list[Take]:
        (width,) = widths
        back = self.factor - 1 - self.phase
        return [Take((0,) * width, tuple(range(width)), (back,) * width)]

    def forward(self, b: Trace, x: Value) -> Value:
        return x

    def reference(
        self, sample_rate: float, frames: int, *, input: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        whole = input.shape[2] // self.factor * self.factor
        return input[..., self.phase : whole : self.factor]

    @classmethod
    def samples(cls) -> Iterator[NodeType]:
        yield cls(1)
        yield cls(4)
        yield cls(3, phase=2)

    @classmethod
    def refuses(cls) -> Iterator[tuple[dict[str, Any], str]]:
        yield {"factor": 0}, "Downsample.factor is a whole number from 1"
        yield {"factor": 2, "phase": 2}, "Downsample.phase is a whole number from 0 to 1"
