"""Pictures: a graph, a schedule with its measured times, the signals of a result, what rings hold, how warm nodes
are.

Each function returns a Matplotlib ``Figure``, which a notebook shows and ``savefig`` writes; nothing
goes through pyplot, so nothing is left open. ``pip install 'amp-dsp[plot]'`` brings Matplotlib.
"""

from __future__ import annotations

from amp.plot.graphs import graph
from amp.plot.heat import heat
from amp.plot.rings import memory
from amp.plot.schedules import schedule
from amp.plot.signals import signal

__all__ = ["graph", "heat", "memory", "schedule", "signal"]
