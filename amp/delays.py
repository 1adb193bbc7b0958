"""How late a node answers: measured by running it alone in native code, or simulated."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from amp.frozen import Edge
from amp.graph import Graph

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from amp.contract import Inlet
    from amp.frozen import Frozen, Node
    from amp.instance import Instance
    from amp.swap import Make

    Floats = NDArray[np.float64]

MEASURED_FRAMES = 4096
"""Frames within which a node answers, else it is heard longer."""
LONGER = 16
"""How many times longer; whoever has not answered then has no measured delay."""
QUIET_FRAMES = 64
"""Frames of silence before the noise that it answers to."""
IMPULSE = 1e-3
"""Height of an impulse: small, as most nodes are linear near their rest."""
DECAYED = 1e-12
"""Most of the energy of an impulse response that may lie in the last quarter of what was heard."""


class Delay(NamedTuple):
    """How late a node answers.

    Attributes
    ----------
    delay
        Frames from a token to the first answer to it [frames].
    group_delay
        The node's group delay on the average over frequencies, each by the energy that it lets
        through [frames]: the centre of the energy of its impulse response, which is the same (Cohen,
        *Time-Frequency Analysis*, 1995, section 1.5). Of a node that is not linear it is that of small
        signals near its rest. NaN if it was not measured, or the response does not decay.
    delay_is
        ``"measured"``: noise, and then an impulse, into its first inlet, after silence, through the node
        alone in native code; the answer is the first frame of an outlet that differs from that to
        silence alone. ``"simulated"`` where that says nothing (no stream in, other rates, no answer):
        its processing delay, and how long a firing waits for the tokens that it takes.
    """

    delay: int
    group_delay: float
    delay_is: str


Delays = Callable[["Node"], Delay]


def delays(about: Frozen, make: Make) -> Delays:
    """A function that says how late a node of ``about`` answers; ``make`` compiles it alone."""
    known: dict[tuple[object, ...], Delay] = {}

    def delay(node: Node) -> Delay:
        values = tuple(np.asarray(s).tobytes() for s in node.sources if isinstance(s, np.ndarray))
        data = tuple(repr(getattr(node.type, name)) for name in type(node.type).params)
        key = (node.signature, values, data)
        if key not in known:
            known[key] = measured(node, about, make) or Delay(
                simulated(node), math.nan, "simulated"
            )
        return known[key]

    return delay


def simulated(node: Node) -> int:
    """Processing delay, and what a firing waits for the tokens it takes [frames]: those that it skips,
    and of n tokens that it takes the first is n - 1 tokens old, at the clock's rate."""
    kind = node.type
    inlets = zip(type(kind).inlets, node.sources, strict=True)
    most = [max(kind.counts(i.name)) for i, s in inlets if isinstance(s, Edge | tuple)]
    skipped = [kind.skips(i.name) for i in type(kind).inlets]
    return kind.processing_delay + max(skipped, default=0) + max(most, default=1) - 1


def measured(node: Node, about: Frozen, make: Make) -> Delay | None:
    """What a change at the node's first inlet does to its outlets, if that can be measured."""
    kind = node.type
    ports = [*(inlet.name for inlet in type(kind).inlets), *type(kind).outlets]
    if kind.router or kind.border or any(kind.counts(port) != (1,) for port in ports):
        return None
    graph = Graph(about.sample_rate, about.batch)
    streams = _bench(graph, node, about)
    if not streams or not type(kind).outlets:
        return None
    alone, first = make(graph, None), streams[0][1]
    for frames in (MEASURED_FRAMES, LONGER * MEASURED_FRAMES):
        frames += kind.processing_delay  # noqa: PLW2901

        def hear(change: Callable[[Floats], Floats], frames: int = frames) -> Floats:
            arrays = {}
            for name, inlet, channels in streams:
                shape = (about.batch, channels, frames)
                x = rest(inlet, shape, first=inlet is first)
                x = change(x) if inlet is first else x
                arrays[name] = within(inlet, x, about.sample_rate)
            return _answer(alone, arrays, about.batch, frames)

        silence = hear(lambda x: x)
        same = np.isclose(silence, hear(noise), rtol=1e-9, atol=1e-12, equal_nan=True)
        if not same.all():
            answer = int((~same.all(axis=(0, 1))).argmax()) - QUIET_FRAMES
            return Delay(answer, group_delay(hear(impulse), silence), "measured")
    return None


def _bench(graph: Graph, node: Node, about: Frozen) -> list[tuple[str, Inlet, int]]:
    """Put a node alone into a graph; inputs for its streams: name, inlet and channels."""
    kind = node.type
    inlets: list[Any] = []
    streams: list[tuple[str, Inlet, int]] = []
    for inlet, source in zip(type(kind).inlets, node.sources, strict=True):
        for edge in source if isinstance(source, tuple) else (source,):
            if isinstance(edge, Edge):
                name, channels = f"{inlet.name}.{len(streams)}", about.nodes[edge.source].channels
                streams.append((name, inlet, channels))
                inlets.append(graph.input(name, channels))
            else:
                inlets.append(edge)
    if not streams:
        return []
    named = {}
    if not type(kind).inlets[-1].variadic:
        names = (inlet.name for inlet in type(kind).inlets)
        named = {n: s for n, s in zip(names, inlets, strict=True) if s is not None}
    made = graph.add(kind, *(() if named else inlets), **named)
    for number, stream in enumerate(made if isinstance(made, tuple) else (made,)):
        graph.output(f"out.{number}", stream)
    return streams


def _answer(alone: Instance, arrays: dict[str, Floats], batch: int, frames: int) -> Floats:
    """All outputs of a run from clock 0."""
    outs = {name: np.zeros((batch, out.channels, frames)) for name, out in alone.outputs.items()}
    alone.reset()
    alone.read_from(arrays, 0)
    alone.write_to(outs, 0)
    alone.run_until(frames)
    return np.concatenate([*outs.values()], axis=1)


def group_delay(answer: Floats, silence: Floats) -> float:
    """Centre of the energy of what an impulse at `QUIET_FRAMES` adds to silence [frames]; NaN if that
    does not decay, or is not finite."""
    with np.errstate(all="ignore"):
        energy = np.square(answer - silence).sum(axis=(0, 1))
    total = energy.sum()
    if not 0 < total < np.inf or energy[-(len(energy) // 4) :].sum() > DECAYED * total:
        return math.nan
    return float(energy @ np.arange(len(energy)) / total) - QUIET_FRAMES


def rest(inlet: Inlet, shape: tuple[int, int, int], *, first: bool) -> Floats:
    """A constant stream for an inlet: silence for the ``first`` one."""
    value = inlet.default
    if value is None:
        value = 440.0 if inlet.unit == "Hz" else 0.0 if first else 1.0
    return np.full(shape, value)


def noise(x: Floats) -> Floats:
    """``x``, and noise around 1 after a while."""
    late = x[..., QUIET_FRAMES:]
    late += np.random.default_rng(1).uniform(0.5, 1.5, late.shape)
    return x


def impulse(x: Floats) -> Floats:
    """``x``, and an impulse after a while."""
    x[..., QUIET_FRAMES] += IMPULSE
    return x


def within(inlet: Inlet, x: Floats, sample_rate: float) -> Floats:
    """``x`` within the range of an inlet."""
    high = 0.49 * sample_rate if inlet.high == "nyquist" else float(inlet.high)
    return np.clip(x, inlet.low, high)
