"""Sums of products, as nodes with many coefficients share them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from amp.contract import Trace
    from amp.ir import Value

CHAINS = 8


def dot(b: Trace, terms: Sequence[tuple[Value | float, Value]]) -> Value:
    """Sum of the products of pairs: pair i is a fused multiply-add in chain i mod 8, and the chains are added
    as ``tree_sum`` says. (One chain would wait for itself at every step.)"""
    chains = [b.const(-0.0)] * min(CHAINS, len(terms))
    for i, (x, y) in enumerate(terms):
        chains[i % CHAINS] = b.fma(x, y, chains[i % CHAINS])
    return b.tree_sum(chains)
