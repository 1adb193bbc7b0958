"""A schedule: its stages, what became one kernel, and what each costs."""

from __future__ import annotations

import itertools
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from amp.errors import BadValue
from amp.plot.figures import (
    FAINT,
    FAMILIES,
    FONT,
    INK,
    KERNELS,
    LOOP,
    MAX_ROWS,
    family,
    many,
    new_figure,
    shorten,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from amp.program import Program


@dataclass
class _Kernel:
    """A kernel, or several that are shown as one."""

    label: str
    lanes: int
    width: int
    members: list[str]
    seconds: float = 0.0
    count: int = 1


def schedule(program: Program) -> Figure:
    """What runs when, and what it costs; compile with ``timing=True`` and run first.

    For a schedule: its stages, coloured by the kernel that each cohort became part of, and the
    kernels one after another as they were measured. For the KPN: processes by type, dearest first.
    """
    kernels, block = _measured(program)
    plan = program.schedule
    if plan is None:
        kernels = _by_type(kernels)
    kernels, rest = kernels[:MAX_ROWS], kernels[MAX_ROWS:]
    if rest:
        kernels.append(
            _Kernel(f"{len(rest)} more", 0, 0, [], sum(k.seconds for k in rest), len(rest))
        )
    stages = [] if plan is None else [(stage, path) for _, stage, path in plan.walk()][:40]
    tallest = min(12, max((len(s.cohorts) for s, _ in stages), default=0))
    heights = [0.3 * tallest + 0.5, 0.62 * len(kernels) + 1.0]
    width = max(10.0, 0.92 * len(stages) + 1.0)
    if not stages:
        figure = new_figure(width, 0.27 * len(kernels) + 0.9)
        _draw_times(figure.add_subplot(), kernels, block, program)
        return figure
    figure = new_figure(width, sum(heights) + 0.4)
    upper, lower = figure.subplots(2, 1, height_ratios=heights)
    kernel_of = {name: i for i, kernel in enumerate(kernels) for name in kernel.members}
    _draw_stages(upper, [stage for stage, _ in stages], kernel_of, tallest)
    _draw_loops(upper, [_loop_block(program, path) for _, path in stages], tallest)
    _draw_times(lower, kernels, block, program)
    return figure


def _measured(program: Program) -> tuple[list[_Kernel], int]:
    """Kernels with seconds per iteration, and the frames of one."""
    timings = program.timing
    frames = max((t.frames for t in timings), default=0)
    if not frames:
        raise BadValue("a schedule is drawn from measured times", fix="run the program first")
    block = 64 if program.schedule is None else program.schedule.block
    kernels = []
    for timing, call in zip(timings, program._instance.runner.calls, strict=True):
        label = " > ".join(
            f"{g.first.kind} \N{MULTIPLICATION SIGN}{len(g.members)}"
            if len(g.members) > 1
            else g.first.name
            for g in call.groups
        )
        seconds = timing.seconds * block / frames
        kernels.append(_Kernel(label, call.lanes, call.width, [*timing.nodes], seconds))
        kernels[-1].label = label if program.schedule else call.groups[0].first.kind
    return kernels, block


def _by_type(kernels: list[_Kernel]) -> list[_Kernel]:
    found: dict[str, _Kernel] = {}
    for kernel in kernels:
        known = found.setdefault(kernel.label, _Kernel(kernel.label, 0, kernel.width, [], count=0))
        known.lanes += kernel.lanes
        known.seconds += kernel.seconds
        known.count += 1
    return sorted(found.values(), key=lambda k: -k.seconds)


def _draw_stages(axes: Axes, stages: Sequence[Any], kernel_of: dict[str, int], tall: int) -> None:
    from matplotlib.patches import Rectangle

    for x, stage in enumerate(stages):
        for y, cohort in enumerate(stage.cohorts[:tall]):
            kernel = kernel_of.get(cohort.members[0], -1)
            colour = KERNELS[kernel % len(KERNELS)] if kernel >= 0 else FAINT
            axes.add_patch(
                Rectangle((x + 0.04, y + 0.06), 0.92, 0.88, color=colour, alpha=0.14, lw=0)
            )
            axes.add_patch(Rectangle((x + 0.04, y + 0.06), 0.05, 0.88, color=colour, lw=0))
            count = len(cohort.members)
            times = f"\N{MULTIPLICATION SIGN}{count}" if count > 1 else ""
            name = shorten(cohort.type, 14 - len(times))
            axes.text(
                x + 0.13,
                y + 0.5,
                f"{name} {times}",
                fontsize=FONT - 2,
                va="center",
                color=INK,
                clip_on=True,
            )
        if len(stage.cohorts) > tall:
            axes.text(
                x + 0.5,
                tall - 0.02,
                f"+ {len(stage.cohorts) - tall}",
                fontsize=FONT - 2,
                ha="center",
                va="top",
                color=FAINT,
            )
    axes.set(xlim=(0, len(stages)), ylim=(max(tall, 1), 0), yticks=[])
    axes.set_xticks(np.arange(len(stages)) + 0.5, [str(i) for i in range(len(stages))])
    axes.tick_params(length=0, labelsize=FONT - 1, colors=FAINT)
    axes.spines[:].set_visible(False)
    axes.set_title(
        "Stages in order; a colour is one kernel", loc="left", fontsize=FONT + 1, color=INK
    )


def _loop_block(program: Program, path: tuple[int, ...]) -> int:
    """Block of the innermost loop that a stage is in; 0 outside of loops."""
    block, items = 0, program.schedule.stages if program.schedule else ()
    for i in path[:-1]:
        loop: Any = items[i]
        block, items = loop.block, loop.stages
    return block


def _draw_loops(axes: Axes, blocks: list[int], tall: int) -> None:
    x = 0
    for block, run in itertools.groupby(blocks):
        count = len(list(run))
        if block:
            axes.plot([x + 0.04, x + count - 0.04], [tall + 0.1] * 2, color=LOOP, linewidth=1.6)
            axes.text(
                x + count / 2,
                tall + 0.2,
                f"loop of block {block}",
                fontsize=FONT - 1.5,
                color=LOOP,
                ha="center",
                va="top",
            )
        x += count
    if any(blocks):
        axes.set_ylim(tall + 0.95, 0)


def _draw_times(axes: Axes, kernels: list[_Kernel], block: int, program: Program) -> None:
    total = sum(k.seconds for k in kernels) or 1e-12
    lasts = block / program._instance.about.sample_rate
    ordered = program.schedule is not None  # else the order is up to the data
    whole = total if ordered else max(k.seconds for k in kernels) or 1e-12
    begin = 0.0
    for y, kernel in enumerate(kernels):
        colour = KERNELS[y % len(KERNELS)] if ordered else FAMILIES[family(kernel.label)][0]
        axes.barh(y, 1e6 * whole, height=0.42 if ordered else 0.6, color="#f1f5f9", zorder=1)
        axes.barh(
            y,
            1e6 * kernel.seconds,
            left=1e6 * begin,
            height=0.42 if ordered else 0.6,
            color=colour,
            zorder=3,
        )
        if ordered:
            name = textwrap.shorten(kernel.label, 120, placeholder=" …").replace("$", r"\$")
            axes.text(0, y - 0.28, name, fontsize=FONT - 0.5, color=INK, va="bottom")
            begin += kernel.seconds
        words = [f"{1e6 * kernel.seconds:,.2f} µs", f"{kernel.seconds / total:.0%}"]
        if kernel.width:
            words += [] if ordered else [many(kernel.count, "process")]
            words += [many(kernel.lanes, "lane")]
            words += [f"width {kernel.width}"] if ordered else []
        axes.text(
            1.012e6 * whole, y, "   ".join(words), fontsize=FONT - 0.5, va="center", color=INK
        )
    top = -0.75 if ordered else -0.5
    axes.set(xlim=(0, 1.36e6 * whole), ylim=(len(kernels) - 0.5, top), yticks=[])
    axes.set_xticks([t for t in axes.get_xticks() if 0 <= t <= 1e6 * whole])
    axes.tick_params(labelsize=FONT - 1, colors=FAINT, length=2)
    if not ordered:
        axes.set_yticks(range(len(kernels)), [k.label for k in kernels], color=INK, fontsize=FONT)
        axes.tick_params(axis="y", length=0)
    axes.spines[:].set_visible(False)
    axes.set_xlabel(
        "µs, one kernel after another" if ordered else "µs, all processes of a type",
        fontsize=FONT,
        color=FAINT,
        loc="left",
    )
    kind = "IPLS" if ordered else "KPN"
    axes.set_title(
        f"{kind}: {block} frames in {1e6 * total:,.1f} µs; they last {1e6 * lasts:,.0f} µs "
        f"({lasts / total:,.0f} times real time)",
        loc="left",
        fontsize=FONT + 1,
        color=INK,
    )
