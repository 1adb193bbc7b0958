"""W5: how compile and run time grow with the number of nodes, each measurement in a fresh process.

amp is measured cold (an empty cache directory) and warm (a second process, the cache full).
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.bounded import ProbeError, ProbeTimeoutError, probe
from benchmarks.harness import DOUBLE, Say
from benchmarks.rows import BASELINE, DIFFERS, FAILED, NOT_INSTALLED, OK, TIMED_OUT, Row
from benchmarks.voices import SAMPLE_RATE

if TYPE_CHECKING:
    from benchmarks.options import Options

NAME = "W5"
PEER_LIMITS = {
    ("numba", "chain"): 1000,
    ("numba", "tree"): 1000,
    ("numba", "voices"): 10_000,
    ("faust", "chain"): 1000,
    ("faust", "tree"): 1000,
    ("faust", "voices"): 256,
}
"""The largest size each peer is asked for: beyond it, its time bound is certain to be exceeded."""

FAUST_VOICES = (64, 256)


def run(options: Options, say: Say) -> list[Row]:
    """Every shape at every size."""
    rows: list[Row] = []
    for shape in ("chain", "tree", "voices"):
        sizes = set(options.sizes)
        if shape == "voices" and max(sizes) >= max(FAUST_VOICES):
            sizes |= set(FAUST_VOICES)
        for size in sorted(sizes):
            rows += _amp(shape, size, options, say)
            for peer in ("numba", "faust"):
                if size <= PEER_LIMITS[peer, shape]:
                    rows.append(_peer(peer, shape, size, options, say))
    return rows


def _empty(shape: str, size: int, candidate: str, family: str) -> Row:
    return Row(
        workload=NAME,
        case=f"{shape} N={size}",
        candidate=candidate,
        family=family,
        items=float(size * SAMPLE_RATE),
        item="node-frame" if shape != "voices" else "voice-frame",
        tolerance=DOUBLE,
    )


def _amp(shape: str, size: int, options: Options, say: Say) -> list[Row]:
    """Cold and warm compile times, medians over fresh cache directories."""
    rows = {
        kind: _empty(shape, size, f"{BASELINE}, {kind} cache", f"amp {kind}")
        for kind in ("cold", "warm")
    }
    answers: dict[str, list[dict[str, Any]]] = {"cold": [], "warm": []}
    turns = min(3, options.repeat) if size < 10_000 else 1
    for _ in range(turns):
        with tempfile.TemporaryDirectory() as cache:
            command, folder = ["amp", shape, str(size)], Path(cache)
            for kind, row in rows.items():
                say(f"{NAME} {row.case}: {row.candidate}")
                asked, answer = _ask(row, command, options.timeout, folder)
                if answer is None:
                    return [replace(asked, candidate=BASELINE)]
                answers[kind].append(answer)
    return [_fill(row, answers[kind]) for kind, row in rows.items()]


def _peer(peer: str, shape: str, size: int, options: Options, say: Say) -> Row:
    names = {"numba": "numba lanes" if shape == "voices" else "numba straight line"}
    row = _empty(shape, size, names.get(peer, "cyfaust scalar -mcd 0"), peer)
    say(f"{NAME} {row.case}: {row.candidate}")
    row, answer = _ask(row, [peer, shape, str(size)], options.peer_timeout)
    if (peer, row.status) == ("faust", OK) and shape != "voices":
        row = replace(row, note="linear, known gains: folded to y = a x + b")
    return row if answer is None else _fill(row, [answer])


def _ask(
    row: Row, command: list[str], timeout: float, cache: Path | None = None
) -> tuple[Row, dict[str, Any] | None]:
    """The probe's answer, or the row that says why there is none."""
    try:
        answer = probe(command, timeout, cache)
    except ProbeTimeoutError as late:
        return replace(row, status=TIMED_OUT, note=str(late)), None
    except ProbeError as failure:
        return replace(row, status=FAILED, note=str(failure)), None
    if "missing" in answer:
        return replace(row, status=NOT_INSTALLED, note=answer["missing"]), None
    return row, answer


def _fill(row: Row, answers: list[dict[str, Any]]) -> Row:
    """One row of all the processes' answers."""
    error = max(answer["error"] for answer in answers)
    build = float(np.median([answer.get("build", 0.0) for answer in answers]))
    good = error <= DOUBLE
    return replace(
        row,
        status=OK if good else DIFFERS,
        seconds=[t for answer in answers for t in answer["runs"]] if good else [],
        compile_seconds=float(np.median([answer["compile"] for answer in answers])),
        error=error,
        note=f"graph built in {build:.3g} s" if build else row.note,
    )
