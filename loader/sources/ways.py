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
    sticky = is_ours(above) and bool(above.st_mode & stat.S_ISVTX)
    return is_shared(above) and not (sticky and is_ours(status))


def is_shared(folder: os.stat_result) -> bool:
    """Whether somebody other than root and this user may write to a folder."""
    return not is_ours(folder) or bool(folder.st_mode & 0o022)


def is_ours(status: os.stat_result) -> bool:
    """Whether something belongs to root or this user."""
    return status.st_uid in {0, os.geteuid()}
