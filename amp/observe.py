"""Looking at a program while it runs."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from amp.errors import BadValue

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike

    from amp.program import Program, Recording
    from amp.result import Result

__all__ = ["trace"]


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
    if not hasattr(program, "_recorded"):
        raise BadValue("a trace is one of a program", got=repr(program))
    result, recording = program._recorded(inputs, frames)
    Path(path).write_text(json.dumps(_chrome(recording)), encoding="utf-8")
    return result


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
