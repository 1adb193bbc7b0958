"""W6 in PyTorch: torchlpc for the recursive part of each biquad, shifted sums for the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks import gradient
from benchmarks.harness import Array, Candidate, NotInstalledError, Pieces, Player

if TYPE_CHECKING:
    from collections.abc import Iterator


def candidates(sections: Array) -> list[Candidate]:
    """The one candidate, on one thread."""

    def make(pieces: Pieces) -> Player:
        try:
            import torch
            from torchlpc import sample_wise_lpc
        except ImportError as missing:
            raise NotInstalledError(str(missing.name)) from missing
        torch.set_num_threads(1)
        x = torch.from_numpy(pieces[0]).requires_grad_()
        c = torch.from_numpy(sections.copy()).requires_grad_()

        def play() -> Iterator[Array]:
            x.grad = c.grad = None
            y = x
            for b0, b1, b2, a1, a2 in c:
                late = torch.nn.functional.pad(y, (2, 0))
                driven = b0 * y + b1 * late[:, 1:-1] + b2 * late[:, :-2]
                poles = torch.stack([a1, a2]).expand(*y.shape, 2)
                y = sample_wise_lpc(driven, poles)
            value = torch.mean(y * y)
            value.backward()
            yield gradient.answer(value.item(), c.grad.numpy(), x.grad.numpy())

        return play

    return [Candidate("torchlpc", "torch", make)]
