"""Make every candidate, check its samples, then time them all in interleaved rounds.

A candidate is made once (its compile time), and from then on is a *player*: a function without
arguments that runs the whole signal from fresh state, piece by piece, and yields each piece's
output. Players are stateful streams as in real use: each piece's output is a fresh array, and none
is kept while the clock runs. Rounds are interleaved (A B C, B C A, ...), so that a machine that
slows down for a while slows down everyone, and medians are taken over the rounds.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from benchmarks.rows import DIFFERS, FAILED, NOT_INSTALLED, OK, Row

Array = NDArray[np.float64]
Pieces = Sequence[Array]
Player = Callable[[], Iterator[NDArray[np.floating]]]
"""Yields the output of each piece, `(rows, frames)`."""

Say = Callable[[str], None]

DOUBLE = 1e-9
"""Largest error allowed for double-precision candidates, relative to max(1, peak)."""


class NotInstalledError(Exception):
    """The candidate's library or compiler is missing: reported, not a failure."""


@dataclass(frozen=True)
class Candidate:
    """A way to do the work. `make` compiles and returns the player.

    Variants of one program share `family`; the report marks the fastest of each family.
    `check_frames` limits the comparison for single-precision programs, whose phase drifts.
    """

    name: str
    family: str
    make: Callable[[Pieces], Player]
    tolerance: float = DOUBLE
    check_frames: int | None = None
    note: str = ""


@dataclass(frozen=True)
class Case:
    """One workload at one size: the input pieces, `(rows, frames)` each, and the work in them."""

    workload: str
    name: str
    pieces: Pieces
    items: float
    item: str

    def row(self, candidate: Candidate) -> Row:
        """An empty row of this case for the candidate."""
        return Row(
            workload=self.workload,
            case=self.name,
            candidate=candidate.name,
            family=candidate.family,
            items=self.items,
            item=self.item,
            tolerance=candidate.tolerance,
            note=candidate.note,
        )


def split(signal: Array, piece: int = 48_000) -> list[Array]:
    """The signal `(rows, frames)` as contiguous pieces of at most `piece` frames."""
    return [
        np.ascontiguousarray(signal[:, start : start + piece])
        for start in range(0, signal.shape[1], piece)
    ]


def max_error(ours: Pieces, player: Player, check_frames: int | None) -> float:
    """The largest difference, relative to max(1, peak), over the first `check_frames`."""
    left = check_frames if check_frames is not None else sum(o.shape[-1] for o in ours)
    peak = max(1.0, *(float(np.abs(o).max()) for o in ours))
    worst = 0.0
    for mine, theirs in zip(ours, player(), strict=True):
        frames = min(left, mine.shape[-1])
        if not frames:
            continue
        got = np.asarray(theirs)
        if got.shape != mine.shape:
            raise ValueError(f"{got.shape} samples where {mine.shape} are expected")
        difference = np.abs(got[:, :frames] - mine[:, :frames]).max()
        worst = float(np.maximum(worst, difference))  # a NaN stays a NaN
        left -= frames
    return worst / peak


def time_rounds(players: dict[str, Player], repeat: int) -> dict[str, list[float]]:
    """Wall times of every player, one per round, the order rotated from round to round."""
    times: dict[str, list[float]] = {name: [] for name in players}
    names = list(players)
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        for turn in range(repeat):
            shift = turn % len(names) if names else 0
            for name in names[shift:] + names[:shift]:
                start = time.perf_counter()
                for _ in players[name]():
                    pass
                times[name].append(time.perf_counter() - start)
            gc.collect()
    finally:
        if was_enabled:
            gc.enable()
    return times


def measure(
    case: Case,
    candidates: Sequence[Candidate],
    repeat: int,
    say: Say,
    oracle: Array | None = None,
) -> list[Row]:
    """Compile, check and time every candidate of a case.

    The first candidate that can be made is the yardstick the others are compared with; it is itself
    compared with `oracle`, the first frames of the expected output as plain NumPy computes them. A
    candidate whose samples differ is reported and not timed.
    """
    rows: dict[str, Row] = {}
    players: dict[str, Player] = {}
    ours: list[Array] | None = None
    for candidate in candidates:
        say(f"{case.workload} {case.name}: {candidate.name}")
        row = case.row(candidate)
        try:
            start = time.perf_counter()
            player = candidate.make(case.pieces)
            row = replace(row, compile_seconds=time.perf_counter() - start)
            mine = [np.array(out, np.float64) for out in player()] if ours is None else []
            if ours is None:
                error = _error_to_oracle(mine, oracle)
            else:
                error = max_error(ours, player, candidate.check_frames)
        except NotInstalledError as missing:
            rows[candidate.name] = replace(row, status=NOT_INSTALLED, note=str(missing))
            continue
        except Exception as failure:  # a peer's failure is a result, not ours
            text = f"{type(failure).__name__}: {failure}".splitlines()[0]
            rows[candidate.name] = replace(row, status=FAILED, note=text)
            continue
        good = error <= candidate.tolerance
        rows[candidate.name] = replace(row, error=error, status=OK if good else DIFFERS)
        if good:
            players[candidate.name] = player
            ours = mine if ours is None else ours
    del ours
    say(f"{case.workload} {case.name}: {repeat} interleaved rounds of {len(players)} candidates")
    for name, seconds in time_rounds(players, repeat).items():
        rows[name] = replace(rows[name], seconds=seconds)
    return [rows[c.name] for c in candidates]


def _error_to_oracle(mine: Pieces, oracle: Array | None) -> float:
    """The yardstick's own error against the NumPy frames (zero where none are given)."""
    if oracle is None:
        return 0.0
    frames = oracle.shape[-1]
    got = np.concatenate(mine, axis=-1)[:, :frames] if mine[0].shape[-1] < frames else mine[0]
    peak = max(1.0, float(np.abs(oracle).max()))
    return float(np.abs(got[:, :frames] - oracle).max()) / peak
