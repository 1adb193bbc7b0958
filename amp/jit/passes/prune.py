"""Removing values that no effect needs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from amp.ir import Builder

if TYPE_CHECKING:
    from amp.ir import Kernel, Value


def prune(kernel: Kernel) -> Kernel:
    """Keep what next states, stores and delay lines need; number values from 0. What only a derivative is
    made of (`as_if`) is not needed.

    Examples
    --------
    >>> from amp.ir import parse_kernel, print_kernel
    >>> print(print_kernel(prune(parse_kernel('''in 0 aligned 1
    ... out 0 ring 1
    ... %0 = inlet 0.0
    ... %1 = exp %0
    ... %2 = neg %0
    ... store 0.0 %2'''))))
    in 0 aligned 1
    out 0 ring 1
    %0 = inlet 0.0
    %1 = neg %0
    store 0.0 %1
    """
    if kernel.archetype:
        return kernel
    needed: set[int] = set()
    pending = [value.index for value in kernel.roots]
    by_index = {value.index: value for value in kernel.values}
    while pending:
        index = pending.pop()
        if index not in needed:
            needed.add(index)
            needs = by_index[index].operands
            if by_index[index].op == "as_if":
                needs = needs[:1]
            pending += [operand.index for operand in needs]
    builder = Builder()
    new: dict[int, Value] = {}
    for value in kernel.values:
        if value.index in needed and value.op == "as_if":
            new[value.index] = new[value.operands[0].index]
        elif value.index in needed:
            operands = [new[operand.index] for operand in value.operands]
            new[value.index] = builder.emit(value.op, *operands, attribute=value.attribute)
    used = {value.attribute for value in builder.values if value.op in {"param", "iparam"}}
    return replace(
        kernel,
        values=tuple(builder.values),
        params=tuple(slot for slot in kernel.params if slot[0] in used),
        nexts=tuple(new[value.index] for value in kernel.nexts),
        stores=tuple(tuple(new[value.index] for value in port) for port in kernel.stores),
        powers=tuple(tuple(new[value.index] for value in some) for some in kernel.powers),
    )
