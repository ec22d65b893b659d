"""A whole folder or archive that lies elsewhere becomes scripts, fetched once and bounded as a project is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import PurePosixPath

from loader.access import Access
from loader.sources.deadline import Deadline
from loader.sources.locations import Location
from loader.sources.origins import identity_of
from loader.sources.reading import allowed, cut, unpacked
from loader.sources.script import Identity, Project, Script
from loader.sources.walking import LEFT


def scripts_of(location: str, access: Access, suffixes: tuple[str, ...]) -> Iterator[Script]:
    """The files with one of the suffixes below a folder's URL, or in an archive, each with all the others.

    Hidden folders and what holds nobody's own scripts are left out. Raises SourceError.
    """
    place = allowed(location, access)
    project = fetched(place, access, identity_of(place))
    for name in sorted(project.files):
        parts = PurePosixPath(name).parts
        if name.endswith(suffixes) and not any(part.startswith(".") or part in LEFT for part in parts):
            yield script_of(replace(project, entry=name))


def fetched(place: Location, access: Access, identity: Identity | None) -> Project:
    """All files below a folder or in an archive. Raises SourceError."""
    deadline = Deadline(place.shown, access.seconds)
    if place.archive is not None:
        files = unpacked(place, access, deadline, identity)
        prefix = f"{place.path}/" if place.path else ""
        held, left_out = cut(files.content, prefix), cut(files.left_out, prefix)
    else:
        from loader.sources import remote  # noqa: PLC0415 - fsspec costs more than all the rest

        files = remote.fetch_folder(place, access, deadline, identity)
        held, left_out = files.content, files.left_out
    return Project(url=place.at(place.path).shown, entry="", files=held, left_out=left_out, identity=identity)


def script_of(project: Project) -> Script:
    """The script that is a project's entry."""
    filename = project.display(project.entry)
    return Script(
        location=filename,
        filename=filename,
        module=PurePosixPath(project.entry).stem,
        content=project.files[project.entry],
        folder=None,
        root=None,
        project=project,
    )
