"""Kernels compiled by numba, and node types of the same arithmetic: for tests of `Native`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numba
import numpy as np

from amp.contract import Inlet, NodeType, Trace
from amp.nodes.native import Native

if TYPE_CHECKING:
    from collections.abc import Callable

    from amp.ir import Value

SIGNATURE = Native.signature
LEAK_PORTS = (Inlet("input"), Inlet("decay", default=0.5, low=-1.0, high=1.0))


@numba.cfunc(SIGNATURE)
def leak(inputs, outputs, channels, state, frames, rate):  # type: ignore[no-untyped-def]
    """``y = x + decay y``."""
    x, decay = numba.carray(inputs[0], frames), numba.carray(inputs[1], frames)
    y = numba.carray(outputs[0], frames)
    for k in range(frames):
        state[0] = x[k] + decay[k] * state[0]
        y[k] = state[0]


@numba.cfunc(SIGNATURE)
def cross(inputs, outputs, channels, state, frames, rate):  # type: ignore[no-untyped-def]
    """Two outlets: ``u = a + b / 2, v = a - b / 2``."""
    a, b = numba.carray(inputs[0], frames), numba.carray(inputs[1], frames)
    u, v = numba.carray(outputs[0], frames), numba.carray(outputs[1], frames)
    for k in range(frames):
        u[k] = a[k] + 0.5 * b[k]
        v[k] = a[k] - 0.5 * b[k]


@numba.cfunc(SIGNATURE)
def spread(inputs, outputs, channels, state, frames, rate):  # type: ignore[no-untyped-def]
    """Sees all channels: a leaky sum of all of them minus each one."""
    shape = (channels[0], frames)
    x, y = numba.carray(inputs[0], shape), numba.carray(outputs[0], shape)
    for k in range(frames):
        total = 0.25 * state[0]
        for c in range(channels[0]):
            total = total + x[c, k]
        state[0] = total
        for c in range(channels[0]):
            y[c, k] = total - x[c, k]


@numba.cfunc(Native.adjoint_signature)
def leak_adjoint(  # type: ignore[no-untyped-def]
    inputs, output_cotangents, input_cotangents, channels, state, state_cotangent, frames, rate
):
    """Of ``y = x + decay y``: the states are made again, and walked backwards."""
    x, decay = numba.carray(inputs[0], frames), numba.carray(inputs[1], frames)
    dy = numba.carray(output_cotangents[0], frames)
    dx, ddecay = (
        numba.carray(input_cotangents[0], frames),
        numba.carray(input_cotangents[1], frames),
    )
    before = np.empty(frames)
    s = state[0]
    for k in range(frames):
        before[k] = s
        s = x[k] + decay[k] * s
    ds = state_cotangent[0]
    for k in range(frames - 1, -1, -1):
        ds += dy[k]
        dx[k] = ds
        ddecay[k] = ds * before[k]
        ds *= decay[k]
    state_cotangent[0] = ds


@numba.cfunc(Native.adjoint_signature)
def cross_adjoint(  # type: ignore[no-untyped-def]
    inputs, output_cotangents, input_cotangents, channels, state, state_cotangent, frames, rate
):
    du, dv = (
        numba.carray(output_cotangents[0], frames),
        numba.carray(output_cotangents[1], frames),
    )
    da, db = numba.carray(input_cotangents[0], frames), numba.carray(input_cotangents[1], frames)
    for k in range(frames):
        da[k] = du[k] + dv[k]
        db[k] = 0.5 * du[k] - 0.5 * dv[k]


@numba.cfunc(Native.adjoint_signature)
def spread_adjoint(  # type: ignore[no-untyped-def]
    inputs, output_cotangents, input_cotangents, channels, state, state_cotangent, frames, rate
):
    shape = (channels[0], frames)
    dy, dx = numba.carray(output_cotangents[0], shape), numba.carray(input_cotangents[0], shape)
    for k in range(frames - 1, -1, -1):
        total = state_cotangent[0]
        for c in range(channels[0]):
            total += dy[c, k]
        for c in range(channels[0]):
            dx[c, k] = total - dy[c, k]
        state_cotangent[0] = 0.25 * total


class LeakTwin(NodeType):
    """``y = x + decay y``. For tests."""

    inlets = LEAK_PORTS

    def forward(self, b: Trace, x: Value, decay: Value) -> Value:
        y = x + decay * b.state("y")
        b.next("y", y)
        return y


class CrossTwin(NodeType):
    """Two outlets: ``u = a + b / 2, v = a - b / 2``. For tests."""

    inlets = (Inlet("a"), Inlet("b"))
    outlets = ("u", "v")

    def forward(self, b: Trace, x: Value, y: Value) -> tuple[Value, Value]:
        return x + 0.5 * y, x - 0.5 * y


class SpreadTwin(NodeType):
    """A leaky sum of all channels minus each one. For tests."""

    inlets = (Inlet("input"),)
    channels = "all"

    def forward(self, b: Trace, x: list[Value]) -> list[Value]:
        total = 0.25 * b.state("total")
        for value in x:
            total = total + value
        b.next("total", total)
        return [total - value for value in x]


NATIVE: dict[str, Callable[[], Any]] = {
    "leak": lambda: Native(leak, leak_adjoint, state={"y": 0.0}, inlets=LEAK_PORTS),
    "cross": lambda: Native(
        cross, cross_adjoint, inlets=(Inlet("a"), Inlet("b")), outlets=("u", "v")
    ),
    "spread": lambda: Native(spread, spread_adjoint, state={"total": 0.0}, channels="all"),
}
"""What makes a node of each kernel."""
TWINS: dict[str, Callable[[], Any]] = {"leak": LeakTwin, "cross": CrossTwin, "spread": SpreadTwin}
"""What makes a traced one."""
