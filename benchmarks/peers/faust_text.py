"""The workloads as Faust programs: the same equations, coefficients as constants, no library.

Constants favour Faust: its compiler folds them, where amp's stay parameters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks import delay_network as network

if TYPE_CHECKING:
    from benchmarks.harness import Array
    from benchmarks.voices import Voices

VOICE = r"""
saw(dt) = 2*p - 1 - blep with {
  p = (+(dt) : \(x).(x - floor(x))) ~ _ : mem;
  head = p/dt;
  tail = (p - 1)/dt;
  blep = select2(p < dt, select2(p > 1 - dt, 0, tail*tail + 2*tail + 1), 2*head - head*head - 1);
};
lowpass(g, a1, x) = step ~ (_, _) : !, !, _ with {
  step(ic1, ic2) = 2*v1 - ic1, 2*v2 - ic2, v2 with {
    v1 = a1*(ic1 + g*(x - ic2));
    v2 = ic2 + g*v1;
  };
};
envelope(rise, fall, gate) = step ~ _ with {
  step(e) = select2(gate > 0, max(0, e - fall), min(1, e + rise));
};
voice(dt, g, a1, rise, fall, gain, left, right, gate) = s*left, s*right with {
  s = lowpass(g, a1, saw(dt)) * envelope(rise, fall, gate) * gain;
};
"""

BIQUAD = """
biquad(b0, b1, b2, a1, a2, x) = step ~ (_, _) : !, !, _ with {
  step(s1, s2) = b1*x - a1*y + s2, b2*x - a2*y, y with { y = b0*x + s1; };
};
"""


def voices(parameters: Voices) -> str:
    """W1: one gate in, every voice, stereo out."""
    lines = [
        f"v({i}) = voice({_numbers(column)});"
        for i, column in enumerate(parameters.coefficients().T)
    ]
    count = parameters.count
    return "\n".join([VOICE, *lines, f"process = _ <: par(i, {count}, v(i)) :> _, _;", ""])


def cascade(sections: Array, batch: int) -> str:
    """W2: the sections in series on every input."""
    chain = " : ".join(f"biquad({_numbers(row)})" for row in sections)
    return f"{BIQUAD}\nprocess = par(i, {batch}, {chain});\n"


def delay_network() -> str:
    """W3: the lines, the reflection and the taps; what is common to both uses is computed once."""
    lines = ", ".join(str(length) for length in network.LENGTHS)
    return f"""
N = {network.COUNT};
take(i, l) = select(i, l) with {{ select(0, (x, xs)) = x; select(0, x) = x; select(i, (x, xs)) = select(i - 1, xs); }};
length(i) = take(i, ({lines}));
damp = step ~ _ : !, _ with {{ step(s, x) = s + {2 * network.coefficient()!r}*(x - s), s + {network.coefficient()!r}*(x - s); }};
bus = par(i, N, _);
reflect = bus <: (bus, (bus :> *(2.0/N) <: bus)) : route(2*N, 2*N, par(i, N, (i + 1, 2*i + 1)), par(i, N, (N + i + 1, 2*i + 2))) : par(i, N, -);
back = par(i, N, @(length(i) - 1) : damp) : reflect : par(i, N, *({network.GAIN!r}));
enter = route(2*N, 2*N, par(i, N, (i + 1, 2*i + 1)), par(i, N, (N + i + 1, 2*i + 2))) : par(i, N, +);
process = _ <: bus : (enter ~ back) : par(i, N, @(length(i)) : damp)
  : route(N, N, par(i, N, (i + 1, (i % 2)*(N/2) + int(i/2) + 1))) : ((par(i, N/2, _) :> _), (par(i, N/2, _) :> _));
"""


def chain(gains: Array, offset: float) -> str:
    """W5: a gain and an added constant, in turn."""
    links = " : ".join(f"*({gain!r}) : +({offset!r})" for gain in gains.tolist())
    return f"process = {links};\n"


def tree(gains: Array) -> str:
    """W5: binary adds over one gain per leaf."""
    level = [f"x*({gain!r})" for gain in gains.tolist()]
    while len(level) > 1:
        pairs = [f"({a} + {b})" for a, b in zip(level[::2], level[1::2], strict=False)]
        level = pairs + level[len(pairs) * 2 :]
    return f"process(x) = {level[0]};\n"


def _numbers(values: Array) -> str:
    return ", ".join(repr(float(value)) for value in values)
