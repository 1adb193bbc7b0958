"""Sphinx settings. Notebooks run when the docs are built, and a failing cell fails the build."""

from __future__ import annotations

from typing import TYPE_CHECKING

import amp
from amp.jit.archetypes import manifest

if TYPE_CHECKING:
    from sphinx.application import Sphinx

    from amp.jit.archetypes import Row

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
ARCHETYPES = "<!-- archetypes -->"
"""Where pages of ``reference/`` get an entry for each thing there is."""

ELSEWHERE = {"IPLS", "Cohort", "Loop", "Stage", "plan", "Inlet", "NodeType", "Take"}
"""Public names that have a page of their own."""


def entry(path: str, thing: object) -> str:
    """Directive that documents a class with its methods, or a function."""
    if not isinstance(thing, type):
        return f"```{{eval-rst}}\n.. autofunction:: {path}\n```\n"
    return f"```{{eval-rst}}\n.. autoclass:: {path}\n   :members:\n```\n"


def about(row: Row) -> str:
    """Section about an archetype, from its row of the manifest."""
    users = [n for n, kind in sorted(amp.nodes.NODE_TYPES.items()) if kind.archetype == row.name]
    lines = [f"## {row.name}", "", row.about, "", "| | |", "|---|---|"]
    lines += [f"| node types | {', '.join(f'`{name}`' for name in users)} |"] if users else []
    lines += [f"| sizes | {', '.join(f'`{size}`' for size in row.sizes) or 'none'} |"]
    lines += [f"| param `{t.name}` | `({', '.join(t.shape)})` |" for t in row.params]
    for what, ports in (("inlet", row.inlets), ("outlet", row.outlets)):
        lines += [f"| {what} `{p.name}` | planes `{p.planes}`, tokens `{p.rate}` |" for p in ports]
    lines += [f"| in IR | `{row.twin}` |" if row.twin else "| in IR | none |"]
    lines += [f"| source | `amp/archetypes_cpp/{row.source}.hpp`, `{row.source}.cpp` |", ""]
    return "\n".join(lines)


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
    source[0] = source[0].replace(ARCHETYPES, "\n".join(map(about, manifest().values())))


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("source-read", fill_in)
