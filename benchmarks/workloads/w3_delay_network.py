"""W3: a feedback delay network of sixteen lines, in stereo."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks import delay_network, graphs
from benchmarks.harness import Case, Say, measure, split
from benchmarks.peers import faust, faust_cpp, faust_text, numba_delay_network

if TYPE_CHECKING:
    from benchmarks.options import Options
    from benchmarks.rows import Row

NAME = "W3"


def run(options: Options, say: Say) -> list[Row]:
    """One size."""
    frames = round(options.seconds * delay_network.SAMPLE_RATE)
    clicks = delay_network.make_clicks(frames)
    case = Case(NAME, "16 lines", split(clicks), frames, "frame")
    source = faust_text.delay_network()
    found = graphs.candidates(graphs.delay_network, "x")
    found += numba_delay_network.candidates()
    found += faust.candidates(source, outputs=2, size=delay_network.COUNT)
    found += faust_cpp.candidates(source, outputs=2)
    return measure(case, found, options.repeat, say, delay_network.oracle(clicks))
