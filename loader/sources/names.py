"""Which names the files of a project may have: relative ones that lead nowhere else. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from loader.errors import SourceError

LONGEST = 1024
"""Bytes of a whole path, and so of what a folder of this machine must hold besides its own."""
LONGEST_PART = 255
"""Bytes of one name; file systems take no more."""
DEEPEST = 32


def check(shown: str, name: str) -> str:
    """A file's path in the project at ``shown``, without its ``.`` parts. Raises SourceError."""
    reason = fault(name)
    if reason:
        raise SourceError(f"cannot load {shown}: its entry {name[:80]!r} {reason}")
    return "/".join(part for part in name.split("/") if part not in {".", ""})


def fault(name: str) -> str:
    """Why a file may not have that path; empty if it may."""
    parts = [part for part in name.split("/") if part not in {".", ""}]
    if not parts:
        return "has no name"
    if name.startswith("/"):
        return "is an absolute path"
    if ".." in parts:
        return "leads out of it"
    if "\\" in name or not name.isprintable():
        return "holds a control character, a backslash or what is no text"
    if len(parts) > DEEPEST:
        return f"lies more than {DEEPEST} folders deep"
    size = len(name.encode())
    if size > LONGEST or any(len(part.encode()) > LONGEST_PART for part in parts):
        return "has too long a name"
    return ""


def check_together(shown: str, files: Iterable[str]) -> None:
    """Raise SourceError when a file's path is also the folder of another."""
    known = set(files)
    for name in known:
        folder = name.rpartition("/")[0]
        while folder:
            if folder in known:
                raise SourceError(f"cannot load {shown}: its entry {folder!r} is a file and a folder")
            folder = folder.rpartition("/")[0]
