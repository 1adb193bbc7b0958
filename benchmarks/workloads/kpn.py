"""KPN: what data-driven firing costs next to an IPLS, and what one firing of an idle node costs, in
graphs of ever more nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from benchmarks import graphs
from benchmarks.harness import Candidate, Case, Pieces, Player, Say, measure, split
from benchmarks.rows import BASELINE, Row
from benchmarks.voices import SAMPLE_RATE, make_voices
from benchmarks.workloads import w1_voices

if TYPE_CHECKING:
    from benchmarks.options import Options

NAME = "KPN"
VOICES = 64
NODES = 100
FIRING_BLOCK = 64
SIZES = (10, 100, 1000, 10_000)
FIRINGS = 500_000
SHAPES = {"chain": graphs.gains_only, "side by side": graphs.gains_beside}


def run(options: Options, say: Say) -> list[Row]:
    """The ratio on W1's 64 voices, then Gains: both engines, then by number."""
    voice_case = w1_voices.case_of(VOICES, options.seconds)
    voice_case = Case(NAME, f"W1 V={VOICES}", voice_case.pieces, voice_case.items, "voice-frame")
    engines = graphs.candidates(lambda: graphs.voices(make_voices(VOICES)), "gate")
    engines.append(_on_threads(2))
    rows = measure(voice_case, engines, options.repeat, say)
    rows += measure(_firing_case(), _firing_candidates(), options.repeat, say)
    sizes = SIZES if max(options.sizes) >= max(SIZES) else SIZES[:3]
    for shape in SHAPES:
        for size in sizes:
            rows += measure(_size_case(shape, size), [_alone(shape, size)], options.repeat, say)
    return rows


def _on_threads(threads: int) -> Candidate:
    """The KPN of the voices on several threads."""

    def kpn(pieces: Pieces) -> Player:
        amp, _ = graphs.load()
        program = amp.compile(graphs.voices(make_voices(VOICES)), threads=threads)
        return graphs.player_of(program, "gate", pieces)

    return Candidate(f"amp KPN, {threads} threads", "amp KPN", kpn)


def _firing_case() -> Case:
    """One second of noise; an item is one node's work on one block."""
    noise = np.random.default_rng(3).standard_normal((1, SAMPLE_RATE))
    firings = NODES * SAMPLE_RATE / FIRING_BLOCK
    return Case(NAME, f"{NODES} Gains, block {FIRING_BLOCK}", split(noise), firings, "firing")


def _size_case(shape: str, size: int) -> Case:
    """About as many firings at every size."""
    frames = FIRING_BLOCK * max(FIRINGS // size, 1)
    noise = np.random.default_rng(3).standard_normal((1, frames))
    firings = frames / FIRING_BLOCK * size
    return Case(NAME, f"{size} Gains, {shape}", split(noise), firings, "firing")


def _alone(shape: str, size: int) -> Candidate:
    def kpn(pieces: Pieces) -> Player:
        program = graphs.compile_kpn(SHAPES[shape](size), FIRING_BLOCK)
        return graphs.player_of(program, "x", pieces, fresh=False)

    return Candidate("amp KPN", "amp KPN", kpn)


def _firing_candidates() -> list[Candidate]:
    """Both engines with the same, small block."""

    def ipls(pieces: Pieces) -> Player:
        program = graphs.compile_ipls(graphs.gains_only(NODES), FIRING_BLOCK)
        return graphs.player_of(program, "x", pieces)

    def kpn(pieces: Pieces) -> Player:
        program = graphs.compile_kpn(graphs.gains_only(NODES), FIRING_BLOCK)
        return graphs.player_of(program, "x", pieces)

    return [Candidate(BASELINE, BASELINE, ipls), Candidate("amp KPN", "amp KPN", kpn)]
