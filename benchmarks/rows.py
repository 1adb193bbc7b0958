"""One measured line of the result: what was run, its samples' error, its times."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

BASELINE = "amp IPLS"

OK = "ok"
NOT_INSTALLED = "not installed"
DIFFERS = "differs"
FAILED = "failed"
TIMED_OUT = "timed out"


@dataclass(frozen=True)
class Row:
    """A candidate's result in one case of one workload.

    `seconds` has one wall time per repetition; `items` is the work done in each (voice-frames,
    firings, ...), so `nanoseconds_per_item` compares cases of different size.
    """

    workload: str
    case: str
    candidate: str
    family: str
    status: str = OK
    seconds: list[float] = field(default_factory=list)
    items: float = 0.0
    item: str = ""
    compile_seconds: float | None = None
    error: float | None = None
    tolerance: float | None = None
    note: str = ""
    memory: float | None = None
    """Most bytes of one repetition, above those before it (W6)."""

    @property
    def median(self) -> float | None:
        """The median wall time [s]."""
        return float(np.median(self.seconds)) if self.seconds else None

    @property
    def iqr(self) -> float | None:
        """The spread of the wall times: third minus first quartile [s]."""
        if not self.seconds:
            return None
        low, high = np.percentile(self.seconds, [25, 75])
        return float(high - low)

    @property
    def nanoseconds_per_item(self) -> float | None:
        """The median cost of one item [ns]."""
        if self.median is None or not self.items:
            return None
        return self.median / self.items * 1e9

    def to_json(self) -> dict[str, Any]:
        """Every field and the derived numbers, for the results file."""
        derived = {
            "median": self.median,
            "iqr": self.iqr,
            "nanoseconds_per_item": self.nanoseconds_per_item,
        }
        return asdict(self) | derived

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Row:
        """The row that `to_json` wrote."""
        return cls(**{name: data[name] for name in cls.__dataclass_fields__ if name in data})


def baseline_of(rows: list[Row], row: Row) -> Row | None:
    """amp's IPLS in the same workload and case, if it was measured."""
    for other in rows:
        same = (other.workload, other.case) == (row.workload, row.case)
        if same and other.candidate.startswith(BASELINE) and other.median is not None:
            return other
    return None


def ratio(rows: list[Row], row: Row) -> float | None:
    """The row's median over amp IPLS's median: above 1, amp is faster."""
    base = baseline_of(rows, row)
    if base is None or base.median is None or row.median is None:
        return None
    return row.median / base.median


def best_of_family(rows: list[Row], row: Row) -> bool:
    """Is this the fastest variant of its family in its case?"""
    peers = [
        r.median
        for r in rows
        if (r.workload, r.case, r.family) == (row.workload, row.case, row.family)
        and r.median is not None
    ]
    return row.median is not None and row.median <= min(peers)
