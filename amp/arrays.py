"""Arrays from outside: what a run is given is checked before anything moves."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from amp.errors import BadInput, BadValue

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from amp.frozen import Frozen, Node

    Arrays = dict[str, NDArray[np.float64]]


def check_inputs(
    given: object, frames: Any, inputs: Mapping[str, Node], batch: int
) -> tuple[Arrays, int]:
    """An array for each of the graph's ``inputs``, and the number of frames.

    Raises
    ------
    BadInput
        Naming the input, what it should be, and what it is.
    """
    if not isinstance(given, Mapping):
        name = next(iter(inputs), "x")
        raise BadInput(
            "inputs are arrays by name",
            got=f"{type(given).__name__} of shape {np.shape(given)}"
            if isinstance(given, np.ndarray)
            else repr(type(given)),
            fix=f"run({{{name!r}: array}})",
        )
    if given.keys() != inputs.keys():
        missing = [str(inputs[name]) for name in inputs if name not in given]
        raise BadInput(
            "a run is given each input of the graph",
            expected=str(sorted(inputs)),
            got=str(sorted(given, key=str)),
            where=", ".join(missing),
            fix="give an array of zeros where there is silence" if missing else "",
        )
    arrays = {name: _signal(value, inputs[name], batch) for name, value in given.items()}
    return arrays, _count(arrays, frames)


def _signal(given: ArrayLike, node: Node, batch: int) -> NDArray[np.float64]:
    try:
        array = np.asarray(given)
    except ValueError as error:
        raise BadInput(
            f"input {node.name!r} is a real array", got=str(error), where=str(node)
        ) from None
    if array.dtype.kind not in "iufb":
        raise BadInput(
            f"input {node.name!r} is a real array",
            got=f"dtype {array.dtype}",
            where=str(node),
            fix="convert it to float64",
        )
    expected = (batch, node.channels)
    if array.ndim != 3 or array.shape[:2] != expected:
        raise BadInput(
            f"input {node.name!r} has shape (batch, channel, frame)",
            expected=f"({expected[0]}, {expected[1]}, frames)",
            got=str(array.shape),
            where=str(node),
            fix=f"np.broadcast_to(x, ({batch}, {node.channels}, x.shape[-1])) repeats one signal",
        )
    return np.ascontiguousarray(array, np.float64)


def _count(arrays: Arrays, frames: Any) -> int:
    """The one number of frames that all agree on."""
    counts: dict[str, int] = {name: array.shape[2] for name, array in arrays.items()}
    if frames is not None:
        if isinstance(frames, bool) or not isinstance(frames, int | np.integer):
            raise BadInput("frames is a whole number", got=repr(frames))
        counts["frames="] = int(frames)
    count = next(iter(counts.values()), None)
    if count is None or any(other != count for other in counts.values()):
        raise BadInput(
            "a run has one number of frames",
            got=", ".join(f"{name}: {n}" for name, n in counts.items()) or "none",
            fix="give inputs of equal length" if counts else "say run(frames=n)",
        )
    if not 1 <= count < 1 << 48:
        raise BadInput(
            "a run has at least one frame",
            expected="1 to 2**48 - 1",
            got=f"{count} frames in {', '.join(counts)}",
        )
    return count


def check_cotangents(
    cotangents: Mapping[str, ArrayLike], outputs: Mapping[str, Node], batch: int, count: int
) -> Arrays:
    """Arrays of the outputs' cotangents; zeros where none are given.

    Raises
    ------
    BadInput
        Naming the output, what its array should be, and what it is.
    """
    if not isinstance(cotangents, Mapping) or set(cotangents) - set(outputs):
        raise BadInput(
            "cotangents are arrays by name, of outputs of the graph",
            expected=str(sorted(outputs)),
            got=str(sorted(cotangents, key=str))
            if isinstance(cotangents, Mapping)
            else repr(type(cotangents)),
        )
    arrays = {}
    for name, node in outputs.items():
        shape = (batch, node.channels, count)
        given = cotangents.get(name)
        array = np.zeros(shape) if given is None else np.asarray(given)
        if array.shape != shape or array.dtype.kind not in "iufb":
            raise BadInput(
                f"the cotangent of output {name!r} is a real array of its shape",
                expected=str(shape),
                got=f"{array.dtype} {array.shape}",
                where=str(node),
            )
        arrays[name] = np.ascontiguousarray(array, np.float64)
    return arrays


def check_heat(heat: Mapping[str, ArrayLike], graph: Frozen, count: int) -> Arrays:
    """Arrays of the cotangents of the heat of some nodes at ``count`` samples.

    Raises
    ------
    BadInput
        Naming the node, what its array should be, and what it is.
    """
    if not isinstance(heat, Mapping) or set(heat) - set(graph.numbers):
        raise BadInput(
            "cotangents of heat are arrays by name, of nodes of the graph",
            got=str(sorted(set(heat) - set(graph.numbers), key=str))
            if isinstance(heat, Mapping)
            else repr(type(heat)),
        )
    arrays, shape = {}, (graph.batch, count)
    for name, given in heat.items():
        array = np.asarray(given)
        if array.shape != shape or array.dtype.kind not in "iufb":
            raise BadInput(
                f"the cotangent of the heat of {name!r} is a real array of its shape, (batch, sample)",
                expected=str(shape),
                got=f"{array.dtype} {array.shape}",
                where=str(graph.nodes[graph.numbers[name]]),
            )
        arrays[name] = array.astype(np.float64)
    return arrays


def check_shapes(given: Mapping[str, tuple[int, ...]], params: Mapping[str, Any]) -> None:
    """Shapes that are given for params are those of ``params``.

    Raises
    ------
    BadValue
        Naming the param.
    """
    for name, shape in given.items():
        if name not in params:
            raise BadValue(f"the graph has no parameter {name!r}", expected=str(sorted(params)))
        if shape != params[name].shape:
            raise BadValue(
                f"param {name!r} keeps its shape", expected=str(params[name].shape), got=str(shape)
            )


def check_outputs(
    out: Mapping[str, NDArray[np.float64]], outputs: Mapping[str, Node], batch: int, count: int
) -> Arrays:
    """An array for each of the graph's ``outputs``: the caller's own, or a new one.

    Raises
    ------
    BadInput
        Naming the output, what its array should be, and what it is.
    """
    unknown = out.keys() - outputs.keys()
    if unknown:
        raise BadInput(
            "out names outputs of the graph",
            expected=str(sorted(outputs)),
            got=str(sorted(unknown)),
        )
    results = {}
    for name, node in outputs.items():
        shape = (batch, node.channels, count)
        array = out.get(name)
        if array is None:
            try:
                array = np.empty(shape)
            except MemoryError:
                raise BadInput(
                    "a run's outputs fit in memory",
                    got=f"output {name!r} of shape {shape}",
                    where=str(node),
                    fix="run fewer frames at a time",
                ) from None
        elif (
            not isinstance(array, np.ndarray)
            or array.shape != shape
            or array.dtype != np.float64
            or not (array.flags.c_contiguous and array.flags.writeable)
        ):
            raise BadInput(
                f"out[{name!r}] is a writable C-contiguous float64 array",
                expected=str(shape),
                got=f"{getattr(array, 'dtype', type(array))} {np.shape(array)}",
            )
        results[name] = array
    for first, second in combinations(sorted(out), 2) if out else ():
        if np.may_share_memory(out[first], out[second]):
            raise BadInput(
                "out arrays do not overlap",
                got=f"out[{first!r}] and out[{second!r}] share memory",
                fix="give each output an array of its own",
            )
    return results


def keep_apart(inputs: Arrays, out: Mapping[str, NDArray[np.float64]]) -> Arrays:
    """``inputs``, copied where an output will be written over them."""
    if not out:
        return inputs
    return {
        name: array.copy()
        if any(np.may_share_memory(array, written) for written in out.values())
        else array
        for name, array in inputs.items()
    }
