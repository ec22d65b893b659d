"""The files below a folder of this machine that may be scripts or manifests. Nothing is opened to be run.

No symbolic link is followed, no pipe or device opened. What cannot be looked into is told and is no end.
"""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from loader.errors import SourceError
from loader.sources import ignoring
from loader.sources.ignoring import Budget, Exhausted, Rules
from loader.sources.local import check_identity, open_listed, reason
from loader.sources.script import Identity, Listed

SUFFIXES = (".py", ".yaml", ".yml")
LEFT = frozenset({"__pycache__", "node_modules", "site-packages"})
"""Folders that hold nobody's own scripts; those whose names begin with a dot are left out, too."""
ENVIRONMENTS = frozenset({"pyvenv.cfg", "conda-meta"})
"""What the folder of an environment holds."""
ENTRIES = 100_000
"""Entries of one folder that are looked at."""
ABOVE = 50
"""Folders above the one that is named in which a repository's ignore files are looked for."""


@dataclass(frozen=True)
class Found:
    """A file that may be a script or manifest, or with ``problem`` what cannot be looked into.

    ``folder`` is the one that it was found in: a file is read only there.
    """

    path: str
    problem: str | None = None
    folder: Listed | None = None


class Below(NamedTuple):
    """A folder to look into: which it is, the names that lead to it, and the rules of what lies above."""

    path: str
    identity: Identity | None
    parts: tuple[str, ...]
    chain: tuple[Rules, ...]


class Held(NamedTuple):
    """What a folder holds, all asked of one descriptor. ``rules`` are the texts of its ignore files."""

    identity: Identity
    entries: list[Entry]
    rules: Mapping[str, bytes]


class Entry(NamedTuple):
    """What a folder holds under one name; of a folder also which it is."""

    name: str
    is_folder: bool
    is_link: bool
    is_file: bool
    identity: Identity | None = None

    @classmethod
    def of(cls, entry: os.DirEntry[str]) -> Entry:
        """The same, asked while its folder is open."""
        if not entry.is_dir(follow_symlinks=False):
            return cls(entry.name, False, entry.is_symlink(), entry.is_file(follow_symlinks=False))
        try:
            status = entry.stat(follow_symlinks=False)
        except OSError:  # it is gone
            return cls(entry.name, False, False, False)
        return cls(entry.name, True, False, False, (status.st_dev, status.st_ino))


@dataclass
class Walk:
    """One walk. ``skipped`` counts what was left out: ``ignored``, ``link``, ``special``.

    ``identity`` is the folder's from ``check`` on, and each folder below must be the one that was listed.
    """

    folder: str
    skipped: Counter[str] = field(default_factory=Counter)
    budget: Budget = field(default_factory=Budget)
    identity: Identity | None = None

    def __post_init__(self) -> None:
        self.folder = os.path.abspath(self.folder)

    def check(self) -> None:
        """Raise SourceError unless the folder is one, and can be read."""
        try:
            descriptor = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                self.identity = check_identity(self.folder, self.folder, descriptor, None)
            finally:
                os.close(descriptor)
        except NotADirectoryError:
            raise SourceError(f"cannot scan {self.folder}: it is not a folder; load it instead") from None
        except (OSError, ValueError) as error:
            raise SourceError(f"cannot scan {self.folder}: {reason(error)}") from None

    def files(self) -> Iterator[Found]:
        """Each file, those of a folder in the order of their names and before those below."""
        waiting = [Below(self.folder, self.identity, *above(self.folder, self.budget))]
        while waiting:
            path, identity, parts, chain = waiting.pop()
            try:
                identity, entries, texts = self.held(path, identity)
            except SourceError as error:
                yield Found(path, str(error))
                continue
            except OSError as error:
                yield Found(path, f"cannot look into {path}: {reason(error)}")
                continue
            names = {entry.name for entry in entries}
            if path != self.folder and names & ENVIRONMENTS:
                self.skipped["ignored"] += 1
                continue
            if len(entries) == ENTRIES:
                yield Found(path, f"cannot look at all of {path}: it holds more than {ENTRIES} entries")
            chain = (*chain, *rules_of(texts, len(parts), chain, self.budget))
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
                    below.append(Below(place, entry.identity, inside, chain))
                else:
                    yield Found(place, folder=Listed(self.folder, self.identity, identity))
            waiting += reversed(below)

    def held(self, path: str, identity: Identity | None) -> Held:
        """What a folder of that identity holds. Raises OSError, and SourceError for another folder."""
        place = open_listed(Listed(self.folder, self.identity, identity), path, path)
        try:
            descriptor = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=place)
        finally:
            os.close(place)
        try:
            identity = check_identity(path, path, descriptor, identity)
            with os.scandir(descriptor) as found:
                entries = [Entry.of(entry) for entry, _ in zip(found, range(ENTRIES), strict=False)]
            there = {entry.name for entry in entries}
            return Held(identity, entries, texts_of(descriptor, there))
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


def above(folder: str, budget: Budget) -> tuple[tuple[str, ...], tuple[Rules, ...]]:
    """The names that lead to a folder from its repository, and the rules of what lies between.

    Only those that this user or root wrote: whoever may make a folder above could hide what is below.
    """
    top = folder
    names: list[str] = []
    for _ in range(ABOVE):
        if os.path.lexists(os.path.join(top, ".git")):
            break
        parent, name = os.path.split(top)
        if parent == top:
            return (), ()
        names.insert(0, name)
        top = parent
    else:
        return (), ()
    chain: tuple[Rules, ...] = ()
    path = top
    for depth, name in enumerate(names):
        chain = (*chain, *rules_of(believed(path), depth, chain, budget))
        path = os.path.join(path, name)
    return tuple(names), chain


def believed(path: str) -> Mapping[str, bytes]:
    """The ignore files of a folder above, but those that somebody else wrote."""
    try:
        descriptor = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except (OSError, ValueError):
        return {}
    try:
        return texts_of(descriptor, ignoring.NAMES, frozenset({0, os.geteuid()}))
    finally:
        os.close(descriptor)


def rules_of(
    texts: Mapping[str, bytes], depth: int, chain: tuple[Rules, ...], budget: Budget
) -> Iterator[Rules]:
    """The rules of a folder's own ignore files, as long as there are not too many."""
    if sum(len(item.rules) for item in chain) < ignoring.RULES:
        yield from (ignoring.parse(content, depth, budget) for content in texts.values() if content)


def texts_of(
    folder: int, names: Collection[str], owners: Collection[int] | None = None
) -> Mapping[str, bytes]:
    """The texts of the ignore files among the names in a folder, by its descriptor."""
    return {name: text_of(folder, name, owners) for name in ignoring.NAMES if name in names}


def text_of(folder: int, name: str, owners: Collection[int] | None) -> bytes:
    """What a regular file begins with, if it is one of the owners'; nothing of any other."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    try:
        if not stat.S_ISREG(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            return b""
        descriptor = os.open(name, flags, dir_fd=folder)
    except OSError:
        return b""
    with os.fdopen(descriptor, "rb") as file:
        try:
            status = os.fstat(descriptor)
            is_due = stat.S_ISREG(status.st_mode) and (owners is None or status.st_uid in owners)
            return file.read(ignoring.SIZE) if is_due else b""
        except OSError:
            return b""
