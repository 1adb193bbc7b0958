"""Schedules: when nodes start, what an IPLS is, whether it is legal, and how to make one."""

from __future__ import annotations

from amp.schedule.check import check_schedule
from amp.schedule.ipls import IPLS, Cohort, Loop, Stage
from amp.schedule.latency import in_flight, starts
from amp.schedule.plan import plan

__all__ = ["IPLS", "Cohort", "Loop", "Stage", "check_schedule", "in_flight", "plan", "starts"]
