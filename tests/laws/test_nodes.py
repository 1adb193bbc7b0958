"""The laws that every built-in node type is asked; see docs/design.

A node type is tested by existing: its ``samples()`` are compiled at several widths, numbers of lanes
and block sizes, with constants and with streams at its inlets, and compared with its ``reference``.
"""

from __future__ import annotations

import functools
import re
import sys
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from bench import CASES, FRAMES, MOST_LANES, RATE, SAMPLES, TRACED, TYPES, WRITTEN, bench, is_given
from bits import Array, assert_same_bits
from clocked import as_clocked, at_clock, channels_of
from timed_reference import trace_node

import amp
from amp import nodes
from amp.contract import NodeType
from amp.delays import MEASURED_FRAMES, QUIET_FRAMES, noise, rest, within
from amp.errors import BadNode
from amp.ir import print_kernel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from amp.program import Program

# width, lanes, block (0: KPN): each width, odd tails, single frames
SIZES = [(1, 1, 64), (4, 3, 7), (8, 8, 256), (16, 13, 64), (8, 13, 1), (4, 13, 256), (8, 13, 0)]


@functools.cache
def reference(name: str, *, streams: bool) -> Array:
    """What a sample's own reference makes of the bench's inputs, in the most lanes; the outlets are
    side by side as channels."""
    node = SAMPLES[name]
    inputs = bench([node], batch=MOST_LANES, streams=streams).inputs()
    arguments: dict[str, Any] = {}
    for inlet in type(node).inlets:
        given = [a for port, a in inputs.items() if port.startswith(f"{inlet.name}.0.")]
        if inlet.variadic:
            arguments[inlet.name] = given
        elif given:
            arguments[inlet.name] = given[0]
        elif (value := node.given.get(inlet.name, inlet.default)) is not None:
            arguments[inlet.name] = np.full((MOST_LANES, 1, FRAMES), value, np.float64)
    with np.errstate(all="ignore"):  # outside of a function's domain
        result = node.reference(RATE, FRAMES, **arguments)
    return np.concatenate(result, axis=1) if isinstance(result, tuple) else result


@functools.cache
def compiled(name: str, batch: int, block: int, width: int, *, streams: bool) -> Program:
    """Program of one sample; tests reset it before they run it."""
    graph = bench([SAMPLES[name]], batch=batch, streams=streams).graph
    return amp.compile(graph, amp.plan(graph, block, width) if block else None)


def fresh(name: str, batch: int, block: int, width: int, *, streams: bool) -> Program:
    """The same, at clock 0."""
    program = compiled(name, batch, block, width, streams=streams)
    program.reset()
    return program


def varied(node: NodeType, number: int) -> NodeType:
    """``node`` with its params and constants moved a little: another member of a cohort."""
    attrs = {attr: getattr(node, attr) for attr in type(node).attrs}
    for attr in type(node).params:
        if isinstance(attrs[attr], int):
            attrs[attr] += number
        elif isinstance(attrs[attr], float):
            attrs[attr] = (attrs[attr] + number / 16) % 1
        else:
            attrs[attr] = attrs[attr] * (1 - number / 64)
    given = {key: value * (1 - number / 64) for key, value in node.given.items()}
    return type(node)(**attrs, **given)


@pytest.mark.parametrize("name, streams", CASES)
def test_compiled_equals_reference(name: str, streams: bool) -> None:
    """L1, at every width, with odd tails, and as a process of a KPN."""
    node = SAMPLES[name]
    for width, lanes, block in SIZES if streams else SIZES[::3]:
        inputs = bench([node], batch=lanes, streams=streams).inputs()
        result = fresh(name, lanes, block, width, streams=streams).run(inputs, frames=FRAMES)
        got = result["out.0"]
        late = result.latency["out.0"]
        want = as_clocked(node, reference(name, streams=streams)[:lanes], late)[..., :FRAMES]
        got = got[..., : want.shape[2]]
        if isinstance(node, nodes.Noise):  # its reference sees batch 0 alone
            got = got[:1]
        np.testing.assert_allclose(
            got,
            np.broadcast_to(want, got.shape),
            rtol=1e-9,
            atol=1e-11,
            err_msg=f"width {width}, {lanes} lanes, block {block}",
        )


@pytest.mark.parametrize("name, streams", CASES)
def test_lane_of_a_cohort_equals_the_node_alone(name: str, streams: bool) -> None:
    """L2, to the bit."""
    members = [varied(SAMPLES[name], number) for number in range(13)]
    choir = bench(members, batch=2, streams=streams)
    inputs = choir.inputs()
    together = amp.compile(choir.graph, amp.plan(choir.graph, 64)).run(inputs, frames=FRAMES)
    for number in (0, 5, 12):
        solo = bench([members[number]], batch=2, streams=streams)
        own = {to: inputs[to.replace(".0.", f".{number}.", 1)] for to in solo.shapes}
        alone = amp.compile(solo.graph).run(own, frames=FRAMES)
        assert_same_bits(together[f"out.{number}"], alone["out.0"], f"member {number}")


@pytest.mark.parametrize("block", [0, 64])
@pytest.mark.parametrize("name", SAMPLES)
def test_splits_and_resets_change_no_bit(name: str, block: int) -> None:
    """L3 and L4."""
    program = fresh(name, 3, block, 8, streams=True)
    inputs = bench([SAMPLES[name]], batch=3, streams=True).inputs()
    whole = program.run(inputs, frames=FRAMES)["out.0"]
    for pieces in ([1, 255], [63, 1, 64, 128], [100, 3, 3, 150]):
        program.reset()
        ends = np.cumsum([0, *pieces])
        parts = [
            program.run({n: a[..., at:to] for n, a in inputs.items()}, frames=int(to - at))
            for at, to in pairwise(ends)
        ]
        joined = np.concatenate([part["out.0"] for part in parts], axis=2)
        assert_same_bits(joined, whole, f"pieces {pieces}")


def ir_of(node: NodeType) -> str:
    """Text of the node's kernel as it is traced, one lane, every inlet a stream."""
    graph = bench([node], streams=True).graph.freeze()
    found = next(n for n in graph.nodes if n.type is node)
    return print_kernel(trace_node(found, graph.nodes, RATE).kernel)


@pytest.mark.parametrize("kind", TRACED)
def test_ir_is_the_golden_one(kind: str, golden: Any) -> None:
    """L6; ``pytest --update-golden`` writes the files anew."""
    texts = [f"# {node!r}\n{ir_of(node)}" for name, node in SAMPLES.items() if named(name) == kind]
    golden(f"{kind}.txt", "\n\n".join(texts) + "\n")


def named(sample: str) -> str:
    """Node type of a sample's name."""
    return sample.partition(".")[0]


def refusals() -> Iterator[Any]:
    for name, kind in TYPES.items():
        for i, (arguments, words) in enumerate(kind.refuses()):
            yield pytest.param(kind, arguments, words, id=f"{name}.{i}")


@pytest.mark.parametrize("kind, arguments, words", list(refusals()))
def test_refusals_say_the_right_words(
    kind: type[NodeType], arguments: dict[str, Any], words: str
) -> None:
    """L7."""
    with pytest.raises(BadNode, match=re.escape(words)):
        kind(**arguments)


@pytest.mark.parametrize("kind", [kind for kind in TYPES.values() if kind.attrs])
def test_unknown_and_surplus_arguments_are_refused(kind: type[NodeType]) -> None:
    good = next(iter(kind.samples()))
    attrs = {attr: getattr(good, attr) for attr in kind.attrs}
    with pytest.raises(BadNode, match="has no attribute or inlet 'colour'"):
        kind(**attrs, colour=1)
    with pytest.raises(BadNode, match=f"takes at most {len(attrs)} positional"):
        kind(*attrs.values(), 1)
    with pytest.raises(AttributeError, match="is frozen"):
        setattr(good, next(iter(kind.attrs)), 1)


@pytest.mark.parametrize("name", [name for name in SAMPLES if named(name) in WRITTEN])
def test_repr_says_how_to_make_it_again(name: str) -> None:
    node = SAMPLES[name]
    space = {**vars(sys.modules[type(node).__module__]), "array": np.array, "nan": np.nan}
    again = eval(repr(node), space)
    assert again.key == node.key
    assert repr(again) == repr(node)


def test_every_node_type_has_words_samples_and_a_reference() -> None:
    for name, kind in nodes.NODE_TYPES.items():
        if kind.border:
            continue
        assert "``" in str(kind.__doc__) or "::" in str(kind.__doc__), f"{name}: no equation"
        assert "Examples" in str(kind.__doc__), name
        assert list(kind.samples()), name
        assert kind.reference is not NodeType.reference, name


@pytest.mark.parametrize("block", [0, 64])
def test_no_path_leads_through_a_reference(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """L11: a raiser in place of every reference changes nothing."""

    def graph() -> amp.Graph:
        g = amp.Graph(RATE)
        for name, node in SAMPLES.items():
            ports = [i for i in type(node).inlets if is_given(node, i, streams=False)]
            taken: dict[str, Any] = {
                i.name: g.input(f"{name}.{i.name}", channels_of(node, i)) for i in ports
            }
            terms = [taken.pop(i.name) for i in ports if i.variadic]
            g.output(f"{name}.out", at_clock(g, node, g.add(node, *terms, **taken)))
        return g

    def run() -> dict[str, Array]:
        g = graph()
        ports = [n for n in g.nodes if n.type.border == "input"]
        inputs = {n.name: np.ones((1, n.channels, 9)) for n in ports}
        program = amp.compile(g, amp.plan(g, block) if block else None)
        return dict(program.run(inputs))

    def forbidden(*_: Any, **__: Any) -> Any:
        raise AssertionError("a reference was called")

    before = run()
    for kind in TYPES.values():
        monkeypatch.setattr(kind, "reference", forbidden)
    after = run()
    for name, array in before.items():
        assert_same_bits(after[name], array, name)


def reference_delay(node: NodeType) -> int:
    """Frames until the reference answers to noise at the first inlet; -1 if it never does."""
    made = bench([node], streams=True)
    first, long = next(iter(made.shapes)).partition(".")[0], MEASURED_FRAMES + node.processing_delay
    ends = []
    for loud in (False, True):
        inlets: dict[str, Any] = {}
        for channels, inlet in made.shapes.values():
            x = rest(inlet, (1, channels, long), first=inlet.name == first)
            x = noise(x) if loud and inlet.name == first else x
            x = within(inlet, x, RATE)[..., :FRAMES]
            inlets[inlet.name] = [*inlets.get(inlet.name, []), x] if inlet.variadic else x
        with np.errstate(all="ignore"):
            out = node.reference(RATE, FRAMES, **inlets)
        ends.append(np.concatenate(out, axis=1) if isinstance(out, tuple) else out)
    differs = ~np.isclose(ends[0], ends[1], rtol=1e-9, atol=1e-12, equal_nan=True).all(axis=(0, 1))
    return int(differs.argmax()) - QUIET_FRAMES if differs.any() else -1


@pytest.mark.parametrize("name", [name for name, node in SAMPLES.items() if not node.router])
def test_measured_delay_is_the_declared_one(name: str) -> None:
    """L10: what its type declares, and what its reference holds back."""
    node = SAMPLES[name]
    program = amp.compile(bench([node], streams=True).graph, timing=True)
    row = next(r for r in program.timing.nodes if r.node == f"{type(node).__name__.lower()}.0")
    if row.delay_is == "measured":
        skipped = max(node.skips(inlet.name) for inlet in type(node).inlets)
        assert row.delay == node.processing_delay + skipped + reference_delay(node)
    else:
        ports = [*(inlet.name for inlet in type(node).inlets), *type(node).outlets]
        even = all(node.counts(port) == (1,) for port in ports)
        assert not type(node).inlets or not even or reference_delay(node) < 0
