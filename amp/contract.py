"""The node contract: what a node type declares, and what its ``forward`` may use.

One node type is one class in one file of `amp.nodes` (or in a user's own code). ``forward`` is traced
into IR once per kernel; from then on Python has no part in a sample. ``docs/kpn_contract.md`` is the
authoritative text.
"""

from __future__ import annotations

import inspect
import math
from dataclasses import dataclass
from keyword import iskeyword
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from amp.cycles import as_counts
from amp.errors import BadNode
from amp.ir import Builder, table_text
from amp.thermal import USUAL, Thermal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike, NDArray

    from amp.ir import Value


@dataclass(frozen=True, slots=True)
class Inlet:
    """Where a node reads. Every inlet takes a stream, a number, an array or an `amp.Param`.

    Parameters
    ----------
    name
        The field's own word, whole: ``frequency``, ``cutoff``, ``gate``.
    default
        Value when nothing is given; None makes the inlet mandatory unless it is ``optional``.
    unit, low, high
        Unit and closed range of constants; ``high="nyquist"`` is half the sample rate, exclusive.
    optional
        ``forward`` receives None if nothing is given.
    channels
        Exact number of channels, for node types that see all channels at once; None is any number.
    variadic
        Takes any number of streams; ``forward`` receives them as a list.
    hold
        Streams are read by the clock, without waiting: the newest token that is visible, before the
        first one ``default``, or 0.
    gather
        What becomes of several streams that are given to it as a list: their ``sum`` or ``mean``, their
        channels one after another (``concat``), or channel by channel side by side (``stack``).
    """

    name: str
    default: float | None = None
    unit: str = ""
    low: float = -np.inf
    high: float | Literal["nyquist"] = np.inf
    optional: bool = False
    channels: int | None = None
    variadic: bool = False
    hold: bool = False
    gather: Literal["sum", "mean", "concat", "stack"] = "sum"

    def __post_init__(self) -> None:
        if self.gather not in {"sum", "mean", "concat", "stack"}:
            raise BadNode(
                "an inlet gathers streams by sum, mean, concat or stack", got=repr(self.gather)
            )


@dataclass(frozen=True, slots=True)
class Take:
    """Where each channel of a node comes from: one entry per channel.

    Parameters
    ----------
    edge
        Which of the node's edges.
    channel
        Channel of that edge; -1 is silence.
    back
        Tokens before the last one that the firing takes (none by default); what earlier firings
        took is kept for it.
    batch
        For each batch the one it comes from; itself by default.
    """

    edge: tuple[int, ...]
    channel: tuple[int, ...]
    back: tuple[int, ...] = ()
    batch: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not self.back:
            object.__setattr__(self, "back", (0,) * len(self.edge))


class Param:
    """A named value that can be changed between runs without a recompile.

    Parameters
    ----------
    value
        A number, or an array of shape ``(batch, channel)`` that broadcasts to the inlet's lanes.
        (A node's own array, such as a mixing matrix, keeps its own shape.)
    name
        What ``program.set(name, value)`` calls it. Nodes that are given one `Param` share it.

    Examples
    --------
    >>> Param(800.0, name="cutoff")
    Param(800.0, name='cutoff')
    """

    def __init__(self, value: ArrayLike, *, name: str) -> None:
        if not (isinstance(name, str) and name):
            raise BadNode("a param's name is text", got=repr(name))
        self.value = constant_array(value, f"param {name!r}")
        self.name = name

    def __repr__(self) -> str:
        shown = self.value.item() if self.value.ndim == 0 else self.value.tolist()
        return f"Param({shown!r}, name={self.name!r})"


def value_of(given: Any) -> Any:
    """What a `Param` holds at first, or what is given in its place."""
    return given.value if isinstance(given, Param) else given


def array_of(given: Any) -> NDArray[np.float64]:
    """The same as an array."""
    return np.asarray(value_of(given))


def constant_array(value: Any, what: str) -> NDArray[np.float64]:
    """Finite real float64 array of ``value``, or `BadNode`."""
    if isinstance(value, float) and math.isfinite(value):
        return np.array(value)  # as it nearly always is
    try:
        array = np.asarray(value)
        if array.dtype.kind not in "iufb":
            raise TypeError(f"dtype {array.dtype}")
        array = array.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise BadNode(
            f"{what} is a real number or an array of them", got=f"{value!r} ({error})"
        ) from error
    if not np.isfinite(array).all():
        raise BadNode(f"{what} is finite", got=repr(value), fix="remove NaN and infinity")
    return array


def _attribute(kind: type[NodeType], name: str, value: Any) -> Any:
    """What attribute ``name`` of an instance becomes."""
    if name in kind.params:
        return value if isinstance(value, Param) else _data(value, kind, name)
    if isinstance(value, Param):
        raise BadNode(
            f"{kind.__name__}.{name} is fixed when the graph is compiled",
            got=repr(value),
            fix=f"give a number, or declare {name!r} in the type's params",
        )
    return value


def _data(value: Any, kind: type[NodeType], name: str) -> Any:
    """Attribute ``name`` of ``params``: an int where it says so, else a float or an array."""
    if isinstance(value, int):
        notes = [inspect.get_annotations(base).get(name) for base in kind.__mro__]
        if next(note for note in notes if note) in {"int", int}:
            return value
    array = constant_array(value, f"{kind.__name__}.{name}")
    if not array.ndim:
        return float(array)
    array.setflags(write=False)
    return array


def _check_declaration(cls: type[NodeType]) -> None:
    """Refuse a class that declares what no node type can have."""
    name = cls.__name__
    for words in ("inlets", "outlets", "params"):
        if not isinstance(getattr(cls, words), tuple):
            raise BadNode(
                f"{name}.{words} is a tuple",
                got=repr(getattr(cls, words)),
                fix=f"write {words} = (one,) with a comma",
            )
    if wrong := [inlet for inlet in cls.inlets if not isinstance(inlet, Inlet)]:
        raise BadNode(
            f"{name}.inlets is a tuple of amp.Inlet",
            got=repr(wrong[0]),
            fix=f"write amp.Inlet({wrong[0]!r})",
        )
    if unknown := set(cls.params) - cls.attrs.keys():
        raise BadNode(
            f"{name}.params names attributes of the class",
            expected=", ".join(cls.attrs) or "an annotated attribute",
            got=", ".join(sorted(unknown)),
        )
    ports = [inlet.name for inlet in cls.inlets]
    for some in ([*ports, *cls.attrs], cls.outlets):
        if bad := [word for word in some if not is_word(word) or list(some).count(word) > 1]:
            raise BadNode(
                f"inlets and attributes of {name}, and its outlets, have names of their own, as in "
                "Python",
                got=repr(bad[0]),
            )
    members = {word for word in dir(NodeType) if word not in _PLAIN} | {"key", "given"}
    if taken := sorted(members & cls.attrs.keys()):
        raise BadNode(
            f"an attribute of {name} is not called like a member of every node type",
            got=", ".join(taken),
            fix="choose another name",
        )
    if cls.channels not in {"each", "all"}:
        raise BadNode(f"{name}.channels is 'each' or 'all'", got=repr(cls.channels))
    if not isinstance(cls.processing_delay, int) or cls.processing_delay < 0:
        raise BadNode(
            f"{name}.processing_delay is a whole number of frames", got=repr(cls.processing_delay)
        )


_PLAIN = {"inlets", "outlets", "channels"}
"""Members that a type may leave to its instances."""


def is_word(name: object) -> bool:
    """Whether it is a name as in Python."""
    return isinstance(name, str) and name.isidentifier() and not iskeyword(name)


BUILT_IN = "amp.nodes."
NATIVE = "native"
"""Archetype of nodes whose kernel is a function of the user's."""
REGISTRY: dict[str, type[NodeType]] = {}
"""Every node type by its class name."""


class NodeType:
    """Base of all node types. A subclass gives a docstring with its difference equation, and:

    Attributes
    ----------
    inlets, outlets
        Ports in order.
    params
        Names of attributes that are data, not code: per-lane numbers (a seed, a start phase) or
        arrays (a matrix). Nodes that differ in them alone share a kernel.
    channels
        ``"each"``: ``forward`` computes one channel, and inlets broadcast like NumPy.
        ``"all"``: ``forward`` gets and returns lists with one value per channel.
    processing_delay
        Frames from a token read to the token written that answers it.
    is_sum
        ``forward`` adds up its variadic inlet and does nothing else.
    archetype
        Name of a prebuilt kernel that computes the same bits on whole blocks, of which `sizes` says how
        large they are; or all there is, without a ``forward``. ``native`` is a function of the user's.
    router
        Name of the native process that moves its tokens, for the node types whose rates depend on
        data; they have no ``forward``.
    border
        ``"input"``, ``"output"`` or ``"probe"`` for the node types that touch the caller's arrays.
    backward
        It is of a backward pass, and fires from the last frame back.
    not_differentiable
        Why it has no derivative, if that is so: a backward pass through it is refused in these words.
    thermal
        Thermal constants of nodes that are not given their own.
    dissipates
        ``forward`` says what power heats the node (`Trace.dissipate`); its inlets do not.

    Annotated class attributes are the node's attrs (fixed at compile time), in the order of the
    constructor's arguments. The constructor also takes constants for inlets, by name.

    Examples
    --------
    >>> from amp import nodes
    >>> nodes.StateVariable("highpass", q=2.0)
    StateVariable(mode='highpass', q=2.0)
    """

    inlets: ClassVar[tuple[Inlet, ...]] = ()
    outlets: ClassVar[tuple[str, ...]] = ("out",)
    params: ClassVar[tuple[str, ...]] = ()
    channels: ClassVar[Literal["each", "all"]] = "each"
    processing_delay: ClassVar[int] = 0
    is_sum: ClassVar[bool] = False
    archetype: ClassVar[str] = ""
    router: ClassVar[Literal["", "switch", "select", "trigger", "sample"]] = ""
    border: ClassVar[Literal["", "input", "output", "probe"]] = ""
    backward: ClassVar[bool] = False
    not_differentiable: ClassVar[str] = ""
    thermal: ClassVar[Thermal] = USUAL
    dissipates: ClassVar[bool] = False
    attrs: ClassVar[dict[str, Any]]

    key: tuple[object, ...]
    given: dict[str, Any]

    def __init_subclass__(cls, *, register: bool = True) -> None:
        inherited = getattr(cls, "attrs", {})
        own = {
            name: cls.__dict__.get(name, inspect.Parameter.empty)
            for name, note in inspect.get_annotations(cls).items()
            if "ClassVar" not in str(note)
        }
        cls.attrs = {**inherited, **own}
        _check_declaration(cls)
        kinds = inspect.Parameter
        attrs = [kinds(n, kinds.POSITIONAL_OR_KEYWORD, default=d) for n, d in cls.attrs.items()]
        fixed = [inlet for inlet in cls.inlets if not inlet.variadic]
        inlets = [kinds(i.name, kinds.KEYWORD_ONLY, default=i.default) for i in fixed]
        cls.__signature__ = inspect.Signature(attrs + inlets)  # type: ignore[attr-defined]
        if not register:
            return
        known = REGISTRY.get(cls.__name__, cls)
        if known.__module__.startswith(BUILT_IN) and known.__module__ != cls.__module__:
            raise BadNode(
                f"{cls.__name__!r} is the name of a built-in node type", fix="choose another name"
            )
        REGISTRY[cls.__name__] = cls

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kind = type(self)
        names = list(kind.attrs)
        if len(args) > len(names):
            raise BadNode(
                f"{kind.__name__} takes at most {len(names)} positional attributes {names}",
                got=f"{len(args)}",
                fix="give inlets by name",
            )
        values = dict(zip(names, args, strict=False))
        inlets = {inlet.name for inlet in kind.inlets}
        given = {}
        for name, value in kwargs.items():
            if name in kind.attrs and name not in values:
                values[name] = value
            elif name in inlets:
                given[name] = value
            else:
                raise BadNode(
                    f"{kind.__name__} has no attribute or inlet {name!r}"
                    if name not in values
                    else f"{kind.__name__} got {name!r} twice",
                    expected=f"attributes {names}, inlets {sorted(inlets)}",
                )
        fields = self.__dict__
        fields["given"] = given
        for name, default in kind.attrs.items():
            value = values.get(name, default)
            if value is inspect.Parameter.empty:
                raise BadNode(f"{kind.__name__} needs the attribute {name!r}")
            value = _attribute(kind, name, self.meant(name, value))
            fields[name] = value
        self.check()
        fields["key"] = (
            kind,
            *(
                np.shape(fields[n].value if isinstance(fields[n], Param) else fields[n])
                if n in kind.params
                else fields[n]
                for n in names
            ),
        )
        try:
            hash(self.key)
        except TypeError:
            raise BadNode(
                f"an attribute of {kind.__name__} is a hashable constant",
                got=repr({n: fields[n] for n in names}),
                fix="use numbers, strings or tuples, or declare it in params",
            ) from None

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen: cannot set {name!r}")

    def __repr__(self) -> str:
        words = [f"{n}={getattr(self, n)!r}" for n in type(self).attrs]
        words += [f"{n}={v!r}" for n, v in self.given.items()]
        return f"{type(self).__name__}({', '.join(words)})"

    def meant(self, name: str, value: Any) -> Any:
        """What ``value`` stands for as attribute ``name``, such as an array's name for the array; the
        attributes before it are set, and none is checked."""
        return value

    def check(self) -> None:
        """Raise `amp.errors.BadNode` if an attribute is outside its range."""

    def rate(self, port: str) -> int | tuple[int, ...]:
        """Tokens per firing of an inlet that reads a stream, or of an outlet; a tuple has one count
        for each firing of a cycle, and zeros are allowed."""
        return 1

    def counts(self, port: str) -> tuple[int, ...]:
        """The rate of ``port`` as tokens of each firing of a cycle.

        Raises
        ------
        BadNode
            For a rate that is none.
        """
        return as_counts(self.rate(port), f"{type(self).__name__}.{port}")

    @property
    def phases(self) -> int:
        """Firings after which the rates of all ports begin again."""
        ports = [*[inlet.name for inlet in type(self).inlets], *type(self).outlets]
        return max((len(self.counts(port)) for port in ports), default=1)

    def check_rates(self) -> None:
        """Raise `amp.errors.BadNode` if the rates of the ports are none, or have no common cycle."""
        kind, phases = type(self), self.phases
        ports = [*[inlet.name for inlet in kind.inlets], *kind.outlets]
        cycles = {port: self.counts(port) for port in ports}
        if any(phases % len(counts) for counts in cycles.values()):
            raise BadNode(
                f"the rates of {kind.__name__} have one cycle, or an even part of it",
                expected=f"as many counts as a divisor of {phases}",
                got=", ".join(f"{port}: {counts}" for port, counts in cycles.items()),
            )
        if phases > 1 and (self.spread > 1 or self.is_sum or self.archetype):
            raise BadNode(
                f"{kind.__name__} is spread over lanes, a sum or prebuilt, and has one rate a port",
                got=", ".join(f"{port}: {counts}" for port, counts in cycles.items()),
            )

    def skips(self, port: str) -> int:
        """Tokens that the edges of an inlet lose before the first firing."""
        return 0

    @property
    def spread(self) -> int:
        """Lanes of each outlet channel: lane i writes token i of a firing. Above 1, it is the rate."""
        return 1

    def takes(self, widths: list[int]) -> list[Take]:
        """For a node that rearranges: where what ``forward`` gets comes from, one entry per value.

        ``widths`` are the channels of its edges. ``forward`` then sees one channel at a time.
        """
        return []

    def out_channels(self, widths: dict[str, int]) -> int:
        """Channels of the outlets, given the channels of each connected inlet."""
        return max(widths.values(), default=1)

    def sizes(self, widths: dict[str, int]) -> tuple[int, ...]:
        """What its archetype is told, in the order of the manifest's row; ``widths`` are the channels of
        each inlet that a call sees."""
        return ()

    @classmethod
    def has_forward(cls) -> bool:
        """It can be traced into IR."""
        return cls.forward is not NodeType.forward

    def forward(self, b: Trace, /, *inlets: Any) -> Any:
        """Next value of each outlet (a tuple if there are several), in IR operations."""
        raise NotImplementedError(f"{type(self).__name__} has no forward")

    def reference(self, *args: Any, **kwargs: Any) -> Any:
        """The same in NumPy, for tests only: ``reference(sample_rate, frames, **inlets)``.

        Inlets and result are ``(batch, channel, frame)``; a node without inlets gives batch 1.
        """
        raise NotImplementedError(f"{type(self).__name__} has no reference")

    @classmethod
    def samples(cls) -> Iterator[NodeType]:
        """Instances that the laws in ``tests/laws`` are asked of."""
        yield cls()

    @classmethod
    def refuses(cls) -> Iterator[tuple[dict[str, Any], str]]:
        """Constructor arguments that raise `BadNode`, with words of its message."""
        yield from ()

    def whole(self, name: str, low: int, high: int) -> None:
        """Raise unless attribute ``name`` is a whole number in a range."""
        value = getattr(self, name)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise BadNode(
                f"{type(self).__name__}.{name} is a whole number from {low} to {high}",
                got=repr(value),
            )

    def columns(self, name: str, count: int, widths: dict[str, int]) -> None:
        """Raise unless ``input`` has as many channels as the array ``name`` has columns."""
        if widths.get("input", 1) != count:
            raise BadNode(
                f"{name} has a column for each input channel",
                expected=f"{count} channel(s)",
                got=str(widths.get("input", 1)),
            )

    def one_of(self, name: str, choices: tuple[object, ...]) -> None:
        """Raise unless attribute ``name`` is one of ``choices``."""
        value = getattr(self, name)
        if value not in choices:
            raise BadNode(
                f"{type(self).__name__}.{name} is one of {', '.join(map(repr, choices))}",
                got=repr(value),
            )


class Trace(Builder):
    """What ``forward`` builds with: arithmetic from `amp.ir.Builder`, and the node's own memory.

    The compiler calls `enter` before each node of a kernel, so that states, params and lines of
    different nodes stay apart.
    """

    def __init__(self, sample_rate: float) -> None:
        super().__init__(sample_rate)
        self.states: dict[str, Value] = {}
        self.nexts: dict[str, Value] = {}
        self.inits: dict[str, float | int | str] = {}
        self.line_lengths: dict[str, int] = {}
        self.slots: dict[str, Value] = {}
        self.totals: dict[str, Value] = {}
        self.heats: dict[str, list[Value]] = {}
        self._scope = self._slots = ""
        self._node: NodeType | None = None

    def enter(self, scope: str, node: NodeType, slots: str = "") -> None:
        """Start tracing ``node``; ``scope`` is a prefix that no other node of the kernel has, ``slots`` that
        of one that is given the same numbers."""
        self._scope, self._slots, self._node = scope, slots or scope, node

    def dissipate(self, root: Value) -> None:
        """Heat the node by the square of ``root`` [W], in a node type that ``dissipates``. Several roots
        add up their squares."""
        self.heats.setdefault(self._scope, []).append(root)

    def slot(self, name: str, *, integer: bool = False) -> Value:
        """Per-lane number that the program supplies, constant in a block."""
        full = f"{self._slots}.{name}"
        value = self.emit("iparam" if integer else "param", attribute=full)
        self.slots[full] = value
        return value

    def param(self, name: str) -> Any:
        """Attribute ``name`` (declared in ``params``) as a value, or nested lists of values."""
        value = getattr(self._node, name)
        shape = array_of(value).shape
        if not shape:
            return self.slot(name, integer=isinstance(value, int))
        return _nest(shape, lambda index: self.slot(f"{name}[{','.join(map(str, index))}]"))

    def state(self, name: str, initial: float | str = 0.0) -> Value:
        """Value that `next` left at the previous frame; ``initial`` (or that param) at first."""
        return self._state("state", name, initial)

    def istate(self, name: str, initial: int | str = 0) -> Value:
        """The same for 64-bit integers."""
        return self._state("istate", name, initial)

    def tstate(self, name: str, initial: float | str = 0.0) -> Value:
        """The same for turns; ``initial`` is in cycles."""
        return self._state("tstate", name, initial)

    def _state(self, op: str, name: str, initial: float | str) -> Value:
        full = f"{self._scope}.{name}"
        value = self.emit(op, attribute=full)
        self.states[full] = value
        self.inits[full] = initial
        return value

    def next(self, name: str, value: Value | float) -> None:
        """Set what `state` gives at the next frame."""
        full = f"{self._scope}.{name}"
        if full not in self.states or full in self.nexts:
            raise BadNode(
                f"{type(self._node).__name__}.forward sets each of its states once", got=name
            )
        self.nexts[full] = self._lift(value, self.states[full].type)

    def total(self, name: str, value: Value | float) -> None:
        """Give a number that is computed once, when all frames have been: of states and of what does not
        vary."""
        self.totals[f"{self._scope}.{name}"] = self.value(value)

    def line(self, name: str, value: Value, length: int) -> Value:
        """Write ``value`` into a delay line that `tap` reads up to ``length`` frames later."""
        full = f"{self._scope}.{name}"
        self.line_lengths[full] = length
        return self.emit("line", value, attribute=full)

    def tap(self, line: Value, frames: Value | int) -> Value:
        """Value written ``frames`` ago (0 is this frame's).

        A constant outside of the line's length is refused; keeping a value inside it (`clip`) is
        the caller's part.
        """
        value = self._lift(frames, "i64")
        length = self.line_lengths[str(line.attribute)]
        if value.op == "iconst" and not 0 <= int(str(value.attribute)) <= length:
            raise BadNode(
                "a tap reads within its line",
                expected=f"0 to {length} frames",
                got=str(value.attribute),
            )
        return self.emit("tap", line, value)

    def table(self, numbers: NDArray[np.float64]) -> Value:
        """Numbers that never change, which are part of the code; `look` reads them."""
        return self.emit("table", attribute=table_text(numbers))

    def look(self, table: Value, place: Value) -> Value:
        """The number at a ``place`` of a table; keeping that inside it is the caller's part."""
        return self.emit("look", table, place)

    def pool(self, name: str, length: int) -> Value:
        """A line turned round, see `amp.ir.ops`: frames put into it for up to ``length`` frames ago."""
        full = f"{self._scope}.{name}"
        self.line_lengths[full] = length
        return self.emit("pool", attribute=full)

    def clock(self) -> Value:
        """Number of frames the node has computed before this one, as an integer."""
        return self.emit("clock")

    def phase(self) -> Value:
        """Which firing of its rates' cycle the node is in, from 0, as an integer.

        It is a state, called ``phase``.
        """
        name = f"{self._scope}.phase"
        if name not in self.states:
            assert self._node is not None
            now = self.istate("phase")
            following = self.emit("iadd", now, self.iconst(1))
            last = self.emit("ieq", following, self.iconst(self._node.phases))
            self.next("phase", self.emit("iselect", last, self.iconst(0), following))
        return self.states[name]

    def lane(self) -> Value:
        """``batch index * channels + channel index``, as an integer."""
        return self.slot("lane", integer=True)


def _nest(shape: tuple[int, ...], leaf: Any, index: tuple[int, ...] = ()) -> Any:
    if not shape:
        return leaf(index)
    return [_nest(shape[1:], leaf, (*index, i)) for i in range(shape[0])]
