"""The files below a folder of this machine that may be scripts or manifests. Nothing is opened to be run.

No symbolic link is followed, no pipe or device opened. What cannot be looked into is told and is no end.
"""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from loader.errors import SourceError
from loader.sources import ignoring
from loader.sources.ignoring import Budget, Exhausted, Rules
from loader.sources.local import reason

SUFFIXES = (".py", ".yaml", ".yml")
LEFT = frozenset({"__pycache__", "node_modules", "site-packages"})
"""Folders that hold nobody's own scripts; those whose names begin with a dot are left out, too."""
ENVIRONMENTS = frozenset({"pyvenv.cfg", "conda-meta"})
"""What the folder of an environment holds."""
ENTRIES = 100_000
"""Entries of one folder that are looked at."""
ABOVE = 50
"""Folders above the one that is named in which a repository's ignore files are looked for."""
Below = tuple[str, tuple[str, ...], tuple[Rules, ...]]


@dataclass(frozen=True)
class Found:
    """A file that may be a script or manifest, or with ``problem`` what cannot be looked into."""

    path: str
    problem: str | None = None


class Entry(NamedTuple):
    """What a folder holds under one name."""

    name: str
    is_folder: bool
    is_link: bool
    is_file: bool

    @classmethod
    def of(cls, entry: os.DirEntry[str]) -> Entry:
        """The same, asked while its folder is open."""
        kinds = (
            entry.is_dir(follow_symlinks=False),
            entry.is_symlink(),
            entry.is_file(follow_symlinks=False),
        )
        return cls(entry.name, *kinds)


@dataclass
class Walk:
    """One walk. ``skipped`` counts what was left out: ``ignored``, ``link``, ``special``."""

    folder: str
    skipped: Counter[str] = field(default_factory=Counter)
    budget: Budget = field(default_factory=Budget)

    def __post_init__(self) -> None:
        self.folder = os.path.abspath(self.folder)

    def check(self) -> None:
        """Raise SourceError unless the folder is one, and can be read."""
        try:
            os.close(os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        except NotADirectoryError:
            raise SourceError(f"cannot scan {self.folder}: it is not a folder; load it instead") from None
        except (OSError, ValueError) as error:
            raise SourceError(f"cannot scan {self.folder}: {reason(error)}") from None

    def files(self) -> Iterator[Found]:
        """Each file, those of a folder in the order of their names and before those below."""
        waiting: list[Below] = [above(self.folder, self.budget)]
        while waiting:
            path, parts, chain = waiting.pop()
            try:
                entries = self.entries(path)
            except OSError as error:
                yield Found(path, f"cannot look into {path}: {reason(error)}")
                continue
            names = {entry.name for entry in entries}
            if path != self.folder and names & ENVIRONMENTS:
                self.skipped["ignored"] += 1
                continue
            if len(entries) == ENTRIES:
                yield Found(path, f"cannot look at all of {path}: it holds more than {ENTRIES} entries")
            chain = (*chain, *rules_of(path, names, len(parts), chain, self.budget))
            below: list[Below] = []
            for entry in sorted(entries):
                place, inside = os.path.join(path, entry.name), (*parts, entry.name)
                try:
                    left = self.is_left(entry, chain, inside)
                except Exhausted:
                    yield Found(path, f"cannot go by the ignore files of {path}: their rules take too long")
                    below.clear()
                    break
                if left:
                    continue
                if entry.is_folder:
                    below.append((place, inside, chain))
                else:
                    yield Found(place)
            waiting += reversed(below)

    def entries(self, path: str) -> list[Entry]:
        """What a folder holds. Raises OSError."""
        # Looked at by its descriptor: it may have become a link since its parent was read.
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | (os.O_NOFOLLOW if path != self.folder else 0)
        descriptor = os.open(path, flags)
        try:
            with os.scandir(descriptor) as found:
                return [Entry.of(entry) for entry, _ in zip(found, range(ENTRIES), strict=False)]
        finally:
            os.close(descriptor)

    def is_left(self, entry: Entry, chain: tuple[Rules, ...], parts: tuple[str, ...]) -> bool:
        """Whether an entry is left out; what could never have been a script is not counted.

        Raises Exhausted.
        """
        name = entry.name
        if not (entry.is_folder or name.endswith(SUFFIXES) or entry.is_link):
            return True
        self.budget.left += ignoring.STEPS_EACH
        why = None
        if name.startswith(".") or name in LEFT or ignoring.is_left_out(chain, parts, folder=entry.is_folder):
            why = "ignored"
        elif entry.is_link:
            why = "link"
        elif not entry.is_folder and not entry.is_file:
            why = "special"
        if why is not None:
            self.skipped[why] += 1
        return why is not None


def above(folder: str, budget: Budget) -> Below:
    """The folder, the names that lead to it from its repository, and the rules of what lies between."""
    top = folder
    names: list[str] = []
    for _ in range(ABOVE):
        if os.path.lexists(os.path.join(top, ".git")):
            break
        parent, name = os.path.split(top)
        if parent == top:
            return folder, (), ()
        names.insert(0, name)
        top = parent
    else:
        return folder, (), ()
    chain: tuple[Rules, ...] = ()
    path = top
    for depth, name in enumerate(names):
        chain = (*chain, *rules_of(path, set(ignoring.NAMES), depth, chain, budget))
        path = os.path.join(path, name)
    return folder, tuple(names), chain


def rules_of(
    path: str, names: set[str], depth: int, chain: tuple[Rules, ...], budget: Budget
) -> Iterator[Rules]:
    """The rules of a folder's own ignore files, as long as there are not too many."""
    if sum(len(item.rules) for item in chain) >= ignoring.RULES:
        return
    for name in ignoring.NAMES:
        if name in names:
            content = text_of(os.path.join(path, name))
            if content:
                yield ignoring.parse(content, depth, budget)


def text_of(path: str) -> bytes:
    """What a regular file begins with; nothing of any other."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    try:
        if not stat.S_ISREG(os.lstat(path).st_mode):
            return b""
        descriptor = os.open(path, flags)
    except (OSError, ValueError):
        return b""
    with os.fdopen(descriptor, "rb") as file:
        try:
            return file.read(ignoring.SIZE) if stat.S_ISREG(os.fstat(descriptor).st_mode) else b""
        except OSError:
            return b""
