"""Files that drivers read: one, or all below a folder, bounded in bytes, number and time.

Methods with an underscore are fsspec's interface for what runs on its event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

from loader.access import Access
from loader.errors import SourceError
from loader.sources import drivers, reasons
from loader.sources.deadline import Deadline
from loader.sources.files import Files
from loader.sources.locations import PORTS, Location
from loader.sources.origins import ANYWHERE, Within
from loader.sources.script import Identity, too_large

T = TypeVar("T")
ABREAST = 8
"""Files of one folder that are read at the same time."""
LINKS = {"120000", 0o120000}
"""The mode of a symbolic link in git."""


class Found(NamedTuple):
    """A file below a folder: its path there, and its size as it is announced."""

    name: str
    size: int


def fetch(
    location: Location,
    access: Access,
    deadline: Deadline,
    cap: int,
    within: Within = ANYWHERE,
) -> bytes:
    """A file's bytes, at most ``cap``. Raises SourceError."""

    def work() -> bytes:
        if location.scheme in PORTS:
            drivers.driver(location)
            from loader.sources import web  # noqa: PLC0415 - it needs an extra

            return drivers.run(web.fetch(location, access, cap, top=within.top), deadline)
        system = drivers.made(location, access, deadline, within.identity)
        if system.async_impl:
            return drivers.run(closing(system, async_file(system, location, cap)), deadline)
        return plain_file(system, location, cap)

    return in_words(location, access, deadline, work)


def fetch_folder(
    location: Location, access: Access, deadline: Deadline, identity: Identity | None = None
) -> Files:
    """All regular files below a folder. Raises SourceError."""
    files = Files(location.shown, access)

    def work() -> None:
        system = drivers.made(location, access, deadline, identity)
        if system.async_impl:
            drivers.run(closing(system, async_folder(system, location, files)), deadline)
        else:
            plain_folder(system, location, files, deadline)

    in_words(location, access, deadline, work)
    files.close()
    return files


def in_words(location: Location, access: Access, deadline: Deadline, work: Callable[[], T]) -> T:
    """What ``work`` comes to. Raises SourceError for whatever it raises."""
    try:
        return work()
    except SourceError:
        raise
    except ImportError:
        raise SourceError(
            f"cannot load {location.shown}: a part of its driver is missing;"
            f" pip install 'flow-loader[{drivers.DRIVERS[location.kind].extra}]'"
        ) from None
    except Exception as error:
        if isinstance(error, TimeoutError):
            deadline.left()
        raise reasons.failure(location, error, drivers.options(location, access)) from None


async def closing(system: Any, work: Coroutine[Any, Any, T]) -> T:
    """What ``work`` comes to; the driver's connections are closed after it."""
    try:
        return await work
    finally:
        session = getattr(system, "_session", None) if type(system).__module__.startswith("gcsfs") else None
        client = getattr(system, "_s3", None)
        if session is not None:
            await session.close()
        if client is not None:
            await client.__aexit__(None, None, None)


def checked_size(location: Location, info: Mapping[str, Any], cap: int) -> int:
    """The size that a driver announces of a file. Raises SourceError for a folder, a link or a large one."""
    if info["type"] == "directory":
        raise SourceError(f"cannot load {location.shown}: it is a folder; name a script in it")
    if info["type"] != "file" or info.get("mode") in LINKS:
        raise SourceError(f"cannot load {location.shown}: it is a link; name the file that it leads to")
    size = int(info.get("size") or 0)
    if size > cap:
        raise too_large(location.shown, cap)
    return size


async def async_file(system: Any, location: Location, cap: int) -> bytes:
    """One file's bytes."""
    path = drivers.inner_path(location)
    info = await system._info(path)  # noqa: SLF001 - fsspec's own interface on its loop
    return await pieces(system, location, path, checked_size(location, info, cap), cap)


async def pieces(system: Any, location: Location, path: str, size: int, cap: int) -> bytes:
    """A file's bytes: streamed where the driver can, and else the range that was announced."""
    try:
        file = await system.open_async(path, "rb")
    except NotImplementedError:
        file = None
    if file is not None:
        return await streamed(file, location, cap)
    if not size:
        return b""
    found: bytes = await system._cat_file(path, start=0, end=size)  # noqa: SLF001 - the same
    if len(found) > cap:
        raise too_large(location.shown, cap)
    return found


async def streamed(file: Any, location: Location, cap: int) -> bytes:
    """A file's bytes, whose connection is closed when there are too many of them."""
    content = bytearray()
    try:
        while piece := await file.read(min(1 << 20, cap + 1 - len(content))):
            content += piece
            if len(content) > cap:
                raise too_large(location.shown, cap)
    finally:
        stream = getattr(file, "r", None)
        if stream is not None:
            stream.close()
    return bytes(content)


def plain_file(system: Any, location: Location, cap: int) -> bytes:
    """One file's bytes, of a driver that knows no event loop."""
    path = drivers.inner_path(location)
    with closed(system):
        checked_size(location, system.info(path), cap)
        with system.open(path, "rb") as file:
            content: bytes = file.read(cap + 1)
    if len(content) > cap:
        raise too_large(location.shown, cap)
    return content


@contextlib.contextmanager
def closed(system: Any) -> Iterator[None]:
    """Closes what a driver without an event loop holds open: a repository."""
    try:
        yield
    finally:
        getattr(system, "close", tuple)()


class Walk:
    """The folders that are still to be listed, and the files that were found in those that were."""

    def __init__(self, location: Location, files: Files) -> None:
        self.top = drivers.inner_path(location).strip("/")
        self.files = files
        self.found: list[Found] = []
        self.size = 0
        self.folders = [self.top]
        self.listed = 0

    def next(self) -> str | None:
        """A folder to list. Raises SourceError when there are too many."""
        if not self.folders:
            return None
        self.listed += 1
        if max(self.listed, len(self.folders)) > self.files.access.project_files:
            raise SourceError(f"cannot load {self.files.shown}: it has too many folders; name a smaller one")
        return self.folders.pop()

    def path(self, item: Found) -> str:
        """A file's path as the driver spells it."""
        return f"{self.top}/{item.name}".lstrip("/")

    def add(self, folder: str, entries: list[dict[str, Any]]) -> None:
        """Take in what a folder holds. Raises SourceError."""
        for entry in entries:
            path = str(entry["name"]).strip("/")
            # A store may list a folder as an empty object of the same name.
            if path == folder:
                continue
            name = path.removeprefix(self.top).removeprefix("/")
            if entry["type"] == "directory":
                self.folders.append(path)
            elif entry["type"] != "file" or entry.get("mode") in LINKS:
                self.files.leave_out(name, "it is a link")
            else:
                size = int(entry.get("size") or 0)
                if size > self.files.access.size:
                    raise too_large(f"{self.files.shown}: {name}", self.files.access.size)
                self.size += size
                self.files.check_size(self.size)
                self.found.append(Found(self.files.start(name), size))


async def async_folder(system: Any, location: Location, files: Files) -> None:
    """Every file below a folder."""
    walk = Walk(location, files)
    while (folder := walk.next()) is not None:
        walk.add(folder, await system._ls(folder, detail=True))  # noqa: SLF001 - the same
    for start in range(0, len(walk.found), ABREAST):
        batch = walk.found[start : start + ABREAST]
        work = [pieces(system, location, walk.path(item), item.size, files.access.size) for item in batch]
        for item, content in zip(batch, await asyncio.gather(*work, return_exceptions=True), strict=True):
            if isinstance(content, BaseException):
                raise content
            files.add(item.name, content)


def plain_folder(system: Any, location: Location, files: Files, deadline: Deadline) -> None:
    """Every file below a folder, of a driver that knows no event loop."""
    walk = Walk(location, files)
    with closed(system):
        while (folder := walk.next()) is not None:
            deadline.left()
            walk.add(folder, system.ls(folder, detail=True))
        for item in walk.found:
            deadline.left()
            with system.open(walk.path(item), "rb") as file:
                files.add(item.name, file.read(files.access.size + 1))
