"""Where a path leads, and whether others may have it lead elsewhere: step by step, and links by hand."""

from __future__ import annotations

import os
import stat
from typing import NamedTuple

from loader.sources.beneath import LINKS, backwards


class Way(NamedTuple):
    """The path by no link, and the first step on it at which others may put something else, if there is."""

    real: str
    loose: str | None


def way(path: str) -> Way:
    """Where an absolute path leads. Raises OSError, also for a link on it that others may have put there."""
    here, links, waiting = os.sep, 0, backwards(path)
    first: str | None = None
    while waiting:
        step = os.path.join(here, waiting.pop())
        above, status = os.lstat(here), os.lstat(step)
        loose = is_loose(above, status)
        if not stat.S_ISLNK(status.st_mode):
            here, first = step, first or (step if loose else None)
            continue
        links += 1
        if loose or links > LINKS:
            raise OSError(f"{step} is a link that others may change")
        waiting += backwards(os.path.normpath(os.path.join(here, os.readlink(step))))
        here = os.sep
    return Way(here, first)


def is_loose(above: os.stat_result, status: os.stat_result) -> bool:
    """Whether somebody other than root and this user may exchange what lies in a folder."""
    ours = {0, os.geteuid()}
    if above.st_uid not in ours:
        return True
    if not above.st_mode & 0o022:
        return False
    return not above.st_mode & stat.S_ISVTX or status.st_uid not in ours
