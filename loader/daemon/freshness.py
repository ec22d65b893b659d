"""Whether a folder is as it was at an instant: by when the kernel last changed anything of what it holds."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import Self

GRAIN = 0.05
"""Seconds by which the kernel's times of changes may be early: it counts in ticks."""
ENTRIES = 2_000
"""Entries of a folder that are looked at; a larger one is never known to be the same."""


@dataclass(frozen=True)
class Instant:
    """A moment by the clock, and by one that nobody sets."""

    clock: float
    steady: float

    @classmethod
    def now(cls) -> Self:
        """The moment of the call."""
        return cls(time.time(), time.monotonic())


def unchanged(folder: str, since: Instant) -> bool:
    """Whether nothing in the folder was changed, added or removed after ``since``. Links are not followed.

    In doubt it was: when the clock was set meanwhile, or something cannot be looked at.
    """
    now = Instant.now()
    if abs((now.clock - since.clock) - (now.steady - since.steady)) > GRAIN / 2:
        return False
    latest, left, waiting = since.clock - GRAIN, ENTRIES, [folder]
    try:
        if os.stat(folder).st_ctime >= latest:
            return False
        while waiting:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    left -= 1
                    if left < 0 or entry.stat(follow_symlinks=False).st_ctime >= latest:
                        return False
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
    except OSError:
        return False
    return True
