"""A location becomes a script or bytes: from this machine, from a driver, or out of an archive."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import PurePosixPath
from typing import TypeVar

from loader.access import DEFAULT, LOCAL_SCHEMES, Access
from loader.errors import SourceError
from loader.sources import local
from loader.sources.deadline import Deadline
from loader.sources.files import Files
from loader.sources.locations import PORTS, Location
from loader.sources.origins import ANYWHERE, Origin, Within, identity_of
from loader.sources.parsing import parse
from loader.sources.script import Identity, Listed, Project, Script

T = TypeVar("T")


def read(
    location: str | os.PathLike[str],
    root: str | os.PathLike[str] | None = None,
    access: Access = DEFAULT,
    folder: Listed | Identity | None = None,
) -> Script:
    """The script at a path or URL. ``root`` is what it may read.

    For a path that is its own folder by default, for an archive's member the whole archive; a script from
    elsewhere is alone unless ``root`` is the URL of a folder that holds it. A web server does not say what
    a folder holds: its script is alone even then, and redirects stay below that
    folder. ``access`` says what may be reached, how large it may be and how long it may take. A root that is
    an Origin must be the very folder that it was; without a root ``folder`` says which the script's own is.

    Raises SourceError for what is not there, not a regular file, too large, outside ``root``, of a scheme
    or at a host that is not allowed, or whose driver is missing, and when ``root`` is another folder now.
    """
    began = time.monotonic()
    script = located(location, root, access, folder)
    return replace(script, reading=time.monotonic() - began)


def located(
    location: str | os.PathLike[str],
    root: str | os.PathLike[str] | None,
    access: Access,
    folder: Listed | Identity | None,
) -> Script:
    """As ``read``, whatever time it takes."""
    place = allowed(os.fspath(location), access)
    if place.scheme in LOCAL_SCHEMES:
        identity = root.identity if isinstance(root, Origin) else folder if root is None else None
        return local.read(location, root, access.size, identity, access.reader)
    if not place.path or place.folder:
        raise SourceError(f"cannot load {place.shown}: it is a folder; name a script in it")
    deadline = Deadline(place.shown, access.seconds)
    top = None if root is None else allowed(os.fspath(root), access)
    if top is not None and not place.below(top):
        raise SourceError(
            f"cannot load {place.shown}: it lies outside the root {top.shown}; name a folder that holds it"
        )
    identity = root.identity if isinstance(root, Origin) else identity_of(place)
    project = gathered(place, top, access, deadline, identity)
    filename = project.display(project.entry)
    return Script(
        location=os.fspath(location),
        filename=filename,
        module=PurePosixPath(project.entry).stem,
        content=project.files[project.entry],
        folder=None,
        root=None,
        project=project,
    )


def fetch(location: str | os.PathLike[str], access: Access = DEFAULT, origin: Origin | None = None) -> bytes:
    """The bytes of the one file at a path or URL, under the rules of ``read``.

    If it lies below ``origin``, that must be the very folder that it was. Raises SourceError.
    """
    place = allowed(os.fspath(location), access)
    if origin is None or not origin.holds(place.text):
        return contents(place, access, Deadline(place.shown, access.seconds), access.size)
    if place.scheme in LOCAL_SCHEMES:
        return local.read(place.path, origin, access.size, origin.identity, access.reader).content
    deadline = Deadline(place.shown, access.seconds)
    return contents(place, access, deadline, access.size, Within(origin.identity))


def allowed(text: str, access: Access) -> Location:
    """The parts of a location whose schemes are allowed. Raises SourceError."""
    place = parse(text)
    refused = sorted(place.schemes - access.schemes)
    if refused:
        known = ", ".join(f"{scheme}://" for scheme in sorted(access.schemes)) or "none"
        raise SourceError(
            f"cannot load {place.shown}: the scheme {refused[0]} is not allowed; allowed are {known}"
        )
    return place


def contents(
    place: Location,
    access: Access,
    deadline: Deadline,
    cap: int,
    within: Within = ANYWHERE,
) -> bytes:
    """One file's bytes, at most ``cap``. Raises SourceError."""
    if place.scheme in LOCAL_SCHEMES:
        return local.read(place.path, None, cap, within.identity, access.reader).content
    if place.archive is not None:
        return entry_of(place, unpacked(place, access, deadline, within.identity), place.path)
    from loader.sources import remote  # noqa: PLC0415 - fsspec costs more than all the rest

    return remote.fetch(place, access, deadline, cap, within)


def gathered(
    place: Location, top: Location | None, access: Access, deadline: Deadline, identity: Identity | None
) -> Project:
    """The project that a script is of: the files below ``top``, an archive's, or itself alone."""
    if place.archive is not None:
        files = unpacked(place, access, deadline, identity)
        top = top or place.at("")
        entry_of(place, files, place.path)
        prefix = f"{top.path}/" if top.path else ""
        kept = cut(files.content, prefix)
        return Project(
            url=top.shown,
            entry=place.path.removeprefix(prefix),
            files=kept,
            left_out=cut(files.left_out, prefix),
            identity=identity,
        )
    if top is None or top.scheme in PORTS:
        entry = place.parts[-1]
        alone = Files(place.shown, access)
        alone.add(alone.start(entry), contents(place, access, deadline, access.size, Within(identity, top)))
        url = place.at("/".join(place.parts[:-1])).shown
        return Project(url=url, entry=entry, files=alone.content, identity=identity)
    from loader.sources import remote  # noqa: PLC0415 - fsspec costs more than all the rest

    files = remote.fetch_folder(top, access, deadline, identity)
    entry = "/".join(place.parts[len(top.parts) :])
    entry_of(place, files, entry)
    return Project(
        url=top.at("/".join(top.parts)).shown,
        entry=entry,
        files=files.content,
        left_out=files.left_out,
        identity=identity,
    )


def within(script: Script, origin: Origin) -> Script | None:
    """The script with no more of its project than lies below a folder; None if not all of that is in it."""
    project = script.project
    if project is None or not origin.holds(script.filename):
        return None
    top, whole = parse(origin.location), parse(project.url)
    inner = top.parts[len(whole.parts) :]
    if top.at("") != whole.at("") or top.parts != (*whole.parts, *inner):
        return None
    prefix = "".join(f"{name}/" for name in inner)
    kept = replace(
        project,
        url=top.at("/".join(top.parts)).shown,
        entry=project.entry.removeprefix(prefix),
        files=cut(project.files, prefix),
        left_out=cut(project.left_out, prefix),
    )
    return replace(script, project=kept)


def cut(files: Mapping[str, T], prefix: str) -> dict[str, T]:
    """The files below a folder, by their paths in it."""
    return {name.removeprefix(prefix): value for name, value in files.items() if name.startswith(prefix)}


def unpacked(place: Location, access: Access, deadline: Deadline, identity: Identity | None = None) -> Files:
    """The files of the archive that a location is in. Raises SourceError."""
    from loader.sources import archives  # noqa: PLC0415 - few scripts lie in one

    archive = place.archive
    assert archive is not None
    if not archive.path or archive.folder:
        raise SourceError(f"cannot load {archive.shown}: it is a folder, not an archive")
    content = contents(archive, access, deadline, access.project_size, Within(identity))
    return archives.unpack(archive.shown, place.scheme, content, access, deadline)


def entry_of(place: Location, files: Files, entry: str) -> bytes:
    """The bytes of one file of a project. Raises SourceError when it holds none of that name."""
    if entry in files.left_out:
        raise SourceError(f"cannot load {place.shown}: {files.left_out[entry]}; name a regular file")
    if entry not in files.content:
        raise SourceError(f"cannot load {place.shown}: there is no such file in {files.shown}")
    return files.content[entry]
