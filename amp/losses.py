"""Losses for `amp.program.Program.value_and_grad`: means of a function of outputs, as native code.

A loss is traced like a node, and differentiated through the same table. It is computed with its
cotangents in one pass over the outputs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np

from amp.contract import Inlet, NodeType, Param
from amp.errors import BadInput, BadNode, BadValue
from amp.graph import Graph
from amp.ir.vjp import Cotangents, transpose

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    from amp.contract import Trace
    from amp.frozen import Node
    from amp.ir import Value

    Array = NDArray[np.float64]
    Function = Callable[..., Value | float]
    Run = Callable[[Function, "Widths", Sequence[Array], float], tuple[Array, dict[str, Array]]]

Widths = tuple[tuple[str, int, bool], ...]
"""Name and channels of each signal of a term, and whether it is an output."""


@dataclass(frozen=True, eq=False)
class Term:
    """``weight`` times the mean of ``function`` of some ``signals``: names of outputs, and arrays."""

    function: Function
    signals: tuple[str | Array, ...]
    weight: float = 1.0


class Loss:
    """A sum of weighted means. Losses are added, and multiplied by numbers.

    Examples
    --------
    >>> mean_square("out") + 0.1 * mean_square("side")
    <Loss of 2 terms>
    """

    def __init__(self, terms: tuple[Term, ...]) -> None:
        self.terms = terms

    def __add__(self, other: Loss) -> Loss:
        return Loss(self.terms + other.terms) if isinstance(other, Loss) else NotImplemented

    def __mul__(self, factor: Any) -> Loss:
        if not isinstance(factor, Real) or not math.isfinite(factor):
            raise BadValue("a loss is multiplied by a finite number", got=repr(factor))
        return Loss(tuple(replace(term, weight=float(factor) * term.weight) for term in self.terms))

    __rmul__ = __mul__

    def __repr__(self) -> str:
        return f"<Loss of {len(self.terms)} term{'s' * (len(self.terms) > 1)}>"

    def check(self, outputs: Mapping[str, Node]) -> None:
        """Raise `BadInput` for an output that there is not."""
        for term in self.terms:
            for signal in term.signals:
                if isinstance(signal, str) and signal not in outputs:
                    raise BadInput(
                        "a loss is of outputs of the graph",
                        expected=str(sorted(outputs)),
                        got=repr(signal),
                    )

    def evaluate(
        self, outputs: Mapping[str, Array], nodes: Mapping[str, Node], run: Run
    ) -> tuple[float, dict[str, Array]]:
        """The loss of what a run gave, and its cotangents by output.

        ``run`` computes the graph of `term_graph`: sums by lane, and what its outputs are.
        """
        value = 0.0
        cotangents: dict[str, Array] = {}
        for term in self.terms:
            widths, signals = _signals(term, outputs, nodes)
            count = outputs[next(name for name, _, heard in widths if heard)].size
            sums, found = run(term.function, widths, signals, term.weight / count)
            value += term.weight * (_total(sums) / count)
            for name, array in found.items():
                cotangents[name] = cotangents[name] + array if name in cotangents else array
        return value, cotangents


def mean(function: Function, *signals: str | ArrayLike) -> Loss:
    """Mean of a function over batches, channels and frames.

    The sum of each lane is taken in the order of frames, with its rounding (Ogita, Rump & Oishi,
    "Accurate sum and dot product", SIAM J. Sci. Comput. 26, 2005, algorithm 4.4); that of the lanes is
    rounded once. So it has the same bits under every engine and schedule.

    Parameters
    ----------
    function
        ``function(b, *values)``: the value of one frame of one lane, in IR operations like
        `NodeType.forward`, and without memory.
    signals
        What its values are: the name of an output, or an array ``(batch, channel, frame)`` that goes
        with the outputs (a target, a weight), of as many channels or one.

    Raises
    ------
    BadValue
        If no signal is an output, or an array is none.

    Examples
    --------
    >>> import amp
    >>> g = amp.Graph()
    >>> g.output("out", amp.Param(0.5, name="gain") * g.input("x"))
    >>> target = np.ones((1, 1, 4))
    >>> loss = mean(lambda b, y, target: abs(y - target), "out", target)
    >>> value, gradients = amp.compile(g).value_and_grad(loss, {"x": target})
    >>> value, gradients.params["gain"]
    (0.5, array(-1.))
    """
    if not callable(function) or getattr(function, "__hash__", None) is None:
        raise BadValue("a loss is a function of IR values", got=repr(function))
    if not any(isinstance(signal, str) for signal in signals):
        raise BadValue(
            "a loss is of at least one output, by its name", got=f"{len(signals)} arrays"
        )
    return Loss((Term(function, tuple(s if isinstance(s, str) else _array(s) for s in signals)),))


def mean_square(output: str) -> Loss:
    """Mean of ``y**2`` over batches, channels and frames of an output.

    Examples
    --------
    >>> import amp
    >>> g = amp.Graph()
    >>> g.output("out", 2.0 * g.input("x"))
    >>> value, gradients = amp.compile(g).value_and_grad(mean_square("out"), {"x": np.ones((1, 1, 4))})
    >>> value, gradients.inputs["x"]
    (4.0, array([[[2., 2., 2., 2.]]]))
    """
    return mean(_square, output)


def mse(output: str, target: ArrayLike) -> Loss:
    """Mean squared error: the mean of ``(y - target)**2``; ``target`` as in `mean`.

    Examples
    --------
    >>> import amp
    >>> g = amp.Graph()
    >>> g.output("out", 2.0 * g.input("x"))
    >>> x = np.ones((1, 1, 4))
    >>> value, gradients = amp.compile(g).value_and_grad(mse("out", 3.0 * x), {"x": x})
    >>> value, gradients.inputs["x"]
    (1.0, array([[[-1., -1., -1., -1.]]]))
    """
    return mean(_squared_error, output, target)


def _square(b: Trace, y: Value) -> Value:
    return y * y


def _squared_error(b: Trace, y: Value, target: Value) -> Value:
    return (y - target) * (y - target)


def term_graph(function: Function, widths: Widths, sample_rate: float, batch: int) -> Graph:
    """A graph that has the signals of a term as inputs and the cotangents of its outputs as outputs,
    times the param ``scale``; what sums come to is in the states of its node ``loss``."""
    graph = Graph(sample_rate, batch)
    streams = [
        graph.input(f"signal {i}", channels=channels) for i, (_, channels, _) in enumerate(widths)
    ]
    wanted = tuple(i for i, (_, _, heard) in enumerate(widths) if heard)
    kind = _node_type(function, len(widths), wanted)
    given = graph.add(kind(), *streams, Param(1.0, name="scale"), name="loss")
    for i, stream in zip(wanted, (given,) if len(wanted) == 1 else given, strict=True):
        graph.output(f"slope {i}", stream)
    return graph


def checked_answer(answer: Any) -> tuple[float, dict[str, Array]]:
    """What a loss that is a function of a result returns: value, and cotangents by output."""
    try:
        value, cotangents = answer
        return float(value), dict(cotangents)
    except (TypeError, ValueError):
        raise BadValue(
            "a loss returns its value and the cotangents of outputs by name",
            got=repr(answer)[:200],
            fix='return value, {"out": derivative of the value}',
        ) from None


def _node_type(function: Function, count: int, wanted: tuple[int, ...]) -> type[NodeType]:
    """Adds up ``function`` of ``count`` inlets, and gives its slopes in those that are ``wanted``."""

    class Loss(NodeType, register=False):
        """The sum of a function: ``sum <- sum + f(...)``, with the rounding of that in ``error``."""

        inlets = (*[Inlet(f"signal_{i}") for i in range(count)], Inlet("scale"))
        outlets = tuple(f"slope_{i}" for i in wanted)

        def forward(self, b: Trace, *values: Value) -> Any:
            *signals, scale = values
            before = {*b.states, *b.line_lengths}  # of other lanes that are traced together
            value = b.value(function(b, *signals))
            if own := {*b.states, *b.line_lengths} - before:
                raise BadNode(
                    "a loss is a function of one frame, without memory",
                    got=", ".join(sorted(own)),
                    fix="put what remembers into the graph, and give it an output",
                )
            cotangents = Cotangents(b, _itself, _itself)
            cotangents.put(value, scale)
            transpose(cotangents, b.values)
            total, error = b.state("sum"), b.state("error")
            new = total + value
            rest = new - total
            b.next("sum", new)
            b.next("error", error + ((total - (new - rest)) + (value - rest)))
            slopes = tuple(cotangents[signals[i]] for i in wanted)
            slopes = tuple(b.const(0.0) if slope is None else slope for slope in slopes)
            return slopes if len(slopes) > 1 else slopes[0]

    return Loss


def _itself(value: Value) -> Value:
    return value


def _array(given: ArrayLike) -> Array:
    try:
        array = np.ascontiguousarray(given, np.float64)
    except (TypeError, ValueError) as error:
        raise BadValue("a target of a loss is a real array", got=str(error)) from None
    if array.ndim != 3:
        raise BadValue(
            "a target of a loss has shape (batch, channel, frame)", got=str(np.shape(given))
        )
    return array


def _signals(
    term: Term, outputs: Mapping[str, Array], nodes: Mapping[str, Node]
) -> tuple[Widths, list[Array]]:
    """What the function of a term reads."""
    widths: list[tuple[str, int, bool]] = []
    signals: list[Array] = []
    first = next(signal for signal in term.signals if isinstance(signal, str))
    for i, signal in enumerate(term.signals):
        before = [name for name, _, heard in widths if heard]
        if isinstance(signal, str) and signal in before:
            raise BadValue("a loss is given each output once", got=repr(signal))
        name = signal if isinstance(signal, str) else f"signal {i}"
        array = outputs[signal] if isinstance(signal, str) else signal
        shape = outputs[first].shape
        allowed = {shape} if isinstance(signal, str) else {shape, (shape[0], 1, shape[2])}
        if array.shape not in allowed:
            raise BadInput(
                f"the signals of a loss have the shape of output {first!r}",
                expected=str(shape),
                got=f"{name}: {array.shape}",
                where=str(nodes[first]),
            )
        signals.append(array)
        widths.append((name, array.shape[1], isinstance(signal, str)))
    return tuple(widths), signals


def _total(sums: Array) -> float:
    """Their sum, rounded once; an infinity or NaN stays what it is."""
    rough = float(sums[0].sum())
    return math.fsum(sums.ravel()) if math.isfinite(rough) else rough
