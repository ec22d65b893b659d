"""The files of one commit of a git repository on this machine, as ``loader.sources.remote`` reads a store.

Only the repository's own regular files are read; no program is run, and no configuration is looked at.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import stat
import zlib
from collections.abc import Iterator
from typing import Any

from loader.access import Access
from loader.errors import SourceError
from loader.sources import local
from loader.sources.beneath import entered
from loader.sources.deadline import Deadline
from loader.sources.gitobjects import HASH, Damaged, Objects
from loader.sources.locations import Location
from loader.sources.script import Identity

LEAST = 1 << 20
"""Bytes that any object may have: a commit, or a folder of some 25 000 names."""
REFS = 4 << 20
"""Bytes of the file of packed refs that are read."""
FIRST = 64
"""Bytes of a commit or tag that its first line, which leads on, lies in."""
STEPS = 5
"""Refs and tags that may lead to each other."""
NAMES = ("{}", "refs/{}", "refs/tags/{}", "refs/heads/{}", "refs/remotes/{}", "refs/remotes/{}/HEAD")
"""Where git looks for a ref."""
TOP = re.compile(r"[A-Z_]+|refs/.*")
"""The refs that are no object's, configuration's or other file's name."""
ID = re.compile(rf"[0-9a-f]{{{2 * HASH}}}")
SHORT = re.compile(r"[0-9a-f]{4,40}")
FOLDER, FILES = "40000", frozenset({"100644", "100755", "100664"})


class Repository:
    """A commit's files, until it is closed. ``identity`` is that of the repository's folder."""

    async_impl = False

    def __init__(
        self, location: Location, access: Access, deadline: Deadline, identity: Identity | None = None
    ) -> None:
        path, _, ref = location.place.rpartition(":")
        self.shown = location.shown
        if identity is not None:
            root = local.open_due(path, self.shown, identity)
        else:
            try:
                root = entered(path)
            except OSError:
                raise self.none() from None
        with contextlib.ExitStack() as held:
            held.callback(os.close, root)
            most = max(access.project_size, LEAST)
            self.objects = Objects(self.shown, root, base_of(root, self.shown), most, deadline)
            with self.in_words():
                if self.text("HEAD") is None:
                    raise self.none()
                self.top = self.tree_of(self.resolved(ref))
            self.close = held.pop_all().close

    def info(self, path: str) -> dict[str, Any]:
        """What is at a path. Raises FileNotFoundError."""
        folder, _, name = path.rpartition("/")
        if not path:
            return entry("", FOLDER)
        with self.in_words():
            return entry(path, self.entries(self.at(folder))[name][0])

    def ls(self, path: str, *, detail: bool = True) -> list[dict[str, Any]]:  # noqa: ARG002 - as fsspec calls it
        """What a folder holds. Raises FileNotFoundError."""
        with self.in_words():
            below = f"{path}/" if path else ""
            return [entry(below + name, mode) for name, (mode, _) in self.entries(self.at(path)).items()]

    def open(self, path: str, _: str = "rb") -> io.BytesIO:
        """A file's bytes. Raises FileNotFoundError."""
        with self.in_words():
            folder, _, name = path.rpartition("/")
            kind, content = self.objects.read(self.entries(self.at(folder))[name][1])
        if kind != "blob":
            raise FileNotFoundError(path)
        return io.BytesIO(content)

    def at(self, path: str) -> str:
        """The tree of a folder."""
        tree = self.top
        for name in path.split("/") if path else ():
            mode, tree = self.entries(tree)[name]
            if mode != FOLDER:
                raise FileNotFoundError(path)
        return tree

    def entries(self, tree: str) -> dict[str, tuple[str, str]]:
        """What a tree holds: by its name, the mode and the object."""
        kind, content = self.objects.read(tree)
        if kind != "tree" or len(content) > LEAST:
            raise Damaged("a folder is none, or is too large")
        found, at = {}, 0
        while at < len(content):
            end = content.index(b"\0", at)
            mode, _, name = content[at:end].partition(b" ")
            at = end + 1 + HASH
            decoded = name.decode("utf-8", "surrogateescape")
            if decoded in found:
                raise Damaged("a folder holds a name twice")
            found[decoded] = mode.decode(), content[end + 1 : at].hex()
        return found

    # --- refs ---

    def resolved(self, ref: str) -> str:
        """The object that a ref, or the beginning of an object's name, stands for."""
        if ID.fullmatch(ref):
            return ref
        if all(part.strip(".") and not part.startswith(".") for part in ref.split("/")):
            for name in filter(TOP.fullmatch, (item.format(ref) for item in NAMES)):
                found = self.followed(name)
                if found is not None:
                    return found
        named = self.objects.named(ref) if SHORT.fullmatch(ref) else []
        if len(named) == 1:
            return named[0]
        several = "; several objects have names that begin so" if named else ""
        raise SourceError(f"cannot load {self.shown}: there is no such ref in the repository{several}")

    def followed(self, name: str) -> str | None:
        """The object that a ref leads to, if it is there."""
        for _ in range(STEPS):
            found = self.text(name)
            if found is None:
                return self.packed().get(name)
            found = found.split("\n", 1)[0].strip()
            if not found.startswith("ref:"):
                return ID.match(found)[0] if ID.match(found) else None  # type: ignore[index]
            name = found.removeprefix("ref:").strip()
            if not name.startswith("refs/") or ".." in name:
                return None
        return None

    def text(self, name: str) -> str | None:
        """What a small file of the repository says, if it is there."""
        try:
            with self.objects.placed(name) as place:
                if stat.S_ISDIR(os.fstat(place).st_mode):
                    return None
            with self.objects.opened(name) as descriptor:
                return os.pread(descriptor, REFS, 0).decode("utf-8", "replace")
        except (FileNotFoundError, NotADirectoryError):
            return None

    def packed(self) -> dict[str, str]:
        """The refs that share one file."""
        pairs = (line.split(" ", 1) for line in (self.text("packed-refs") or "").splitlines())
        return {pair[1]: pair[0] for pair in pairs if len(pair) == 2 and ID.fullmatch(pair[0])}

    def tree_of(self, name: str) -> str:
        """The tree of a commit, or of the tag of one."""
        for _ in range(STEPS):
            kind, content = self.objects.read(name)
            head = content[:FIRST].split(b"\n", 1)[0].decode("ascii", "replace").split(" ")
            if kind == "tree":
                return name
            if kind not in {"commit", "tag"} or len(head) != 2 or not ID.fullmatch(head[1]):
                break
            name = head[1]
        raise Damaged("the ref leads to no commit")

    # --- errors ---

    @contextlib.contextmanager
    def in_words(self) -> Iterator[None]:
        """Raises SourceError for what no sound repository holds."""
        try:
            yield
        except KeyError:
            raise FileNotFoundError(self.shown) from None
        except (ValueError, IndexError, zlib.error) as error:
            said = str(error) if isinstance(error, Damaged) else "one of its files is damaged"
            raise SourceError(f"cannot load {self.shown}: {said}") from None

    def none(self) -> SourceError:
        """The error for what is no repository."""
        return SourceError(f"cannot load {self.shown}: there is no repository")


def base_of(root: int, shown: str) -> str:
    """Where in its folder a repository is: itself, or in ``.git``. Raises SourceError."""
    try:
        mode = os.stat(".git", dir_fd=root, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return ""
    if not stat.S_ISDIR(mode):
        raise SourceError(
            f"cannot load {shown}: its .git is no folder, and leads to another repository; name that one"
        )
    return ".git/"


def entry(path: str, mode: str) -> dict[str, Any]:
    """What fsspec says of a file or folder. The size of a file is seen when it is read, and bounded there."""
    kind = "directory" if mode == FOLDER else "file" if mode in FILES else "link"
    return {"name": path, "type": kind, "mode": mode, "size": 0}
