"""Which folders peers were granted: the very folders that were there when the configuration was read.

A peer may often rename what leads to its folder, and mount what it likes where it alone sees it. So a path
alone grants nothing: what lies below a granted folder is what that folder leads to. The folder is held open
as long as it is granted: no other gets its inode, though it is removed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from loader.access import Readable
from loader.daemon.config import Config
from loader.sources.beneath import DEEP, LINKS
from loader.sources.local import identity_at
from loader.sources.paths import is_below
from loader.sources.script import Identity

ANSWER = 3.0
"""Seconds in which all folders have to be found that are to be granted."""
FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


@dataclass(frozen=True)
class Held:
    """A folder that is held open: its real path as it was then, and its identity.

    ``descriptor`` is closed by ``close``, or when nobody has this any more. ``readable`` says what below it
    is read for a caller.
    """

    path: str
    identity: Identity
    descriptor: int = field(compare=False, repr=False)
    readable: Readable | None = None
    close: Callable[[], object] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "close", weakref.finalize(self, os.close, self.descriptor))


Grants = Mapping[int | str, tuple[Held, ...]]
"""What each peer was granted."""


def granted(config: Config, warn: Callable[[str], None]) -> Grants:
    """What each peer is granted now. ``warn`` is told of folders that cannot be, and of exchangeable ones.

    One that does not answer is granted to nobody until the configuration is read again.
    """
    looks = [(peer.uid, Look(folder)) for peer in config.peers for folder in peer.folders]
    until = time.monotonic() + ANSWER
    found: dict[int | str, tuple[Held, ...]] = {peer.uid: () for peer in config.peers}
    for uid, look in looks:
        try:
            found[uid] += (look.grant(until, warn),)
        except OSError as error:
            why = error.strerror or str(error)
            warn(f"cannot grant {uid} the folder {look.folder}: {why}; mend it and reload the daemon")
    return found


class Look(threading.Thread):
    """Looks for a folder that is to be granted: it may lie on a file system that never answers."""

    def __init__(self, folder: str) -> None:
        super().__init__(name="flow-loader-grant", daemon=True)
        self.folder = folder
        self.said: list[str] = []
        self.came: Held | OSError = OSError("it does not answer")
        self.start()

    def run(self) -> None:
        """The thread."""
        try:
            self.came = grant_of(self.folder, self.said.append)
        except OSError as error:
            self.came = error

    def grant(self, until: float, warn: Callable[[str], None]) -> Held:
        """What it came to at that time at the latest. Raises OSError."""
        self.join(max(0.0, until - time.monotonic()))
        came = self.came
        for said in list(self.said):
            warn(said)
        if isinstance(came, OSError):
            raise came
        return came


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


def held_as(descriptor: int, readable: Readable | None = None) -> Held:
    """The folder that a descriptor is, which is closed if that cannot be found out. Raises OSError."""
    try:
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        return Held(path, identity_at(descriptor), descriptor, readable)
    except BaseException:
        os.close(descriptor)
        raise


def granted_at(path: str, grants: Sequence[Held], uid: int | None = None) -> Held | None:
    """The folder at a path, if it lies below one that was granted; None for any other, and for nothing.

    Of what lies there counts what its owner or its group may read, or everybody, or user ``uid``.
    What is at the path only says where to look: in a mount namespace of the caller's own, that may read as if
    it lay here. What is held was gone to from a granted folder.
    """
    try:
        asked = held_at(path) if grants else None
        if asked is None:
            return None
        with contextlib.closing(asked):
            found = (reached(grant, asked.path, uid) for grant in grants if is_below(asked.path, grant.path))
            return next(
                (held for held in found if held is not None and held.identity == asked.identity), None
            )
    except (OSError, ValueError):
        return None


def reached(grant: Held, path: str, uid: int | None) -> Held | None:
    """The folder that a granted one leads to, name by name and by no link; None where it does not.

    Raises OSError.
    """
    names = parts(path)[len(parts(grant.path)) :]
    if len(names) > DEEP:
        return None
    status = os.fstat(grant.descriptor)
    readable = Readable(status.st_uid, status.st_gid, uid)
    descriptor = os.dup(grant.descriptor)
    try:
        for name in names:
            above, descriptor = descriptor, os.open(name, FOLDER | os.O_NOFOLLOW, dir_fd=descriptor)
            os.close(above)
            if not readable.allows(os.fstat(descriptor)):
                raise OSError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError:
        os.close(descriptor)
        return None
    return held_as(descriptor, readable)


def parts(path: str) -> list[str]:
    """The names that make up an absolute path."""
    return [name for name in path.split("/") if name]
