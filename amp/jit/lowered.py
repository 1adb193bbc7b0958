"""What lowering makes: kernels in IR, what each is bound to, and the order they run in."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from amp.cycles import Cycle
    from amp.graph import Edge, Node
    from amp.ir import Kernel
    from amp.jit.group import Cluster, Group, NarrowLoop
    from amp.schedule import Pace

    Ints = NDArray[np.int64]


@dataclass(slots=True)
class Ring:
    """Memory of an outlet: ``(planes, tiles, frames, width)``, ``frames`` a power of two; ``stamped`` if
    the clock of every token goes with it."""

    planes: int
    lanes: int
    width: int
    frames: int
    stamped: bool = False
    initial: list[tuple[Ints, NDArray[np.float64]]] = field(default_factory=list)
    """Initial tokens: lanes, and what they hold, (planes, lanes, count)."""


SILENCE = -2
"""Ring of a lane that reads nothing but zeros."""


@dataclass(slots=True)
class InBinding:
    """Where a port reads: arrays of shape (planes, lanes); ``ring`` is -1 for a graph input. Firing k
    reads ``rate`` tokens from number ``k * step`` on, or, if step is 0, from the end of what the first
    k + 1 firings of ``cycle`` take; the number less ``tokens`` is the index in the ring."""

    mode: str
    ring: Ints
    plane: Ints
    lane: Ints
    tokens: Ints
    rate: int = 1
    step: int = 1
    cycle: Cycle | None = None
    border: str = ""
    border_group: int = -1

    @property
    def key(self) -> tuple[object, ...]:
        """Equal for ports that read the same tokens."""
        places = (self.ring, self.plane, self.lane, self.tokens)
        moves = (self.rate, self.step, self.cycle and self.cycle.counts)
        return self.mode, *moves, *(place.tobytes() for place in places)


@dataclass(slots=True)
class OutBinding:
    """Where a port writes: a ring, or a graph output. With a ``cycle``, firing k writes from the end of
    what the first k firings of it write."""

    mode: str
    ring: int = -1
    cycle: Cycle | None = None
    border: str = ""
    border_group: int = -1
    outlet: int = 0


@dataclass(slots=True)
class Code:
    """A traced kernel and what its slots hold, in order."""

    kernel: Kernel
    inits: tuple[float | int | str, ...]
    line_lengths: tuple[int, ...]
    powers: dict[tuple[int, int], tuple[str, tuple[int, ...]]] = field(default_factory=dict)
    """By group and outlet, where its squares are added up: in which of the kernel's ``powers``, plane
    by plane ("lane"), or in which of its out ports ("port")."""
    prepare: Kernel | None = None  # computes coefficients when parameters are set
    finish: Kernel | None = None  # computes ``totals`` when all frames have been
    totals: tuple[str, ...] = ()


@dataclass(slots=True)
class Call:
    """One kernel at work: code, lanes, and bindings."""

    code: Code
    groups: list[Group]
    width: int
    lanes: int
    pace: Pace
    ins: list[InBinding]
    outs: list[OutBinding]
    item: Cluster

    @property
    def router(self) -> str:
        """Name of the scheduler's own process that it is, if it is no kernel."""
        return self.groups[0].first.type.router

    @property
    def tiles(self) -> int:
        """Number of passes over the lanes."""
        return -(-self.lanes // self.width)

    @property
    def prebuilt(self) -> str:
        """Words about which of its implementations is taken, if it has several or is not IR."""
        group = self.groups[0]
        if group.archetype:
            return f", archetype {group.archetype}"
        return ", in IR" if any(group.first.type.archetype for group in self.groups) else ""

    def nodes(self) -> Iterator[Node]:
        """Every node that it computes."""
        for group in self.groups:
            yield from group.members

    def edges(self) -> Iterator[tuple[Node, int, Edge, int]]:
        """Every edge that is read from memory: consumer, number of the edge there, edge, ring."""
        for group in self.groups:
            for number, read in enumerate(group.reads):
                if read.rings is None:
                    continue
                for slot, (edge, ring) in enumerate(zip(read.edges, read.rings, strict=True)):
                    if group.wide:
                        yield group.first, slot, edge, int(ring)
                    else:
                        yield group.members[slot], number, edge, int(ring)

    def __str__(self) -> str:
        return " > ".join(map(str, self.groups))


@dataclass(slots=True)
class Narrow:
    """Steps repeated in blocks of ``block`` frames."""

    block: int
    steps: list[Step]
    item: NarrowLoop


Step = Call | Narrow


@dataclass(slots=True)
class Lowered:
    """Everything native code needs, still without addresses."""

    steps: list[Step]
    calls: list[Call]
    rings: list[Ring]
    frames: int  # most frames of one call
    dynamic: NDArray[np.bool_]  # nodes that fire as data says


def tile_width(lanes: int, width: int) -> int:
    """Lanes computed at a time: ``width``, or less where there are fewer lanes."""
    while width > 1 and width // 2 >= lanes:
        width //= 2
    return width
