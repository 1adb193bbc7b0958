"""Streams: what flows between nodes, and the arithmetic that adds nodes to a graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from amp.constants import MAX_TOKENS, is_whole
from amp.contract import REGISTRY, constant_array
from amp.errors import BadNode, BadValue, PortMismatch

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from amp.contract import NodeType
    from amp.errors import Place
    from amp.graph import Graph


class Operand:
    """What streams and tapped streams share: they add, subtract, multiply, divide and negate.

    Numbers and arrays are constants.
    """

    __slots__ = ()
    graph: Graph

    def __array_ufunc__(self, ufunc: Any, method: str, *operands: Any, **options: Any) -> Any:
        """`numpy.tanh(stream)` adds a node, and so does ``array * stream``."""
        kind = _ufunc_node(ufunc.__name__)
        if kind is None or method != "__call__" or options:
            return NotImplemented
        first = next(operand for operand in operands if isinstance(operand, Operand))
        return first._with(kind, *operands)

    def __bool__(self) -> bool:
        raise PortMismatch(
            "a stream has no truth value while its graph is built",
            got=repr(self),
            fix="use nodes.Function2, nodes.Clip or a gate",
        )

    def _with(self, kind: NodeType, *operands: Any) -> Stream:
        result: Stream = self.graph.add(kind, *operands)
        return result

    def __add__(self, other: Any) -> Stream:
        return self._with(REGISTRY["Add"](), self, other)

    def __radd__(self, other: Any) -> Stream:
        return self._with(REGISTRY["Add"](), other, self)

    def __sub__(self, other: Any) -> Stream:
        return self._with(REGISTRY["Function2"]("subtract"), self, other)

    def __rsub__(self, other: Any) -> Stream:
        return self._with(REGISTRY["Function2"]("subtract"), other, self)

    def __mul__(self, other: Any) -> Stream:
        return self._with(REGISTRY["Multiply"](), self, other)

    def __rmul__(self, other: Any) -> Stream:
        return self._with(REGISTRY["Multiply"](), other, self)

    def __truediv__(self, other: Any) -> Stream:
        return self._with(REGISTRY["Function2"]("divide"), self, other)

    def __rtruediv__(self, other: Any) -> Stream:
        return self._with(REGISTRY["Function2"]("divide"), other, self)

    def __pow__(self, other: Any) -> Stream:
        return self._with(REGISTRY["Function2"]("power"), self, other)

    def __rpow__(self, other: Any) -> Stream:
        return self._with(REGISTRY["Function2"]("power"), other, self)

    def __neg__(self) -> Stream:
        return self._with(REGISTRY["Function"]("neg"), self)

    def clip(self, low: Any, high: Any, out: None = None) -> Stream:
        """The stream held between two limits; `numpy.clip` calls it."""
        return self._with(REGISTRY["Clip"](), self, low, high)

    def __abs__(self) -> Stream:
        return self._with(REGISTRY["Function"]("abs"), self)


def _ufunc_node(name: str) -> NodeType | None:
    """The node that computes what a NumPy function of that name does."""
    if name in {"add", "multiply"}:
        return REGISTRY[name.capitalize()]()
    name = {"true_divide": "divide", "negative": "neg", "absolute": "abs"}.get(name, name)
    for kind in ("Function", "Function2"):
        try:
            return REGISTRY[kind](name)
        except BadNode:
            continue
    return None


class Stream(Operand):
    """What flows out of one outlet: shape ``(batch, channels, frames)`` when it runs."""

    __slots__ = ("channels", "graph", "node", "outlet")

    def __init__(self, graph: Graph, node: int, outlet: int, channels: int) -> None:
        self.graph, self.node, self.outlet, self.channels = graph, node, outlet, channels

    def __repr__(self) -> str:
        return f"<stream {self.graph.label(self.node)!r}, {self.channels} channel(s)>"


class Feedback(Stream):
    """A stream that is used before the node that makes it exists; see `Graph.feedback`."""

    __slots__ = ("created",)

    def __init__(self, graph: Graph, index: int, channels: int, created: Place) -> None:
        super().__init__(graph, -1 - index, 0, channels)
        self.created = created

    def connect(self, stream: Stream) -> None:
        """Say which stream this one is.

        Raises
        ------
        PortMismatch
            If it is connected already, or channels differ.
        """
        self.graph.close_feedback(self, stream)


@dataclass(frozen=True, slots=True)
class Tapped(Operand):
    """A stream with edge metadata, made by `edge`."""

    stream: Stream
    delay: int
    initial: ArrayLike | int | tuple[float, int]
    default: float | None = None
    gates: tuple[str, ...] = ()
    hold: bool = False

    @property
    def graph(self) -> Graph:  # type: ignore[override]
        """The stream's graph."""
        return self.stream.graph


def edge(
    stream: Stream,
    *,
    delay: int = 0,
    initial: ArrayLike | int | tuple[float, int] = 0,
    default: float | None = None,
    hold: bool = False,
    gate: str | tuple[str, ...] = (),
    channels: tuple[int, ...] = (),
    batches: tuple[int, ...] = (),
    back: tuple[int, ...] = (),
) -> Tapped:
    """A stream with metadata, written where the stream is used.

    Parameters
    ----------
    stream
        The stream.
    delay
        Frames of traversal: a token written at clock t is invisible until t + delay. It changes
        when a consumer fires, never what it computes.
    initial
        Tokens present at clock 0, which shift the sequence: a count of zeros, ``(value, count)``,
        or an array of shape ``(batch, channel, count)``.
    default
        Read by the clock instead of in order: at clock t the newest token that is visible, else
        this number. The consumer does not wait for the edge, so its delay adds no latency, and may
        fire at any other rate.
    hold
        The same with the inlet's own default, or 0.
    gate
        Name of a gate, or several: the consumer waits for its contributors too, see `Graph.gate`.
    channels, batches, back
        A map: the channel that each of the edge's channels comes from (-1 is silence), the batch that
        each batch comes from, and by how many frames each channel lags. It adds a `nodes.Rearrange`.

    Examples
    --------
    >>> import amp
    >>> from amp import nodes
    >>> g = amp.Graph()
    >>> x = g.input("x")
    >>> g.output("out", g.add(nodes.Mix(), x, amp.edge(x, delay=300)))
    >>> amp.compile(g).latency
    {'out': 300}
    """
    given: object = stream
    if isinstance(given, Tapped):
        raise PortMismatch(
            "an edge has one set of metadata",
            got="an edge of an edge",
            fix="write delay= and initial= in one amp.edge(stream, ...)",
        )
    if not isinstance(given, Stream):
        raise PortMismatch("an edge is one of a stream", got=repr(stream))
    if not is_whole(delay, 0, MAX_TOKENS):
        raise BadValue(
            f"an edge's delay is a whole number of frames from 0 to {MAX_TOKENS}", got=repr(delay)
        )
    if default is not None:
        value = constant_array(default, "an edge's default")
        if value.ndim:
            raise BadValue("an edge's default is one number", got=repr(default))
        default = float(value)
    gates = (gate,) if isinstance(gate, str) else tuple(gate)
    if not all(isinstance(name, str) and name for name in gates):
        raise BadValue("a gate's name is text", got=repr(gate))
    if channels or batches or back:
        order = channels or tuple(range(stream.channels))
        stream = stream.graph.add(REGISTRY["Rearrange"](order, back, batches), stream)
    return Tapped(stream, int(delay), initial, default, gates, hold)
