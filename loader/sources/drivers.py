"""fsspec's file systems: which class serves a scheme, what must be installed for it, and how it is made.

Nothing is handed to fsspec to take apart: a file system is made of the parts of a location and of the
caller's options. None is kept, and none keeps listings or local copies.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Coroutine, Mapping
from typing import Any, NamedTuple, TypeVar

import fsspec.asyn

from loader.access import Access
from loader.errors import SourceError
from loader.sources.deadline import Deadline
from loader.sources.locations import Location
from loader.sources.script import Identity

T = TypeVar("T")
GRACE = 2.0
"""Seconds in which a read whose time is over must have ended."""


class Driver(NamedTuple):
    """Where a scheme's file system is, and the extra that it needs."""

    module: str
    name: str
    extra: str


DRIVERS = {
    "memory": Driver("fsspec.implementations.memory", "MemoryFileSystem", ""),
    "http": Driver("loader.sources.web", "HTTPFileSystem", "http"),
    "https": Driver("loader.sources.web", "HTTPFileSystem", "http"),
    "s3": Driver("s3fs", "S3FileSystem", "s3"),
    "gs": Driver("gcsfs.core", "GCSFileSystem", "gcs"),
    "az": Driver("adlfs", "AzureBlobFileSystem", "azure"),
    "github": Driver("loader.sources.github", "Repository", "github"),
    "git": Driver("loader.sources.git", "Repository", ""),
}
"""By the scheme that stands for all that mean the same."""
UNCACHED = {"skip_instance_cache": True, "use_listings_cache": False}


def driver(location: Location) -> Any:
    """The class that serves a location. Raises SourceError when it is not installed."""
    found = DRIVERS[location.kind]
    try:
        return getattr(importlib.import_module(found.module), found.name)
    except ImportError:
        raise SourceError(
            f"cannot load {location.shown}: {location.scheme}:// needs more than is installed;"
            f" pip install 'flow-loader[{found.extra}]'"
        ) from None


def options(location: Location, access: Access) -> Mapping[str, Any]:
    """The caller's options for a location's scheme, or for another that means the same."""
    return access.options.get(location.scheme) or access.options.get(location.kind) or {}


def made(location: Location, access: Access, deadline: Deadline, identity: Identity | None = None) -> Any:
    """The file system that a location lies in. Raises SourceError, and whatever its driver raises.

    ``identity`` is that of a repository's folder.
    """
    if location.scheme == "git":
        return driver(location)(location, access, deadline, identity)
    if location.scheme == "github":
        return driver(location)(location, access, options(location, access))
    return driver(location)(**{**options(location, access), **UNCACHED})


def inner_path(location: Location) -> str:
    """A location's path as its file system spells it."""
    if location.scheme == "memory":
        return "/" + location.path
    return f"{location.place}/{location.path}" if location.kind in {"s3", "gs", "az"} else location.path


def run(work: Coroutine[Any, Any, T], deadline: Deadline) -> T:
    """What a coroutine comes to on fsspec's own event loop; it is cancelled when its time is over.

    Raises SourceError when it took too long, and whatever the coroutine raises.
    """
    future = asyncio.run_coroutine_threadsafe(asyncio.wait_for(work, deadline.left()), fsspec.asyn.get_loop())
    try:
        return future.result(deadline.left() + GRACE)
    except TimeoutError:
        deadline.left()
        raise
    finally:
        future.cancel()
