"""The command ``amp``: play, plan, look at and time graph files. Only this module prints."""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import importlib.util
import inspect
import json
import os
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from amp import demo as demonstration
from amp import files
from amp import plot as draw
from amp.errors import AmpError, BadFile, BadInput, BadValue
from amp.pipeline import compile as compile_graph
from amp.schedule import IPLS, paces, settle
from amp.schedule import plan as plan_graph
from amp.schedule.ipls import schema as schedule_schema

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from numpy.typing import NDArray

    from amp.graph import Frozen, Graph, Node
    from amp.program import Program, Result

    Array = NDArray[np.float64]

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
out = Console(highlight=False, soft_wrap=True)
if not out.is_terminal:
    out = Console(highlight=False, soft_wrap=True, width=160)
err = Console(stderr=True, highlight=False, soft_wrap=True)

FAILED, STOPPED = 2, 130
MAX_ROWS = 200
UNCLIPPED = ("FLOAT", "DOUBLE")
"""Subtypes that hold samples above full scale; others clip them."""

GraphPath = Annotated[Path, typer.Argument(metavar="GRAPH.json", help="A graph file.")]
SchedulePath = Annotated[
    Path | None, typer.Option("--ipls", metavar="S.json", help="A schedule; else the KPN.")
]
Threads = Annotated[int, typer.Option(min=1, max=256, help="Threads for a schedule's kernels.")]
MaxMemory = Annotated[int, typer.Option(min=1, help="Most MiB of memory that the graph may need.")]
DEFAULT_MEMORY = files.MAX_MEMORY >> 20


def main() -> None:
    """Run the command line."""
    app()


def _guarded(command: Callable[..., None]) -> Callable[..., None]:
    """Errors as words in red, not as tracebacks; Ctrl-C as a clean stop."""

    @functools.wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
        except AmpError as error:
            err.print(f"[bold red]error:[/] [red]{escape(_printable(error.text()))}[/]")
            raise typer.Exit(FAILED) from None
        except OSError as error:
            said = f"{error.strerror}: {error.filename}" if error.filename else str(error)
            err.print(f"[bold red]error:[/] [red]{escape(_printable(said))}[/]")
            raise typer.Exit(FAILED) from None
        except KeyboardInterrupt:
            err.print("[yellow]stopped; no file is left half written[/]")
            raise typer.Exit(STOPPED) from None

    run.__signature__ = inspect.signature(command, eval_str=True)  # type: ignore[attr-defined]
    return run


def _printable(text: str) -> str:
    """Text of a file without what steers a terminal."""
    return "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text)


# ---- reading and writing files


def _read(path: Path, limit: int) -> bytes:
    with path.open("rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise BadFile(f"a file has at most {limit} bytes", where=str(path))
    return data


def _read_graph(path: Path, max_memory: int = DEFAULT_MEMORY) -> Graph:
    try:
        return files.graph_from_json(_read(path, files.MAX_FILE_BYTES), max_bytes=max_memory << 20)
    except BadFile as error:
        raise _at(error, path) from None


def _at(error: BadFile, path: Path) -> BadFile:
    where = f"{path}: {error.where}" if error.where else str(path)
    fix = "--max-memory" if "max_bytes" in error.fix else error.fix
    return BadFile(error.rule, expected=error.expected, got=error.got, where=where, fix=fix)


def _read_schedule(path: Path | None, graph: Graph, max_memory: int) -> IPLS | None:
    if path is None:
        return None
    try:
        ipls = IPLS.from_json(_read(path, files.MAX_FILE_BYTES))
    except BadFile as error:
        raise _at(error, path) from None
    need = files.memory_estimate(graph, max(1, min(ipls.block, 1 << 16)))
    if need > max_memory << 20:
        raise BadFile(
            "a schedule needs no more memory than is allowed",
            expected=f"at most {max_memory} MiB",
            got=f"about {need >> 20} MiB",
            where=str(path),
            fix="use a smaller block, or --max-memory",
        )
    return ipls


@contextlib.contextmanager
def _replacing(paths: list[Path]) -> Iterator[list[Path]]:
    """Fresh paths to write; they become ``paths``, all of them, if nothing goes wrong."""
    fresh: list[Path] = []
    try:
        for path in paths:
            handle, name = tempfile.mkstemp(path.suffix, f".{path.stem}.", path.parent)
            os.close(handle)
            fresh.append(Path(name))
        yield fresh
        mask = os.umask(0)
        os.umask(mask)
        for new, path in zip(fresh, paths, strict=True):
            new.chmod(0o666 & ~mask)
            new.replace(path)
    finally:
        for new in fresh:
            new.unlink(missing_ok=True)


def _write_text(path: Path, text: str) -> None:
    if not path.parent.is_dir():
        raise BadFile("a file is written to a directory that exists", got=str(path.parent))
    with _replacing([path]) as (fresh,):
        fresh.write_text(text, encoding="utf-8")


def _soundfile() -> Any:
    try:
        import soundfile
    except (ImportError, OSError) as error:
        raise AmpError(
            "sound files are read and written by soundfile",
            got=str(error),
            fix="pip install 'amp-dsp[audio]'",
        ) from None
    return soundfile


def _read_sound(path: Path, graph: Graph, node: Node) -> Array:
    """Samples for an input, ``(1, channel, frame)``."""
    soundfile = _soundfile()
    if not path.is_file():
        raise BadInput(f"the sound file of input {node.name!r} exists", got=str(path))
    try:
        samples, rate = soundfile.read(path, dtype="float64", always_2d=True)
    except (soundfile.LibsndfileError, TypeError) as error:
        raise BadFile("a sound file is one that libsndfile reads", got=str(error)) from None
    if rate != graph.sample_rate:
        raise BadInput(
            "a sound file has the sample rate of the graph",
            expected=f"{graph.sample_rate:g} Hz",
            got=f"{rate} Hz",
            where=str(path),
            fix=f"resample it, e.g. sox {path.name} -r {graph.sample_rate:g} resampled.wav",
        )
    channels = samples.shape[1]
    if channels not in {1, node.channels}:
        raise BadInput(
            f"a sound file has the channels of input {node.name!r}, or one for all",
            expected=str(node.channels),
            got=str(channels),
            where=str(path),
            fix="mix its channels, or give the graph's input as many",
        )
    if not len(samples):
        raise BadInput("a sound file has at least one frame", where=str(path))
    return np.ascontiguousarray(np.broadcast_to(samples.T, (node.channels, len(samples))))[None]


@dataclass(frozen=True)
class _Sound:
    """What becomes one file."""

    name: str
    path: Path
    format: str
    subtype: str


def _sound_of(name: str, path: Path, subtype: str | None) -> _Sound:
    soundfile = _soundfile()
    kind = path.suffix[1:].upper()
    known = soundfile.available_formats()
    if kind not in known or kind == "RAW":
        raise BadFile("an output is a .wav, .flac or other sound file", got=str(path))
    subtype = subtype or ("FLOAT" if kind in {"WAV", "AIFF"} else soundfile.default_subtype(kind))
    subtype = subtype.upper()
    if not soundfile.check_format(kind, subtype):
        raise BadFile(
            f"a {kind} file holds samples of its subtypes",
            got=subtype,
            expected=", ".join(soundfile.available_subtypes(kind)),
        )
    if not path.parent.is_dir():
        raise BadFile("an output is in a directory that exists", got=str(path.parent))
    return _Sound(name, path, kind, subtype)


def _write_sounds(sounds: list[_Sound], result: Mapping[str, Array], rate: float) -> None:
    if rate != int(rate):
        raise BadValue("a sound file has a whole sample rate", got=f"{rate} Hz")
    soundfile = _soundfile()
    for sound in sounds:
        samples = result[sound.name]
        broken = ~np.isfinite(samples).all(axis=(0, 1))
        if broken.any():
            raise BadValue(
                "samples of a sound file are finite",
                got=f"NaN or infinity in output {sound.name!r} from frame {int(broken.argmax())} on",
            )
    with _replacing([sound.path for sound in sounds]) as fresh:
        for sound, path in zip(sounds, fresh, strict=True):
            try:
                soundfile.write(
                    path, result[sound.name][0].T, int(rate), sound.subtype, format=sound.format
                )
            except soundfile.LibsndfileError as error:
                raise BadFile("a sound file can be written", got=str(error)) from None
    for sound in sounds:
        samples = result[sound.name]
        peak = float(np.abs(samples).max())
        over = int((np.abs(samples) > 1.0).sum())
        level = f"peak {20 * np.log10(peak):.1f} dBFS" if peak > 0 else "silent"
        out.print(
            f"wrote {escape(_printable(str(sound.path)))}: {samples.shape[2] / rate:.2f} s, "
            f"{samples.shape[1]} channel(s), {sound.format} {sound.subtype}, {level}"
        )
        if over and sound.subtype not in UNCLIPPED:
            err.print(f"[yellow]{over} sample(s) were clipped[/]")
        elif over:
            err.print(f"[yellow]{over} sample(s) are above full scale; a player will clip them[/]")


def _pairs(given: list[str], names: list[str], option: str, what: str) -> dict[str, Path]:
    """Name to path of ``--in`` or ``--out``: ``name=path``, or a path if there is one name."""
    found: dict[str, Path] = {}
    for item in given:
        name, equals, path = item.partition("=")
        if equals and name not in names and not Path(item).exists():
            raise BadInput(
                f"{option} names an {what} of the graph",
                expected=", ".join(map(repr, names)) or "none",
                got=repr(name),
            )
        if not equals or name not in names:
            if len(names) != 1:
                raise BadInput(
                    f"{option} says which {what} it is for",
                    got=item,
                    expected=" or ".join(f"{option} {n}={item}" for n in names) or f"no {what}",
                )
            name, path = names[0], item
        if name in found:
            raise BadInput(f"{what} {name!r} is given once", got=item)
        found[name] = Path(path)
    missing = [name for name in names if name not in found]
    if missing:
        raise BadInput(
            f"each {what} of the graph has a file",
            got=f"none for {', '.join(map(repr, missing))}",
            fix=" ".join(f"{option} {name}=FILE.wav" for name in missing),
        )
    return found


def _settings(given: list[str]) -> Iterator[tuple[str, float]]:
    """Name and number of each ``--set``."""
    for item in given:
        name, _, value = item.partition("=")
        try:
            yield name, float(value)
        except ValueError:
            raise BadValue(
                "--set gives a parameter a number", got=item, expected="--set cutoff=800"
            ) from None


# ---- commands


def _version(asked: bool) -> None:
    if asked:
        out.print(importlib.metadata.version("amp-dsp"))
        raise typer.Exit


@app.callback()
@_guarded
def start(
    modules: Annotated[
        list[str] | None,
        typer.Option(
            "--import", metavar="MODULE", help="A module or file with node types of yours."
        ),
    ] = None,
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say it and stop.")
    ] = False,
) -> None:
    """Signal-processing graphs as native code."""
    for name in modules or []:
        _import(name)


def _import(name: str) -> None:
    """Run a module, or a file, that defines node types."""
    path = Path(name)
    if path.suffix == ".py":
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[path.stem] = module
        spec.loader.exec_module(module)
        return
    sys.path.insert(0, "")
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as missing:
        raise BadValue(
            "--import names a module that is installed or here, or a file that ends in .py",
            got=str(missing),
        ) from None
    finally:
        sys.path.remove("")


@app.command()
@_guarded
def render(
    graph: GraphPath,
    inputs: Annotated[
        list[str] | None,
        typer.Option(
            "--in", metavar="[NAME=]X.wav", help="A sound file for an input; again for each."
        ),
    ] = None,
    outputs: Annotated[
        list[str] | None,
        typer.Option(
            "--out", metavar="[NAME=]Y.wav", help="A sound file for an output; again for each."
        ),
    ] = None,
    ipls: SchedulePath = None,
    threads: Threads = 1,
    subtype: Annotated[
        str | None, typer.Option(help="FLOAT, DOUBLE, PCM_16, PCM_24, ...; FLOAT for WAV.")
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(min=0.0, help="Seconds, if the graph has no inputs.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="PARAM=X", help="A number for a parameter; again for each."),
    ] = None,
    tail: Annotated[
        float, typer.Option(min=0.0, help="Seconds of silence after the inputs.")
    ] = 0.0,
    max_memory: MaxMemory = DEFAULT_MEMORY,
) -> None:
    """Play sound files through a graph: from a fresh state, aligned with the inputs."""
    g = _read_graph(graph, max_memory)
    if g.batch != 1:
        raise BadInput("a graph that is rendered has a batch of 1", got=str(g.batch))
    ins = {node.name: node for node in g.nodes if node.type.border == "input"}
    out_names = [node.name for node in g.nodes if node.type.border == "output"]
    sources = _pairs(inputs or [], list(ins), "--in", "input")
    targets = _pairs(outputs or [], out_names, "--out", "output")
    sounds = [_sound_of(name, path, subtype) for name, path in targets.items()]
    if len({s.path.resolve() for s in sounds}) < len(sounds) or {
        s.path.resolve() for s in sounds
    } & {p.resolve() for p in sources.values()}:
        raise BadFile("an output has a file of its own", got=", ".join(str(s.path) for s in sounds))
    if bool(ins) == (seconds is not None):
        raise BadInput(
            "the length is that of the inputs, or --seconds where there are none",
            got="both" if ins else "neither",
        )
    schedule = _read_schedule(ipls, g, max_memory)
    arrays = {name: _read_sound(path, g, ins[name]) for name, path in sources.items()}
    frames = max((a.shape[2] for a in arrays.values()), default=0)
    frames += round((tail + (seconds or 0.0)) * g.sample_rate)
    arrays = {
        name: np.pad(a, ((0, 0), (0, 0), (0, frames - a.shape[2]))) for name, a in arrays.items()
    }
    program = compile_graph(g, schedule, threads=threads, max_arena_bytes=max_memory << 20)
    for name, value in _settings(settings or []):
        program.set(name, value)
    begin = time.perf_counter()
    result = _render(program, arrays, frames)
    took = time.perf_counter() - begin
    _write_sounds(sounds, result, g.sample_rate)
    lasts = frames / g.sample_rate
    out.print(f"{lasts:.2f} s of sound in {took:.3f} s: {lasts / took:,.0f} times real time")


def _render(program: Program, arrays: Mapping[str, Array], frames: int) -> Result:
    """Render; a bar appears if it takes more than a moment."""
    begin = time.perf_counter()
    columns = (
        TextColumn("rendering"),
        BarColumn(),
        TextColumn("{task.percentage:3.0f} %"),
        TimeRemainingColumn(),
    )
    with contextlib.ExitStack() as stack:
        bar: Progress | None = None
        task: Any = None

        def show(done: int, total: int) -> None:
            nonlocal bar, task
            if bar is None and err.is_terminal and time.perf_counter() - begin > 0.5:
                bar = stack.enter_context(Progress(*columns, console=err, transient=True))
                task = bar.add_task("", total=total)
            if bar is not None:
                bar.update(task, completed=done)

        return program.render(dict(arrays), frames=frames, progress=show)


@app.command()
@_guarded
def plan(
    graph: GraphPath,
    block: Annotated[int, typer.Option(min=1, max=1 << 16, help="Frames of an iteration.")] = 256,
    width: Annotated[int, typer.Option(help="Lanes at a time: 1, 2, 4, 8, 16, 32.")] = 8,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="S.json", help="Where to save it.")
    ] = None,
    max_memory: MaxMemory = DEFAULT_MEMORY,
) -> None:
    """Make a schedule (IPLS) for a graph; print it, or save it."""
    if width not in {1, 2, 4, 8, 16, 32}:
        raise BadValue("a width is one of 1, 2, 4, 8, 16, 32", got=str(width))
    g = _read_graph(graph, max_memory)
    made = plan_graph(g, block=block, width=width)
    if output is None:
        out.print(escape(_printable(str(made))))
        return
    _write_text(output, made.to_json())
    stages = sum(1 for _ in made.walk())
    out.print(f"wrote {output}: {stages} stage(s) of block {made.block} for {len(g.nodes)} nodes")


@app.command("inspect")
@_guarded
def inspect_graph(
    graph: GraphPath,
    ipls: SchedulePath = None,
    rows: Annotated[int, typer.Option(min=1, help="Most nodes to list.")] = MAX_ROWS,
    max_memory: MaxMemory = DEFAULT_MEMORY,
) -> None:
    """List a graph's nodes: types, channels, what they read, start, and the kernel they run in."""
    g = _read_graph(graph, max_memory)
    frozen = settle(g.freeze())
    schedule = _read_schedule(ipls, g, max_memory)
    pace = paces(frozen)
    program = compile_graph(g, schedule, max_arena_bytes=max_memory << 20)
    kernel: dict[int, list[str]] = {}
    for i, call in enumerate(program._instance.bound.lowered.calls):
        for group in call.groups:
            for node in group.members:
                kernel[node.index] = [str(i), str(call.lanes), str(call.width)]
    stage = {
        name: str(number)
        for number, some, _ in (schedule.walk() if schedule else ())
        for cohort in some.cohorts
        for name in cohort.members
    }
    table = Table(box=SIMPLE_HEAD, header_style="bold", pad_edge=False, padding=(0, 1, 0, 0))
    columns = ["node", "type", "reads", "channels", "rate", "start"]
    columns += ["stage", "kernel"] if schedule else ["process"]
    for column in [*columns, "lanes", "width"]:
        left = column in {"node", "type", "reads"}
        table.add_column(
            column, justify="left" if left else "right", overflow="fold", no_wrap=not left
        )
    for node in frozen.nodes[:rows]:
        row = [node.name, node.kind, _reads(node, frozen)]
        own = pace[node.index]
        when = [str(Fraction(own.firings, own.frames)), str(own.start)]
        row += [str(node.channels), *(["data", ""] if frozen.dynamic[node.index] else when)]
        row += [stage.get(node.name, "")] if schedule else []
        row += kernel.get(node.index, ["", "", ""])
        table.add_row(*(escape(_printable(cell)) for cell in row))
    need = files.memory_estimate(g, *([schedule.block] if schedule else []))
    out.print(
        f"{len(frozen.nodes)} nodes, {len(frozen.source)} edges, batch {g.batch}, "
        f"{g.sample_rate:g} Hz; rates are firings a frame; about {need / 2**20:.1f} MiB"
    )
    out.print(table, soft_wrap=False)
    if len(frozen.nodes) > rows:
        out.print(f"... and {len(frozen.nodes) - rows} more; see --rows")
    for name, frames in program.latency.items():
        out.print(
            escape(_printable(f"latency of {name!r}: {frames} frame(s), "))
            + f"{1e3 * frames / g.sample_rate:.3f} ms"
        )
    out.print(f"fingerprint {frozen.fingerprint}")


def _reads(node: Node, frozen: Frozen) -> str:
    words = []
    for edge in node.edges[:4]:
        word = frozen.nodes[edge.source].name
        word += f" z^{-edge.tokens}" if edge.tokens else ""
        word += f" +{edge.delay} frames" if edge.delay else ""
        words.append(word)
    if len(node.edges) > 4:
        words.append(f"... {len(node.edges)} in all")
    return ", ".join(words)


@app.command()
@_guarded
def bench(
    graph: GraphPath,
    ipls: SchedulePath = None,
    block: Annotated[int, typer.Option(min=1, max=1 << 16, help="Block of the plan.")] = 256,
    threads: Threads = 1,
    repetitions: Annotated[int, typer.Option(min=3, help="Runs of each engine.")] = 15,
    max_memory: MaxMemory = DEFAULT_MEMORY,
) -> None:
    """Time a graph under the KPN and under a schedule, in turns, and compare the samples."""
    g = _read_graph(graph, max_memory)
    schedule = _read_schedule(ipls, g, max_memory) or plan_graph(g, block=block)
    timed = _compare(g, schedule, _noise(g), threads=threads, repetitions=repetitions)
    _print_comparison(g, timed)
    if not timed.same:
        raise AmpError("KPN and IPLS give the same bits: a defect of amp, please report it")


def _noise(g: Graph) -> Callable[[int], dict[str, Array]]:
    def make(frames: int) -> dict[str, Array]:
        random = np.random.default_rng(0)
        return {
            node.name: 0.1 * random.standard_normal((g.batch, node.channels, frames))
            for node in g.nodes
            if node.type.border == "input"
        }

    return make


@dataclass(frozen=True)
class _Comparison:
    """Seconds of each run by engine; ``same`` if every output had the same bits."""

    block: int
    frames: int
    seconds: dict[str, list[float]]
    compiled: dict[str, float]
    same: bool
    last: Result


def _compare(
    g: Graph,
    schedule: IPLS,
    make: Callable[[int], dict[str, Array]],
    *,
    frames: int = 0,
    threads: int = 1,
    repetitions: int = 15,
) -> _Comparison:
    programs, compiled = {}, {}
    for name, some in (("KPN", None), ("IPLS", schedule)):
        begin = time.perf_counter()
        programs[name] = compile_graph(g, some, threads=threads if some else 1)
        compiled[name] = time.perf_counter() - begin
    if not frames:  # long enough to be timed well
        frames = 16 * schedule.block
        while frames < 1 << 20:
            inputs = make(frames)
            begin = time.perf_counter()
            programs["IPLS"].run(inputs, frames=frames)
            if time.perf_counter() - begin > 0.02:
                break
            frames *= 2
    inputs = make(frames)
    seconds: dict[str, list[float]] = {name: [] for name in programs}
    same, results = True, {}
    for turn in range(repetitions + 1):
        for name in programs if turn % 2 else reversed(programs):
            programs[name].reset()
            begin = time.perf_counter()
            results[name] = programs[name].run(inputs, frames=frames)
            seconds[name].append(time.perf_counter() - begin)
        same &= all(
            np.array_equal(a.view(np.int64), results["IPLS"][name].view(np.int64))
            for name, a in results["KPN"].items()
        )
    for values in seconds.values():
        del values[0]  # the first turn warms up
    return _Comparison(schedule.block, frames, seconds, compiled, same, results["IPLS"])


def _print_comparison(g: Graph, timed: _Comparison) -> None:
    table = Table(box=SIMPLE_HEAD, header_style="bold", pad_edge=False)
    for column in ("engine", "compiled", f"per block of {timed.block}", "middle half", "real time"):
        table.add_column(column, justify="left" if column == "engine" else "right")
    blocks = timed.frames / timed.block
    for name, values in timed.seconds.items():
        micro = [1e6 * value / blocks for value in values]
        middle = statistics.median(micro)
        low, _, high = statistics.quantiles(micro, n=4)
        factor = 1e6 * timed.block / g.sample_rate / middle
        table.add_row(
            name,
            f"{1e3 * timed.compiled[name]:.0f} ms",
            f"{middle:,.2f} µs",
            f"{low:,.2f} to {high:,.2f} µs",
            f"{factor:,.1f} times",
        )
    out.print(table, soft_wrap=False)
    kpn, ipls = (statistics.median(timed.seconds[name]) for name in ("KPN", "IPLS"))
    out.print(
        f"KPN / IPLS = [bold]{kpn / ipls:.2f}[/]; median of {len(timed.seconds['KPN'])} turns of "
        f"{timed.frames} frames each; samples are "
        + ("[green]the same bits[/]" if timed.same else "[bold red]NOT the same[/]")
    )


@app.command()
@_guarded
def demo(
    output: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where to write.")] = Path(
        "demo"
    ),
    pictures: Annotated[bool, typer.Option(help="Draw with Matplotlib.")] = True,
) -> None:
    """Make a phrase, play it through a graph under KPN and IPLS, compare, time, draw."""
    _soundfile()
    output.mkdir(parents=True, exist_ok=True)
    sound = demonstration.phrase()
    _write_sounds(
        [_Sound("in", output / "input.wav", "WAV", "FLOAT")],
        {"in": sound},
        demonstration.SAMPLE_RATE,
    )
    sound = sound.astype(np.float32).astype(np.float64)  # what the file holds
    _write_text(output / "graph.json", files.graph_to_json(demonstration.graph()))
    g = _read_graph(output / "graph.json")
    schedule = plan_graph(g)
    _write_text(output / "ipls.json", schedule.to_json())
    timed = _compare(g, schedule, lambda _: {"guitar": sound}, frames=sound.shape[2], repetitions=5)
    _write_sounds([_Sound("out", output / "output.wav", "WAV", "FLOAT")], timed.last, g.sample_rate)
    out.print(f"wrote {output / 'graph.json'}: {len(g.nodes)} nodes; {output / 'ipls.json'}")
    _print_comparison(g, timed)
    if pictures:
        _draw(g, schedule, sound, timed.last, output)
    out.print(
        f"try: amp render {output / 'graph.json'} --in {output / 'input.wav'} --out again.wav "
        f"--ipls {output / 'ipls.json'}"
    )
    if not timed.same:
        raise AmpError("KPN and IPLS give the same bits: a defect of amp, please report it")


def _draw(g: Graph, schedule: IPLS, sound: Array, result: Result, output: Path) -> None:
    figures = {"graph.png": draw.graph(g), "signal.png": draw.signal(result)}
    for name, some in (("kpn.png", None), ("ipls.png", schedule)):
        program = compile_graph(g, some, timing=True)
        program.run({"guitar": sound})
        figures[name] = draw.schedule(program)
    for name, figure in figures.items():
        figure.savefig(output / name)
    out.print(f"drew {', '.join(str(output / name) for name in figures)}")


@app.command()
@_guarded
def schema(
    kind: Annotated[str, typer.Argument(help="graph or ipls")] = "graph",
) -> None:
    """Print the JSON schema of graph files, or of schedules."""
    makers = {"graph": files.schema, "ipls": schedule_schema}
    if kind not in makers:
        raise BadValue("a schema is that of graph or ipls", got=kind)
    out.print(json.dumps(makers[kind](), indent=2), markup=False, soft_wrap=True)
