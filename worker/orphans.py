"""Ends what a script started and left behind, where no PID namespace does it; not run beside foreign code.

A process whose parent dies is given to the nearest ancestor that asked for orphans. Where processes may be
started and nothing numbers them apart, whatever such an ancestor is given is ended.
"""

from __future__ import annotations

import contextlib
import os
import signal
from typing import Set

ROUNDS = 100
"""Times that newly given orphans are looked for: ending one may hand over its own children."""


def given() -> Set[int]:
    """The children of this process, by the kernel's list; empty on a kernel that keeps none."""
    try:
        with open("/proc/thread-self/children", encoding="ascii") as children:
            return {int(child) for child in children.read().split()}
    except OSError:
        return set()


def end(known: Set[int]) -> None:
    """Kill and reap every child of this process that is not ``known``."""
    for _ in range(ROUNDS):
        orphans = given() - known
        if not orphans:
            return
        for orphan in orphans:  # all of them before the first is waited for: they may go on forking
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(orphan, signal.SIGKILL)
        for orphan in orphans:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(orphan, 0)
