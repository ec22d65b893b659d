"""What is watched: a folder, a file, or a URL's prefix; which scripts and manifests are there now."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice

from loader import sources
from loader.access import DEFAULT, LOCAL_SCHEMES, Access
from loader.daemon.kept import release
from loader.errors import SourceError
from loader.scanning import MENTIONS, mentions, place_of
from loader.sources import Script, ways
from loader.sources.script import Identity, Listed
from loader.sources.trees import scripts_of
from loader.sources.walking import Walk

SUFFIXES = tuple(MENTIONS)
"""How the names of scripts and of manifests end."""
FILES = 50_000
"""Files of all places together that are watched, unless told."""
EVERY = 60.0
"""Seconds between two looks at all of a place, unless told."""


@dataclass(frozen=True)
class Found:
    """What is at a place: each script, fetched already or not, and what cannot be looked at, and why."""

    scripts: Mapping[str, Script | None]
    closed: Mapping[str, str]

    def has(self, location: str) -> bool:
        """Whether a script is there, as far as can be seen."""
        hidden = tuple(f"{path.rstrip('/')}/" for path in self.closed)
        return location in self.scripts or location in self.closed or location.startswith(hidden)


@dataclass(frozen=True, kw_only=True)
class Place:
    """Something that is watched, and how its scripts are loaded.

    ``root`` is what each script may read, its own folder by default. ``every`` is in seconds.
    """

    location: str
    root: str | None = None
    every: float = EVERY
    profile: str = "strict"
    python: str | None = None
    dialect: str = "auto"
    access: Access = DEFAULT

    @property
    def shown(self) -> str:
        """What it is called: without a query, which may be a key."""
        try:
            return sources.display(self.location)
        except SourceError:
            return sources.redacted(self.location)

    @property
    def stamp(self) -> str:
        """What decides beside a script how it is loaded: it is all loaded again when that is another."""
        parts = [self.root, self.profile, self.python, self.dialect, release()]
        with contextlib.suppress(OSError, ValueError):
            parts.append(str(os.stat(self.profile).st_mtime_ns))
        return hashlib.sha256(repr(parts).encode("utf-8", "surrogateescape")).hexdigest()[:16]

    @property
    def folder(self) -> str | None:
        """The folder of this machine to listen to; None for what lies elsewhere."""
        try:
            if sources.parse(self.location).scheme not in LOCAL_SCHEMES:
                return None
            path = sources.local_path(self.location)
        except SourceError:
            return None
        return os.path.dirname(path) if path.endswith(SUFFIXES) else path

    @property
    def folders(self) -> list[str]:
        """All folders to listen to."""
        roots = [self.root] if self.root is not None and os.path.isdir(self.root) else []
        return [os.path.abspath(path) for path in (self.folder, *roots) if path is not None]

    def is_shared(self) -> bool:
        """Whether others than this user and root may write to the folder."""
        try:
            return ways.is_shared(os.stat(self.folder or ""))
        except (OSError, ValueError):
            return False

    def identity(self) -> Identity | None:
        """Which folder it is now; None for none."""
        try:
            status = os.stat(self.folder or "")
        except (OSError, ValueError):
            return None
        return status.st_dev, status.st_ino


@dataclass
class Room:
    """How many files may be watched, and how many each place has of them."""

    most: int = FILES
    held: dict[str, int] = field(default_factory=dict)

    def left(self, place: str) -> int:
        """How many a place may have."""
        others = sum(held for name, held in self.held.copy().items() if name != place)
        return max(0, self.most - others)


@dataclass
class Site:
    """Looks at a place. ``plain`` are the files that mention no flow, as they were when they did not.

    ``listed`` are the folders that files were found in when it was looked at last: they are read only there.
    """

    place: Place
    room: Room = field(default_factory=Room)
    plain: dict[str, tuple[int, ...]] = field(default_factory=dict)
    listed: dict[str, Listed] = field(default_factory=dict)

    def found(self) -> Found:
        """What is there. Raises SourceError."""
        place = self.place
        if place.folder is None:
            alone = sources.basename_of(place.location).endswith(SUFFIXES)
            one = [sources.read(place.location, place.root, place.access)] if alone else None
            held = list(one or scripts_of(place.location, place.access, SUFFIXES))
            some = self.within_room(len(held))
            many = {} if some == len(held) else {place.shown: self.too_many()}
            return Found({script.location: script for script in islice(held, some)}, many)
        scripts: dict[str, None] = {}
        closed: dict[str, str] = {}
        listed: dict[str, Listed] = {}
        for path, problem, folder in self.files():
            if problem is not None or not path.isprintable():
                closed[path] = problem or f"cannot load {path!a}: its name is no plain text; rename it"
            elif self.within_room(len(scripts) + 1) > len(scripts):
                scripts[path] = None
                listed |= {} if folder is None else {path: folder}
            else:
                closed[place.folder] = self.too_many()
                break
        self.room.held[place.shown] = len(scripts)
        self.listed = listed
        self.plain = {path: signature for path, signature in self.plain.items() if path in scripts}
        return Found(scripts, closed)

    def within_room(self, wanted: int) -> int:
        """How many files of those that are there are watched."""
        shown = self.place.shown
        some = min(wanted, self.room.left(shown))
        self.room.held[shown] = max(some, self.room.held.get(shown, 0))
        return some

    def too_many(self) -> str:
        """Why not all of it is looked at."""
        return (
            f"cannot look at all of {self.place.shown}: all sources together hold more than the"
            f" {self.room.most} files of limits.watched_files; raise that, or watch fewer folders"
        )

    def files(self) -> Iterator[tuple[str, str | None, Listed | None]]:
        """The files that may be scripts and where they are, or why not more is known. Raises SourceError."""
        path = sources.local_path(self.place.location)
        if path.endswith(SUFFIXES):
            if os.path.lexists(path):
                yield path, None, None
            return
        walk = Walk(path)
        walk.check()
        for found in walk.files():
            if found.problem is not None or found.path.endswith(SUFFIXES):
                yield found.path, found.problem, found.folder

    def read(self, location: str, fetched: Script | None) -> Script | None:
        """The script; None for a file that is gone, or mentions no flow. Raises SourceError."""
        if fetched is not None:
            return fetched if mentions(place_of(fetched)[1], fetched.content) else None
        try:
            status = os.stat(location)
        except FileNotFoundError:
            return None
        signature = (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        if self.plain.get(location) == signature:
            return None
        script = sources.read(location, self.place.root, self.place.access, self.listed.get(location))
        if mentions(os.path.splitext(location)[1], script.content):
            self.plain.pop(location, None)
            return script
        self.plain[location] = signature
        return None
