"""One measurement in a process of its own: `python -m benchmarks.probe WHO SHAPE SIZE`.

Prints one line of JSON: `build` and `compile` times, the times of five runs of one second of
signal after a first one, and the samples' error. Used by W5.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks import graphs, voices
from benchmarks.harness import Array, NotInstalledError
from benchmarks.peers import faust, faust_text, numba_jit, numba_voices

SHAPES = ("chain", "tree", "voices")
RUNS = 5
CHECK_FRAMES = 4800

Runner = Callable[[Array], Array]


def gains_of(shape: str, size: int) -> Array:
    """The gains of a chain or tree of `size` nodes (a chain's adds are nodes too)."""
    count = size // 2 if shape == "chain" else size
    spread = np.random.default_rng(5).uniform(0.99, 1.01, count)
    return spread if shape == "chain" else spread / size


def reference(shape: str, size: int, x: Array) -> Array:
    """What plain NumPy makes of the first frames."""
    head = x[:, :CHECK_FRAMES]
    if shape == "voices":
        return voices.oracle(voices.make_voices(size), head, CHECK_FRAMES)
    gains = gains_of(shape, size)
    if shape == "tree":
        return head * float(gains.sum())
    for gain in gains.tolist():
        head = head * gain + graphs.CHAIN_OFFSET
    return head


def signal_of(shape: str, seconds: float) -> Array:
    """The gate for voices, else noise."""
    frames = round(seconds * voices.SAMPLE_RATE)
    if shape == "voices":
        return voices.make_gate(frames)
    return np.random.default_rng(3).standard_normal((1, frames))


def amp_runner(shape: str, size: int) -> tuple[Runner, dict[str, float]]:
    """Build, plan and compile in amp."""
    start = time.perf_counter()
    graphs.load()
    loaded = time.perf_counter()
    if shape == "voices":
        graph, name = graphs.voices(voices.make_voices(size)), "gate"
    else:
        make = graphs.chain if shape == "chain" else graphs.tree
        graph, name = make(gains_of(shape, size)), "x"
    built = time.perf_counter()
    program = graphs.compile_ipls(graph)
    compiled = time.perf_counter()
    times = {"load": loaded - start, "build": built - loaded, "compile": compiled - built}
    return lambda x: graphs.first_frames(program, name, x), times


def numba_runner(shape: str, size: int) -> tuple[Runner, dict[str, float]]:
    """Straight-line code for chains and trees, the lane kernel for voices."""
    numba_jit.njit()(lambda x: x)(1.0)  # numba's own start-up is not the graph's compile time
    if shape == "voices":
        parameters = voices.make_voices(size)
        lanes, frames = 16, 64
        tiled = numba_voices.tiles(parameters.coefficients(), lanes)
        kernel = numba_voices.lane_kernel(lanes, frames)

        def run(x: Array) -> Array:
            out = np.empty((2, x.shape[1]))
            kernel(x[0], tiled, np.zeros((len(tiled), 4, lanes)), out)
            return out

    else:
        straight = numba_jit.njit()(_straight_line(shape, gains_of(shape, size)))

        def run(x: Array) -> Array:
            out = np.empty_like(x)
            straight(x[0], out[0])
            return out

    start = time.perf_counter()
    run(np.zeros((1, 8)))
    return run, {"compile": time.perf_counter() - start}


def faust_runner(shape: str, size: int) -> tuple[Runner, dict[str, float]]:
    """Faust's LLVM JIT, the scalar form."""
    outputs = 1
    if shape == "voices":
        source, outputs = faust_text.voices(voices.make_voices(size)), 2
    elif shape == "chain":
        source = faust_text.chain(gains_of(shape, size), graphs.CHAIN_OFFSET)
    else:
        source = faust_text.tree(gains_of(shape, size))
    start = time.perf_counter()
    clear, compute = faust.jit(source, ("-mcd", "0"))
    compiled = time.perf_counter() - start

    def run(x: Array) -> Array:
        out = np.empty((outputs, x.shape[1]))
        clear()
        compute(x.shape[1], x, out)
        return out

    return run, {"compile": compiled}


RUNNERS: dict[str, Callable[[str, int], tuple[Runner, dict[str, float]]]] = {
    "amp": amp_runner,
    "numba": numba_runner,
    "faust": faust_runner,
}


def measure(who: str, shape: str, size: int, seconds: float) -> dict[str, Any]:
    """Compile, check, time."""
    x = signal_of(shape, seconds)
    run, times = RUNNERS[who](shape, size)
    expected = reference(shape, size, x)
    got = run(x)[:, : expected.shape[1]]
    error = float(np.abs(got - expected).max()) / max(1.0, float(np.abs(expected).max()))
    runs = []
    for _ in range(RUNS):
        start = time.perf_counter()
        run(x)
        runs.append(time.perf_counter() - start)
    return times | {"runs": runs, "error": error}


def _straight_line(shape: str, gains: Array) -> Callable[[Array, Array], None]:
    """A function with one statement per node."""
    lines = ["def straight(x, out):", "    for t in range(x.shape[0]):", "        v = x[t]"]
    if shape == "chain":
        for gain in gains.tolist():
            lines += [f"        v = v * {gain!r}", f"        v = v + {graphs.CHAIN_OFFSET!r}"]
        lines.append("        out[t] = v")
    else:
        level = [f"a{i}" for i in range(len(gains))]
        lines += [f"        a{i} = v * {gain!r}" for i, gain in enumerate(gains.tolist())]
        while len(level) > 1:
            pairs = list(zip(level[::2], level[1::2], strict=False))
            lines += [f"        {a} = {a} + {b}" for a, b in pairs]
            level = [a for a, _ in pairs] + level[len(pairs) * 2 :]
        lines.append(f"        out[t] = {level[0]}")
    space: dict[str, Any] = {}
    exec("\n".join(lines), space)
    function: Callable[[Array, Array], None] = space["straight"]
    return function


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.probe", description=__doc__)
    parser.add_argument("who", choices=sorted(RUNNERS))
    parser.add_argument("shape", choices=SHAPES)
    parser.add_argument("size", type=int)
    parser.add_argument("--seconds", type=float, default=1.0)
    options = parser.parse_args()
    sys.setrecursionlimit(100_000)
    try:
        answer = measure(options.who, options.shape, options.size, options.seconds)
    except NotInstalledError as missing:
        answer = {"missing": str(missing)}
    print(json.dumps(answer))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
