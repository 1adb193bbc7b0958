"""Thermal constants of a node."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from amp.errors import BadValue

AMBIENT = 293.15
"""Temperature around all nodes, and of all at clock 0 [K]."""
CELL = 4096
"""Frames of the clock whose squares are added up together."""
DISSIPATED = -1
"""Stands in the place of an outlet for the power that a node says itself."""
CELLS = 16
"""Cells whose sums a program keeps before they are read: a power of two."""


@dataclass(frozen=True, slots=True)
class Thermal:
    """Thermal constants of a node, in ``C dT/dt = P + sum K (T_src - T) - G (T - T_ambient)``.

    Attributes
    ----------
    capacity
        Heat capacity C [J/K], above 0.
    coupling
        Thermal conductance K of each edge into the node, between it and the edge's source [W/K].
    loss
        Thermal conductance G between the node and what is around it [W/K].
    power
        kappa: power of each inlet by the mean square over its channels [W]. 0 for a node that its
        streams do not heat.

    Raises
    ------
    BadValue
        For a number that is negative or not finite, and a capacity of 0.

    Examples
    --------
    >>> import amp
    >>> import numpy as np
    >>> g = amp.Graph(sample_rate=1000)
    >>> half = g.add(amp.nodes.Gain(), g.input("x"), gain=0.5, name="half",
    ...              thermal=amp.Thermal(capacity=2.0))
    >>> g.output("out", half)
    >>> result = amp.compile(g, heat=1).run({"x": np.ones((1, 1, 1000))})
    >>> float(result.heat["half"][0, -1])  # 1 s of the stream, 1 W, and of the constant, 0.25 W
    1.25
    >>> float(result.temperature["half"][0, -1] - amp.AMBIENT)
    0.625
    """

    capacity: float = 1.0
    coupling: float = 0.0
    loss: float = 0.0
    power: float = 1.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not (number and 0 <= value < math.inf and (value or field.name != "capacity")):
                raise BadValue(
                    f"a thermal constant is a finite number from 0 on, and a capacity is above 0: "
                    f"{field.name!r}",
                    got=repr(value),
                )


USUAL = Thermal()
"""Those of a node that is given no others."""
