"""W1: V voices of saw, state-variable low-pass, envelope, gain and pan, summed to stereo."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks import graphs, voices
from benchmarks.harness import Candidate, Case, Say, measure, split
from benchmarks.peers import faust, faust_cpp, faust_text, numba_voices

if TYPE_CHECKING:
    from benchmarks.options import Options
    from benchmarks.rows import Row

NAME = "W1"
FAUST_LIMIT = 256
"""Faust's compile time grows faster than the voices; above this it is left out."""


def case_of(count: int, seconds: float) -> Case:
    """The gate, in pieces of one second."""
    frames = round(seconds * voices.SAMPLE_RATE)
    pieces = split(voices.make_gate(frames))
    return Case(NAME, f"V={count}", pieces, items=count * frames, item="voice-frame")


def candidates(count: int) -> list[Candidate]:
    """amp first (it is the yardstick), then the peers."""
    parameters = voices.make_voices(count)
    found = graphs.candidates(lambda: graphs.voices(parameters), "gate")
    found += numba_voices.candidates(parameters)
    if count <= FAUST_LIMIT:
        source = faust_text.voices(parameters)
        found += faust.candidates(source, outputs=2, size=count)
        found += faust_cpp.candidates(source, outputs=2)
        found += faust.dawdreamer_candidates(source)
    return found


def run(options: Options, say: Say) -> list[Row]:
    """Every voice count."""
    rows: list[Row] = []
    for count in options.voices:
        case = case_of(count, options.seconds)
        gate = case.pieces[0]
        oracle = voices.oracle(voices.make_voices(count), gate)
        rows += measure(case, candidates(count), options.repeat, say, oracle)
    return rows
