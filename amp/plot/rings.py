"""Memory: what the rings of a program hold, over time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from amp.errors import BadInput
from amp.plot.figures import FAINT, FONT, INK, KERNELS, LOOP, MAX_ROWS, new_figure, quiet

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from amp.program import Result


def memory(result: Result) -> Figure:
    """Tokens that every edge holds, over time, below the capacity of its ring: the fullest first, 24 at
    most.

    Parameters
    ----------
    result
        What ``program.run(..., memory_every=n)`` returned.

    Raises
    ------
    BadInput
        If the run was not told to note what rings hold.
    """
    samples = result.memory
    if not samples:
        raise BadInput(
            "a run notes what its rings hold on request", fix="program.run(..., memory_every=64)"
        )
    seconds = np.array([sample.clock for sample in samples]) / result.sample_rate
    tokens, capacity = (
        np.array([[getattr(use, name) for use in sample.rings] for sample in samples])
        for name in ("tokens", "capacity")
    )
    uses = samples[-1].rings
    order = np.argsort([-use.most for use in uses], kind="stable")[:MAX_ROWS]
    figure = new_figure(9.0, 1.0 + 0.8 * max(1, len(order)))
    grid = figure.subplots(max(1, len(order)), 1, squeeze=False, sharex=True)
    for row, number in enumerate(order):
        axes, use = grid[row][0], uses[number]
        colour = KERNELS[row % len(KERNELS)]
        axes.fill_between(seconds, tokens[:, number], step="post", color=colour, alpha=0.35)
        axes.step(seconds, tokens[:, number], where="post", color=colour, linewidth=1.0)
        axes.step(
            seconds, capacity[:, number], where="post", color=LOOP, linewidth=0.8, linestyle="--"
        )
        axes.set(ylim=(0, 1.1 * capacity[:, number].max()))
        axes.set_title(f"{use.source} > {use.consumer}", loc="left", fontsize=FONT, color=INK)
        words = f"{use.most} at most, capacity {use.capacity}, grown {len(use.growth)} times"
        axes.set_title(words, loc="right", fontsize=FONT - 0.5, color=FAINT)
        quiet(axes)
    grid[-1][0].set_xlabel("seconds", fontsize=FONT, color=FAINT)
    left = len(uses) - len(order)
    title = f"{samples[-1].bytes:,} bytes, {len(uses)} edges in rings"
    figure.suptitle(
        title + (f", of which {left} are not drawn" if left else ""), fontsize=FONT + 1, color=INK
    )
    return figure
