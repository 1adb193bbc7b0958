"""Graph files: exact both ways, and safe to read whoever wrote them."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import msgspec
import numpy as np
import pytest
from clocked import at_clock, channels_of

import amp
from amp import files, nodes
from amp.contract import NATIVE
from amp.errors import BadFile
from amp.nodes import NODE_TYPES

SAMPLES = [
    pytest.param(sample, id=f"{name}-{i}")
    for name, kind in NODE_TYPES.items()
    for i, sample in enumerate(kind.samples())
    if kind.archetype != NATIVE  # which is code
    and not isinstance(sample, nodes.SpectralMap)
]


def around(sample: amp.NodeType) -> amp.Graph:
    """A graph of ``sample`` alone, batch 2 where that can be."""
    kind = type(sample)
    g = amp.Graph(44_100, batch=1 if kind.router else 2)
    given: dict[str, Any] = {}
    for inlet in kind.inlets:
        if inlet.name not in sample.given and inlet.default is None and not inlet.optional:
            given[inlet.name] = g.input(f"in {inlet.name}", channels_of(sample, inlet))
    variadic = kind.inlets and kind.inlets[-1].variadic
    out = g.add(sample, *given.values()) if variadic else g.add(sample, **given)
    for i, stream in enumerate(out if isinstance(out, tuple) else (out,)):
        g.output(
            f"out {i}",
            amp.edge(stream, default=0.5) if kind.router else at_clock(g, sample, stream),
        )
    return g


def rich() -> amp.Graph:
    """Feedback, tokens of every form, delays, params that are shared, arrays, many outlets."""
    g = amp.Graph(48_000.5, batch=3)
    x = g.input("x", 2)
    loop = g.feedback(2)
    tokens = np.random.default_rng(1).standard_normal((3, 2, 5))
    tokens[0, 0, 0] = -0.0
    level = amp.Param([[0.1, 1 / 3]], name="level")
    again = g.add(nodes.Gain(), amp.edge(loop, initial=tokens), gain=level)
    line = g.add(nodes.Delay(240, "linear"), x + again, np.array([[12.0], [0.5], [1e-300]]))
    loop.connect(line)
    sections = nodes.SecondOrderSections([[0.2, 0.4, 0.2, 1.0, -0.5, 0.3]])
    warm = g.add(sections, g.add(nodes.Gain(), line, gain=level), name='a "name"\n\t$.\x1b[31m é')
    late = amp.edge(warm, delay=300, initial=(0.25, 40))
    noise = g.add(nodes.Noise(seed=(1 << 63) - 1, channel_count=2))
    g.output("out", g.add(nodes.Mix(), x, late, 1e-3 * noise))
    return g


def assert_same(g: amp.Graph, h: amp.Graph, frames: int = 700) -> None:
    """Both graphs have one fingerprint, one text and the same samples, bit for bit."""
    assert h.fingerprint() == g.fingerprint()
    assert amp.graph_to_json(h) == amp.graph_to_json(g)
    random = np.random.default_rng(2)
    inputs = {
        node.name: random.standard_normal((g.batch, node.channels, frames))
        for node in g.nodes
        if node.type.border == "input"
    }
    results = [amp.compile(graph).run(inputs, frames=frames) for graph in (g, h)]
    for name, array in results[0].items():
        assert array.tobytes() == results[1][name].tobytes()


@pytest.mark.parametrize("sample", SAMPLES)
def test_every_node_type_comes_back(sample: amp.NodeType) -> None:
    g = around(sample)
    assert_same(g, amp.graph_from_json(amp.graph_to_json(g)), 100)


def test_everything_an_edge_can_say_comes_back() -> None:
    g = rich()
    h = amp.graph_from_json(amp.graph_to_json(g).encode())
    assert_same(g, h)
    assert (h.sample_rate, h.batch) == (48_000.5, 3)
    program = amp.compile(h)
    program.set("level", 0.0)  # one param for both of its nodes
    assert list(program.params) == ["level"]


def test_a_file_and_its_schedule_belong_together() -> None:
    g = rich()
    h = amp.graph_from_json(amp.graph_to_json(g))
    amp.compile(h, amp.plan(g, block=64))


def test_a_file_has_a_node_a_line() -> None:
    text = amp.graph_to_json(rich())
    assert len(text.splitlines()) == len(rich().nodes) + 5
    assert json.loads(text)["format"] == "amp.graph"


def test_the_schema_is_published() -> None:
    schema = files.schema()
    assert schema["$ref"] == "#/$defs/GraphFile"
    kinds = schema["$defs"]
    known = {"GraphFile", "NodeFile", "EdgeFile", "ParamFile", "ArrayFile", "ThermalFile"}
    assert set(kinds) == known
    assert kinds["NodeFile"]["required"] == ["name", "type", "channels"]
    assert not any(kind["additionalProperties"] for kind in kinds.values())


def test_custom_types_are_found_by_name() -> None:
    class Halve(amp.NodeType):
        """y = x / factor."""

        factor: float | tuple[int, ...] = 2.0
        inlets = (amp.Inlet("input"),)

        def forward(self, b: Any, x: Any) -> Any:
            divisor = self.factor if isinstance(self.factor, float) else self.factor[0]
            return x / divisor

    try:
        g = around(Halve((2, 3)))
        text = amp.graph_to_json(g)
        assert_same(g, amp.graph_from_json(text))
        amp.contract.REGISTRY["Halve"] = NODE_TYPES["Gain"]
        with pytest.raises(BadFile, match="each name is of one type"):
            amp.graph_to_json(g)
    finally:
        del amp.contract.REGISTRY["Halve"]
    with pytest.raises(BadFile, match="a custom one that is imported"):
        amp.graph_from_json(text)


def test_what_json_cannot_say_is_not_written() -> None:
    class Odd(amp.NodeType):
        """y = x, with an attribute of any kind."""

        what: Any
        inlets = (amp.Inlet("input"),)

        def forward(self, b: Any, x: Any) -> Any:
            return x

    try:
        for what in (float("nan"), 1j, frozenset({1}), ((1, (2, b"x")),)):
            with pytest.raises(BadFile, match="an attribute in a file is a finite number"):
                amp.graph_to_json(around(Odd(what)))
        g = amp.Graph()
        g.output("\ud800", g.input("x"))
        with pytest.raises(BadFile, match="names and attributes of JSON"):
            amp.graph_to_json(g)
    finally:
        del amp.contract.REGISTRY["Odd"]


def test_two_params_of_one_name_are_not_written() -> None:
    g = amp.Graph()
    x = g.input("x")
    for i in range(2):
        x = g.add(nodes.Gain(), x, gain=amp.Param(float(i), name="level"))
    g.output("out", x)
    with pytest.raises(BadFile, match="one param called 'level'"):
        amp.graph_to_json(g)


# ---- files from outside


def document() -> dict[str, Any]:
    """A small legal file, to be spoilt."""
    edge = {"kind": "edge", "from": "x"}
    return {
        "format": "amp.graph",
        "version": 1,
        "sample_rate": 48_000,
        "batch": 1,
        "params": {"cutoff": 800.0},
        "nodes": [
            {"name": "x", "type": "Input", "channels": 1},
            {
                "name": "low",
                "type": "StateVariable",
                "channels": 1,
                "attrs": {"mode": "lowpass"},
                "inlets": {"input": edge, "cutoff": {"kind": "param", "name": "cutoff"}, "q": 1},
            },
            {
                "name": "sum",
                "type": "Mix",
                "channels": 1,
                "inlets": {"inputs": [edge, {"kind": "edge", "from": "low"}]},
            },
            {
                "name": "out",
                "type": "Output",
                "channels": 1,
                "inlets": {"input": {"kind": "edge", "from": "sum"}},
            },
        ],
    }


def spoil(path: str, value: Any) -> str:
    """The file with ``value`` at a path such as ``nodes.1.attrs.mode``."""
    content: Any = document()
    *parents, last = [int(word) if word.isdigit() else word for word in path.split(".")]
    place = content
    for word in parents:
        place = place.setdefault(word, {}) if isinstance(place, dict) else place[word]
    place[last] = value
    return json.dumps(content)


def edge_from(source: str, **words: Any) -> dict[str, Any]:
    return {"kind": "edge", "from": source, **words}


def array(shape: list[int], **words: Any) -> dict[str, Any]:
    return {"kind": "array", "shape": shape, **words}


HUGE = 1 << 40
LOW = "node 'low' (StateVariable), $.nodes[1]"
REFUSALS: list[tuple[str, Any, list[str]]] = [
    ("format", "amp.song", ["fits its schema", "starts with"]),
    ("version", 2, ["this amp reads version 1"]),
    ("sample_rate", 0, ["$.sample_rate"]),
    ("sample_rate", "fast", ["$.sample_rate"]),
    ("batch", HUGE, ["$.batch", "<= 65536"]),
    ("extra", 1, ["unknown field `extra`"]),
    ("params.cutoff", array([2], values=[1.0]), ["$.params.cutoff", "as many values", "got: 1"]),
    ("nodes.1.type", "Saw ", ["$.nodes[1].type", "one of amp's", "expected: Add, Advance, "]),
    ("nodes.1.type", "Trace", ["$.nodes[1].type", "got: Trace"]),
    ("nodes.1.type", "__import__", ["$.nodes[1].type"]),
    ("nodes.1.name", "x", ["a node's name is used once", "$.nodes[0]"]),
    ("nodes.1.name", "", ["length >= 1", "$.nodes[1].name"]),
    ("nodes.1.channels", 2, [LOW + ".channels", "expected: 1", "got: 2"]),
    ("nodes.1.channels", HUGE, [LOW + ".channels", "<= 4096"]),
    ("nodes.1.created", "here", ["unknown field `created`", LOW]),
    ("nodes.1.attrs.mode", "comb", [LOW + ".attrs", "is one of 'lowpass'"]),
    ("nodes.1.attrs.mode", {"kind": "code"}, [LOW + ".attrs.mode"]),
    ("nodes.1.attrs.mode", array([1], values=[1.0]), [LOW + ".attrs.mode", "that is not data"]),
    ("nodes.1.attrs.mode", [["lowpass"]], [LOW + ".attrs", "is one of 'lowpass'"]),
    ("nodes.1.attrs.forward", "x", [LOW + ".attrs.forward", "no attribute 'forward'"]),
    ("nodes.1.attrs.q", 1.0, [LOW + ".attrs.q", "no attribute 'q'"]),
    ("nodes.1.inlets.gain", 1.0, [LOW + ".inlets.gain", "no inlet 'gain'"]),
    ("nodes.1.inlets.q", -1.0, [LOW + ".inlets.q", "inlet 'q' lies in"]),
    ("nodes.1.inlets.q", True, [LOW + ".inlets.q", "got `bool`"]),
    ("nodes.1.inlets.q", "1", [LOW + ".inlets.q"]),
    ("nodes.1.inlets.q", None, [LOW + ".inlets.q"]),
    ("nodes.1.inlets.q", [edge_from("x")], [LOW + ".inlets.q", "one edge, number, array"]),
    ("nodes.1.inlets.q", array([2, 1], fill=1.0), [LOW + ".inlets.q", "got: shape (2, 1)"]),
    ("nodes.1.inlets.q", array([1, 1], fill=1.0, values=[1.0]), [".inlets.q", "not both"]),
    ("nodes.1.inlets.q", array([-1, 1]), [LOW + ".inlets.q", ">= 0"]),
    ("nodes.1.inlets.q", array([HUGE, HUGE], fill=0.5), [LOW + ".inlets.q", "memory", "MiB"]),
    ("nodes.1.inlets.q", array([HUGE, 0], fill=0.5), [LOW + ".inlets.q"]),
    ("nodes.1.inlets.cutoff", {"kind": "param", "name": "p"}, ["params", "got: 'p'", ".cutoff"]),
    ("nodes.1.inlets.input", edge_from("y"), [LOW + ".inlets.input", "got: 'y'"]),
    ("nodes.1.inlets.input", edge_from("x", outlet="left"), ["expected: out", "got: left"]),
    ("nodes.1.inlets.input", edge_from("out"), ["an outlet of node 'out'", "expected: none"]),
    ("nodes.1.inlets.input", edge_from("x", delay=-1), [LOW + ".inlets.input.delay", ">= 0"]),
    ("nodes.1.inlets.input", edge_from("x", delay=HUGE), [".inlets.input.delay", "<= 16777216"]),
    ("nodes.1.inlets", {"cutoff": 1.0}, [LOW, "inlet 'input' is mandatory"]),
    (
        "nodes.1.inlets.input",
        edge_from("x", initial=array([1, 2, 3], fill=0.0)),
        [LOW + ".inlets.input.initial", "expected: [1, 1, count]", "got: [1, 2, 3]"],
    ),
    (
        "nodes.1.inlets.input",
        edge_from("x", initial=array([1, 1, HUGE], fill=0.0)),
        [LOW + ".inlets.input.initial", "no more memory than is allowed"],
    ),
    ("nodes.2.inlets.inputs", edge_from("x"), ["$.nodes[2].inlets.inputs", "a list of edges"]),
    ("nodes.2.inlets.inputs.1", edge_from("z"), ["$.nodes[2].inlets.inputs[1]", "got: 'z'"]),
    ("nodes.2.inlets.inputs", [], ["node 'sum' (Mix)", "at least one stream"]),
]


@pytest.mark.parametrize("path, value, words", REFUSALS)
def test_refusals_name_the_node_and_the_path(path: str, value: Any, words: list[str]) -> None:
    with pytest.raises(BadFile) as caught:
        amp.graph_from_json(spoil(path, value))
    for word in words:
        assert word in str(caught.value)


def test_the_document_of_the_refusals_is_legal() -> None:
    g = amp.graph_from_json(json.dumps(document()))
    assert [node.kind for node in g.nodes] == ["Input", "StateVariable", "Mix", "Output"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '"amp"',
        "[" * 100_000,
        b"\xff\xfe",
        '{"format": "amp.graph"}',
        "\ud800",
    ],
)
def test_what_is_not_a_graph_file_is_refused(text: str | bytes) -> None:
    with pytest.raises(BadFile, match="a graph file"):
        amp.graph_from_json(text)


def test_a_schedule_is_recognised() -> None:
    g = amp.graph_from_json(json.dumps(document()))
    with pytest.raises(BadFile, match="this is a schedule"):
        amp.graph_from_json(amp.plan(g).to_json())


def test_large_texts_are_refused_before_they_are_parsed() -> None:
    with pytest.raises(BadFile, match="not too large"):
        amp.graph_from_json(b" " * (files.MAX_FILE_BYTES + 1))
    with pytest.raises(BadFile, match="not too large"):
        amp.graph_from_json(b"[" + b"0," * files.MAX_VALUES + b"0]")


def bomb(kind: str) -> dict[str, Any]:
    """A short file that would need much memory."""
    content = document()
    low = content["nodes"][1]
    if kind == "lines":
        content["batch"] = 64
        low["type"], low["attrs"] = "Delay", {"longest": 1 << 24}
        low["inlets"] = {"input": edge_from("x"), "delay": 1}
    elif kind == "delays":
        content["batch"] = 64
        low["inlets"]["input"] = edge_from("x", delay=1 << 24)
    elif kind == "tokens":
        content["nodes"][2]["inlets"]["inputs"] = [
            edge_from("x", initial=array([1, 1, 1 << 24], fill=0.0)) for _ in range(20)
        ]
    elif kind == "matrix":
        many = 4096
        content["nodes"][0].update(channels=many, attrs={"channel_count": many})
        low.update(type="MatrixMix", channels=many)
        low["attrs"] = {"matrix": array([many, many], fill=0.5)}
        low["inlets"] = {"input": edge_from("x")}
        content["nodes"][2]["channels"] = content["nodes"][3]["channels"] = many
    else:
        content["batch"], content["nodes"][0]["channels"] = 1 << 16, 4096
        content["nodes"][0]["attrs"] = {"channel_count": 4096}
        for node in content["nodes"]:
            node["channels"] = 4096
    return content


@pytest.mark.parametrize("kind", ["lines", "delays", "tokens", "lanes", "matrix"])
def test_memory_is_counted_before_it_is_taken(kind: str) -> None:
    with pytest.raises(BadFile, match="no more memory than is allowed"):
        amp.graph_from_json(json.dumps(bomb(kind)), max_bytes=1 << 28)


def test_more_memory_can_be_allowed() -> None:
    g = amp.Graph()
    g.output("out", g.add(nodes.Delay(1 << 20), g.input("x"), 5.0))
    text = amp.graph_to_json(g)
    with pytest.raises(BadFile, match="max_bytes"):
        amp.graph_from_json(text, max_bytes=1 << 20)
    assert_same(g, amp.graph_from_json(text, max_bytes=1 << 25))


@pytest.mark.parametrize("sample", SAMPLES)
def test_the_estimate_is_not_below_what_is_allocated(sample: amp.NodeType) -> None:
    g = around(sample)
    need = files.memory_estimate(g)
    assert amp.compile(g)._instance.bound.arena.size <= need <= 1 << 19


def test_the_estimate_of_a_large_graph_is_close() -> None:
    g = rich()
    taken = amp.compile(g)._instance.bound.arena.size
    assert taken <= files.memory_estimate(g) <= 2 * taken + 4096 * len(g.nodes)


def test_a_graph_that_cannot_run_still_has_a_file() -> None:
    g = amp.Graph()
    loop = g.feedback()
    total = g.input("x") + loop
    loop.connect(total)
    g.output("out", total)
    h = amp.graph_from_json(amp.graph_to_json(g))
    with pytest.raises(amp.errors.Deadlock):
        amp.compile(h)


def test_spoilt_bytes_are_refused_and_never_crash() -> None:
    text = bytearray(amp.graph_to_json(rich()).encode())
    random = np.random.default_rng(5)
    for _ in range(400):
        spoilt = bytearray(text)
        for at in random.integers(0, len(text), 3):
            spoilt[at] = int(random.integers(32, 127))
        with contextlib.suppress(BadFile):  # a digit of a number may well be another
            amp.graph_from_json(bytes(spoilt))


def test_schema_and_reader_agree() -> None:
    content = msgspec.json.decode(amp.graph_to_json(rich()))
    assert msgspec.convert(content, files.GraphFile).version == files.VERSION
