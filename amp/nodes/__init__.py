"""Every node type of amp, one a file; discovered, so there is no list to edit."""

from __future__ import annotations

import importlib
import pkgutil

from amp.contract import NodeType


def _discover() -> dict[str, type[NodeType]]:
    found: dict[str, type[NodeType]] = {}
    for module in pkgutil.iter_modules(__path__):
        members = vars(importlib.import_module(f"{__name__}.{module.name}"))
        found.update(
            (name, item)
            for name, item in members.items()
            if isinstance(item, type)
            and issubclass(item, NodeType)
            and item.__module__ == f"{__name__}.{module.name}"
        )
    return found


NODE_TYPES = _discover()
"""The built-in node types by name."""

__all__ = ["NODE_TYPES"]


def __getattr__(name: str) -> type[NodeType]:
    try:
        return NODE_TYPES[name]
    except KeyError:
        raise AttributeError(f"amp.nodes has no node type {name!r}") from None


def __dir__() -> list[str]:
    return [*__all__, *NODE_TYPES]
