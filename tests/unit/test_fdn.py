"""Feedback delay networks against their transfer function, and what they promise about decay."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

import amp
from amp.errors import BadNode
from amp.nodes.fdn import FDN
from amp.testing import check_grads

if TYPE_CHECKING:
    from bits import Array

RATE = 8000
DELAYS = (149, 211, 263, 293)


def room(decay: float, damping: float, frames: int, block: int = 0) -> Array:
    """Impulse response: of one input in two outputs."""
    g = amp.Graph(RATE)
    node = FDN(DELAYS, FDN.hadamard(4), [[1.0], [0.5], [-1.0], [2.0]], np.eye(2, 4) + 0.1)
    g.output("out", g.add(node, g.input("x"), decay=decay, damping=damping))
    x = np.zeros((1, 1, frames))
    x[..., 0] = 1.0
    out: Array = amp.compile(g, amp.plan(g, block) if block else None).run({"x": x})["out"][0]
    return out


@pytest.mark.parametrize("block", [0, 32])
def test_its_impulse_response_is_that_of_its_transfer_function(block: int) -> None:
    """H(z) = C (1 - F A)^-1 F B, with F the lines and their filters; after 2^14 frames nothing is left."""
    decay, damping, count = 0.2, 0.05, 1 << 14
    z = np.exp(2j * np.pi * np.arange(count // 2 + 1) / count)
    d = np.array(DELAYS)
    low, high = (10 ** (-3 * d / (RATE * t)) for t in (decay, damping))
    pole = (low - high) / (low + high)
    f = z[:, None] ** -d * low * (1 - pole) / (1 - pole / z[:, None])
    a = 0.5 * np.array([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]])
    loop = np.eye(4) - f[:, :, None] * a
    into = f * np.array([1.0, 0.5, -1.0, 2.0])
    h = (np.eye(2, 4) + 0.1) @ np.linalg.solve(loop, into[:, :, None])
    want = np.fft.irfft(h[:, :, 0].T, count)
    np.testing.assert_allclose(room(decay, damping, count, block), want, atol=1e-12)


def test_all_of_it_decays_by_60_db_in_its_time() -> None:
    """Without damping it is the network that rings for ever, times a falling exponential."""
    forever = room(1e12, 1e12, 4000)
    falling = room(0.3, 0.3, 4000)
    k = np.arange(4000)
    np.testing.assert_allclose(falling, forever * 10 ** (-3 * k / (0.3 * RATE)), atol=1e-9)


def test_at_no_loss_its_energy_stays() -> None:
    """Each frame as much energy goes into the lines as comes out of them."""
    g = amp.Graph(RATE)
    delays = (3, 5, 8)
    node = FDN(delays, np.ones(3), [[1.0], [2.0], [0.5]], np.eye(3))
    g.output("out", g.add(node, g.input("x"), decay=1e15, damping=1e15))
    x = np.zeros((1, 1, 4000))
    x[..., 0] = 1.0
    out = amp.compile(g).run({"x": x})["out"][0]
    energy = [
        sum((out[i, k : k + d] ** 2).sum() for i, d in enumerate(delays)) for k in (1, 100, 3900)
    ]
    np.testing.assert_allclose(energy, 1 + 4 + 0.25, rtol=1e-9)


def test_its_matrices_are_orthogonal() -> None:
    eight = FDN.hadamard(8)
    np.testing.assert_allclose(eight @ eight.T, np.eye(8), atol=1e-15)
    np.testing.assert_allclose(abs(FDN.hadamard(16)), 0.25)
    with pytest.raises(BadNode, match="a Hadamard matrix has a power of two of rows"):
        FDN.hadamard(6)


def test_channels_are_those_of_its_matrices() -> None:
    g = amp.Graph()
    node = FDN((3,), [[0.5]], [[1.0, 1.0]], [[1.0]])
    with pytest.raises(BadNode, match=r"FDN\.inputs has a column for each input channel"):
        g.add(node, g.input("x"))


def test_it_is_learnt() -> None:
    g = amp.Graph(RATE)
    matrix = amp.Param(0.6 * FDN.hadamard(2), name="matrix")
    decay = amp.Param(0.02, name="decay")
    node = FDN((5, 8), matrix, [[1.0], [1.0]], [[1.0, -1.0]])
    g.output("out", g.add(node, g.input("x"), decay=decay, damping=0.01))
    x = np.random.default_rng(1).normal(size=(1, 1, 60))
    check_grads(amp.compile(g), {"x": x})
