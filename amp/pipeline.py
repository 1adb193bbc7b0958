"""The compiler: one function, every step in order.

Read it top to bottom. Each step is one function in its own room; what it takes and returns is a plain
value that can be looked at.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from amp.constants import is_whole
from amp.contract import NATIVE, array_of
from amp.errors import ArchetypeUnavailable, BadGraph, BadValue, NotDifferentiable
from amp.graph import Graph
from amp.schedule import IPLS, KPN_FRAMES, check_schedule, paces, settle

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from amp.contract import NodeType
    from amp.frozen import Frozen
    from amp.instance import Instance
    from amp.ir import Kernel
    from amp.jit.bind import Bound
    from amp.jit.cluster import Clustering
    from amp.jit.group import Item
    from amp.jit.guard import Mode
    from amp.jit.heat import Heat
    from amp.jit.lowered import Lowered
    from amp.program import Program
    from amp.schedule import Paces
    from amp.tape import Tape

    Watch = Callable[[str, Kernel], None]

SHARED_FRAMES = 1024
"""Most frames of one firing of a KPN process on several threads: enough that handing processes over is
worth it."""
HEAT = 23
"""Of so many tokens one is measured. It divides no usual period, so that the measured ones fall on every
phase of what repeats; see docs/decisions/0019-heat.md."""
MAX_HEAT = 1024
MAX_THREADS = 256
MAX_ARENA_BYTES = 1 << 32
"""Most bytes of a program's arena unless the caller says otherwise."""
TAPE_FRAMES = 256
"""Frames that a backward pass runs again at a time, if blocks are not longer."""
SHORT = 256
"""Most params of a node whose straight-line code is preferred to an archetype."""


def compile(
    graph: Graph,
    ipls: IPLS | None = None,
    *,
    threads: int = 1,
    timing: bool = False,
    heat: int = HEAT,
    archetypes: Literal["auto", "eigen", "ir"] = "auto",
    on_nonfinite: Mode = "propagate",
    max_arena_bytes: int = MAX_ARENA_BYTES,
    watch: Watch | None = None,
) -> Program:
    """Native code for a graph.

    Parameters
    ----------
    graph
        The graph; later changes to it do not reach the program.
    ipls
        A schedule for it; None is the data-driven Kahn process network. Samples are the same.
    threads
        Threads for the independent kernels of a schedule, or for the processes of the KPN that are
        ready. The bits are the same.
    timing
        Count the cycles of every kernel.
    heat
        Of every so many tokens of a stream, one whose power is measured, for ``result.heat``: 1 for all
        of them, 0 for none.
    archetypes
        Prebuilt Eigen kernels: ``"eigen"`` wherever there is one, ``"ir"`` never, ``"auto"`` where
        the same in IR would be long. The bits are the same.
    on_nonfinite
        What becomes of infinities and NaN. ``"propagate"``: what arithmetic makes of them. ``"raise"``:
        a run raises `NonFinite`, which names the first node that made one, and its frame. ``"reset"``:
        a node that makes one, or would remember one, gives 0 in that frame, in that lane, and the
        numbers that it remembers begin again. The last two cost time, and nothing is prebuilt then.
    max_arena_bytes
        Most bytes of the program's one allocation, also when rings grow while it runs.
    watch
        Called after each pass with its name and the kernel.

    Raises
    ------
    BadGraph, InconsistentRates, Deadlock, TooSlowCycle, IllegalSchedule, BadValue, ArenaExhausted

    Examples
    --------
    >>> import amp
    >>> import numpy as np
    >>> g = amp.Graph()
    >>> g.output("out", 0.5 * g.input("x"))
    >>> program = amp.compile(g)
    >>> program.run({"x": np.ones((1, 1, 4))})["out"]
    array([[[0.5, 0.5, 0.5, 0.5]]])
    """
    from amp.jit.guard import MODES
    from amp.program import Program
    from amp.timing import Timer

    if not is_whole(threads, 1, MAX_THREADS):
        raise BadValue(f"threads is a whole number from 1 to {MAX_THREADS}", got=repr(threads))
    if not is_whole(max_arena_bytes, 1):
        raise BadValue("max_arena_bytes is a whole number of bytes", got=repr(max_arena_bytes))
    if not is_whole(heat, 0, MAX_HEAT):
        raise BadValue(f"heat is a whole number of tokens from 0 to {MAX_HEAT}", got=repr(heat))
    if on_nonfinite not in MODES:
        raise BadValue(f"on_nonfinite is one of {MODES}", got=repr(on_nonfinite))
    choose = choose_archetypes(archetypes, guarded=on_nonfinite != "propagate")
    options = Options(threads, timing, heat, choose, on_nonfinite, max_arena_bytes, watch)

    def make(graph: Graph, ipls: IPLS | None) -> Instance:
        return build(graph, ipls, options)

    def alone(graph: Graph, ipls: IPLS | None) -> Instance:
        choose = choose_archetypes(archetypes)
        plain = Options(1, False, 0, choose, "propagate", max_arena_bytes, None)
        return build(graph, ipls, plain)

    return Program(make(graph, ipls), make, timer=Timer(alone) if timing else None)


@dataclass(frozen=True)
class Options:
    """What `compile` is asked for besides the graph and its schedule."""

    threads: int
    timing: bool
    heat: int
    choose: Callable[[NodeType], str]
    on_nonfinite: Mode
    max_arena_bytes: int
    watch: Watch | None


def build(graph: Graph, ipls: IPLS | None, options: Options) -> Instance:
    """Every step from a graph to native code in memory; see `compile`."""
    # Heavy libraries are loaded when something is compiled, not when amp is imported.
    from amp.instance import Instance
    from amp.jit.cluster import Clustering
    from amp.jit.heat import Heat
    from amp.jit.ipls_runner import IplsRunner
    from amp.jit.kpn_runner import KpnRunner
    from amp.jit.skew import skew_chains

    if not isinstance(graph, Graph):
        raise BadGraph("amp.compile takes a graph", got=repr(graph))
    if ipls is not None and not isinstance(ipls, IPLS):
        raise BadValue(
            "ipls is an amp.IPLS or None", got=repr(ipls), fix="load a file with IPLS.from_json"
        )

    # build: the graph as it is now
    frozen = graph.freeze()
    if not any(node.type.border == "output" for node in reversed(frozen.nodes)):
        raise BadGraph("a graph has at least one output", fix="call graph.output(name, stream)")

    # check: rates are solved, latencies inferred, cycles judged; then every edge is read in order
    frozen = settle(frozen)
    pace = paces(frozen)

    # schedule: none, or one that fits the graph
    if ipls is not None:
        check_schedule(ipls, frozen, pace)

    # cluster: which nodes become one kernel
    alone = KPN_FRAMES if options.threads == 1 else SHARED_FRAMES
    frames = alone if ipls is None else ipls.block
    plain = options.on_nonfinite == "propagate"
    clustering = Clustering(
        frozen, pace, frames, options.choose, guarded=not plain, measure=options.heat > 0
    )
    if ipls is None:
        items = clustering.alone()
    else:
        items = clustering.run(ipls.stages, frozen.numbers, frames)
        if plain:
            items = skew_chains(clustering, items, graph.batch, frames)

    # the last steps: IR, machine code, memory
    bound_anew = assemble(clustering, items, frozen, options, frames=frames)

    # program: memory bound, as often as there are clones
    def bind() -> Instance:
        bound = bound_anew()
        runner: IplsRunner | KpnRunner
        if ipls is None:
            runner = KpnRunner(bound, frozen, pace, threads=options.threads, timing=options.timing)
        else:
            runner = IplsRunner(
                bound, frames, pace.held(frames), threads=options.threads, timing=options.timing
            )
        return Instance(
            frozen,
            pace,
            bound,
            runner,
            schedule=ipls,
            notes=clustering.notes,
            again=bind,
            tape=lambda most, heat: build_tape(
                frozen, pace, ipls, replace(options, max_arena_bytes=most), heat
            ),
            heat=Heat(frozen, pace, bound, options.heat) if options.heat else None,
        )

    return bind()


def assemble(
    clustering: Clustering, items: list[Item], graph: Frozen, options: Options, *, frames: int
) -> Callable[[], Bound]:
    """The steps that a program and a backward pass share: kernels of ``items`` for calls of at most
    ``frames`` frames, and what gives them memory, as often as it is called."""
    from amp.jit.bind import Bound
    from amp.jit.generate import generate
    from amp.jit.lower import lower

    # lower: each distinct kernel is traced into IR once
    lowered = lower(
        clustering,
        items,
        frames=frames,
        batch=graph.batch,
        sample_rate=graph.sample_rate,
        guard=options.on_nonfinite,
        every=options.heat,
    )

    # passes: IR to IR
    run_passes(lowered, options.watch)

    # emit and engine: IR to machine code, or straight from the cache
    natives = [generate(call) for call in lowered.calls]

    def bind() -> Bound:
        return Bound(
            lowered,
            natives,
            graph.batch,
            own_scratch=options.threads > 1,
            max_bytes=options.max_arena_bytes,
        )

    return bind


def build_tape(
    frozen: Frozen, pace: Paces, ipls: IPLS | None, options: Options, heat: Heat | None
) -> Tape:
    """Every step from a checked graph to its backward pass in memory, of its ``heat`` too if there is one;
    see `Program.backward`."""
    from amp.jit.adjoint import differentiate
    from amp.jit.adjoint_blocks import Blocks
    from amp.jit.cluster import KPN_WIDTH, Clustering
    from amp.jit.cut import cut_clusters
    from amp.jit.runtime import Threads
    from amp.jit.skew import skew_chains
    from amp.schedule.plan import Planner
    from amp.tape import Tape

    if options.on_nonfinite == "reset":
        raise NotDifferentiable(
            "a lane that begins again has no derivative",
            got='on_nonfinite="reset"',
            fix='compile with "propagate" or "raise" to go back over a run',
        )

    # adjoint: the graph turned round, beside a twin that writes down what it needs
    frames = TAPE_FRAMES if ipls is None else max(TAPE_FRAMES, ipls.block)
    blocks = Blocks(frozen, pace, options.choose, frames)
    every = options.heat if heat else 0
    back = differentiate(frozen, pace, blocks, replay=ipls is not None, every=every)
    width = KPN_WIDTH if ipls is None else ipls.width

    # schedule and cluster: what is run again, then the adjoint; the samples need no other order
    clustering = Clustering(back.graph, back.pace, frames, options.choose)
    clustering.fuses = ipls is not None
    planner = Planner(back.graph, back.pace, width)

    def kernels(members: NDArray[np.int64]) -> list[Item]:
        return clustering.run(planner.items(members, frames), back.graph.numbers, frames)

    twin, adjoint = kernels(back.twins), kernels(back.adjoint)
    if ipls is not None:
        twin = skew_chains(clustering, twin, frozen.batch, frames, adjoint)
        adjoint = skew_chains(clustering, adjoint, frozen.batch, frames, twin)
        adjoint = cut_clusters(clustering, adjoint, frozen.batch)
    first = sum(item.kernels for item in twin), len(twin)

    # the last steps: as for any graph, without looking at values
    plain = replace(options, on_nonfinite="propagate", heat=0)
    bound = assemble(clustering, [*twin, *adjoint], frozen, plain, frames=frames)()
    threads = options.threads
    pool = Threads(threads) if threads > 1 else None
    return Tape(frozen, pace, back, bound, first, frames=frames, pool=pool, heat=heat)


def choose_archetypes(mode: str, *, guarded: bool = False) -> Callable[[NodeType], str]:
    """Which prebuilt kernel a node is computed by, if any; of a ``guarded`` program only those that have no
    twin in IR."""
    from amp.jit.archetypes import load

    if mode not in {"auto", "eigen", "ir"}:
        raise BadValue("archetypes is one of 'auto', 'eigen', 'ir'", got=repr(mode))

    def choose(node: NodeType) -> str:
        name = type(node).archetype
        if not name or name == NATIVE:  # which there is no other way to compute
            return name
        has_twin = node.has_forward()
        if mode == "ir" and not has_twin:
            raise ArchetypeUnavailable(
                f"{type(node).__name__} is computed by a prebuilt kernel alone",
                got="archetypes='ir'",
                where=repr(node),
                fix="archetypes='auto', which takes them where there is need",
            )
        size = sum(array_of(getattr(node, param)).size for param in type(node).params)
        if has_twin and (guarded or mode == "ir" or (mode == "auto" and size <= SHORT)):
            return ""
        try:
            load(name)
        except ArchetypeUnavailable:
            if mode == "eigen" or not has_twin:
                raise
            return ""
        return name

    return choose


def run_passes(lowered: Lowered, watch: Watch | None = None) -> None:
    """Every pass in order, over every distinct kernel; IR is verified before and after."""
    from amp.ir import verify
    from amp.jit.passes import expand_elementary, hoist_invariants, prune

    def clean(kernel: Kernel) -> Kernel:
        kernel = verify(kernel)
        for step in (expand_elementary, prune):
            kernel = verify(step(kernel))
            if watch is not None:
                watch(step.__name__, kernel)
        return kernel

    for code in {id(call.code): call.code for call in lowered.calls if not call.router}.values():
        code.prepare, code.kernel = hoist_invariants(clean(code.kernel))
        for part in (code.prepare, code.kernel):
            if part is not None:
                verify(part)
                if watch is not None:
                    watch(hoist_invariants.__name__, part)
        if code.finish is not None:
            code.finish = clean(code.finish)
