"""Taking what depends on parameters alone out of a kernel.

Coefficients change when a parameter is set, not from block to block. They are computed by a kernel of
their own, once, and the main kernel finds them among its parameters.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from amp.ir import Builder, Kernel, OutPort, ancestors

if TYPE_CHECKING:
    from amp.ir import Value
    from amp.ir.ops import Type

PREPARED = "="
"""First letter of the name of a parameter that the preparing kernel writes."""


def hoist_invariants(kernel: Kernel) -> tuple[Kernel | None, Kernel]:
    """The kernel that prepares coefficients (None if there are none), and the rest.

    The preparing kernel stores coefficient i to plane i of its only port.

    Examples
    --------
    >>> from amp.ir import parse_kernel, print_kernel
    >>> prepare, main = hoist_invariants(parse_kernel('''in 0 aligned 1
    ... out 0 ring 1
    ... param a f64
    ... %0 = inlet 0.0
    ... %1 = param a
    ... %2 = sqrt %1
    ... %3 = mul %0 %2
    ... store 0.0 %3'''))
    >>> print(print_kernel(prepare))
    out 0 ring 1
    param a f64
    %0 = param a
    %1 = sqrt %0
    store 0.0 %1
    >>> print(print_kernel(main))
    in 0 aligned 1
    out 0 ring 1
    param =0 f64
    %0 = inlet 0.0
    %1 = param =0
    %2 = mul %0 %1
    store 0.0 %2
    """
    border = _border(kernel)
    if not border:
        return None, kernel
    types = dict(kernel.params)
    main, new = Builder(), dict[int, "Value"]()
    prepared = {value.index: f"{PREPARED}{i}" for i, value in enumerate(border)}
    for value in _needed(kernel, prepared):
        if value.index in prepared:
            new[value.index] = main.emit("param", attribute=prepared[value.index])
        else:
            operands = [new[operand.index] for operand in value.operands]
            new[value.index] = main.emit(value.op, *operands, attribute=value.attribute)
    rest = replace(
        kernel,
        values=tuple(main.values),
        params=tuple((name, types.get(name, "f64")) for name in sorted(_names(main), key=_rank)),
        nexts=tuple(new[value.index] for value in kernel.nexts),
        stores=tuple(tuple(new[value.index] for value in port) for port in kernel.stores),
        powers=tuple(tuple(new[value.index] for value in some) for some in kernel.powers),
    )
    return _preparing(border, types), rest


def _preparing(border: list[Value], types: dict[str, Type]) -> Kernel:
    builder, new = Builder(), dict[int, "Value"]()
    for value in ancestors(border):
        operands = [new[operand.index] for operand in value.operands]
        new[value.index] = builder.emit(value.op, *operands, attribute=value.attribute)
    return Kernel(
        tuple(builder.values),
        (),
        (OutPort("ring", len(border)),),
        tuple((name, types[name]) for name in _names(builder)),
        (),
        (),
        (),
        (tuple(new[value.index] for value in border),),
    )


def _border(kernel: Kernel) -> list[Value]:
    """Invariant numbers that the rest of the kernel uses; what is not a float is computed again."""
    found: dict[int, Value] = {}
    roots = {value.index for value in kernel.roots}
    pending = [value for value in kernel.values if value.varies or value.index in roots]
    seen: set[int] = set()
    while pending:
        value = pending.pop()
        if value.index in seen:
            continue
        seen.add(value.index)
        whole = value.index in roots and not value.varies and value.operands and value.type == "f64"
        for operand in (value,) if whole else value.operands:
            if operand.varies or not operand.operands:
                continue
            if operand.type == "f64":
                found[operand.index] = operand
            else:
                pending.append(operand)
    return [found[index] for index in sorted(found)]


def _needed(kernel: Kernel, cut: dict[int, str]) -> list[Value]:
    """Values of the main kernel, in order, down to where it is cut."""
    marked: set[int] = set()
    pending = list(kernel.roots)
    while pending:
        value = pending.pop()
        if value.index not in marked:
            marked.add(value.index)
            if value.index not in cut:
                pending += value.operands
    return [value for value in kernel.values if value.index in marked]


def _rank(name: str) -> int:
    """Coefficients come first, in order, so that they lie side by side."""
    return int(name[1:]) - (1 << 32) if name.startswith(PREPARED) else 0


def _names(builder: Builder) -> list[str]:
    """Parameters that a kernel's values name, in order."""
    return [str(v.attribute) for v in builder.values if v.op in {"param", "iparam"}]
