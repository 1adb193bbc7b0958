"""Run `python -m benchmarks.probe ...` in a process of its own, with a bound on its time."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


class ProbeError(Exception):
    """The probe failed; the message is its last line of error output."""


class ProbeTimeoutError(ProbeError):
    """The probe took longer than allowed and was ended."""


def probe(arguments: list[str], timeout: float, cache: Path | None = None) -> dict[str, Any]:
    """The probe's JSON answer. `cache` is amp's compile cache for this process."""
    environment = os.environ | ({"AMP_CACHE_DIR": str(cache)} if cache else {})
    child = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.probe", *arguments],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        answer, complaint = child.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)  # the child's own group: its compilers too
        child.communicate()
        raise ProbeTimeoutError(f"more than {timeout:g} s") from None
    if child.returncode:
        lines = complaint.strip().splitlines() or [f"exit status {child.returncode}"]
        raise ProbeError(lines[-1])
    result: dict[str, Any] = json.loads(answer.strip().splitlines()[-1])
    return result
