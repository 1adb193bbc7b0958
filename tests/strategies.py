"""Hypothesis strategies: random graphs, their inputs, and random legal schedules for them.

Graphs are drawn block by block: a node on some stream, a sum, a feedback loop, a choir of equal voices
(which is where cohorts come from). Loops are stable, so that no run drowns in infinities.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from hypothesis import strategies as st

import amp
from amp import nodes
from amp.contract import Inlet, NodeType, Trace

if TYPE_CHECKING:
    from collections.abc import Callable

    from bits import Array

    from amp.graph import Stream, Tapped
    from amp.ir import Value

LONGEST_RUN = 420
"""Most frames that a case is run for."""
HARD = [np.nan, np.inf, -np.inf, -0.0, 1e300, -1e300, 3e-308, 1e-310, 2.0**53, 4.0e18]


class Cross(NodeType):
    """Two outlets: ``u = a + b / 2, v = a - b / 2``. For tests."""

    inlets = (Inlet("a"), Inlet("b"))
    outlets = ("u", "v")

    def forward(self, b: Trace, x: Value, y: Value) -> tuple[Value, Value]:
        return b.fma(0.5, y, x), b.fma(-0.5, y, x)


class Late(NodeType):
    """Answers each token with its half, 3 frames later. For tests."""

    inlets = (Inlet("input"),)
    processing_delay = 3

    def forward(self, b: Trace, x: Value) -> Value:
        return x * 0.5


class Swap(NodeType):
    """Sees all channels: the running sum of all of them minus each one. For tests."""

    inlets = (Inlet("input"),)
    channels = "all"

    def forward(self, b: Trace, x: list[Value]) -> list[Value]:
        total = b.fma(0.25, b.state("total"), b.tree_sum(x))
        b.next("total", total)
        return [total - value for value in x]


class Uneven(NodeType):
    """Takes and writes so many tokens in each firing of a cycle. For tests.

    ``y_i = x_last + x_(i mod n) / 2 + i / 8 + phase / 16``, of the last n tokens, n the most it takes.
    """

    reads: tuple[int, ...]
    writes: tuple[int, ...]
    inlets = (Inlet("input"),)

    def rate(self, port: str) -> int | tuple[int, ...]:
        return self.writes if port == "out" else self.reads

    def forward(self, b: Trace, x: Any) -> Any:
        x = x if isinstance(x, list) else [x]
        phase = b.emit("to_float", b.phase())
        base = b.fma(phase, 1 / 16, x[-1])
        made = [b.fma(0.5, x[i % len(x)], base) + i / 8 for i in range(max(self.writes))]
        return made if len(made) > 1 else made[0]


@dataclass(frozen=True)
class Case:
    """A graph and what it is run on."""

    graph: amp.Graph
    inputs: dict[str, int]
    heard: dict[str, Stream | Tapped]
    seed: int
    rough: bool

    def arrays(self, frames: int) -> dict[str, Array]:
        """Noise for every input, with stretches of silence, and if rough with values to choke on."""
        rng = np.random.default_rng(self.seed)
        out = {}
        for name, channels in self.inputs.items():
            shape = (self.graph.batch, channels, LONGEST_RUN)
            silent = np.repeat(rng.random((*shape[:2], LONGEST_RUN // 20)) < 0.2, 20, axis=-1)
            out[name] = np.where(silent, 0.0, rng.normal(size=shape))
            if self.rough:
                late = (rng.random(shape) < 0.02) & (np.arange(LONGEST_RUN) > 50)
                out[name] = np.where(late, rng.choice(HARD, shape), out[name])
        return {name: array[..., :frames].copy() for name, array in out.items()}

    def __repr__(self) -> str:
        lines = [f"batch {self.graph.batch}, {self.inputs}, seed {self.seed}, rough {self.rough}"]
        for node in self.graph.freeze().nodes:
            edges = [
                f"{self.graph.nodes[e.source].name}.{e.outlet}"
                + (f" delay {e.delay}" if e.delay else "")
                + (f" initial {e.tokens}" if e.tokens else "")
                + (" by the clock" if e.default is not None else "")
                for e in node.edges
            ]
            lines.append(f"  {node.name}: {node.type!r} x{node.channels} <- {', '.join(edges)}")
        return "\n".join(lines)


Make = "Callable[[_Maker, Any], Stream]"


class _Maker:
    """A graph in the making."""

    def __init__(self, draw: st.DrawFn, batches: tuple[int, ...] = (1, 1, 2, 3)) -> None:
        self.draw = draw
        self.graph = amp.Graph(48_000, batch=draw(st.sampled_from(batches)))
        self.inputs = {"x": draw(st.integers(1, 3)), "y": 1}
        self.streams: list[Stream] = [self.graph.input(n, c) for n, c in self.inputs.items()]
        self.others: list[Stream] = []  # at other rates
        self.params = 0
        self.gates: dict[str, int] = {}  # name to its last contributor: who waits comes later

    def pick(self, *choices: Any) -> Any:
        return self.draw(st.sampled_from(choices))

    def add(self, kind: NodeType, *inlets: Any, **named: Any) -> Any:
        return self.graph.add(kind, *inlets, **named)

    def keep(self, *streams: Stream) -> None:
        self.streams += streams

    def stream(self, channels: int = 0) -> Stream:
        """Any stream, or one that fits ``channels``; late ones are likelier."""
        fits = [s for s in self.streams if not channels or s.channels in {1, channels}]
        recent = fits[-6:]
        return self.draw(st.sampled_from(recent if self.pick(True, True, False) else fits))

    def tap(self, stream: Stream) -> Stream | Tapped:
        """``stream``, often as it is, sometimes delayed, with initial tokens, or read by the clock, or
        another in its place that runs at another rate."""
        style = self.pick("plain", "plain", "plain", "delay", "tokens", "both", "clock", "gate")
        if style == "gate" and not any(at <= stream.node for at in self.gates.values()):
            style = "plain"
        if style == "plain":
            return stream
        if style == "clock":
            other = [s for s in self.others if s.channels == stream.channels]
            return self.by_clock(self.pick(stream, *other[-3:]))
        if style == "gate":
            names = [name for name, at in self.gates.items() if at <= stream.node]
            return amp.edge(stream, gate=tuple(self.draw(st.sets(st.sampled_from(names)))))
        delay = self.pick(1, 2, 7, 40, 75) if style != "tokens" else 0
        return amp.edge(
            stream, delay=delay, initial=self.initial(stream.channels) if style != "delay" else 0
        )

    def by_clock(self, stream: Stream, least: int = 0) -> Tapped:
        """An edge that is read by the clock."""
        tokens = self.initial(stream.channels) if self.pick(True, False, False) else 0
        delay = max(least, self.pick(0, 1, 30))
        return amp.edge(stream, delay=delay, initial=tokens, default=0.5)

    def counts(self, phases: int) -> tuple[int, ...]:
        """A cyclo-static rate."""
        counts = [self.pick(1, 2, 0, 3) for _ in range(phases)]
        return tuple(counts) if any(counts) else (1,)

    def initial(self, channels: int, least: int = 1) -> Any:
        """Initial tokens in one of their three forms."""
        count = max(least, self.pick(1, 1, 2, 3, 9, 64))
        style = self.pick("count", "value", "array")
        if style == "count":
            return count
        if style == "value":
            return (0.25, count)
        rng = np.random.default_rng(self.pick(1, 2))
        return rng.normal(size=(self.graph.batch, channels, count))

    def value(self, low: float, high: float, channels: int = 1) -> Any:
        """A constant for an inlet: a number, an array, or a param."""
        rng = np.random.default_rng(self.draw(st.integers(0, 99)))
        style = self.pick("number", "number", "array", "param", "wide param")
        if style in {"number", "param"}:
            value: Any = float(rng.uniform(low, high))
        else:
            value = rng.uniform(low, high, (self.pick(1, self.graph.batch), self.pick(1, channels)))
        if "param" not in style:
            return value
        self.params += 1
        return amp.Param(value, name=f"p{self.params}")

    def control(self, low: float, high: float, channels: int = 1) -> Any:
        """A constant, or a stream that stays near the range."""
        if self.pick(True, True, False):
            return self.value(low, high, channels)
        x = self.add(nodes.Function("tanh"), self.stream(channels))
        scaled = self.add(nodes.Multiply(), x, (high - low) / 2)
        return self.tap(self.add(nodes.Add(), scaled, (high + low) / 2))

    # ---- blocks

    def effect(self) -> None:
        x = self.stream()
        make = EFFECTS[self.draw(st.integers(0, len(EFFECTS) - 1))]
        self.keep(make(self, self.tap(x)))

    def source(self) -> None:
        make = SOURCES[self.draw(st.integers(0, len(SOURCES) - 1))]
        self.keep(make(self, None))

    def pair(self) -> None:
        x = self.stream()
        y = self.tap(self.stream(x.channels))
        kind = self.pick(
            nodes.Add(),
            nodes.Multiply(),
            nodes.Function2("subtract"),
            nodes.Function2("minimum"),
            nodes.Envelope(trigger=None),
            Cross(),
        )
        made = self.add(kind, self.tap(x), y)
        self.keep(*(made if isinstance(made, tuple) else (made,)))

    def mix(self) -> None:
        channels = self.stream().channels
        terms = [self.tap(self.stream(channels)) for _ in range(self.draw(st.integers(1, 20)))]
        self.keep(self.add(nodes.Mix(), *terms))

    def choir(self) -> None:
        """Equal voices, mixed; sometimes each has an edge of its own delay."""
        make = CHOIRS[self.draw(st.integers(0, len(CHOIRS) - 1))]
        count = self.draw(st.integers(2, 20))
        x, uneven = self.stream(1), self.pick(False, False, True)
        voices = []
        for i in range(count):
            voice = make(self, (x, i / count))
            voices.append(amp.edge(voice, delay=i % 3) if uneven else voice)
        self.keep(self.add(nodes.Mix(), *voices))

    def chain(self) -> None:
        """Equal nodes one after another; sometimes a place in the middle is heard too."""
        y: Any = self.stream(1)
        kind = self.pick(
            nodes.OnePole("lowpass", cutoff=4000.0),
            nodes.StateVariable("allpass", cutoff=900.0),
            nodes.Biquad(b0=0.5, a1=-0.6, a2=0.3),
            nodes.Gain(gain=-0.9),
            nodes.Delay(9, "linear", delay=2.5),
        )
        length = self.draw(st.integers(2, 20))
        heard = self.draw(st.integers(0, 2 * length))
        for i in range(length):
            y = self.add(kind, y, **({"gain": 0.5 + i / 40} if kind.given.get("gain") else {}))
            if i == heard:
                self.keep(y)
        self.keep(y)

    def join(self) -> None:
        """A join of an independent kernel, a stream, and something late or wide made of it."""
        x = self.stream(1)
        late = self.add(nodes.Gain(), amp.edge(x, initial=1), gain=0.5)
        wide = self.add(nodes.Mix(), *[self.add(nodes.Gain(), x, gain=i / 9) for i in range(9)])
        alone = self.add(nodes.Sine(), self.pick(0.0, 440.0))
        terms = [self.pick(late, wide), x, alone]
        order = self.draw(st.permutations(range(3)))
        kind = self.pick(nodes.Mix(), nodes.Clip())
        self.keep(self.add(kind, *(terms[i] for i in order)))

    def gate(self) -> None:
        """A gate that later nodes may stand behind."""
        streams = [self.stream() for _ in range(self.draw(st.integers(1, 3)))]
        streams = [self.pick(s, *self.others[-3:]) for s in streams]
        name = f"gate {len(self.gates)}"
        self.gates[name] = max(s.node for s in streams)
        delays = [self.pick(0, 1, 50) for _ in streams]
        late = [amp.edge(s, delay=d, initial=d // 2) for s, d in zip(streams, delays, strict=True)]
        self.graph.gate(name, late)

    def other_rate(self) -> None:
        """A detour at another rate, or in pieces."""
        x: Any = self.tap(self.stream())
        free = getattr(x, "default", None) is not None  # its rate does not follow from its source
        factor = self.pick(2, 3, 5)
        style = self.pick("slow", "fast", "pieces", "ratio", "uneven", "phases")
        there, back = nodes.Downsample(factor, self.pick(0, factor - 1)), nodes.Hold(factor)
        if style == "fast":
            there, back = self.pick(nodes.Hold, nodes.Upsample)(factor), nodes.Downsample(factor)
        elif style == "pieces":
            size = self.pick(factor, factor + 1, 3 * factor)
            there, back = nodes.Window(size, factor), nodes.Overlap(size, factor)
        elif style == "uneven":
            reads, writes = self.counts(3), self.counts(self.pick(1, 3))
            there, back = Uneven(reads, writes), Uneven(writes, reads)
        elif style == "phases":
            even, odd = self.add(nodes.Distributor(), x)
            half = self.add(self.pick(*SIMPLE[:-1]), even)
            self.others += [half, odd]
            x = self.add(nodes.Commutator(), half, amp.edge(odd, delay=self.pick(0, 0, 3)))
            self.keep(self.add(nodes.Add(), x, self.streams[1]) if free else x)
            return
        x = self.add(there, x)
        for _ in range(self.draw(st.integers(0, 3))):
            x = self.add(self.pick(*SIMPLE[: -1 if style == "pieces" else None]), x)
            self.others.append(x)
            if self.pick(True, False, False):
                x = amp.edge(x, delay=self.pick(0, 1, 9), initial=self.initial(_wide(x)))
                x = self.add(nodes.Advance(self.pick(1, 4, 70)), x) if self.pick(True, False) else x
            elif self.pick(True, False, False):
                fits = [s for s in (*self.streams, *self.others) if s.channels == _wide(x)]
                x = self.add(nodes.Add(), x, self.by_clock(self.pick(*fits)))
        if style == "ratio":
            x = self.add(nodes.Downsample(2), self.add(Late(), self.add(nodes.Hold(2), x)))
        x = self.add(back, x)
        self.keep(self.add(nodes.Add(), x, self.streams[1]) if free else x)

    def slow_loop(self) -> None:
        """Feedback through nodes that fire less often."""
        x = self.stream()
        factor = self.pick(2, 4)
        tokens = factor + self.pick(0, 1, 30)
        loop = self.graph.feedback(x.channels)
        clock = self.pick(True, False)
        tail = self.by_clock(loop, 1)
        if not clock:
            tail = amp.edge(loop, initial=self.initial(x.channels, tokens))
        y = self.add(nodes.Add(), x, tail)
        slow = self.add(nodes.Gain(gain=0.4), self.add(nodes.Downsample(factor), y))
        if not (clock and self.pick(True, False)):
            slow = self.add(self.pick(nodes.Hold, nodes.Upsample)(factor), slow)
        loop.connect(slow)
        self.keep(y)

    def arrange(self) -> None:
        """Channels in other places."""
        count = self.draw(st.integers(1, 4))
        terms = [self.tap(self.stream()) for _ in range(count)]
        width = sum(_wide(term) for term in terms)
        style = self.pick("concat", "stack", "mean", "map")
        if style == "concat":
            self.keep(self.add(nodes.Concat(), *terms))
        elif style == "map":
            order = tuple(self.draw(st.lists(st.integers(-1, _wide(terms[0]) - 1), min_size=1)))[:6]
            back = tuple(self.pick(0, 1, 20) for _ in order)
            batches = tuple(self.pick(*range(self.graph.batch)) for _ in range(self.graph.batch))
            self.keep(self.add(nodes.Rearrange(order, back, batches), terms[0]))
        else:
            same = [t for t in terms if _wide(t) in {1, _wide(terms[0])}] if width else terms
            self.keep(self.add(nodes.Stack() if style == "stack" else nodes.Mean(), *same))

    def loop(self) -> None:
        """One feedback path, see `LOOPS`, sometimes with a delayed filter in it."""
        x = self.stream()
        back = self.graph.feedback(x.channels)
        tokens = self.pick(1, 1, 2, 5, 17, 90)
        make, lag = LOOPS[self.draw(st.integers(0, len(LOOPS) - 1))]
        spare = max(tokens, lag) - lag  # frames of delay that the tokens cover
        initial = self.initial(x.channels, max(tokens, lag, 1))
        tapped = amp.edge(back, initial=initial, delay=self.draw(st.integers(0, spare)) // 2)
        y = make(self, self.tap(x), tapped)
        if self.pick(True, False):
            y = self.add(nodes.OnePole(), amp.edge(y, delay=spare // 2), cutoff=3000.0)
        back.connect(y)
        self.keep(y)

    def ring(self) -> None:
        """Voices that feed the next one round in a circle: a loop across lanes."""
        count, tokens = self.draw(st.integers(2, 5)), self.pick(1, 3, 30)
        backs = [self.graph.feedback() for _ in range(count)]
        x = self.stream(1)
        ends = []
        for i, back in enumerate(backs):
            held = self.add(nodes.Gain(), amp.edge(back, initial=(0.1 * i, tokens)), gain=0.45)
            ends.append(self.add(nodes.Function("tanh"), self.add(nodes.Add(), x, held)))
        for i, back in enumerate(backs):
            back.connect(ends[(i + 1) % count])
        self.keep(self.add(nodes.Mix(), *ends))


SIMPLE: list[NodeType] = [
    nodes.Gain(gain=-0.5),
    nodes.OnePole(cutoff=700.0),
    nodes.StateVariable("bandpass", cutoff=900.0),
    nodes.Function("tanh"),
    nodes.Delay(9, "linear", delay=2.5),
    Late(),
    Swap(),
    nodes.Rearrange((0, -1, 0), (0, 0, 2)),
]


def _voice(m: _Maker, at: tuple[Stream, float]) -> Stream:
    x, share = at
    saw = m.add(nodes.Saw(phase=share), m.add(nodes.Add(), x, 200.0 + 900.0 * share))
    low = m.add(nodes.StateVariable(), saw, cutoff=300.0 + 5000.0 * share, q=0.5 + share)
    out: Stream = m.add(nodes.Pan(), low, position=2.0 * share - 1.0)
    return out


def _echo(m: _Maker, at: tuple[Stream, float]) -> Stream:
    x, share = at
    back = m.graph.feedback()
    held = m.add(nodes.Gain(), amp.edge(back, initial=2), gain=0.5 * share)
    y: Stream = m.add(nodes.Add(), x, held)
    back.connect(y)
    return y


def _pluck(m: _Maker, at: tuple[Stream, float]) -> Stream:
    x, share = at
    gate = m.add(nodes.Function2("subtract"), x, share)
    level = m.add(nodes.Envelope("exponential"), gate, attack=1e-4 + 1e-3 * share, release=2e-3)
    tone = m.add(nodes.Sine(phase=share), frequency=3000.0 * share)
    out: Stream = m.add(nodes.Multiply(), level, tone)
    return out


CHOIRS: list[Callable[[_Maker, Any], Stream]] = [
    _voice,
    _echo,
    _pluck,
    lambda m, at: m.add(nodes.Delay(40), at[0], delay=40.0 * (1.0 - at[1])),
    lambda m, at: m.add(nodes.Gain(), m.add(nodes.Gain(), at[0], gain=at[1]), gain=2.0),
]
SOURCES: list[Callable[[_Maker, None], Stream]] = [
    lambda m, _: m.add(nodes.Saw(m.pick(2, 4)), m.control(-9000.0, 9000.0, 2)),
    lambda m, _: m.add(nodes.Square(phase=0.25), m.control(20.0, 9000.0, 2), m.value(0.0, 1.0)),
    lambda m, _: m.add(nodes.Triangle(), m.control(20.0, 9000.0, 3)),
    lambda m, _: m.add(nodes.Sine(), m.control(20.0, 9000.0), modulation=m.stream()),
    lambda m, _: m.add(nodes.Noise(m.pick(0, 7), "uniform", m.pick(1, 3))),
    lambda m, _: m.add(nodes.Noise(m.pick(0, 7), "normal", m.pick(1, 2))),
    lambda m, _: m.add(nodes.Constant(m.pick(0.0, -1.5))),
]


LOOPS: list[tuple[Callable[[_Maker, Any, Any], Stream], int]] = [
    (lambda m, x, y: m.add(nodes.Add(), x, m.add(nodes.Gain(), y, gain=0.5)), 0),
    (lambda m, x, y: m.add(nodes.Function("tanh"), m.add(nodes.Add(), y, x)), 0),
    (lambda m, x, y: m.add(nodes.Function2("minimum"), x, y), 0),
    (lambda m, x, y: m.add(nodes.Gain(gain=0.05), m.add(nodes.Mix(), *[y] * 7, x, y, y)), 0),
    (
        lambda m, x, y: m.add(
            nodes.Add(), x, m.add(nodes.MatrixMix(_matrix(_wide(y), _wide(y))), y)
        ),
        0,
    ),
    (lambda m, x, y: m.add(Late(), m.add(nodes.Add(), x, y)), 3),
    (lambda m, x, y: m.add(nodes.Add(), x, m.add(nodes.Gain(), m.add(Swap(), y), gain=0.1)), 0),
]
"""What a loop adds its tail to its head with, and the processing delay of that. All are stable."""


def _wide(x: Any) -> int:
    return int(getattr(x, "stream", x).channels)


def _matrix(rows: int, columns: int) -> Array:
    gains: Array = np.random.default_rng(rows).normal(size=(rows, columns)) / columns
    return gains


def _to_one(m: _Maker, x: Any) -> Any:
    return x if _wide(x) == 1 else m.stream(1)


EFFECTS: list[Callable[[_Maker, Any], Stream]] = [
    lambda m, x: m.add(nodes.Gain(), x, gain=m.control(-1.0, 1.0, _wide(x))),
    lambda m, x: m.add(nodes.OnePole("highpass"), x, cutoff=m.control(50.0, 20000.0, _wide(x))),
    lambda m, x: m.add(
        nodes.StateVariable(m.pick("lowpass", "peak")),
        x,
        cutoff=m.control(50.0, 20000.0, _wide(x)),
        q=m.value(0.4, 3.0, _wide(x)),
    ),
    lambda m, x: m.add(nodes.Biquad(), x, b1=m.value(-1, 1, _wide(x)), a1=-0.9, a2=0.5),
    lambda m, x: m.add(nodes.SecondOrderSections([[0.2, 0.4, 0.2, 1, -0.5, 0.3]] * 2), x),
    lambda m, x: m.add(
        nodes.Delay(33, m.pick("none", "linear", "lagrange3", "thiran1")),
        x,
        delay=m.control(0.0, 33.0, _wide(x)),
    ),
    lambda m, x: m.add(nodes.Clip(), x, low=m.control(-1.0, 0.0, _wide(x))),
    lambda m, x: m.add(nodes.Function(m.pick("abs", "sin", "tanh", "floor", "square")), x),
    lambda m, x: m.add(nodes.Pan(), _to_one(m, x), position=m.control(-1.0, 1.0)),
    lambda m, x: m.add(nodes.MatrixMix(_matrix(m.pick(1, 2, 3), _wide(x))), x),
    lambda m, x: m.add(
        nodes.Integrator(m.pick("trapezoid", "forward")),
        x,
        acceleration=m.control(0.0, 1e8, _wide(x)),
        low=m.control(-1.0, 0.0),
        high=0.001,
    ),
    lambda m, x: m.add(
        nodes.Integrator("backward"), x, slew=m.control(0.0, 2e4), integral=m.control(0.0, 1e-4)
    ),
    lambda m, x: m.add(nodes.SlewLimiter(), x, slew=m.control(0.0, 2e4, _wide(x))),
    lambda m, x: m.add(nodes.Follower(), x, slew=9000.0, acceleration=m.control(0.0, 1e9)),
    lambda m, x: m.add(Late(), x),
    lambda m, x: m.add(Swap(), x),
]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """A graph of some 5 to 100 nodes with two inputs and one output or more."""
    m = _Maker(draw)
    blocks = [m.effect, m.effect, m.effect, m.source, m.pair, m.mix]
    blocks += [
        m.loop,
        m.ring,
        m.choir,
        m.chain,
        m.other_rate,
        m.other_rate,
        m.slow_loop,
        m.arrange,
        m.join,
        m.gate,
    ]
    for _ in range(draw(st.integers(2, 9))):
        blocks[draw(st.integers(0, len(blocks) - 1))]()
    read = {(e.source, e.outlet) for node in m.graph.nodes for e in node.edges}
    heard = [s for s in m.streams if (s.node, s.outlet) not in read]
    if not heard or draw(st.booleans()):  # nodes that nobody hears are nodes too
        heard = [m.streams[-1], *(m.stream() for _ in range(draw(st.integers(0, 2))))]
    outputs = {f"out{i}": m.tap(stream) for i, stream in enumerate(heard)}
    for name, tapped in outputs.items():
        m.graph.output(name, tapped)
    return Case(m.graph, m.inputs, outputs, draw(st.integers(0, 1 << 16)), draw(st.booleans()))


class _Router:
    """Streams behind routers, each with its channels; tokens of some come together."""

    def __init__(self, maker: _Maker) -> None:
        self.m = maker
        self.streams: list[Stream] = []

    def some(self, channels: int = 0) -> Stream:
        """A stream behind a router, or one from before them."""
        fits = [s for s in self.streams[-6:] if not channels or s.channels == channels]
        if fits and self.m.pick(True, True, False):
            chosen: Stream = self.m.pick(*fits)
            return chosen
        return self.m.stream(channels) if channels != 1 else self.m.streams[1]

    def late(self, stream: Stream) -> Any:
        """``stream``, sometimes delayed or with initial tokens."""
        style = self.m.pick("plain", "plain", "delay", "tokens", "both")
        delay = self.m.pick(1, 7, 40) if style in {"delay", "both"} else 0
        tokens = self.m.initial(stream.channels) if style in {"tokens", "both"} else 0
        return stream if style == "plain" else amp.edge(stream, delay=delay, initial=tokens)

    def control(self) -> Any:
        noise = self.m.add(nodes.Noise(self.m.pick(1, 2, 3)))
        return self.late(self.m.pick(self.some(1), noise, self.m.streams[1]))

    def switch(self) -> None:
        self.streams += self.m.add(nodes.Switch(), self.late(self.some()), self.control())

    def trigger(self) -> None:
        kind = nodes.Trigger(self.m.pick("rising", "falling", "both"))
        self.streams.append(self.m.add(kind, self.late(self.some()), self.control()))

    def select(self) -> None:
        true = self.some()
        false = self.some(true.channels)
        if true.channels == false.channels:
            taken = [self.late(true), self.late(false), self.control()]
            self.streams.append(self.m.add(nodes.Select(), *taken))

    def detour(self) -> None:
        """Two ways and back."""
        x = self.some()
        control = self.m.pick(self.some(1), self.m.streams[1])
        ways = self.m.add(nodes.Switch(), x, control)
        back = [self.late(self.m.add(self.m.pick(*SIMPLE[:6]), way)) for way in ways]
        self.streams.append(self.m.add(nodes.Select(), *back, control))

    def effect(self) -> None:
        if self.streams:
            x = self.m.pick(*self.streams[-4:])
            self.streams.append(self.m.add(self.m.pick(*SIMPLE), self.late(x)))

    def other_rate(self) -> None:
        """A detour at another rate, or in pieces; sometimes its middle is heard."""
        if not self.streams:
            return
        factor = self.m.pick(2, 3)
        size = self.m.pick(factor, factor + 1)
        reads, writes = self.m.counts(3), self.m.counts(self.m.pick(1, 3))
        there, back = self.m.pick(
            (nodes.Downsample(factor, factor - 1), nodes.Hold(factor)),
            (nodes.Upsample(factor), nodes.Downsample(factor)),
            (nodes.Window(size, factor), nodes.Overlap(size, factor)),
            (Uneven(reads, writes), Uneven(writes, reads)),
        )
        middle = self.m.add(there, self.late(self.m.pick(*self.streams[-4:])))
        if self.m.pick(True, False, False):
            middle = self.m.add(nodes.Advance(self.m.pick(1, 6)), self.late(middle))
        if self.m.pick(True, False):
            self.m.keep(self.m.add(nodes.Gain(gain=0.5), amp.edge(middle, default=0.5)))
        self.streams.append(self.m.add(back, middle))

    def pair(self) -> None:
        """Tokens of two streams, in pairs; one may run ahead of the other for ever."""
        x = self.some()
        self.streams.append(self.m.add(nodes.Add(), x, self.late(self.some(x.channels))))

    def loop(self) -> None:
        """Feedback from token to token."""
        x = self.some()
        back = self.m.graph.feedback(x.channels)
        tokens = self.m.pick(1, 2, 9)
        tapped = amp.edge(back, initial=tokens, delay=self.m.pick(0, tokens // 2))
        y = self.m.add(nodes.Add(), x, self.m.add(nodes.Gain(gain=0.4), tapped))
        back.connect(y)
        self.streams.append(y)

    def heard(self, stream: Stream, least: int = 0) -> Any:
        """``stream``, read by the clock."""
        tokens = self.m.initial(stream.channels) if self.m.pick(True, False) else 0
        delay = max(least, self.m.pick(0, 1, 30))
        return amp.edge(stream, delay=delay, initial=tokens, default=0.5)

    def read(self) -> None:
        """Back to a pace, by the clock: into one token a firing or several, of now or before."""
        there, back = self.m.pick(
            (nodes.Gain(gain=-0.5), None),
            (nodes.Rearrange((0,), (2,)), None),
            (nodes.Downsample(3, 1), nodes.Hold(3)),
            (nodes.Window(4, 2), nodes.Overlap(4, 2)),
            (Uneven((2, 0, 1), (1, 1, 1)), None),
        )
        y = self.m.add(there, self.heard(self.some()))
        if back:  # only an edge that is read in order ties its pace to the clock
            y = self.m.add(nodes.Add(), self.m.add(back, y), self.m.streams[1])
        self.m.keep(y)

    def late_read(self) -> None:
        """By the clock into a node that starts late, beside a stream that it waits for."""
        x = self.some()
        fits = [s for s in self.m.streams if s.channels == x.channels]
        if fits:
            late = amp.edge(self.m.pick(*fits), delay=self.m.pick(1, 4, 40))
            self.m.keep(self.m.add(nodes.Add(), late, self.heard(x)))

    def gate(self) -> None:
        """A router behind a gate whose contributor has tokens at a pace."""
        name = f"gate {len(self.m.gates)}"
        self.m.gates[name] = self.m.streams[1].node
        self.m.graph.gate(name, [amp.edge(self.m.streams[1], delay=self.m.pick(0, 3, 30))])
        x = amp.edge(self.m.streams[0], gate=name)
        self.streams += self.m.add(nodes.Switch(), x, self.m.streams[1])

    def clock_loop(self) -> None:
        """Feedback through clock reads, one or two, in either order; a frame late in all."""
        y, control = self.m.streams[1], self.m.streams[1]
        backs = [self.m.graph.feedback() for _ in range(self.m.pick(1, 2))]
        late = self.m.pick(*backs)
        made = []
        for back in backs:
            gain = self.m.add(nodes.Gain(gain=0.5), self.heard(back, int(back is late)))
            made.append(self.m.add(nodes.Add(), y, gain))
        self.m.keep(*made)
        for heard, back in zip(made, reversed(backs), strict=True):
            ways = self.m.add(nodes.Switch(), heard, control)
            back.connect(self.m.add(nodes.Gain(gain=-0.7), self.m.pick(*ways)))
            self.streams += ways


@st.composite
def routed_cases(draw: st.DrawFn) -> Case:
    """A graph whose rates depend on data, and which is heard by the clock."""
    m = _Maker(draw, batches=(1,))
    for _ in range(draw(st.integers(0, 2))):
        m.effect()
    r = _Router(m)
    blocks = [r.switch, r.trigger, r.select, r.detour, r.effect, r.effect, r.pair, r.loop, r.read]
    blocks += [r.clock_loop, r.clock_loop, r.read, r.late_read, r.late_read, r.other_rate, r.gate]
    for _ in range(draw(st.integers(2, 9))):
        blocks[draw(st.integers(0, len(blocks) - 1))]()
    heard: list[Stream] = [*r.streams[-3:], *m.streams[-4:]]
    outputs: dict[str, Stream | Tapped] = {}
    for i, stream in enumerate(heard):
        outputs[f"out{i}"] = amp.edge(stream, delay=m.pick(0, 0, 5), default=-1.0)
        m.graph.output(f"out{i}", outputs[f"out{i}"])
    return Case(m.graph, m.inputs, outputs, draw(st.integers(0, 1 << 16)), draw(st.booleans()))
