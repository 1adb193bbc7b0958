"""A diode clipper, solved in each frame."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from amp.contract import Inlet, NodeType, Trace
from amp.errors import BadNode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from amp.ir import Value

MOST = 32


class DiodeClipper(NodeType):
    """A resistor into a capacitor with a diode each way beside it, as in a distortion pedal::

        C v' = (u - v) / R - 2 I sinh(v / V)

    by the trapezoid, which is implicit: with h the time of a frame and ``a = h / (2 R C)``, each frame solves

        (1 + a) v + (h I / C) sinh(v / V) = s + a u,        s <- 2 v - s

    for v by Newton's method. The left side is convex above 0 and rises, so from a start beyond the root every step
    comes nearer to it and stays beyond. The start is the nearer of what each of the two terms alone would allow, in
    sign that of the right side; it does not depend on the frame before. 8 iterations have reached rounding for
    every size of the terms. Whether they did is heard: ``residual`` is by how much the two sides still differ.
    The state is s, v and half a step of its slope.

    Heat: the power of the resistor and of the diodes, of all channels.

    Sources: D. Yeh, J. Abel, J. O. Smith, "Simulation of the diode limiter in guitar distortion circuits by
    numerical solution of ordinary differential equations", DAFx-07 (the circuit and its values); J. Ortega,
    W. Rheinboldt, "Iterative Solution of Nonlinear Equations in Several Variables", 1970, section 13.3
    (monotone Newton).

    Inlets: ``voltage`` u [V]; ``resistance`` R [ohm], from 1, at audio rate if a stream.

    Outlets: ``out``, v [V]; ``residual`` [V], 0 or a rounding where the frame is solved.

    Parameters
    ----------
    capacitance
        C [F], above 0.
    saturation
        I, saturation current of a diode [A], above 0.
    emission
        V, thermal voltage times emission coefficient [V], above 0.
    iterations
        Of Newton's method, 1 to 32.

    Examples
    --------
    >>> DiodeClipper(resistance=4.7e3).emission
    0.0453
    """

    capacitance: float = 10e-9
    saturation: float = 2.52e-9
    emission: float = 45.3e-3
    iterations: int = 8
    params = ("capacitance", "saturation", "emission")
    inlets = (Inlet("voltage", unit="V"), Inlet("resistance", 2.2e3, unit="ohm", low=1.0))
    outlets = ("out", "residual")
    dissipates = True

    def check(self) -> None:
        self.whole("iterations", 1, MOST)
        for name in DiodeClipper.params:
            value = np.asarray(getattr(getattr(self, name), "value", getattr(self, name)))
            if value.ndim or not value > 0:
                raise BadNode(f"DiodeClipper.{name} is a number above 0", got=repr(value.tolist()))

    def forward(self, b: Trace, voltage: Value, resistance: Value) -> tuple[Value, Value]:
        h, held = 1.0 / b.sample_rate, b.max(resistance, 1.0)
        capacitance, saturation = b.param("capacitance"), b.param("saturation")
        emission = b.param("emission")
        a = (0.5 * h) / (held * capacitance)
        linear, bent = (1.0 + a) * emission, (h * saturation) / capacitance
        stored = b.state("stored")
        right = b.fma(a, voltage, stored)
        ratio = abs(right) / bent
        start = b.min(abs(right) / linear, b.log(ratio + b.sqrt(b.fma(ratio, ratio, 1.0))))
        x = b.select(right < 0.0, -start, start)

        def differs(x: Value) -> tuple[Value, Value]:
            """Left side less right side at x = v / V, and its slope."""
            grows = b.exp(x)
            falls = 1.0 / grows
            half = 0.5 * bent
            return (
                b.fma(linear, x, b.fma(half, grows - falls, -right)),
                b.fma(half, grows + falls, linear),
            )

        for _ in range(self.iterations):
            error, slope = differs(x)
            x = x - error / slope
        v = emission * x
        b.next("stored", b.fma(2.0, v, -stored))
        error, _ = differs(x)
        b.dissipate((voltage - v) / b.sqrt(held))
        grows = b.exp(abs(x))
        b.dissipate(b.sqrt(saturation * (grows - 1.0 / grows) * abs(v)))
        return v, abs(error)

    def reference(
        self,
        sample_rate: float,
        frames: int,
        *,
        voltage: NDArray[np.float64],
        resistance: NDArray[np.float64],
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """By bisection."""
        u, r = np.broadcast_arrays(voltage, resistance)
        h, c = 1 / sample_rate, float(self.capacitance)
        i, emission = float(self.saturation), float(self.emission)
        out = np.empty(u.shape)
        stored = np.zeros(u.shape[:2])
        for t in range(frames):
            a = h / (2 * np.maximum(r[..., t], 1.0) * c)
            right = stored + a * u[..., t]
            low, high = np.minimum(right, 0.0), np.maximum(right, 0.0)
            v = right
            for _ in range(200):
                v = (low + high) / 2
                with np.errstate(over="ignore"):
                    left = (1 + a) * v + h * i / c * np.sinh(v / emission)
                low, high = np.where(left < right, v, low), np.where(left < right, high, v)
            out[..., t] = v
            stored = 2 * v - stored
        return out, np.zeros(u.shape)

    @classmethod
    def samples(cls) -> Iterator[NodeType]:
        yield cls()

    @classmethod
    def refuses(cls) -> Iterator[tuple[dict[str, Any], str]]:
        yield {"capacitance": 0.0}, "DiodeClipper.capacitance is a number above 0"
        yield {"saturation": -1.0}, "DiodeClipper.saturation is a number above 0"
        yield {"emission": [1.0]}, "DiodeClipper.emission is a number above 0"
        yield {"iterations": 0}, "DiodeClipper.iterations is a whole number from 1 to 32"
