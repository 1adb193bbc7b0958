"""W7: 64 channels into 64, each path with a filter of 16 taps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks import convolution, graphs
from benchmarks.harness import Case, Say, measure, split
from benchmarks.peers import numpy_convolution, scipy_convolution

if TYPE_CHECKING:
    from benchmarks.options import Options
    from benchmarks.rows import Row

NAME = "W7"
SHARE = 0.1
"""Of the other workloads' signal: there are 4096 paths."""


def run(options: Options, say: Say) -> list[Row]:
    """In pieces of a second, and block by block."""
    taps, rows = convolution.make_paths(), []
    frames = round(SHARE * options.seconds * convolution.SAMPLE_RATE)
    noise = convolution.make_noise(convolution.CHANNELS, frames)
    found = graphs.candidates(lambda: graphs.convolution(taps), "x", rows_are="channels")
    found += numpy_convolution.bleed(taps)
    found += scipy_convolution.bleed(taps)
    want = convolution.oracle(taps, noise)
    for size, name in ((convolution.SAMPLE_RATE, "seconds"), (convolution.BLOCK, "blocks of 256")):
        case = Case(NAME, name, split(noise, size), frames * taps.size, "tap")
        rows += measure(case, found, options.repeat, say, want)
    return rows
