"""Where the project of a script begins whose import lies above its folder: said, and never read by itself."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import replace

from loader.models import Error
from loader.sources import Script
from loader.sources.beneath import is_file, mode_of
from loader.sources.script import SOURCES

MISSING = re.compile(r"No module named '([^\W\d]\w{0,99})(?:\.[.\w]*)?'")
MARKS = ("pyproject.toml", "prefect.yaml", "setup.py", "setup.cfg", ".git")
"""What the folder of a project holds."""
ABOVE = 20
"""Folders above a script's that are looked at."""


def hinted(error: Error | None, script: Script) -> Error | None:
    """The error, with the root to name if the module that it misses lies in the script's project.

    Nothing is looked for where that is done for somebody else.
    """
    if error is None or error.type != "ModuleNotFoundError" or script.root is None:
        return error
    if script.root.reader is not None:
        return error
    named = MISSING.fullmatch(error.message)
    if named is None or script.project is not None:
        return error
    root = next((folder for folder in above(script.root.path) if holds(folder, named[1])), None)
    if root is None:
        return error
    said = f"{named[1]} lies in {root}: if the script may read all that is there, name it with --root {root}"
    return replace(error, hint=said)


def above(folder: str) -> Iterator[str]:
    """The folders above one that may be its project's, the nearest first; the host's own root is none."""
    for _ in range(ABOVE):
        folder = os.path.dirname(folder)
        if folder == os.path.dirname(folder):
            return
        if any(os.path.lexists(os.path.join(folder, mark)) for mark in MARKS):
            yield folder


def holds(folder: str, module: str) -> bool:
    """Whether a module lies in a folder, or in its folder of sources.

    The worker says which: links lead no further than the folder, or a script would learn what lies elsewhere.
    """
    places = [os.path.join(folder, module), os.path.join(folder, SOURCES, module)]
    return any(stat.S_ISDIR(mode_of(place, folder)) or is_file(f"{place}.py", folder) for place in places)
