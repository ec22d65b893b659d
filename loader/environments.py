"""What an interpreter has installed: the names and versions of its distributions, and when each came."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from functools import lru_cache

METADATA = (".dist-info", ".egg-info", ".egg-link", ".pth")
"""How what an installer leaves for a distribution ends; its name holds the version."""


def packages(path: Iterable[str]) -> str:
    """A digest of what is installed in the folders of an interpreter's import path.

    A package that is changed by hand, and not by an installer, goes unnoticed.
    """
    return hashlib.sha256("\n".join(filter(None, map(installed, path))).encode()).hexdigest()


def installed(folder: str) -> str:
    """What is installed in one folder; nothing in one that is not there."""
    try:
        status = os.stat(folder)
        return listed(folder, status.st_ino, status.st_mtime_ns)
    except OSError:
        return ""


@lru_cache(maxsize=256)
def listed(folder: str, _inode: int, _changed: int) -> str:
    """The same of a folder that is known by its identity and last change. Raises OSError."""
    with os.scandir(folder) as entries:
        found = [(item.name, item.stat().st_mtime_ns) for item in entries if item.name.endswith(METADATA)]
    return repr((folder, sorted(found)))
