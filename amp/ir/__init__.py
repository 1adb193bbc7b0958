"""The IR: a small closed set of operations between the nodes above and native code below."""

from __future__ import annotations

from amp.ir.build import (
    BlockCall,
    Builder,
    InPort,
    Kernel,
    OutPort,
    StateSlot,
    Value,
    ancestors,
    table_bytes,
    table_text,
)
from amp.ir.ops import OPS
from amp.ir.text import parse_kernel, print_kernel
from amp.ir.verify import verify

__all__ = [
    "OPS",
    "BlockCall",
    "Builder",
    "InPort",
    "Kernel",
    "OutPort",
    "StateSlot",
    "Value",
    "ancestors",
    "parse_kernel",
    "print_kernel",
    "table_bytes",
    "table_text",
    "verify",
]
