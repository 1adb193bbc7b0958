"""L9: every operation of the IR is in every table, and means in native code what it means in NumPy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from bits import SMALLEST, Array, assert_same_bits
from interpret import MEANING

import amp
from amp.contract import REGISTRY, Inlet, NodeType, Trace
from amp.ir import OPS, InPort, Kernel, OutPort, Value, parse_kernel, print_kernel, verify
from amp.ir.ops import ACCESS, ELEMENTARY
from amp.jit.passes.expand_elementary import EXPANSIONS, expand_elementary

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

RNG = np.random.default_rng(9)
EDGES = [0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 3.0, 1e300, -1e300, 1e-300, np.inf, -np.inf, np.nan]
EDGES += [2.0**31, 2.0**52 + 0.5, -(2.0**53), 2.0**63, -(2.0**63), 4503599627370497.5, SMALLEST]
INTEGERS = [0, 1, -1, 2, 63, 255, 2**31, -(2**31), 2**62, -(2**63), 2**63 - 1, 0x9E3779B97F4A7C]
PURE = sorted(set(OPS) - set(ACCESS) - set(ELEMENTARY) - {"const", "iconst"})


class Apply(NodeType):
    """The operation ``name`` on up to three inlets; integers travel as the bits of a float, and turns
    as those of the float from which they are made, or that is made of them."""

    name: str
    inlets = (Inlet("a"), Inlet("b"), Inlet("c"))

    def forward(self, b: Trace, *inlets: Value) -> Value:
        return self.result(b, inlets)

    def result(self, b: Trace, inlets: tuple[Value, ...]) -> Value:
        spec = OPS[self.name]
        lift: dict[str, Callable[[Value], Value]] = {
            "f64": lambda x: x,
            "i64": lambda x: b.emit("bits", x),
            "i1": lambda x: b.lt(0.0, x),
            "turn": lambda x: b.to_turn(x, 1.0),
        }
        operands = [lift[kind](x) for kind, x in zip(spec.operands, inlets, strict=False)]
        made = b.emit(self.name, *operands)
        if spec.result == "i1":
            return b.select(made, 1.0, 0.0)
        if spec.result == "turn":
            return b.from_turn(made)
        return b.emit("from_bits", made) if spec.result == "i64" else made


def kernel_of(name: str) -> Kernel:
    """Kernel of `Apply` on three streams."""
    b = Trace(48_000.0)
    inlets = [b.emit("inlet", attribute=(i, 0)) for i in range(3)]
    b.enter("n", Apply(name))
    out = Apply(name).forward(b, *inlets)
    ports = (InPort("aligned", 1),) * 3
    return Kernel(tuple(b.values), ports, (OutPort("ring", 1),), (), (), (), (), ((out,),))


def operands(name: str) -> Iterator[Array]:
    """An array for each operand: all pairs of edge cases, and many ordinary numbers."""
    kinds = OPS[name].operands
    count = 4000
    pools: list[Array] = []
    for kind in kinds:
        if kind == "i64":
            some = RNG.integers(-(2**63), 2**63 - 1, count // 2, endpoint=True)
            if name in {"ishl", "ishr"} and pools:
                some, edge = RNG.integers(0, 64, count // 2), [0, 1, 12, 63]
            else:
                edge = INTEGERS
            pool = np.concatenate([some, RNG.choice(np.array(edge, np.int64), count // 2)])
            pools.append(pool.view(np.float64))
        elif name == "to_turn" and pools:  # per a positive number
            pools.append(10.0 ** RNG.uniform(-3, 6, count))
            pools[0] *= pools[1]
        elif kind == "turn" or name == "to_turn":
            some = RNG.uniform(-2, 2, count // 2) * 0.5 ** RNG.integers(0, 60, count // 2)
            edge_turns = [0.0, -0.0, 0.5, -0.5, 1.0, 1 / 3, 2.0**18, -(2.0**18), 2.0**-64, SMALLEST]
            pools.append(np.concatenate([some, RNG.choice(edge_turns, count // 2)]))
        elif name == "to_float":
            pools.append(RNG.integers(-(2**53), 2**53, count).view(np.float64))
        else:
            sizes = RNG.normal(size=count // 4) * 10.0 ** RNG.integers(-20, 20, count // 4)
            near = RNG.normal(size=count // 4)
            edge_floats = RNG.choice(EDGES, count // 2)
            pools.append(np.concatenate([sizes, near, edge_floats]))
    order = RNG.permutation(count)
    for pool in pools:
        yield pool[order] if name == "to_turn" else RNG.permutation(pool)
    for _ in range(3 - len(pools)):
        yield np.zeros(count)


def expected(name: str, inlets: list[Array]) -> Array:
    """What `Apply` means."""
    lift = {
        "f64": lambda x: x,
        "i64": lambda x: x.view(np.int64),
        "i1": lambda x: x > 0,
        "turn": lambda x: MEANING["to_turn"](x, np.ones_like(x)),
    }
    spec = OPS[name]
    given = [lift[kind](x) for kind, x in zip(spec.operands, inlets, strict=False)]
    with np.errstate(all="ignore"):
        result: Any = MEANING[name](*given)
    if spec.result == "i1":
        return np.where(result, 1.0, 0.0)
    if spec.result == "turn":
        one = np.ones_like(result, np.float64)
        return np.asarray(MEANING["from_turn"](result, one, 0 * one), np.float64)
    if spec.result == "i64":
        return np.asarray(result, np.int64).view(np.float64)
    return np.asarray(result, np.float64)


@pytest.mark.parametrize("width", [1, 8])
@pytest.mark.parametrize("name", PURE)
def test_native_code_means_what_the_operation_says(name: str, width: int) -> None:
    columns = [x.reshape(4, 1, 1000) for x in operands(name)]
    g = amp.Graph(batch=4)
    g.output("out", g.add(Apply(name), *(g.input(p) for p in "abc")))
    got = amp.compile(g, amp.plan(g, 64, width)).run(dict(zip("abc", columns, strict=True)))["out"]
    want = expected(name, columns)
    if OPS[name].result == "f64" and name not in {"from_bits", "select", "neg", "abs"}:
        want = np.where(np.abs(want) < SMALLEST, np.copysign(0.0, want), want)
    if OPS[name].result == "i64":
        np.testing.assert_array_equal(got.view(np.int64), want.view(np.int64))
    else:
        assert_same_bits(got, want, name)


@pytest.mark.parametrize("name", sorted(set(PURE) | set(ELEMENTARY)))
def test_text_of_every_operation_is_read_back(name: str) -> None:
    kernel = verify(kernel_of(name))
    text = print_kernel(kernel)
    assert print_kernel(verify(parse_kernel(text))) == text
    assert print_kernel(verify(expand_elementary(parse_kernel(text)))) == print_kernel(
        verify(expand_elementary(kernel))
    )


def test_no_table_has_a_hole() -> None:
    assert set(EXPANSIONS) == set(ELEMENTARY)
    assert set(MEANING) == set(PURE) | set(ELEMENTARY)


@pytest.mark.parametrize("name", sorted(OPS))
def test_every_operation_is_emitted(name: str) -> None:
    """Also those that reach memory, each in a kernel of its own."""

    class Everything(NodeType):
        """One operation. For tests."""

        gain: float = 0.5
        seed: int = 7
        params = ("gain", "seed")
        inlets = (Inlet("x"),)

        def forward(self, b: Trace, x: Value) -> Value:
            if name in PURE or name in ELEMENTARY:
                return Apply(name).result(b, (x, x, x))
            late = b.tap(b.line("past", x, 2), 1)
            drained = b.emit("drain", b.emit("deposit", b.pool("later", 2), 0, x))
            counted = b.istate("count", 3)
            b.next("count", b.emit("iadd", counted, 1))
            moving = b.tstate("turn", "gain")
            b.next("turn", b.tadd(moving, b.to_turn(x, 8.0)))
            numbers = b.table(np.array([10.0, 11.0, 12.0, 13.0]))
            looked = b.look(numbers, b.emit("to_int", x))
            last = b.state("last", "gain")
            b.next("last", x)
            values: dict[str, Value] = {
                "const": b.const(0.25),
                "iconst": b.emit("to_float", b.iconst(5)),
                "inlet": x,
                "param": b.param("gain"),
                "iparam": b.emit("to_float", b.param("seed")),
                "state": last,
                "istate": b.emit("to_float", counted),
                "tstate": b.from_turn(moving),
                "clock": b.emit("to_float", b.clock()),
                "line": late,
                "tap": late,
                "pool": drained,
                "deposit": drained,
                "drain": drained,
                "table": looked,
                "look": looked,
            }
            return values[name]

    try:
        g = amp.Graph(batch=3)
        g.output("out", g.add(Everything(), g.input("x")))
        x = np.broadcast_to([1.5, 2.5, 3.5], (3, 1, 3)).copy()
        results = [amp.compile(g, p).run({"x": x})["out"] for p in (None, amp.plan(g))]
    finally:
        del REGISTRY["Everything"]
    assert_same_bits(results[0], results[1])
    memory = {
        "const": [0.25] * 3,
        "pool": [1.5, 2.5, 3.5],
        "deposit": [1.5, 2.5, 3.5],
        "drain": [1.5, 2.5, 3.5],
        "iconst": [5.0] * 3,
        "inlet": [1.5, 2.5, 3.5],
        "param": [0.5] * 3,
        "iparam": [7.0] * 3,
        "state": [0.5, 1.5, 2.5],
        "istate": [3.0, 4.0, 5.0],
        "tstate": [-0.5, -0.3125, 0.0],
        "clock": [0.0, 1.0, 2.0],
        "line": [0.0, 1.5, 2.5],
        "tap": [0.0, 1.5, 2.5],
        "table": [11.0, 12.0, 13.0],
        "look": [11.0, 12.0, 13.0],
    }
    if name in memory:
        np.testing.assert_array_equal(results[0][2, 0], memory[name])
