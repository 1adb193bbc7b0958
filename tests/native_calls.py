"""Running a program by its handle, as native code does: for tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from amp.jit.handle import DONE

if TYPE_CHECKING:
    from bits import Array

    from amp.jit.handle import Handle
    from amp.program import Program


def call(handle: Handle, inputs: dict[str, Array], outputs: dict[str, Array], frames: int) -> int:
    """One call with the arrays of these names."""
    read, written = (
        np.array([arrays[name].ctypes.data for name in names], np.int64)
        for names, arrays in ((handle.inputs, inputs), (handle.outputs, outputs))
    )
    return handle.run(handle.program, read.ctypes.data, written.ctypes.data, frames)


def native_run(program: Program, inputs: dict[str, Array], frames: int) -> dict[str, Array]:
    """What `run` would return."""
    handle = program.handle()
    about = program._instance
    outputs = {
        name: np.full((about.about.batch, node.channels, frames), np.nan)
        for name, node in about.outputs.items()
    }
    inputs = {name: np.ascontiguousarray(array) for name, array in inputs.items()}
    assert call(handle, inputs, outputs, frames) == DONE
    return outputs
