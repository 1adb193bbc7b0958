"""After its first run a program allocates nothing and, on one thread, takes no lock.

A library that is loaded before the C library counts the calls that ask it for memory or a lock, between
entering an engine's native code and leaving it. What Python does on the way there is not counted.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

WATCH = """
import ctypes, json, sys
import numpy as np
import amp
from amp import nodes

library = ctypes.CDLL(sys.argv[1])
calls = (ctypes.c_int64 * 2)()

def counted(address, *words):
    words = [ctypes.c_int64(word) for word in (*words, *[0] * (5 - len(words)))]
    library.counted.restype = ctypes.c_int64
    return library.counted(ctypes.c_void_p(address), *words, calls)

def address(name):
    return ctypes.cast(getattr(ctypes.CDLL(None), name), ctypes.c_void_p).value

def voices():
    g = amp.Graph()
    gate = g.input("x")
    made = []
    for i in range(11):
        low = g.add(nodes.StateVariable(), g.add(nodes.Saw(), 100.0 + i), cutoff=900.0)
        made.append(g.add(nodes.Pan(), low * g.add(nodes.Envelope(), gate), position=0.1))
    g.output("out", g.add(nodes.Mix(), *made))
    return g

def feedback():
    g = amp.Graph()
    back = g.feedback()
    x = g.input("x") + 0.5 * amp.edge(back, initial=3)
    back.connect(g.add(nodes.OnePole(cutoff=500.0), x))
    late = g.add(nodes.Delay(50, "lagrange3", delay=9.5), x)
    wide = g.add(nodes.Overlap(8, 4), g.add(nodes.Window(8, 4), late))
    g.output("out", g.add(nodes.Add(), wide, amp.edge(x, delay=40)))
    g.output("slow", g.add(nodes.Hold(4), g.add(nodes.Downsample(4), x)))
    return g

def matrix():
    g = amp.Graph()
    g.output("out", g.add(nodes.MatrixMix(np.ones((64, 64)) / 64), g.input("x", 64)))
    return g

def room():
    g = amp.Graph()
    g.output("out", g.add(nodes.FIR(np.ones(3000) / 3000), g.input("x")))
    return g

graph, block, threads = globals()[sys.argv[2]](), int(sys.argv[3]), int(sys.argv[4])
program = amp.compile(graph, amp.plan(graph, block) if block else None, threads=threads)
x = np.ones((1, 64 if sys.argv[2] == "matrix" else 1, 20_000))
program.run({"x": x})

runner, seen = program._instance.runner, []
name = "_run" if block else "_scheduler"
entry = ctypes.cast(getattr(runner, name), ctypes.c_void_p).value

def watched(*words):
    result = counted(entry, *words)
    seen.append(list(calls))
    return result

setattr(runner, name, watched)
before = program.clock
program.run({"x": x})
assert program.clock == before + 20_000 and seen

counted(address("malloc"), 100)
control = [list(calls)]
mutex = ctypes.create_string_buffer(64)
counted(address("pthread_mutex_lock"), ctypes.addressof(mutex))
print(json.dumps({"seen": seen, "control": [*control, list(calls)]}))
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (sys.platform.startswith("linux") and shutil.which("c++")),
        reason="replaces functions of the GNU C library",
    ),
]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library that counts."""
    made = tmp_path_factory.mktemp("count") / "count_calls.so"
    source = Path(__file__).with_name("count_calls.cpp")
    subprocess.run(["c++", "-O1", "-shared", "-fPIC", source, "-o", made, "-ldl"], check=True)
    return made


@pytest.mark.parametrize("block, threads", [(0, 1), (64, 1), (64, 2)])
@pytest.mark.parametrize(
    "graph",
    ["voices", "feedback", *(pytest.param(g, marks=pytest.mark.eigen) for g in ("matrix", "room"))],
)
def test_a_warm_run_neither_allocates_nor_locks(
    library: Path, graph: str, block: int, threads: int
) -> None:
    """Threads that wait for one another do lock; then it is memory alone that is asked about."""
    done = subprocess.run(
        [sys.executable, "-c", WATCH, library, graph, str(block), str(threads)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env=os.environ | {"LD_PRELOAD": str(library)},
    )
    told = json.loads(done.stdout)
    assert told["control"] == [[1, 0], [0, 1]]  # it does count
    assert [memory for memory, _ in told["seen"]] == [0] * len(told["seen"])
    assert threads > 1 or not any(locks for _, locks in told["seen"])
