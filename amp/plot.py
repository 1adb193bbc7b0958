"""Pictures: a graph, a schedule with its measured times, the signals of a result.

Each function returns a Matplotlib ``Figure``, which a notebook shows and ``savefig`` writes; nothing
goes through pyplot, so nothing is left open. ``pip install 'amp-dsp[plot]'`` brings Matplotlib.
"""

from __future__ import annotations

import functools
import io
import itertools
import textwrap
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from amp.errors import AmpError, BadInput, BadValue

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from amp.graph import Graph, Node
    from amp.program import Program, Result

MAX_BOXES = 60
"""Graphs of more nodes are drawn with one box for each cohort."""
MAX_ROWS = 24
MAX_CHANNELS = 4

INK, FAINT, LOOP = "#1f2933", "#7b8794", "#c2410c"
FAMILIES = {
    "borders": ("#334e68", "Input Output"),
    "sources": ("#d97706", "Saw Square Triangle Sine Noise Constant"),
    "filters": ("#2563eb", "OnePole Biquad SecondOrderSections StateVariable"),
    "envelopes": ("#059669", "Envelope"),
    "delays": ("#7c3aed", "Delay"),
    "mixing": ("#0e7490", "Mix Pan MatrixMix"),
    "arithmetic": ("#64748b", "Add Multiply Gain Clip Function Function2"),
    "other": ("#be185d", ""),
}
KERNELS = (
    "#2563eb", "#d97706", "#059669", "#7c3aed", "#be185d", "#0e7490", "#65a30d", "#b45309",
    "#4f46e5", "#dc2626", "#0d9488", "#a21caf",
)  # fmt: skip
FONT = 8.5


def _family(kind: str) -> str:
    return next((name for name, (_, kinds) in FAMILIES.items() if kind in kinds.split()), "other")


@functools.cache
def _picture() -> type[Figure]:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise AmpError(
            "pictures are drawn by Matplotlib", got=str(error), fix="pip install 'amp-dsp[plot]'"
        ) from None

    class Picture(Figure):
        """A figure that shows itself in a notebook."""

        def _repr_png_(self) -> bytes:
            buffer = io.BytesIO()
            FigureCanvasAgg(self).print_figure(buffer, dpi=110, bbox_inches="tight")
            return buffer.getvalue()

    return Picture


def _figure(width: float, height: float) -> Figure:
    return _picture()(figsize=(width, height), dpi=150, layout="constrained", facecolor="white")


# ---- the graph


@dataclass
class _Box:
    """Something with a place in a layer: nodes drawn as one, or a bend of a long edge."""

    layer: int
    nodes: list[Node] = field(default_factory=list)
    beside: list[_Box] = field(default_factory=list)  # what it should stand level with
    y: float = 0.0

    @property
    def half(self) -> float:
        """Half of the height that it needs."""
        return 0.42 if self.nodes else 0.2


def graph(g: Graph) -> Figure:
    """The graph from left to right; beyond 60 nodes one box stands for a cohort.

    A thick line carries several channels. A dashed one holds tokens from the start: their number
    is written as a power of z. Edges with a delay say it in frames.
    """
    frozen = g.freeze()
    nodes = frozen.nodes
    box_of = _boxes(nodes)
    wires: dict[tuple[int, int, int, int], tuple[_Box, _Box, int]] = {}
    for node in nodes:
        for edge in node.edges:
            source, target = box_of[edge.source], box_of[node.index]
            if source is target and not edge.tokens:
                continue  # inside a cohort
            key4 = (id(source), id(target), edge.tokens, edge.delay)
            wires[key4] = (source, target, nodes[edge.source].channels)
    boxes = list({id(box): box for box in box_of.values()}.values())
    routes = []
    lanes: dict[tuple[int, int, int, bool, int], _Box] = {}  # wires of one stream share their way
    for (_, _, tokens, delay), (source, target, channels) in wires.items():
        bends = [
            lanes.setdefault((id(source), tokens, delay, turns, layer), _Box(layer))
            for turns, layer in _bends(source, target)
        ]
        chain = [source, *bends, target]
        for a, b in itertools.pairwise(chain):
            a.beside.append(b)
            b.beside.append(a)
        routes.append((chain, tokens, delay, channels))
    boxes += lanes.values()
    _place(boxes)
    low, high = min(b.y for b in boxes), max(b.y for b in boxes)
    depth = 1 + max(b.layer for b in boxes)
    figure = _figure(min(40.0, 1.45 * depth + 0.3), min(40.0, 0.62 * (high - low) + 1.35))
    axes = figure.add_subplot()
    for route in routes:
        _draw_wire(axes, *route)
    for box in boxes:
        if box.nodes:
            _draw_box(axes, box)
    axes.set(xlim=(-0.55, depth - 0.45), ylim=(high + 0.45, low - 0.45))
    axes.axis("off")
    axes.set_title(
        f"{_many(len(nodes), 'node')}, {_many(len(frozen.source), 'edge')}, {frozen.sample_rate:g} Hz, "
        f"batch {frozen.batch}",
        loc="left",
        fontsize=FONT + 1.5,
        color=INK,
    )
    _legend(figure, sorted({_family(n.kind) for n in nodes}, key=list(FAMILIES).index))
    return figure


def _boxes(nodes: list[Node]) -> dict[int, _Box]:
    """The box of each node: its own, a cohort's, or (in graphs of many cohorts) its type's."""
    layer = _layers(nodes)
    keys: list[tuple[object, ...]] = [(node.index,) for node in nodes]
    if len(nodes) > MAX_BOXES:
        keys = [(node.signature, layer[node.index]) for node in nodes]
    if len(set(keys)) > 3 * MAX_BOXES:
        keys = [(node.kind,) for node in nodes]
        first: dict[tuple[object, ...], int] = {}
        for node, key in zip(nodes, keys, strict=True):
            first[key] = min(layer[node.index], first.get(key, layer[node.index]))
        rank = {number: i for i, number in enumerate(sorted(set(first.values())))}
        layer = [rank[first[key]] for key in keys]
    made: dict[tuple[object, ...], _Box] = {}
    box_of = {}
    for node, key in zip(nodes, keys, strict=True):
        box = box_of[node.index] = made.setdefault(key, _Box(layer[node.index]))
        box.nodes.append(node)
    return box_of


def _layers(nodes: list[Node]) -> list[int]:
    """Longest path to each node along edges without tokens; sources stand by their readers."""
    layer = [0] * len(nodes)
    direct = [(e.source, n.index) for n in nodes for e in n.edges if not e.tokens]
    for _ in range(min(len(nodes), 1000)):  # two rounds, unless feedback streams are about
        changed = False
        for source, target in direct:
            if layer[target] <= layer[source] < len(nodes):
                layer[target] = layer[source] + 1
                changed = True
        if not changed:
            break
    readers = defaultdict(list)
    led = {target for _, target in direct}
    for source, target in direct:
        readers[source].append(layer[target])
    for node in nodes:
        if node.index not in led and node.type.border != "input" and readers[node.index]:
            layer[node.index] = max(0, min(readers[node.index]) - 1)
    return layer


def _bends(source: _Box, target: _Box) -> list[tuple[bool, int]]:
    """Layers that a wire passes between its ends; one that turns back passes theirs too."""
    if target.layer > source.layer:
        return [(False, i) for i in range(source.layer + 1, target.layer)]
    return [(True, i) for i in range(source.layer, target.layer - 1, -1)]


def _place(boxes: list[_Box]) -> None:
    """Order within layers by the mean height of the neighbours, then level neighbours out.

    Sugiyama, Tagawa & Toda, "Methods for visual understanding of hierarchical system structures",
    1981.
    """
    layers: dict[int, list[_Box]] = defaultdict(list)
    for box in boxes:
        layers[box.layer].append(box)
    for some in layers.values():
        _spread(some, [0.0] * len(some))
    numbers = sorted(layers)
    for sweep in range(24):
        for number in numbers if sweep % 2 == 0 else reversed(numbers):
            some = layers[number]
            wish = {id(b): float(np.mean([n.y for n in b.beside])) for b in some if b.beside}
            last = max(wish.values(), default=0.0) + 1.0  # what has no neighbours stands below
            wish = {id(b): wish.get(id(b), last) for b in some}
            some.sort(key=lambda b: wish[id(b)])
            _spread(some, [wish[id(b)] for b in some])


def _spread(column: list[_Box], wish: list[float]) -> None:
    """Heights as near to ``wish`` as boxes that do not overlap can be: pool adjacent violators."""
    offsets = np.concatenate(
        [[0.0], np.cumsum([a.half + b.half for a, b in itertools.pairwise(column)])]
    )
    pools: list[tuple[float, int]] = []
    for value in np.array(wish) - offsets:
        pool = (float(value), 1)
        while pools and pools[-1][0] > pool[0]:
            mean, count = pools.pop()
            total = count + pool[1]
            pool = ((mean * count + pool[0] * pool[1]) / total, total)
        pools.append(pool)
    bases = [mean for mean, count in pools for _ in range(count)]
    for box, base, offset in zip(column, bases, offsets, strict=True):
        box.y = base + float(offset)


BOX_WIDTH, BOX_HEIGHT = 0.74, 0.56


def _draw_wire(axes: Axes, chain: list[_Box], tokens: int, delay: int, channels: int) -> None:
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    back = chain[-1].layer <= chain[0].layer
    half = BOX_WIDTH / 2
    points = [(chain[0].layer + half, chain[0].y)]
    for bend in chain[1:-1]:
        sides = (half, -half) if back else (-half, half)
        points += [(bend.layer + side, bend.y) for side in sides]
    points.append((chain[-1].layer - half, chain[-1].y))
    vertices = [points[0]]
    for i, ((x0, y0), (x1, y1)) in enumerate(itertools.pairwise(points)):
        pull = (x1 - x0) / 2
        first, second = x0 + pull, x1 - pull
        if back and i in {0, len(points) - 2}:  # the turns
            first, second = (x0 + 0.12, x1 + 0.12) if i == 0 else (x0 - 0.12, x1 - 0.12)
        vertices += [(first, y0), (second, y1), (x1, y1)]
    colour = LOOP if tokens else "#9aa5b1"
    curve = Path(vertices, [Path.MOVETO] + [Path.CURVE4] * (len(vertices) - 1))
    axes.add_patch(
        PathPatch(
            curve,
            facecolor="none",
            edgecolor=colour,
            linewidth=1.0 if channels == 1 else 2.0,
            linestyle=(0, (4, 2)) if tokens else "-",
            capstyle="round",
            zorder=1,
        )
    )
    x, y = points[-1]
    axes.plot([x - 0.02], [y], marker=">", markersize=4, color=colour, zorder=2, clip_on=False)
    words = [f"$z^{{-{tokens}}}$"] * bool(tokens) + [f"{delay} frames"] * bool(delay)
    if words:
        middle = chain[len(chain) // 2]
        at_x, at_y = float(middle.layer), middle.y
        if len(chain) == 2:
            at_x, at_y = (points[0][0] + x) / 2, (points[0][1] + y) / 2
        axes.text(
            at_x,
            at_y,
            ", ".join(words),
            fontsize=FONT - 1,
            color=colour,
            ha="center",
            va="center",
            zorder=3,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8},
        )


def _draw_box(axes: Axes, box: _Box) -> None:
    from matplotlib.patches import FancyBboxPatch

    first = box.nodes[0]
    colour = FAMILIES[_family(first.kind)][0]
    axes.add_patch(
        FancyBboxPatch(
            (box.layer - BOX_WIDTH / 2 + 0.04, box.y - BOX_HEIGHT / 2 + 0.04),
            BOX_WIDTH - 0.08,
            BOX_HEIGHT - 0.08,
            boxstyle="round,pad=0.04,rounding_size=0.09",
            facecolor="white",
            edgecolor=colour,
            linewidth=1.4,
            zorder=4,
            mutation_aspect=2.2,
        )
    )
    if len(box.nodes) > 1:
        title, below = first.kind, f"\N{MULTIPLICATION SIGN} {len(box.nodes)}"
    else:
        title, below = first.name, _detail(first)
    y = box.y - (0.11 if below else 0)
    axes.text(
        box.layer,
        y,
        _shorten(title, 19),
        fontsize=FONT * min(1.0, 13 / len(title)) if len(title) < 20 else FONT * 13 / 19,
        color=colour,
        weight="bold",
        ha="center",
        va="center",
        zorder=5,
    )
    if below:
        axes.text(
            box.layer,
            box.y + 0.14,
            _shorten(below, 24),
            fontsize=(FONT - 1.5) * min(1.0, 18 / min(24, len(below))),
            color=FAINT,
            ha="center",
            va="center",
            zorder=5,
        )


def _detail(node: Node) -> str:
    """Second line of a box: the type, and the first word that tells it from others."""
    words = [node.kind] if node.kind.lower() not in node.name.lower() else []
    words += [
        str(value) for name in node.type.attrs if isinstance(value := getattr(node.type, name), str)
    ]
    return " ".join(words)


def _shorten(text: str, limit: int) -> str:
    text = "".join(c if c.isprintable() else "?" for c in text)
    text = text if len(text) <= limit else text[: limit - 1] + "…"
    return text.replace("$", r"\$")


def _legend(figure: Figure, families: Sequence[str]) -> None:
    from matplotlib.patches import Patch

    handles = [
        Patch(facecolor="white", edgecolor=FAMILIES[name][0], linewidth=1.4, label=name)
        for name in families
    ]
    figure.legend(
        handles=handles,
        loc="outside lower left",
        ncols=len(handles),
        frameon=False,
        fontsize=FONT - 0.5,
        handlelength=1.4,
        columnspacing=1.4,
    )


# ---- the schedule


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
        figure = _figure(width, 0.27 * len(kernels) + 0.9)
        _draw_times(figure.add_subplot(), kernels, block, program)
        return figure
    figure = _figure(width, sum(heights) + 0.4)
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
    waiting = defaultdict(list)
    for call in program._instance.bound.lowered.calls:
        waiting[str(call)].append(call)
    kernels = []
    for timing in timings:
        call = waiting[timing.label].pop(0)
        members = [node.name for group in call.groups for node in group.members]
        label = " > ".join(
            f"{g.first.kind} \N{MULTIPLICATION SIGN}{len(g.members)}"
            if len(g.members) > 1
            else g.first.name
            for g in call.groups
        )
        seconds = timing.seconds * block / frames
        kernels.append(_Kernel(label, call.lanes, call.width, members, seconds))
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
            name = _shorten(cohort.type, 14 - len(times))
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
        colour = KERNELS[y % len(KERNELS)] if ordered else FAMILIES[_family(kernel.label)][0]
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
            words += [] if ordered else [_many(kernel.count, "process")]
            words += [_many(kernel.lanes, "lane")]
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


def _many(count: int, word: str) -> str:
    ending = "" if count == 1 else "es" if word.endswith("s") else "s"
    return f"{count} {word}{ending}"


# ---- signals


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
    figure = _figure(max(9.0, 6.2 * columns), 4.6 * len(result))
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
    _quiet(axes)


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
    _quiet(axes)
    return image


def _quiet(axes: Axes) -> None:
    axes.tick_params(labelsize=FONT - 1, colors=FAINT, length=2)
    axes.spines[["top", "right"]].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color("#cbd5e1")
