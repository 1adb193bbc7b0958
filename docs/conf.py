"""Sphinx settings. Notebooks run when the docs are built, and a failing cell fails the build."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amp import __version__, nodes

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "amp"
author = "the amp developers"
release = __version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
exclude_patterns = ["**/.ipynb_checkpoints"]

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 600

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
napoleon_numpy_docstring = True
napoleon_google_docstring = False
napoleon_use_ivar = True

NODE_TYPES = "<!-- node types -->"
"""Where ``reference/nodes.md`` gets an entry for each node type there is."""


def fill_node_types(app: Sphinx, name: str, source: list[str]) -> None:
    """Replace the mark in a page, so that a new node type appears without an edit."""
    entries = [
        f"```{{eval-rst}}\n.. autoclass:: {kind.__module__}.{kind.__qualname__}\n   :exclude-members:"
        f" __init__, __new__\n```\n"
        for _, kind in sorted(nodes.NODE_TYPES.items())
    ]
    source[0] = source[0].replace(NODE_TYPES, "\n".join(entries))


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("source-read", fill_node_types)
