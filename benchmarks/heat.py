"""What heat costs: W1 and W2 under both engines, without it, as it is by default, and measured in full.

``python -m benchmarks.heat`` prints nanoseconds of processor time per voice-frame or signal-frame, the least
tenth of many runs of one second of signal, interleaved; last, those of a backward pass under a schedule, of
the outputs, and of the outputs and all heat.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from benchmarks import cascade, graphs, voices

SECONDS = 5.0
"""How long each case runs."""


def cases() -> list[tuple[str, Any, str, Any, int]]:
    """Name, graph, input, its signal, and voice-frames or signal-frames."""
    frames = voices.SAMPLE_RATE
    gate = np.asarray(voices.make_gate(frames)).reshape(1, 1, -1)
    found = [("W1 V=64", graphs.voices(voices.make_voices(64)), "gate", gate, 64 * frames)]
    for batch in (1, 8, 64):
        signal = np.asarray(cascade.make_noise(batch, frames)).reshape(batch, 1, frames)
        graph = graphs.cascade(cascade.make_sections(), batch)
        found.append((f"W2 B={batch}", graph, "x", signal, batch * frames))
    return found


def spent(program: Any, inputs: dict[str, Any]) -> int:
    """Nanoseconds of this thread in one run."""
    before = time.thread_time_ns()
    program.run(inputs)
    return time.thread_time_ns() - before


def spent_back(program: Any, inputs: dict[str, Any], record: Any) -> int:
    """The same of a backward pass."""
    program.reset()
    result = program.run(inputs, record=record)
    outputs = {name: np.ones_like(array) for name, array in result.items()}
    heat = None
    if record == "heat":
        heat = {name: np.ones_like(array) for name, array in result.heat.items()}
    before = time.thread_time_ns()
    program.backward(outputs, heat=heat)
    return time.thread_time_ns() - before


def back(amp: Any) -> None:
    """Print the rows of the backward pass."""
    print(f"\n{'':8} {'outputs':>8} {'and heat':>8}")
    for name, graph, inlet, signal, items in cases():
        program = amp.compile(graph, amp.plan(graph, block=graphs.BLOCK))
        times: dict[Any, list[int]] = {True: [], "heat": []}
        until = time.perf_counter() + SECONDS
        while time.perf_counter() < until:
            for record, some in times.items():
                some.append(spent_back(program, {inlet: signal}, record))
        plain, warm = (float(np.quantile(some, 0.1)) / items for some in times.values())
        print(f"{name:8} {plain:8.3f} {warm:8.3f} {warm / plain:7.2f}", flush=True)


def main() -> None:
    amp, _ = graphs.load()
    default = amp.pipeline.HEAT
    print(f"{'':8} {'':5} {'off':>8} {'default':>8} {'':>7} {'all':>8}")
    for name, graph, inlet, signal, items in cases():
        for engine, ipls in (("IPLS", amp.plan(graph, block=graphs.BLOCK)), ("KPN", None)):
            programs = {every: amp.compile(graph, ipls, heat=every) for every in (0, default, 1)}
            times: dict[int, list[int]] = {every: [] for every in programs}
            until = time.perf_counter() + SECONDS
            while time.perf_counter() < until:
                for every, program in programs.items():
                    times[every].append(spent(program, {inlet: signal}))
            off, some, every_one = (
                float(np.quantile(times[every], 0.1)) / items for every in programs
            )
            print(
                f"{name:8} {engine:5} {off:8.3f} {some:8.3f} {some / off - 1:+7.1%} "
                f"{every_one:8.3f} {every_one / off - 1:+7.1%}",
                flush=True,
            )
    back(amp)


if __name__ == "__main__":
    main()
