"""Passes: each one a function in its own file, a valid kernel in, a valid kernel out."""

from __future__ import annotations

from amp.jit.passes.expand_elementary import expand_elementary
from amp.jit.passes.hoist import hoist_invariants
from amp.jit.passes.prune import prune

__all__ = ["expand_elementary", "hoist_invariants", "prune"]
