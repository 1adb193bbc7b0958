"""A graph: nodes in layers, edges with their tokens and delays."""

from __future__ import annotations

import itertools
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from amp.plot.figures import (
    FAINT,
    FAMILIES,
    FONT,
    INK,
    LOOP,
    MAX_BOXES,
    family,
    many,
    new_figure,
    shorten,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from amp.graph import Graph, Node


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
    figure = new_figure(min(40.0, 1.45 * depth + 0.3), min(40.0, 0.62 * (high - low) + 1.35))
    axes = figure.add_subplot()
    for route in routes:
        _draw_wire(axes, *route)
    for box in boxes:
        if box.nodes:
            _draw_box(axes, box)
    axes.set(xlim=(-0.55, depth - 0.45), ylim=(high + 0.45, low - 0.45))
    axes.axis("off")
    axes.set_title(
        f"{many(len(nodes), 'node')}, {many(len(frozen.source), 'edge')}, {frozen.sample_rate:g} Hz, "
        f"batch {frozen.batch}",
        loc="left",
        fontsize=FONT + 1.5,
        color=INK,
    )
    _legend(figure, sorted({family(n.kind) for n in nodes}, key=list(FAMILIES).index))
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
    words = [f"$z^{{{-tokens}}}$"] * bool(tokens) + [f"{delay} frames"] * bool(delay)
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
    colour = FAMILIES[family(first.kind)][0]
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
        shorten(title, 19),
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
            shorten(below, 24),
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
