"""W6's work: the mean of y^2 through eight biquads, and its slopes in 40 coefficients and the input."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from benchmarks.harness import Array

BATCH = 8
LENGTHS = (4800, 48_000)


def answer(value: Any, d_sections: Any, d_x: Any) -> Array:
    """`(1, n)`: the value and both gradients, each gradient scaled to a peak near 1.

    Candidates are compared relative to the peak, so one gradient may not drown the other. The scale is that
    of this workload: coefficients and samples do not depend on the candidate.
    """
    d_x = np.asarray(d_x) * (np.size(d_x) / 8.0)
    d_sections = np.asarray(d_sections) / 64.0
    return np.concatenate([[float(value)], d_sections.ravel(), d_x.ravel()])[None]


def oracle(x: Array, sections: Array) -> Array:
    """What plain NumPy makes of it.

    With w = dy / A(1/z), run backwards in time: dx = B(1/z) w, db_i = sum w[t] x[t-i], da_i = -sum w[t] y[t-i].
    """
    batch, frames = x.shape
    signals = [np.pad(x, ((0, 0), (2, 0)))]
    for b0, b1, b2, a1, a2 in sections:
        u = signals[-1].T
        y = np.zeros_like(u)
        for t in range(2, frames + 2):
            y[t] = b0 * u[t] + b1 * u[t - 1] + b2 * u[t - 2] - a1 * y[t - 1] - a2 * y[t - 2]
        signals.append(y.T)
    value = np.mean(signals[-1][:, 2:] ** 2)
    slope = 2 * signals[-1][:, 2:].T / x.size
    d_sections = np.empty_like(sections)
    for k in reversed(range(len(sections))):
        b0, b1, b2, a1, a2 = sections[k]
        w = np.zeros((frames + 2, batch))
        for t in reversed(range(frames)):
            w[t] = slope[t] - a1 * w[t + 1] - a2 * w[t + 2]
        u, y = signals[k].T, signals[k + 1].T
        for i in range(3):
            d_sections[k, i] = np.sum(w[:frames] * u[2 - i : 2 - i + frames])
        for i in (1, 2):
            d_sections[k, 2 + i] = -np.sum(w[:frames] * y[2 - i : 2 - i + frames])
        slope = b0 * w[:frames] + b1 * w[1 : frames + 1] + b2 * w[2:]
    return answer(value, d_sections, slope.T)
