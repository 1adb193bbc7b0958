"""Looking at a program while it runs."""

from __future__ import annotations

import json
import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from amp.errors import BadValue

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
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
        What each kernel is called.
    first, rate
        The CPU's counter when the run began, and its rate [1/s].
    wall
        How long the run took [s].
    dropped
        Events that there was no room for.
    """

    rows: NDArray[np.int64]
    labels: list[str]
    first: int
    rate: float
    wall: float
    dropped: int

    def seconds(self, cycles: int) -> float:
        """Time since the run began."""
        return (cycles - self.first) / self.rate


def trace(
    program: Program,
    path: str | os.PathLike[str],
    inputs: Mapping[str, ArrayLike] | None = None,
    *,
    frames: int | None = None,
) -> Result:
    """Run a program and write what ran when, on which thread, as a Chrome trace.

    The file opens in Perfetto (https://ui.perfetto.dev) and ``chrome://tracing``: one track per thread, one
    slice per call of native code, its time in microseconds since the run began. Where native code fires
    more often than there is room to note, later slices are missing; ``otherData.dropped`` counts them.

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
    from amp.jit.events import ROOM, Events

    with program._alone():
        if not program._timer:
            raise BadValue("a trace is noted on request", fix="amp.compile(..., timing=True)")
        now, events, ticks = program._instance, Events(), counter()
        block = program.schedule.block if program.schedule else TRACED_FRAMES
        calls = max(1, len(now.runner.calls))
        piece = block * max(1, min(TRACED_FRAMES, ROOM // calls) // block)
        now.runner.trace(events)
        began, first = time.perf_counter(), ticks()
        try:
            result = program._run(inputs or {}, frames, {}, lambda *_: events.drain(), every=piece)
        finally:
            last, ended = ticks(), time.perf_counter()
            now.runner.trace(None)
    labels = [str(call) for call in now.runner.calls]
    rate = (last - first) / (ended - began)
    return result, Recording(events.rows(), labels, first, rate, ended - began, events.dropped)


def _chrome(recording: Recording) -> dict[str, Any]:
    """The trace as the format's JSON object."""
    process, caller = os.getpid(), threading.get_native_id()
    events: list[dict[str, Any]] = []
    threads: dict[int, str] = {}
    for call, frames, begin, end, thread in recording.rows.tolist():
        if thread not in threads:
            workers = len(threads) - (caller in threads)
            threads[thread] = "caller" if thread == caller else f"worker {workers}"
        events.append(
            {
                "name": recording.labels[call],
                "cat": "kernel",
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
        "otherData": {"seconds": recording.wall, "dropped": recording.dropped},
    }
