"""The folder that somebody's words come from: where it is, and which it is, so that none takes its place."""

from __future__ import annotations

import os
import posixpath
from dataclasses import dataclass
from typing import NamedTuple

from loader.access import Reader
from loader.errors import SourceError
from loader.sources.beneath import is_file
from loader.sources.local import reason
from loader.sources.locations import Location
from loader.sources.parsing import parse
from loader.sources.relations import below, folder_of
from loader.sources.script import Identity, Script


@dataclass(frozen=True)
class Origin:
    """A folder below which somebody else's words may lead; nowhere unless it has a location.

    ``identity`` is the device and the inode of what it lies in on this machine: itself, its repository, or
    the folder of its archive. Whoever reads below it requires them, and does so as ``reader``. Made by
    ``origin_of``, before anything foreign runs.
    """

    location: str = ""
    identity: Identity | None = None
    reader: Reader | None = None

    def __fspath__(self) -> str:
        return self.location

    def holds(self, location: str) -> bool:
        """Whether a location lies below it."""
        return bool(self.location) and below(location, self.location)

    def has_file(self, location: str) -> bool:
        """Whether a regular file lies there: on this machine, and below this very folder."""
        is_here = self.identity is not None and parse(self.location).scheme == "file"
        if not is_here or not self.holds(location):
            return False
        return is_file(location, self.location, self.identity, self.reader)


class Within(NamedTuple):
    """What must hold of where one file is read.

    ``identity`` is that of what it lies in on this machine; ``top`` is what no redirect leads out of.
    """

    identity: Identity | None = None
    top: Location | None = None


ANYWHERE = Within()


def origin_of(folder: str | os.PathLike[str]) -> Origin:
    """A folder as it is now. Raises SourceError when it lies on this machine and is not there."""
    if isinstance(folder, Origin):
        return folder
    place = parse(os.fspath(folder))
    return Origin(place.text, identity_of(place))


def pinned(root: str | os.PathLike[str] | None) -> Origin | None:
    """The root that a caller names, if one is named, as it is now. Raises SourceError."""
    return None if root is None else origin_of(root)


def home_of(script: Script) -> Origin:
    """The folder that a script was read from, as it was then. Text that has no file comes from nowhere."""
    if script.project is not None:
        return Origin(folder_of(script.filename), script.project.identity)
    root = script.root
    return Origin(root.path, (root.device, root.inode), root.reader) if root else Origin()


def identity_of(place: Location) -> Identity | None:
    """The device and the inode of what a folder lies in; None where that is elsewhere. Raises SourceError."""
    if place.archive is not None:
        return identity_of(place.archive.at(posixpath.dirname(place.archive.decoded)))
    if place.scheme not in {"file", "git"}:
        return None
    path = place.path if place.scheme == "file" else place.place.rpartition(":")[0]
    try:
        status = os.stat(path)
    except (OSError, ValueError) as error:
        if place.scheme == "git":
            raise SourceError(f"cannot load {place.shown}: there is no repository") from None
        raise SourceError(f"cannot load {path}: {reason(error)}") from None
    return status.st_dev, status.st_ino
