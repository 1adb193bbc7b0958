"""The tables of aliases in docs/accuracy.md: every number there is measured again.

All that an oscillator should give lies at multiples of a base frequency. No alias does: a multiple of the
sample rate is not one of the base. So one spectrum, with a line per hertz, has both apart.
"""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import amp
from amp import nodes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bits import Array

    from amp.stream import Stream

PAGE = Path(__file__).parents[2] / "docs" / "accuracy.md"
RATE, SETTLED = 48_000, 4_800
SLACK = 1.5
"""How much better than its number in the table a measurement may be, in dB."""
ROUNDING = -200
"""Where nothing is left but rounding, and any less will do."""


def spectrum(build: Callable[[amp.Graph], Stream], batch: int = 1) -> Array:
    """Magnitudes of a second, by batch and hertz."""
    g = amp.Graph(sample_rate=RATE, batch=batch)
    g.output("out", build(g))
    made = amp.compile(g, heat=0).run(frames=SETTLED + RATE)["out"][:, 0, SETTLED:]
    magnitudes: Array = np.abs(np.fft.rfft(made))
    return magnitudes


def alias(magnitudes: Array, base: int) -> float:
    """The strongest line that is no multiple of the base, against the strongest that is [dB]."""
    assert RATE % base
    strays = magnitudes.copy()
    strays[::base] = 0.0
    return float(20 * np.log10(strays.max() / magnitudes[base::base].max()))


def swept(oscillator: Any, pitches: list[int]) -> list[float]:
    """At each pitch."""
    hertz = np.array(pitches, float).reshape(-1, 1)
    lines = spectrum(lambda g: g.add(oscillator, frequency=hertz), len(pitches))
    return [alias(line, pitch) for line, pitch in zip(lines, pitches, strict=True)]


def modulated(by: int) -> Callable[[Any], float]:
    """A pitch of 1310 Hz goes 4000 Hz up and down, through zero."""

    def measure(oscillator: Any) -> float:
        def build(g: amp.Graph) -> Stream:
            sine = g.add(nodes.Sine(), float(by))
            stream: Stream = g.add(oscillator, 1310.0 + 4000.0 * sine)
            return stream

        return alias(spectrum(build)[0], by)

    return measure


def synced(sync: str, base: int, by: float = 0.0) -> Callable[[Any], float]:
    """3487.3 Hz by 1310 Hz, and as far up and down as ``by`` says, 131 times a second. A phase that
    turns round comes back after two turns of the other."""

    def measure(oscillator: Any) -> float:
        kind = nodes.Oscillator(oscillator.waveform, sync, phase=0.2)

        def build(g: amp.Graph) -> Stream:
            frequency = 3487.3 + by * g.add(nodes.Sine(), 131.0)
            stream: Stream = g.add(kind, frequency, sync_frequency=1310.0)
            return stream

        return alias(spectrum(build)[0], base)

    return measure


def widened(oscillator: Any) -> float:
    """The width goes from 0.1 to 0.9 and back 131 times a second."""

    def build(g: amp.Graph) -> Stream:
        width = 0.5 + 0.4 * g.add(nodes.Sine(), 131.0)
        stream: Stream = g.add(oscillator, 1310.0, width=width)
        return stream

    return alias(spectrum(build)[0], 131)


SITUATIONS: dict[str, Callable[[Any], float]] = {
    "FM at 131 Hz": modulated(131),
    "FM at 1310 Hz": modulated(1310),
    "hard sync": synced("hard", 1310),
    "soft sync": synced("soft", 655),
    "hard sync, FM": synced("hard", 131, by=2000.0),
    "soft sync, FM": synced("soft", 131, by=2000.0),
    "PWM": widened,
}


def shaped(function: str, order: int, pitch: int) -> float:
    """A sine of amplitude 4; order 0 is the function itself."""

    def build(g: amp.Graph) -> Stream:
        x = 4.0 * g.add(nodes.Sine(), float(pitch))
        if order:
            stream: Stream = g.add(nodes.Shaper(function, order), x)
            return stream
        plain: dict[str, Callable[[Any], Any]] = {
            "tanh": np.tanh,
            "sine": np.sin,
            "clip": lambda x: np.clip(x, -1.0, 1.0),
            "rectify": lambda x: np.maximum(x, 0.0),
        }
        return plain[function](x)  # type: ignore[no-any-return]

    return alias(spectrum(build)[0, :10_000], pitch)


@functools.cache
def tables() -> dict[str, list[list[str]]]:
    """The page's tables: cells by the first word of their header."""
    found: dict[str, list[list[str]]] = {}
    rows: list[list[str]] = []
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if not line.startswith("|"):
            rows = []
            continue
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not rows:
            found[cells[0]] = rows
        if not re.fullmatch(r"[-: |]+", line):
            rows.append(cells)
    return found


def cells(table: str) -> Iterator[Any]:
    """Each row of a table: what it is about, and number by head of the column."""
    head, *rows = tables()[table]
    for label, *numbers in rows:
        stated = {
            column: float(number)
            for column, number in zip(head[1:], numbers, strict=True)
            if number != "-"
        }
        yield pytest.param(label.strip("`"), stated, id=label.strip("`"))


def made(label: str) -> Any:
    """The node that a label is the code of."""
    return eval(label, {**nodes.NODE_TYPES, "np": np})


def assert_as_stated(measured: dict[str, float], stated: dict[str, float]) -> None:
    for column, number in stated.items():
        assert measured[column] <= number, column
        assert measured[column] >= number - SLACK or number <= ROUNDING, column


@pytest.mark.parametrize("label, stated", list(cells("oscillator")))
def test_alias_at_a_pitch(label: str, stated: dict[str, float]) -> None:
    pitches = [int(column.removesuffix(" Hz")) for column in stated]
    measured = swept(made(label), pitches)
    assert_as_stated(dict(zip(stated, measured, strict=True)), stated)


@pytest.mark.parametrize("label, stated", list(cells("in motion")))
def test_alias_in_motion(label: str, stated: dict[str, float]) -> None:
    node = made(label)
    assert_as_stated({column: SITUATIONS[column](node) for column in stated}, stated)


@pytest.mark.parametrize("label, stated", list(cells("shaper")))
def test_alias_of_a_shaper(label: str, stated: dict[str, float]) -> None:
    function, pitch = re.fullmatch(r"(\w+) at (\d+) Hz", label).groups()  # type: ignore[union-attr]
    orders = {"none": 0, "order 1": 1, "order 2": 2}
    measured = {column: shaped(function, orders[column], int(pitch)) for column in stated}
    assert_as_stated(measured, stated)


def test_the_best_is_40_db_better_than_two_points() -> None:
    """At 5010 Hz, of every waveform; far more, in fact."""
    for two, best in (("Saw", "saw"), ("Square", "pulse"), ("Triangle", "triangle")):
        (poor,), (good,) = swept(made(f"{two}()"), [5010]), swept(nodes.Oscillator(best), [5010])
        assert good <= poor - 80.0
