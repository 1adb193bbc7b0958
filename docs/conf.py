"""Sphinx settings. Notebooks run when the docs are built, and a failing cell fails the build."""

from __future__ import annotations

from typing import TYPE_CHECKING

import amp

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "amp"
author = "the amp developers"
release = amp.__version__

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
autodoc_mock_imports = ["jax", "torch"]  # they need not be there to be written about
napoleon_numpy_docstring = True
napoleon_google_docstring = False
napoleon_use_ivar = True

NODE_TYPES = "<!-- node types -->"
PUBLIC_NAMES = "<!-- public names -->"
"""Where pages of ``reference/`` get an entry for each thing there is."""

ELSEWHERE = {"IPLS", "Cohort", "Loop", "Stage", "plan", "Inlet", "NodeType", "Take"}
"""Public names that have a page of their own."""


def entry(path: str, thing: object) -> str:
    """Directive that documents a class with its methods, or a function."""
    if not isinstance(thing, type):
        return f"```{{eval-rst}}\n.. autofunction:: {path}\n```\n"
    return f"```{{eval-rst}}\n.. autoclass:: {path}\n   :members:\n```\n"


def fill_in(app: Sphinx, name: str, source: list[str]) -> None:
    """Replace the marks in a page, so that what is new appears without an edit."""
    kinds = [kind for _, kind in sorted(amp.nodes.NODE_TYPES.items())]
    types = [
        f"```{{eval-rst}}\n.. autoclass:: {kind.__module__}.{kind.__qualname__}\n```\n"
        for kind in kinds
    ]
    public = {n: getattr(amp, n) for n in amp.__all__ if n not in ELSEWHERE}
    names = [entry(f"amp.{n}", item) for n, item in public.items() if callable(item)]
    source[0] = source[0].replace(NODE_TYPES, "\n".join(types))
    source[0] = source[0].replace(PUBLIC_NAMES, "\n".join(names))


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("source-read", fill_in)
