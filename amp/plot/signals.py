"""Signals: waveform and spectrogram of every output."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from amp.errors import BadInput
from amp.plot.figures import FAINT, FONT, INK, LOOP, MAX_CHANNELS, new_figure, quiet

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from amp.program import Result


def signal(
    result: Result | Mapping[str, NDArray[np.float64]],
    *,
    batch: int = 0,
    sample_rate: float | None = None,
) -> Figure:
    """Waveform and spectrogram of each output: a column for each channel, four at most.

    Parameters
    ----------
    result
        What a run returned, or arrays ``(batch, channel, frame)`` by name with their
        ``sample_rate``.
    batch
        Which of the batch to show.
    sample_rate
        Frames per second; by default the result's own.
    """
    rate = float(getattr(result, "sample_rate", 48_000.0) if sample_rate is None else sample_rate)
    if not result:
        raise BadInput("a result to draw has at least one output")
    for name, array in result.items():
        if np.ndim(array) != 3 or 0 in array.shape or not 0 <= batch < array.shape[0]:
            raise BadInput(
                "a signal to draw is an array (batch, channel, frame) that has this batch",
                got=f"{name!r} of shape {np.shape(array)}, batch {batch}",
            )
    columns = min(MAX_CHANNELS, max(array.shape[1] for array in result.values()))
    figure = new_figure(max(9.0, 6.2 * columns), 4.6 * len(result))
    grid = figure.subplots(
        2 * len(result), columns, squeeze=False, height_ratios=[1, 1.9] * len(result)
    )
    for row, (name, array) in enumerate(result.items()):
        peak = float(np.nanmax(np.abs(array[batch]), initial=0.0))
        image = None
        for column in range(columns):
            upper, lower = grid[2 * row][column], grid[2 * row + 1][column]
            if column >= array.shape[1]:
                upper.axis("off")
                lower.axis("off")
                continue
            x = np.nan_to_num(array[batch, column])
            label = name if array.shape[1] == 1 else f"{name}, channel {column}"
            _draw_wave(upper, x, rate, peak, label)
            image = _draw_spectrogram(lower, x, rate)
        assert image is not None  # an array has at least one channel
        bar = figure.colorbar(image, ax=list(grid[2 * row + 1]), pad=0.01, aspect=30)
        bar.set_label("dB below the loudest", fontsize=FONT, color=FAINT)
        bar.ax.tick_params(labelsize=FONT - 1, colors=FAINT, length=2)
        bar.outline.set_visible(False)
    return figure


def _draw_wave(axes: Axes, x: NDArray[np.float64], rate: float, peak: float, label: str) -> None:
    step = -(-len(x) // 2400)
    if step > 2:  # the span that each pixel covers
        starts = np.arange(0, len(x), step)
        low, high = np.minimum.reduceat(x, starts), np.maximum.reduceat(x, starts)
        axes.fill_between(starts / rate, low, high, color="#2563eb", linewidth=0.4)
    else:
        axes.plot(np.arange(len(x)) / rate, x, color="#2563eb", linewidth=1.0)
    axes.axhline(0, color="#cbd5e1", linewidth=0.6, zorder=0)
    if peak > 0.9:
        for level in (-1, 1):
            axes.axhline(level, color=LOOP, linewidth=0.6, linestyle=(0, (4, 3)), zorder=0)
    bound = 1.08 * peak or 1.0
    axes.set(xlim=(0, len(x) / rate), ylim=(-bound, bound), xticklabels=[])
    rms = float(np.sqrt(np.mean(np.square(x))))
    words = f"peak {_decibels(np.abs(x).max())}, RMS {_decibels(rms)}"
    axes.set_title(label, loc="left", fontsize=FONT + 1, color=INK)
    axes.set_title(words, loc="right", fontsize=FONT - 0.5, color=FAINT)
    quiet(axes)


def _decibels(value: float) -> str:
    return f"{20 * np.log10(value):.1f} dBFS" if value > 0 else "silent"


def _draw_spectrogram(axes: Axes, x: NDArray[np.float64], rate: float) -> Any:
    size = int(min(2048, max(64, 1 << (max(2, len(x) // 8)).bit_length())))
    hop = max(size // 8, -(-len(x) // 1200))
    padded = np.concatenate([np.zeros(size // 2), x, np.zeros(size + 2 * hop)])
    count = (len(x) - 1) // hop + 2
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)[: count * hop : hop]
    power = np.abs(np.fft.rfft(frames * np.hanning(size), axis=1)) ** 2
    bins = np.fft.rfftfreq(size, 1 / rate)
    low = max(30.0, bins[1])
    rows = np.geomspace(low, rate / 2, 320)
    place = np.interp(rows, bins, np.arange(len(bins)))
    below = np.minimum(place.astype(int), len(bins) - 2)
    share = place - below
    spread = power[:, below] * (1 - share) + power[:, below + 1] * share
    top = max(float(spread.max()), 1e-30)
    decibels = 10 * np.log10(np.maximum(spread / top, 1e-9))
    times = (np.arange(count + 1) - 0.5) * hop / rate
    edges = np.geomspace(low, rate / 2, len(rows) + 1)
    image = axes.pcolormesh(
        times, edges, decibels.T, cmap="magma", vmin=-90, vmax=0, rasterized=True
    )
    axes.set(yscale="log", xlim=(0, len(x) / rate), ylim=(low, rate / 2), facecolor="black")
    ticks = [t for t in (50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000) if low <= t <= rate / 2]
    axes.set_yticks(ticks, [f"{t // 1000} k" if t >= 1000 else str(t) for t in ticks])
    axes.set_yticks([], minor=True)
    axes.set_xlabel("seconds", fontsize=FONT, color=FAINT)
    axes.set_ylabel("Hz", fontsize=FONT, color=FAINT)
    quiet(axes)
    return image
