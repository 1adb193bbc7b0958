"""Programs in PyTorch's autograd."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import amp
from amp import nodes
from amp.errors import BadInput, BadValue, NotDifferentiable

torch: Any = pytest.importorskip("torch")
import amp.torch

GAIN = np.array([[0.5], [0.3]])


def graph() -> amp.Graph:
    g = amp.Graph(batch=2)
    cutoff = amp.Param(1800.0, name="cutoff")
    low = g.add(nodes.StateVariable("lowpass", q=0.9), g.input("x"), cutoff=cutoff)
    g.output("out", low * amp.Param(GAIN, name="gain"))
    g.output("side", np.tanh(low))
    return g


def noise(frames: int = 12, seed: int = 3) -> Any:
    array = np.random.default_rng(seed).normal(size=(2, 1, frames))
    return torch.from_numpy(array).requires_grad_()


def number(value: Any) -> Any:
    return torch.tensor(value, dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize("plan", [False, True])
def test_gradcheck_passes(plan: bool) -> None:
    g = graph()
    f = amp.torch.function(amp.compile(g, amp.plan(g, 8) if plan else None))

    def work(x: Any, gain: Any, cutoff_in_khz: Any) -> Any:
        found = f({"x": x}, {"gain": gain, "cutoff": 1e3 * cutoff_in_khz})
        return found["out"], found["side"]

    assert torch.autograd.gradcheck(work, (noise(), number(GAIN), number(1.8)))


def test_it_is_the_program_bit_for_bit() -> None:
    program = amp.compile(graph())
    x = noise(300)
    found = amp.torch.function(program)({"x": x})
    expected = program.run({"x": x.detach().numpy()})
    np.testing.assert_array_equal(found["out"].detach().numpy(), expected["out"])


def test_no_copies_on_the_way_in_and_out(monkeypatch: pytest.MonkeyPatch) -> None:
    program = amp.compile(graph())
    seen = []
    run = type(program).run

    def spy(self: Any, inputs: Any, **more: Any) -> Any:
        result = run(self, inputs, **more)
        seen.append((inputs["x"], result["out"]))
        return result

    f = amp.torch.function(program)
    monkeypatch.setattr(type(program), "run", spy)
    x = noise()
    y = f({"x": x})["out"]
    assert seen[0][0].ctypes.data == x.data_ptr()
    assert seen[0][1].ctypes.data == y.data_ptr()


def test_every_call_is_from_a_fresh_state_unless_told_otherwise() -> None:
    program = amp.compile(graph())
    fresh, goes_on = amp.torch.function(program), amp.torch.function(program, reset=False)
    x = noise(40)
    whole = fresh({"x": x})["out"]
    np.testing.assert_array_equal(fresh({"x": x})["out"].detach(), whole.detach())
    parts = [goes_on({"x": x[..., :15]})["out"], goes_on({"x": x[..., 15:]})["out"]]
    np.testing.assert_array_equal(torch.cat(parts, 2).detach(), whole.detach())
    assert program.clock == 0


@pytest.mark.parametrize("reset", [True, False])
def test_gradients_of_calls_in_any_order(reset: bool) -> None:
    """The program remembers one run; the others are run again, from where they began."""
    x, cutoff = noise(30), number(900.0)
    f = amp.torch.function(amp.compile(graph()), reset=reset)
    one = f({"x": x[..., :10]}, {"cutoff": cutoff})["out"].pow(2).sum()
    two = f({"x": x[..., 10:]}, {"cutoff": 2.0 * cutoff})["out"].pow(2).sum()
    with torch.no_grad():
        f({"x": x}, {"cutoff": number(50.0)})
    (one + two).backward()

    again = amp.torch.function(amp.compile(graph()), reset=reset)
    total = torch.tensor(0.0, dtype=torch.float64)
    for piece, factor in ((x[..., :10], 1.0), (x[..., 10:], 2.0)):
        loss = again({"x": piece.detach()}, {"cutoff": factor * cutoff})["out"].pow(2).sum()
        total += torch.autograd.grad(loss, cutoff)[0]
    assert cutoff.grad.item() == pytest.approx(total.item(), rel=1e-12)


def test_params_that_are_left_out_stay_as_they_were_set() -> None:
    program = amp.compile(graph())
    program.set("cutoff", 500.0)
    f = amp.torch.function(program)
    x = noise(50)
    f({"x": x}, {"cutoff": number(5000.0)})
    expected = program.run({"x": x.detach().numpy()})["out"]
    np.testing.assert_array_equal(f({"x": x})["out"].detach(), expected)


def test_single_precision_is_converted_and_so_is_its_gradient() -> None:
    x = torch.ones(2, 1, 5, requires_grad=True)
    y = amp.torch.function(amp.compile(graph()))({"x": x})["out"]
    y.sum().backward()
    assert y.dtype == torch.float64
    assert x.grad.dtype == torch.float32


def test_an_output_may_be_changed_in_place() -> None:
    x = noise()
    y = amp.torch.function(amp.compile(graph()))({"x": x})["out"]
    y *= 2.0
    y.sum().backward()
    assert x.grad.abs().sum() > 0


def test_second_derivatives_are_refused() -> None:
    x = noise()
    y = amp.torch.function(amp.compile(graph()))({"x": x})["side"]
    (slope,) = torch.autograd.grad(y.pow(2).sum(), x, create_graph=True)
    with pytest.raises(NotDifferentiable, match="first derivatives, and no second ones"):
        slope.sum().backward()


def test_a_change_of_what_was_given_is_noticed() -> None:
    x = noise()
    y = amp.torch.function(amp.compile(graph()))({"x": x})["out"].sum()
    with torch.no_grad():
        x += 1.0
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.backward()


@pytest.mark.parametrize(
    ("inputs", "params", "error", "words"),
    [
        ({}, {}, BadInput, "a run is given each input"),
        ({"x": np.ones((2, 1, 5))}, {}, BadInput, "input 'x' is a tensor"),
        ({"x": torch.ones(2, 1, 5, dtype=torch.int64)}, {}, BadInput, "real floating point"),
        ({"x": torch.ones(2, 1, 5, device="meta")}, {}, BadInput, "is on the CPU"),
        ({"x": torch.ones(1, 1, 5)}, {}, BadInput, "has shape"),
        ({"x": torch.ones(2, 1, 5)}, {"q": torch.ones(())}, BadValue, "no parameter 'q'"),
        ({"x": torch.ones(2, 1, 5)}, {"gain": torch.ones(())}, BadValue, "keeps its shape"),
    ],
)
def test_what_does_not_fit_is_refused_at_the_callers_line(
    inputs: Any, params: Any, error: Any, words: str
) -> None:
    with pytest.raises(error, match=words) as caught:
        amp.torch.function(amp.compile(graph()))(inputs, params)
    assert "site-packages" not in str(caught.value)


def test_a_graph_without_inputs_is_told_how_many_frames() -> None:
    g = amp.Graph()
    g.output("out", g.add(nodes.Sine(), amp.Param(440.0, name="pitch")))
    f = amp.torch.function(amp.compile(g))
    pitch = number(440.0)
    y = f(params={"pitch": pitch}, frames=100)["out"]
    (y * torch.arange(100)).sum().backward()
    t = np.arange(100)
    slope = np.sum(t * np.cos(2 * np.pi * 440.0 / 48e3 * t) * 2 * np.pi * t / 48e3)
    assert pitch.grad.item() == pytest.approx(slope, rel=1e-9)
