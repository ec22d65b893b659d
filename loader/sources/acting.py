"""A thread looks at files as another user: it is the kernel that judges, by all that it knows of rights.

What a process with more rights opens for somebody may be put there to have it opened. As that user it opens
what the user could open as well, and nothing is learnt of the rest.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING

from loader.access import Reader

if TYPE_CHECKING:
    import ctypes

ASK = 0xFFFF_FFFF
"""No user and no group: the kernel changes nothing, and says who it is now."""
PR_GET_SECUREBITS, NO_SETUID_FIXUP = 27, 1 << 2


@contextlib.contextmanager
def acting(reader: Reader | None) -> Iterator[None]:
    """Let this thread be ``reader`` to all file systems, as long as the context, if this process is another.

    A thread or process that is begun meanwhile would stay so: only files are looked at. Raises
    PermissionError where this process cannot be another, or has groups that would stay its own.
    """
    if reader is None or reader.uid == os.geteuid():
        yield
        return
    if os.getgroups():
        raise PermissionError(errno.EPERM, "this process cannot put its groups away")
    if libc().prctl(PR_GET_SECUREBITS, 0, 0, 0, 0) & NO_SETUID_FIXUP:
        raise PermissionError(errno.EPERM, "this process keeps root's rights whoever it acts as")
    before = now()
    try:
        become(reader)
        yield
    finally:
        become(before)


def become(reader: Reader) -> None:
    """Change this thread's user and group for file systems. Raises PermissionError."""
    libc().setfsgid(reader.gid)
    libc().setfsuid(reader.uid)
    if now() != reader:
        raise PermissionError(errno.EPERM, f"this process cannot act as user {reader.uid}")


def now() -> Reader:
    """Who this thread is to file systems."""
    return Reader(libc().setfsuid(ASK), libc().setfsgid(ASK))


@cache
def libc() -> ctypes.CDLL:
    """The C library, whose calls these are: they concern the thread alone."""
    import ctypes  # noqa: PLC0415 - only a daemon of root's needs it

    library = ctypes.CDLL(None)
    for call in (library.setfsuid, library.setfsgid):
        call.argtypes, call.restype = [ctypes.c_uint], ctypes.c_uint
    return library
