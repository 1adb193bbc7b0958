"""From one graph to the next: what is kept, and the crossfade between what is heard."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from amp.errors import BadGraph
from amp.graph import Graph
from amp.nodes.crossfade import Crossfade
from amp.schedule import plan
from amp.schedule.dynamic import routers

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from amp.frozen import Frozen
    from amp.instance import Instance, Signals
    from amp.schedule import IPLS

    Make = Callable[[Graph, IPLS | None], Instance]

_PIECE = 4096
"""Most frames that both sides of a crossfade run at a time."""


def check_follows(old: Frozen, graph: Graph) -> None:
    """Refuse a graph that cannot take another's place under a caller who goes on as before."""
    new = graph.freeze()
    for router in (*routers(old), *routers(new)):
        raise BadGraph(
            "a swap goes between graphs whose rates do not depend on data",
            got=router.kind,
            where=str(router),
            fix="compile a program of its own for it",
        )
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
    return plan(graph, old.block, old.width)


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
        self.mixer = make(graph, None)
        self.mixer.heat = None  # it is no node of the graph

    @property
    def left(self) -> int:
        """Frames until the fade is over."""
        return self.frames - self.mixer.clock

    def run_until(
        self,
        clock: int,
        arrays: Signals,
        results: Signals,
        probes: Signals,
        begin: int,
        tell: Callable[[int], None] | None,
    ) -> None:
        """Move all on; arrays, results and the new side's probes have their first frame at clock
        ``begin``."""
        clock = min(clock, self.new.clock + self.left)
        start = self.new.clock - self.mixer.clock
        piece = min(_PIECE, clock - self.new.clock)
        heard = [self._room(side, piece) for side in (self.old, self.new)]
        sides = {
            f"{side}: {name}": array
            for side, some in zip(("old", "new"), heard, strict=True)
            for name, array in some.items()
        }
        while (at := self.new.clock) < clock:
            until = min(at + piece, clock)
            self.old.record_in(self.old.probe_room(at, until), at)
            self.new.record_in(probes, begin)
            for side, some in zip((self.old, self.new), heard, strict=True):
                side.read_from(arrays, begin)
                side.write_to(some, at)
                side.run_until(until)
            self.mixer.read_from(sides, at - start)
            self.mixer.write_to(results, begin - start)
            self.mixer.run_until(until - start)
            if tell is not None:
                tell(until)
        for name in self.outputs.keys() - self.new.outputs.keys():
            results[name][..., clock - begin :] = 0.0

    def _room(self, side: Instance, frames: int) -> dict[str, NDArray[np.float64]]:
        batch = self.new.about.batch
        return {
            name: np.empty((batch, node.channels, frames)) for name, node in side.outputs.items()
        }
