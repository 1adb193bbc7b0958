"""The LLVM function of one kernel: its arguments, its lanes, and where in its loops it stands."""

from __future__ import annotations

import copy
from hashlib import sha256
from typing import TYPE_CHECKING

from llvmlite import ir

from amp.ir import table_bytes
from amp.jit import words as w
from amp.jit.llvm import F64, I32, I64, KERNEL_TYPE, PTR, function_named, integer, word
from amp.jit.words import Words

if TYPE_CHECKING:
    from amp.ir import Kernel


class KernelFunction:
    """What every part of emission shares.

    Attributes
    ----------
    entry
        Builder at the top of the function, behind the loads of the header's words.
    tiles, fired, params, states, scratch, lanes
        The header's words.
    tile, i, j, k
        Tile, frame of this call, place in scratch, and firing index: set by the loops while their
        bodies are emitted.
    """

    tile: ir.Value
    i: ir.Value
    j: ir.Value
    k: ir.Value

    def __init__(self, module: ir.Module, kernel: Kernel, width: int, name: str) -> None:
        self.module, self.kernel, self.width = module, kernel, width
        self.words = Words.of(kernel)
        function = ir.Function(module, KERNEL_TYPE, name)
        # spilled vectors that straddle cache lines cost twice; llvmlite forgets the alignment of a
        # function that has no attribute besides
        function.attributes.alignstack = 64
        function.attributes.add("nounwind")
        self.args, self.frames = function.args
        self.align = min(8 * width, 64)
        self.entry = b = ir.IRBuilder(function.append_basic_block("entry"))
        self.tiles = word(b, self.args, w.TILES)
        self.fired = word(b, self.args, w.FIRED)
        self.params = word(b, self.args, w.PARAMS, PTR)
        self.states = word(b, self.args, w.STATES, PTR)
        self.scratch = word(b, self.args, w.SCRATCH, PTR)
        self.lanes = word(b, self.args, w.LANES)

    def power(self, b: ir.IRBuilder) -> ir.Value:
        """Where the sums of squares of this cell lie."""
        return word(b, self.args, w.POWER, PTR)

    def at_tile(self, tile: ir.Value) -> KernelFunction:
        """The same function, at a tile."""
        other = copy.copy(self)
        other.tile = tile
        return other

    def with_width(self, width: int) -> KernelFunction:
        """The same function, for vectors of another width."""
        other = copy.copy(self)
        other.width, other.align = width, 8
        return other

    def vector(self, scalar: ir.Type) -> ir.Type:
        """``width`` lanes of ``scalar``."""
        return scalar if self.width == 1 else ir.VectorType(scalar, self.width)

    def splat(self, b: ir.IRBuilder, value: ir.Value) -> ir.Value:
        """The same number in every lane."""
        if self.width == 1:
            return value
        undefined = ir.Constant(self.vector(value.type), ir.Undefined)
        one = b.insert_element(undefined, value, integer(0))
        first = ir.Constant(ir.VectorType(I32, self.width), None)
        return b.shuffle_vector(one, undefined, first)

    def constant(self, scalar: ir.Type, value: float) -> ir.Constant:
        """A constant in every lane."""
        one = ir.Constant(scalar, value)
        return one if self.width == 1 else ir.Constant(self.vector(scalar), [one] * self.width)

    def table(self, text: str) -> ir.Value:
        """Where the numbers of a table lie, which are part of the module."""
        name = f"table.{sha256(text.encode()).hexdigest()[:16]}"
        if name in self.module.globals:
            return self.module.get_global(name)
        numbers = bytearray(table_bytes(text))
        kind = ir.ArrayType(ir.IntType(8), len(numbers))
        table = ir.GlobalVariable(self.module, kind, name)
        table.linkage, table.global_constant, table.align = "internal", True, 64
        table.initializer = ir.Constant(kind, numbers)
        return table

    def iota(self) -> ir.Constant:
        """The number of each lane."""
        if self.width == 1:
            return integer(0)
        return ir.Constant(self.vector(I64), list(range(self.width)))

    def load(self, b: ir.IRBuilder, at: ir.Value, scalar: ir.Type = F64) -> ir.Value:
        """Load a vector."""
        return b.load(at, align=self.align, typ=self.vector(scalar))

    def bytes(self, b: ir.IRBuilder, count: ir.Value, areas: int = 1) -> ir.Value:
        """Bytes of ``count`` frames of ``areas`` vectors."""
        return b.mul(count, integer(8 * self.width * areas))

    def intrinsic(self, b: ir.IRBuilder, name: str, kind: ir.Type, *operands: ir.Value) -> ir.Value:
        """Call an LLVM intrinsic on vectors."""
        lanes = "" if self.width == 1 else f"v{self.width}"
        types = ir.FunctionType(self.vector(kind), [operand.type for operand in operands])
        spelled = f"llvm.{name}.{lanes}" + ("f64" if kind == F64 else f"i64.{lanes}f64")
        return b.call(function_named(self.module, spelled, types), operands)

    def state_types(self) -> list[ir.Type]:
        """Type of each state in one lane."""
        return [F64 if slot.type == "f64" else I64 for slot in self.kernel.states]
