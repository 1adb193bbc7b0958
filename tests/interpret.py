"""The meaning of IR in NumPy: what emitted code is compared with. Never imported by amp.

A frame is evaluated value by value over arrays of lanes, each operation rounded once as IEEE 754
says; the elementary functions are NumPy's.
"""

from __future__ import annotations

import ctypes
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from bits import flushed

from amp.ir import table_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from amp.ir import Kernel, Value

Array = npt.NDArray[Any]

_libm_fma = ctypes.CDLL(None).fma
_libm_fma.restype = ctypes.c_double
_libm_fma.argtypes = (ctypes.c_double,) * 3
_fma = np.frompyfunc(_libm_fma, 3, 1)


def fma(a: Array, b: Array, c: Array) -> Array:
    """a * b + c with one rounding, by the C library, element by element."""
    return np.asarray(_fma(a, b, c), np.float64)


def to_int(x: Array) -> Array:
    """Toward zero, saturating; NaN gives 0."""
    inside = (x >= -(2.0**63)) & (x < 2.0**63)
    ends = np.where(x > 0, np.int64(2**63 - 1), np.int64(-(2**63)))
    return np.where(
        inside, np.where(inside, x, 0.0).astype(np.int64), np.where(np.isnan(x), 0, ends)
    )


def _shift(direction: Callable[[Array, Array], Array]) -> Callable[[Array, Array], Array]:
    return lambda x, n: direction(x.view(np.uint64), n.view(np.uint64)).view(np.int64)


def turns(cycles: Array) -> Array:
    """Multiples of 2^-64 nearest to numbers of cycles, modulo 1, by exact arithmetic."""
    exact = [round(Fraction(float(x)) * 2**64) for x in cycles]
    return np.array([(n + 2**63) % 2**64 - 2**63 for n in exact], np.int64)


def to_turn(x: Array, per: Array) -> Array:
    """Nearest multiple of 2^-64 to ``x / per``, in two roundings: to 2^-32, then of the remainder."""
    coarse, fine = np.array(1.5 * 2.0**20), np.array(1.5 * 2.0**-12)
    high = fma(x, 1.0 / per, coarse)
    low = fma(fma(coarse - high, per, x), 1.0 / per, fine)
    return (high.view(np.int64) << 32) + (low.view(np.int64) - fine.view(np.int64))


def from_turn(n: Array, scale: Array, plus: Array) -> Array:
    """Upper 52 bits of 64, signed, in units of 2^-52, times ``scale``, and ``plus``."""
    number = 3.0 + np.ldexp((n >> 12).astype(np.float64), -51)
    return fma(number, flushed(0.5 * scale), flushed(fma(np.array(-1.5), scale, plus)))


MEANING: dict[str, Callable[..., Any]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "fma": fma,
    "neg": np.negative,
    "abs": np.abs,
    "min": lambda a, b: np.where(a < b, a, b),
    "max": lambda a, b: np.where(a > b, a, b),
    "floor": np.floor,
    "sqrt": np.sqrt,
    "as_if": lambda a, _: a,
    "exp": np.exp,
    "log": np.log,
    "sin": np.sin,
    "cos": np.cos,
    "tan": np.tan,
    "tanh": np.tanh,
    "lt": np.less,
    "le": np.less_equal,
    "eq": np.equal,
    "and": np.logical_and,
    "or": np.logical_or,
    "not": np.logical_not,
    "select": np.where,
    "iadd": np.add,
    "isub": np.subtract,
    "imul": np.multiply,
    "iand": np.bitwise_and,
    "ior": np.bitwise_or,
    "ixor": np.bitwise_xor,
    "ishl": _shift(np.left_shift),
    "ishr": _shift(np.right_shift),
    "iselect": np.where,
    "ilt": np.less,
    "ieq": np.equal,
    "to_int": to_int,
    "to_float": lambda n: n.astype(np.float64),
    "bits": lambda x: x.view(np.int64),
    "from_bits": lambda n: n.view(np.float64),
    "to_turn": to_turn,
    "tadd": np.add,
    "from_turn": from_turn,
}
"""Every operation whose result depends on its operands alone."""

FLUSHES = {"add", "sub", "mul", "div", "fma", "min", "max", "sqrt"}
"""Arithmetic, of which a run makes a denormal result 0, on the way to others too."""

_DTYPE = {"f64": np.float64, "i64": np.int64, "i1": np.bool_, "turn": np.int64}


def evaluate(
    values: Iterable[Value],
    access: Mapping[str, Callable[..., Any]],
    known: Mapping[Value, Array] | None = None,
    *,
    flush: bool = False,
) -> dict[Value, Array]:
    """Result of each value for one frame.

    Parameters
    ----------
    values
        In SSA order.
    access
        For each operation that is not in `MEANING` (``inlet``, ``state``, ``line``, ...): a
        function of the attribute and the operands. ``const``, ``iconst`` and tables are known.
    known
        Results of values that are not in ``values``, such as those that never change.
    flush
        Make denormal results of arithmetic 0, as inside a run.
    """
    results: dict[Value, Any] = dict(known or {})
    with np.errstate(all="ignore"):
        for value in values:
            operands = [results[operand] for operand in value.operands]
            if value.op in MEANING:
                result = MEANING[value.op](*operands)
                if flush and value.op in FLUSHES:
                    result = flushed(result)
            elif value.op in {"const", "iconst"}:
                result = value.attribute
            elif value.op == "table":
                result = np.frombuffer(table_bytes(str(value.attribute)))
            elif value.op == "look":
                result = operands[0][operands[1]]
            else:
                result = access[value.op](value.attribute, *operands)
            if value.type not in {
                "line",
                "table",
            }:  # arrays, never scalars: those check for integer overflow
                result = np.asarray(result, _DTYPE[value.type])
                if not result.ndim:
                    result = result.reshape(1)
            results[value] = result
    return results


def interpret(
    kernel: Kernel,
    inlets: Mapping[tuple[int, int], npt.ArrayLike],
    *,
    params: Mapping[str, npt.ArrayLike] | None = None,
    states: Mapping[str, npt.ArrayLike] | None = None,
    frames: int | None = None,
) -> tuple[dict[tuple[int, int], Array], dict[str, Array]]:
    """Run ``kernel`` from clock 0: what each plane of each outlet gets, and the last states.

    Parameters
    ----------
    kernel
        Any valid kernel.
    inlets
        By ``(port, plane)``: an array of shape ``(lanes, frames)``, or ``(frames,)`` for one lane.
    params
        By name: a number, or one for each lane.
    states
        By name: the initial value, 0 if it is not given. Delay lines start as zeros.
    frames
        Needed only if there are no inlets.

    Returns
    -------
    outlets, states
        Outlets by ``(port, plane)``, of shape ``(lanes, frames)``; members of a ``sum`` port are
        not added. Last states by name, one for each lane.

    Examples
    --------
    >>> from amp.ir import parse_kernel
    >>> integrator = parse_kernel('''in 0 aligned 1
    ... out 0 ring 1
    ... state s f64
    ... %0 = inlet 0.0
    ... %1 = state s
    ... %2 = add %0 %1
    ... next s %2
    ... store 0.0 %2''')
    >>> outlets, states = interpret(integrator, {(0, 0): [1.0, 2.0, 3.0]})
    >>> outlets[0, 0].tolist(), states["s"].tolist()
    ([[1.0, 3.0, 6.0]], [6.0])
    """
    streams = {place: np.asarray(array, np.float64) for place, array in inlets.items()}
    frames = next(iter(streams.values())).shape[-1] if frames is None else frames
    params = params or {}
    now: dict[str, Any] = {slot.name: 0 for slot in kernel.states} | dict(states or {})
    written: dict[str, list[Array]] = {name: [] for name in kernel.lines}
    tokens: dict[tuple[int, int], list[Array]] = {
        (port, plane): []
        for port, planes in enumerate(kernel.stores)
        for plane in range(len(planes))
    }

    def write(name: str, x: Array) -> list[Array]:
        written[name].append(x)
        return written[name]

    def tap(_: None, line: list[Array], delays: Array) -> Array:
        lanes = np.broadcast_shapes(delays.shape, line[-1].shape)
        past = np.stack([np.broadcast_to(x, lanes) for x in reversed(line)])
        delays = np.broadcast_to(delays, lanes)
        known = np.clip(delays, 0, len(line) - 1)
        return np.where(
            delays < len(line), np.take_along_axis(past, known[np.newaxis], axis=0)[0], 0.0
        )

    access: dict[str, Callable[..., Any]] = {
        "param": params.__getitem__,
        "iparam": params.__getitem__,
        "state": now.__getitem__,
        "istate": now.__getitem__,
        "tstate": now.__getitem__,
        "line": write,
        "tap": tap,
    }
    for frame in range(frames):
        access["inlet"] = lambda place, frame=frame: streams[place][..., frame]
        access["clock"] = lambda _, frame=frame: frame
        results = evaluate(kernel.values, access)
        for slot, value in zip(kernel.states, kernel.nexts, strict=True):
            now[slot.name] = results[value]
        for (port, plane), out in tokens.items():
            out.append(results[kernel.stores[port][plane]])
    outlets = {place: np.stack(np.broadcast_arrays(*out), axis=-1) for place, out in tokens.items()}
    return outlets, {name: np.atleast_1d(value) for name, value in now.items()}
