"""W2: eight biquads in series on B noise signals."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks import cascade, graphs
from benchmarks.harness import Candidate, Case, Say, measure, split
from benchmarks.peers import faust, faust_text, numba_cascade, scipy_cascade

if TYPE_CHECKING:
    from benchmarks.options import Options
    from benchmarks.rows import Row

NAME = "W2"
FAUST_LIMIT = 64


def candidates(batch: int) -> list[Candidate]:
    """amp first (it is the yardstick), then the peers."""
    sections = cascade.make_sections()
    found = graphs.candidates(lambda: graphs.cascade(sections, batch), "x")
    found += numba_cascade.candidates(sections, batch)
    found += scipy_cascade.candidates(sections, batch)
    if batch <= FAUST_LIMIT:
        source = faust_text.cascade(sections, batch)
        found += faust.candidates(source, outputs=batch, size=batch * cascade.SECTIONS)
    return found


def run(options: Options, say: Say) -> list[Row]:
    """Every batch size."""
    rows: list[Row] = []
    frames = round(options.seconds * cascade.SAMPLE_RATE)
    for batch in options.batches:
        noise = cascade.make_noise(batch, frames)
        oracle = cascade.oracle(noise, cascade.make_sections())
        items = batch * cascade.SECTIONS * frames
        case = Case(NAME, f"B={batch}", split(noise), items, "biquad-frame")
        del noise
        rows += measure(case, candidates(batch), options.repeat, say, oracle)
    return rows
