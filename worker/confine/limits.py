"""Takes away the right to use more memory, processor time, files and threads than the policy says.

Runs beside foreign code. Limits count what the script adds: what the worker's own code already holds
when it is confined comes on top.
"""

from __future__ import annotations

import functools
import math
import os
import resource
from dataclasses import dataclass
from typing import Tuple

from ..protocol import Policy
from . import kernel

CPU_GRACE = 1
"""Seconds between the signal that asks where a script hung and the one that ends it."""

SIGNALS = 128
"""Signals and timers that may be pending: the kernel counts them for a user, so that one script's are
everyone's."""

SHARED_TASKS = 1024
"""Tasks that all workers and whatever else the user starts may have beyond those there were at first,
where the kernel counts them for a user: no promise to one worker, but the host keeps its own."""


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
        Limit("sigpending", resource.RLIMIT_SIGPENDING, SIGNALS, SIGNALS),
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
    elif policy.asks("processes"):
        limits.append(Limit("nproc", resource.RLIMIT_NPROC, SHARED_TASKS, SHARED_TASKS, "tasks"))
    return tuple(limits)


@functools.lru_cache(maxsize=1)
def tasks() -> int:
    """Tasks of this user on the host, counted once: a worker has the number from its zygote."""
    found = 0
    for entry in os.listdir("/proc"):
        try:
            if entry.isdigit() and os.stat(f"/proc/{entry}").st_uid == os.getuid():
                found += len(os.listdir(f"/proc/{entry}/task"))
        except OSError:
            continue  # It ended while we counted.
    return found


def used(what: str) -> int:
    """What this process has used: bytes of address space, seconds of processor time, tasks of its user."""
    if what == "tasks":
        return tasks()
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
