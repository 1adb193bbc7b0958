"""State space systems against SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import signal

import amp
from amp import nodes
from amp.errors import BadNode


@pytest.mark.parametrize("block", [0, 64])
def test_it_is_scipys_discrete_system(block: int) -> None:
    """A random stable system of 6 states, 3 inputs and 2 outputs."""
    rng = np.random.default_rng(1)
    a = rng.normal(size=(6, 6))
    a *= 0.9 / abs(np.linalg.eigvals(a)).max()
    b, c, d = rng.normal(size=(6, 3)), rng.normal(size=(2, 6)), rng.normal(size=(2, 3))
    u = rng.normal(size=(2, 3, 500))
    g = amp.Graph(batch=2)
    g.output("out", g.add(nodes.StateSpace(a, b, c, d), g.input("u", channels=3)))
    got = amp.compile(g, amp.plan(g, block) if block else None).run({"u": u})["out"]
    for each, inputs in zip(got, u, strict=True):
        _, want, _ = signal.dlsim((a, b, c, d, 1.0), inputs.T)
        np.testing.assert_allclose(each, want.T, atol=1e-11)


def test_a_filter_is_a_system() -> None:
    """An elliptic low-pass, as its state space and as its transfer function."""
    system = signal.ellip(5, 0.5, 60, 0.2, output="ba")
    g = amp.Graph()
    g.output("out", g.add(nodes.StateSpace(*signal.tf2ss(*system)), g.input("x")))
    x = np.random.default_rng(2).normal(size=400)
    got = amp.compile(g).run({"x": x.reshape(1, 1, -1)})["out"][0, 0]
    np.testing.assert_allclose(got, signal.lfilter(*system, x), atol=1e-11)


def test_matrices_can_be_set_between_runs() -> None:
    g = amp.Graph()
    a = amp.Param([[0.0, 1.0], [-1.0, 0.0]], name="a")
    node = nodes.StateSpace(a, [[1.0], [0.0]], [[1.0, 0.0]], [[0.0]])
    g.output("out", g.add(node, g.input("u")))
    program = amp.compile(g)
    impulse = np.array([[[1.0, 0.0, 0.0, 0.0, 0.0]]])
    np.testing.assert_array_equal(program.run({"u": impulse})["out"][0, 0], [0, 1, 0, -1, 0])
    program.set("a", np.zeros((2, 2)))
    program.reset()
    np.testing.assert_array_equal(program.run({"u": impulse})["out"][0, 0], [0, 1, 0, 0, 0])


def test_channels_are_those_of_its_matrices() -> None:
    g = amp.Graph()
    node = nodes.StateSpace([[0.5]], [[1.0, 1.0]], [[1.0]], [[0.0, 0.0]])
    with pytest.raises(BadNode, match=r"StateSpace\.B has a column for each input channel"):
        g.add(node, g.input("u", channels=3))
    g.output("out", g.add(node, [g.input("left"), g.input("right")]))
    assert amp.compile(g).outputs == {"out": (1, 1)}
