"""The classical waveforms without audible aliasing, also under modulation and sync."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from amp.contract import Inlet, NodeType, Trace
from amp.errors import BadNode
from amp.nodes._edges import Event, reference_smoothed, smoothed
from amp.nodes._oscillator import SLOWEST, check_phase, frames_per_turn, half_ahead

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from amp.ir import Value


@dataclass(frozen=True, slots=True)
class Piece:
    """What a phase does in a part of a frame, which is over ``late`` frames before the next one: it goes
    from ``x`` to ``end`` at ``speed`` (turns per frame), and the width of a pulse from ``width`` to
    ``width_end`` at ``drift``. If its speed grows by ``curve`` meanwhile, ``speed`` is the mean."""

    x: Value
    end: Value
    speed: Value
    late: Value
    width: Value
    width_end: Value
    drift: Value
    curve: Value | None = None


class Oscillator(NodeType):
    """Saw, triangle or pulse of a running phase p, filtered in continuous time and then sampled::

        saw       u = 2 p - 1
        triangle  u = 1 - 4 |p - 1/2|
        pulse     u = 1 if p < width else -1
        p moves on by d = frequency / sample_rate in a frame, and is wrapped to [0, 1)

    Between two frames p is a parabola: its speed grows by what d has grown by since the frame before,
    at most by d itself. In a triangle, and with sync, it is a straight line.
    Every edge counts at its own time between two frames, whether the phase wraps, a width is passed or
    sync sets the phase back. What is sampled is u behind a low-pass filter of 11th order: within
    0.05 dB up to 5/12 of the sample rate and 93 dB down from half of it; see ``amp/nodes/_edges.py``.
    Low frequencies lag by 2.5 frames, so the wave has no edge ahead of its time.

    Where a second phase m, which moves on by ``sync_frequency / sample_rate``, wraps::

        hard      p <- 0
        soft      p turns round, and goes on with the other sign

    Oscillators of one ``sync_frequency`` stay together to the bit, since m is exact.

    Source: E. Brandt, "Hard sync without aliasing", ICMC 2001; see ``amp/nodes/_edges.py``.

    Inlets: ``frequency`` [Hz], at audio rate if a stream; held within half the sample rate, where
    NaN counts as the lowest; if it is negative the phase runs backwards (through-zero modulation).
    ``sync_frequency`` [Hz], held in [0, half the sample rate]; no sync unless given. ``width``, the
    part of a turn that a pulse is high, held in [0, 1], 0.5 unless given; it gets there evenly
    within the next frame.

    Parameters
    ----------
    waveform
        ``saw, triangle`` or ``pulse``.
    sync
        ``hard`` or ``soft``, for when there is a ``sync_frequency``.
    phase
        Turns in [0, 1) at the first frame.

    Examples
    --------
    >>> Oscillator("pulse", frequency=440.0, width=0.25)
    Oscillator(waveform='pulse', sync='hard', phase=0.0, frequency=440.0, width=0.25)
    """

    waveform: str = "saw"
    sync: str = "hard"
    phase: float = 0.0
    params = ("phase",)
    inlets = (
        Inlet("frequency", unit="Hz", high="nyquist"),
        Inlet("sync_frequency", unit="Hz", low=0.0, high="nyquist", optional=True),
        Inlet("width", unit="turns", low=0.0, high=1.0, optional=True),
    )

    def check(self) -> None:
        self.one_of("waveform", ("saw", "triangle", "pulse"))
        self.one_of("sync", ("hard", "soft"))
        check_phase(self)

    def forward(
        self, b: Trace, frequency: Value, sync_frequency: Value | None, width: Value | None
    ) -> Value:
        if width is not None and self.waveform != "pulse":
            raise BadNode(
                "only a pulse has a width",
                got=f"a width for a {self.waveform}",
                fix='leave it out, or use Oscillator("pulse")',
            )
        half = 0.5 * b.sample_rate
        held = b.clip(frequency, -half, half)
        first, last = self._widths(b, width)
        phase = b.tstate("phase", "phase")
        x = _place(b, phase)
        if sync_frequency is None:
            following = b.tadd(phase, b.to_turn(held, b.sample_rate))
            b.next("phase", following)
            end, speed = _place(b, following), held * (1 / b.sample_rate)
            curve = self._curve(b, speed)
            whole = Piece(x, end, speed, b.const(0.0), first, last, last - first, curve)
            events = self._edges(b, whole, frames_per_turn(b, held))
            bend = 2.0 * curve if curve is not None and self.waveform == "saw" else None
            slope = self._slope(b, speed, x)
            return smoothed(b, self._wave(b, x, first), slope, events, bend=bend)
        return self._synced(b, phase, held, b.clip(sync_frequency, 0.0, half), (first, last))

    def _widths(self, b: Trace, width: Value | None) -> tuple[Value, Value]:
        """Width at this frame and at the next one."""
        if width is None:
            return b.const(0.5), b.const(0.5)
        end = b.clip(width, 0.0, 1.0)
        last = b.state("width")
        b.next("width", end)
        return b.select(b.emit("ieq", b.clock(), 0), end, last), end

    def _curve(self, b: Trace, speed: Value) -> Value | None:
        """What the speed grows by in this frame."""
        if self.waveform == "triangle":
            return None
        last = b.state("speed")
        b.next("speed", speed)
        grown = b.select(b.emit("ieq", b.clock(), 0), 0.0, speed - last)
        most = abs(speed)
        return b.clip(grown, -most, most)

    def _synced(
        self, b: Trace, phase: Value, held: Value, main: Value, widths: tuple[Value, Value]
    ) -> Value:
        """The frame in two pieces: before and after the second phase wraps."""
        hard = self.sync == "hard"
        here = b.tstate("main")
        there = b.tadd(here, b.to_turn(main, b.sample_rate))
        b.next("main", there)
        reset = _place(b, there) < _place(b, here)
        after = b.min(_place(b, there) * frames_per_turn(b, main), 1.0)
        after = b.select(reset, after, 0.0)
        way = b.const(1.0)
        if not hard:
            way = b.state("way", 1.0)
            b.next("way", b.select(reset, -way, way))
        frequency = held * way
        until = b.tadd(phase, b.to_turn(frequency * (1.0 - after), b.sample_rate))
        speed = frequency * (1 / b.sample_rate)
        moved = speed * after
        rest = moved - b.from_turn(until) if hard else -moved
        following = b.tadd(until, b.to_turn(b.select(reset, rest, 0.0), 1.0))
        b.next("phase", following)

        x, middle, end = _place(b, phase), _place(b, until), _place(b, following)
        first, last = widths
        drift = last - first
        between = b.fma(-drift, after, last)
        before = Piece(x, middle, speed, after, first, between, drift)
        start = end - moved if hard else middle
        again = Piece(start, end, speed if hard else -speed, b.const(0.0), between, last, drift)
        period = frames_per_turn(b, held)
        later = self._edges(b, again, period)
        if hard:  # from 0 no edge is within reach but the width
            later = later[1:]
        events = [*self._sync_edge(b, before, again), *later]
        events = [_only(b, reset, event) for event in events]
        return smoothed(
            b,
            self._wave(b, x, first),
            self._slope(b, speed, x),
            [*self._edges(b, before, period), *events],
        )

    def _sync_edge(self, b: Trace, before: Piece, again: Piece) -> list[Event]:
        """What sync does by itself: a jump of the wave, or a change of its slope, or both."""
        jump = corner = None
        if self.sync == "hard":
            ends = self._wave(b, before.end, before.width_end), self._wave(b, again.x, again.width)
            jump = ends[1] - ends[0]
        was, becomes = (
            self._slope(b, before.speed, before.end),
            self._slope(b, again.speed, again.x),
        )
        if was is not None and becomes is not None and was is not becomes:
            corner = becomes - was
        return [] if jump is None and corner is None else [Event(before.late, jump, corner)]

    def _wave(self, b: Trace, x: Value, width: Value) -> Value:
        if self.waveform == "saw":
            return b.fma(2.0, x, -1.0)
        if self.waveform == "triangle":
            return b.fma(-4.0, abs(x - 0.5), 1.0)
        return b.select(x < width, 1.0, -1.0)

    def _slope(self, b: Trace, speed: Value, x: Value) -> Value | None:
        """Of the wave at x, per frame; a pulse has none."""
        if self.waveform == "pulse":
            return None
        if self.waveform == "saw":
            return 2.0 * speed
        steep = 4.0 * speed
        return b.select(x < 0.5, steep, -steep)

    def _edges(self, b: Trace, piece: Piece, period: Value) -> list[Event]:
        """Where the wave jumps or bends in a piece; first what lies at phase 0."""
        if self.waveform == "triangle":
            return [self._corner(b, piece, period)]
        forward = piece.speed > 0.0
        gone = b.select(forward, piece.end, 1.0 - piece.end)
        since = _since(b, gone, piece.speed, piece.curve, period) + piece.late
        wrapped = (piece.end - piece.x) * piece.speed < 0.0
        if self.waveform == "saw":
            return [Event(since, b.select(wrapped, b.select(forward, -2.0, 2.0), 0.0))]
        up = b.select(wrapped, b.select(forward, 2.0, -2.0), 0.0)
        # the rest of what changes is that phase and width pass each other
        high = self._wave(b, piece.end, piece.width_end)
        down = (high - self._wave(b, piece.x, piece.width)) - up
        speed, behind = piece.speed - piece.drift, piece.end - piece.width_end
        behind = behind - b.floor(behind)
        passed = b.select(speed > 0.0, behind, 1.0 - behind)
        period = 1.0 / b.max(abs(speed), SLOWEST)
        since_width = _since(b, passed, speed, piece.curve, period) + piece.late
        return [Event(since, up), Event(since_width, down)]

    def _corner(self, b: Trace, piece: Piece, period: Value) -> Event:
        """Of a triangle: at phase 0 or 1/2, never both in one frame."""
        before, now = self._slope(b, piece.speed, piece.x), self._slope(b, piece.speed, piece.end)
        assert before is not None
        assert now is not None
        low = b.select(piece.end < 0.5, 0.0, 0.5)
        gone = b.select(piece.speed > 0.0, piece.end - low, (low + 0.5) - piece.end)
        return Event(b.fma(gone, period, piece.late), corner=now - before)

    def reference(
        self,
        sample_rate: float,
        frames: int,
        *,
        frequency: NDArray[np.float64],
        sync_frequency: NDArray[np.float64] | None = None,
        width: NDArray[np.float64] | None = None,
    ) -> NDArray[np.float64]:
        absent = np.zeros_like(frequency)
        given = np.broadcast_arrays(
            np.clip(frequency / sample_rate, -0.5, 0.5),
            absent if sync_frequency is None else np.clip(sync_frequency / sample_rate, 0, 0.5),
            absent + 0.5 if width is None else np.clip(width, 0, 1),
        )
        out = np.empty(given[0].shape)
        for lane in np.ndindex(out.shape[:2]):
            walk = self._walk(
                *(array[lane] for array in given), straight=sync_frequency is not None
            )
            out[lane] = list(reference_smoothed(walk))
        return out

    def _walk(
        self,
        speeds: NDArray[np.float64],
        mains: NDArray[np.float64],
        widths: NDArray[np.float64],
        *,
        straight: bool,
    ) -> Iterator[tuple[float, float, float, list[tuple[float, float, float]]]]:
        """Wave, slope, bend and edges of each frame, piece by piece; for tests."""
        x, main, way = float(self.phase), 0.0, 1.0
        for t, (speed, step) in enumerate(zip(speeds.tolist(), mains.tolist(), strict=True)):
            w, to = float(widths[max(t - 1, 0)]), float(widths[t])
            wave, slope = self._at(x, w, way * speed)
            main += step
            synced, main = main >= 1, main % 1
            cut = 1 - main / step if synced else 1.0
            curve = 0.0
            if not straight and self.waveform != "triangle":
                curve = float(np.clip(speed - speeds[max(t - 1, 0)], -abs(speed), abs(speed)))
            edges = list(self._passed(x, way * speed, w, to - w, 0.0, cut, curve))
            x += way * speed * cut
            if synced:
                was = self._at(x % 1, w + (to - w) * cut, way * speed)
                way = -way if self.sync == "soft" else way
                x = x % 1 if self.sync == "soft" else (1 - 1e-16 if speed < 0 else 0.0)
                now = self._at(x, w + (to - w) * cut, way * speed)
                edges.append((1 - cut, now[0] - was[0], now[1] - was[1]))
                edges += self._passed(x, way * speed, w + (to - w) * cut, to - w, cut, 1.0)
                x += way * speed * (1 - cut)
            yield wave, slope, 2 * curve if self.waveform == "saw" else 0.0, edges
            x %= 1

    def _at(self, x: float, width: float, speed: float) -> tuple[float, float]:
        """Wave and slope; for tests."""
        if self.waveform == "saw":
            return 2 * x - 1, 2 * speed
        if self.waveform == "triangle":
            return 1 - 4 * abs(x - 0.5), (4 if x < 0.5 else -4) * speed
        return (1.0 if x < width else -1.0), 0.0

    def _passed(
        self,
        x: float,
        speed: float,
        width: float,
        drift: float,
        begin: float,
        end: float,
        curve: float = 0.0,
    ) -> Iterator[tuple[float, float, float]]:
        """Edges between two times of a frame; for tests."""
        if self.waveform == "triangle":
            for time, n in _wholes(2 * x, 2 * speed, begin, end):
                yield 1 - time, 0.0, (-8 if n % 2 else 8) * abs(speed)
            return
        for time, _ in _wholes(x, speed, begin, end, curve):
            yield 1 - time, (2 if self.waveform == "pulse" else -2) * np.sign(speed), 0.0
        if self.waveform == "pulse":
            rate = speed - drift
            times = [time for time, _ in _wholes(x - width, rate, begin, end, curve)]
            if times:
                yield 1 - times[-1], -2 * np.sign(rate) * len(times), 0.0

    @classmethod
    def samples(cls) -> Iterator[NodeType]:
        yield cls(frequency=5010.0)
        yield cls("pulse", phase=0.75, frequency=-1010.0, width=0.3)
        yield cls("pulse", "soft", phase=0.2, frequency=3030.0, sync_frequency=4170.0, width=0.6)
        yield cls("triangle", frequency=-3030.0, sync_frequency=4170.0)

    @classmethod
    def refuses(cls) -> Iterator[tuple[dict[str, Any], str]]:
        yield {"waveform": "sine"}, "Oscillator.waveform is one of 'saw', 'triangle', 'pulse'"
        yield {"sync": "none"}, "Oscillator.sync is one of 'hard', 'soft'"
        yield {"phase": 1.0}, "Oscillator.phase is a number of turns in [0, 1)"


def _place(b: Trace, phase: Value) -> Value:
    """A turn as a number in [0, 1), without rounding."""
    return b.from_turn(half_ahead(b, phase), 1.0, 0.5)


def _since(b: Trace, gone: Value, speed: Value, curve: Value | None, period: Value) -> Value:
    """Frames in which a place has ``gone`` so far, to the end of a frame in which its speed grows."""
    if curve is None:
        return gone * period
    # gone = (|v| + c/2) f - c/2 f^2 as a quotient, which has no cancellation
    most = abs(speed)
    grown = b.clip(b.select(speed > 0.0, curve, -curve), -most, most)
    last = b.fma(0.5, grown, most)
    square = b.max(b.fma(-2.0 * grown, gone, last * last), SLOWEST * SLOWEST)
    return (2.0 * gone) / b.max(last + b.sqrt(square), SLOWEST)


def _only(b: Trace, condition: Value, event: Event) -> Event:
    """``event`` where the condition holds."""
    jump, corner = (
        None if size is None else b.select(condition, size, 0.0)
        for size in (event.jump, event.corner)
    )
    return Event(event.since, jump, corner)


def _wholes(
    place: float, rate: float, begin: float, end: float, curve: float = 0.0
) -> Iterator[tuple[float, int]]:
    """When ``place``, which moves on at ``rate`` from ``begin`` on, is a whole number; for tests."""
    curve = float(np.clip(curve, -abs(rate), abs(rate)))
    first, final = int(np.floor(place)), int(np.floor(place + rate * (end - begin)))
    for n in range(first + 1, final + 1) if rate > 0 else range(first, final, -1):
        if not curve:
            yield begin + (n - place) / rate, n
            continue
        roots = np.roots([curve / 2, rate - curve / 2, place - n])
        yield float(min(roots.real, key=lambda root: abs(root - 0.5))), n
