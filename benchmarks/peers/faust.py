"""Faust's own LLVM JIT, through cyfaust (double precision) and DawDreamer (single precision).

DawDreamer hands Faust its float buffers, so `-double` is not possible there; cyfaust passes the
rows' addresses on, so a double row seen as twice as many floats arrives as what `-double` expects.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.harness import Array, Candidate, NotInstalledError, Pieces, Player

if TYPE_CHECKING:
    from numpy.typing import NDArray

FAMILY = "faust llvm"
SAMPLE_RATE = 48_000
VECTOR_VOICES = 16
"""Vector mode was slower in every size tried, and takes half a minute to compile 64 voices."""

DAWDREAMER_BLOCK = 512
DAWDREAMER_TOLERANCE = 1e-2
DAWDREAMER_FRAMES = 12_000

Compute = Callable[[int, Array, Array], None]
Instance = tuple[Callable[[], None], Compute]


def jit(source: str, flags: Sequence[str]) -> Instance:
    """Compile with cyfaust for this processor; returns the instance's `clear` and `compute`."""
    try:
        from cyfaust import cyfaust
    except ImportError as missing:
        raise NotInstalledError("cyfaust-llvm") from missing
    if not hasattr(cyfaust, "llvm_create_dsp_factory_from_string"):
        raise NotInstalledError("cyfaust-llvm (this cyfaust has no LLVM backend)")
    make_factory = cyfaust.llvm_create_dsp_factory_from_string
    factory = make_factory("bench", source, "", -1, "-double", *flags)  # "": this processor
    if factory is None:
        raise RuntimeError(f"Faust refused the program with {' '.join(flags)}")
    instance = factory.create_dsp_instance()
    instance.init(SAMPLE_RATE)

    def compute(frames: int, inputs: Array, outputs: Array, _alive: Any = factory) -> None:
        instance.compute(frames, inputs.view(np.float32), outputs.view(np.float32))

    return instance.instance_clear, compute


def player_of(clear: Callable[[], None], compute: Compute, pieces: Pieces, outputs: int) -> Player:
    """A player over any Faust instance that has `clear` and `compute`."""

    def play() -> Iterator[Array]:
        clear()
        for piece in pieces:
            out = np.empty((outputs, piece.shape[1]))
            compute(piece.shape[1], piece, out)
            yield out

    return play


def candidates(source: str, outputs: int, size: int) -> list[Candidate]:
    """The variants worth compiling at this size (`size` voices, or an equal amount of code)."""

    def maker(flags: Sequence[str]) -> Callable[[Pieces], Player]:
        return lambda pieces: player_of(*jit(source, flags), pieces, outputs)

    variants: list[tuple[str, Sequence[str]]] = [("scalar", ()), ("scalar -mcd 0", ("-mcd", "0"))]
    if size <= VECTOR_VOICES:
        variants.append(("-vec -vs 32", ("-vec", "-vs", "32")))
    return [
        Candidate(f"cyfaust {name}", FAMILY, maker(flags), note="double")
        for name, flags in variants
    ]


def dawdreamer_candidates(source: str) -> list[Candidate]:
    """DawDreamer's offline render of the whole signal (it cannot be streamed in pieces)."""

    def make(pieces: Pieces) -> Player:
        try:
            import dawdreamer  # type: ignore[import-untyped]
        except ImportError as missing:
            raise NotInstalledError("dawdreamer") from missing
        signal = np.concatenate(list(pieces), axis=1).astype(np.float32)
        engine = dawdreamer.RenderEngine(SAMPLE_RATE, DAWDREAMER_BLOCK)
        playback = engine.make_playback_processor("input", signal)
        faust = engine.make_faust_processor("faust")
        faust.auto_import = ""
        faust.compile_flags = ["-mcd", "0"]
        faust.opt_level = -1
        if not (faust.set_dsp_string(source) and faust.compile()):
            raise RuntimeError("DawDreamer could not compile the program")
        engine.load_graph([(playback, []), (faust, ["input"])])

        def play() -> Iterator[NDArray[np.floating]]:
            engine.render(signal.shape[1] / SAMPLE_RATE)
            audio = engine.get_audio()
            start = 0
            for piece in pieces:
                yield audio[:, start : start + piece.shape[1]]
                start += piece.shape[1]

        return play

    return [
        Candidate(
            "dawdreamer (float32)",
            "faust dawdreamer",
            make,
            tolerance=DAWDREAMER_TOLERANCE,
            check_frames=DAWDREAMER_FRAMES,
            note="single precision: half the data; its phase drifts, first 0.25 s compared",
        )
    ]
