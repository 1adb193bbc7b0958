"""What kernels, cohorts and nodes have cost.

Kernels are measured. Those of several cohorts are divided among them by what their operations cost in a
fixed model, so a share is an estimate, and the same on every machine.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, overload

from amp.delays import Delays, delays
from amp.errors import BadValue
from amp.jit.clock import cycles_per_second
from amp.jit.trace import trace_alone

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from rich.table import Table as RichTable

    from amp.frozen import Frozen, Node
    from amp.instance import Instance
    from amp.jit.group import Group
    from amp.jit.lowered import Call
    from amp.swap import Make

SHOWN = 64
"""Most rows that a table shows; it has all of them."""
_OPERATION = {
    **dict.fromkeys(("exp", "log", "sin", "cos", "tan", "tanh"), 20.0),
    **dict.fromkeys(("div", "sqrt", "to_turn"), 8.0),
    **dict.fromkeys(("line", "tap", "look"), 4.0),
    **dict.fromkeys(("const", "iconst", "param", "iparam", "clock", "table", "as_if"), 0.0),
}
"""Cost of an IR operation, of which most are 1: about the cycles between two on one AVX2 unit."""


@dataclass(frozen=True)
class Timing:
    """What a kernel has cost, or a cohort's part of one.

    Attributes
    ----------
    label, nodes
        What it is called, and the names of the nodes in it.
    firings
        Calls of its native code.
    frames
        Firings of each of its nodes: frames, unless rates differ.
    seconds, cycles
        Time in native code, by the CPU's counter; of a process of the KPN with what the scheduler took
        to find it.
    lanes, width
        Lanes, and how many are computed at a time.
    estimate
        It is a share of a measured kernel, by the cost model.
    """

    label: str
    nodes: tuple[str, ...]
    firings: int
    frames: int
    seconds: float
    cycles: int
    lanes: int
    width: int
    estimate: bool = False


@dataclass(frozen=True)
class NodeTiming:
    """What a node has cost, and how late it answers.

    Attributes
    ----------
    node, kernel
        Its name, and the label of the kernel that it is in.
    firings, frames, seconds, cycles, estimate
        As in `Timing`.
    delay, group_delay, delay_is
        How late it answers, how late on the average over frequencies, and how that is known
        (`amp.delays.Delay`).
    """

    node: str
    kernel: str
    firings: int
    frames: int
    seconds: float
    cycles: int
    estimate: bool
    delay: int
    group_delay: float
    delay_is: str


Row = TypeVar("Row", Timing, NodeTiming)


class Table(Sequence[Row]):
    """Rows that print as a table, in a terminal (`rich.print` with colours) and in a notebook."""

    def __init__(self, title: str, make: Callable[[], Sequence[Row]]) -> None:
        self.title = title
        self._make: Callable[[], Sequence[Row]] = make

    @functools.cached_property
    def _rows(self) -> Sequence[Row]:
        return self._make()

    @overload
    def __getitem__(self, at: int) -> Row: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[Row]: ...
    def __getitem__(self, at: int | slice) -> Row | Sequence[Row]:
        return self._rows[at]

    def __len__(self) -> int:
        return len(self._rows)

    def columns(self) -> dict[str, list[Any]]:
        """Every field of the rows, by name."""
        names = [field.name for field in dataclasses.fields(self._rows[0])] if self._rows else []
        return {name: [getattr(row, name) for row in self._rows] for name in names}

    def to_pandas(self) -> Any:
        """A ``pandas.DataFrame``, one row each.

        Raises
        ------
        BadValue
            If pandas is not installed.
        """
        return _library("pandas").DataFrame(self.columns())

    def to_xarray(self) -> Any:
        """A ``xarray.Dataset`` along one dimension, ``row``; names of nodes are joined by commas.

        Raises
        ------
        BadValue
            If xarray is not installed.
        """
        columns = {
            name: ("row", [_text(v) if isinstance(v, tuple) else v for v in values])
            for name, values in self.columns().items()
        }
        return _library("xarray").Dataset(columns)

    def __rich__(self) -> RichTable:
        from rich.table import Table as RichTable
        from rich.text import Text

        table = RichTable(title=self.title, title_justify="left")
        columns = self.columns()
        for name, values in columns.items():
            number = isinstance(values[0], int | float) and not isinstance(values[0], bool)
            heading = "µs" if name == "seconds" else name.replace("_", " ")
            table.add_column(heading, justify="right" if number else "left")
        for row in self._rows[:SHOWN]:
            table.add_row(*(Text(_cell(name, getattr(row, name))) for name in columns))
        if len(self) > SHOWN:
            table.caption = f"... and {len(self) - SHOWN} more"
        return table

    def __repr__(self) -> str:
        from rich.console import Console

        console = Console(width=120, color_system=None)
        with console.capture() as capture:
            console.print(self)
        return capture.get().rstrip()

    def _repr_html_(self) -> str:
        from html import escape

        columns = self.columns()
        head = "".join(
            f"<th>{'µs' if n == 'seconds' else n.replace('_', ' ')}</th>" for n in columns
        )
        body = "".join(
            "<tr>"
            + "".join(f"<td>{escape(_cell(n, getattr(row, n)))}</td>" for n in columns)
            + "</tr>"
            for row in self._rows[:SHOWN]
        )
        more = f"<p>... and {len(self) - SHOWN} more</p>" if len(self) > SHOWN else ""
        return f"<table><caption>{escape(self.title)}</caption><tr>{head}</tr>{body}</table>{more}"


class Timings(Table[Timing]):
    """What each kernel has cost; made by `Program.timing`, and for one run by ``result.timing``.

    Attributes
    ----------
    cohorts
        The same by cohort: nodes of one code in one kernel.
    nodes
        The same by node, in the order of the graph, with the delay of each.

    Examples
    --------
    >>> import amp
    >>> import numpy as np
    >>> from amp import nodes
    >>> g = amp.Graph()
    >>> g.output("out", g.add(nodes.Delay(16), g.add(nodes.OnePole(cutoff=800.0), g.input("x")), 12.0))
    >>> program = amp.compile(g, timing=True)
    >>> timing = program.run({"x": np.zeros((1, 1, 480))}).timing
    >>> [(row.label, row.frames) for row in timing]
    [("'x'", 480), ("'onepole.0'", 480), ("'delay.0'", 480), ("'out'", 480)]
    >>> for row in timing.nodes[1:3]:
    ...     print(row.node, row.delay, round(row.group_delay, 1), row.delay_is)
    onepole.0 0 5.0 measured
    delay.0 12 12.0 measured
    """

    def __init__(
        self, calls: Sequence[Call], about: Frozen, costs: NDArray[np.int64], delays: Delays
    ) -> None:
        super().__init__("Kernels", lambda: [*map(_kernel_row, calls, costs)])
        self._calls, self._about = calls, about
        self.cohorts = Table("Cohorts", self._cohort_rows)
        self.nodes = Table("Nodes", lambda: self._node_rows(delays))

    def _cohort_rows(self) -> list[Timing]:
        return [
            dataclasses.replace(
                _share(row, str(group), group.members, cost),
                lanes=group.lanes * self._about.batch,
            )
            for call, row in zip(self._calls, self, strict=True)
            for group, cost in zip(call.groups, _shares(call, self._about), strict=True)
        ]

    def _node_rows(self, delays: Delays) -> list[NodeTiming]:
        found: dict[int, NodeTiming] = {}
        for call, row in zip(self._calls, self, strict=True):
            for group, cost in zip(call.groups, _shares(call, self._about), strict=True):
                for node in group.members:
                    part = _share(row, node.name, [node], cost / len(group.members))
                    found[node.index] = NodeTiming(
                        node.name,
                        row.label,
                        part.firings,
                        part.frames,
                        part.seconds,
                        part.cycles,
                        part.estimate,
                        *delays(node),
                    )
        return [found[index] for index in sorted(found)]


class Timer:
    """Tables of a program that is timed; ``alone`` makes what delays of its nodes are measured by."""

    def __init__(self, alone: Make) -> None:
        self._alone = alone
        self._known: tuple[Frozen, Delays] | None = None

    def table(self, now: Instance, before: NDArray[np.int64] | int = 0) -> Callable[[], Timings]:
        """What makes the table of the costs until now, since they were ``before``."""
        calls, about, costs = now.runner.calls, now.about, now.runner.costs()
        return lambda: Timings(calls, about, costs - before, self._delays(about))

    def _delays(self, about: Frozen) -> Delays:
        if self._known is None or self._known[0] is not about:
            self._known = about, delays(about, self._alone)
        return self._known[1]


def _kernel_row(call: Call, record: NDArray[np.int64]) -> Timing:
    cycles, firings, frames = record.tolist()
    names = tuple(node.name for node in call.nodes())
    seconds = cycles / cycles_per_second()
    return Timing(str(call), names, firings, frames, seconds, cycles, call.lanes, call.width)


def _share(row: Timing, label: str, nodes: Sequence[Node], share: float) -> Timing:
    """The part of a kernel that some of its nodes have."""
    names = tuple(node.name for node in nodes)
    return dataclasses.replace(
        row,
        label=label,
        nodes=names,
        seconds=row.seconds * share,
        cycles=round(row.cycles * share),
        estimate=len(row.nodes) > len(names),
    )


def _shares(call: Call, about: Frozen) -> list[float]:
    """What part of a kernel's cost each of its groups has."""
    if len(call.groups) == 1:
        return [1.0]
    costs = [_cost(group, about) for group in call.groups]
    return [cost / sum(costs) for cost in costs]


def _cost(group: Group, about: Frozen) -> float:
    """Cost of a group's operations for one firing of every lane, by the model."""
    if group.wide:
        return float(group.slots)
    widths = [about.nodes[read.edges[0].source].channels for read in group.reads]
    trace = trace_alone(group, about.sample_rate, widths)
    return group.lanes * (1.0 + sum(_OPERATION.get(value.op, 1.0) for value in trace.values))


def _library(name: str) -> Any:
    """A library that is imported when it is asked for."""
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError:
        raise BadValue(
            f"a table becomes one of {name} where that is installed", fix=f"pip install {name}"
        ) from None


def _text(names: tuple[str, ...]) -> str:
    return ", ".join(names)


def _cell(name: str, value: Any) -> str:
    if isinstance(value, tuple):
        more = f", ... ({len(value)})" if len(value) > 4 else ""
        return _text(value[:4]) + more
    if isinstance(value, bool):
        return "yes" if value else ""
    if name == "seconds":
        return f"{1e6 * value:,.1f}"
    if name == "group_delay":
        return "" if math.isnan(value) else f"{value:,.1f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
