"""Heat: how the energy of streams flows into the nodes of a program, and between them.

Kernels add up the squares of streams in cells of the clock (`amp.jit.emit_power`); a native function takes
the sums of the cells that are over into the heat of every node (``amp/archetypes_cpp/heat.cpp``).
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np

from amp.contract import Param
from amp.frozen import Edge
from amp.jit.runtime import load_heat
from amp.jit.slots import value_now
from amp.thermal import CELL, CELLS, DISSIPATED

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from amp.frozen import Frozen, Node
    from amp.jit.bind import Bound
    from amp.schedule import Paces

    Ints = NDArray[np.int64]
    Floats = NDArray[np.float64]
    Words = NDArray[np.int64]

TABLE = np.dtype(
    [
        (name, np.int64)
        for name in ("nodes", "batch", "couplings", "cell", "cells", "words", "clock", "since")
    ]
    + [("seconds", np.float64)]
    + [
        (name, np.int64)
        for name in (
            "sums", "first", "entries", "scale", "capacity", "loss", "from", "to", "conductance",
            "constant", "pending", "heat", "room",
        )
    ]
)  # fmt: skip
"""The structure of ``amp/archetypes_cpp/heat.hpp``, field by field; addresses are words."""
_HAVE = ("constant", "pending", "heat", "room")


class HeatRows:
    """What a run leaves of the heat of its nodes: rows (sample, node, batch) at the borders of cells, and
    what the heat at its end is made of, which is computed when it is asked for.

    Attributes
    ----------
    names, capacity
        Number of each node in the rows; heat capacity of each node [J/K].
    """

    def __init__(self, heat: Heat, rows: list[Floats]) -> None:
        self.names, self.capacity = heat.names, heat.capacity
        self._heat, self._rows = heat, rows
        self._clock = heat.clock
        self._left = heat.left() if heat.clock % CELL or not rows else None

    @functools.cached_property
    def clocks(self) -> Ints:
        """Clock of each sample."""
        count, last = sum(map(len, self._rows)), self._clock // CELL
        borders = np.arange(last - count + 1, last + 1) * CELL
        return borders if self._left is None else np.append(borders, self._clock)

    @functools.cached_property
    def joules(self) -> Floats:
        """Heat of each node at each sample, (sample, node, batch)."""
        now = [] if self._left is None else [self._heat.peek(self._clock, *self._left)]
        return np.concatenate([*self._rows, *now])


class Heat:
    """The heat of every node of a bound program.

    Attributes
    ----------
    address
        Where native code finds it.
    names
        Nodes, in the order of the samples.
    capacity
        Heat capacity of each [J/K].
    """

    def __init__(self, graph: Frozen, pace: Paces, bound: Bound, every: int) -> None:
        self._graph, self._bound, self._pace, self._every = graph, bound, pace, every
        nodes = graph.nodes
        # a node that amp has put between two others is the edge between them
        inner = {node.index: node.edges[0].source for node in nodes if node.type.router == "sample"}
        self.names = {node.name: node.index for node in nodes if node.index not in inner}
        self._cells = 1 if graph.dynamic.any() else CELLS
        self._functions = load_heat(TABLE.itemsize)
        self._table = np.zeros(1, TABLE)
        self._rows: list[Floats] = []
        for name, value in (
            ("nodes", len(nodes)),
            ("batch", graph.batch),
            ("cell", CELL),
            ("cells", self._cells),
            ("words", bound.powers().shape[1]),
            ("seconds", 1.0 / graph.sample_rate),
        ):
            self._table[name] = value
        self._power = np.array([0.0 if n.index in inner else n.thermal.power for n in nodes])
        self.capacity = np.array([node.thermal.capacity for node in nodes])
        self._words = self._table.view(np.int64)
        self.address = self._table.ctypes.data
        self._shape = shape = (len(nodes), graph.batch)
        self.find_sums()
        self._have = np.zeros((len(_HAVE), *shape))
        self._constants, self._pending, self._heat, _ = self._have
        self._kept: list[NDArray[Any]] = []
        for name, array in (
            ("capacity", self.capacity),
            ("loss", np.array([node.thermal.loss for node in nodes])),
            *zip(_HAVE, self._have, strict=True),
        ):
            self._keep(name, array)
        self._find_places()
        self._add_streams()
        self._couple(inner)
        self.refresh()

    def _keep(self, name: str, array: NDArray[Any]) -> None:
        """Have the table point at an array."""
        self._kept.append(array)
        self._table[name] = array.ctypes.data

    def _find_places(self) -> None:
        """In which words of a cell each stream's squares are added up, (batch, number): of those that
        someone reads, whatever is in one kernel with them."""
        self._places: dict[tuple[str, int], Ints] = {}
        read = {(edge.source, edge.outlet) for node in self._graph.nodes for edge in node.edges}
        for call in self._bound.calls:
            for position, outlet in call.call.code.powers:
                for slot, node in enumerate(call.call.groups[position].members):
                    if outlet == DISSIPATED or (node.index, outlet) in read:
                        place = self._bound.power_place(call, position, outlet, slot)
                        self._places[node.name, outlet] = place

    def joules(self, node: Node) -> list[tuple[int, int, float]]:
        """The streams that heat a node, by source and outlet, and how much by the square of a measured token
        in one of their channels [J]."""
        streams = [(edge.source, edge.outlet) for edge in node.edges]
        if node.type.dissipates:
            streams = [(node.index, DISSIPATED)]
        found = []
        for source, outlet in streams:
            each = self._every * self._token_energy(self._graph.nodes[source], outlet)
            found.append((source, outlet, float(each * self._power[node.index])))
        return found

    def _add_streams(self) -> None:
        """Note which words heat each node, and how much."""
        graph = self._graph
        entries: list[Ints] = []
        scales: list[float] = []
        for node in graph.nodes:
            streams = self.joules(node)
            places = [self._places[graph.nodes[source].name, at] for source, at, _ in streams]
            for batch in range(graph.batch):
                entries.append(np.concatenate([np.zeros(0, np.int64), *(p[batch] for p in places)]))
                for (_, _, each), place in zip(streams, places, strict=True):
                    scales += [each] * place.shape[1]
        self._keep("first", np.cumsum([0, *map(len, entries)]))
        self._keep("entries", np.concatenate(entries))
        self._keep("scale", np.array(scales))

    def _token_energy(self, node: Node, outlet: int) -> float:
        """Energy of a token that is 1 in one of its channels, or of a firing that dissipates 1 W [J], at a
        kappa of 1."""
        graph, frames = self._graph, 1.0  # of the clock; so long is one that comes as data says
        if not graph.dynamic[node.index]:
            counts: tuple[int, ...] = (1,)
            if outlet != DISSIPATED:
                counts = node.type.counts(type(node.type).outlets[outlet])
            each = self._pace[node.index]
            frames = each.frames * len(counts) / (each.firings * sum(counts))
        channels = 1 if outlet == DISSIPATED else node.channels
        return frames / (graph.sample_rate * channels)

    def _couple(self, inner: dict[int, int]) -> None:
        """Note which nodes exchange heat: the ends of every edge into one that conducts."""
        found = [
            (inner.get(edge.source, edge.source), node.index, node.thermal.coupling)
            for node in self._graph.nodes
            for edge in node.edges
            if node.index not in inner and node.thermal.coupling
        ]
        found = [ends for ends in found if ends[0] != ends[1]]
        self._table["couplings"] = len(found)
        self._keep("from", np.array([end[0] for end in found], np.int64))
        self._keep("to", np.array([end[1] for end in found], np.int64))
        self._keep("conductance", np.array([end[2] for end in found], np.float64))

    # ---- the clock

    @property
    def clock(self) -> int:
        """Frames that it has been moved on by."""
        return int(self._table["clock"][0])

    def room(self) -> int:
        """Frames that may run before it is moved on."""
        return self._cells * CELL - self.clock % CELL

    def advance(self, clock: int) -> None:
        """Move on to ``clock``, until which the program has run."""
        rows = np.empty((clock // CELL - self.clock // CELL, *self._shape))
        self._functions.advance(self.address, clock, rows.ctypes.data)
        if len(rows):
            self._rows.append(rows)

    def take(self) -> HeatRows:
        """The heat at each border of a cell since the last time, and now."""
        rows, self._rows = self._rows, []
        return HeatRows(self, rows)

    def left(self) -> tuple[Words, Floats, Floats]:
        """What the heat is made of at this moment: the table, the sums of the cell, what nodes have."""
        return (
            self._words.copy(),
            self._sums[self.clock // CELL % self._cells].copy(),
            self._have.copy(),
        )

    def peek(self, clock: int, words: Words, sums: Floats, have: Floats) -> Floats:
        """The heat at a ``clock``, of what was `left` then: (1, node, batch)."""
        out, table = np.empty((1, *self._shape)), words.view(TABLE)
        table["cells"], table["sums"] = 1, sums.ctypes.data
        for name, array in zip(_HAVE, have, strict=True):
            table[name] = array.ctypes.data
        self._functions.peek(table.ctypes.data, clock, clock, out.ctypes.data)
        return out

    def go_back(self, begin: int, end: int, cotangent: Floats) -> None:
        """Turn the cotangent of the heat at ``end`` into that at ``begin``, the border before it."""
        self._functions.back(self.address, begin, end, cotangent.ctypes.data)

    def find_sums(self) -> None:
        """Find the sums where the program's memory is now."""
        self._sums = self._bound.powers()
        self._table["sums"] = self._sums.ctypes.data

    def reset(self) -> None:
        """All at ambient temperature, at clock 0; the program's memory is cleared already."""
        self.seek(0)
        self._pending[:] = self._heat[:] = 0.0

    def seek(self, clock: int) -> None:
        """Go on at ``clock``."""
        self._rows = []
        self._table["clock"] = self._table["since"] = clock

    # ---- constants

    def refresh(self) -> None:
        """Constants may have changed: what the old ones have given so far is pending."""
        frames = self.clock - int(self._table["since"][0])
        if frames:
            self._pending += self._constants * (frames / self._graph.sample_rate)
            self._table["since"] = self.clock
        out = self._constants
        out[:] = 0.0
        for node in self._graph.nodes:
            for source in () if node.type.dissipates else node.sources:
                if source is not None and not isinstance(source, tuple | Edge):
                    value = np.asarray(value_now(source, self._bound.params), np.float64)
                    out[node.index] += np.square(value).mean(axis=1) if value.ndim else value**2
        out *= self._power[:, None]

    def slopes(
        self, cotangents: Floats, params: Mapping[str, Floats]
    ) -> Iterator[tuple[str, Floats]]:
        """Cotangents of what ``params`` are given to inlets, in parts, from those of the power of each node,
        (node, batch)."""
        for node in self._graph.nodes:
            by_power = cotangents[node.index] * self._power[node.index]
            for source in () if node.type.dissipates else node.sources:
                if isinstance(source, Param):
                    value = value_now(source, params)
                    if value.ndim:
                        slope = 2.0 * value / value.shape[1] * by_power[:, None]
                        yield source.name, slope.sum(0, keepdims=True) if len(value) == 1 else slope
                    else:
                        yield source.name, np.asarray(2.0 * value * by_power.sum())

    # ---- state

    def state(self) -> tuple[dict[str, Floats], dict[tuple[str, int], Floats]]:
        """By node its heat, what is pending, and until when constants are in it, (3, batch); by outlet
        the sums of the present cell, (batch, number)."""
        since = np.full(self._graph.batch, float(self._table["since"][0]))
        nodes = {
            name: np.stack([self._heat[i], self._pending[i], since])
            for name, i in self.names.items()
        }
        powers = self._sums.reshape(-1)
        return nodes, {name: powers[self._at(name)] for name in self._places}

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
            self._heat[i], self._pending[i] = heat, pending
            self._table["since"] = int(since[0])
        sums = self._sums.reshape(-1)
        for stream, values in powers.items():
            sums[self._at(stream)] = values

    def _at(self, stream: tuple[str, int]) -> Ints:
        """Where the sums of a stream are, in this cell."""
        words: Ints = self._places[stream] + self.clock // CELL % self._cells * self._sums.shape[1]
        return words

    def carry_from(self, old: Heat) -> None:
        """Take over the heat of nodes of the same name and type, at the clock of ``old``."""
        energy = np.empty_like(old._heat)
        old._functions.energy(old.address, old.clock, old.clock, energy.ctypes.data)
        self.reset()
        self.seek(old.clock)
        for name, i in self.names.items():
            j = old.names.get(name, -1)
            if j >= 0 and old._graph.kinds[j] == self._graph.kinds[i]:
                self._heat[i], self._pending[i] = old._heat[j], energy[j]
