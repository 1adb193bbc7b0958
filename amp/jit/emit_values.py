"""Values of IR in generated code: a table of instructions, and what reads the kernel's memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llvmlite import ir

from amp.jit import words as w
from amp.jit.emit_choice import arms, one_numbers
from amp.jit.engine import is_x86
from amp.jit.llvm import F64, I1, I64, PTR, integer, offset, word

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from amp.ir import Value
    from amp.jit.emit_ports import Reader
    from amp.jit.kernel_function import KernelFunction


class Values:
    """What the values of one tile of a kernel have become."""

    def __init__(self, function: KernelFunction, *, across: bool = False) -> None:
        self.function = function
        self._kernel, self._across = function.kernel, across
        self._made: dict[int, Any] = {}
        self._same: dict[int, ir.Value] = {}  # values that are one number for all lanes
        self._lines: list[tuple[ir.Value, ir.Value]] = []  # base and mask
        self._numbers: set[int] = set()
        if function.width > 1 and not across and not self._kernel.skewed:
            self._numbers = one_numbers(self._kernel, COMPARISONS)
        self._arms = arms(self._kernel, self._numbers, PURE)
        self._inside = {v.index for both in self._arms.values() for arm in both for v in arm}
        self.readers: list[Reader] = []
        """How to load a token, by in port; set before a value is emitted."""

    def lanes(self, b: ir.IRBuilder, value: Value) -> Any:
        """A value in every lane."""
        if value.index not in self._made:
            self._made[value.index] = self.function.splat(b, self._same[value.index])
        return self._made[value.index]

    def begin_tile(self, b: ir.IRBuilder) -> None:
        """Find the delay lines of this tile."""
        fn = self.function
        self._made, self._same = {}, {}
        self._lines = []
        for i in range(len(self._kernel.lines)):
            line = fn.words.line(i)
            base = word(b, fn.args, line + w.LINE_BASE, PTR)
            skip = b.mul(fn.tile, word(b, fn.args, line + w.LINE_TILE_STRIDE))
            self._lines.append((offset(b, base, skip), word(b, fn.args, line + w.LINE_MASK)))

    def emit(self, b: ir.IRBuilder, value: Value, states: dict[str, ir.Value]) -> None:
        """Emit ``value``, whose operands have been; ``states`` is what each state holds."""
        if value.index in self._inside:
            return  # with the choice that needs it
        if value.index in self._numbers:
            self._same[value.index] = self._emit_number(b, value)
        elif value.index in self._arms:
            self._made[value.index] = self._choose(b, value, states)
        else:
            self._made[value.index] = self._emit(b, value, states)

    def _emit_number(self, b: ir.IRBuilder, value: Value) -> ir.Value:
        if value.op == "inlet":
            attribute: Any = value.attribute
            return self.readers[attribute[0]](b, attribute[1])
        numbers = [
            ir.Constant(F64, v.attribute) if v.op == "const" else self._same[v.index]
            for v in value.operands
        ]
        if value.op == "lt" and str(numbers[0]) == str(ir.Constant(F64, 0.0)):
            return _is_positive(b, numbers[1])
        return b.fcmp_ordered(COMPARISONS[value.op], *numbers)

    def _choose(self, b: ir.IRBuilder, value: Value, states: dict[str, ir.Value]) -> ir.Value:
        """One of two by a condition that is one number."""
        condition, *ends = value.operands
        number, both = self._same[condition.index], self._arms[value.index]
        for outside in self._outside(value):
            self.lanes(b, outside)  # before the branch, since others may need it too
        if not any(both):
            return b.select(number, *(self.lanes(b, v) for v in ends))
        made = []
        with b.if_else(number) as branches:
            for branch, arm, end in zip(branches, both, ends, strict=True):
                with branch:
                    for v in arm:
                        nested = v.index in self._arms
                        emit = self._choose if nested else self._emit
                        self._made[v.index] = emit(b, v, states)
                    made.append((self.lanes(b, end), b.block))
        chosen = b.phi(made[0][0].type)
        for of_one, block in made:
            chosen.add_incoming(of_one, block)
        return chosen

    def _outside(self, choice: Value) -> Iterator[Value]:
        """What a choice and its arms need that is not of them."""
        inner = [v for arm in self._arms[choice.index] for v in arm]
        for value in inner:
            if value.index in self._arms:
                yield from self._outside(value)
        for value in (choice, *inner):
            operands = value.operands[1:] if value.index in self._arms else value.operands
            yield from (v for v in operands if v.index not in self._inside)

    def _emit(self, b: ir.IRBuilder, value: Value, states: dict[str, ir.Value]) -> Any:
        fn = self.function
        operands = [self.lanes(b, v) for v in value.operands]
        attribute: Any = value.attribute
        match value.op:
            case "const" | "iconst":
                return fn.constant(F64 if value.op == "const" else I64, attribute)
            case "inlet":
                port, plane = attribute
                return self.readers[port](b, plane)
            case "param" | "iparam":
                return self._param(b, attribute, F64 if value.op == "param" else I64)
            case "state" | "istate" | "tstate":
                return states[attribute]
            case "clock":
                clock = fn.splat(b, fn.k)
                return b.add(clock, fn.iota()) if self._across else clock
            case "table":
                return fn.table(attribute)
            case "look":
                return self._look(b, *operands)
            case "line" | "tap" | "pool" | "deposit" | "drain":
                return self._on_line(b, value, operands)
        return PURE[value.op](fn, b, *operands)

    def _param(self, b: ir.IRBuilder, name: str, kind: ir.Type) -> ir.Value:
        fn = self.function
        names = [slot for slot, _ in self._kernel.params]
        row = b.add(b.mul(fn.tile, integer(len(names))), integer(names.index(name)))
        if self._across:  # the vector is one lane's
            return fn.splat(b, b.load(offset(b, fn.params, b.mul(row, integer(8))), typ=kind))
        return fn.load(b, offset(b, fn.params, fn.bytes(b, row)), kind)

    def _look(self, b: ir.IRBuilder, table: ir.Value, places: ir.Value) -> ir.Value:
        fn = self.function
        if fn.width == 1:
            return b.load(offset(b, table, b.mul(places, integer(8))), typ=F64)
        out: ir.Value = ir.Constant(fn.vector(F64), ir.Undefined)
        for lane in range(fn.width):
            place = b.mul(b.extract_element(places, integer(lane)), integer(8))
            number = b.load(offset(b, table, place), typ=F64)
            out = b.insert_element(out, number, integer(lane))
        return out

    def _on_line(self, b: ir.IRBuilder, value: Value, operands: list[Any]) -> Any:
        match value.op:
            case "line":
                return self._line(b, str(value.attribute), operands[0])
            case "tap":
                return self._tap(b, operands[0], operands[1], value.operands[1])
            case "deposit":
                return self._deposit(b, operands, value.operands[1])
            case "drain":
                return self._drain(b, operands[0])
        return self._lines[self._kernel.lines.index(str(value.attribute))]

    def _line(self, f: ir.IRBuilder, name: str, value: ir.Value) -> tuple[ir.Value, ir.Value]:
        fn = self.function
        base, mask = self._lines[self._kernel.lines.index(name)]
        f.store(value, offset(f, base, fn.bytes(f, f.and_(fn.k, mask))), align=fn.align)
        return base, mask

    def _tap(
        self, f: ir.IRBuilder, line: tuple[ir.Value, ir.Value], frames: ir.Value, source: Value
    ) -> ir.Value:
        fn = self.function
        if source.op == "iconst" or fn.width == 1:
            return fn.load(f, self._slot(f, line, _one_back(frames, source)))
        out: ir.Value = ir.Constant(fn.vector(F64), ir.Undefined)
        for lane in range(fn.width):
            at = self._slot(f, line, f.extract_element(frames, integer(lane)), lane)
            out = f.insert_element(out, f.load(at, typ=F64), integer(lane))
        return out

    def _slot(
        self, f: ir.IRBuilder, line: tuple[ir.Value, ir.Value], back: ir.Value, lane: int = 0
    ) -> ir.Value:
        """Address of the slot of ``back`` frames ago."""
        fn, (base, mask) = self.function, line
        slot = f.and_(f.sub(fn.k, back), mask)
        return offset(f, base, f.add(fn.bytes(f, slot), integer(8 * lane)))

    def _deposit(self, f: ir.IRBuilder, operands: list[Any], source: Value) -> Any:
        fn, (line, frames, more) = self.function, operands
        if source.op == "iconst" or fn.width == 1:
            at = self._slot(f, line, _one_back(frames, source))
            f.store(f.fadd(fn.load(f, at), more), at, align=fn.align)
            return line
        for lane in range(fn.width):
            at = self._slot(f, line, f.extract_element(frames, integer(lane)), lane)
            mine = f.extract_element(more, integer(lane))
            f.store(f.fadd(f.load(at, typ=F64), mine), at)
        return line

    def _drain(self, f: ir.IRBuilder, line: tuple[ir.Value, ir.Value]) -> ir.Value:
        fn = self.function
        at = self._slot(f, line, integer(0))
        out = fn.load(f, at)
        f.store(fn.constant(F64, 0.0), at, align=fn.align)
        return out


def _one_back(frames: ir.Value, source: Value) -> ir.Value:
    """How far back a tap of one lane, or of all lanes alike, goes."""
    constant: Any = source.attribute
    return integer(constant) if source.op == "iconst" else frames


def _is_positive(b: ir.IRBuilder, x: ir.Value) -> ir.Value:
    """``x > 0`` by its bits, since the units that compare floats are those that multiply."""
    least = 1 << 52 if is_x86() else 1  # denormals are zero where they are flushed
    over = b.sub(b.bitcast(x, I64), integer(least))
    return b.icmp_unsigned("<=", over, integer((0x7FF << 52) - least))


def _pick(compare: str) -> Callable[..., ir.Value]:
    def pick(e: KernelFunction, b: ir.IRBuilder, x: ir.Value, y: ir.Value) -> ir.Value:
        if x is y:  # LLVM would drop the choice, which makes a denormal zero
            return e.intrinsic(b, "canonicalize", F64, x)
        return b.select(b.fcmp_ordered(compare, x, y), x, y)

    return pick


COMPARISONS = {"lt": "<", "le": "<=", "eq": "=="}


def _compare(sign: str) -> Callable[..., ir.Value]:
    return lambda _, b, x, y: b.fcmp_ordered(sign, x, y)


_COARSE = 1.5 * 2.0**20 + (-0x3F380000 % 2**32) * 2.0**-32
"""0x3F38 are the first bits of 1.5 * 2^-12; the others are 0."""


def _to_turn(e: KernelFunction, b: ir.IRBuilder, x: ir.Value, per: ir.Value) -> ir.Value:
    """What is added to a number near 1.5 * 2^n is rounded to a multiple of 2^(n - 52), and the low
    bits of the sum say which. So first to 2^-32, in the upper half of a turn; then what remains of
    the division, to 2^-64. What the number of the second step adds, that of the first takes away.
    """
    coarse, fine = e.constant(F64, _COARSE), e.constant(F64, 1.5 * 2.0**-12)
    reciprocal = b.fdiv(e.constant(F64, 1.0), per)
    high = e.intrinsic(b, "fma", F64, x, reciprocal, coarse)
    rest = e.intrinsic(b, "fma", F64, b.fsub(coarse, high), per, x)
    low = e.intrinsic(b, "fma", F64, rest, reciprocal, fine)
    upper, lower = (b.bitcast(n, e.vector(I64)) for n in (high, low))
    return b.add(b.shl(upper, e.constant(I64, 32)), lower)


def _from_turn(
    e: KernelFunction, b: ir.IRBuilder, x: ir.Value, scale: ir.Value, plus: ir.Value
) -> ir.Value:
    """The upper 52 bits become the fraction of a number in [2, 4), which is 3 more than two turns: so
    that a waveform of height 2 is a subtraction.
    """
    fraction = b.lshr(x, e.constant(I64, 12))
    number = b.xor(fraction, b.bitcast(e.constant(F64, 3.0), e.vector(I64)))
    half = b.fmul(scale, e.constant(F64, 0.5))
    rest = e.intrinsic(b, "fma", F64, scale, e.constant(F64, -1.5), plus)
    return e.intrinsic(b, "fma", F64, b.bitcast(number, e.vector(F64)), half, rest)


PURE: dict[str, Callable[..., ir.Value]] = {
    "add": lambda e, b, x, y: b.fadd(x, y),
    "sub": lambda e, b, x, y: b.fsub(x, y),
    "mul": lambda e, b, x, y: b.fmul(x, y),
    "div": lambda e, b, x, y: b.fdiv(x, y),
    "fma": lambda e, b, x, y, z: e.intrinsic(b, "fma", F64, x, y, z),
    "neg": lambda e, b, x: b.fneg(x),
    "abs": lambda e, b, x: e.intrinsic(b, "fabs", F64, x),
    "min": _pick("<"),
    "max": _pick(">"),
    "floor": lambda e, b, x: e.intrinsic(b, "floor", F64, x),
    "sqrt": lambda e, b, x: e.intrinsic(b, "sqrt", F64, x),
    "as_if": lambda e, b, x, _: x,
    **{op: _compare(sign) for op, sign in COMPARISONS.items()},
    "and": lambda e, b, x, y: b.and_(x, y),
    "or": lambda e, b, x, y: b.or_(x, y),
    "not": lambda e, b, x: b.xor(x, e.constant(I1, 1)),
    "select": lambda e, b, c, x, y: b.select(c, x, y),
    "iadd": lambda e, b, x, y: b.add(x, y),
    "isub": lambda e, b, x, y: b.sub(x, y),
    "imul": lambda e, b, x, y: b.mul(x, y),
    "iand": lambda e, b, x, y: b.and_(x, y),
    "ior": lambda e, b, x, y: b.or_(x, y),
    "ixor": lambda e, b, x, y: b.xor(x, y),
    "ishl": lambda e, b, x, y: b.shl(x, y),
    "ishr": lambda e, b, x, y: b.lshr(x, y),
    "iselect": lambda e, b, c, x, y: b.select(c, x, y),
    "ilt": lambda e, b, x, y: b.icmp_signed("<", x, y),
    "ieq": lambda e, b, x, y: b.icmp_signed("==", x, y),
    "to_int": lambda e, b, x: e.intrinsic(b, "fptosi.sat", I64, x),
    "to_float": lambda e, b, x: b.sitofp(x, e.vector(F64)),
    "bits": lambda e, b, x: b.bitcast(x, e.vector(I64)),
    "from_bits": lambda e, b, x: b.bitcast(x, e.vector(F64)),
    "to_turn": _to_turn,
    "tadd": lambda e, b, x, y: b.add(x, y),
    "from_turn": _from_turn,
}
"""Operations that become instructions; what reads memory is emitted by `Values` itself."""
