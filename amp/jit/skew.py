"""Skewing: SIMD for a serial cascade of one lane.

A chain of K equal nodes has no two members that could work on the same frame side by side. Skewed in
time it has: at step t member m works on frame t - m, so the members are the lanes of one vector and each
step hands every member's result to the next lane. The samples are the same; the first and last K - 1
steps of a block have idle lanes. The idea is the wavefront of Lamport, "The parallel execution of DO
loops", CACM 17(2), 1974.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from amp.jit.group import Cluster
from amp.jit.trace import trace_alone

if TYPE_CHECKING:
    from collections.abc import Sequence

    from amp.jit.cluster import Clustering
    from amp.jit.group import Group, Item

LENGTHS = (16, 8, 4)
"""Members of a skewed kernel, which are its lanes."""
MIN_FRAMES = 64
"""Shorter blocks leave too many lanes idle."""


def skew_chains(
    clustering: Clustering, items: list[Item], batch: int, frames: int, beside: Sequence[Item] = ()
) -> list[Item]:
    """Take chains of equal one-lane nodes out of their clusters, to be skewed; ``beside`` run before them
    or after, and may read them.

    Narrow loops are left alone: their blocks are too short.
    """
    if frames < MIN_FRAMES:
        return items
    observed = _observed(clustering, [*items, *beside])
    out: list[Item] = []
    for item in items:
        if isinstance(item, Cluster) and item.head.slots * batch * item.head.parts == 1:
            pieces = _split(clustering, item.groups, observed)
            out += clustering.split(item, pieces)
        else:
            out.append(item)
    return out


def _observed(clustering: Clustering, items: list[Item]) -> set[int]:
    """Groups whose values someone outside of their cluster reads, or reads later."""
    home = {group.number: item.index for item in items for group in item.groups}
    found: set[int] = set()
    for group in clustering.groups:
        for read in group.reads:
            for number in np.unique(clustering.group_of[read.source]).tolist():
                if not read.plain or home[number] != home[group.number]:
                    found.add(number)
    return found


def _split(clustering: Clustering, groups: list[Group], observed: set[int]) -> list[list[Group]]:
    """``groups`` of a cluster as the pieces before, inside and after its chains."""
    readers: dict[int, list[Group]] = {group.number: [] for group in groups}
    for group in groups:
        for read in group.reads:
            source = int(clustering.group_of[read.source[0]])
            if source in readers:
                if not read.plain:
                    return [groups]  # tokens go round inside: frame by frame it is
                readers[source].append(group)
    chain = _longest_chain(groups, readers, observed)
    if len(chain) < LENGTHS[-1] or not _has_plain_memory(clustering, chain[0]):
        return [groups]
    chain = chain[: next(n for n in LENGTHS if n <= len(chain))]
    if not readers[chain[-1].number] and chain[-1].number not in observed:
        return [groups]  # no one hears it
    after = _descendants(chain[-1], readers)
    before = [g for g in groups if g.number not in after and g not in chain]
    rest = [g for g in groups if g.number in after]
    body = [clustering.as_chain(chain)]
    # an input that only the chain reads, and an output that only it feeds, need no kernel
    if len(before) == 1 and before[0].first.type.border and before[0].number not in observed:
        body, before = before + body, []
    if len(rest) == 1 and rest[0].first.type.border:
        body, rest = body + rest, []
    pieces = [before, body] if before else [body]
    return pieces + (_split(clustering, rest, observed) if rest else [])


def _longest_chain(
    groups: list[Group], readers: dict[int, list[Group]], observed: set[int]
) -> list[Group]:
    """The longest run of groups of one code, each read by the next one alone."""
    best: list[Group] = []
    for group in groups:
        chain = [group] if _fits(group) else []
        while chain:
            last = chain[-1]
            following = readers[last.number]
            if (
                len(following) != 1
                or last.number in observed
                or following[0].first.signature != last.first.signature
            ):
                break
            chain.append(following[0])
        if len(chain) > len(best):
            best = chain
    return best


def _fits(group: Group) -> bool:
    """One stream in, one out, one channel."""
    node = group.first
    return (
        len(group.reads) == 1
        and group.reads[0].step == 1
        and node.channels == 1
        and node.type.channels == "each"
        and not (node.type.border or group.archetype or group.collapsed)
        and len(type(node.type).outlets) == 1
    )


def _has_plain_memory(clustering: Clustering, group: Group) -> bool:
    """All that a node remembers is a number per lane, and it does not ask for the time."""
    ops = {value.op for value in trace_alone(group, clustering.sample_rate).values}
    return not ops & {"line", "tap", "clock"}


def _descendants(group: Group, readers: dict[int, list[Group]]) -> set[int]:
    found: set[int] = set()
    pending = list(readers[group.number])
    while pending:
        reader = pending.pop()
        if reader.number not in found:
            found.add(reader.number)
            pending += readers[reader.number]
    return found
