"""What spectra of any number of bands and channels cost: an STFT, a gain on each band, and the inverse.

``python -m benchmarks.bands`` prints nanoseconds of processor time per sample and channel, half a piece between
pieces, and the same over the logarithm of the piece's size, which is level where work grows as N log N. SciPy
transforms all pieces of all channels by one call. The median of runs of at least eight pieces, interleaved.
"""

from __future__ import annotations

import resource
import time
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import fft

from benchmarks import graphs
from benchmarks.filters import spent

if TYPE_CHECKING:
    from collections.abc import Callable

PIECES = 8
SAMPLES = 1 << 19
"""About how many samples a run has, over all channels."""
SECONDS = 3.0
"""How long each case runs."""


def chain(size: int, channels: int) -> Any:
    """STFT, gains, inverse STFT."""
    amp, nodes = graphs.load()
    g = amp.Graph(48_000)
    spectrum = g.add(nodes.STFT(size, size // 2), g.input("x", channels))
    gained = g.add(nodes.SpectralGain(gains(size)), spectrum)
    g.output("out", g.add(nodes.ISTFT(size, size // 2), gained))
    return g


def gains(size: int) -> Any:
    """One for each band."""
    return 1 + np.cos(np.arange(size // 2 + 1) / 40.0)


def by_scipy(size: int, x: Any) -> Any:
    """The same for a signal that is whole, without what an inverse divides by."""
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)
    pieces = np.lib.stride_tricks.sliding_window_view(x, size, axis=-1)[..., :: size // 2, :]
    made = fft.irfft(fft.rfft(pieces * window) * gains(size), size) * window
    halves = made.reshape(*made.shape[:-1], 2, size // 2)
    return (halves[..., 1:, 0, :] + halves[..., :-1, 1, :]).reshape(*x.shape[:-1], -1)


def main() -> None:
    amp, _ = graphs.load()
    print(
        f"{'bands':>6} {'channels':>8} {'compile s':>9} {'ns':>7} {'ns / log2 N':>11} {'SciPy ns':>9} {'peak MB':>8}"
    )
    for size in (32, 2048, 32_768):
        for channels in (1, 64):
            begin = time.perf_counter()
            graph = chain(size, channels)
            program = amp.compile(graph, amp.plan(graph, max(size, 256)))
            compiled = time.perf_counter() - begin
            frames = max(SAMPLES // channels // size, PIECES) * size
            x = np.random.default_rng(1).normal(size=(1, channels, frames))
            work: list[Callable[[], Any]] = [
                lambda p=program, x=x: p.run({"x": x}),
                lambda size=size, x=x: by_scipy(size, x),
            ]
            times: list[list[int]] = [[], []]
            until = time.perf_counter() + SECONDS
            while time.perf_counter() < until or len(times[0]) < 3:
                for one, list_ in zip(work, times, strict=True):
                    list_.append(spent(one))
            ns, peer = (float(np.median(list_)) / x.size for list_ in times)
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
            print(
                f"{size // 2:6} {channels:8} {compiled:9.2f} {ns:7.1f} {ns / np.log2(size):11.2f} {peer:9.1f} {peak:8.0f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
