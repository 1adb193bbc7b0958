"""The KPN scheduler: generated code that fires whatever is ready.

Each process is a record: its kernel, its edges in, its readers. ``fire`` asks how many tokens are
visible on every inlet (written, and not in flight any more), how much room every reader leaves, and
runs the kernel for that many frames. A process that fired wakes its neighbours through a queue, so
the cost of a firing does not depend on the size of the network. Order is decided by data alone; Kahn,
"The semantics of a simple language for parallel programming", IFIP 1974, is why it cannot be heard.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from llvmlite import ir

from amp.jit import words as w
from amp.jit.driver import (
    CYCLES,
    FIRINGS,
    FRAMES,
    FUNCTION,
    PACE,
    PACE_WORDS,
    WORDS,
    divided,
    due_until,
    fire,
    with_flushed_denormals,
)
from amp.jit.llvm import I64, PTR, VOID, integer, loop, offset, smaller, word

if TYPE_CHECKING:
    from collections.abc import Callable

# words of a process; those before QUEUED are as in a call
PROCESS_WORDS = 16
QUEUED, QUANTUM, INS, IN_COUNT, READERS, READER_COUNT = range(PACE + PACE_WORDS, PACE + 9)
assert max(FUNCTION, WORDS, CYCLES, FIRINGS, FRAMES) < PACE

# words of an edge, seen from its consumer; EDGE_PACE is that of its tokens becoming visible
EDGE_WORDS = 8
PEER_WORDS, EDGE_TOKENS, PEER, PRODUCED, CONSUMED, EDGE_PACE = range(6)
# and from its producer
CAPACITY = EDGE_PACE

# words of a network
NETWORK_WORDS = 8
PROCESSES, COUNT, QUEUE, QUEUE_MASK, HEAD, TAIL = range(6)


def build_scheduler(*, timing: bool) -> ir.Module:
    """Module with ``i64 run(i64* network, i64* clock, i64 frames)``: how many processes are stuck.

    It moves the clock itself, so that no signal can come between the frames and the clock.
    """
    module = ir.Module(name="kpn")
    ready = ir.Function(module, ir.FunctionType(I64, [PTR, I64]), "ready")
    wake = ir.Function(module, ir.FunctionType(VOID, [PTR, I64]), "wake")
    for function in (ready, wake):
        function.linkage = "internal"
    _build_ready(ready)
    _build_wake(wake)
    run = ir.Function(module, ir.FunctionType(I64, [PTR, PTR, I64]), "run")
    network, place, frames = run.args
    b = ir.IRBuilder(run.append_basic_block("entry"))
    clock = b.add(b.load(place, typ=I64), frames)
    stuck = b.alloca(I64)
    b.store(integer(0), stuck)
    count = word(b, network, COUNT)

    def body() -> None:
        loop(b, count, "start", lambda i: b.call(wake, [network, i]))
        _build_firing(module, b, network, clock, ready, wake, timing=timing)

        def check(i: ir.Value) -> None:
            process = _process(b, network, i)
            left = b.icmp_signed(">", _left(b, process, clock), integer(0))
            b.store(b.add(b.load(stuck, typ=I64), b.zext(left, I64)), stuck)

        loop(b, count, "check", check)

    with_flushed_denormals(module, b, body)
    b.store(clock, place)
    b.ret(b.load(stuck, typ=I64))
    return module


def _process(b: ir.IRBuilder, network: ir.Value, index: ir.Value) -> ir.Value:
    first = word(b, network, PROCESSES, PTR)
    return offset(b, first, b.mul(index, integer(8 * PROCESS_WORDS)))


def _fired(b: ir.IRBuilder, words: ir.Value) -> ir.Value:
    return word(b, words, w.FIRED)


def _left(b: ir.IRBuilder, process: ir.Value, clock: ir.Value) -> ir.Value:
    """Firings that are due until ``clock``."""
    return b.sub(due_until(b, process, clock, PACE), _fired(b, word(b, process, WORDS, PTR)))


def _each_edge(
    b: ir.IRBuilder,
    process: ir.Value,
    table: int,
    count: int,
    most: ir.Value,
    limit: Callable[[ir.Value, ir.Value], ir.Value],
) -> None:
    """Lower ``most`` to what ``limit(edge, peer's fired)`` allows, for every edge."""
    first = word(b, process, table, PTR)

    def each(i: ir.Value) -> None:
        edge = offset(b, first, b.mul(i, integer(8 * EDGE_WORDS)))
        peer = _fired(b, word(b, edge, PEER_WORDS, PTR))
        allowed = limit(edge, peer)
        b.store(smaller(b, b.load(most, typ=I64), allowed), most)

    loop(b, word(b, process, count), "edge", each)


def _build_ready(ready: ir.Function) -> None:
    """How many frames a process can fire for now."""
    process, clock = ready.args
    b = ir.IRBuilder(ready.append_basic_block("entry"))
    fired = _fired(b, word(b, process, WORDS, PTR))
    most = b.alloca(I64)
    b.store(smaller(b, _left(b, process, clock), word(b, process, QUANTUM)), most)

    def visible(edge: ir.Value, written: ir.Value) -> ir.Value:
        expired = smaller(b, written, due_until(b, edge, clock, EDGE_PACE))
        tokens = b.add(b.mul(expired, word(b, edge, PRODUCED)), word(b, edge, EDGE_TOKENS))
        return b.sub(divided(b, tokens, word(b, edge, CONSUMED)), fired)

    def room(edge: ir.Value, read: ir.Value) -> ir.Value:
        free = b.sub(word(b, edge, CAPACITY), word(b, edge, EDGE_TOKENS))
        tokens = b.add(free, b.mul(read, word(b, edge, CONSUMED)))
        return b.sub(divided(b, tokens, word(b, edge, PRODUCED)), fired)

    _each_edge(b, process, INS, IN_COUNT, most, visible)
    _each_edge(b, process, READERS, READER_COUNT, most, room)
    b.ret(b.load(most, typ=I64))


def _build_wake(wake: ir.Function) -> None:
    """Put a process at the end of the queue unless it is there."""
    network, index = wake.args
    b = ir.IRBuilder(wake.append_basic_block("entry"))
    push, end = b.append_basic_block("push"), b.append_basic_block("end")
    process = _process(b, network, index)
    b.cbranch(b.icmp_signed("==", word(b, process, QUEUED), integer(0)), push, end)
    b.position_at_end(push)
    b.store(integer(1), offset(b, process, integer(8 * QUEUED)))
    tail = word(b, network, TAIL)
    slot = b.and_(tail, word(b, network, QUEUE_MASK))
    b.store(index, offset(b, word(b, network, QUEUE, PTR), b.mul(slot, integer(8))))
    b.store(b.add(tail, integer(1)), offset(b, network, integer(8 * TAIL)))
    b.branch(end)
    b.position_at_end(end)
    b.ret_void()


def _build_firing(
    module: ir.Module,
    b: ir.IRBuilder,
    network: ir.Value,
    clock: ir.Value,
    ready: ir.Function,
    wake: ir.Function,
    *,
    timing: bool,
) -> None:
    """Fire until the queue is empty."""
    head, inside, work, after = (
        b.append_basic_block(f"queue.{part}") for part in ("head", "pop", "fire", "end")
    )
    b.branch(head)
    b.position_at_end(head)
    first = word(b, network, HEAD)
    b.cbranch(b.icmp_signed("<", first, word(b, network, TAIL)), inside, after)
    b.position_at_end(inside)
    slot = b.and_(first, word(b, network, QUEUE_MASK))
    index = b.load(offset(b, word(b, network, QUEUE, PTR), b.mul(slot, integer(8))), typ=I64)
    b.store(b.add(first, integer(1)), offset(b, network, integer(8 * HEAD)))
    process = _process(b, network, index)
    b.store(integer(0), offset(b, process, integer(8 * QUEUED)))
    frames = b.call(ready, [process, clock])
    b.cbranch(b.icmp_signed(">", frames, integer(0)), work, head)
    b.position_at_end(work)
    fire(module, b, process, frames, timing=timing)
    for table, count in ((READERS, READER_COUNT), (INS, IN_COUNT)):
        edges = word(b, process, table, PTR)

        def each(i: ir.Value, edges: ir.Value = edges) -> None:
            edge = offset(b, edges, b.mul(i, integer(8 * EDGE_WORDS)))
            b.call(wake, [network, word(b, edge, PEER)])

        loop(b, word(b, process, count), "wake", each)
    full = b.icmp_signed("==", frames, word(b, process, QUANTUM))
    again, done = b.append_basic_block("again"), b.append_basic_block("done")
    b.cbranch(full, again, done)
    b.position_at_end(again)  # stopped by neither tokens nor room: no neighbour will wake it
    b.call(wake, [network, index])
    b.branch(done)
    b.position_at_end(done)
    b.branch(head)
    b.position_at_end(after)
