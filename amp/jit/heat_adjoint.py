"""The adjoint of heat: what samples of it say about the energy that nodes took in.

Heat goes from cell to cell of the clock as `amp.jit.heat` says: half of the cell's energy, what flows, the other
half. So its cotangent goes from the last cell to the first by the transpose of what flows, and that of a
cell's energy is the mean of what it is after the cell and before. The energy is a sum of squares of tokens,
which `amp.jit.adjoint_edges.Warming` turns round.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from amp.thermal import CELL

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from amp.frozen import Frozen
    from amp.jit.heat import Heat

    Array = NDArray[np.float64]
    Ints = NDArray[np.int64]


class HeatAdjoint:
    """The heat of recorded runs, gone back over.

    Parameters
    ----------
    heat, graph
        That of the nodes of a program, and its graph.
    warmths
        By source and outlet of the streams that heat nodes the words, (batch, channel), of the states of
        their `Warming`.
    """

    def __init__(self, heat: Heat, graph: Frozen, warmths: Mapping[tuple[int, int], Ints]) -> None:
        self._heat, self._graph = heat, graph
        number = {stream: i for i, stream in enumerate(warmths)}
        edges = [
            (number[source, outlet], node.index, joules)
            for node in graph.nodes
            for source, outlet, joules in heat.joules(node)
            if (source, outlet) in number
        ]
        self._streams = np.array([stream for stream, _, _ in edges], np.int64)
        self._nodes = np.array([node for _, node, _ in edges], np.int64)
        self._joules = np.array([joules for _, _, joules in edges])[:, None]
        lanes = [words.T for words in warmths.values()]
        self._words = np.concatenate([np.zeros((0, graph.batch), np.int64), *lanes])
        self._of = np.repeat(np.arange(len(lanes)), [len(some) for some in lanes])

    def start(
        self, clocks: list[int], samples: Mapping[str, Array], later: Mapping[str, Array]
    ) -> None:
        """Go back from the last of ``clocks``. By node, ``samples`` are the cotangents of its heat at all of
        them, (batch, sample), and ``later`` those of the state then, see `state`."""
        shape = len(self._graph.nodes), self._graph.batch
        self._cell = clocks[-1] // CELL
        self._after, self._energy, self._power = (np.zeros(shape) for _ in range(3))
        for name, (after, energy) in later.items():
            node = self._graph.numbers[name]
            self._after[node], self._energy[node] = after, energy
        self._samples = {clock: np.zeros(shape) for clock in clocks}
        for name, array in samples.items():
            for clock, sample in zip(clocks, array.T, strict=True):
                self._samples[clock][self._graph.numbers[name]] = sample
        if clocks[-1] % CELL:
            self._step(self._samples[clocks[-1]], clocks[-1])

    def go_to(self, clock: int) -> None:
        """Go back to the cell of ``clock``."""
        while self._cell > clock // CELL:
            border = self._cell * CELL
            after = self._after + self._samples[border]
            self._cell -= 1
            self._after, self._energy = np.zeros_like(after), np.zeros_like(after)
            self._step(after, border)

    def _step(self, after: Array, clock: int) -> None:
        """Take in the cotangent of the heat at a ``clock`` of this cell, or at its end."""
        before = after.copy()
        self._heat.go_back(self._cell * CELL, clock, before)
        self._after += before
        self._energy += 0.5 * (before + after)

    def warm(self, clock: int, frames: int, memory: Array) -> None:
        """Have the adjoint go back over ``frames`` from ``clock`` on, which are in one cell."""
        self.go_to(clock)
        self._power += self._energy * (frames / self._graph.sample_rate)
        by_stream = np.zeros((int(self._of.max(initial=-1)) + 1, self._graph.batch))
        np.add.at(by_stream, self._streams, self._joules * self._energy[self._nodes])
        memory[self._words] = 2.0 * by_stream[self._of]

    def slopes(self, params: Mapping[str, Array]) -> Iterator[tuple[str, Array]]:
        """Cotangents of ``params`` for the power that they are as constants, in parts."""
        return self._heat.slopes(self._power, params)

    def state(self) -> dict[str, Array]:
        """By node the cotangents of its heat at the last border, and of its energy since then, (2, batch)."""
        return {
            name: np.stack([self._after[i], self._energy[i]])
            for name, i in self._heat.names.items()
        }
