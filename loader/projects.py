"""A project's files in a folder of this machine, for as long as its load lasts.

A fetched project has no folder that a worker could be shown, so it is given one. The broker is told of the
folder before there is anything in it, and removes it should this process die. What the script says of the
folder is told in the project's own words.
"""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any, TypeVar, cast

from pydantic import BaseModel

from loader.errors import SourceError
from loader.models import Outcome
from loader.sources import Project, Root, Script

T = TypeVar("T")
GROWTH = 4 << 20
"""Characters by which an outcome may become longer when the files in it get their names."""
PATHS, LONGEST = 1000, 4096
"""Paths in one outcome that get their names, each time they are told, and characters that a path may have."""


@dataclass(frozen=True)
class Place:
    """Where a script lies while it is loaded. ``group`` is who beside this user may read what is there."""

    script: Script
    temporary: bool = False
    group: int | None = None

    def fill(self) -> None:
        """Write the project's files, which only this user and the worker may read. Raises SourceError."""
        project, root = self.script.project, self.script.root
        if project is None or root is None:
            return
        folders = {PurePosixPath(name).parents[0] for name in project.files}
        folders |= {parent for folder in folders for parent in folder.parents}
        try:
            for folder in sorted(folders - {PurePosixPath()}):
                path = os.path.join(root.path, folder)
                os.mkdir(path, 0o700)
                share(path, self.group, 0o750)
            for name, content in project.files.items():
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
                with os.fdopen(os.open(os.path.join(root.path, name), flags, 0o600), "wb") as file:
                    share(file.fileno(), self.group, 0o640)
                    file.write(content)
        except OSError as error:
            raise unplaced(self.script, error) from None

    def shown(self, outcome: Outcome) -> Outcome:
        """The outcome with the project's own locations in it."""
        if self.script.project is None or self.script.root is None:
            return outcome
        return Namer(self.script.root.path, self.script.project).rename(outcome)


def share(path: str | int, group: int | None, mode: int) -> None:
    """Let a group read what is this user's and stays so."""
    if group is not None:
        os.chown(path, -1, group)
        os.chmod(path, mode)


def unplaced(script: Script, error: OSError) -> SourceError:
    """The error for a project that this machine has no place for."""
    reason = error.strerror or type(error).__name__
    return SourceError(
        f"cannot load {script.filename}: its project cannot be written to {tempfile.gettempdir()}: {reason};"
        " make room, or name another folder with TMPDIR"
    )


@contextmanager
def placed(script: Script, group: int | None = None) -> Iterator[Place]:
    """A place for the script: its own, or if it is part of a fetched project, a folder that vanishes.

    Raises SourceError.
    """
    if script.project is None:
        yield Place(script)
        return
    try:
        folder = tempfile.mkdtemp(prefix="flow-loader-")
    except OSError as error:
        raise unplaced(script, error) from None
    try:
        share(folder, group, 0o750)
        status = os.stat(folder)
        path = os.path.join(folder, script.project.entry)
        root = Root(folder, status.st_dev, status.st_ino, os.path.realpath(folder))
        lying = replace(script, filename=path).lying(os.path.dirname(path), root)
        yield Place(lying, temporary=True, group=group)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Namer:
    """Calls the files of one folder what they are called in their project."""

    def __init__(self, folder: str, project: Project) -> None:
        self.project, self.left = project, GROWTH
        self.named: dict[str, str | None] = {"": project.url}
        self.pattern = re.compile(re.escape(folder) + r"(?:/([^\s\"'<>|:,;()\[\]{}]*))?")

    def rename(self, value: T) -> T:
        """``value`` with every text in it that names a file of the folder changed."""
        renamed: Any = value
        if type(value) is str:  # and no enumeration's member
            renamed = self.pattern.sub(self.name, str(value))
        elif isinstance(value, (tuple, list)):
            renamed = type(value)(map(self.rename, value))
        elif isinstance(value, Mapping):
            renamed = {self.rename(key): self.rename(item) for key, item in value.items()}
        elif isinstance(value, Outcome):
            renamed = self.model(value).with_details(self.rename(value.details))
        elif isinstance(value, BaseModel):
            renamed = self.model(value)
        elif dataclasses.is_dataclass(value) and not isinstance(value, type):
            fields = {item.name: self.rename(getattr(value, item.name)) for item in dataclasses.fields(value)}
            renamed = type(value)(**fields)
        return cast("T", renamed)

    def model(self, value: Any) -> Any:
        """A pydantic model, field by field."""
        return value.model_copy(update={name: self.rename(item) for name, item in value})

    def name(self, found: re.Match[str]) -> str:
        """One file's own location; of what is none, the folder's and what follows."""
        path = (found[1] or "").rstrip(".")
        if self.left <= 0 or (name := self.name_of(path)) is None:
            return found[0]
        name += (found[1] or "")[len(path) :]
        self.left -= max(0, len(name) - len(found[0]))
        return name if self.left >= 0 else found[0]

    def name_of(self, path: str) -> str | None:
        """What a path of the project is called; None where no file has such a name, or too many are told."""
        if path not in self.named and len(path) <= LONGEST and len(self.named) <= PATHS:
            try:
                self.named[path] = self.project.display(path)
            except SourceError:
                self.named[path] = None
        return self.named.get(path)
