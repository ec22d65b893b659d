"""Which files a script read while it was loaded, as its audit hook sees it; this runs beside foreign code.

What is opened, listed or imported below the script's root counts, and what was looked for there in vain; so
does what lies in other places that the profile opens. A file that is only asked for (``os.path.exists``)
raises no event and is not seen. What a script hides from the hook is its own loss.
"""

from __future__ import annotations

import os
import sys
from typing import Any, Dict, List, Optional, Set, Tuple

from worker.pristine import BUILTINS

__builtins__ = BUILTINS

FILES = 1_000
"""Files of one load that are told; of one that read more nothing is told."""
LENGTH = 1_000
"""Characters of a path that are told."""
MACHINERY = "<frozen importlib"
PATH_AT: Dict[str, int] = {
    **dict.fromkeys(("open", "os.listdir", "os.scandir", "sqlite3.connect", "ctypes.dlopen"), 0),
    "import": 1,
}
"""The audit events that are looked at, and where in each the path stands."""
LISTINGS = ("os.listdir", "os.scandir")
Places = Tuple[Tuple[str, str], ...]
UNCHECKED = b"\x01\0\0\0"
"""Flags of compiled code that is used whatever its source says."""
abspath, decode_path, separator, split_path = os.path.abspath, os.fsdecode, os.sep, os.path.split
get_flags, open_file = slice(4, 8), open
current_frame = sys._getframe  # noqa: SLF001 - the only way to know who reads


class Reads:
    """What one script read. ``places`` are the folders of which that is told, and what each is called."""

    def __init__(self, script: str, places: Places) -> None:
        self.script = script
        self.tops = [(ended(folder), name) for folder, name in places]
        self.found: Set[str] = set()
        self.complete = True

    def see(self, event: str, arguments: Tuple[Any, ...]) -> None:
        """Note what an event is about."""
        path = arguments[PATH_AT[event]]
        if type(path) is bytes:
            path = decode_path(path)
        if event in LISTINGS:
            if current_frame(2).f_code.co_filename.startswith(MACHINERY):
                return  # it looks for one module, and what it finds is opened
            if type(path) is int:
                self.complete = False
            if path is None:
                path = "."
        if type(path) is str:
            self.note(abspath(path))

    def note(self, path: str) -> None:
        """Keep a path, if it is one that is told."""
        for top, shown in self.tops:
            if path.startswith(top) and path != self.script:
                self.keep(shown + path[len(top) :])
                return
            if path + separator == top:
                self.keep(shown or ".")
                return

    def keep(self, name: str) -> None:
        """Keep a name. What cannot be told is not left out in silence."""
        if len(self.found) >= FILES or len(name) > LENGTH or not name.isprintable():
            self.complete = False
        else:
            self.found.add(name)

    def told(self) -> Optional[Tuple[str, ...]]:
        """All of it, with the sources of compiled code in its place; None when that is not all."""
        names: Set[str] = set()
        for name in self.found:
            source = source_of(name)
            names.add(source or name)
            if source is not None and is_unchecked(self.tops[0][0] + name):
                names.add(name)
        return tuple(sorted(names)) if self.complete else None


def ended(folder: str) -> str:
    """The path of a folder with a separator behind it."""
    return folder.rstrip(separator) + separator


def places(folder: Optional[str], way: Optional[str], others: Tuple[str, ...]) -> Places:
    """Where reads are told: below a script's folder, whichever way is taken to it, and in others in full."""
    ways = {} if folder is None or way is None else dict.fromkeys((folder, way, os.path.realpath(way)), "")
    return (*ways.items(), *((other, ended(other)) for other in others))


def source_of(name: str) -> Optional[str]:
    """The source of compiled code that is kept beside it; None for any other file."""
    folder, file = split_path(name)
    above, last = split_path(folder)
    if last != "__pycache__" or not file.endswith(".pyc"):
        return None
    parts: List[str] = [above] if above else []
    return separator.join([*parts, file.partition(".")[0] + ".py"])


def is_unchecked(path: str) -> bool:
    """Whether there is compiled code that its source does not replace."""
    try:
        with open_file(path, "rb") as file:
            return file.read(16)[get_flags] == UNCHECKED
    except OSError:
        return False
