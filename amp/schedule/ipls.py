"""The Iterative Partial-Latency Schedule: a value that can be printed, edited, saved and loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from amp.errors import BadFile

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_BLOCK = 1 << 16
MAX_FILE_BYTES = 1 << 28
WIDTHS = (1, 2, 4, 8, 16, 32)


class Cohort(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Nodes of one type that run as one kernel, with ``width`` lanes at a time.

    Examples
    --------
    >>> Cohort("Saw", ["saw.0", "saw.1"])
    Cohort(type='Saw', members=('saw.0', 'saw.1'), width=8)
    """

    type: str
    members: tuple[str, ...]
    width: int = 8

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "members", tuple(self.members))


class Stage(msgspec.Struct, frozen=True, tag="stage", forbid_unknown_fields=True):
    """Cohorts that do not wait for one another, and may run in parallel."""

    cohorts: tuple[Cohort, ...]

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "cohorts", tuple(self.cohorts))


class Loop(msgspec.Struct, frozen=True, tag="loop", forbid_unknown_fields=True):
    """Stages that are repeated in narrower blocks: a feedback path with fewer tokens than a block."""

    block: int
    stages: tuple[Stage | Loop, ...]

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "stages", tuple(self.stages))


class IPLS(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A schedule: one iteration runs every stage in order on ``block`` frames of the clock.

    Parameters
    ----------
    block
        Frames of one iteration, 1 to 65536.
    stages
        Stages and loops in order.
    graph
        Fingerprint of the graph that it was made for.
    version
        Version of the format.

    Examples
    --------
    >>> plan = IPLS(64, [Stage([Cohort("Gain", ["gain.0"])])], graph="0123")
    >>> IPLS.from_json(plan.to_json()) == plan
    True
    """

    block: int
    stages: tuple[Stage | Loop, ...]
    graph: str
    version: int = 1

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "stages", tuple(self.stages))

    @property
    def width(self) -> int:
        """Lanes of its widest cohort."""
        return max(cohort.width for _, stage, _ in self.walk() for cohort in stage.cohorts)

    def to_json(self) -> str:
        """The schedule as text, as ``docs/ipls.md`` describes it."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2).decode()

    @staticmethod
    def from_json(text: str | bytes) -> IPLS:
        """Schedule of a JSON text; it is checked against a graph when it is compiled.

        Raises
        ------
        BadFile
            If the text is not JSON, not of this schema, or of another version.
        """
        if len(text) > MAX_FILE_BYTES:
            raise BadFile(
                f"a schedule has at most {MAX_FILE_BYTES} bytes", got=f"{len(text)} bytes"
            )
        try:
            plan = msgspec.json.decode(text, type=IPLS)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise BadFile(
                "a schedule is JSON as docs/ipls.md describes it", got=str(error)
            ) from None
        if plan.version != 1:
            raise BadFile("a schedule is of version 1", got=f"version {plan.version}")
        return plan

    def walk(self) -> Iterator[tuple[int, Stage, tuple[int, ...]]]:
        """Every stage in order: its number, itself, and the path of item indices to it."""
        yield from enumerate_stages(self.stages)

    def __str__(self) -> str:
        lines = [f"IPLS of block {self.block}"]
        before: tuple[int, ...] = ()
        for number, stage, path in self.walk():
            items = self.stages
            for depth, at in enumerate(path[:-1], 1):
                loop = items[at]
                assert isinstance(loop, Loop)
                if before[:depth] != path[:depth]:
                    lines.append(f"{'  ' * depth}loop of block {loop.block}")
                items = loop.stages
            words = [f"{c.type} x{len(c.members)} (width {c.width})" for c in stage.cohorts]
            lines.append(f"{'  ' * len(path)}stage {number}: {', '.join(words)}")
            before = path
        return "\n".join(lines)


def enumerate_stages(
    items: tuple[Stage | Loop, ...],
) -> Iterator[tuple[int, Stage, tuple[int, ...]]]:
    """See `IPLS.walk`."""
    number = 0
    pending: list[tuple[Stage | Loop, tuple[int, ...]]] = [
        (item, (i,)) for i, item in reversed(list(enumerate(items)))
    ]
    while pending:
        item, path = pending.pop()
        if isinstance(item, Stage):
            yield number, item, path
            number += 1
        else:
            pending += [(child, (*path, i)) for i, child in reversed(list(enumerate(item.stages)))]


def schema() -> dict[str, object]:
    """JSON schema of the file format."""
    return msgspec.json.schema(IPLS)
