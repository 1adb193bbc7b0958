"""amp's side of every workload: graphs, engines, players. Every call of amp's API is here."""

from __future__ import annotations

import itertools
from importlib import import_module
from typing import TYPE_CHECKING, Any
from unittest import mock

import numpy as np

from benchmarks import delay_network as network
from benchmarks import gradient
from benchmarks import spectrum as spectra
from benchmarks.harness import Array, Candidate, NotInstalledError, Pieces, Player
from benchmarks.rows import BASELINE
from benchmarks.voices import SAMPLE_RATE, Voices

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BLOCK = 256
"""Frames per IPLS iteration."""

CHAIN_OFFSET = 0.001


def load() -> tuple[Any, Any]:
    """`amp` and `amp.nodes`."""
    try:
        import amp
        from amp import nodes
    except ImportError as missing:
        raise NotInstalledError(f"amp ({missing})") from missing
    return amp, nodes


def voices(parameters: Voices, *, learn: bool = False) -> Any:
    """W1: input `gate`, output `out` in stereo; `learn` makes params of its numbers."""
    amp, nodes = load()
    number = _params(amp) if learn else float
    graph = amp.Graph(sample_rate=SAMPLE_RATE, batch=1)
    gate = graph.input("gate")
    panned = []
    p = parameters
    for v in range(p.count):
        saw = graph.add(nodes.Saw(), number(p.frequency[v]))
        low = graph.add(
            nodes.StateVariable("lowpass"), saw, cutoff=number(p.cutoff[v]), q=number(p.q[v])
        )
        envelope = graph.add(
            nodes.Envelope(shape="linear"),
            gate,
            attack=number(p.attack[v]),
            release=number(p.release[v]),
        )
        place, gain = number(p.position[v]), number(p.gain[v])
        panned.append(graph.add(nodes.Pan(), low * envelope, position=place, gain=gain))
    graph.output("out", graph.add(nodes.Mix(), *panned))
    return graph


def cascade(sections: Array, batch: int, *, learn: bool = False) -> Any:
    """W2: input `x`, output `out`, the biquads in series; `learn` makes params of their coefficients."""
    amp, nodes = load()
    number = _params(amp) if learn else float
    graph = amp.Graph(sample_rate=SAMPLE_RATE, batch=batch)
    stream = graph.input("x")
    for row in sections:
        b0, b1, b2, a1, a2 = map(number, row)
        stream = graph.add(nodes.Biquad(), stream, b0=b0, b1=b1, b2=b2, a1=a1, a2=a2)
    graph.output("out", stream)
    return graph


def _params(amp: Any) -> Callable[[float], Any]:
    """Makes a param of each number, named by its place."""
    count = itertools.count()
    return lambda value: amp.Param(float(value), name=str(next(count)))


def delay_network() -> Any:
    """W3: input `x`, output `out` in stereo."""
    amp, nodes = load()
    count = len(network.LENGTHS)
    graph = amp.Graph(sample_rate=SAMPLE_RATE, batch=1)
    x = graph.input("x")
    backs = [graph.feedback() for _ in range(count)]
    lines = [
        graph.add(nodes.OnePole(), amp.edge(back, initial=length), cutoff=network.CUTOFF)
        for back, length in zip(backs, network.LENGTHS, strict=True)
    ]
    mean = graph.add(nodes.Gain(), graph.add(nodes.Mix(), *lines), gain=2 / count)
    for back, line in zip(backs, lines, strict=True):
        back.connect(x + graph.add(nodes.Gain(), line - mean, gain=network.GAIN))
    sides = [graph.add(nodes.Mix(), *lines[side::2]) for side in (0, 1)]
    graph.output("out", graph.add(nodes.Concat(), *sides))
    return graph


def convolution(taps: Array, block: int = 1) -> Any:
    """W7 and W8: input `x`, output `out`; `block` above 1 is a latency."""
    amp, nodes = load()
    graph = amp.Graph(sample_rate=SAMPLE_RATE, batch=1)
    x = graph.input("x", taps.shape[-2])
    graph.output("out", graph.add(nodes.FIR(taps, block), x))
    return graph


def chain(gains: Array, offset: float = CHAIN_OFFSET) -> Any:
    """W5: input `x`, output `out`: a Gain and an added constant in turn (two nodes per gain)."""
    amp, nodes = load()
    graph = amp.Graph(sample_rate=SAMPLE_RATE, batch=1)
    stream = graph.input("x")
    for gain in gains.tolist():
        stream = graph.add(nodes.Gain(), stream, gain=gain) + offset
    graph.output("out", stream)
    return graph


def tree(gains: Array) -> Any:
    """W5: input `x`, output `out`: binary adds over one Gain per leaf."""
    amp, nodes = load()
    graph = amp.Graph(sample_rate=SAMPLE_RATE, batch=1)
    x = graph.input("x")
    level = [graph.add(nodes.Gain(), x, gain=gain) for gain in gains.tolist()]
    while len(level) > 1:
        pairs = [a + b for a, b in zip(level[::2], level[1::2], strict=False)]
        level = pairs + level[len(pairs) * 2 :]
    graph.output("out", level[0])
    return graph


def gains_only(count: int) -> Any:
    """KPN's firing cost: input `x`, output `out`, a chain of Gains that do next to nothing."""
    amp, nodes = load()
    graph = amp.Graph(sample_rate=SAMPLE_RATE, batch=1)
    stream = graph.input("x")
    for _ in range(count):
        stream = graph.add(nodes.Gain(), stream, gain=1.0)
    graph.output("out", stream)
    return graph


def gains_beside(count: int) -> Any:
    """The same number of Gains side by side, each on the input; one is heard."""
    amp, nodes = load()
    graph = amp.Graph(sample_rate=SAMPLE_RATE, batch=1)
    x = graph.input("x")
    gains = [graph.add(nodes.Gain(), x, gain=1.0) for _ in range(count)]
    graph.output("out", gains[-1])
    return graph


def spectrum() -> Any:
    """W4: input `x`, output `out`."""
    amp, nodes = load()
    graph = amp.Graph(sample_rate=spectra.SAMPLE_RATE, batch=spectra.BATCH)
    bands = graph.add(nodes.STFT(spectra.SIZE, spectra.HOP), graph.input("x"))
    bands = graph.add(nodes.SpectralGain(spectra.GAINS), bands)
    graph.output("out", graph.add(nodes.ISTFT(spectra.SIZE, spectra.HOP), bands))
    return graph


def compile_ipls(graph: Any, block: int = BLOCK) -> Any:
    """The graph under amp's own schedule. Heat is off, since no peer has it: `benchmarks.heat` shows what
    it costs."""
    amp, _ = load()
    return amp.compile(graph, amp.plan(graph, block=block), heat=0)


def compile_kpn(graph: Any, block: int | None = None, **options: Any) -> Any:
    """The graph under data-driven firing; `block` overrides the frames of one firing.

    amp has no option for that, because nothing but a measurement needs it: it is a constant.
    """
    amp, _ = load()
    if block is None:
        return amp.compile(graph, heat=0, **options)
    with mock.patch.object(import_module("amp.pipeline"), "KPN_FRAMES", block):
        return amp.compile(graph, heat=0, **options)


def player_of(
    program: Any, name: str, pieces: Pieces, *, fresh: bool = True, rows_are: str = "batches"
) -> Player:
    """Run the input `name` through the program, piece by piece, from a fresh state.

    A graph that has no state need not be made fresh, which takes longer than a short run.
    """
    axis = 1 if rows_are == "batches" else 0
    shaped = [np.expand_dims(piece, axis) for piece in pieces]  # (batch, channel, frame)

    def play() -> Iterator[Array]:
        if fresh:
            program.reset()
        for piece in shaped:
            out = program.run({name: piece})["out"]
            yield out.reshape(-1, out.shape[-1])

    return play


def candidates(
    graph: Callable[[], Any], name: str, block: int = BLOCK, *, rows_are: str = "batches"
) -> list[Candidate]:
    """The IPLS, the yardstick of every workload, and the KPN."""

    def ipls(pieces: Pieces) -> Player:
        return player_of(compile_ipls(graph(), block), name, pieces, rows_are=rows_are)

    def kpn(pieces: Pieces) -> Player:
        return player_of(compile_kpn(graph()), name, pieces, rows_are=rows_are)

    return [
        Candidate(BASELINE, BASELINE, ipls, note=f"block {block}, graph building included"),
        Candidate("amp KPN", "amp KPN", kpn, note="graph building included"),
    ]


def rendered(graph: Callable[[], Any], name: str, note: str) -> Candidate:
    """The IPLS offline: all pieces at once, and what it makes aligned with them."""

    def make(pieces: Pieces) -> Player:
        program = compile_ipls(graph())
        x = np.concatenate(pieces, axis=1)[None]
        ends = np.cumsum([0, *(piece.shape[1] for piece in pieces)])

        def play() -> Iterator[Array]:
            out = program.render({name: x})["out"][0]
            for begin, end in itertools.pairwise(ends):
                yield out[:, begin:end]

        return play

    return Candidate("amp render", "amp render", make, note=note)


def backward_candidates(graph: Callable[[], Any], name: str) -> list[Candidate]:
    """The IPLS, the same recorded, and recorded and gone back over piece by piece."""

    def of(steps: int) -> Callable[[Pieces], Player]:
        def make(pieces: Pieces) -> Player:
            program = compile_ipls(graph())
            shaped = [piece[:, None, :] for piece in pieces]
            program.run({name: shaped[0][..., :BLOCK]}, record=steps > 0)

            def play() -> Iterator[Array]:
                program.reset()
                for piece in shaped:
                    out = program.run({name: piece}, record=steps > 0)["out"]
                    if steps > 1:
                        program.backward({"out": out})
                    yield out.reshape(-1, out.shape[-1])

            return play

        return make

    return [
        Candidate(BASELINE, BASELINE, of(0), note="run"),
        Candidate("amp recorded", "amp recorded", of(1), note="run(record=True)"),
        Candidate("amp and back", "amp and back", of(2), note="run(record=True), then backward"),
    ]


def gradient_candidates(sections: Array) -> list[Candidate]:
    """W6: `value_and_grad` of the IPLS and the KPN; and the program as a function of PyTorch and JAX."""

    def of(compiled: Callable[[Any], Any]) -> Callable[[Pieces], Player]:
        def make(pieces: Pieces) -> Player:
            amp, _ = load()
            program = compiled(cascade(sections, gradient.BATCH, learn=True))
            names, x = [str(i) for i in range(sections.size)], pieces[0][:, None, :]
            loss = amp.losses.mean_square("out")
            program.value_and_grad(loss, {"x": x[..., :BLOCK]})  # it is compiled at the first use

            def play() -> Iterator[Array]:
                program.reset()
                value, found = program.value_and_grad(loss, {"x": x})
                slopes = np.array([found.params[name] for name in names])
                yield gradient.answer(value, slopes, found.inputs["x"])

            return play

        return make

    return [
        Candidate(BASELINE, BASELINE, of(compile_ipls), note=f"block {BLOCK}"),
        Candidate("amp KPN", "amp KPN", of(compile_kpn)),
        Candidate("amp.torch", "amp.torch", _in_torch(sections), note="the IPLS in PyTorch"),
        Candidate("amp.jax", "amp.jax", _in_jax(sections), note="the IPLS in JAX"),
    ]


def _in_torch(sections: Array) -> Callable[[Pieces], Player]:
    def make(pieces: Pieces) -> Player:
        try:
            import amp.torch
            import torch
        except ImportError as missing:
            raise NotInstalledError("torch") from missing
        torch.set_num_threads(1)
        f = amp.torch.function(compile_ipls(cascade(sections, gradient.BATCH, learn=True)))
        c = torch.from_numpy(sections.ravel()).requires_grad_()

        def work(x: Any) -> Any:
            params = {str(i): one for i, one in enumerate(c)}
            value = torch.mean(f({"x": x[:, None, :]}, params)["out"] ** 2)
            value.backward()
            return value

        x = torch.from_numpy(pieces[0])
        work(x[:, :BLOCK])
        x.requires_grad_()

        def play() -> Iterator[Array]:
            x.grad = c.grad = None
            yield gradient.answer(work(x).item(), c.grad.numpy(), x.grad.numpy())

        return play

    return make


def _in_jax(sections: Array) -> Callable[[Pieces], Player]:
    def make(pieces: Pieces) -> Player:
        try:
            import amp.jax
            import jax
        except ImportError as missing:
            raise NotInstalledError("jax") from missing
        jax.config.update("jax_enable_x64", True)
        f = amp.jax.function(compile_ipls(cascade(sections, gradient.BATCH, learn=True)))

        def loss(c: Any, x: Any) -> Any:
            params = {str(i): c[i] for i in range(sections.size)}
            return jax.numpy.mean(f({"x": x[:, None, :]}, params)["out"] ** 2)

        c, x = jax.numpy.asarray(sections.ravel()), jax.numpy.asarray(pieces[0])
        work = jax.jit(jax.value_and_grad(loss, (0, 1)))
        jax.block_until_ready(work(c, x[:, :BLOCK]))
        program = work.lower(c, x).compile()

        def play() -> Iterator[Array]:
            value, slopes = jax.block_until_ready(program(c, x))
            yield gradient.answer(value, *slopes)

        return play

    return make


def first_frames(program: Any, name: str, signal: Array) -> Array:
    """One run from a fresh state: `(rows, frames)`."""
    program.reset()
    out = np.asarray(program.run({name: signal[:, None, :]})["out"])
    return out.reshape(-1, out.shape[-1])
