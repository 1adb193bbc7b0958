"""Losses for `amp.program.Program.value_and_grad`: means of a function of outputs or of heat, as native code.

A loss is traced like a node, and differentiated through the same table. It is computed with its
cotangents in one pass over what it reads.
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
    from amp.frozen import Frozen, Node
    from amp.ir import Value
    from amp.result import Result

    Array = NDArray[np.float64]
    Function = Callable[..., Value | float]
    Run = Callable[[Function, "Widths", Sequence[Array], float], tuple[Array, dict["Read", Array]]]


@dataclass(frozen=True)
class Warmth:
    """The heat of a node, or its temperature, in place of an output; see `heat` and `temperature`."""

    node: str
    kelvin: bool

    def __str__(self) -> str:
        return f"{'temperature' if self.kelvin else 'heat'} of {self.node!r}"


Read = str | Warmth
"""What a loss reads of a result: an output, or what is warm."""
Widths = tuple[tuple[Read, int, bool], ...]
"""Name and channels of each signal of a term, and whether it is read of a result."""


@dataclass(frozen=True, eq=False)
class Term:
    """``weight`` times the mean of ``function`` of some ``signals``: what is read of a result, and arrays."""

    function: Function
    signals: tuple[Read | Array, ...]
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

    @property
    def is_warm(self) -> bool:
        """It reads heat."""
        return any(isinstance(signal, Warmth) for term in self.terms for signal in term.signals)

    def check(self, outputs: Mapping[str, Node], nodes: Mapping[str, int]) -> None:
        """Raise `BadInput` for an output or a node that there is not."""
        for term in self.terms:
            for signal in term.signals:
                if isinstance(signal, str) and signal not in outputs:
                    raise BadInput(
                        "a loss is of outputs of the graph",
                        expected=str(sorted(outputs)),
                        got=repr(signal),
                    )
                if isinstance(signal, Warmth) and signal.node not in nodes:
                    raise BadInput("a loss is of the heat of nodes of the graph", got=str(signal))

    def evaluate(
        self, result: Result, graph: Frozen, run: Run
    ) -> tuple[float, dict[str, Array], dict[str, Array] | None]:
        """The loss of what a run gave, and its cotangents by output, and of heat by node.

        ``run`` computes the graph of `term_graph`: sums by lane, and what its outputs are.
        """
        value = 0.0
        outputs: dict[str, Array] = {}
        heat: dict[str, Array] = {}
        for term in self.terms:
            widths, signals = _signals(term, result, graph)
            count = next(
                array.size for (_, _, heard), array in zip(widths, signals, strict=True) if heard
            )
            sums, found = run(term.function, widths, signals, term.weight / count)
            value += term.weight * (_total(sums) / count)
            for read, array in found.items():
                if isinstance(read, str):
                    _add(outputs, read, array)
                else:
                    capacity = graph.nodes[graph.numbers[read.node]].thermal.capacity
                    _add(heat, read.node, array[:, 0] / (capacity if read.kelvin else 1.0))
        return value, outputs, heat if self.is_warm else None


def mean(function: Function, *signals: Read | ArrayLike) -> Loss:
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
        What its values are: the name of an output, the `heat` or `temperature` of a node, or an array
        ``(batch, channel, frame)`` that goes with them (a target, a weight), of as many channels or one.

    Raises
    ------
    BadValue
        If there are only arrays, or an array is none.

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
    if not any(isinstance(signal, Read) for signal in signals):
        raise BadValue(
            "a loss is of at least one output, by its name", got=f"{len(signals)} arrays"
        )
    known = tuple(s if isinstance(s, Read) else _array(s) for s in signals)
    return Loss((Term(function, known),))


def heat(node: str) -> Warmth:
    """The heat of a node, in a loss: what ``result.heat[node]`` says [J], each sample as a frame of one channel.

    Examples
    --------
    >>> import amp
    >>> g = amp.Graph(sample_rate=4.0)
    >>> g.output("out", amp.Param(0.5, name="gain") * g.input("x"))
    >>> program = amp.compile(g, heat=1)
    >>> value, gradients = program.value_and_grad(
    ...     mean(lambda b, joules: joules, heat("out")), {"x": np.ones((1, 1, 4))})
    >>> value, gradients.params["gain"]  # 1 s of a power of gain**2
    (0.25, array(1.))
    """
    return Warmth(node, kelvin=False)


def temperature(node: str) -> Warmth:
    """The temperature of a node [K] in the same way.

    Examples
    --------
    >>> mean(lambda b, kelvin: b.max(kelvin - 300.0, 0.0), temperature("out"))
    <Loss of 1 term>
    """
    return Warmth(node, kelvin=True)


def mean_square(output: Read) -> Loss:
    """Mean of ``y**2`` over batches, channels and frames of an output, or of `heat`.

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


def mse(output: Read, target: ArrayLike) -> Loss:
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


def _signals(term: Term, result: Result, graph: Frozen) -> tuple[Widths, list[Array]]:
    """What the function of a term reads."""
    widths: list[tuple[Read, int, bool]] = []
    signals: list[Array] = []
    first = next(signal for signal in term.signals if isinstance(signal, Read))
    shape = _array_of(first, result).shape
    for i, signal in enumerate(term.signals):
        is_read = isinstance(signal, Read)
        before = [name for name, _, heard in widths if heard]
        if isinstance(signal, Read) and signal in before:
            raise BadValue("a loss is given each output once", got=repr(signal))
        name: Read = signal if isinstance(signal, Read) else f"signal {i}"
        array = _array_of(signal, result) if isinstance(signal, Read) else signal
        if array.shape not in {shape, shape if is_read else (shape[0], 1, shape[2])}:
            what = f"output {first!r}" if isinstance(first, str) else f"the {first}"
            node = first if isinstance(first, str) else first.node
            raise BadInput(
                f"the signals of a loss have the shape of {what}",
                expected=str(shape),
                got=f"{name}: {array.shape}",
                where=str(graph.nodes[graph.numbers[node]]),
            )
        signals.append(array)
        widths.append((name, array.shape[1], is_read))
    return tuple(widths), signals


def _add(cotangents: dict[str, Array], name: str, more: Array) -> None:
    cotangents[name] = cotangents[name] + more if name in cotangents else more


def _array_of(read: Read, result: Result) -> Array:
    """What is read of a result, (batch, channel, frame)."""
    if isinstance(read, str):
        return result[read]
    known = result.temperature if read.kelvin else result.heat
    return np.ascontiguousarray(known[read.node][:, None])


def _total(sums: Array) -> float:
    """Their sum, rounded once; an infinity or NaN stays what it is."""
    rough = float(sums[0].sum())
    return math.fsum(sums.ravel()) if math.isfinite(rough) else rough
