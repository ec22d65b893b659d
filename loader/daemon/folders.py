"""The daemon's own folders, opened only if nobody else can look into them or put anything there."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@contextlib.contextmanager
def own(path: str) -> Iterator[int]:
    """A descriptor of a folder, made if need be. Raises OSError, also for one that is not ours alone."""
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        os.mkdir(path, 0o700)
    descriptor = os.open(path, FOLDER)
    try:
        status = os.fstat(descriptor)
        if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o077:
            raise PermissionError(None, "others may look into it; name one of your own, of mode 0700")
        yield descriptor
    finally:
        os.close(descriptor)


def check_own(name: str, folder: int) -> None:
    """Raise OSError unless what has a name in a folder, if anything, is a file of ours, only there."""
    try:
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return
    if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid() or status.st_nlink != 1:
        raise PermissionError(None, f"its {name} is no file of yours alone; remove it")
