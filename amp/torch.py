"""Programs as PyTorch functions: ``import amp.torch``. Needs PyTorch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from amp.arrays import check_shapes
from amp.errors import BadInput, NotDifferentiable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from amp.program import Program
    from amp.result import State

__all__ = ["function"]


def function(program: Program, *, reset: bool = True) -> Callable[..., dict[str, torch.Tensor]]:
    """A differentiable PyTorch function of a program's inputs and params.

    It is called ``f(inputs, params, frames=None)`` and returns tensors by output,
    ``(batch, channel, frame)``. ``inputs`` are tensors by input; ``params`` are tensors by param, of the
    params' own shapes, and those left out stay as they were set. ``frames`` is needed only without inputs.

    It runs a clone, with the params that the program has now; the program is left alone. Tensors live on the
    CPU. Those of contiguous float64 are not copied, and neither are outputs; others of floating point are
    converted, and their gradients too. There is no second derivative.

    Parameters
    ----------
    program
        A compiled graph.
    reset
        True: each call is from a fresh state. False: each goes on where the last one ended, and gradients
        stop at its beginning (truncated backpropagation through time).

    Raises
    ------
    BadInput, BadValue
        When called: unknown or missing names, wrong shapes, dtypes or devices.
    NotDifferentiable
        When a gradient is asked for that there is none of, a second derivative for one.

    Examples
    --------
    >>> import amp
    >>> import amp.torch
    >>> g = amp.Graph()
    >>> g.output("out", amp.Param(0.5, name="gain") * g.input("x"))
    >>> f = amp.torch.function(amp.compile(g))
    >>> gain = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    >>> y = f({"x": torch.ones(1, 1, 4, dtype=torch.float64)}, {"gain": gain})["out"]
    >>> (y**2).sum().backward()
    >>> y.detach().numpy(), gain.grad
    (array([[[0.5, 0.5, 0.5, 0.5]]]), tensor(4., dtype=torch.float64))
    """
    runs = _Runs(program.clone(), reset=reset)

    def call(
        inputs: Mapping[str, torch.Tensor] | None = None,
        params: Mapping[str, torch.Tensor] | None = None,
        *,
        frames: int | None = None,
    ) -> dict[str, torch.Tensor]:
        given, values = inputs or {}, params or {}
        tensors = [_checked(f"input {name!r}", one) for name, one in given.items()]
        tensors += [_checked(f"param {name!r}", one) for name, one in values.items()]
        check_shapes({name: tuple(one.shape) for name, one in values.items()}, runs.program.params)
        run = _Run(runs, tuple(given), tuple(values), frames)
        record = torch.is_grad_enabled() and any(one.requires_grad for one in tensors)
        outputs = run.forward(tensors, record=record)
        found = _Function.apply(run, tuple(outputs.values()), *tensors)
        return dict(zip(outputs, found, strict=True))

    return call


class _Runs:
    """A program, and the run that it can go back over."""

    def __init__(self, program: Program, *, reset: bool) -> None:
        self.program, self.reset, self.params = program, reset, program.params
        self.last: _Run | None = None


class _Run:
    """One call: what it is given, and, if it goes on from another, the state it begins in."""

    def __init__(
        self, runs: _Runs, inputs: tuple[str, ...], params: tuple[str, ...], frames: int | None
    ) -> None:
        self.runs, self.inputs, self.params, self.frames = runs, inputs, params, frames
        self.outputs: tuple[str, ...] = ()
        self.start: State | None = None

    def forward(self, tensors: Sequence[torch.Tensor], *, record: bool) -> dict[str, torch.Tensor]:
        program, arrays = self.runs.program, [tensor.detach().numpy() for tensor in tensors]
        inputs, params = arrays[: len(self.inputs)], arrays[len(self.inputs) :]
        if self.runs.reset:
            program.reset()
        program.update(self.runs.params | dict(zip(self.params, params, strict=True)))
        if record and not self.runs.reset:
            self.start = program.state()
        self.runs.last = None
        result = program.run(
            dict(zip(self.inputs, inputs, strict=True)), frames=self.frames, record=record
        )
        self.runs.last = self if record else None
        self.outputs = tuple(result)
        return {name: torch.from_numpy(array) for name, array in result.items()}

    def backward(
        self, tensors: Sequence[torch.Tensor], cotangents: Sequence[torch.Tensor]
    ) -> tuple[torch.Tensor, ...]:
        program = self.runs.program
        given = {
            name: one.detach().numpy() for name, one in zip(self.outputs, cotangents, strict=True)
        }
        if self.runs.last is self:
            gradients = program.backward(given)
        else:  # another call came in between: this one is run again
            now = program.state()
            if self.start is not None:
                program.restore(self.start)
            self.forward(tensors, record=True)
            gradients = program.backward(given)
            program.restore(now)
        found = [gradients.inputs[name] for name in self.inputs]
        found += [gradients.params[name] for name in self.params]
        return tuple(torch.from_numpy(array) for array in found)


class _Function(torch.autograd.Function):  # type: ignore[misc]
    """Outputs of a run that is over, as functions of what it was given."""

    @staticmethod
    def forward(
        ctx: Any, run: _Run, outputs: tuple[torch.Tensor, ...], *tensors: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        ctx.run = run
        ctx.save_for_backward(*tensors)
        return outputs

    @staticmethod
    def backward(ctx: Any, *cotangents: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        found = _Backward.apply(ctx.run, *cotangents, *ctx.saved_tensors)
        return None, None, *found


class _Backward(torch.autograd.Function):  # type: ignore[misc]
    """A function of its own, so that a second derivative is refused, and not wrong."""

    @staticmethod
    def forward(_: Any, run: _Run, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        count = len(run.outputs)
        return run.backward(tensors[count:], tensors[:count])

    @staticmethod
    def backward(_: Any, *__: torch.Tensor) -> None:
        raise NotDifferentiable(
            "a program has first derivatives, and no second ones",
            where="amp.torch.function",
            fix="call backward or grad with create_graph=False",
        )


def _checked(what: str, tensor: torch.Tensor) -> torch.Tensor:
    """Contiguous float64 of a tensor, itself if it is."""
    if not isinstance(tensor, torch.Tensor):
        raise BadInput(f"{what} is a tensor", got=repr(type(tensor)), fix="torch.as_tensor(x)")
    if tensor.device.type != "cpu":
        raise BadInput(f"{what} is on the CPU", got=str(tensor.device), fix="call .cpu() on it")
    if not tensor.is_floating_point():
        raise BadInput(f"{what} is of real floating point", got=str(tensor.dtype))
    return tensor.double().contiguous()
