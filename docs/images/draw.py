"""Draw the pictures of README and the tour: ``python docs/images/draw.py``."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import amp
import amp.plot
from amp import nodes

HERE = Path(__file__).parent
DPI = 80


def make_voices(count: int) -> amp.Graph:
    """Voices that share a gate, mixed to stereo, with an echo in a feedback path."""
    g = amp.Graph(sample_rate=48_000)
    gate = g.input("gate")
    voices = []
    pitches, places = np.geomspace(110.0, 880.0, count), np.linspace(-1.0, 1.0, count)
    for hz, place in zip(pitches, places, strict=True):
        saw = g.add(nodes.Saw(), hz)
        low = g.add(nodes.StateVariable(q=1.5), saw, cutoff=6.0 * hz)
        level = g.add(nodes.Envelope(attack=0.01, release=0.2), gate)
        voices.append(g.add(nodes.Pan(position=place), low * level))
    again = g.feedback(channels=2)
    damped = g.add(nodes.OnePole(cutoff=3000.0), amp.edge(again, initial=14_400))
    echo = g.add(nodes.Mix(), *voices) + 0.6 * damped
    again.connect(echo)
    g.output("out", 0.8 / count * echo)
    return g


def main() -> None:
    """Write the three pictures beside this file."""
    amp.plot.graph(make_voices(4)).savefig(HERE / "graph.png", dpi=DPI)

    g = make_voices(32)
    program = amp.compile(g, amp.plan(g, block=256), timing=True)
    seconds = np.arange(2 * 48_000) / 48_000
    gate = np.where(seconds % 1.0 < 0.25, 1.0, 0.0).reshape(1, 1, -1)
    result = program.run({"gate": gate})
    amp.plot.schedule(program).savefig(HERE / "schedule.png", dpi=DPI)
    amp.plot.signal(result).savefig(HERE / "signal.png", dpi=DPI)


if __name__ == "__main__":
    main()
