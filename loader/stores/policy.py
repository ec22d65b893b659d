"""Where a block of somebody else's spec may lead, and what it may say to a driver."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from loader.access import Access
from loader.errors import SourceError, StorageError
from loader.sources.addresses import named
from loader.sources.beneath import resolved
from loader.sources.locations import ALIASES, CHAIN, PORTS, Location
from loader.sources.parsing import parse, redacted
from loader.sources.redaction import struck

WRITABLE = frozenset({"file", "memory", "s3", "gs", "az"})
"""The kinds of place that can be written."""
OPTIONS: Mapping[str, frozenset[str]] = {
    "s3": frozenset({"key", "secret", "token", "anon"}),
    "gs": frozenset({"project"}),
    "az": frozenset({"account_name", "account_key", "sas_token", "anon"}),
}
"""What a spec may tell a driver: who asks. What could name a host, file, program or payer is the caller's."""
REGISTERED: Mapping[str, frozenset[str]] = {
    "s3": frozenset({"endpoint_url", "profile", "use_ssl", "client_kwargs", "requester_pays"}),
    "gs": frozenset({"endpoint_url", "requester_pays"}),
    "az": frozenset({"account_host", "connection_string"}),
}
"""What a block of the caller's, or a registered one, may tell it too: also where it leads, and who pays."""
CLIENT = frozenset({"region_name", "endpoint_url"})
"""What ``client_kwargs`` may hold."""
AZURE_HOSTS = "core.windows.net"

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


def check_whole(base: str) -> None:
    """Raise StorageError for a place below somebody's home, which is not told here, and for a chain."""
    if base.startswith("~") or CHAIN in base:
        raise StorageError(
            f"cannot use {struck(base)!r} as storage: write the whole path or URL, without ~ and {CHAIN}"
        )


def writable(base: str) -> Location:
    """The place that a File Storage block names. Raises StorageError, SourceError."""
    check_whole(base)
    location = parse(base)
    if location.kind not in WRITABLE:
        known = ", ".join(sorted(f"{item}://" for item in WRITABLE | set(ALIASES)))
        raise StorageError(f"cannot use {location.shown} as storage: it must be of {known}")
    return location


def folder_in(place: Location, access: Access) -> Location:
    """A path, with its links followed, which lies where a spec may lead; nothing else is looked at.

    Raises StorageError.
    """
    check_place(place, access)
    for top in map(allowed, access.storage):
        real = followed(top)
        named = next((item for item in (top, real) if lies_in(place, item)), None)
        if named is None:
            continue
        with contextlib.suppress(OSError):
            return place.at(resolved(os.path.relpath(place.path, named.path), real.path, top.path))
    raise StorageError(
        f"cannot use {place.shown} as storage: the spec names it, and a link in it leads out of what the"
        f" caller allows; name the path where it leads, and allow that with --allow-storage"
    )


def check_place(place: Location, access: Access) -> None:
    """Raise StorageError unless a place is one of ``access.storage``, or lies below one.

    A path is followed only on the caller's side.
    """
    tops = [allowed(prefix) for prefix in access.storage]
    if any(lies_in(place, top) or lies_in(place, followed(top)) for top in tops):
        return
    raise StorageError(
        f"cannot use {place.shown} as storage: the spec names it, and the caller does not allow it;"
        f" allow it with --allow-storage {place.shown}"
    )


def lies_in(place: Location, top: Location) -> bool:
    """Whether a place is another, or lies below it."""
    same = (place.kind, place.place, place.parts) == (top.kind, top.place, top.parts)
    return place.below(top) or (same and place.is_plain and not top.query)


def allowed(prefix: str) -> Location:
    """What the caller allows. Raises StorageError."""
    try:
        return parse(prefix)
    except SourceError as error:
        raise StorageError(f"cannot allow the storage {redacted(prefix)}: {error}") from None


def followed(place: Location) -> Location:
    """A place, with the symbolic links of a path followed."""
    return place.at(os.path.realpath(place.path)) if place.scheme == "file" else place


def check_options(location: Location, options: Mapping[str, Any], *, trusted: bool) -> None:
    """Raise StorageError for options that a spec, or if it is ``trusted`` any block, may not give."""
    known = OPTIONS.get(location.kind, frozenset())
    known |= REGISTERED.get(location.kind, frozenset()) if trusted else frozenset()
    for name, value in options.items():
        deep = name == "client_kwargs" and isinstance(value, Mapping) and set(value) <= CLIENT
        fine = (
            all(isinstance(item, str) for item in value.values()) if deep else isinstance(value, str | bool)
        )
        if name not in known or not fine:
            allowed = f"only {', '.join(sorted(known))}" if known else "none"
            raise StorageError(
                f"cannot use {location.shown} as storage: of its options a {'block' if trusted else 'spec'}"
                f" may give {allowed}, as text or truth, and not {name[:80]!r}; configure it as the caller"
            )
    if "account_name" in options and not str(options["account_name"]).isalnum():
        raise StorageError(
            f"cannot use {location.shown} as storage: its account_name is no name of an account"
        )


def check_hosts(location: Location, options: Mapping[str, Any], access: Access) -> None:
    """Raise StorageError, SourceError for a host that a block names and the caller does not.

    Such a server may redirect to others, and its name may mean another address at any moment: that it is
    public says nothing.
    """
    for url in endpoints(options):
        parts = urlsplit(parse(url).text)
        host, port = parts.hostname or "", parts.port or int(PORTS.get(parts.scheme, 0))
        if not parts.scheme or parts.scheme not in PORTS or not named(access.hosts, host, port):
            raise StorageError(
                f"cannot use {location.shown} as storage: its block leads to {host}:{port}, and the caller"
                f" does not say so; if it is meant, allow the host (--allow-host {host}:{port})"
            )


def endpoints(options: Mapping[str, Any]) -> Iterator[str]:
    """The URLs of servers that are not the providers' own, in what a block tells a driver."""
    for held in (options, options.get("client_kwargs") or {}):
        if held.get("endpoint_url"):
            yield str(held["endpoint_url"])
    if options.get("account_host"):
        yield f"https://{options['account_host']}"
    parts = [item.partition("=")[::2] for item in str(options.get("connection_string") or "").split(";")]
    pairs = [(name.strip().upper(), value.strip()) for name, value in parts]  # upper, as its reader has it
    for name, value in pairs:
        if name.endswith("ENDPOINT"):
            yield value if "://" in value else f"https://{value}"
        if name == "DEFAULTENDPOINTSPROTOCOL" and value not in PORTS:
            yield value
        if name == "USEDEVELOPMENTSTORAGE":
            yield "http://127.0.0.1:10000"
    suffixes = [value for name, value in pairs if name == "ENDPOINTSUFFIX"] or [AZURE_HOSTS]
    for account in (value for name, value in pairs if name == "ACCOUNTNAME"):
        for suffix in suffixes:
            if suffix != AZURE_HOSTS or not account.isalnum():
                yield f"https://{account}.blob.{suffix}"
