"""Node types of a user's own: what goes wrong in them is said, and never baked into shared code."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import amp
from amp import nodes
from amp.contract import REGISTRY
from amp.errors import AmpError, BadFile, BadNode


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


CELL = '''
class Own(amp.NodeType):
    """``y = 2 x + s; s <- y``."""

    level: float = 2.0
    params = ("level",)
    inlets = (amp.Inlet("input"),)

    def forward(self, b, x):
        y = b.param("level") * x + b.state("s")
        b.next("s", y)
        return y
'''


def run_cell(source: str, space: dict[str, Any]) -> None:
    """As a notebook does: the source is in no file."""
    exec(compile(source, "<cell 3>", "exec"), space)  # noqa: S102


def own_graph(space: dict[str, Any], name: str = "own") -> amp.Graph:
    g = amp.Graph()
    g.output("out", g.add(space["Own"](), g.input("x"), name=name))
    return g


@pytest.mark.parametrize("more", [{}, {"__name__": "__main__"}])
def test_a_class_may_come_from_a_cell_and_be_defined_again(more: dict[str, str]) -> None:
    space: dict[str, Any] = {"amp": amp, **more}
    run_cell(CELL, space)
    x = {"x": np.ones((1, 1, 3))}
    old = own_graph(space)
    program = amp.compile(old, amp.plan(old, 2))
    assert program.run(x)["out"].tolist() == [[[2.0, 4.0, 6.0]]]
    state = program.state()
    text = amp.graph_to_json(old)
    run_cell(CELL.replace("* x +", "* x * 10.0 +"), space)
    new = own_graph(space)
    assert amp.compile(new).run(x)["out"].tolist() == [[[20.0, 40.0, 60.0]]]
    assert amp.compile(old).run(x)["out"].tolist() == [[[2.0, 4.0, 6.0]]]
    assert amp.compile(amp.graph_from_json(text)).run(x)["out"].tolist() == [[[20.0, 40.0, 60.0]]]
    with pytest.raises(BadFile, match="each name is of one type"):
        amp.graph_to_json(old)
    program.swap(new)  # and keeps what it had summed up
    assert program.run(x)["out"].tolist() == [[[26.0, 46.0, 66.0]]]
    program.restore(state)
    assert program.run(x)["out"].tolist() == [[[26.0, 46.0, 66.0]]]


@pytest.mark.parametrize("block", [0, 4])
def test_two_definitions_of_a_name_live_in_one_graph(block: int) -> None:
    space: dict[str, Any] = {"amp": amp}
    g = amp.Graph()
    x = g.input("x")
    for number in range(3):
        run_cell(CELL.replace("* x +", f"* x * {number}.0 +"), space)
        for copy in range(3):
            g.output(f"{number}.{copy}", g.add(space["Own"](1.0 + copy), x))
    program = amp.compile(g, amp.plan(g, block) if block else None)
    result = program.run({"x": np.ones((1, 1, 5))})
    for number in range(3):
        for copy in range(3):
            want = number * (1.0 + copy) * np.arange(1.0, 6.0)
            assert result[f"{number}.{copy}"].tolist() == [[want.tolist()]]


@pytest.mark.parametrize(
    "body, words",
    [
        ("return x + unknown", "NameError: name 'unknown' is not defined"),
        ("return x if x > 0.0 else -x", "no truth value in Python"),
        ("return b.next('s', x)", "sets each of its states once"),
    ],
)
def test_an_error_in_a_cell_says_the_line_of_the_cell(body: str, words: str) -> None:
    head, _, _ = CELL.partition('        y = b.param("level")')
    space: dict[str, Any] = {"amp": amp}
    run_cell(f"{head}        {body}\n", space)
    g = own_graph(space)
    with pytest.raises(AmpError) as caught:
        amp.compile(g)
    assert words in str(caught.value)
    assert "node 'own' (Own, " in str(caught.value)
    line = head.count("\n") + 1
    assert f"at <cell 3>:{line}" in str(caught.value)


@pytest.mark.parametrize(
    "members, words",
    [
        ("inlets = amp.Inlet('input')", "inlets is a tuple"),
        ("outlets = 'out'", "write outlets = (one,) with a comma"),
        ("params = 'level'", "params is a tuple"),
        ("inlets = (amp.Inlet('in'),)", "names of their own, as in Python"),
        ("inlets = (amp.Inlet('a b'),)", "names of their own, as in Python"),
        ("inlets = (amp.Inlet('a'), amp.Inlet('a'))", "names of their own"),
        ("outlets = ('a', 'a')", "names of their own"),
        ("inlets = (amp.Inlet('level'),)", "names of their own"),
        ("forward: float = 1.0", "like a member of every node type"),
        ("given: float = 1.0", "like a member of every node type"),
        ("channels = 'al'", "channels is 'each' or 'all'"),
        ("processing_delay = -1", "whole number of frames"),
        ("processing_delay = 1.5", "whole number of frames"),
    ],
)
def test_a_wrong_declaration_is_refused_where_the_class_is(members: str, words: str) -> None:
    source = CELL + f"    {members}\n"
    with pytest.raises(BadNode) as caught:
        run_cell(source, {"amp": amp})
    assert words in str(caught.value)
    assert "where: <cell 3>:2" in str(caught.value)


@pytest.mark.parametrize(
    "forward, members, words",
    [
        (lambda self, b, x: [x], {}, "returns numbers that it made"),
        (lambda self, b, x: x[0], {"rate": lambda self, port: 2}, "a list"),
        (lambda self, b, x: x, {"channels": "all"}, "of as many channels"),
        (lambda self, b, x: x[0], {"channels": "all"}, "of as many channels"),
        (
            lambda self, b, x: [x[0]] * 3,
            {"channels": "all", "out_channels": lambda self, widths: 2},
            "of as many channels",
        ),
        (lambda self, b, x: x, {"out_channels": lambda self, widths: 0}, "whole number from 1"),
    ],
)
def test_forward_returns_what_the_class_declares(
    forward: Any, members: dict[str, Any], words: str
) -> None:
    if words == "of as many channels" and "out_channels" not in members:
        members = {**members, "out_channels": lambda self, widths: 2}
    with pytest.raises(BadNode) as caught:
        compile_with(forward, **members)
    assert words in str(caught.value)
    assert "node 'own.0' (Own" in str(caught.value)
