"""What all pictures share: the figure, its colours, its lettering."""

from __future__ import annotations

import functools
import io
from typing import TYPE_CHECKING

from amp.errors import AmpError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


MAX_BOXES = 60
"""Graphs of more nodes are drawn with one box for each cohort."""
MAX_ROWS = 24
MAX_CHANNELS = 4

INK, FAINT, LOOP = "#1f2933", "#7b8794", "#c2410c"
FAMILIES = {
    "borders": ("#334e68", "Input Output Probe"),
    "sources": ("#d97706", "Saw Square Triangle Sine Noise Constant"),
    "filters": ("#2563eb", "OnePole Biquad SecondOrderSections StateVariable"),
    "envelopes": ("#059669", "Envelope"),
    "delays": ("#7c3aed", "Delay"),
    "mixing": ("#0e7490", "Mix Pan MatrixMix"),
    "arithmetic": ("#64748b", "Add Multiply Gain Clip Function Function2"),
    "other": ("#be185d", ""),
}
KERNELS = (
    "#2563eb", "#d97706", "#059669", "#7c3aed", "#be185d", "#0e7490", "#65a30d", "#b45309",
    "#4f46e5", "#dc2626", "#0d9488", "#a21caf",
)  # fmt: skip
FONT = 8.5


def family(kind: str) -> str:
    return next((name for name, (_, kinds) in FAMILIES.items() if kind in kinds.split()), "other")


@functools.cache
def _picture() -> type[Figure]:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise AmpError(
            "pictures are drawn by Matplotlib", got=str(error), fix="pip install 'amp-dsp[plot]'"
        ) from None

    class Picture(Figure):
        """A figure that shows itself in a notebook."""

        def _repr_png_(self) -> bytes:
            buffer = io.BytesIO()
            FigureCanvasAgg(self).print_figure(buffer, dpi=110, bbox_inches="tight")
            return buffer.getvalue()

    return Picture


def new_figure(width: float, height: float) -> Figure:
    return _picture()(figsize=(width, height), dpi=150, layout="constrained", facecolor="white")


def quiet(axes: Axes) -> None:
    axes.tick_params(labelsize=FONT - 1, colors=FAINT, length=2)
    axes.spines[["top", "right"]].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color("#cbd5e1")


def many(count: int, word: str) -> str:
    ending = "" if count == 1 else "es" if word.endswith("s") else "s"
    return f"{count} {word}{ending}"


def shorten(text: str, limit: int) -> str:
    text = "".join(c if c.isprintable() else "?" for c in text)
    text = text if len(text) <= limit else text[: limit - 1] + "…"
    return text.replace("$", r"\$")
