"""What a location becomes: a script's bytes, and the folder or project that they belong to."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import MappingProxyType
from typing import NamedTuple

from loader.access import Reader
from loader.errors import SourceError
from loader.sources.locations import Location
from loader.sources.parsing import parse

SIZE_CAP = 8 << 20
"""Largest script in bytes; the longest that people write are a hundredth of it."""
TEXT_MODULE = "flow_script"
SOURCES = "src"
"""The folder of a project in which its packages may lie."""
Identity = tuple[int, int]
"""The device and the inode of a folder."""
NOTHING: Mapping[str, str] = MappingProxyType({})


class Listed(NamedTuple):
    """A folder that was found below another, its ``top``, and which the two were then.

    It is reached from the top by hand: what became a link meanwhile leads nowhere.
    """

    top: str
    within: Identity | None
    identity: Identity | None


@dataclass(frozen=True)
class Root:
    """The folder that a script may read: its absolute path, and the identity it had when it was opened.

    ``real`` is its path by no link, and ``reader`` as whom it is looked at, if not as this process.
    """

    path: str
    device: int
    inode: int
    real: str = field(compare=False)
    reader: Reader | None = None


@dataclass(frozen=True, kw_only=True)
class Project:
    """The files that a script may read when they lie in no folder of this machine.

    ``url`` is what the folder is called: its location without a query. ``entry`` is the script's path in
    it, ``files`` is every file's bytes by its path. Paths are relative POSIX ones without ``.`` or ``..``.
    ``left_out`` says of each entry that is no regular file why it is missing. ``identity`` is that of the
    folder of this machine that they were read from, if there is one.
    """

    url: str
    entry: str
    files: Mapping[str, bytes] = field(repr=False, hash=False)
    left_out: Mapping[str, str] = field(default_factory=lambda: NOTHING, repr=False, hash=False)
    identity: Identity | None = None

    def display(self, name: str) -> str:
        """What the file ``name`` of the project is called: its own location."""
        return self.place.at("/".join((*self.place.parts, name))).shown

    @cached_property
    def place(self) -> Location:
        """Where ``url`` leads."""
        return parse(self.url)


@dataclass(frozen=True, kw_only=True)
class Script:
    """One script's bytes and where they belong.

    ``filename`` is what tracebacks show, ``module`` the name it is imported under. ``folder`` is its
    working directory, an absolute path, and ``root`` what it may read; a script of a ``project`` and text
    that has no place have neither. ``details`` is whether what deploying needs is wanted, too, ``trace``
    whether what it reads is. ``paths`` are the folders in which its imports are looked for, as
    ``worker.protocol.Load`` says. ``run_as`` is None for a script by itself; one of a project runs in the
    root's folder, as the module of that name if it has one. ``reading`` is how many seconds it took to fetch
    all this, 0 for a text.
    """

    location: str = field(repr=False)  # a signed URL is a key
    filename: str
    module: str
    content: bytes
    folder: str | None
    root: Root | None
    project: Project | None = None
    details: bool = False
    trace: bool = True
    paths: tuple[str, ...] = ()
    run_as: str | None = None
    reading: float = field(default=0.0, compare=False, repr=False)

    def lying(self, folder: str, root: Root) -> Script:
        """The script in a folder below a root that was named for it."""
        if self.run_as is None:
            return replace(self, folder=folder, root=root, paths=import_paths(folder, root.path))
        own = root.path if self.run_as else folder
        module = self.run_as or self.module
        return replace(self, folder=root.path, root=root, module=module, paths=import_paths(own, root.path))

    @property
    def digest(self) -> str:
        """``sha256:`` and the hexadecimal digest of the content."""
        return "sha256:" + hashlib.sha256(self.content).hexdigest()


def from_text(text: str | bytes, name: str = "<text>") -> Script:
    """A script that has no file. ``name`` is what tracebacks call it.

    Raises SourceError when it is too large.
    """
    content = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else bytes(text)
    if len(content) > SIZE_CAP:
        raise too_large(name)
    return Script(location=name, filename=name, module=TEXT_MODULE, content=content, folder=None, root=None)


def import_paths(folder: str, root: str) -> tuple[str, ...]:
    """Where the imports of a script in ``folder`` lie when ``root`` is its project's: as Prefect has it.

    Projects that keep their packages in ``src`` install them, and so it counts, too.
    """
    return tuple(dict.fromkeys((folder, root, os.path.join(root, SOURCES))))


def too_large(name: str, cap: int | None = None) -> SourceError:
    """The error for a file of more than ``cap`` bytes, SIZE_CAP unless told."""
    return SourceError(f"cannot load {name}: it is larger than {SIZE_CAP if cap is None else cap} bytes")
