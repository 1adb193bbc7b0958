"""The demonstration of the command ``amp demo``: a plucked phrase, and a graph to play it through."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from amp import nodes
from amp.graph import Graph, Stream, edge
from amp.pipeline import compile as compile_graph

if TYPE_CHECKING:
    from numpy.typing import NDArray

SAMPLE_RATE = 48_000
BEAT = 0.25
"""Seconds from one pluck to the next; eight to a chord."""
CHORDS = (
    (110.00, 164.81, 220.00, 261.63, 329.63),  # A minor
    (87.31, 130.81, 174.61, 220.00, 349.23),  # F
    (130.81, 196.00, 261.63, 329.63, 392.00),  # C
    (98.00, 146.83, 196.00, 246.94, 392.00),  # G
)
PATTERN = (0, 2, 3, 4, 3, 2, 1, 3)
STRINGS = 8
VOICES_PER_CHORD = 8
LOOP_SECONDS = BEAT * len(PATTERN) * len(CHORDS)


def pluck_graph() -> Graph:
    """Eight strings, one a batch: noise bursts into a damped loop (Karplus & Strong, 1983)."""
    g = Graph(SAMPLE_RATE, batch=STRINGS)
    gate, period = g.input("gate"), g.input("period")
    burst = g.add(nodes.Envelope(attack=0.001, release=0.004), gate)
    again = g.feedback()
    damped = g.add(nodes.OnePole(cutoff=6000.0), edge(again, initial=1))
    string = g.add(nodes.Noise(seed=7)) * burst + g.add(nodes.Gain(gain=0.994), damped)
    again.connect(g.add(nodes.Delay(1024, "lagrange3"), string, period))
    g.output("out", g.add(nodes.OnePole("highpass", cutoff=40.0), string))
    return g


def phrase(seconds: float = LOOP_SECONDS) -> NDArray[np.float64]:
    """A plucked phrase, ``(1, 1, frames)``, peak 0.5; amp plays it, NumPy writes the score."""
    frames = round(seconds * SAMPLE_RATE)
    beat = round(BEAT * SAMPLE_RATE)
    gate = np.zeros((STRINGS, 1, frames))
    period = np.full((STRINGS, 1, frames), 400.0)
    for number, begin in enumerate(range(0, frames, beat)):
        string = number % STRINGS
        chord = CHORDS[number // len(PATTERN) % len(CHORDS)]
        pitch = chord[PATTERN[number % len(PATTERN)]]
        gate[string, 0, begin : begin + 96] = 1.0
        # one frame is the edge's, and about one more the filter's
        period[string, 0, begin:] = SAMPLE_RATE / pitch - 2.2
    strings = compile_graph(pluck_graph()).render({"gate": gate, "period": period})["out"]
    sound = strings.sum(axis=0, keepdims=True)
    return np.asarray(0.5 * sound / np.abs(sound).max())


def graph() -> Graph:
    """Equaliser and drive, a pad of 32 voices that gives way to the input, a ping-pong echo."""
    g = Graph(SAMPLE_RATE)
    guitar = g.input("guitar")
    clean = g.add(nodes.OnePole("highpass", cutoff=60.0), guitar, name="rumble filter")
    tone = g.add(nodes.SecondOrderSections(_peaking(2200.0, 4.0)), clean, name="equaliser")
    driven = g.add(nodes.Function("tanh"), g.add(nodes.Gain(gain=1.8), tone), name="drive")
    loud = g.add(nodes.OnePole(cutoff=6.0), abs(clean), name="envelope follower")
    duck = g.add(nodes.Clip(low=0.25, high=1.0), 1.0 - 5.0 * loud, name="duck")
    pad = g.add(nodes.Multiply(), _pad(g), duck, name="pad level")
    dry = g.add(nodes.Mix(), g.add(nodes.Pan(position=-0.15), driven), pad, name="dry")
    echo = _echo(g, driven)
    mixed = g.add(nodes.Mix(), dry, g.add(nodes.Gain(gain=0.5), echo), name="mix")
    g.output("out", g.add(nodes.Function("tanh"), 0.8 * mixed, name="master"))
    return g


def _pad(g: Graph) -> Stream:
    """Four chords of eight detuned saws; each sounds a quarter of the loop."""
    random = np.random.default_rng(3)
    voices = []
    for number, chord in enumerate(CHORDS):
        clock = nodes.Square(phase=(1 - number / len(CHORDS)) % 1)
        gate = g.add(clock, 1 / LOOP_SECONDS, width=1 / len(CHORDS), name=f"clock.{number}")
        swell = g.add(
            nodes.Envelope("exponential", attack=0.6, release=0.9), gate, name=f"swell.{number}"
        )
        for voice in range(VOICES_PER_CHORD):
            pitch = chord[voice % len(chord)] * (1 + 0.004 * random.uniform(-1, 1))
            saw = g.add(nodes.Saw(phase=float(random.uniform(0, 0.999))), frequency=2 * pitch)
            dark = g.add(nodes.StateVariable("lowpass", q=1.2), saw, cutoff=300.0 + 1500.0 * swell)
            place = 1.6 * voice / (VOICES_PER_CHORD - 1) - 0.8
            voices.append(g.add(nodes.Pan(position=place), 0.03 * (dark * swell)))
    out: Stream = g.add(nodes.Mix(), *voices, name="pad")
    return out


def _echo(g: Graph, dry: Stream) -> Stream:
    """Left answers right and right answers left; the tokens on the feedback edges are the delay."""
    frames = round(1.5 * BEAT * SAMPLE_RATE)
    right = g.feedback()
    damping = nodes.OnePole(cutoff=2500.0)
    into_left = g.add(nodes.Gain(gain=0.55), edge(right, initial=frames), name="echo gain left")
    left = g.add(damping, dry + into_left, name="echo left")
    into_right = g.add(nodes.Gain(gain=0.85), edge(left, initial=frames), name="echo gain right")
    right.connect(g.add(damping, into_right, name="echo right"))
    sides = [
        g.add(nodes.Pan(position=-0.9), edge(left, initial=frames), name="echo pan left"),
        g.add(nodes.Pan(position=0.9), right, name="echo pan right"),
    ]
    out: Stream = g.add(nodes.Mix(), *sides, name="echo")
    return out


def _peaking(frequency: float, decibels: float, q: float = 0.9) -> NDArray[np.float64]:
    """One section that lifts ``frequency``; R. Bristow-Johnson, "Audio EQ Cookbook", 1998."""
    a = 10 ** (decibels / 40)
    w = 2 * np.pi * frequency / SAMPLE_RATE
    alpha = np.sin(w) / (2 * q)
    return np.array(
        [
            [
                1 + alpha * a,
                -2 * np.cos(w),
                1 - alpha * a,
                1 + alpha / a,
                -2 * np.cos(w),
                1 - alpha / a,
            ]
        ]
    )
