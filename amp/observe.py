"""Looking at a program while it runs."""

from __future__ import annotations

import json
import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from amp.errors import BadValue

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike, NDArray

    from amp.program import Program
    from amp.result import Result

__all__ = ["trace"]

TRACED_FRAMES = 4096
"""Frames after which noted events are taken out."""


@dataclass(frozen=True)
class Recording:
    """Every call of native code in a run.

    Attributes
    ----------
    rows
        One event each, see `amp.jit.events`.
    labels
        What each kernel is called, and of what it is one: a category.
    first, last
        The CPU's counter when the run began and ended.
    dropped
        Events that there was no room for.
    """

    rows: NDArray[np.int64]
    labels: list[tuple[str, str]]
    first: int
    last: int
    dropped: int

    def seconds(self, cycles: int) -> float:
        """Time since the run began, by the rate that `Result.timing` has too."""
        from amp.jit.clock import cycles_per_second

        return (cycles - self.first) / cycles_per_second()


def trace(
    program: Program,
    path: str | os.PathLike[str],
    inputs: Mapping[str, ArrayLike] | None = None,
    *,
    frames: int | None = None,
) -> Result:
    """Run a program and write what ran when, on which thread, as a Chrome trace.

    The file opens in Perfetto (https://ui.perfetto.dev) and ``chrome://tracing``: one track per thread, one
    slice per call of native code, its time in microseconds since the run began. In a crossfade those of the
    old graph and of the mixer are there too, by their category. Where native code fires more often than there is room to note, later slices are missing; ``otherData.dropped`` counts them.

    Format: "Trace Event Format", Google, complete events (``"ph": "X"``).

    Parameters
    ----------
    program
        Compiled with ``timing=True``.
    path
        The file to write.
    inputs, frames
        As in `Program.run`, whose result is returned.

    Raises
    ------
    BadValue
        If the program was not compiled with ``timing=True``.
    BadInput, ProgramBusy, ArenaExhausted
        As `Program.run`.

    Examples
    --------
    >>> import amp, json, tempfile
    >>> import numpy as np
    >>> g = amp.Graph()
    >>> g.output("out", 0.5 * g.input("x"))
    >>> program = amp.compile(g, amp.plan(g, block=64), timing=True)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     result = trace(program, f"{folder}/trace.json", {"x": np.zeros((1, 1, 256))})
    ...     with open(f"{folder}/trace.json") as file:
    ...         events = json.load(file)["traceEvents"]
    >>> [(e["name"], e["args"]["frames"]) for e in events if e["ph"] == "X"][:2]
    [("'x' > 'multiply.0' > 'out'", 64), ("'x' > 'multiply.0' > 'out'", 64)]
    """
    from amp.program import Program  # which loads the compiler

    if not isinstance(program, Program):
        raise BadValue("a trace is one of a program", got=repr(program))
    result, recording = _record(program, inputs, frames)
    Path(path).write_text(json.dumps(_chrome(recording)), encoding="utf-8")
    return result


def _record(
    program: Program, inputs: Mapping[str, ArrayLike] | None, frames: int | None
) -> tuple[Result, Recording]:
    """Run, and note every call of native code."""
    from amp.jit.clock import counter
    from amp.jit.events import CALL, ROOM, Events

    with program._alone():
        if not program._timer:
            raise BadValue("a trace is noted on request", fix="amp.compile(..., timing=True)")
        now, fade, ticks = program._instance, program._fade, counter()
        sides = {"kernel": now.runner}
        if fade:
            sides |= {"old graph": fade.old.runner, "crossfade": fade.mixer.runner}
        noted = [Events() for _ in sides]
        block = program.schedule.block if program.schedule else TRACED_FRAMES
        calls = max(1, len(now.runner.calls))
        piece = block * max(1, min(TRACED_FRAMES, ROOM // calls) // block)

        def drain(*_: int) -> None:
            for events in noted:
                events.drain()

        for runner, events in zip(sides.values(), noted, strict=True):
            runner.trace(events)
        first = ticks()
        try:
            result = program._run(inputs or {}, frames, {}, drain, every=piece)
        finally:
            last = ticks()
            for runner in sides.values():
                runner.trace(None)
    labels: list[tuple[str, str]] = []
    rows = [events.rows() for events in noted]
    for some, (kind, runner) in zip(rows, sides.items(), strict=True):
        some[:, CALL] += len(labels)
        labels += [(str(call), kind) for call in runner.calls]
    dropped = sum(events.dropped for events in noted)
    return result, Recording(np.concatenate(rows), labels, first, last, dropped)


def _chrome(recording: Recording) -> dict[str, Any]:
    """The trace as the format's JSON object."""
    process, caller = os.getpid(), threading.get_native_id()
    events: list[dict[str, Any]] = []
    threads: dict[int, str] = {}
    for call, frames, begin, end, thread in recording.rows.tolist():
        if thread not in threads:
            workers = len(threads) - (caller in threads)
            threads[thread] = "caller" if thread == caller else f"worker {workers}"
        name, kind = recording.labels[call]
        events.append(
            {
                "name": name,
                "cat": kind,
                "ph": "X",
                "ts": 1e6 * recording.seconds(begin),
                "dur": 1e6 * (recording.seconds(end) - recording.seconds(begin)),
                "pid": process,
                "tid": thread,
                "args": {"frames": frames},
            }
        )
    names = [
        {"name": what, "ph": "M", "pid": process, "tid": thread, "args": {"name": name}}
        for what, some in (("process_name", {0: "amp"}), ("thread_name", threads))
        for thread, name in some.items()
    ]
    return {
        "traceEvents": names + events,
        "displayTimeUnit": "ns",
        "otherData": {"seconds": recording.seconds(recording.last), "dropped": recording.dropped},
    }
