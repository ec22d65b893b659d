"""What a load depended on beside its script, as it is now: one digest, taken anew whenever it is asked for.

A file that the script read counts by its content, one that it looked for in vain by not being there, a
folder that it listed by its names. Beside them count the names of the folders in which it finds modules, as
far as its code or its modules' holds the word: a new ``json.py`` matters to a script that says ``json``,
and to no other.

What a worker said is only where to look, and nothing is looked at but below the script's root and where
the profile lets it read: a lie can hurt only the result of the script that told it.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import posixpath
import re
import stat
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from loader.errors import SourceError
from loader.sources import Project, Root, Script
from loader.sources.local import open_root, read_file

WEIGHT = 64 << 20
"""Bytes of all files that are looked at; of a load that read more there is no trace."""
ENTRIES = 100_000
"""Entries of one folder that are looked at; the same."""
WORD = re.compile(rb"[A-Za-z_\x80-\xff][A-Za-z0-9_\x80-\xff]*")
ALWAYS = frozenset({b"__init__"})
"""Names that matter though nobody says them."""
SLACK = 100_000_000
"""Nanoseconds by which a change must be older than a load to have been there for it: clocks are coarse."""


class Untold(Exception):
    """There is no trace: too much would have to be looked at, or it is another folder now."""


@dataclass(frozen=True)
class Moment:
    """An instant, by the clock that files have and by one that nobody can move. Nanoseconds."""

    wall: int
    steady: int

    @classmethod
    def now(cls) -> Moment:
        """The instant of the call."""
        return cls(time.time_ns(), time.clock_gettime_ns(time.CLOCK_BOOTTIME))

    def is_after(self, change: int) -> bool:
        """Whether a file's change was certainly before it; not if the clock was moved since."""
        now = Moment.now()
        moved = abs((now.wall - self.wall) - (now.steady - self.steady))
        return change < self.wall - SLACK and moved < SLACK // 2


@dataclass(frozen=True)
class Trace:
    """All of it as one digest, and when the last of it changed, in nanoseconds of the wall clock."""

    digest: str
    changed: int


def trace(script: Script, sources: Iterable[str]) -> Trace | None:
    """What an outcome of ``script`` depends on that has these ``sources``; None when that cannot be told."""
    tracer = Tracer(script)
    try:
        tracer.follow(list(sources))
    except (Untold, SourceError, OSError, ValueError):
        return None
    return Trace(tracer.digest.hexdigest(), tracer.changed)


@dataclass
class Tracer:
    """Looks at what one script depends on."""

    script: Script
    changed: int = 0
    left: int = WEIGHT
    words: set[bytes] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.digest = hashlib.sha256()
        self.words |= ALWAYS.union(WORD.findall(self.script.content))

    def follow(self, sources: list[str]) -> None:
        """Everything in turn. Raises Untold, SourceError, OSError."""
        outside = sorted(name for name in sources if name.startswith("/"))
        inside = sorted({*sources} - {*outside})
        if self.script.project is not None:
            self.project(self.script.project)
        elif self.script.root is not None:
            root = self.script.root
            with opened(root, self.script.filename) as top:
                self.files(top, inside)
                own = posixpath.relpath(self.script.folder or root.path, root.path)
                folders = {".", own, *filter(None, map(posixpath.dirname, inside))}
                self.folders(top, sorted(folders | {part for name in folders for part in above(name)}))
        if outside:
            with opened(None, "/") as top:
                self.files(top, [name[1:] for name in outside])
                self.folders(top, sorted({posixpath.dirname(name[1:]) or "." for name in outside}))

    def project(self, project: Project) -> None:
        """A project that was fetched whole: every file of it."""
        for name, content in sorted(project.files.items()):
            self.say(name, hashlib.sha256(content).hexdigest())

    def say(self, *words: str) -> None:
        """Add to the digest; what is said cannot be mistaken for anything else."""
        self.digest.update(repr(words).encode("utf-8", "surrogateescape"))

    def files(self, top: int, names: Iterable[str]) -> None:
        """Each file or folder below the descriptor ``top``. Raises Untold."""
        for name in names:
            try:
                with below(top, name) as (place, status):
                    self.changed = max(self.changed, status.st_ctime_ns)
                    if stat.S_ISDIR(status.st_mode):
                        self.say(name, "folder", *sorted(entry.name for entry in entries(place)))
                        continue
                self.file(top, name, status.st_size)
            except OSError as error:
                self.say(name, f"errno {error.errno}")

    def file(self, top: int, name: str, size: int) -> None:
        """One file's content, or why there is none to be had. Raises Untold."""
        if size > self.left:
            raise Untold
        try:
            content = read_file(name, name, top, self.left)
        except SourceError as error:
            self.say(name, str(error))
            return
        self.left -= len(content)
        self.say(name, hashlib.sha256(content).hexdigest())
        if name.endswith(".py"):
            self.words.update(WORD.findall(content))

    def folders(self, top: int, names: Iterable[str]) -> None:
        """The names in each folder that stand for modules which are spoken of. Raises Untold."""
        for name in names:
            try:
                with below(top, name) as (place, status):
                    self.changed = max(self.changed, status.st_ctime_ns)
                    spoken = [item for item in entries(place) if stem(item.name) in self.words]
                    for entry in sorted(spoken, key=lambda item: item.name):
                        plain = entry.is_file(follow_symlinks=False)
                        self.say(name, entry.name, *([] if plain else package(place, entry.name)))
            except OSError as error:
                self.say(name, f"errno {error.errno}")


def stem(name: str) -> bytes:
    """The word that imports a file of this name."""
    return os.fsencode(name).partition(b".")[0]


def package(top: int, name: str) -> list[str]:
    """Of a folder whether it is a package. Raises Untold."""
    try:
        with below(top, name) as (place, _):
            return ["folder", *sorted(entry.name for entry in entries(place) if stem(entry.name) in ALWAYS)]
    except OSError:
        return []


def entries(place: int) -> list[os.DirEntry[str]]:
    """What a folder holds, as long as its descriptor is open. Raises Untold, OSError."""
    with os.scandir(f"/proc/self/fd/{place}") as listed:
        found = [entry for entry, _ in zip(listed, range(ENTRIES + 1), strict=False)]
    if len(found) > ENTRIES:
        raise Untold
    return found


@contextlib.contextmanager
def below(top: int, name: str) -> Iterator[tuple[int, os.stat_result]]:
    """What has that name below the descriptor ``top``, not opened. Raises OSError, also for what is elsewhere."""
    place = os.open(name, os.O_PATH | os.O_CLOEXEC, dir_fd=top)
    try:
        found, folder = (os.readlink(f"/proc/self/fd/{item}") for item in (place, top))
        if found != folder and not found.startswith(folder.rstrip("/") + "/"):
            raise OSError(errno.EXDEV, name)
        yield place, os.fstat(place)
    finally:
        os.close(place)


def above(name: str) -> Iterator[str]:
    """The folders that lead to ``name``: one that is exchanged exchanges all that is in it."""
    while (name := posixpath.dirname(name)) not in {"", "/"}:
        yield name


@contextlib.contextmanager
def opened(root: Root | None, shown: str) -> Iterator[int]:
    """A descriptor of the folder that the script was read in, or of the top. Raises SourceError, Untold."""
    descriptor = open_root("/" if root is None else root.path, shown)
    try:
        status = os.fstat(descriptor)
        if root is not None and (status.st_dev, status.st_ino) != (root.device, root.inode):
            raise Untold
        yield descriptor
    finally:
        os.close(descriptor)
