"""Node types of a user's own: what goes wrong in them is said, and never baked into shared code."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import amp
from amp import nodes
from amp.contract import REGISTRY
from amp.errors import AmpError, BadNode


@pytest.fixture(autouse=True)
def _no_types_are_left() -> Any:
    before = dict(REGISTRY)
    yield
    REGISTRY.clear()
    REGISTRY.update(before)


def compile_with(forward: Any, outlets: tuple[str, ...] = ("out",), **members: Any) -> amp.Graph:
    """Compile a graph around a node type made of ``forward``."""
    body = {"inlets": (amp.Inlet("input"),), "forward": forward, "outlets": outlets, **members}
    kind = type("Own", (amp.NodeType,), body)
    g = amp.Graph()
    made = g.add(kind(), g.input("x"))
    g.output("out", made[0] if isinstance(made, tuple) else made)
    amp.compile(g)
    return g


@pytest.mark.parametrize(
    "forward, words",
    [
        (lambda self, b, x: (x, 2.0 * x), "returns a value for each outlet"),
        (lambda self, b, x: None, "returns a value for each outlet"),
        (lambda self, b, x: x < 1.0, "b.select(condition, 1.0, 0.0)"),
        (lambda self, b, x: x**2, "write b.sin(x) and x * x"),
        (lambda self, b, x: np.sin(x), "write b.sin(x) and x * x"),
        (lambda self, b: 1.0, "is made of the operations of its first argument"),
        (lambda self, b, x: "x", "returns numbers that it made"),
        (lambda self, b, x: b.tap(b.line("m", x, 100), 101), "a tap reads within its line"),
        (lambda self, b, x: b.tap(b.line("m", x, 100), -1), "a tap reads within its line"),
    ],
)
def test_a_wrong_forward_is_named_with_its_line(forward: Any, words: str) -> None:
    with pytest.raises(BadNode) as caught:
        compile_with(forward)
    assert words in str(caught.value)
    assert f"'own.0' (Own, {__file__}" in str(caught.value)


def test_too_few_outlets_are_refused() -> None:
    with pytest.raises(BadNode, match="returns a value for each outlet"):
        compile_with(lambda self, b, x: x, outlets=("left", "right"))


@pytest.mark.parametrize("value", [2.0, amp.Param(2.0, name="g"), [1.0, 2.0]])
def test_a_param_is_read_through_the_trace(value: Any) -> None:
    """Nodes that differ in it share a kernel: its value must not get into the code."""
    members = {"__annotations__": {"level": "float"}, "level": value, "params": ("level",)}
    for forward in (
        lambda self, b, x: x * self.level,
        lambda self, b, x: self.level * x,
        lambda self, b, x: x * float(self.level),
        lambda self, b, x: x if self.level else 2.0 * x,
    ):
        with pytest.raises(BadNode, match=r"b\.param\('level'\)"):
            compile_with(forward, **members)


def test_what_is_no_param_takes_none() -> None:
    with pytest.raises(BadNode, match="declare 'mode' in the type's params"):
        nodes.OnePole(mode=amp.Param(1.0, name="m"))


def test_a_type_is_checked_when_it_is_defined() -> None:
    with pytest.raises(BadNode, match=r"tuple of amp\.Inlet"):
        type("Own", (amp.NodeType,), {"inlets": ("input",)})
    with pytest.raises(BadNode, match="params names attributes"):
        type("Own", (amp.NodeType,), {"params": ("gian",)})


def test_numpy_functions_of_streams_are_nodes() -> None:
    g = amp.Graph()
    x: Any = g.input("x")
    y: Any = g.input("y")
    made: dict[str, tuple[Any, Any]] = {
        "a": (np.tanh(x), np.tanh),
        "b": (np.minimum(x, 0.25 * y), lambda x, y: np.minimum(x, 0.25 * y)),
        "c": (np.array([[2.0]]) * x, lambda x: 2 * x),
        "d": (np.clip(x, -0.5, 0.5), lambda x: np.clip(x, -0.5, 0.5)),
        "e": (np.abs(-x) ** 2.0, np.square),
    }
    for name, (stream, _) in made.items():
        g.output(name, stream)
    rng = np.random.default_rng(0)
    given = {name: rng.normal(size=(1, 1, 50)) for name in "xy"}
    result = amp.compile(g).run(given)
    for name, (_, function) in made.items():
        both = (given["x"], given["y"])
        want = function(*both[: 2 if name == "b" else 1])
        np.testing.assert_allclose(result[name], want, rtol=1e-14)
    with pytest.raises(TypeError):
        np.hypot(x, y)
    with pytest.raises(AmpError, match="no truth value"):
        bool(x)
