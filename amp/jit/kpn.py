"""The tables of the KPN scheduler: the structures of ``amp/archetypes_cpp/kpn.cpp``, field by field.

Addresses are words, like everything else. `amp.jit.runtime.load_scheduler` compares the sizes of the rows
with those that the library was built with.
"""

from __future__ import annotations

import numpy as np

PACE = np.dtype([("firings", np.int64), ("frames", np.int64), ("offset", np.int64)])
TOKENS = np.dtype([("each", np.int64), ("cycle", np.int64)])
EDGE = np.dtype(
    [
        ("source", np.int64),
        ("consumer", np.int64),
        ("made", np.int64),
        ("taken", np.int64),
        ("produced", TOKENS),
        ("consumed", TOKENS),
        ("tokens", np.int64),
        ("capacity", np.int64),
        ("visible", PACE),
        ("stamps", np.int64),
        ("mask", np.int64),
        ("delay", np.int64),
        ("most", np.int64),
    ]
)
OUT = np.dtype(
    [
        ("entries", np.int64),
        ("outlet", np.int64),
        ("produced", TOKENS),
        ("stamps", np.int64),
        ("mask", np.int64),
        ("sums", np.int64),
        ("every", np.int64),
    ]
)
PROCESS = np.dtype(
    [
        ("kernel", np.int64),
        ("words", np.int64),
        ("kind", np.int64),
        ("pace", PACE),
        ("quantum", np.int64),
        ("processing_delay", np.int64),
        ("ins", np.int64),
        ("in_count", np.int64),
        ("readers", np.int64),
        ("reader_count", np.int64),
        ("outs", np.int64),
        ("out_count", np.int64),
        ("entries", np.int64),
        ("planes", np.int64),
        ("crossing", np.int64),
        ("loop", np.int64),
        ("fired", np.int64),
        ("counts", np.int64, (2,)),
        ("time", np.int64),
        ("previous", np.float64),
        ("full", np.int64),
        ("missing", np.int64),
        ("cycles", np.int64),
        ("firings", np.int64),
        ("frames", np.int64),
        ("state", np.int64),
    ]
)
NETWORK = np.dtype(
    [
        ("processes", np.int64),
        ("count", np.int64),
        ("edges", np.int64),
        ("queue", np.int64),
        ("queue_mask", np.int64),
        ("samples", np.int64),
        ("sample_count", np.int64),
        ("step", np.int64),
        ("grows", np.int64),
        ("timing", np.int64),
        ("trace", np.int64),
        ("pool", np.int64),
        ("threads", np.int64),
        ("clock", np.int64),
        ("head", np.int64),
        ("tail", np.int64),
        ("active", np.int64),
    ]
)
TABLES = (NETWORK, PROCESS, EDGE, OUT)
"""In the order of ``amp_kpn_sizes``."""

KINDS = {"": 0, "switch": 1, "select": 2, "trigger": 3, "sample": 4}
"""What a process is, by the router of its node type; a kernel without one."""
CROSSINGS = {"rising": 1, "falling": 2, "both": 3}
DONE, STARVED = -1, -2
"""What a run answers when no ring has to grow."""
