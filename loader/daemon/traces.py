"""What a load depended on beside its script, as it is now: one digest, taken anew whenever it is asked for.

A file that the script read counts by its content, one that it looked for in vain by not being there, a
folder that it listed by its names. Beside them count the names of the folders in which it finds modules, as
far as its code or its modules' holds the word: a new ``json.py`` matters to a script that says ``json``,
and to no other.

What the code imports by its own words counts though the worker said nothing of it: a module may hide itself.
What a worker said is only where to look, and nothing is looked at but below the script's root and below
the folders that the host says beside it: those of the profile, each on its own, so that no link in one leads
elsewhere. A lie can hurt only the result of the script that told it.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import posixpath
import re
import threading
import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from loader.access import Reader
from loader.daemon.freshness import SLACK, latest
from loader.sources import Project, Script
from loader.sources.acting import acting
from loader.sources.beneath import placed
from loader.sources.local import open_root, read_file
from loader.sources.paths import is_below
from loader.sources.script import Identity

WEIGHT = 64 << 20
"""Bytes of all files that are looked at; of a load that read more there is no trace."""
ENTRIES = 200_000
"""Entries of all folders that are looked at, and how many folders lead to the files; the same."""
FILES, CHARACTERS = 2_000, 100_000
"""Sources that are followed, and characters of all their names; an honest worker tells fewer."""
CODE = 4 << 20
"""Bytes of all code whose words are read: they are many objects, and nobody writes so much."""
WORD = re.compile(rb"[A-Za-z_\x80-\xff][A-Za-z0-9_\x80-\xff]*")
IMPORT = re.compile(rb"\b(?:from|import|import_module|__import__)\b(?:\\\r?\n|[^\n(])*+(?:\([^)]{0,2000}+)?+")
"""What looks like an import, to the end of its line or parenthesis."""
DEEP = 16
"""Packages within packages whose imports are followed; a link to a folder above has no end."""
FOLDERS, NAMES = 32, 10_000
"""Folders whose listing is remembered, and names in each: the scripts of one folder all ask for the same."""
ALWAYS = frozenset({b"__init__"})
"""Names that matter though nobody says them."""


Key = tuple[int, int, int, int, Reader | None]
LOCK = threading.Lock()
LISTINGS: dict[Key, Listing] = {}


class Untold(Exception):
    """There is no trace: too much would have to be looked at, or it is another folder now."""


@dataclass(frozen=True)
class Trace:
    """All of it as one digest, and when the last of it changed, in nanoseconds of the wall clock."""

    digest: str
    changed: int


def plausible(sources: Collection[str] | None, folders: Sequence[str]) -> bool:
    """Whether the sources of an outcome are known, and can be followed: see ``trace``."""
    return (
        sources is not None
        and len(sources) <= FILES
        and sum(map(len, sources)) <= CHARACTERS
        and all(folder_of(name, folders) is not None for name in sources)
    )


def folder_of(name: str, folders: Sequence[str]) -> str | None:
    """Which of the folders a source lies in; none if it may not be looked at, "" for the script's root."""
    path = posixpath.normpath(name)
    if not path.startswith("/"):
        return None if is_below(path, "..") else ""
    return next((folder for folder in folders if is_below(path, folder)), None)


def trace(script: Script, sources: Collection[str], folders: Sequence[str] = ()) -> Trace | None:
    """What an outcome of ``script`` depends on that has these ``sources``; None when that cannot be told.

    An absolute name counts below one of the ``folders``, which the host decides and no worker.
    """
    if not plausible(sources, folders):
        return None
    try:
        tracer = Tracer(script.content)
        with contextlib.ExitStack() as stack:
            inside = [name for name in sources if not name.startswith("/")]
            outside = defaultdict[str, list[str]](list)
            for name in sources:
                if folder := folder_of(name, folders):
                    top = folder if os.path.isdir(folder) else posixpath.dirname(folder)
                    outside[top].append(posixpath.relpath(name, top))
            view = stack.enter_context(view_of(script))
            if view is not None:
                tracer.follow(
                    view, [*inside, *imports(script.content, view, home_of(script))], home_of(script)
                )
            for top, names in sorted(outside.items()):
                tracer.say(top)
                tracer.follow(stack.enter_context(opened(top, sealed=True)), names)
    except (Untold, OSError, ValueError):
        return None
    return Trace(tracer.digest.hexdigest(), tracer.changed)


def guessed(script: Script) -> list[str]:
    """What a script may have read that did not live to tell: the modules beside it that it speaks of."""
    home = home_of(script)
    try:
        words = words_in(script.content)
        with view_of(script) as view:
            found = view.listing(home) if view is not None else ""
    except (Untold, OSError):
        return []
    spoken = found.spoken(words) if isinstance(found, Listing) else []
    modules = [name if name.endswith(".py") else f"{name}/__init__.py" for name in spoken]
    return [posixpath.normpath(posixpath.join(home, name)) for name in modules]


def imported(script: Script) -> list[str]:
    """The modules beside a script that it imports, by its code and theirs; none when that cannot be told."""
    try:
        with view_of(script) as view:
            return imports(script.content, view, home_of(script)) if view is not None else []
    except (Untold, OSError):
        return []


def imports(content: bytes, view: Disk | Fetched, home: str) -> list[str]:
    """The modules below ``home`` that code imports, and those that they import. Raises Untold.

    A worker in which one of them runs may keep quiet about it: what can be read in the code counts as well.
    """
    left = CODE - len(content)
    words, folders, found = {*ALWAYS, *named_in(content)}, {home: view.listing(home)}, set[str]()
    while True:
        spoken = {
            posixpath.normpath(posixpath.join(folder, name))
            for folder, listing in folders.items()
            if isinstance(listing, Listing)
            for name in listing.spoken(words)
        }
        if not (spoken := spoken - found - folders.keys()):
            return sorted(found)
        for name in spoken:
            if name.endswith(".py"):
                found.add(name)
                code = view.content(name)
                if isinstance(code, bytes):
                    words |= named_in(code, left)
                    left -= len(code)
            elif name.count("/") - home.count("/") < DEEP:
                folders[name] = view.listing(name)
            else:
                folders[name] = ""
        if len(found) + len(folders) > FILES:
            raise Untold


def named_in(code: bytes, left: int = CODE) -> set[bytes]:
    """The words of all that looks like an import. Raises Untold for more than ``left`` bytes."""
    if len(code) > left:
        raise Untold
    return {word[0] for said in IMPORT.finditer(code) for word in WORD.finditer(said[0])}


def words_in(code: bytes, left: int = CODE) -> set[bytes]:
    """All words of code. Raises Untold for more than ``left`` bytes."""
    if len(code) > left:
        raise Untold
    return {word[0] for word in WORD.finditer(code)}


def home_of(script: Script) -> str:
    """The script's own folder, by its path in what it may read."""
    if script.project is not None:
        return posixpath.dirname(script.project.entry) or "."
    return posixpath.relpath(script.folder or "/", script.root.path) if script.root is not None else "."


class Tracer:
    """Looks at what one script depends on. Raises Untold."""

    def __init__(self, content: bytes) -> None:
        self.words = ALWAYS | words_in(content)
        self.left = CODE - len(content)
        self.digest = hashlib.sha256()
        self.changed = 0

    def follow(self, view: Disk | Fetched, names: Iterable[str], home: str | None = None) -> None:
        """Files by their names, then the folders in which modules are found. Raises Untold.

        Folders count from the top to each file if ``home`` is the script's own, or else only the file's.
        """
        names = sorted({posixpath.normpath(name) for name in names})
        for name in names:
            self.file(view, name)
        folders = {posixpath.dirname(name) or "." for name in names}
        if home is not None:
            for name in (*folders, home):
                folders.update((".", home), above(name))
                if len(folders) > ENTRIES:
                    raise Untold
        for folder in sorted(folders):
            self.folder(view, folder)
        self.changed = max(self.changed, view.changed)

    def say(self, *words: str) -> None:
        """Add to the digest; what is said cannot be mistaken for anything else."""
        self.digest.update(repr(words).encode("utf-8", "surrogateescape"))

    def file(self, view: Disk | Fetched, name: str) -> None:
        """One file's content, a folder's names, or why there is neither."""
        found = view.listing(name)
        if isinstance(found, Listing):
            self.say(name, "folder", *found.names)
            return
        content = view.content(name)
        if isinstance(content, str):
            self.say(name, content)
            return
        self.say(name, hashlib.sha256(content).hexdigest())
        if name.endswith(".py"):
            self.words |= words_in(content, self.left)
            self.left -= len(content)

    def folder(self, view: Disk | Fetched, name: str) -> None:
        """The names in a folder that stand for modules which are spoken of."""
        found = view.listing(name)
        if isinstance(found, str):
            self.say(name, found)
            return
        for entry in found.spoken(self.words):
            below = view.listing(posixpath.join(name, entry))
            self.say(name, entry, *(["folder", *below.spoken(ALWAYS)] if isinstance(below, Listing) else []))


def stem(name: str) -> bytes:
    """The word that imports a file of this name."""
    return os.fsencode(name).partition(b".")[0]


def above(name: str) -> Iterator[str]:
    """The folders that lead to ``name``: one that is exchanged exchanges all that is in it."""
    while name := posixpath.dirname(name):
        yield name


class Listing:
    """What a folder holds, in order, and by the words that import it."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names = sorted(names)
        self.stems: dict[bytes, list[str]] = {}
        for name in self.names:
            self.stems.setdefault(stem(name), []).append(name)

    def spoken(self, words: AbstractSet[bytes]) -> list[str]:
        """The names whose word is among those."""
        return sorted(name for word in self.stems.keys() & words for name in self.stems[word])


class Fetched:
    """A project that was fetched whole."""

    changed = 0

    def __init__(self, project: Project) -> None:
        self.files = project.files
        self.folders: dict[str, set[str]] = {".": set()}
        self.listings: dict[str, Listing] = {}
        for name in (*project.files, *project.left_out):
            for path in (name, *above(name)):
                folder, entry = posixpath.split(path)
                self.folders.setdefault(folder or ".", set()).add(entry)

    def listing(self, name: str) -> Listing | str:
        """What a folder holds, or why there is none."""
        if name not in self.listings and name in self.folders:
            self.listings[name] = Listing(self.folders[name])
        return self.listings.get(name, "no folder")

    def content(self, name: str) -> bytes | str:
        """A file's content, or why there is none."""
        return self.files.get(name, "no file")


class Disk:
    """A folder of this machine, by its descriptor and path; nothing else is looked at, and all as ``reader``.

    If it is ``sealed``, nothing is known of what has a link to elsewhere: the script may read there as well.
    """

    def __init__(self, top: int, path: str, reader: Reader | None, *, sealed: bool) -> None:
        self.top, self.path, self.reader, self.sealed = top, path, reader, sealed
        self.changed, self.left, self.entries = 0, WEIGHT, ENTRIES

    def listing(self, name: str) -> Listing | str:
        """What a folder holds, or why there is none. Raises Untold."""
        try:
            with self.below(name) as place:
                found = remembered(place, self.reader)
        except OSError as error:
            return f"errno {error.errno}"
        self.entries -= len(found.names)
        if self.entries < 0:
            raise Untold
        return found

    def content(self, name: str) -> bytes | str:
        """A file's content, or why there is none. Raises Untold."""
        try:
            with self.below(name) as place:
                if os.fstat(place).st_size > self.left:
                    raise Untold
            content = read_file(posixpath.join(self.path, name), name, self.top, self.left, self.reader)
        except OSError as error:
            return f"errno {error.errno}"
        self.left -= len(content)
        return content

    @contextlib.contextmanager
    def below(self, name: str) -> Iterator[int]:
        """What has that name, walked to and not opened. Raises OSError, Untold for what lies elsewhere."""
        try:
            with placed(name, self.top, self.path, self.reader) as place:
                self.changed = max(self.changed, latest(os.fstat(place).st_ctime_ns))
                yield place
        except OSError as error:
            if self.sealed and error.errno == errno.EXDEV:
                raise Untold from None
            raise


def remembered(place: int, reader: Reader | None) -> Listing:
    """What a folder holds, or held when it had not changed since, to ``reader``. Raises Untold, OSError."""
    status = os.fstat(place)
    if time.time_ns() - latest(status.st_ctime_ns) < SLACK:  # it may change again and look the same
        return listed(place, reader)
    key = (status.st_dev, status.st_ino, status.st_ctime_ns, status.st_mtime_ns, reader)
    with LOCK:
        held = LISTINGS.pop(key, None)
    held = held or listed(place, reader)
    with LOCK:
        if len(held.names) <= NAMES:
            LISTINGS[key] = held
        while len(LISTINGS) > FOLDERS:
            del LISTINGS[next(iter(LISTINGS))]
    return held


def listed(place: int, reader: Reader | None) -> Listing:
    """What a folder holds. Raises Untold, OSError."""
    with acting(reader), os.scandir(f"/proc/self/fd/{place}") as entries:
        names = [entry.name for entry, _ in zip(entries, range(ENTRIES + 1), strict=False)]
    if len(names) > ENTRIES:
        raise Untold
    return Listing(names)


@contextlib.contextmanager
def view_of(script: Script) -> Iterator[Disk | Fetched | None]:
    """What a script may read. Raises SourceError."""
    if script.project is not None:
        yield Fetched(script.project)
    elif script.root is None:
        yield None
    else:
        root = script.root
        with opened(root.path, (root.device, root.inode), root.reader) as disk:
            yield disk


@contextlib.contextmanager
def opened(
    path: str, identity: Identity | None = None, reader: Reader | None = None, *, sealed: bool = False
) -> Iterator[Disk]:
    """A folder, which has that identity. Raises SourceError."""
    descriptor = open_root(path, path, identity, reader)
    try:
        yield Disk(descriptor, path, reader, sealed=sealed)
    finally:
        os.close(descriptor)
