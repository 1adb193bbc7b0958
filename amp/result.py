"""What a program gives back: outputs, snapshots, and what it holds."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from amp.thermal import AMBIENT

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from amp.jit.heat import HeatRows
    from amp.timing import Timings


class Result(Mapping[str, "NDArray[np.float64]"]):
    """What a run returns: ``result[name]`` is float64, ``(batch, channel, frame)``.

    Attributes
    ----------
    latency
        Frames from the start of the clock to the first visible token, by output.
    sample_rate
        Frames per second.
    memory
        What rings held on the way, if the run was told to note it.
    probes
        What probes recorded, by name: ``(batch, channel, frame)``, or of a stream at another rate
        ``(batch, channel, token)``.
    clocks
        Of those, the frame of each token, by name.
    timing
        What the run has cost (`amp.timing.Timings`); None unless the program was compiled for it.
    heat
        By node, the energy that it has stored above ambient temperature [J].
    temperature
        By node, its temperature [K].
    """

    def __init__(
        self,
        outputs: dict[str, NDArray[np.float64]],
        latency: dict[str, int],
        sample_rate: float,
    ) -> None:
        self._outputs, self.latency, self.sample_rate = outputs, latency, sample_rate
        self.memory: list[Memory] = []
        self.probes: Mapping[str, NDArray[np.float64]] = {}
        self.clocks: Mapping[str, NDArray[np.int64]] = {}
        self.timings: Callable[[], Timings] | None = None  # makes the table when it is asked for
        self.heat_rows: HeatRows | None = None

    @functools.cached_property
    def timing(self) -> Timings | None:
        """See the class."""
        return self.timings() if self.timings else None

    @functools.cached_property
    def heat(self) -> Samples:
        """See the class."""
        known = self.heat_rows
        return Samples(known.clocks, known.names, known.joules) if known else Samples()

    @functools.cached_property
    def temperature(self) -> Samples:
        """See the class."""
        known, heat = self.heat_rows, self.heat
        if known is None:
            return heat
        return Samples(heat.clock, heat.names, AMBIENT + heat.array / known.capacity[:, None])

    def __getitem__(self, name: str) -> NDArray[np.float64]:
        try:
            return self._outputs[name]
        except KeyError:
            raise KeyError(f"no output {name!r}; there are {sorted(self._outputs)}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._outputs)

    def __len__(self) -> int:
        return len(self._outputs)

    def __repr__(self) -> str:
        shapes = ", ".join(f"{name}: {array.shape}" for name, array in self._outputs.items())
        return f"<Result {shapes}>"


_ByName = dict[str, dict[str, "NDArray[np.float64]"]]
_Told = tuple[_ByName, _ByName, dict[tuple[str, int], "NDArray[np.float64]"]]


class StateCotangents:
    """Cotangents of a state: by node and name of `nodes` and `lines`, by edge of `edges`, as in `State`.

    Attributes
    ----------
    graph, clock
        Of the state that they are of, as in `State`.
    heat
        Of a run recorded with heat: by node those of its heat at the last border of a cell, and of the
        energy that it has taken in since, ``(2, batch)``.
    """

    def __init__(
        self,
        tell: Callable[[], _Told],
        graph: str,
        clock: int,
        heat: dict[str, NDArray[np.float64]],
    ) -> None:
        self._tell, self.graph, self.clock, self.heat = tell, graph, clock, heat

    def __repr__(self) -> str:
        return f"<StateCotangents at clock {self.clock}>"

    @functools.cached_property
    def _told(self) -> _Told:
        return self._tell()

    @property
    def nodes(self) -> dict[str, dict[str, NDArray[np.float64]]]:
        """Of the states of nodes; of a phase per cycle."""
        return self._told[0]

    @property
    def lines(self) -> dict[str, dict[str, NDArray[np.float64]]]:
        """Of what delay lines held, oldest first."""
        return self._told[1]

    @property
    def edges(self) -> dict[tuple[str, int], NDArray[np.float64]]:
        """Of tokens in flight."""
        return self._told[2]


@dataclass(frozen=True)
class Gradients:
    """Cotangents: derivatives of a loss.

    Attributes
    ----------
    inputs
        By input, of its shape in the run.
    params
        By named parameter, of the shape that its value had in the run: the sum over all that it was broadcast to.
        Derivatives are those in what `Program.set` moves: what only a state begins with (a phase) counts in a run
        from clock 0, and later it is the state that has a cotangent, also of a node that a swap has brought.
    state
        Of the state in which the run began.
    """

    inputs: dict[str, NDArray[np.float64]]
    params: dict[str, NDArray[np.float64]]
    state: StateCotangents


class Samples(Mapping[str, "NDArray[np.float64]"]):
    """What nodes had at some clocks: ``samples[name]`` is float64, ``(batch, sample)``.

    Attributes
    ----------
    clock
        Frames that had run at each sample: at every 4096th frame of the clock, and at the end of the run.
    names
        Number of each node in ``array``.
    array
        All of it, ``(sample, node, batch)``.
    """

    def __init__(
        self,
        clock: NDArray[np.int64] | None = None,
        names: Mapping[str, int] | None = None,
        array: NDArray[np.float64] | None = None,
    ) -> None:
        self.clock = np.zeros(0, np.int64) if clock is None else clock
        self.names = {} if names is None else names
        self.array = np.zeros((0, 0, 1)) if array is None else array

    def __getitem__(self, name: str) -> NDArray[np.float64]:
        try:
            return self.array[:, self.names[name]].T
        except KeyError:
            raise KeyError(
                f"no heat of a node {name!r}; there is that of {len(self.names)} nodes, and of none "
                "after amp.compile(..., heat=0)"
            ) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)

    def __repr__(self) -> str:
        return f"<Samples of {len(self.names)} nodes at {len(self.clock)} clocks>"


@dataclass(frozen=True)
class State:
    """A snapshot of a program, the same for every engine and schedule of one graph.

    Attributes
    ----------
    clock
        Frames run.
    graph
        Identity of the graph: names, types, attributes, edges, sample rate.
    nodes
        Node name to its states by name, each ``(batch, channel)``.
    lines
        Node name to its delay lines by name, each ``(batch, channel, frame)``, oldest first.
    edges
        Tokens in flight, ``(batch, channel, count)``, by (consumer, number of the edge).
    firings
        Where rates depend on data, node name to how often it has fired, and what else is counted.
    stamps
        There too, the clock at which each token in flight was written, by edge.
    params
        Values of the named parameters.
    heat
        Node name to its heat, the energy of this cell that is in no sum, and the clock until which that
        of constants is: ``(3, batch)``. Empty without heat.
    powers
        Sums of squares of this cell, ``(batch, number)``, by (node, outlet).
    """

    clock: int
    graph: str
    nodes: dict[str, dict[str, NDArray[Any]]]
    lines: dict[str, dict[str, NDArray[np.float64]]]
    edges: dict[tuple[str, int], NDArray[np.float64]]
    firings: dict[str, NDArray[np.int64]]
    stamps: dict[tuple[str, int], NDArray[np.int64]]
    params: dict[str, NDArray[np.float64]]
    heat: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    powers: dict[tuple[str, int], NDArray[np.float64]] = field(default_factory=dict)
    version: int = 4


@dataclass(frozen=True)
class RingUse:
    """An edge that lies in memory.

    Attributes
    ----------
    source, consumer
        Names of its nodes.
    capacity, tokens, most
        Tokens of the ring, how many of them this edge holds now, and the most that it has held; under
        a schedule, the most that it can hold.
    ring, bytes
        Number of the ring, which readers of one outlet share, and its bytes.
    growth
        Clock and capacity of each time that the ring has grown.
    """

    source: str
    consumer: str
    capacity: int
    tokens: int
    most: int
    ring: int
    bytes: int
    growth: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class Memory:
    """What a program holds. All bounds are known before anything runs, but for rings whose tokens
    depend on data: those grow.

    Attributes
    ----------
    clock
        Frames run.
    bytes
        Size of its one allocation: rings, states, delay lines, tables, parameters, scratch.
    rings
        Every edge that lies in memory; the others are values inside a kernel.
    """

    clock: int
    bytes: int
    rings: tuple[RingUse, ...]

    def __str__(self) -> str:
        lines = [f"{self.bytes} bytes, {len(self.rings)} edge(s) in rings"]
        lines += [
            f"  {use.source} -> {use.consumer}: {use.tokens} of {use.capacity} tokens, {use.most} at "
            f"most, ring {use.ring} of {use.bytes} bytes"
            for use in self.rings[:64]
        ]
        if len(self.rings) > 64:
            lines.append(f"  ... and {len(self.rings) - 64} more")
        return "\n".join(lines)
