"""Machine code on disk: a second process compiles nothing, and no broken entry is run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

SCRIPT = """
import json
import amp, numpy as np
from amp import nodes
from amp.jit.engine import Statistics

g = amp.Graph()
saw = g.add(nodes.Saw(), g.input("f"))
g.output("out", g.add(nodes.StateVariable(cutoff=900.0), saw))
results = [
    amp.compile(g, p).run({"f": np.full((1, 1, 500), 440.0)})["out"].tobytes().hex()
    for p in (None, amp.plan(g, 64), amp.plan(g, 64))
]
assert len(set(results)) == 1
counts = [Statistics.compiled, Statistics.from_disk, Statistics.from_memory]
print(json.dumps([counts, results[0]]))
"""


def process(cache: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "AMP_CACHE_DIR": str(cache)}
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT], env=environment, stdout=subprocess.PIPE, text=True
    )


def finished(child: subprocess.Popen[str]) -> tuple[list[int], str]:
    output, _ = child.communicate(timeout=120)
    assert child.returncode == 0
    counts, result = json.loads(output)
    return counts, result


def run(cache: Path) -> tuple[list[int], str]:
    """Counts of compiled kernels, those found on disk and in memory; and the samples."""
    return finished(process(cache))


def entries(cache: Path) -> list[Path]:
    return sorted(path for path in cache.rglob("*") if path.is_file())


def test_a_second_process_compiles_nothing(tmp_path: Path) -> None:
    (compiled, _, _), samples = run(tmp_path)
    assert compiled == len(entries(tmp_path)) > 0
    (compiled_again, found, _), again = run(tmp_path)
    assert compiled_again == 0
    assert found >= compiled
    assert again == samples


def test_broken_entries_are_compiled_again(tmp_path: Path) -> None:
    """Cut short, emptied, changed in one bit, and replaced by another entry."""
    _, samples = run(tmp_path)
    paths = entries(tmp_path)
    data = [path.read_bytes() for path in paths]
    flipped = bytearray(data[2])
    flipped[len(flipped) // 2] ^= 1
    for path, broken in zip(paths, (data[0][:-100], b"", bytes(flipped), data[0]), strict=False):
        path.write_bytes(broken)
    (compiled, _, _), again = run(tmp_path)
    assert again == samples
    assert compiled == 4
    assert [path.read_bytes() for path in paths] == data, "the cache is whole again"
    assert run(tmp_path)[0][0] == 0


@pytest.mark.skipif(os.name != "posix", reason="a path that cannot be written")
def test_a_cache_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a directory")
    (compiled, found, _), _ = run(blocked)
    assert compiled > 0
    assert found == 0
    assert entries(tmp_path) == [blocked]


def test_processes_may_share_a_cache_from_the_start(tmp_path: Path) -> None:
    children = [process(tmp_path) for _ in range(3)]
    outcomes = [finished(child) for child in children]
    assert len({samples for _, samples in outcomes}) == 1
    assert not [path for path in entries(tmp_path) if path.suffix != ".o"], "no leftovers"
    assert run(tmp_path)[0][0] == 0
