"""Takes away the right to use more memory, processor time, files and threads than the policy says.

Runs beside foreign code. Limits count what the script adds: what the worker's own code already holds
when it is confined comes on top.
"""

from __future__ import annotations

import math
import os
import resource
from dataclasses import dataclass
from typing import Tuple

from ..protocol import Policy
from . import kernel

CPU_GRACE = 1
"""Seconds between the signal that asks where a script hung and the one that ends it."""


@dataclass(frozen=True)
class Limit:
    """One resource limit, as ``resource.setrlimit`` takes it; ``beyond`` adds what is in use already."""

    name: str
    resource: int
    soft: int
    hard: int
    beyond: str = ""


def plan(policy: Policy, counted: bool) -> Tuple[Limit, ...]:
    """The limits of ``policy``.

    ``counted``: this process is alone in its user namespace, so that the kernel's count of its tasks is a
    count of its threads.
    """
    limits = [
        Limit("core", resource.RLIMIT_CORE, 0, 0),
        Limit("msgqueue", resource.RLIMIT_MSGQUEUE, 0, 0),
        Limit("nice", resource.RLIMIT_NICE, 0, 0),
        Limit("rtprio", resource.RLIMIT_RTPRIO, 0, 0),
    ]
    if policy.asks("memory"):
        limits.append(Limit("as", resource.RLIMIT_AS, policy.memory, policy.memory, "memory"))
    if policy.asks("cpu"):
        limits.append(Limit("cpu", resource.RLIMIT_CPU, policy.cpu, policy.cpu + CPU_GRACE, "cpu"))
    if policy.asks("open_files"):
        limits.append(Limit("nofile", resource.RLIMIT_NOFILE, policy.open_files, policy.open_files))
        limits.append(Limit("fsize", resource.RLIMIT_FSIZE, policy.file_size, policy.file_size))
    if policy.asks("processes") and counted:
        tasks = policy.threads + policy.processes
        limits.append(Limit("nproc", resource.RLIMIT_NPROC, tasks, tasks))
    return tuple(limits)


def used(what: str) -> int:
    """Bytes of address space or whole seconds of processor time that this process has used."""
    if what == "cpu":
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return math.ceil(usage.ru_utime + usage.ru_stime)
    with open("/proc/self/statm", "rb") as statm:
        return int(statm.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")


def apply(limits: Tuple[Limit, ...]) -> None:
    """Set each limit, never above one that is in force already. Raises StepFailed."""
    for limit in limits:
        extra = used(limit.beyond) if limit.beyond else 0
        _, ceiling = resource.getrlimit(limit.resource)
        most = math.inf if ceiling == resource.RLIM_INFINITY else ceiling
        soft, hard = (int(min(value + extra, most)) for value in (limit.soft, limit.hard))
        try:
            resource.setrlimit(limit.resource, (soft, hard))
        except (OSError, ValueError) as error:
            raise kernel.StepFailed(f"rlimits: {limit.name}", getattr(error, "errno", 0) or 0) from error
