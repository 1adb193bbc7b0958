"""backward: what a recorded run and the way back cost beside a run, on W1 and W2."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks import cascade, graphs, voices
from benchmarks.harness import Case, Say, measure, split
from benchmarks.workloads import w1_voices

if TYPE_CHECKING:
    from benchmarks.options import Options
    from benchmarks.rows import Row

NAME = "backward"
VOICES = 64


def run(options: Options, say: Say) -> list[Row]:
    """64 voices, and the cascade at every batch size; all their numbers are params."""
    of_voices = w1_voices.case_of(VOICES, options.seconds)
    case = Case(NAME, f"W1 V={VOICES}", of_voices.pieces, of_voices.items, of_voices.item)
    parameters = voices.make_voices(VOICES)
    back = graphs.backward_candidates(lambda: graphs.voices(parameters, learn=True), "gate")
    rows = measure(case, back, options.repeat, say)
    frames = round(options.seconds * cascade.SAMPLE_RATE)
    for batch in options.batches:
        items = batch * cascade.SECTIONS * frames
        noise = split(cascade.make_noise(batch, frames))
        case = Case(NAME, f"W2 B={batch}", noise, items, "biquad-frame")
        back = graphs.backward_candidates(_learned_cascade(batch), "x")
        rows += measure(case, back, options.repeat, say)
    return rows


def _learned_cascade(batch: int) -> graphs.Callable[[], graphs.Any]:
    return lambda: graphs.cascade(cascade.make_sections(), batch, learn=True)
