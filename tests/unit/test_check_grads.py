"""check_grads passes what is right, and names what is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import amp
from amp import nodes
from amp.errors import BadInput, BadValue, WrongGradient
from amp.program import Program

if TYPE_CHECKING:
    from collections.abc import Callable

    from amp.result import Gradients


def echo() -> amp.Graph:
    """Filter, delay line, loop, and params of every kind."""
    g = amp.Graph(batch=2)
    x = g.input("x")
    cutoff = amp.Param(1800.0, name="cutoff")
    low = g.add(nodes.StateVariable("lowpass", q=0.9), x, cutoff=cutoff, name="low")
    line = g.add(nodes.Delay(20, delay=11.0), low, name="line")
    back = g.feedback()
    y = g.add(nodes.Add(), low, 0.5 * amp.edge(back, initial=5), name="y")
    back.connect(y * amp.Param(np.array([[0.4], [0.7]]), name="return"))
    g.output("out", y)
    g.output("late", np.tanh(line))
    return g


def test_a_right_gradient_passes() -> None:
    amp.testing.check_grads(echo())


def test_a_program_is_checked_in_its_state_and_left_alone() -> None:
    program = amp.compile(echo(), amp.plan(echo(), 32))
    program.run({"x": np.ones((2, 1, 90))})
    amp.testing.check_grads(program, {"x": np.random.default_rng(2).normal(size=(2, 1, 40))})
    assert program.clock == 90


def wrong(change: Callable[[Gradients], None]) -> Any:
    """`Program.backward` with something done to it."""
    right = Program.backward

    def backward(self: Program, *args: Any, **more: Any) -> Gradients:
        gradients = right(self, *args, **more)
        change(gradients)
        return gradients

    return backward


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda g: g.inputs["x"].__imul__(1.0 + 1e-5), "input 'x'"),
        (lambda g: g.params.update(cutoff=-g.params["cutoff"]), "param 'cutoff'"),
        (lambda g: g.params["return"].__imul__(0.0), "param 'return'"),
        (lambda g: g.state.nodes["low"]["s1"].__iadd__(1e-3), "state 's1' of node 'low'"),
        (lambda g: g.state.lines["line"]["memory"].__imul__(1.01), "state 'memory' of node 'line'"),
        (
            lambda g: [e.__imul__(1.01) for e in g.state.edges.values()],
            "the tokens in flight on edge 0",
        ),
        (lambda g: g.inputs["x"].fill(np.nan), "input 'x'"),
    ],
)
def test_a_wrong_gradient_is_named_with_both_numbers(
    change: Callable[[Gradients], None], named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Program, "backward", wrong(change))
    with pytest.raises(WrongGradient) as caught:
        amp.testing.check_grads(echo())
    message = str(caught.value)
    assert f"the derivative along {named}" in message
    assert "by finite differences" in message
    assert "by backward" in message


def test_a_wrong_node_is_found() -> None:
    """Its forward rounds, so that what it does is not what its derivative says."""

    class Stepped(amp.NodeType, register=False):
        """``y = floor(100 x) / 100``."""

        inlets = (amp.Inlet("input"),)

        def forward(self, b: Any, x: Any) -> Any:
            return b.floor(100.0 * x) / 100.0

    g = amp.Graph()
    g.output("out", g.add(Stepped(), g.input("x")))
    with pytest.raises(WrongGradient, match="input 'x'"):
        amp.testing.check_grads(g)


def test_what_cannot_be_checked_is_refused() -> None:
    with pytest.raises(BadValue, match="step is a positive number"):
        amp.testing.check_grads(echo(), step=0.0)
    with pytest.raises(BadInput, match="real arrays by name"):
        amp.testing.check_grads(echo(), {"x": "noise"})
