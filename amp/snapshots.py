"""Snapshots from outside: checked before anything of a program has changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from amp.constants import is_whole
from amp.errors import BadState
from amp.jit.counts import COLUMNS, PREVIOUS, Counts, uncounted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from amp.instance import Instance
    from amp.jit.snapshot import Row
    from amp.result import State

Shapes = dict[tuple[Any, ...], object]


def check_state(state: State, now: Instance) -> None:
    """Refuse a damaged snapshot before anything has changed."""
    if not is_whole(state.clock, 0, 1 << 48):
        raise BadState("a snapshot's clock is a whole number from 0", got=repr(state.clock))
    own = now.read(state.clock)
    names: Shapes = {(name,): ((COLUMNS,), "i") for name in uncounted(now.about)}
    expected: dict[str, Shapes]
    expected = {"nodes": _shapes(own.nodes), "lines": _shapes(own.lines), "firings": names}
    for field in ("nodes", "lines", "firings", "edges", "stamps", "params"):
        if field == "edges":  # how many they are follows from the firings, which have been checked
            counts = Counts.at_pace(now.about, now.pace, state.clock).with_firings(state.firings)
            if (counts.rows[:, :PREVIOUS] < 0).any() or not counts.is_possible():
                raise BadState(
                    "a snapshot's firings have taken what was there", got=repr(state.firings)
                )
            expected |= {"params": _shapes(now.params)} | _token_shapes(now, counts)
        got = _shapes(getattr(state, field))
        if expected[field] != got:
            wrong = sorted({*expected[field].items()} ^ {*got.items()}, key=str)
            raise BadState(
                f"a snapshot's {field} have the names and shapes of its graph's",
                got=f"something else at {wrong[0][0]}",
                fix="take the snapshot anew with program.state()",
            )
    _check_heat(state, now)


def _check_heat(state: State, now: Instance) -> None:
    """Refuse heat that is not that of the graph; a snapshot of a program without it has none."""
    heat, powers = now.heat.state() if now.heat else ({}, {})
    for field, own in (("heat", heat), ("powers", powers)):
        got, expected = _shapes(getattr(state, field)), _shapes(own)
        if now.heat and got and got != expected:
            raise BadState(
                f"a snapshot's {field} has the names and shapes of its graph's",
                got=f"something else at {min({*expected.items()} ^ {*got.items()}, key=str)[0]}",
                fix="take the snapshot anew with program.state()",
            )
    if any(not (row[2] == np.clip(row[2], 0, state.clock)).all() for row in state.heat.values()):
        raise BadState("constants have heated until a clock of the past", got=repr(state.clock))


def _token_shapes(now: Instance, counts: Counts) -> dict[str, Shapes]:
    """Of every edge's tokens, and of their stamps."""
    _, held = counts.tokens()

    def shapes(rows: Mapping[tuple[str, int], Row], kind: str) -> Shapes:
        return {
            ((name, number),): ((*row.first.shape, count), kind)
            for (name, number), row in rows.items()
            if (count := int(held[now.about.first[now.about.numbers[name]] + number]))
        }

    return {"edges": shapes(now.places.edges, "f"), "stamps": shapes(now.places.stamps, "i")}


def _shapes(content: Any, name: tuple[Any, ...] = ()) -> Shapes:
    """Shape of every array in nested dictionaries."""
    if not isinstance(content, dict):
        array = isinstance(content, np.ndarray)
        return {name: (content.shape, content.dtype.kind) if array else type(content)}
    found: Shapes = {}
    for key, value in content.items():
        found |= _shapes(value, (*name, key))
    return found
