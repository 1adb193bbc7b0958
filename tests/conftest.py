"""Golden files, which ``pytest --update-golden`` writes anew; firings of the KPN that are short."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

GOLDEN = Path(__file__).parent / "golden"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write tests/golden anew")


@pytest.fixture(autouse=True, scope="module")
def _short_firings(request: pytest.FixtureRequest) -> Iterator[None]:
    """In laws and properties the KPN fires 64 frames at a time, so that a few hundred go round its rings."""
    short = request.path.parent.name in {"laws", "props"}
    with mock.patch("amp.pipeline.KPN_FRAMES", 64) if short else nullcontext():
        yield


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """``golden(name, text)`` compares ``text`` with the file ``tests/golden/<name>``."""

    def compare(name: str, text: str) -> None:
        path = GOLDEN / name
        if request.config.getoption("--update-golden"):
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert path.exists(), f"no golden file {name}: run pytest --update-golden and review it"
        assert text == path.read_text(encoding="utf-8"), f"{name} differs: see --update-golden"

    return compare
