"""Where a block of somebody else's spec may lead, and what it may say to a driver."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from loader.access import Access
from loader.errors import SourceError, StorageError
from loader.sources.locations import ALIASES, CHAIN, Location
from loader.sources.parsing import parse, redacted

WRITABLE = frozenset({"file", "memory", "s3", "gs", "az"})
"""The kinds of place that can be written."""
OPTIONS: Mapping[str, frozenset[str]] = {
    "s3": frozenset({"key", "secret", "token", "anon"}),
    "gs": frozenset({"project"}),
    "az": frozenset({"account_name", "account_key", "sas_token", "anon"}),
}
"""What a spec may tell a driver: who asks. What could name a host, file, program or payer is the caller's."""

KERNEL, MEMORY = frozenset({"proc", "sys", "dev"}), "shm"
"""Folders of the root that hold the kernel's and the machine's own, and one in them that holds files."""


def check_kernel(path: str) -> str:
    """An absolute path, resolved, that leads to none of the kernel's own files. Raises StorageError."""
    parts = [part for part in path.split("/") if part]
    if KERNEL.intersection(parts[:1]) and parts[:2] != ["dev", MEMORY]:
        raise StorageError(
            f"cannot use {path} as storage: below /{parts[0]} are no files to keep, but what the kernel says"
            f" of this machine; choose another folder"
        )
    return path


def writable(base: str) -> Location:
    """The place that a File Storage block names. Raises StorageError, SourceError."""
    if base.startswith("~") or CHAIN in base:
        raise StorageError(
            f"cannot use {redacted(base)!r} as storage: write the whole path or URL, without ~ and {CHAIN}"
        )
    location = parse(base)
    if location.kind not in WRITABLE:
        known = ", ".join(sorted(f"{item}://" for item in WRITABLE | set(ALIASES)))
        raise StorageError(f"cannot use {location.shown} as storage: it must be of {known}")
    return location


def check_place(place: Location, access: Access) -> None:
    """Raise StorageError unless a place is one of ``access.storage``, or lies below one.

    A path must have been resolved: what it is compared with is.
    """
    for prefix in access.storage:
        allowed = resolved(prefix)
        same = (place.kind, place.place, place.parts) == (allowed.kind, allowed.place, allowed.parts)
        if place.below(allowed) or (same and not allowed.query):
            return
    raise StorageError(
        f"cannot use {place.shown} as storage: the spec names it, and the caller does not allow it;"
        f" allow it with --allow-storage {place.shown}"
    )


def resolved(prefix: str) -> Location:
    """What the caller allows, with symbolic links followed. Raises StorageError."""
    try:
        location = parse(prefix)
    except SourceError as error:
        raise StorageError(f"cannot allow the storage {redacted(prefix)}: {error}") from None
    if location.scheme == "file":
        return location.at(os.path.realpath(location.path))
    return location


def check_options(location: Location, options: Mapping[str, Any]) -> None:
    """Raise StorageError for options that a spec may not give."""
    known = OPTIONS.get(location.kind, frozenset())
    for name, value in options.items():
        if name not in known or not isinstance(value, str | bool):
            allowed = f"only {', '.join(sorted(known))}" if known else "none"
            raise StorageError(
                f"cannot use {location.shown} as storage: of its options a spec may give {allowed}, as text"
                f" or truth, and not {name[:80]!r}; configure it as the caller"
            )
