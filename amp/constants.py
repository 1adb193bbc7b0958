"""Numbers from outside: constants of inlets and initial tokens of edges, checked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from amp.contract import constant_array
from amp.errors import BadNode, BadValue

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from amp.contract import Inlet

MAX_TOKENS = 1 << 24
"""Largest delay and number of initial tokens of one edge [frames]."""


def check_constant(
    value: NDArray[np.float64], inlet: Inlet, sample_rate: float, batch: int
) -> None:
    """Raise `BadValue` unless ``value`` is in the inlet's range and fits a batch.

    Raises
    ------
    BadValue
        Naming the inlet and its range.
    """
    fits = not value.ndim or (value.ndim == 2 and value.shape[0] in {1, batch} and value.shape[1])
    if not fits:
        raise BadValue(
            f"inlet {inlet.name!r} takes a number or an array of shape (batch, channel)",
            expected=f"(batch {batch} or 1, channels)",
            got=f"shape {value.shape}",
        )
    nyquist = inlet.high == "nyquist"
    high = sample_rate / 2 if nyquist else float(inlet.high)
    least, most = (value.item(),) * 2 if not value.ndim else (value.min(), value.max())
    if least < inlet.low or most > high or (nyquist and most >= high):
        bracket = f"[{inlet.low:g}, {high:g}{')' if nyquist else ']'} {inlet.unit}".strip()
        raise BadValue(f"inlet {inlet.name!r} lies in {bracket}", got=repr(value.tolist()))


def inlet_constant(inlet: Inlet, given: Any) -> NDArray[np.float64]:
    """Array of what ``inlet`` was given, or `BadValue`."""
    try:
        return constant_array(given, f"inlet {inlet.name!r}")
    except BadNode as error:
        raise BadValue(error.rule, got=error.got, fix=error.fix) from None


def is_whole(value: object, low: int, high: float = np.inf) -> bool:
    """A whole number from ``low`` to ``high``; truth values are none."""
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    return whole and low <= int(value) <= high  # type: ignore[call-overload]


def initial_tokens(initial: Any, shape: tuple[int, int]) -> NDArray[np.float64] | None:
    """Array (batch, channel, count) of what `edge` was given, or None."""
    if isinstance(initial, bool) or initial is None:
        raise BadValue("initial is a count, (value, count), or an array", got=repr(initial))
    value, count = 0.0, initial
    if isinstance(initial, tuple) and len(initial) == 2:
        value, count = initial
    try:
        if isinstance(count, int | np.integer):
            number = constant_array(value, "initial")
            if number.ndim or not is_whole(count, 0, MAX_TOKENS):
                raise BadValue(
                    f"initial tokens are a number, at most {MAX_TOKENS} times", got=repr(initial)
                )
            return np.full((*shape, int(count)), float(number)) if count else None
        array = constant_array(initial, "initial")
    except BadNode as error:
        raise BadValue(error.rule, got=error.got, fix=error.fix) from None
    if array.ndim != 3 or array.shape[:2] != shape:
        raise BadValue(
            "initial tokens have shape (batch, channel, count)",
            expected=f"({shape[0]}, {shape[1]}, count)",
            got=str(array.shape),
        )
    return array if array.shape[2] else None
