"""Which folders peers were granted: the very folders that were there when the configuration was read.

A peer may often rename what leads to its folder, put links there, and mount what it likes where it alone sees
it. So a path alone grants nothing: what lies below a granted folder is what that folder leads to, and if root
runs the daemon it is looked at as the peer itself. The folder is held open as long as it is granted: no other
gets its inode, though it is removed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from loader.access import Reader
from loader.daemon.config import Config
from loader.process import NOBODY
from loader.sources.acting import acting
from loader.sources.beneath import FOLDER, path_of, placed
from loader.sources.local import identity_at
from loader.sources.paths import is_below
from loader.sources.script import Identity
from loader.sources.ways import way

ANSWER = 3.0
"""Seconds in which all folders have to be found that are to be granted."""


@dataclass(frozen=True)
class Held:
    """A folder that is held open: its real path as it was then, and its identity.

    ``descriptor`` is closed by ``close``, or when nobody has this any more. ``spelled`` is the path of one
    that was granted, as it was written.
    """

    path: str
    identity: Identity
    descriptor: int = field(compare=False, repr=False)
    spelled: str = ""
    close: Callable[[], object] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "close", weakref.finalize(self, os.close, self.descriptor))


@dataclass(frozen=True)
class User:
    """Whoever asks, as the kernel has it: a user and its groups, its own first."""

    uid: int
    groups: tuple[int, ...]

    def at(self, folder: os.stat_result) -> Reader:
        """As whom is looked at what lies below a granted folder; only root can be another than it is.

        Of its groups counts the folder's, if it is in that one, and else its own.
        """
        if os.geteuid() != 0:
            return Reader(os.geteuid(), os.getegid())
        return Reader(self.uid, folder.st_gid if folder.st_gid in self.groups else self.groups[0])


EVERYBODY = User(NOBODY, (NOBODY,))
"""Who bears the token may be anybody."""


class Lent(NamedTuple):
    """A folder below a granted one, and as whom it is looked at."""

    held: Held
    reader: Reader


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
    if looks:
        check_acting(warn)
    return found


def check_acting(warn: Callable[[str], None]) -> None:
    """Tell ``warn`` if nothing can be looked at as peers: then all of it is refused."""
    try:
        with acting(EVERYBODY.at(os.stat("/"))):
            return
    except OSError as error:
        warn(
            f"cannot look at the folders of peers, and so refuses them: {error.strerror}; give the daemon the"
            " capabilities SETUID and SETGID, or run it as another user"
        )


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
    real, loose = way(folder)
    if loose is not None:
        warn(
            f"others may put another folder at {loose}, on the way to {folder}, which is granted: what"
            " they put there is not granted until the configuration is read again"
        )
    held = held_as(os.open(real, FOLDER | os.O_NOFOLLOW), os.path.normpath(folder))
    if held.path != real:
        raise OSError("it was exchanged just now")
    return held


def held_as(descriptor: int, spelled: str = "") -> Held:
    """The folder that a descriptor is, which is closed if that cannot be found out. Raises OSError."""
    try:
        return Held(path_of(descriptor), identity_at(descriptor), descriptor, spelled)
    except BaseException:
        os.close(descriptor)
        raise


def granted_at(path: str, grants: Sequence[Held], user: User) -> Lent | None:
    """The folder at a path, if it lies below one that was granted; None for any other, and for nothing.

    The path has to be spelled so. Then the granted folder is gone down from, as ``user``: nothing is looked
    at that lies elsewhere, or that the user could not look at as well.
    """
    for grant in grants:
        reader = user.at(os.fstat(grant.descriptor))
        for top in {grant.path, grant.spelled}:
            if is_below(path, top):
                with contextlib.suppress(OSError, ValueError):
                    return Lent(reached(grant, os.path.relpath(path, top), top, reader), reader)
    return None


def reached(grant: Held, name: str, top: str, reader: Reader) -> Held:
    """The folder that has this name below a granted one, which is called ``top``. Raises OSError.

    Also where the granted one is not at its path any more: whoever asks means what is there now.
    """
    if path_of(grant.descriptor) != grant.path:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    with placed(name, grant.descriptor, top, reader) as place:
        return held_as(os.open(f"/proc/self/fd/{place}", FOLDER))
