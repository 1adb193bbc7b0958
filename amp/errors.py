"""Every exception that amp raises on purpose.

Each message says the rule that was broken, what was expected, what was given, where (node name and
the user's own line) and what to do about it.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from traceback import walk_tb
from typing import Any

_PACKAGE = f"{Path(__file__).parent}{os.sep}"


@dataclass(frozen=True, slots=True)
class Place:
    """A line of the user's program, or (line 0) a place in a file."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


def user_place() -> Place:
    """The innermost line outside of amp."""
    frame = sys._getframe(1)  # inspect.stack would read files
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back
    return Place(frame.f_code.co_filename, frame.f_lineno)


def raised_at(error: BaseException) -> Place | None:
    """The innermost line outside of amp that ``error`` has come through since it was raised."""
    places = [Place(f.f_code.co_filename, line) for f, line in walk_tb(error.__traceback__)]
    return next((p for p in reversed(places) if not p.file.startswith(_PACKAGE)), None)


class AmpError(Exception):
    """Base of all errors of amp. The message ends with the user's own line, if nothing else says where.

    Parameters
    ----------
    rule
        The rule that was broken, as a sentence.
    expected, got, where, fix
        Optional details; each one given becomes a line of the message.

    Examples
    --------
    >>> print(AmpError("a delay is not negative", got="-3", where="node 'echo'", fix="use 0 or more"))
    a delay is not negative
      got: -3
      where: node 'echo'
      fix: use 0 or more
    """

    def __init__(
        self, rule: str, *, expected: str = "", got: str = "", where: str = "", fix: str = ""
    ) -> None:
        self.rule, self.expected, self.got, self.where, self.fix = rule, expected, got, where, fix
        super().__init__(self.text(str(user_place())))

    def text(self, place: str = "") -> str:
        """The message; ``place`` is where, if nothing more exact is known."""
        where = self.where or place
        details = {"expected": self.expected, "got": self.got, "where": where, "fix": self.fix}
        return "\n".join(
            [self.rule, *(f"  {name}: {text}" for name, text in details.items() if text)]
        )


class BadNode(AmpError):
    """A node type or one of its attributes breaks the node contract."""


class PortMismatch(AmpError):
    """An inlet is unknown, missing, or given a stream that does not fit it."""


class BadValue(AmpError):
    """A parameter, an edge's delay, or initial tokens have a value outside their range."""


class BadGraph(AmpError):
    """The graph as a whole cannot be compiled (no outputs, foreign streams, unknown names)."""


class Deadlock(AmpError):
    """A cycle holds no tokens, so no node of it can ever fire.

    Attributes
    ----------
    result
        Where rates depend on data this is found at the end of a run: what the rest of the graph has
        made by then.
    """

    result: Any = None


class InconsistentRates(AmpError):
    """No firing counts keep every edge in balance."""


class TooSlowCycle(AmpError):
    """A cycle's delay exceeds its tokens: it cannot keep up with the clock."""


class BadInput(AmpError):
    """The arrays given to a run do not fit the graph's inputs."""


class BadFile(AmpError):
    """A file from outside is broken, too large, or of another version."""


class IllegalSchedule(AmpError):
    """A schedule does not fit its graph; ``violations`` lists every reason.

    Parameters
    ----------
    violations
        One sentence for each violation: node or edge, rule, nearest mend.
    """

    def __init__(self, violations: list[str]) -> None:
        self.violations = tuple(violations)
        listing = "".join(f"\n    {i}. {text}" for i, text in enumerate(violations, 1))
        super().__init__(
            f"the schedule does not fit the graph: {len(violations)} violation(s){listing}",
            fix="mend the schedule, or make one with amp.plan(graph, block=...)",
        )


class NonFinite(AmpError):
    """A node made an infinity or NaN, in a program that was compiled to raise.

    Attributes
    ----------
    node
        Name of the first node that did.
    frame
        Clock at which it did; of a node that fires as data says the number of the firing.
    """

    def __init__(self, rule: str, *, node: str = "", frame: int = -1, **details: str) -> None:
        self.node, self.frame = node, frame
        super().__init__(rule, **details)


class BadState(AmpError):
    """A snapshot does not fit the program it is restored to."""


class ArenaExhausted(AmpError):
    """A program needs more memory than it may have; it can go on when it is given more."""


class ProgramBusy(AmpError):
    """A program was used or swapped while another user, or a crossfade, had not done with it."""


class ArchetypeUnavailable(AmpError):
    """A prebuilt kernel cannot be loaded on this machine."""


class NotDifferentiable(AmpError):
    """A derivative was asked for that does not exist, or that amp does not have."""


class WrongGradient(AmpError):
    """A derivative differs from what finite differences say."""


class BadIR(AmpError):
    """An IR kernel is ill-formed; always a defect of amp or of a custom node."""
