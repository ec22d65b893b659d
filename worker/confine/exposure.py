"""Tells what shows the host: its root, its devices, and file systems of the kernel wherever they are mounted.

Runs beside foreign code only in the sense that the broker does: it judges there what shall be readable.
"""

from __future__ import annotations

import os
import re
from typing import List, NamedTuple, Optional, Tuple

HOST = ("/", "/dev")
KERNEL = ("/proc", "/sys")
KERNEL_TYPES = frozenset(
    b"proc sysfs cgroup cgroup2 devpts devtmpfs debugfs tracefs securityfs bpf configfs efivarfs pstore"
    b" mqueue binfmt_misc fusectl hugetlbfs".split()
)
"""What no script may read as it likes, wherever it is shown: it is the host, or the kernel's."""


class Exposure(NamedTuple):
    """Where a file or folder shows the host, if it does, and whether anything is mounted below it."""

    shows: Optional[str]
    mounts: bool


def look(opened: int) -> Exposure:
    """What an opened file or folder shows. Its path is the kernel's word, and is not followed."""
    real = os.readlink(f"/proc/self/fd/{opened}")
    kernels, below = mounted(real)
    return Exposure(real if is_host(os.fstat(opened)) else next(iter(kernels), None), below)


def is_host(folder: os.stat_result) -> bool:
    """Whether a folder is the host's root or devices, or lies in a file system of the kernel's."""
    held = [os.stat(path) for path in HOST if os.path.isdir(path)]
    kernels = [os.stat(path).st_dev for path in KERNEL if os.path.isdir(path)]
    same = any((folder.st_dev, folder.st_ino) == (item.st_dev, item.st_ino) for item in held)
    return same or folder.st_dev in kernels


def mounted(real: str) -> Tuple[List[str], bool]:
    """Where the kernel's own file systems lie, at, above or below a real path; whether any lies below."""
    top = real.rstrip("/") + "/"
    holding, kernels, below = ("", b""), [], False
    with open("/proc/self/mountinfo", "rb") as mounts:
        for line in mounts:
            before, _, after = line.partition(b" - ")
            point = unescaped(before.split(b" ")[4]).rstrip("/") + "/"
            kind = after.split(b" ")[0]
            if top.startswith(point) and len(point) >= len(holding[0]):
                holding = (point, kind)
            elif point.startswith(top):
                below = True
                if kind in KERNEL_TYPES:
                    kernels.append(point)
    return ([holding[0], *kernels] if holding[1] in KERNEL_TYPES else kernels), below


def unescaped(field: bytes) -> str:
    """A path from the table of mounts: blanks and backslashes are octal there, and nothing else is."""
    return os.fsdecode(re.sub(rb"\\([0-3][0-7]{2})", lambda match: bytes([int(match[1], 8)]), field))
