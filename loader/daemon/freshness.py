"""Instants, and whether a folder is as it was at one: by when the kernel last changed what it holds."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

ENTRIES = 2_000
"""Entries of a folder that are looked at; a larger one is never known to be the same."""
SECOND = 10**9
SLACK = SECOND // 10
"""Nanoseconds by which a change must be older than a load to have been there for it: clocks are coarse."""


@dataclass(frozen=True)
class Moment:
    """An instant, by the clock that files have and by one that nobody can move. Nanoseconds."""

    wall: int
    steady: int

    @classmethod
    def now(cls) -> Moment:
        """The instant of the call."""
        return cls(time.time_ns(), time.clock_gettime_ns(time.CLOCK_BOOTTIME))

    def is_after(self, change: int) -> bool:
        """Whether a file's change was certainly before it; not if the clock was moved since."""
        now = Moment.now()
        moved = abs((now.wall - self.wall) - (now.steady - self.steady))
        return change < self.wall - SLACK and moved < SLACK // 2


def latest(changed: int) -> int:
    """When a change may have been that bears this time: some file systems know even seconds only."""
    return changed if changed % SECOND else changed + 2 * SECOND


def unchanged(folder: str, since: Moment) -> bool:
    """Whether nothing in the folder was changed, added or removed after ``since``. Links are not followed.

    In doubt it was: when the clock was set meanwhile, or something cannot be looked at.
    """
    left, waiting = ENTRIES, [folder]
    try:
        changes = [os.stat(folder).st_ctime_ns]
        while waiting:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    left -= 1
                    if left < 0:
                        return False
                    changes.append(entry.stat(follow_symlinks=False).st_ctime_ns)
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
    except OSError:
        return False
    return since.is_after(max(changes))
