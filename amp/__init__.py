"""amp: signal-processing graphs compiled to native code."""

from __future__ import annotations

from amp import losses, nodes, observe, plot, testing
from amp.contract import Inlet, NodeType, Param, Take
from amp.files import graph_from_json, graph_to_json
from amp.graph import Graph, Stream, edge
from amp.oversampling import oversample
from amp.pipeline import compile
from amp.schedule import IPLS, Cohort, Loop, Stage, plan
from amp.spectra import pairs, parts
from amp.thermal import AMBIENT, Thermal

__all__ = [
    "AMBIENT",
    "IPLS",
    "Cohort",
    "Graph",
    "Inlet",
    "Loop",
    "NodeType",
    "Param",
    "Stage",
    "Stream",
    "Take",
    "Thermal",
    "compile",
    "edge",
    "graph_from_json",
    "graph_to_json",
    "losses",
    "nodes",
    "observe",
    "oversample",
    "pairs",
    "parts",
    "plan",
    "plot",
    "testing",
]
__version__ = "0.1.0"
