"""What is one number for all lanes, and choices by it: a branch, in which only one arm is computed."""

from __future__ import annotations

from collections import defaultdict
from itertools import chain
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

    from amp.ir import Kernel, Value

    Arms = tuple[list[Value], list[Value]]


def one_numbers(kernel: Kernel, comparisons: Collection[str]) -> set[int]:
    """Uniform tokens, and comparisons of such with each other and with constants: by index."""
    found: set[int] = set()
    for value in kernel.values:
        attribute: object = value.attribute
        if value.op == "inlet" and isinstance(attribute, tuple):
            if kernel.inlets[attribute[0]].mode == "uniform":
                found.add(value.index)
        elif value.op in comparisons:
            varying = [v for v in value.operands if v.op != "const"]
            if varying and all(v.index in found for v in varying):
                found.add(value.index)
    return found


def arms(kernel: Kernel, numbers: set[int], pure: Collection[str]) -> dict[int, Arms]:
    """What only one arm of a choice needs, in order, for each choice by one of ``numbers``."""
    users: dict[int, set[int]] = defaultdict(set)
    for value in kernel.values:
        for operand in value.operands:
            users[operand.index].add(value.index)
    for value in (*kernel.nexts, *chain.from_iterable(kernel.stores + kernel.powers)):
        users[value.index].add(-1)
    found: dict[int, Arms] = {}
    taken: set[int] = set()
    for place, choice in enumerate(kernel.values):
        if choice.op != "select" or choice.operands[0].index not in numbers:
            continue
        both: Arms = ([], [])
        for arm, end in zip(both, choice.operands[1:], strict=True):
            inside: set[int] = set()
            others = taken | numbers
            for value in reversed(kernel.values[:place]):
                wanted = {choice.index} if value is end else inside
                mine = users[value.index] <= wanted and value.index not in others
                if mine and value.varies and value.op in pure:
                    arm.insert(0, value)
                    inside.add(value.index)
            taken |= inside
        found[choice.index] = both
    return found
