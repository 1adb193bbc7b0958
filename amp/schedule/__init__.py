"""Schedules: when nodes start, what an IPLS is, whether it is legal, and how to make one."""

from __future__ import annotations

from amp.schedule.check import check_schedule
from amp.schedule.ipls import IPLS, Cohort, Loop, Stage
from amp.schedule.latency import KPN_FRAMES, Pace, Paces, paces
from amp.schedule.plan import plan
from amp.schedule.settle import settle

__all__ = [
    "IPLS",
    "KPN_FRAMES",
    "Cohort",
    "Loop",
    "Pace",
    "Paces",
    "Stage",
    "check_schedule",
    "paces",
    "plan",
    "settle",
]
