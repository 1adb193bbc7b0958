"""From one graph to the next: what is kept, and the crossfade between what is heard."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from amp.errors import BadGraph
from amp.graph import Graph
from amp.nodes.crossfade import Crossfade
from amp.schedule import plan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray

    from amp.frozen import Edge, Frozen, Node
    from amp.instance import Instance, Signals
    from amp.jit.snapshot import Arrays, Tokens
    from amp.schedule import IPLS

    Make = Callable[[Graph, IPLS | None], Instance]

_PIECE = 4096
"""Most frames that both sides of a crossfade run at a time."""


def check_follows(old: Frozen, graph: Graph) -> None:
    """Refuse a graph that cannot take another's place under a caller who goes on as before."""
    new = graph.freeze()
    for what, before, after in (
        ("sample rate", old.sample_rate, new.sample_rate),
        ("batch", old.batch, new.batch),
        ("inputs, by name and channels,", _border(old, "input"), _border(new, "input")),
    ):
        if before != after:
            raise BadGraph(
                f"a swap keeps the {what} of the program",
                expected=str(before),
                got=str(after),
                fix="compile a program of its own for it",
            )
    before, after = _border(old, "output"), _border(new, "output")
    for name in before.keys() & after.keys():
        if before[name] != after[name]:
            raise BadGraph(
                f"an output that a swap keeps has as many channels as before: {name!r}",
                expected=str(before[name]),
                got=str(after[name]),
                fix="give it another name",
            )


def _border(graph: Frozen, side: str) -> dict[str, int]:
    """Channels of each input or output."""
    return {node.name: node.channels for node in graph.nodes if node.type.border == side}


def next_schedule(old: IPLS | None, graph: Graph) -> IPLS | None:
    """The schedule of ``graph`` if none is given: the old one where it fits, else one like it."""
    if old is None or old.graph == graph.fingerprint():
        return old
    width = max(cohort.width for _, stage, _ in old.walk() for cohort in stage.cohorts)
    return plan(graph, old.block, width)


# ---- what is kept


def carry_over(old: Instance, new: Instance) -> None:
    """Put ``new`` at the clock of ``old``, with everything of its state that has a place there."""
    clock = old.clock
    if not clock:
        return
    states, lines, tokens = new.read(clock)
    old_states, old_lines, old_tokens = old.read(clock)
    same = {
        node.name
        for node in new.about.nodes
        if (before := _node(old.about, node.name)) is not None
        and (before.kind, before.channels) == (node.kind, node.channels)
    }
    _keep_states(states, old_states, same)
    _keep_lines(lines, old_lines, same)
    _keep_tokens(new, tokens, clock, _pasts(old.about, old_tokens, new.about, same))
    new.write(clock, (states, lines, tokens))


def _node(graph: Frozen, name: str) -> Node | None:
    index = graph.numbers.get(name)
    return None if index is None else graph.nodes[index]


def _keep_states(states: Arrays, old: Arrays, same: set[str]) -> None:
    """States of one name, type and shape."""
    for name in same & states.keys() & old.keys():
        for state, array in states[name].items():
            before = old[name].get(state)
            if before is not None and (before.shape, before.dtype) == (array.shape, array.dtype):
                array[:] = before


def _keep_lines(lines: Arrays, old: Arrays, same: set[str]) -> None:
    """The newest values of lines of one name; a longer line has silence before them."""
    for name in same & lines.keys() & old.keys():
        for line, array in lines[name].items():
            before = old[name].get(line)
            if before is not None and before.shape[:2] == array.shape[:2]:
                _end_with(array, before)


def _end_with(array: NDArray[np.float64], past: NDArray[np.float64]) -> None:
    """Write the newest of ``past`` to the end of ``array``, and silence before it."""
    count = min(array.shape[2], past.shape[2])
    array[..., : array.shape[2] - count] = 0.0
    array[..., array.shape[2] - count :] = past[..., past.shape[2] - count :]


Outlet = tuple[str, int]


def _pasts(
    old: Frozen, old_tokens: Tokens, new: Frozen, same: set[str]
) -> dict[Outlet, NDArray[np.float64]]:
    """What each outlet is taken to have written: one past, whoever reads it, since readers may share
    a ring. Of an outlet that was there it is what its edges held; else its initial tokens."""
    known = _longest(
        (old.nodes[edge.source].name, edge, old_tokens.get((node.name, number)))
        for node, number, edge in _edges(old)
    )
    declared = _longest(
        (new.nodes[edge.source].name, edge, edge.initial) for _, _, edge in _edges(new)
    )
    return {
        outlet: past
        for source, has in ((known, True), (declared, False))
        for outlet, past in source.items()
        if (outlet[0] in same) == has
    }


def _edges(graph: Frozen) -> Iterator[tuple[Node, int, Edge]]:
    for node in graph.nodes:
        for number, edge in enumerate(node.edges):
            yield node, number, edge


def _longest(
    rows: Iterable[tuple[str, Edge, NDArray[np.float64] | None]],
) -> dict[Outlet, NDArray[np.float64]]:
    """The longest array of each outlet."""
    found: dict[Outlet, NDArray[np.float64]] = {}
    for name, edge, tokens in rows:
        known = found.get((name, edge.outlet))
        if tokens is not None and (known is None or tokens.shape[2] > known.shape[2]):
            found[name, edge.outlet] = tokens
    return found


def _keep_tokens(
    new: Instance, tokens: Tokens, clock: int, pasts: dict[Outlet, NDArray[np.float64]]
) -> None:
    """Fill edges from the past of their outlets. What an edge holds from before clock 0 stays what it
    is: its own initial tokens."""
    graph = new.about
    for (name, number), held in tokens.items():
        node = graph.nodes[graph.numbers[name]]
        edge = node.edges[number]
        written, _ = new.pace.tokens(int(graph.first[node.index]) + number, clock)
        later = held[..., max(0, held.shape[2] - written) :]
        past = pasts.get((graph.nodes[edge.source].name, edge.outlet), held[..., :0])
        _end_with(later, past)


# ---- what is heard


class Fade:
    """Two instances at work, and a third one that mixes what they give.

    Frames of the fade follow the clock, so a run may be cut anywhere. Outputs that only one side has
    come from silence, or go there.
    """

    def __init__(self, old: Instance, new: Instance, frames: int, make: Make) -> None:
        self.old, self.new, self.frames = old, new, frames
        self.outputs = {**new.outputs, **old.outputs}
        self.latency = {**old.latency, **new.latency}
        graph = Graph(new.about.sample_rate, new.about.batch)
        for name, node in self.outputs.items():
            sides = [
                graph.input(f"{side}: {name}", node.channels) if name in instance.outputs else 0.0
                for side, instance in (("old", old), ("new", new))
            ]
            graph.output(name, graph.add(Crossfade(frames), *sides))
        self._mixer = make(graph, None)

    @property
    def left(self) -> int:
        """Frames until the fade is over."""
        return self.frames - self._mixer.clock

    def run_until(
        self,
        clock: int,
        arrays: Signals,
        results: Signals,
        begin: int,
        tell: Callable[[int], None] | None,
    ) -> None:
        """Move all on; arrays and results have their first frame at clock ``begin``."""
        clock = min(clock, self.new.clock + self.left)
        start = self.new.clock - self._mixer.clock
        piece = min(_PIECE, clock - self.new.clock)
        heard = [self._room(side, piece) for side in (self.old, self.new)]
        sides = {
            f"{side}: {name}": array
            for side, some in zip(("old", "new"), heard, strict=True)
            for name, array in some.items()
        }
        self._mixer.write_to(results, begin - start)
        while (at := self.new.clock) < clock:
            until = min(at + piece, clock)
            for side, some in zip((self.old, self.new), heard, strict=True):
                side.read_from(arrays, begin)
                side.write_to(some, at)
                side.run_until(until)
            self._mixer.read_from(sides, at - start)
            self._mixer.run_until(until - start)
            if tell is not None:
                tell(until)
        for name in self.outputs.keys() - self.new.outputs.keys():
            results[name][..., clock - begin :] = 0.0

    def _room(self, side: Instance, frames: int) -> dict[str, NDArray[np.float64]]:
        batch = self.new.about.batch
        return {
            name: np.empty((batch, node.channels, frames)) for name, node in side.outputs.items()
        }
