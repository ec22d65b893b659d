"""Files and folders by descriptors: walked to without links, replaced whole, changed by one at a time."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import time
from collections.abc import Iterator

FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
LISTED = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
FRESH = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
LOCK_SECONDS, LOCK_STEP = 10.0, 0.01
"""How long a folder that another process has locked is waited for, and between two tries."""


@contextlib.contextmanager
def walked(top: int, names: list[str], *, make: bool = True) -> Iterator[int]:
    """A descriptor of the folder that ``names`` lead to from ``top``. Missing ones are made."""
    here = os.dup(top)
    try:
        for name in names:
            if make:
                with contextlib.suppress(OSError):  # whether it is there now is found out by opening it
                    os.mkdir(name, 0o700, dir_fd=here)
            following = os.open(name, FOLDER, dir_fd=here)
            os.close(here)
            here = following
        yield here
    finally:
        os.close(here)


def replace_file(folder: int, name: str, data: bytes, *, lasting: bool = True) -> int:
    """Write a file beside ``name`` and let it take its place, if it is to be ``lasting`` once on the disk.

    Returns a descriptor of it.
    """
    fresh = f".{secrets.token_hex(16)}"
    descriptor = os.open(fresh, FRESH, 0o600, dir_fd=folder)
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(data)
        if lasting:
            os.fsync(descriptor)
        os.rename(fresh, name, src_dir_fd=folder, dst_dir_fd=folder)
        if lasting:
            with listed(folder) as opened:
                os.fsync(opened)
    except BaseException:
        os.close(descriptor)
        with contextlib.suppress(OSError):
            os.unlink(fresh, dir_fd=folder)
        raise
    return descriptor


@contextlib.contextmanager
def listed(folder: int) -> Iterator[int]:
    """A folder that was only walked to, opened for more."""
    opened = os.open(".", LISTED, dir_fd=folder)
    try:
        yield opened
    finally:
        os.close(opened)


@contextlib.contextmanager
def locked(folder: int) -> Iterator[None]:
    """Others who change shared names in the folder wait meanwhile. Raises OSError when they take too long."""
    with listed(folder) as opened:
        end = time.monotonic() + LOCK_SECONDS
        while True:
            try:
                fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end:
                    raise
                time.sleep(LOCK_STEP)
        yield


def is_there(folder: int, name: str) -> bool:
    """Whether anything has that name."""
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def take_back(folder: int, name: str, made: int) -> None:
    """Remove ``name`` if it is still the open file ``made``."""
    there, ours = os.stat(name, dir_fd=folder, follow_symlinks=False), os.fstat(made)
    if (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino):
        os.unlink(name, dir_fd=folder)


def file_system(descriptor: int) -> str:
    """The kind of file system that a descriptor is on, such as ``ext4``; empty where nobody says."""
    with open(f"/proc/self/fdinfo/{descriptor}", encoding="ascii") as file:
        mount = next((line.split()[1] for line in file if line.startswith("mnt_id:")), "")
    with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as file:
        for line in file:
            if line.partition(" ")[0] == mount:
                return line.rpartition(" - ")[2].partition(" ")[0]
    return ""
