"""W8: 8 channels through responses of 96 000 taps, all at once and block by block."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks import convolution, graphs
from benchmarks.harness import Case, Say, measure, split
from benchmarks.peers import numpy_convolution, pedalboard_convolution, scipy_convolution

if TYPE_CHECKING:
    from benchmarks.options import Options
    from benchmarks.rows import Row

NAME = "W8"
LATENCY = 1 << 14
"""Of what does not have to be in time [frames]."""


def run(options: Options, say: Say) -> list[Row]:
    """Offline, in pieces of a second; and online, in blocks of 256."""
    taps = convolution.make_responses()
    frames = round(options.seconds * convolution.SAMPLE_RATE)
    noise = convolution.make_noise(convolution.ROOMS, frames)
    ours = graphs.candidates(lambda: graphs.convolution(taps), "x", rows_are="channels")
    late = graphs.rendered(
        lambda: graphs.convolution(taps, LATENCY), "x", f"in blocks of {LATENCY}: a latency"
    )
    want = convolution.oracle(taps, noise)
    items = frames * convolution.ROOMS
    offline = Case(NAME, "offline", split(noise), items, "channel-frame")
    online = Case(NAME, "blocks of 256", split(noise, convolution.BLOCK), items, "channel-frame")
    peers = numpy_convolution.partitioned(taps) + pedalboard_convolution.candidates(taps)
    return [
        *measure(offline, [*ours, late, *scipy_convolution.whole(taps)], options.repeat, say, want),
        *measure(online, ours + peers, options.repeat, say, want),
    ]
