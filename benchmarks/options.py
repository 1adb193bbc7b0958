"""What a run measures: sizes, lengths, repetitions."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Options:
    """The command line, as a value."""

    only: tuple[str, ...]
    voices: tuple[int, ...] = (1, 16, 64, 256)
    batches: tuple[int, ...] = (1, 8, 64)
    sizes: tuple[int, ...] = (100, 1000, 10_000)
    seconds: float = 10.0
    repeat: int = 5
    timeout: float = 600.0
    """Bound on one subprocess of W5 [s]."""

    peer_timeout: float = 60.0
    """Bound on one peer's subprocess of W5 [s]."""
