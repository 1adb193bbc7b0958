"""Code in README and docs runs as tests; hypothesis profiles."""

from __future__ import annotations

import os

from hypothesis import settings
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser

# A page's blocks share one namespace, top to bottom, as a reader would type them.
pytest_collect_file = Sybil(
    parsers=[PythonCodeBlockParser()], patterns=["README.md", "docs/*.md", "docs/**/*.md"]
).pytest()

# Helpers of tests: collecting them for doctests would import them, and define their node types, twice.
collect_ignore = [
    f"tests/{name}.py"
    for name in ("bench", "bits", "clocked", "forward_mode", "random_schedules", "strategies")
]

# Compiling takes longer than hypothesis expects of one example. What machines check is the same each
# time, so that a change is refused for what it changed; new examples are looked for by `make fuzz`.
settings.register_profile("amp", deadline=None)
settings.register_profile("machines", deadline=None, max_examples=1_000, derandomize=True)
settings.register_profile("fuzz", deadline=None, max_examples=5_000)
settings.load_profile("machines" if os.environ.get("CI") else "amp")
