"""Tells what shows the host: its root, its devices, and file systems of the kernel wherever they are mounted.

Runs beside foreign code only in the sense that the broker does: it judges there what shall be readable.
"""

from __future__ import annotations

import os
import re
from typing import List, Optional

HOST = ("/", "/dev")
KERNEL = ("/proc", "/sys")
KERNEL_TYPES = frozenset(
    b"proc sysfs cgroup cgroup2 devpts devtmpfs debugfs tracefs securityfs bpf configfs efivarfs pstore"
    b" mqueue binfmt_misc fusectl hugetlbfs".split()
)
"""What no script may read as it likes, wherever it is shown: it is the host, or the kernel's."""


def shown_by(opened: int) -> Optional[str]:
    """Where an opened file or folder shows the host: itself, or what is mounted there; None if nowhere."""
    real = os.path.realpath(f"/proc/self/fd/{opened}")
    if is_host(os.fstat(opened)):
        return real
    return next(iter(kernel_mounts(real)), None)


def is_host(folder: os.stat_result) -> bool:
    """Whether a folder is the host's root or devices, or lies in a file system of the kernel's."""
    held = [os.stat(path) for path in HOST if os.path.isdir(path)]
    kernels = [os.stat(path).st_dev for path in KERNEL if os.path.isdir(path)]
    same = any((folder.st_dev, folder.st_ino) == (item.st_dev, item.st_ino) for item in held)
    return same or folder.st_dev in kernels


def kernel_mounts(path: str) -> List[str]:
    """Where the kernel's own file systems are mounted at, above or below ``path``: they show the host."""
    real = os.path.realpath(path).rstrip("/") + "/"
    holding, found = ("", b""), []
    with open("/proc/self/mountinfo", "rb") as mounted:
        for line in mounted:
            before, _, after = line.partition(b" - ")
            point = unescaped(before.split(b" ")[4]).rstrip("/") + "/"
            kind = after.split(b" ")[0]
            if real.startswith(point) and len(point) >= len(holding[0]):
                holding = (point, kind)
            elif point.startswith(real) and kind in KERNEL_TYPES:
                found.append(point)
    return [holding[0], *found] if holding[1] in KERNEL_TYPES else found


def unescaped(field: bytes) -> str:
    """A path from the table of mounts: blanks and backslashes are octal there, and nothing else is."""
    return os.fsdecode(re.sub(rb"\\([0-3][0-7]{2})", lambda match: bytes([int(match[1], 8)]), field))
