"""The driver of an IPLS program: a flat list of native calls, repeated every block.

A step is sixteen words. A call fires its kernel as often as its nodes' pace has it due; a loop repeats
the steps after it in narrower blocks, the last one first if it goes backward; a fork hands lists of steps to the thread pool. Denormals are
flushed while it runs, and the caller's floating-point state is restored.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from llvmlite import ir

from amp.jit import words as w
from amp.jit.llvm import (
    I32,
    I64,
    PTR,
    VOID,
    function_named,
    integer,
    larger,
    offset,
    smaller,
    typed,
    word,
)

if TYPE_CHECKING:
    from collections.abc import Callable

STEP_WORDS = 16
KIND, FUNCTION, WORDS, CYCLES, FIRINGS, FRAMES, PACE = range(7)
PACE_WORDS = 3  # firings, frames, offset: see `amp.schedule.Pace`
TRACE, NUMBER, NOTE = range(PACE + PACE_WORDS, PACE + PACE_WORDS + 3)  # of a call that is traced
BLOCK, BODY, BACKWARD = 1, 2, 3  # of a loop, which may run its last block first
CHILDREN, TABLE, POOL, POOL_RUN = 1, 3, 4, 5  # of a fork, which also has BODY
CALL, LOOP, FORK = range(3)

_FLUSH = 0x8040
"""Flush-to-zero and denormals-are-zero in the x86 control word."""


def build_driver(*, timing: bool) -> ir.Module:
    """Module with ``run(i64* steps, i64 count, i64 block, i64* clock, i64 frames)``.

    It moves the clock itself, so that no signal can come between the frames and the clock.
    """
    module = ir.Module(name="driver")
    kind = ir.FunctionType(VOID, [PTR, I64, I64, I64])
    steps = ir.Function(module, kind, "steps")
    steps.linkage = "internal"
    task = ir.Function(module, ir.FunctionType(VOID, [PTR, I64]), "task")
    task.linkage = "internal"
    _build_steps(module, steps, task, timing=timing)
    _build_task(task, steps)
    run = ir.Function(module, ir.FunctionType(VOID, [PTR, I64, I64, PTR, I64]), "run")
    first, count, block, place, frames = run.args
    b = ir.IRBuilder(run.append_basic_block("entry"))
    clock = b.load(place, typ=I64)
    with_flushed_denormals(
        module,
        b,
        lambda: in_blocks(
            b, frames, block, lambda at, some: b.call(steps, [first, count, b.add(clock, at), some])
        ),
    )
    b.store(b.add(clock, frames), place)
    b.ret_void()
    return module


def with_flushed_denormals(module: ir.Module, b: ir.IRBuilder, body: Callable[[], None]) -> None:
    """Emit ``body`` between setting and restoring the x86 control word (elsewhere just ``body``)."""
    from amp.jit.engine import is_x86

    if not is_x86():
        body()
        return
    kind = ir.FunctionType(VOID, [PTR])
    save = ir.Function(module, kind, "llvm.x86.sse.stmxcsr")
    restore = ir.Function(module, kind, "llvm.x86.sse.ldmxcsr")
    theirs, ours = b.alloca(I32), b.alloca(I32)
    b.call(save, [theirs])
    b.store(b.or_(b.load(theirs, typ=I32), ir.Constant(I32, _FLUSH)), ours)
    b.call(restore, [ours])
    body()
    b.call(restore, [theirs])


def in_blocks(
    b: ir.IRBuilder,
    frames: ir.Value,
    block: ir.Value,
    body: Callable[[ir.Value, ir.Value], object],
) -> None:
    """Emit ``for at in range(0, frames, block): body(at, min(block, frames - at))``."""
    before = b.block
    head, inside, after = (b.append_basic_block(f"block.{p}") for p in ("head", "do", "end"))
    b.branch(head)
    b.position_at_end(head)
    at = b.phi(I64)
    at.add_incoming(integer(0), before)
    b.cbranch(b.icmp_signed("<", at, frames), inside, after)
    b.position_at_end(inside)
    rest = b.sub(frames, at)
    body(at, smaller(b, rest, block))
    at.add_incoming(b.add(at, block), b.block)
    b.branch(head)
    b.position_at_end(after)


def fire(
    module: ir.Module, b: ir.IRBuilder, record: ir.Value, frames: ir.Value, *, timing: bool
) -> None:
    """Emit the call of ``record``'s kernel; with timing, count cycles, firings and frames, and note them
    if it is traced."""
    kernel = word(b, record, FUNCTION, PTR)
    arguments = [word(b, record, WORDS, PTR), frames]
    if not timing:
        b.call(typed(kernel), arguments)
        return
    kind = ir.FunctionType(I64, [])
    name = "llvm.readcyclecounter"
    counter = function_named(module, name, kind)
    before = b.call(counter, [])
    b.call(typed(kernel), arguments)
    after = b.call(counter, [])
    for index, more in ((CYCLES, b.sub(after, before)), (FIRINGS, integer(1)), (FRAMES, frames)):
        b.store(b.add(word(b, record, index), more), offset(b, record, integer(8 * index)))
    with b.if_then(b.icmp_signed("!=", word(b, record, TRACE), integer(0)), likely=False):
        note = ir.FunctionType(VOID, [PTR, I64, I64, I64, I64])
        where, number = word(b, record, TRACE, PTR), word(b, record, NUMBER)
        b.call(typed(word(b, record, NOTE, PTR), note), [where, number, frames, before, after])


def _build_steps(module: ir.Module, steps: ir.Function, task: ir.Function, *, timing: bool) -> None:
    first, count, clock, frames = steps.args
    b = ir.IRBuilder(steps.append_basic_block("entry"))
    blocks = {
        name: b.append_basic_block(name)
        for name in ("head", "step", "call", "fire", "loop", "fork", "next", "end")
    }
    entry = b.block
    b.branch(blocks["head"])
    b.position_at_end(blocks["head"])
    i = b.phi(I64, "i")
    i.add_incoming(integer(0), entry)
    b.cbranch(b.icmp_signed("<", i, count), blocks["step"], blocks["end"])
    b.position_at_end(blocks["step"])
    record = offset(b, first, b.mul(i, integer(8 * STEP_WORDS)))
    inside = offset(b, record, integer(8 * STEP_WORDS))
    switch = b.switch(word(b, record, KIND), blocks["fork"])
    switch.add_case(integer(CALL), blocks["call"])
    switch.add_case(integer(LOOP), blocks["loop"])

    b.position_at_end(blocks["call"])
    fired = due_until(b, record, clock, PACE)
    due = b.sub(due_until(b, record, b.add(clock, frames), PACE), fired)
    b.store(fired, offset(b, word(b, record, WORDS, PTR), integer(8 * w.FIRED)))
    b.cbranch(b.icmp_signed(">", due, integer(0)), blocks["fire"], blocks["next"])
    call_end = b.block
    b.position_at_end(blocks["fire"])
    fire(module, b, record, due, timing=timing)
    fire_end = b.block
    b.branch(blocks["next"])

    b.position_at_end(blocks["loop"])
    body = word(b, record, BODY)
    backward = b.icmp_signed("!=", word(b, record, BACKWARD), integer(0))

    def turned(at: ir.Value, some: ir.Value) -> ir.Value:
        return b.select(backward, b.sub(b.sub(frames, at), some), at)

    in_blocks(
        b,
        frames,
        word(b, record, BLOCK),
        lambda at, some: b.call(steps, [inside, body, b.add(clock, turned(at, some)), some]),
    )
    loop_end = b.block
    b.branch(blocks["next"])

    b.position_at_end(blocks["fork"])
    forked = word(b, record, BODY)
    shared = b.alloca(I64, 3)
    b.store(word(b, record, TABLE), shared)
    b.store(clock, offset(b, shared, integer(8)))
    b.store(frames, offset(b, shared, integer(16)))
    run = typed(word(b, record, POOL_RUN, PTR), ir.FunctionType(VOID, [PTR, PTR, PTR, I64]))
    b.call(run, [word(b, record, POOL, PTR), task, shared, word(b, record, CHILDREN)])
    fork_end = b.block
    b.branch(blocks["next"])

    b.position_at_end(blocks["next"])
    skipped = b.phi(I64)
    for block, value in (
        (call_end, integer(0)),
        (fire_end, integer(0)),
        (loop_end, body),
        (fork_end, forked),
    ):
        skipped.add_incoming(value, block)
    i.add_incoming(b.add(i, b.add(skipped, integer(1))), b.block)
    b.branch(blocks["head"])
    b.position_at_end(blocks["end"])
    b.ret_void()


def _build_task(task: ir.Function, steps: ir.Function) -> None:
    """One branch of a fork: entry ``index`` of its table is (first step, number of steps)."""
    shared, index = task.args
    b = ir.IRBuilder(task.append_basic_block("entry"))
    entry = offset(b, word(b, shared, 0, PTR), b.mul(index, integer(16)))
    b.call(
        steps, [word(b, entry, 0, PTR), word(b, entry, 1), word(b, shared, 1), word(b, shared, 2)]
    )
    b.ret_void()


def due_until(b: ir.IRBuilder, record: ir.Value, clock: ir.Value, pace: int) -> ir.Value:
    """Firings before ``clock`` at the pace whose words begin at ``pace`` of ``record``."""
    firings, frames, offset_ = (word(b, record, pace + i) for i in range(PACE_WORDS))
    past = larger(b, b.sub(b.mul(clock, firings), offset_), integer(0))
    return divided(b, b.add(past, b.sub(frames, integer(1))), frames)


def divided(b: ir.IRBuilder, x: ir.Value, by: ir.Value) -> ir.Value:
    """``x / by``, rounded down, of numbers that are not negative; by 1 it costs nothing."""
    before = b.block
    slow, after = b.append_basic_block("divide"), b.append_basic_block("divided")
    b.cbranch(b.icmp_signed("==", by, integer(1)), after, slow)
    b.position_at_end(slow)
    quotient = b.udiv(x, by)
    b.branch(after)
    b.position_at_end(after)
    out = b.phi(I64)
    out.add_incoming(x, before)
    out.add_incoming(quotient, slow)
    return out
