"""Heat: how the energy of streams flows into the nodes of a program, and between them.

Kernels add up the squares of streams in cells of the clock (`amp.jit.emit_power`); a native function takes
the sums of the cells that are over into the heat of every node (``amp/archetypes_cpp/heat.cpp``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from amp.contract import Param
from amp.frozen import Edge
from amp.jit import words as w
from amp.jit.runtime import load_heat

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from amp.frozen import Frozen
    from amp.jit.bind import Bound
    from amp.schedule import Paces

    Ints = NDArray[np.int64]
    Floats = NDArray[np.float64]

TABLE = np.dtype(
    [
        (name, np.int64)
        for name in ("nodes", "batch", "streams", "couplings", "cell", "cells", "words", "since")
    ]
    + [("seconds", np.float64)]
    + [
        (name, np.int64)
        for name in (
            "sums", "first_entry", "entries", "scale", "fixed", "first_input", "inputs", "power",
            "capacity", "loss", "from", "to", "conductance", "constant", "pending", "heat", "room",
        )
    ]
)  # fmt: skip
"""The structure of ``amp/archetypes_cpp/heat.hpp``, field by field; addresses are words."""


class Heat:
    """The heat of every node of a bound program.

    Attributes
    ----------
    clock
        Frames that it has been moved on by.
    names
        Nodes, in the order of the samples.
    capacity
        Heat capacity of each [J/K].
    """

    def __init__(self, graph: Frozen, pace: Paces, bound: Bound, every: int) -> None:
        self._graph, self._bound, self._every = graph, bound, every
        self.clock = 0
        nodes = graph.nodes
        hidden = {node.index: node.edges[0].source for node in nodes if node.type.router == "sample"}
        self.names = {node.name: node.index for node in nodes if node.index not in hidden}
        self._dynamic = bool(graph.dynamic.any())
        self._functions = load_heat(TABLE.itemsize)
        self._table = np.zeros(1, TABLE)
        self._kept: dict[str, NDArray[Any]] = {}
        self._table["nodes"], self._table["batch"] = len(nodes), graph.batch
        self._table["cell"], self._table["cells"] = w.CELL, w.CELLS
        self._table["seconds"] = 1.0 / graph.sample_rate
        self._add_streams(pace)
        thermal = [node.thermal for node in nodes]
        self.capacity = np.array([t.capacity for t in thermal])
        power = [0.0 if i in hidden else t.power for i, t in enumerate(thermal)]
        ends = [
            (hidden.get(edge.source, edge.source), node.index, thermal[node.index].coupling)
            for node in nodes
            for edge in node.edges
            if node.index not in hidden and thermal[node.index].coupling
        ]
        ends = [end for end in ends if end[0] != end[1]]
        shape = (len(nodes), graph.batch)
        self._keep(
            power=np.array(power),
            capacity=self.capacity,
            loss=np.array([t.loss for t in thermal]),
            **{
                name: np.array([end[i] for end in ends], np.float64 if i == 2 else np.int64)
                for i, name in enumerate(("from", "to", "conductance"))
            },
            constant=np.zeros(shape),
            pending=np.zeros(shape),
            heat=np.zeros(shape),
        )
        self._table["couplings"] = len(ends)
        self._rows: list[tuple[Ints, Floats]] = []
        self.refresh()

    def _keep(self, **arrays: NDArray[Any]) -> None:
        """Have the table point at arrays."""
        for name, array in arrays.items():
            self._kept[name] = array = np.ascontiguousarray(array)
            self._table[name] = array.ctypes.data

    def _add_streams(self, pace: Paces) -> None:
        """Which words of a cell each stream's squares are added up in, and whom they heat."""
        graph, bound = self._graph, self._bound
        self.places: dict[tuple[str, int], Ints] = {}
        for call in bound.calls:
            for position, outlet in call.call.code.powers:
                for slot, node in enumerate(call.call.groups[position].members):
                    place = bound.power_place(call, position, outlet, slot)
                    self.places[node.name, outlet] = place
        number = {stream: i for i, stream in enumerate(self.places)}
        entries = [row for place in self.places.values() for row in place]
        scale, fixed = [], []
        for name, outlet in self.places:
            node = graph.nodes[graph.numbers[name]]
            counts = node.type.counts(type(node.type).outlets[outlet])
            fixed.append(bool(graph.dynamic[node.index]))
            each = pace[node.index]  # of a token that comes as data says: one frame
            frames = 1.0 if fixed[-1] else each.frames * len(counts) / (each.firings * sum(counts))
            scale.append(frames * self._every / (graph.sample_rate * node.channels))
        inputs = [
            [number[graph.nodes[edge.source].name, edge.outlet] for edge in node.edges]
            for node in graph.nodes
        ]
        self._table["streams"], self._table["words"] = len(number), bound.powers().shape[1]
        self._keep(
            first_entry=np.cumsum([0, *map(len, entries)]),
            entries=np.concatenate([np.zeros(0, np.int64), *entries]),
            scale=np.array(scale),
            fixed=np.array(fixed, np.int64),
            first_input=np.cumsum([0, *map(len, inputs)]),
            inputs=np.array([i for some in inputs for i in some], np.int64),
            room=np.zeros((len(number) + len(graph.nodes)) * graph.batch),
        )

    # ---- the clock

    def room(self) -> int:
        """Frames that may run before it is moved on."""
        return (1 if self._dynamic else w.CELLS) * w.CELL - self.clock % w.CELL

    def advance(self, clock: int) -> None:
        """Move on to ``clock``, until which the program has run."""
        borders = np.arange(self.clock // w.CELL + 1, clock // w.CELL + 1) * w.CELL
        if len(borders):
            rows = np.empty((len(borders), *self._kept["heat"].shape))
            self._call("advance", clock, rows)
            self._rows.append((borders, rows))
        self.clock = clock

    def take(self) -> tuple[Ints, Floats]:
        """Clocks of the samples since the last time, and the heat then, (sample, node, batch): at each
        border of a cell, and now."""
        rows, self._rows = self._rows, []
        if not rows or rows[-1][0][-1] != self.clock:
            now = np.empty((1, *self._kept["heat"].shape))
            self._call("peek", self.clock, now)
            rows.append((np.array([self.clock]), now))
        clocks, heat = zip(*rows, strict=True)
        return np.concatenate(clocks), np.concatenate(heat)

    def _call(self, name: str, clock: int, out: Floats) -> None:
        self._table["sums"] = self._bound.powers().ctypes.data  # memory may have moved
        function = getattr(self._functions, name)
        function(self._table.ctypes.data, self.clock, clock, out.ctypes.data)

    def reset(self) -> None:
        """All at ambient temperature, at clock 0; the program's memory is cleared already."""
        self.seek(0)
        for name in ("pending", "heat"):
            self._kept[name][:] = 0.0

    def seek(self, clock: int) -> None:
        """Go on at ``clock``."""
        self.clock, self._rows = clock, []
        self._table["since"] = clock

    # ---- constants

    def refresh(self) -> None:
        """Constants may have changed: what the old ones have given so far is pending."""
        constant, kept = self._constant(), self._kept
        frames = self.clock - int(self._table["since"][0])
        if frames:
            kept["pending"] += kept["constant"] * (frames / self._graph.sample_rate)
            self._table["since"] = self.clock
        kept["constant"][:] = constant

    def _constant(self) -> Floats:
        """Power of the constants of every node, (node, batch) [W]."""
        out = np.zeros((len(self._graph.nodes), self._graph.batch))
        for node in self._graph.nodes:
            for source in node.sources:
                if source is not None and not isinstance(source, tuple | Edge):
                    value = np.asarray(self._value(source), np.float64)
                    out[node.index] += np.square(value).mean(axis=1) if value.ndim else value**2
        constant: Floats = out * self._kept["power"][:, None]
        return constant

    def _value(self, source: Any) -> Any:
        if isinstance(source, Param):
            return self._bound.params.get(source.name, source.value)
        return source

    # ---- state

    def state(self) -> tuple[dict[str, Floats], dict[tuple[str, int], Floats]]:
        """By node its heat, what is pending, and until when constants are in it, (3, batch); by outlet
        the sums of the present cell, (batch, number)."""
        since = np.full(self._graph.batch, float(self._table["since"][0]))
        nodes = {
            name: np.stack([self._kept["heat"][i], self._kept["pending"][i], since])
            for name, i in self.names.items()
        }
        powers = self._bound.powers().reshape(-1)
        return nodes, {name: powers[self._words(name)] for name in self.places}

    def write(
        self,
        clock: int,
        nodes: Mapping[str, Floats],
        powers: Mapping[tuple[str, int], Floats],
    ) -> None:
        """Undo of `state` at ``clock``; what is not there is cold."""
        self.reset()
        self.seek(clock)
        for name, (heat, pending, since) in nodes.items():
            i = self.names[name]
            self._kept["heat"][i], self._kept["pending"][i] = heat, pending
            self._table["since"] = int(since[0])
        sums = self._bound.powers().reshape(-1)
        for stream, values in powers.items():
            sums[self._words(stream)] = values

    def _words(self, stream: tuple[str, int]) -> Ints:
        """Where the sums of a stream are, in this cell."""
        fixed = self._graph.dynamic[self._graph.numbers[stream[0]]]
        slot = 0 if fixed else self.clock // w.CELL % w.CELLS
        return self.places[stream] + slot * int(self._table["words"][0])

    def carry_from(self, old: Heat) -> None:
        """Take over the heat of nodes of the same name and type, at the clock of ``old``."""
        energy = np.empty_like(old._kept["heat"])
        old._call("energy", old.clock, energy)
        self.reset()
        self.seek(old.clock)
        for name, i in self.names.items():
            j = old.names.get(name, -1)
            if j >= 0 and old._kind(j) == self._kind(i):
                self._kept["heat"][i] = old._kept["heat"][j]
                self._kept["pending"][i] = energy[j]

    def _kind(self, index: int) -> str:
        return self._graph.kinds[index]
