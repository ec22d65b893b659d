"""What lies below a folder is walked to, name by name: nothing outside is ever looked at, whatever links say.

The kernel would follow a link before anybody could judge where it leads, and so tell whether something is
there. Here links are read and followed by hand; one that leads out is refused unseen.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator, Sequence

from loader.access import Reader
from loader.sources.acting import acting
from loader.sources.paths import is_below

LINKS = 40
"""Links on the way to a file, as the kernel has it."""
DEEP = 256
"""Folders on the way; each is held until the end."""
STEP = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


def entered(folder: str, reader: Reader | None = None) -> int:
    """A descriptor of the folder at an absolute path. Raises OSError, ValueError.

    For a ``reader`` the path is one by no link, and whoever put a link there since learns nothing by it.
    """
    if reader is None:
        return os.open(folder, FOLDER)
    place = os.open(os.sep, FOLDER)
    for name in backwards(folder)[::-1]:
        above = place
        try:
            place = os.open(name, FOLDER | os.O_NOFOLLOW, dir_fd=above)
        finally:
            os.close(above)
    return place


@contextlib.contextmanager
def placed(name: str, root: int, spelled: str = "", reader: Reader | None = None) -> Iterator[int]:
    """A descriptor of what has that name below descriptor ``root``; it is not opened.

    ``spelled`` is what the root is called, which may lead there by links: what is written below that lies
    in it, too. Raises OSError, with EXDEV for what leads out and EACCES for what ``reader`` may not see.
    """
    held = [os.dup(root)]
    try:
        with acting(reader):
            walk(held, backwards(name), [top for top in (path_of(root), spelled) if top])
        yield held[-1]
    finally:
        for descriptor in held:
            os.close(descriptor)


def resolved(name: str, folder: str, spelled: str) -> str:
    """The absolute path that a name below a folder comes to, with links followed as far as it is there.

    Raises OSError, with EXDEV for what leads out.
    """
    try:
        held = [os.open(folder, FOLDER)]
    except OSError:
        return os.path.normpath(os.path.join(folder, name))
    waiting = backwards(name)
    try:
        top = path_of(held[0])
        try:
            walk(held, waiting, [top, spelled])
        except OSError as error:
            if error.errno == errno.EXDEV:
                raise
        found = os.path.normpath(os.path.join(path_of(held[-1]), *reversed(waiting)))
        inner(found, [top])
        return found
    finally:
        for descriptor in held:
            os.close(descriptor)


def path_of(descriptor: int) -> str:
    """Where a folder is now."""
    return os.readlink(f"/proc/self/fd/{descriptor}")


def walk(held: list[int], waiting: list[str], tops: Sequence[str]) -> None:
    """Go where the names lead from the first of the descriptors, the last name first.

    Raises OSError; what was not gone to is left in both.
    """
    links = 0
    while waiting:
        part = waiting[-1]
        if part == os.pardir:
            leave(held, tops)
            waiting.pop()
            continue
        held.append(os.open(part, STEP, dir_fd=held[-1]))
        waiting.pop()
        if stat.S_ISLNK(os.fstat(held[-1]).st_mode):
            links += 1
            target = os.readlink("", dir_fd=held[-1])
            os.close(held.pop())
            if target.startswith(os.sep):
                target = inner(target, tops)
                while len(held) > 1:
                    os.close(held.pop())
            waiting += backwards(target)
        if links > LINKS or len(held) > DEEP:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))


def leave(held: list[int], tops: Sequence[str]) -> None:
    """Go up one folder. Raises OSError at the top, unless that is the host's: there it leads nowhere."""
    if len(held) > 1:
        os.close(held.pop())
    elif tops[0] != os.sep:
        raise OSError(errno.EXDEV, "it leads out")


def inner(target: str, tops: Sequence[str]) -> str:
    """An absolute path as one from the top. Raises OSError if it is spelled to lead elsewhere."""
    for top in tops:
        if is_below(target, top):
            return target[len(top) :]
    raise OSError(errno.EXDEV, "it leads out")


def backwards(path: str) -> list[str]:
    """The names that make up a path, the last first."""
    return [name for name in path.split(os.sep) if name not in {"", os.curdir}][::-1]


def is_file(
    path: str, folder: str, identity: tuple[int, int] | None = None, reader: Reader | None = None
) -> bool:
    """Whether a regular file lies at an absolute path, and below that folder: see ``mode_of``."""
    return stat.S_ISREG(mode_of(path, folder, identity, reader))


def mode_of(
    path: str, folder: str, identity: tuple[int, int] | None = None, reader: Reader | None = None
) -> int:
    """The mode of what lies at an absolute path, and below that folder; 0 for nothing.

    Nothing does in a folder that has another device and inode than it is due to have, nor where ``reader``
    may not look.
    """
    try:
        root = entered(folder, reader)
    except (OSError, ValueError):
        return 0
    try:
        status = os.fstat(root)
        if identity not in {None, (status.st_dev, status.st_ino)}:
            return 0
        with placed(os.path.relpath(path, folder), root, folder, reader) as place:
            return os.fstat(place).st_mode
    except (OSError, ValueError):
        return 0
    finally:
        os.close(root)
