"""Heat: the temperature of the nodes of a result, over time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from amp.errors import BadInput
from amp.plot.figures import FAINT, FONT, INK, KERNELS, MAX_ROWS, new_figure, quiet, shorten
from amp.result import Result

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure


def heat(results: Result | Sequence[Result], names: Sequence[str] = ()) -> Figure:
    """Temperature of nodes [K], over time, and the heat that each has in the end [J].

    Parameters
    ----------
    results
        What ``program.run`` returned, or several results of runs one after another.
    names
        Nodes to draw; by default those that have the most heat, 24 at most. Each batch is a line.

    Raises
    ------
    BadInput
        If there is no heat, or a node is not there.
    """
    some = [results] if isinstance(results, Result) else list(results)
    known = some[-1].heat if some else {}
    if not known or any(name not in known for name in names):
        raise BadInput(
            "the heat of nodes is drawn, of a result that has it",
            expected=", ".join([*known][:12]),
            got=repr(list(names)),
            fix="compile without heat=0",
        )
    order = list(names) or sorted(known, key=lambda name: -float(np.abs(known[name][:, -1]).max()))
    order = order[:MAX_ROWS]
    figure = new_figure(9.0, 1.0 + 0.8 * len(order))
    grid = figure.subplots(len(order), 1, squeeze=False, sharex=True)
    clock = np.concatenate([result.heat.clock for result in some])
    for row, name in enumerate(order):
        axes = grid[row][0]
        kelvin = np.concatenate([result.temperature[name] for result in some], axis=1)
        axes.plot(
            clock / some[-1].sample_rate,
            kelvin.T,
            color=KERNELS[row % len(KERNELS)],
            linewidth=1.0,
            marker=".",
            markersize=2,
        )
        axes.ticklabel_format(axis="y", useOffset=False)
        axes.set_title(shorten(name, 60), loc="left", fontsize=FONT, color=INK)
        words = f"{known[name][:, -1].mean():.4g} J"
        axes.set_title(words, loc="right", fontsize=FONT - 0.5, color=FAINT)
        axes.set_ylabel("K", fontsize=FONT, color=FAINT)
        quiet(axes)
    grid[-1][0].set_xlabel("seconds", fontsize=FONT, color=FAINT)
    left = len(known) - len(order)
    title = f"{sum(float(h[:, -1].mean()) for h in known.values()):.4g} J in {len(known)} nodes"
    figure.suptitle(
        title + (f", of which {left} are not drawn" if left else ""), fontsize=FONT + 1, color=INK
    )
    return figure
