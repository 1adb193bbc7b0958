"""Oscillator that reads one period of any waveform, band-limited to its pitch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from amp.contract import Inlet, NodeType, Trace
from amp.errors import BadNode
from amp.nodes._oscillator import check_phase, half_ahead, reference_turns, running_phase

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike, NDArray

    from amp.ir import Value

LONGEST = 4096
MOST = 512
"""Most harmonics that are kept; above 47 Hz at 48 kHz there is no room for more."""
DENSITY = 16
"""Samples per period of the highest harmonic of a level, so that six of them interpolate it to -95 dB."""


class Wavetable(NodeType):
    """One period of a waveform, read by a running phase::

        y = sum_l w_l T_l(p);   p <- p + d, wrapped to [0, 1),   d = frequency / sample_rate
        x = log2(2 H |d|), held in [-1, L - 1];   w = ceil(x) - x for l = ceil(x), and 1 - w for the next

    Level l of the table has the harmonics up to H / 2^l, L levels down to the first harmonic alone,
    found by a discrete Fourier transform. The levels that are read have no harmonic above half the
    sample rate, and at least those up to an eighth of it. T_l interpolates a level by the polynomial
    of fifth degree through six samples; 16 lie in a period of its highest harmonic.

    Source: levels, as mip-maps are used in L. Williams, "Pyramidal parametrics", SIGGRAPH 1983;
    interpolation, O. Niemitalo, "Polynomial interpolators for high-quality resampling of oversampled
    audio", 2001.

    Inlets: ``frequency`` [Hz], any sign, at audio rate if a stream; held within half the sample rate,
    where NaN counts as the lowest.

    Parameters
    ----------
    table
        One period, evenly sampled: 4 to 4096 numbers, of which at most 512 harmonics are kept. It is
        part of the code.
    phase
        Turns in [0, 1) at the first frame.

    Examples
    --------
    >>> Wavetable([0.0, 1.0, 0.0, -1.0], frequency=440.0)
    Wavetable(table=(0.0, 1.0, 0.0, -1.0), phase=0.0, frequency=440.0)
    """

    table: ArrayLike
    phase: float = 0.0
    params = ("phase",)
    inlets = (Inlet("frequency", unit="Hz", high="nyquist"),)

    def check(self) -> None:
        check_phase(self)
        try:
            table = np.asarray(self.table, np.float64)
        except (TypeError, ValueError):
            table = np.array(np.nan)
        if table.ndim != 1 or not 4 <= len(table) <= LONGEST or not np.isfinite(table).all():
            raise BadNode(
                f"Wavetable.table is a period of 4 to {LONGEST} finite numbers",
                got=f"shape {table.shape}" if table.ndim else repr(self.table),
            )
        vars(self)["table"] = tuple(table.tolist())

    @property
    def harmonics(self) -> int:
        """Of the first level: a power of two."""
        return min(MOST, 1 << ((len(np.asarray(self.table)) - 1) // 2).bit_length() - 1)

    @property
    def levels(self) -> list[NDArray[np.float64]]:
        """Samples of each level, as multiples of 2^-30 of about the largest: so how a machine's transform
        rounds is no part of the code."""
        table = np.asarray(self.table)
        spectrum = np.fft.rfft(table) / len(table)
        grain = 2.0 ** (np.frexp(np.abs(table).max())[1] - 30)
        found = []
        count = self.harmonics
        while count:
            samples = np.fft.irfft(spectrum[: count + 1], DENSITY * count) * (DENSITY * count)
            found.append(np.round(samples / grain) * grain)
            count //= 2
        return found

    def forward(self, b: Trace, frequency: Value) -> Value:
        turn, held = running_phase(b, frequency)
        p = b.from_turn(half_ahead(b, turn), 1.0, 0.5)
        levels = self.levels
        table = b.table(np.concatenate(levels))
        last = float(len(levels) - 1)
        step = b.max(abs(held) * (2 * self.harmonics / b.sample_rate), 0.5)
        x = b.min(b.log(step) * (1 / np.log(2)), last)
        upper = -b.floor(-x)
        ends = b.max(upper, 0.0), b.clip(upper + 1.0, 0.0, last)
        high, low = (self._level(b, table, level, p) for level in ends)
        return b.fma(upper - x, high - low, low)

    def _level(self, b: Trace, table: Value, level: Value, p: Value) -> Value:
        """A level at a phase: the polynomial through three samples on each side."""
        size = b.emit("ishr", b.iconst(len(self.levels[0])), b.emit("to_int", level))
        begin = b.emit("imul", b.emit("isub", len(self.levels[0]), size), 2)
        mask = b.emit("isub", size, 1)
        place = p * b.emit("to_float", size)
        whole = b.floor(place)
        f, n = place - whole, b.emit("to_int", whole)
        taps = [
            b.look(table, b.emit("iadd", begin, b.emit("iand", b.emit("iadd", n, k), mask)))
            for k in range(-2, 4)
        ]
        # Lagrange's basis: products of the distances to the places before and after each
        distances = [f - float(k) for k in range(-2, 4)]
        before, after = [b.const(1.0)], [b.const(1.0)]
        for near, far in zip(distances, reversed(distances), strict=True):
            before.append(before[-1] * near)
            after.append(after[-1] * far)
        total = b.const(0.0)
        for k, tap in enumerate(taps):
            total = b.fma((before[k] * SCALES[k]) * after[5 - k], tap, total)
        return total

    def reference(
        self, sample_rate: float, frames: int, *, frequency: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        steps, p = reference_turns(frequency, sample_rate, self.phase)
        p %= 1
        levels = self.levels
        with np.errstate(divide="ignore"):
            x = np.clip(np.log2(2 * self.harmonics * np.abs(steps)), -1, len(levels) - 1)
        upper = np.ceil(x)
        out = np.zeros_like(p)
        for level, samples in enumerate(levels):
            place = p * len(samples)
            whole = np.floor(place)
            value = np.zeros_like(p)
            for k in range(-2, 4):
                weight = np.ones_like(p)
                for other in range(-2, 4):
                    if other != k:
                        weight *= (place - whole - other) / (k - other)
                value += weight * samples[(whole.astype(int) + k) % len(samples)]
            out += np.where(upper == level, upper - x, 0) * value
            out += (
                np.where(np.minimum(upper + 1, len(levels) - 1) == level, 1 - upper + x, 0) * value
            )
        return out

    @classmethod
    def samples(cls) -> Iterator[NodeType]:
        yield cls([0.0, 0.3, 1.0, -0.2, 0.5, -1.0, -0.1, 0.4, 0.2], phase=0.25)
        yield cls([0.0, 1.0, 0.5, 0.0, -0.5, -1.0], frequency=-1410.0)

    @classmethod
    def refuses(cls) -> Iterator[tuple[dict[str, Any], str]]:
        yield {}, "Wavetable needs the attribute 'table'"
        yield {"table": [0.0, 1.0]}, "Wavetable.table is a period of 4 to 4096 finite numbers"
        yield {"table": "saw"}, "Wavetable.table is a period of 4 to 4096 finite numbers"
        yield {"table": [0.0] * 4, "phase": 1.0}, "Wavetable.phase is a number of turns in [0, 1)"


SCALES = [
    1 / float(np.prod([k - other for other in range(-2, 4) if other != k])) for k in range(-2, 4)
]
"""Of Lagrange's basis at places -2 to 3."""
