"""Cycles of token counts: how many tokens each firing of a port moves, over and over.

Bilsen, Engels, Lauwereins & Peperstraete, "Cyclo-static dataflow", IEEE Trans. Signal Processing
44(2), 1996.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from amp.errors import BadNode

MAX_CYCLE = 1 << 20
"""Most tokens of a firing, and most firings of a cycle."""


class Cycle:
    """Firing k moves ``counts[k mod n]`` tokens.

    Attributes
    ----------
    counts
        The shortest cycle of them.
    total
        Their sum.
    starts
        Tokens before each firing of the first cycle.

    Examples
    --------
    >>> cycle = Cycle((2, 0, 1, 2, 0, 1))
    >>> cycle.counts, int(cycle.before(4)), [int(cycle.firing(token)) for token in range(4)]
    ((2, 0, 1), 5, [0, 0, 2, 3])
    """

    __slots__ = ("counts", "starts", "total")

    def __init__(self, counts: tuple[int, ...]) -> None:
        self.counts = _shortest(counts)
        self.total = sum(self.counts)
        self.starts = np.cumsum([0, *self.counts[:-1]])

    @property
    def spare(self) -> int:
        """Tokens that a firing may write too many: ``forward`` gives the most, whatever its phase."""
        return max(self.counts) - min(self.counts)

    def __len__(self) -> int:
        return len(self.counts)

    def before(self, k: Any) -> Any:
        """Tokens of the firings before ``k``, a number or an array."""
        return k // len(self) * self.total + self.starts[k % len(self)]

    def firing(self, token: Any) -> Any:
        """The firing that moves ``token``, a number or an array."""
        last = np.searchsorted(self.starts, token % self.total, side="right") - 1
        return token // self.total * len(self) + last


def _shortest(counts: tuple[int, ...]) -> tuple[int, ...]:
    array, size = np.array(counts), len(counts)
    for length in range(1, size // 2 + 1):
        if size % length == 0 and (array[length:] == array[:-length]).all():
            return counts[:length]
    return counts


def as_counts(rate: Any, what: str) -> tuple[int, ...]:
    """What ``rate`` says of each firing of a cycle, or `BadNode`; ``what`` names the port."""
    counts = rate if isinstance(rate, tuple) else (rate,)
    whole = [isinstance(n, int | np.integer) and not isinstance(n, bool) for n in counts]
    if not all(whole) or any(not 0 <= n <= MAX_CYCLE for n in counts):
        rule = f"is a whole number of tokens, 1 to {MAX_CYCLE}, or a tuple of them, from 0"
    elif not any(counts):
        rule = "moves a token in some firing"
    elif len(counts) > MAX_CYCLE:
        rule = f"has a cycle of at most {MAX_CYCLE} firings"
    else:
        return tuple(map(int, counts))
    got = repr(rate)
    raise BadNode(f"the rate of {what} {rule}", got=got if len(got) < 80 else f"{got[:76]} ...")
