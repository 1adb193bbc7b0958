"""Checking a schedule against its graph: a schedule is data from outside, never trusted."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from amp.errors import IllegalSchedule
from amp.schedule.dynamic import routers
from amp.schedule.ipls import IPLS, MAX_BLOCK, WIDTHS, Loop

if TYPE_CHECKING:
    from amp.graph import Frozen, Node
    from amp.schedule.latency import Paces

MAX_DEPTH = 32


def check_schedule(plan: IPLS, graph: Frozen, paces: Paces) -> None:
    """Return if ``plan`` is legal for the graph, else raise with *every* violation.

    Raises
    ------
    IllegalSchedule
        Its ``violations`` name node or edge, the rule, and the nearest mend.
    """
    violations = [
        f"node {node.name!r} ({node.kind}) fires others as data says, and a schedule fires at known "
        "clocks; compile without a schedule"
        for node in routers(graph)
    ]
    if violations:
        raise IllegalSchedule(violations)
    if plan.graph != graph.fingerprint:
        violations.append(
            f"it was made for another graph: fingerprint {plan.graph!r}, this graph has "
            f"{graph.fingerprint!r}; plan again"
        )
    violations += [*_check_shape(plan), *_check_members(plan, graph)]
    if not violations:
        violations = _check_edges(plan, graph, paces)
    if violations:
        raise IllegalSchedule(violations)


def _check_shape(plan: IPLS) -> list[str]:
    found = []
    if not (isinstance(plan.block, int) and 1 <= plan.block <= MAX_BLOCK):
        found.append(f"block {plan.block!r} is not in 1..{MAX_BLOCK}; use a power of two like 256")
    pending: list[tuple[Loop, object, int]] = [
        (item, plan.block, 1) for item in plan.stages if isinstance(item, Loop)
    ]
    while pending:
        loop, outer, depth = pending.pop()
        if depth > MAX_DEPTH:
            found.append(f"loops are nested more than {MAX_DEPTH} deep; flatten them")
            break
        if not (isinstance(loop.block, int) and isinstance(outer, int) and 1 <= loop.block < outer):
            found.append(
                f"a loop of block {loop.block!r} is not narrower than the {outer!r} around it; "
                "use its stages without a loop"
            )
        pending += [(item, loop.block, depth + 1) for item in loop.stages if isinstance(item, Loop)]
    return found


def _check_members(plan: IPLS, graph: Frozen) -> list[str]:
    kinds = dict(zip(graph.numbers, graph.kinds, strict=True))
    seen: Counter[str] = Counter()
    found = []
    for number, stage, _ in plan.walk():
        for cohort in stage.cohorts:
            seen.update(cohort.members)
            if not cohort.members:
                found.append(f"stage {number}: a cohort of {cohort.type} has no members; drop it")
            if cohort.width not in WIDTHS:
                found.append(
                    f"stage {number}: width {cohort.width!r} of the {cohort.type} cohort is not "
                    f"one of {WIDTHS}; use 8"
                )
            for name in cohort.members:
                kind = kinds.get(name)
                if kind is None:
                    found.append(f"stage {number}: the graph has no node {name!r}; drop it")
                elif kind != cohort.type:
                    found.append(
                        f"stage {number}: node {name!r} is a {kind}, not a {cohort.type}; move it "
                        f"to a cohort of {kind}"
                    )
    found += [
        f"node {name!r} stands {count} times; keep it once"
        for name, count in seen.items()
        if count > 1
    ]
    found += [
        f"node {node.name!r} ({node.kind}) is missing; add it to a cohort of {node.kind}"
        for node in graph.nodes
        if node.name not in seen
    ]
    return found


def _check_edges(plan: IPLS, graph: Frozen, paces: Paces) -> list[str]:
    stage_of = np.zeros(len(graph.nodes), np.int64)
    paths: list[tuple[int, ...]] = []
    for number, stage, path in plan.walk():
        paths.append(path)
        for cohort in stage.cohorts:
            stage_of[[graph.numbers[name] for name in cohort.members]] = number
    mine, theirs = stage_of[graph.consumer], stage_of[graph.source]
    cover = paces.cover()
    found = []
    for i in np.flatnonzero(theirs >= mine):
        stages = int(mine[i]), int(theirs[i])
        block = _common_block(plan, paths[stages[0]], paths[stages[1]])
        if cover[i] < block:
            source, consumer = graph.nodes[graph.source[i]], graph.nodes[graph.consumer[i]]
            found.append(_late(source, consumer, stages, (max(0, int(cover[i])), block)))
    return found


def _common_block(plan: IPLS, mine: tuple[int, ...], theirs: tuple[int, ...]) -> int:
    """Block of the innermost loop around both paths."""
    block, items = plan.block, plan.stages
    for i, j in zip(mine, theirs, strict=False):
        item = items[i]
        if i != j or not isinstance(item, Loop):
            break
        block, items = item.block, item.stages
    return block


def _late(source: Node, consumer: Node, stages: tuple[int, int], cover: tuple[int, int]) -> str:
    mine, theirs = stages
    have, block = cover
    place = "in the same stage as" if mine == theirs else "before"
    mend = f"move {consumer.name!r} after stage {theirs}"
    if have:
        mend += f", or put both in a loop of block {have} or less"
    return (
        f"edge {source.name!r} -> {consumer.name!r}: the consumer stands {place} its producer "
        f"(stages {mine} and {theirs}), which takes {block} token(s) in flight and there are "
        f"{have}; {mend}"
    )
