"""Where a kernel finds what it works on: the layout of its argument words.

A kernel takes a pointer to 64-bit words and a number of frames. Addresses are bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from amp.ir import InPort, Kernel, OutPort

TILES, FIRED, PARAMS, STATES, SCRATCH, LANES = range(6)
# sums of squares: those of the present cell, and the firing with which the next one begins; those of cell
# 0, bytes from cell to cell, and the pace that says which cell a firing is in: firings, frames (0: cell 0
# always), offset
POWER, POWER_END, POWER_BASE, POWER_STRIDE, POWER_PACE = range(6, 11)
_HEADER = 13
PORT_WORDS = 8
LINE_WORDS = 3

# words of an in port that is aligned (TILE_STRIDE) or uniform (SLOT_STRIDE)
BASE, MASK, TOKENS, PLANE_STRIDE, TILE_STRIDE = range(5)
SLOT_STRIDE = TILE_STRIDE
# words of a port of step 0: where its firings begin, from any in the cycle on; its length and tokens
STARTS, CYCLE, TOTAL = range(5, 8)
# words of a table port, and of each of its entries
TABLE = 0
ENTRY_BASE, ENTRY_MASK, ENTRY_TOKENS, ENTRY_STRIDE = range(4)
ENTRY_WORDS = 4
# words of a sum port
SUM_BUFFER, SUM_LANES, SUM_TABLE = range(3)
# words of a delay line
LINE_BASE, LINE_MASK, LINE_TILE_STRIDE = range(3)
# words of the call of a block: where the tables of its nodes lie, how far they are apart, and how many lanes
# share one
TABLES, TABLE_STRIDE, SHARE = range(3)
# of a table port of such a call: bytes from plane to plane, if they are evenly apart and read like the first
APART = 1

SUM_ORDER = 8
"""Accumulators of a sum, see `amp.ir.Builder.tree_sum`."""


@dataclass(frozen=True, slots=True)
class Words:
    """Positions of a kernel's argument words."""

    inlets: int
    outlets: int
    lines: int
    calls: bool = False

    @classmethod
    def of(cls, kernel: Kernel) -> Words:
        """Layout for ``kernel``."""
        return cls(
            len(kernel.inlets), len(kernel.outlets), len(kernel.lines), kernel.block is not None
        )

    def inlet(self, port: int) -> int:
        """First word of in port ``port``."""
        return _HEADER + PORT_WORDS * port

    def outlet(self, port: int) -> int:
        """First word of out port ``port``."""
        return self.inlet(self.inlets) + PORT_WORDS * port

    def line(self, number: int) -> int:
        """First word of delay line ``number``."""
        return self.outlet(self.outlets) + LINE_WORDS * number

    @property
    def call(self) -> int:
        """First word of the call of a block."""
        return self.line(self.lines)

    @property
    def total(self) -> int:
        """Number of words."""
        return self.call + 3 * self.calls


def port_areas(kernel: Kernel) -> int:
    """Areas of ``firings x width`` numbers that a kernel needs to turn tables into lanes."""
    ports: list[InPort | OutPort] = [*kernel.inlets, *kernel.outlets]
    return sum(port.planes * port.rate for port in ports if port.mode == "table")


def scratch_areas(kernel: Kernel) -> int:
    """The same, with those of the call of a block that no port has."""
    return port_areas(kernel) + (0 if kernel.block is None else kernel.block.held)
