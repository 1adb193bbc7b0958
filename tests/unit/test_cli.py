"""The command ``amp``, as a user types it."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

import amp
from amp import cli, nodes

if TYPE_CHECKING:
    from numpy.typing import NDArray

soundfile = pytest.importorskip("soundfile")
RATE = 48_000


def run(*words: object, code: int = 0) -> str:
    """What the command prints, on both streams."""
    result = CliRunner().invoke(cli.app, [str(word) for word in words])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result.output


def save(path: Path, g: amp.Graph) -> Path:
    path.write_text(amp.graph_to_json(g))
    return path


def halve(channels: int = 1, rate: int = RATE) -> amp.Graph:
    g = amp.Graph(rate)
    g.output("out", 0.5 * g.input("x", channels))
    return g


def late() -> amp.Graph:
    """Two inputs, two outputs, one of them late."""
    g = amp.Graph(RATE)
    x, y = g.input("x"), g.input("y", 2)
    g.output("sum", g.add(nodes.Mix(), amp.edge(x, delay=100), y))
    g.output("twice", 2.0 * x)
    return g


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def sound(
    path: str, channels: int = 1, frames: int = 1000, rate: int = RATE
) -> NDArray[np.float64]:
    """A file of noise, and its samples, ``(channel, frame)``."""
    samples = np.random.default_rng(0).uniform(-1, 1, (frames, channels)).astype(np.float32)
    soundfile.write(path, samples, rate, "FLOAT")
    return samples.T.astype(np.float64)


def heard(path: str) -> NDArray[np.float64]:
    samples, _ = soundfile.read(path, always_2d=True)
    return np.asarray(samples.T)


@pytest.mark.parametrize("channels", [1, 2])
def test_render_plays_a_file_through_a_graph(folder: Path, channels: int) -> None:
    save(folder / "g.json", halve(channels))
    x = sound("x.wav", channels)
    said = run("render", "g.json", "--in", "x.wav", "--out", "y.wav")
    assert np.array_equal(heard("y.wav"), 0.5 * x)
    assert "wrote y.wav: 0.02 s" in said
    assert "WAV FLOAT" in said
    assert "times real time" in said
    assert sorted(p.name for p in folder.iterdir()) == ["g.json", "x.wav", "y.wav"]


def test_render_under_a_schedule_writes_the_same_file(folder: Path) -> None:
    save(folder / "g.json", late())
    sound("x.wav")
    sound("y.wav", 2, 1200)
    run("plan", "g.json", "--block", 64, "--width", 4, "-o", "s.json")
    assert amp.IPLS.from_json(Path("s.json").read_bytes()).block == 64
    files = ["--in", "x=x.wav", "--in", "y=y.wav"]
    run("render", "g.json", *files, "--out", "sum=a.wav", "--out", "twice=b.wav")
    run("render", "g.json", *files, "--out", "sum=c.flac", "--out", "twice=d.wav", "--subtype",
        "PCM_16", "--ipls", "s.json", "--tail", "0.01")  # fmt: skip
    assert heard("a.wav").shape == (2, 1200)
    assert heard("c.flac").shape == (2, 1680)
    assert np.abs(heard("b.wav")[:, :1000] / 2 - heard("x.wav")).max() == 0
    clipped = np.clip(heard("a.wav"), -1, 1 - 2**-15)
    assert np.abs(heard("c.flac")[:, :1200] - clipped).max() <= 2**-15


def test_render_makes_sound_from_nothing(folder: Path) -> None:
    g = amp.Graph(RATE)
    g.output("out", 1.5 * g.add(nodes.Sine(frequency=1000.0)))
    save(folder / "g.json", g)
    said = run("render", "g.json", "--out", "y.wav", "--seconds", 0.1)
    assert "are above full scale" in said
    assert np.abs(heard("y.wav")).max() == 1.5
    said = run("render", "g.json", "--out", "y.wav", "--seconds", 0.1, "--subtype", "PCM_24")
    loud = re.search(r"(\d+) sample\(s\) were clipped", said)
    assert loud
    assert int(loud[1]) > 1000
    assert np.abs(heard("y.wav")).max() <= 1


def test_render_shows_progress_only_if_it_takes_long(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(folder / "g.json", halve())
    sound("x.wav")
    assert "rendering" not in run("render", "g.json", "--in", "x.wav", "--out", "y.wav")
    terminal = io.StringIO()
    monkeypatch.setattr(cli, "err", Console(file=terminal, force_terminal=True))
    run("render", "g.json", "--in", "x.wav", "--out", "y.wav")
    assert not terminal.getvalue()
    ticks = iter(range(1000))
    monkeypatch.setattr(time, "perf_counter", lambda: float(next(ticks)))
    run("render", "g.json", "--in", "x.wav", "--out", "y.wav")
    assert "rendering" in terminal.getvalue()


WRONG = [
    (["g.json", "--in", "x.wav"], ["each output of the graph has a file", "--out out=FILE.wav"]),
    (["g.json", "--out", "y.wav"], ["each input of the graph has a file", "'x'"]),
    (["g.json", "--in", "slow.wav", "--out", "y.wav"], ["48000 Hz", "44100 Hz", "resample"]),
    (["g.json", "--in", "wide.wav", "--out", "y.wav"], ["channels of input 'x'", "got: 2"]),
    (["g.json", "--in", "x.wav", "--in", "x=x.wav", "--out", "y.wav"], ["is given once"]),
    (["g.json", "--in", "x.wav", "--out", "y.txt"], ["a .wav, .flac or other sound file"]),
    (["g.json", "--in", "x.wav", "--out", "no/y.wav"], ["in a directory that exists"]),
    (["g.json", "--in", "x.wav", "--out", "x.wav"], ["a file of its own"]),
    (["g.json", "--in", "x.wav", "--out", "y.flac", "--subtype", "FLOAT"], ["PCM_16", "FLOAT"]),
    (["g.json", "--in", "none.wav", "--out", "y.wav"], ["none.wav"]),
    (["g.json", "--in", "g.json", "--out", "y.wav"], ["libsndfile"]),
    (["none.json", "--in", "x.wav", "--out", "y.wav"], ["No such file", "none.json"]),
    (["x.wav", "--in", "x.wav", "--out", "y.wav"], ["a graph file", "x.wav"]),
    (["g.json", "--in", "x.wav", "--out", "y.wav", "--ipls", "g.json"], ["a schedule is JSON"]),
    (["g.json", "--in", "x.wav", "--out", "y.wav", "--ipls", "s.json"], ["made for another graph"]),
    (["g.json", "--in", "x.wav", "--out", "y.wav", "--seconds", "1"], ["--seconds", "both"]),
    (["late.json", "--in", "x.wav", "--out", "y.wav"], ["--in says which input", "--in y=x.wav"]),
    (["batch.json", "--in", "x.wav", "--out", "y.wav"], ["a batch of 1", "got: 2"]),
    (["nan.json", "--in", "x.wav", "--out", "y.wav"], ["finite", "output 'out' from frame 0 on"]),
]  # fmt: skip


@pytest.mark.parametrize("words, expected", WRONG)
def test_errors_are_words(folder: Path, words: list[str], expected: list[str]) -> None:
    save(folder / "g.json", halve())
    save(folder / "late.json", late())
    (folder / "s.json").write_text(amp.plan(late()).to_json())
    batch = amp.Graph(RATE, batch=2)
    batch.output("out", batch.input("x"))
    save(folder / "batch.json", batch)
    nan = amp.Graph(RATE)
    nan.output("out", nan.add(nodes.Function("sqrt"), nan.input("x") - 2.0))
    save(folder / "nan.json", nan)
    sound("x.wav")
    sound("wide.wav", 2)
    sound("slow.wav", rate=44_100)
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    said = run("render", *words, code=2)
    assert said.startswith("error: ")
    assert "Traceback" not in said
    for word in expected:
        assert word in said
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before


def test_a_stop_is_clean(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(folder / "g.json", halve())
    sound("x.wav")
    (folder / "y.wav").write_bytes(b"old")

    def stop(*_: object, **__: object) -> None:
        next(folder.glob(".y.*.wav")).write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(soundfile, "write", stop)
    said = run("render", "g.json", "--in", "x.wav", "--out", "y.wav", code=130)
    assert "stopped" in said
    assert (folder / "y.wav").read_bytes() == b"old"
    assert sorted(p.name for p in folder.iterdir()) == ["g.json", "x.wav", "y.wav"]


@pytest.mark.slow
def test_control_c_reaches_native_code(folder: Path) -> None:
    g = amp.Graph(RATE)
    streams = [
        g.add(nodes.Function("tan"), g.add(nodes.Saw(frequency=50.0 + i))) for i in range(256)
    ]
    g.output("out", g.add(nodes.Mix(), *streams))
    save(folder / "g.json", g)
    command = [sys.executable, "-c", "from amp.cli import main; main()", "render", "g.json",
               "--out", "y.wav", "--seconds", "600"]  # fmt: skip
    root = str(Path(amp.__file__).parents[1])
    path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    heard = signal.signal(signal.SIGINT, signal.SIG_DFL)  # whoever ignores it hands that on
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": path}
    )
    signal.signal(signal.SIGINT, heard)
    time.sleep(3.0)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=20)
    assert process.returncode == 130, said
    assert "stopped" in said
    assert "Traceback" not in said
    assert [p.name for p in folder.iterdir()] == ["g.json"]


def test_plan_prints_a_schedule(folder: Path) -> None:
    save(folder / "g.json", late())
    assert run("plan", "g.json", "--block", 32).startswith("IPLS of block 32\n  stage 0: Input x2")
    assert "a width is one of" in run("plan", "g.json", "--width", 3, code=2)


def test_inspect_lists_nodes_and_kernels(folder: Path) -> None:
    save(folder / "g.json", late())
    said = run("inspect", "g.json")
    for word in (
        "6 nodes",
        "48000 Hz",
        "x +100 frames",
        "latency of 'sum': 100 frame(s), 2.083 ms",
    ):
        assert word in said, said
    run("plan", "g.json", "-o", "s.json")
    said = run("inspect", "g.json", "--ipls", "s.json", "--rows", 3)
    assert "stage" in said
    assert "kernel" in said
    assert "... and 3 more" in said


def test_names_cannot_steer_the_terminal(folder: Path) -> None:
    g = amp.Graph(RATE)
    g.output("[red]\x1b[2J", g.input("x"))
    save(folder / "g.json", g)
    said = run("inspect", "g.json")
    assert "\x1b" not in said
    assert r"[red]\x1b[2J" in said


def test_bench_compares_the_engines(folder: Path) -> None:
    save(folder / "g.json", late())
    said = run("bench", "g.json", "--repetitions", 3)
    for word in ("KPN", "IPLS", "per block of 256", "times", "KPN / IPLS =", "the same bits"):
        assert word in said


@pytest.mark.parametrize("kind", ["graph", "ipls"])
def test_schema_is_json(kind: str) -> None:
    assert "$defs" in json.loads(run("schema", kind))
    assert "graph or ipls" in run("schema", "song", code=2)


def test_threads_and_memory_are_bounded(folder: Path) -> None:
    g = amp.Graph(RATE)
    g.output("out", g.add(nodes.Delay(1 << 20), g.input("x"), 5.0))
    save(folder / "g.json", g)
    assert "no more memory" in run("inspect", "g.json", "--max-memory", 1, code=2)
    run("plan", "g.json", "--block", 1 << 16, "-o", "s.json")
    said = run("inspect", "g.json", "--max-memory", 17, "--ipls", "s.json", code=2)
    assert "a schedule needs no more memory" in said


@pytest.mark.slow
def test_demo_writes_what_it_says(folder: Path) -> None:
    said = run("demo", "--out", "demo", "--no-pictures")
    assert "the same bits" in said
    names = {"input.wav", "output.wav", "graph.json", "ipls.json"}
    assert {p.name for p in (folder / "demo").iterdir()} == names
    run("render", "demo/graph.json", "--in", "demo/input.wav", "--out", "again.wav",
        "--ipls", "demo/ipls.json")  # fmt: skip
    assert np.array_equal(heard("again.wav"), heard("demo/output.wav"))
    assert np.abs(heard("demo/output.wav")).max() < 1
