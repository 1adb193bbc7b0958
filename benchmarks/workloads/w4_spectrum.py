"""W4: an STFT of 2048 points every 512, a gain on each of its 1025 bands, and the inverse, on 8 noises."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks import graphs, spectrum
from benchmarks.harness import Case, Say, measure, split
from benchmarks.peers import jax_spectrum, scipy_spectrum

if TYPE_CHECKING:
    from benchmarks.options import Options
    from benchmarks.rows import Row

NAME = "W4"


def run(options: Options, say: Say) -> list[Row]:
    """The one size."""
    noise = spectrum.make_noise(round(options.seconds * spectrum.SAMPLE_RATE))
    oracle = spectrum.oracle(noise)
    found = graphs.candidates(graphs.spectrum, "x", block=spectrum.BLOCK)
    found += scipy_spectrum.candidates()
    found += jax_spectrum.candidates()
    case = Case(NAME, f"B={spectrum.BATCH}", split(noise), noise.size, "sample")
    return measure(case, found, options.repeat, say, oracle)
