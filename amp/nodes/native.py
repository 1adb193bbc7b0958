"""A node whose kernel is a function that the user compiled with numba."""

from __future__ import annotations

import ctypes
import functools
import math
import sys
from collections.abc import Mapping
from types import new_class
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np

from amp.contract import NATIVE, Inlet, NodeType, is_word
from amp.errors import BadNode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

MAX_CHANNELS = 4096
MAX_STATES = 4096

_PLANES, _NUMBERS = "CPointer(CPointer(float64))", "CPointer(float64)"


class Native(NodeType):
    """A block of frames computed by a function of one's own, compiled by ``numba.cfunc``::

        (y[0 .. n-1], s') = kernel(x[0 .. n-1], s)

    It is called by address from native code, without Python and without the GIL, in both engines.
    Its signature is `signature`, for which ``@numba.cfunc(nodes.Native.signature)`` stands; in C::

        void kernel(const double* const* inputs, double* const* outputs, const int64_t* channels,
                    double* state, int64_t frames, double sample_rate)

    =============== =========================================================================
    ``inputs[i]``   inlet i, ``(channels[i], frames)`` numbers, frames side by side. An inlet
                    with a constant holds it in every frame.
    ``outputs[j]``  outlet j, ``(channels[number of inlets + j], frames)``; write every number.
    ``channels``    channels of each inlet, then of each outlet.
    ``state``       the numbers of `state`, in its order; what the last call left there.
    ``frames``      at least 1, and as many as the engine likes: 64 in one call or 1 in 64.
    ``sample_rate`` at which the node fires [Hz]: that of the graph, but behind other rates.
    =============== =========================================================================

    With ``channels="each"`` there is a call for each channel of each batch of each node, with
    ``channels[...] == 1`` and a state of its own. With ``"all"`` there is one for each batch, which sees
    all channels; a stream of one channel stays one. Calls of different nodes may come from different
    threads. What is not in ``state`` must not be remembered, and how many frames a call has must not be
    heard: then the samples are the same in every schedule. Inputs are not written, outputs do not
    overlap them, and nothing is kept of a pointer. Denormals are flushed to zero.

    Parameters
    ----------
    kernel
        The function.
    adjoint
        The function that is its adjoint, of signature `adjoint_signature`; in C::

            void adjoint(const double* const* inputs, const double* const* output_cotangents,
                         double* const* input_cotangents, const int64_t* channels,
                         const double* state, double* state_cotangent,
                         int64_t frames, double sample_rate)

        ``inputs``, ``channels``, ``frames`` and ``sample_rate`` are those of the kernel's call, ``state``
        is what it began with. ``output_cotangents[j]`` has the shape of ``outputs[j]``, and
        ``input_cotangents[i]``, which it writes, that of ``inputs[i]``. ``state_cotangent`` has that of
        the state after the block, and is to be given that of the state before it. Blocks come last one
        first; the frames of one lie in the order of time, and are walked backwards. Without it there is no
        backward pass through the node.
    state
        Name and initial value of each number that it remembers, at most 4096: a mapping, or a tuple of
        pairs. Snapshots and swaps know them by name.
    inlets, outlets, channels
        As a node type declares them. An inlet takes one stream, or a constant.
    channel_count
        Channels of the outlets with ``channels="all"``; as many as the widest inlet if None.

    Examples
    --------
    >>> import amp
    >>> import numba
    >>> @numba.cfunc(Native.signature)
    ... def leak(inputs, outputs, channels, state, frames, sample_rate):
    ...     x, y = numba.carray(inputs[0], frames), numba.carray(outputs[0], frames)
    ...     for k in range(frames):
    ...         state[0] = x[k] + 0.5 * state[0]
    ...         y[k] = state[0]
    >>> g = amp.Graph()
    >>> g.output("out", g.add(Native(leak, state={"y": 0.0}), g.input("x")))
    >>> amp.compile(g).run({"x": np.ones((1, 1, 4))})["out"]
    array([[[1.   , 1.5  , 1.75 , 1.875]]])
    """

    kernel: Any
    adjoint: Any = None
    state: tuple[tuple[str, float], ...] = ()
    inlets: tuple[Inlet, ...] = (Inlet("input"),)  # type: ignore[misc]  # of each instance
    outlets: tuple[str, ...] = ("out",)  # type: ignore[misc]
    channels: Literal["each", "all"] = "each"  # type: ignore[misc]
    channel_count: int | None = None

    archetype = NATIVE
    signature: ClassVar[str] = (
        f"void({_PLANES}, {_PLANES}, CPointer(int64), {_NUMBERS}, int64, float64)"
    )
    adjoint_signature: ClassVar[str] = (
        f"void({_PLANES}, {_PLANES}, {_PLANES}, CPointer(int64), {_NUMBERS}, {_NUMBERS}, int64, "
        "float64)"
    )

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        values = dict(zip(Native.attrs, args, strict=False)) | kwargs
        declared = [values.get(n, Native.attrs[n]) for n in ("inlets", "outlets", "channels")]
        try:
            kind: Any = _declared(*declared)
        except TypeError:
            raise BadNode(
                "Native.inlets and Native.outlets are tuples, and Native.channels is a word",
                got=repr(declared),
            ) from None
        made: Self = object.__new__(kind)
        return made

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if isinstance(given := kwargs.get("state"), Mapping):
            kwargs["state"] = tuple(given.items())
        super().__init__(*args, **kwargs)

    @property
    def address(self) -> int:
        """Where the kernel's machine code starts."""
        return int(self.kernel.address)

    def check(self) -> None:
        _check_function("kernel", self.kernel, self.signature)
        if self.adjoint is not None:
            _check_function("adjoint", self.adjoint, self.adjoint_signature)
        _check_state(self.state)
        if any(inlet.variadic or inlet.optional for inlet in self.inlets):
            raise BadNode(
                "an inlet of Native is a stream or a number",
                got="one that is variadic or optional",
                fix="give it a default",
            )
        if taken := [i.name for i in self.inlets if hasattr(Native, i.name) or i.name == "lane"]:
            raise BadNode("an inlet of Native has a name of its own", got=repr(taken[0]))
        if not self.outlets:
            raise BadNode("Native has at least one outlet", got="none")
        if self.channel_count is not None:
            self.whole("channel_count", 1, MAX_CHANNELS)
            if self.channels == "each":
                raise BadNode(
                    "Native.channel_count is of a kernel that sees all channels",
                    got=repr(self.channel_count),
                    fix="channels='all'",
                )

    def out_channels(self, widths: dict[str, int]) -> int:
        return self.channel_count or max(widths.values(), default=1)

    def __repr__(self) -> str:
        shown = [repr(self.kernel)]
        for name, default in list(Native.attrs.items())[1:]:
            if getattr(self, name) != default:
                shown.append(f"{name}={getattr(self, name)!r}")
        return f"Native({', '.join(shown)})"

    def reference(self, sample_rate: float, frames: int, **given: NDArray[np.float64]) -> Any:
        """One call for each lane, with all frames."""
        blocks = [np.ascontiguousarray(given[inlet.name], np.float64) for inlet in self.inlets]
        widths = {i.name: block.shape[1] for i, block in zip(self.inlets, blocks, strict=True)}
        batch, count = len(blocks[0]) if blocks else 1, self.out_channels(widths)
        made = [np.empty((batch, count, frames)) for _ in self.outlets]
        whole = self.channels == "all"
        for number in range(batch):
            for channel in (
                [slice(None)] if whole else map(slice, range(count), range(1, count + 1))
            ):
                own = [b[number, channel if whole or b.shape[1] > 1 else slice(1)] for b in blocks]
                ends = [*own, *[array[number, channel] for array in made]]
                self._call(ends, len(own), frames, sample_rate)
        return tuple(made) if len(made) > 1 else made[0]

    def _call(
        self, ends: list[NDArray[np.float64]], inlets: int, frames: int, sample_rate: float
    ) -> None:
        """Call the kernel from a fresh state on the arrays of its inlets and outlets."""
        numbers = ctypes.POINTER(ctypes.c_double)
        planes = [end.ctypes.data_as(numbers) for end in ends]
        inputs, outputs = planes[:inlets], planes[inlets:]
        self.kernel.ctypes(
            (numbers * max(len(inputs), 1))(*inputs),
            (numbers * len(outputs))(*outputs),
            (ctypes.c_int64 * len(ends))(*[len(end) for end in ends]),
            (ctypes.c_double * max(len(self.state), 1))(*[initial for _, initial in self.state]),
            frames,
            sample_rate,
        )

    @classmethod
    def samples(cls) -> Iterator[NodeType]:
        yield cls._leak()
        yield cls._rotate()

    @classmethod
    def _leak(cls) -> Native:
        """A sum that leaks, with an inlet that says how fast."""
        import numba

        @numba.cfunc(cls.signature)
        def leak(  # type: ignore[no-untyped-def]
            inputs, outputs, channels, state, frames, sample_rate
        ):
            x, c = numba.carray(inputs[0], frames), numba.carray(inputs[1], frames)
            y = numba.carray(outputs[0], frames)
            for k in range(frames):
                state[1] = state[0]
                state[0] = x[k] + c[k] * state[0]
                y[k] = state[0] - 0.25 * state[1]

        @numba.cfunc(cls.adjoint_signature)
        def leak_adjoint(  # type: ignore[no-untyped-def]
            inputs, d_outputs, d_inputs, channels, state, d_state, frames, sample_rate
        ):
            x, c = numba.carray(inputs[0], frames), numba.carray(inputs[1], frames)
            dy = numba.carray(d_outputs[0], frames)
            dx, dc = numba.carray(d_inputs[0], frames), numba.carray(d_inputs[1], frames)
            before, s = np.empty(frames), state[0]
            for k in range(frames):
                before[k] = s
                s = x[k] + c[k] * s
            for k in range(frames - 1, -1, -1):
                dx[k] = d_state[0] + dy[k]
                dc[k] = dx[k] * before[k]
                d_state[0] = c[k] * dx[k] + d_state[1] - 0.25 * dy[k]
                d_state[1] = 0.0

        ports = (Inlet("input"), Inlet("decay", default=0.5, low=-0.9, high=0.9))
        return cls(leak, leak_adjoint, state={"y": 0.5, "before": 0.0}, inlets=ports)

    @classmethod
    def _rotate(cls) -> Native:
        """Channels in other places."""
        import numba

        @numba.cfunc(cls.signature)
        def rotate(  # type: ignore[no-untyped-def]
            inputs, outputs, channels, state, frames, sample_rate
        ):
            count = channels[0]
            x = numba.carray(inputs[0], (count, frames))
            for j in range(2):
                y = numba.carray(outputs[j], (count, frames))
                for c in range(count):
                    for k in range(frames):
                        y[c, k] = x[(c + 1 + j) % count, k]

        @numba.cfunc(cls.adjoint_signature)
        def rotate_adjoint(  # type: ignore[no-untyped-def]
            inputs, d_outputs, d_inputs, channels, state, d_state, frames, sample_rate
        ):
            count = channels[0]
            dx = numba.carray(d_inputs[0], (count, frames))
            once = numba.carray(d_outputs[0], (count, frames))
            twice = numba.carray(d_outputs[1], (count, frames))
            for c in range(count):
                for k in range(frames):
                    dx[c, k] = once[(c - 1) % count, k] + twice[(c - 2) % count, k]

        return cls(rotate, rotate_adjoint, outlets=("once", "twice"), channels="all")

    @classmethod
    def refuses(cls) -> Iterator[tuple[dict[str, Any], str]]:
        kernel = next(cls.samples()).kernel  # type: ignore[attr-defined]
        yield {}, "Native needs the attribute 'kernel'"
        yield {"kernel": abs}, "Native.kernel is a numba.cfunc"
        yield {"kernel": kernel, "adjoint": kernel}, "Native.adjoint has the signature"
        yield {"kernel": kernel, "state": {"s": math.nan}}, "a name and a finite number"
        yield {"kernel": kernel, "state": (("s", 0.0), ("s", 1.0))}, "a name of its own"
        yield {"kernel": kernel, "inlets": (Inlet("x", variadic=True),)}, "a stream or a number"
        yield {"kernel": kernel, "inlets": ("x",)}, "tuple of amp.Inlet"
        yield {"kernel": kernel, "inlets": [Inlet("x")]}, "are tuples"
        yield {"kernel": kernel, "inlets": (Inlet("address"),)}, "a name of its own"
        yield {"kernel": kernel, "outlets": ()}, "at least one outlet"
        yield {"kernel": kernel, "outlets": ("a", "a")}, "names of their own"
        yield {"kernel": kernel, "channels": "some"}, "'each' or 'all'"
        yield {"kernel": kernel, "channel_count": 2}, "a kernel that sees all channels"


@functools.cache
def _declared(inlets: tuple[Inlet, ...], outlets: tuple[str, ...], channels: str) -> type[Native]:
    """The node type of all instances that declare the same ports."""
    body = {"inlets": inlets, "outlets": outlets, "channels": channels, "__module__": __name__}
    return new_class("Native", (Native,), {"register": False}, lambda space: space.update(body))


def _check_function(name: str, function: Any, signature: str) -> None:
    """Refuse what is no ``numba.cfunc``, or one of another signature."""
    numba = sys.modules.get("numba")  # whoever has made one has loaded it
    if numba is None or not isinstance(function, numba.core.ccallback.CFunc):
        raise BadNode(
            f"Native.{name} is a numba.cfunc",
            got=repr(function),
            fix=f"decorate it with @numba.cfunc(nodes.Native.{_WORDS[name]})",
        )
    arguments, result = numba.core.sigutils.normalize_signature(signature)
    if (function._sig.args, function._sig.return_type) != (arguments, result):
        raise BadNode(
            f"Native.{name} has the signature nodes.Native.{_WORDS[name]}",
            expected=f"{arguments} -> {result}",
            got=str(function._sig),
            fix=f"decorate it with @numba.cfunc(nodes.Native.{_WORDS[name]})",
        )


_WORDS = {"kernel": "signature", "adjoint": "adjoint_signature"}


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _check_state(state: Any) -> None:
    if len(state) > MAX_STATES:
        raise BadNode(f"Native.state has at most {MAX_STATES} numbers", got=str(len(state)))
    names = []
    for pair in state:
        good = isinstance(pair, tuple) and len(pair) == 2
        if not good or not is_word(pair[0]) or not _is_finite(pair[1]):
            raise BadNode(
                "each number of Native.state is a name and a finite number",
                expected="a name as in Python, and what it is at first",
                got=repr(pair),
            )
        names.append(pair[0])
    if len({*names}) < len(names):
        raise BadNode("each number of Native.state has a name of its own", got=repr(names))
