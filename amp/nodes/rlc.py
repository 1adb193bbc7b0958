"""A ladder of resistors, capacitors and inductors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from amp.contract import Inlet, NodeType, Param, Trace, array_of
from amp.errors import BadNode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike, NDArray

    from amp.ir import Value

STAGES = tuple(f"{place} {element}" for place in ("series", "parallel") for element in "RCL")
MOST = 64


class RLC(NodeType):
    """A ladder of elements between a voltage source and an output that draws no current. A series element
    lies in the line, a parallel one between line and ground. With v and i an element's voltage and current::

        R   v = R i              C   q' = i,  q = C v              L   f' = v,  f = L i

    Charge q and flux f are integrated by the trapezoid, with h the time of a frame, which is the bilinear
    transform of the circuit; and so no choice of values is unstable::

        q[k] = q[k-1] + h/2 (i[k] + i[k-1]);      f[k] = f[k-1] + h/2 (v[k] + v[k-1])

    Then each element is a conductance and a known source. What lies behind a place draws ``i = Y v + J``:
    Y and J are found from the output to the input, voltages and currents from the input to the output. State: of each C
    ``s = q + h/2 i``, of each L ``s = f + h/2 v``.

    Ladders stack: the stages of an input, a core and an output one after another are one ladder, in which each
    loads the one before. (Nodes one after another do not load each other.) For a source with a resistance
    begin with ``series R``; for a load end with ``parallel R``.

    Heat: the power of the resistors, ``sum R i^2``, of all channels. Together with what C and L
    store it is the energy ``sum u i h`` from the source.

    Source: L. Nagel, "SPICE2", PhD thesis, UC Berkeley, 1975 (companion models); A. Fettweis, "Wave digital filters:
    theory and practice", Proc. IEEE 74(2), 1986 (why passive discretisations are stable).

    Inlets: ``voltage`` of the source [V].

    Outlets: ``out``, the voltage at the output [V]; ``current`` from the source [A].

    Parameters
    ----------
    stages
        From the input to the output, at most 64 of ``series R, series C, series L, parallel R, parallel C,
        parallel L``.
    values
        As many resistances [ohm], capacitances [F] and inductances [H], above 0; an `amp.Param` can be set
        between runs, which keeps charges and fluxes.

    Examples
    --------
    >>> low = RLC(("series R", "parallel C"), [1e3, 100e-9])
    >>> low.stages
    ('series R', 'parallel C')
    """

    stages: tuple[str, ...]
    values: ArrayLike | Param
    params = ("values",)
    inlets = (Inlet("voltage", unit="V"),)
    outlets = ("out", "current")
    dissipates = True

    def check(self) -> None:
        stages = self.stages
        if not (
            isinstance(stages, tuple)
            and 1 <= len(stages) <= MOST
            and all(stage in STAGES for stage in stages)
        ):
            raise BadNode(
                f"RLC.stages is a tuple of 1 to {MOST} stages",
                expected=", ".join(map(repr, STAGES)),
                got=repr(stages),
            )
        values = self.numbers
        if values.shape != (len(stages),) or not (values > 0).all():
            raise BadNode(
                "RLC.values has a number above 0 for each stage",
                expected=f"{len(stages)} numbers",
                got=repr(values.tolist()),
            )

    @property
    def numbers(self) -> NDArray[np.float64]:
        """The values as an array."""
        return array_of(self.values)

    def forward(self, b: Trace, voltage: Value) -> tuple[Value, Value]:
        h = 1.0 / b.sample_rate
        values = b.param("values")
        stored = {k: b.state(f"stored_{k}") for k, s in enumerate(self.stages) if s[-1] != "R"}
        # behind stage k - 1, i = Y v + J: behind the last stage no current flows
        behind: list[tuple[Value, Value]] = [(b.const(0.0), b.const(0.0))]
        # of a series element v = a i + e, of a parallel one i = a v + e
        laws: list[tuple[Value, Value | None]] = []
        for k in reversed(range(len(self.stages))):
            place, _, element = self.stages[k].partition(" ")
            y, j = behind[-1]
            a, e = _law(element, values[k], stored.get(k), h, series=place == "series")
            laws.append((a, e))
            if place == "series":
                passed = 1.0 / b.fma(a, y, 1.0)
                behind.append((y * passed, (j if e is None else b.fma(-y, e, j)) * passed))
            else:
                behind.append((y + a, j if e is None else j + e))
        y, j = behind.pop()
        v, current = voltage, b.fma(y, voltage, j)
        through = current
        for k, stage in enumerate(self.stages):
            a, e = laws.pop()
            y, j = behind.pop()
            if stage.startswith("series"):
                i, drop = through, a * through if e is None else b.fma(a, through, e)
                v = v - drop
            else:
                i, drop = a * v if e is None else b.fma(a, v, e), v
            through = b.fma(y, v, j)
            if stage[-1] == "R":
                b.dissipate(b.sqrt(values[k]) * i)
            else:
                b.next(f"stored_{k}", b.fma(h, i if stage[-1] == "C" else drop, stored[k]))
        return v, current

    def reference(
        self, sample_rate: float, frames: int, *, voltage: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """All voltages and currents of a frame at once, as one system of equations: of the places between
        stages, the currents into them, and the laws of the elements by their last voltage and current."""
        h, n = 1.0 / sample_rate, len(self.stages)
        out, current = np.empty(voltage.shape), np.empty(voltage.shape)
        last = np.zeros((n, 2, *voltage.shape[:2]))  # v and i of each element
        for t in range(frames):
            # unknown: v_k behind stage k, then i_k into stage k
            m, r = np.zeros((2 * n, 2 * n)), np.zeros((2 * n, *voltage.shape[:2]))
            for k, (stage, value) in enumerate(zip(self.stages, self.numbers, strict=True)):
                before, after, into = (2 * n if k == 0 else k - 1), k, n + k
                row = np.zeros((2, 2 * n + 1))  # the element's v and i in terms of unknowns and u
                drop, flow = row
                if stage.startswith("series"):
                    drop[before] += 1
                    drop[after] -= 1
                    flow[into] = 1
                    same = np.zeros(2 * n + 1)  # what flows in flows on
                    same[into] = 1
                else:
                    drop[after] = 1
                    flow[into] = 1
                    same = np.zeros(2 * n + 1)  # the line keeps its voltage
                    same[before] += 1
                    same[after] -= 1
                if k + 1 < n and stage.startswith("series"):
                    same[into + 1] -= 1
                if k + 1 < n and not stage.startswith("series"):
                    flow[into + 1] -= 1
                kind = stage[-1]
                v, i = last[k]
                if kind == "R":
                    law, known = drop - value * flow, np.zeros_like(v)
                elif kind == "C":
                    law, known = value * drop - h / 2 * flow, value * v + h / 2 * i
                else:
                    law, known = value * flow - h / 2 * drop, value * i + h / 2 * v
                for at, (equation, right) in enumerate(((law, known), (same, np.zeros_like(v)))):
                    m[2 * k + at] = equation[:-1]
                    r[2 * k + at] = right - equation[-1] * voltage[..., t]
            x = np.tensordot(np.linalg.inv(m), r, axes=1)
            full = np.concatenate([x, voltage[None, ..., t]])
            for k, stage in enumerate(self.stages):
                before = full[2 * n] if k == 0 else full[k - 1]
                onward = full[n + k + 1] if k + 1 < n else 0.0
                series = stage.startswith("series")
                last[k, 0] = before - full[k] if series else full[k]
                last[k, 1] = full[n + k] if series else full[n + k] - onward
            out[..., t], current[..., t] = full[n - 1], full[n]
        return out, current

    @classmethod
    def samples(cls) -> Iterator[NodeType]:
        yield cls(("series R", "parallel C"), [1e3, 20e-9])
        yield cls(
            ("series R", "series L", "parallel C", "series C", "parallel L", "parallel R"),
            [50.0, 1e-3, 1e-6, 2e-6, 5e-3, 80.0],
        )

    @classmethod
    def refuses(cls) -> Iterator[tuple[dict[str, Any], str]]:
        yield {"stages": ("series D",), "values": [1.0]}, "RLC.stages is a tuple of 1 to 64 stages"
        yield {"stages": (), "values": []}, "RLC.stages is a tuple of 1 to 64 stages"
        yield {"stages": ("series R",), "values": [0.0]}, "RLC.values has a number above 0"
        yield {"stages": ("series R",), "values": [1.0, 2.0]}, "RLC.values has a number above 0"


def _law(
    element: str, value: Value, stored: Value | None, h: float, *, series: bool
) -> tuple[Value, Value | None]:
    """An element's a and e: ``v = a i + e`` if it is in series, else ``i = a v + e``."""
    if element == "R" or stored is None:
        return (value if series else 1.0 / value), None
    if (element == "C") == series:  # v = s / C + h/2 i / C, or i = s / L + h/2 v / L
        over = 1.0 / value
        return (0.5 * h) * over, stored * over
    # i = 2/h (C v - s), or v = 2/h (L i - s)
    return (2.0 / h) * value, (-2.0 / h) * stored
