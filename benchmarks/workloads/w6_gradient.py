"""W6: the gradient of mean(y^2) through eight biquads, in 40 coefficients and the input."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from benchmarks import cascade, gradient, graphs, memory
from benchmarks.harness import Candidate, Case, Say, measure
from benchmarks.peers import jax_cascade, torch_cascade
from benchmarks.rows import OK

if TYPE_CHECKING:
    from benchmarks.options import Options
    from benchmarks.rows import Row

NAME = "W6"


def candidates() -> list[Candidate]:
    """amp first (it is the yardstick), then amp in other hands, then the peers."""
    sections = cascade.make_sections()
    found = graphs.gradient_candidates(sections)
    found += torch_cascade.candidates(sections)
    found += jax_cascade.candidates(sections)
    return found


def run(options: Options, say: Say) -> list[Row]:
    """Both lengths; then the memory of each, in processes of their own."""
    rows: list[Row] = []
    for frames in gradient.LENGTHS:
        noise = cascade.make_noise(gradient.BATCH, frames)
        items = gradient.BATCH * cascade.SECTIONS * frames
        case = Case(NAME, f"n={frames}", [noise], items, "biquad-frame")
        oracle = gradient.oracle(noise, cascade.make_sections())
        for row in measure(case, candidates(), options.repeat, say, oracle):
            if row.status == OK:
                say(f"{NAME} n={frames}: memory of {row.candidate}")
                most = memory.in_process(row.candidate, frames, options.timeout)
                rows.append(replace(row, memory=most))
            else:
                rows.append(row)
    return rows
