"""Nodes of every type, and graphs to try them in."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from clocked import at_clock, channels_of

import amp
from amp import nodes
from amp.contract import NATIVE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bits import Array

    from amp.contract import Inlet, NodeType

RATE = 48_000.0
FRAMES = 256
TYPES = {
    name: kind for name, kind in nodes.NODE_TYPES.items() if not kind.border and not kind.router
}
"""Those that fire at a pace; `test_routers` asks the others."""
TRACED = {name: kind for name, kind in TYPES.items() if kind.has_forward()}
"""Those that have a ``forward``."""
WRITTEN = {name: kind for name, kind in TYPES.items() if kind.archetype != NATIVE}
"""Those that are text, without a function of the user's."""
SAMPLES = {
    f"{name}.{i}": node for name, kind in TYPES.items() for i, node in enumerate(kind.samples())
}
MOST_LANES = 13
HERTZ, SECONDS, PLAIN = (50.0, 9000.0), (0.0, 0.002), (-2.0, 2.0)
"""Ranges of streams into inlets that have no finite range of their own."""
HELD = {"gate", "trigger", "target", "low", "high", "acceleration", "integral"}
"""Inlets whose streams change now and then. (Bang-bang control of noise would make a million times as
much of a rounding in these frames.)"""
ORDINARY = {
    "Hz": HERTZ,
    "s": SECONDS,
    "frames": (0.0, 14.0),
    "per token": (0.5, 1.5),
    "1/s": (-9e3, 2e4),
    "1/s^2": (0.0, 1e8),
}


@dataclass
class Bench:
    """A graph of some equal nodes, side by side, and what is fed to them."""

    graph: amp.Graph
    shapes: dict[str, tuple[int, Inlet]] = field(default_factory=dict)

    def inputs(self, seed: int = 1, frames: int = FRAMES) -> dict[str, Array]:
        """A stream for each input, in the range of its inlet."""
        return {
            name: stream(inlet, (self.graph.batch, channels, frames), seed + 7 * i)
            for i, (name, (channels, inlet)) in enumerate(self.shapes.items())
        }


def stream(inlet: Inlet, shape: tuple[int, ...], seed: int) -> Array:
    """Noise in the range of an inlet, the same in each lane whatever their number; what changes now
    and then is held for a while."""
    batch, shape = shape[0], (MOST_LANES, *shape[1:])
    rng = np.random.default_rng([seed, *shape])
    low, high = ORDINARY.get(inlet.unit, PLAIN)
    if inlet.high != "nyquist" and np.isfinite([inlet.low, inlet.high]).all():
        low, high = inlet.low, float(inlet.high)
    low = max(low, inlet.low)
    x: Array = rng.uniform(low, high, shape)
    if inlet.name in HELD:
        runs = x[..., ::20]
        if inlet.name in {"gate", "trigger"}:
            runs = np.sign(runs)
        x = np.repeat(runs, 20, axis=-1)[..., : shape[-1]]
    return x[:batch].copy()


def is_given(node: NodeType, inlet: Inlet, *, streams: bool) -> bool:
    """Whether an inlet gets a stream: if it must, or if all do that can."""
    if streams:
        return not inlet.optional or inlet.name in node.given
    return inlet.variadic or (
        inlet.default is None and not inlet.optional and inlet.name not in node.given
    )


def cases() -> Iterator[Any]:
    """Each sample with streams where it must have some, and with streams where it can."""
    for name, node in SAMPLES.items():
        inlets = type(node).inlets
        choices = [tuple(is_given(node, i, streams=s) for i in inlets) for s in (False, True)]
        for streams in sorted({choice: i for i, choice in enumerate(choices)}.values()):
            label = f"{name}-{'streams' if streams else 'constants'}"
            yield pytest.param(name, bool(streams), id=label)


CASES = list(cases())


def bench(copies: list[NodeType], *, batch: int = 1, streams: bool = False, wide: int = 1) -> Bench:
    """Each of ``copies`` on inputs of its own, called ``<inlet>.<copy>.<term>``; the first one has
    ``wide`` channels where any number will do."""
    made = Bench(amp.Graph(RATE, batch))
    for number, node in enumerate(copies):
        taken: list[Any] = []
        named: dict[str, Any] = {}
        for inlet in type(node).inlets:
            if is_given(node, inlet, streams=streams):
                for term in range(3 if inlet.variadic else 1):
                    name = f"{inlet.name}.{number}.{term}"
                    channels = channels_of(node, inlet)
                    free = node.channels == "each" and not (taken or named)
                    made.shapes[name] = wide if free and channels == 1 else channels, inlet
                    source = made.graph.input(name, made.shapes[name][0])
                    if inlet.variadic:
                        taken.append(source)
                    else:
                        named[inlet.name] = source
        out = at_clock(made.graph, node, made.graph.add(node, *taken, **named))
        made.graph.output(f"out.{number}", out)
    return made
