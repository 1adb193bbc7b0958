"""Slots: the numbers per lane that a kernel takes from its nodes, by name.

A slot is called ``group.plane.name``, where the name is an inlet, an entry of one of the node's own
arrays, or ``lane``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from amp.contract import Param

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from amp.ir import BlockCall
    from amp.jit.lowered import Call


def slot_values(
    call: Call, name: str, batch: int, params: dict[str, NDArray[np.float64]]
) -> NDArray[Any]:
    """What slot ``name`` holds in each lane; ``params`` overrides the values of `Param`s."""
    number, plane, rest = name.split(".", 2)
    group = call.groups[int(number)]
    channels, parts, planes = group.first.channels, group.parts, group.planes
    picked = np.arange(parts) * planes + int(plane)
    if rest == "lane":
        lane = np.arange(batch)[:, None] * channels + picked
        return np.tile(lane.ravel(), len(group.members))
    inlets = [inlet.name for inlet in type(group.first.type).inlets]
    inlet, _, channel = rest.partition(".")
    if inlet in inlets and (channel or inlet == rest):
        position = inlets.index(inlet)
        if channel:
            picked = np.array([int(channel)])
        raw = [value_now(node.sources[position], params) for node in group.members]
    else:
        attribute, _, index = rest.partition("[")
        raw = [value_now(getattr(node.type, attribute), params) for node in group.members]
        if index:
            at = tuple(map(int, index[:-1].split(",")))
            raw = [value[at] for value in raw]
        return np.repeat(np.array(raw), batch * parts * group.spread)
    if all(np.ndim(value) == 0 for value in raw):
        return np.repeat(np.array(raw, np.float64), batch * parts)
    spread = [
        np.broadcast_to(v, (batch, max(np.shape(v)[1] if np.ndim(v) else 1, int(picked.max()) + 1)))
        if np.ndim(v) == 0 or np.shape(v)[1] == 1
        else np.broadcast_to(v, (batch, np.shape(v)[1]))
        for v in raw
    ]
    return np.concatenate([s[:, picked].ravel() for s in spread])


def node_tables(
    call: Call, block: BlockCall, batch: int, params: dict[str, NDArray[np.float64]]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What the nodes of the call of a block are given: of their own params (node, number), and of constants
    what each lane has, one after another, inlet by inlet."""
    group = call.groups[0]
    names = [name.split(".", 2)[2] for name, _ in block.tables[:-1]]
    inlets = [inlet.name for inlet in type(group.first.type).inlets]
    own, constants = [], []
    for node in group.members:
        rows = [np.ravel(value_now(getattr(node.type, name), params)) for name in names]
        own.append(np.concatenate([np.zeros(0), *rows]))
        rows = [np.zeros(0)]
        for name, planes in block.constants:
            value = np.asarray(value_now(node.sources[inlets.index(name)], params))
            shape = batch, planes if node.type.channels == "all" else group.parts
            rows.append(np.broadcast_to(value, shape).ravel())
        constants.append(np.concatenate(rows))
    return np.array(own), np.array(constants)


def value_now(source: Any, params: Mapping[str, NDArray[np.float64]]) -> Any:
    """What a constant or attribute is when ``params`` are set."""
    return params.get(source.name, source.value) if isinstance(source, Param) else source
