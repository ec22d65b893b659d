"""Whether a folder is as it was at an instant: by when the kernel last changed anything of what it holds."""

from __future__ import annotations

import os

from loader.daemon.traces import Moment

ENTRIES = 2_000
"""Entries of a folder that are looked at; a larger one is never known to be the same."""


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
