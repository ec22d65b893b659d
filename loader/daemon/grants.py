"""Which folders peers were granted: the very folders that were there when the configuration was read.

A peer may often rename what leads to its folder, and mount what it likes where it alone sees it. So a path
alone grants nothing: what lies below a granted folder is what that folder leads to. The folder is held open
as long as it is granted: no other gets its inode, though it is removed.
"""

from __future__ import annotations

import contextlib
import os
import stat
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from loader.daemon.config import Config
from loader.sources.beneath import LINKS
from loader.sources.paths import is_below
from loader.sources.script import Identity

DEEP = 256
"""Folders between one that is granted and one that is asked for."""
FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


@dataclass(frozen=True)
class Held:
    """A folder that is held open: its real path as it was then, and its identity.

    ``descriptor`` is closed by ``close``, or when nobody has this any more.
    """

    path: str
    identity: Identity
    descriptor: int = field(compare=False, repr=False)
    close: Callable[[], object] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "close", weakref.finalize(self, os.close, self.descriptor))


Grants = Mapping[int | str, tuple[Held, ...]]
"""What each peer was granted."""


def granted(config: Config, warn: Callable[[str], None]) -> Grants:
    """What each peer is granted now. ``warn`` is told of folders that cannot be, and of exchangeable ones."""
    found: dict[int | str, tuple[Held, ...]] = {}
    for peer in config.peers:
        grants = []
        for folder in peer.folders:
            try:
                grants.append(grant_of(folder, warn))
            except OSError as error:
                why = error.strerror or str(error)
                warn(f"cannot grant {peer.uid} the folder {folder}: {why}; mend it and reload the daemon")
        found[peer.uid] = tuple(grants)
    return found


def grant_of(folder: str, warn: Callable[[str], None]) -> Held:
    """The folder at a path. Raises OSError when it cannot be had, or a link of others leads to it."""
    real = resolved(folder, warn)
    held = held_at(real, os.O_NOFOLLOW)
    if held.path != real:
        raise OSError("it was exchanged just now")
    return held


def resolved(folder: str, warn: Callable[[str], None]) -> str:
    """The real path of a folder. Raises OSError for a link on the way that others may have put there."""
    here, links, waiting = "/", 0, parts(folder)[::-1]
    while waiting:
        name = waiting.pop()
        step = os.path.join(here, name)
        above, status = os.lstat(here), os.lstat(step)
        loose = is_loose(above, status)
        if stat.S_ISLNK(status.st_mode):
            links += 1
            if loose or links > LINKS:
                raise OSError(f"{step} is a link that others may change")
            target = os.path.normpath(os.path.join(here, os.readlink(step)))
            here, waiting = "/", waiting + parts(target)[::-1]
            continue
        if loose:
            warn(
                f"others may put another folder at {step}, on the way to {folder}, which is granted: what"
                " they put there is not granted until the configuration is read again"
            )
        here = step
    return here


def is_loose(above: os.stat_result, status: os.stat_result) -> bool:
    """Whether somebody other than root and this user may exchange what lies in a folder."""
    ours = {0, os.geteuid()}
    if above.st_uid not in ours:
        return True
    if not above.st_mode & 0o022:
        return False
    return not above.st_mode & stat.S_ISVTX or status.st_uid not in ours


def held_at(path: str, flags: int = 0) -> Held:
    """The folder at a path. Raises OSError, ValueError."""
    return held_as(os.open(path, FOLDER | flags))


def held_as(descriptor: int) -> Held:
    """The folder that a descriptor is, which is closed if that cannot be found out. Raises OSError."""
    try:
        return Held(os.readlink(f"/proc/self/fd/{descriptor}"), identity(os.fstat(descriptor)), descriptor)
    except BaseException:
        os.close(descriptor)
        raise


def identity(status: os.stat_result) -> Identity:
    """The device and the inode."""
    return status.st_dev, status.st_ino


def granted_at(path: str, grants: Sequence[Held]) -> Held | None:
    """The folder at a path, if it lies below one that was granted; None for any other, and for nothing.

    What is at the path only says where to look: in a mount namespace of the caller's own, that may read as if
    it lay here. What is held was gone to from a granted folder.
    """
    try:
        asked = held_at(path) if grants else None
        if asked is None:
            return None
        with contextlib.closing(asked):
            found = (reached(grant, asked.path) for grant in grants if is_below(asked.path, grant.path))
            return next(
                (held for held in found if held is not None and held.identity == asked.identity), None
            )
    except (OSError, ValueError):
        return None


def reached(grant: Held, path: str) -> Held | None:
    """The folder that a granted one leads to, name by name and by no link; None where it does not.

    Raises OSError.
    """
    names = parts(path)[len(parts(grant.path)) :]
    if len(names) > DEEP:
        return None
    descriptor = os.dup(grant.descriptor)
    try:
        for name in names:
            above, descriptor = descriptor, os.open(name, FOLDER | os.O_NOFOLLOW, dir_fd=descriptor)
            os.close(above)
    except OSError:
        os.close(descriptor)
        return None
    return held_as(descriptor)


def parts(path: str) -> list[str]:
    """The names that make up an absolute path."""
    return [name for name in path.split("/") if name]
