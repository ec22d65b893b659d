"""Why a driver could not read, in words: what it raised becomes a SourceError without any secret."""

from __future__ import annotations

import errno
import re
import socket
from collections.abc import Iterator, Mapping
from typing import Any

from loader.errors import SourceError
from loader.sources.locations import Location

LONGEST = 200
"""Characters of a driver's own words that are repeated."""
CREDENTIALS = (
    "there are no credentials for it; configure them as its driver expects, or as options of the scheme"
)
BY_NAME = {
    "NoCredentialsError": CREDENTIALS,
    "PartialCredentialsError": CREDENTIALS,
    "CredentialRetrievalError": CREDENTIALS,
    "DefaultCredentialsError": CREDENTIALS,
    "ProfileNotFound": "the configured profile is not there",
    "NoRegionError": "no region is configured",
    "EndpointConnectionError": "its host cannot be reached",
    "ConnectTimeoutError": "its host does not answer",
    "ReadTimeoutError": "its host does not answer",
    "InvalidUrlClientError": "its host is written in an odd way",
    "ServerDisconnectedError": "the server ended the connection without an answer",
    "ClientPayloadError": "the server ended the connection before all was sent",
    "IncompleteRead": "the server ended the connection before all was sent",
    "GitError": "there is no repository",
    "NotFoundError": "there is no such ref in the repository",
}
"""Exceptions of drivers, which are not imported for it."""
NO_FILE = "there is no such file"
BY_NUMBER = {
    errno.ECONNREFUSED: "the connection was refused; is the server running?",
    errno.ECONNRESET: "the server ended the connection",
    errno.EHOSTUNREACH: "its host cannot be reached",
    errno.ENETUNREACH: "its network cannot be reached",
    errno.ETIMEDOUT: "its host does not answer",
    errno.ENOENT: NO_FILE,
}
SECRETS_FROM = 4
"""Shorter values of options are no secrets, and would blot out ordinary words."""


def failure(location: Location, error: Exception, options: Mapping[str, Any]) -> SourceError:
    """The error for what a driver raised; ``options`` are what must not be repeated."""
    return SourceError(f"cannot load {location.shown}: {reason(error, options)}")


def reason(error: BaseException, options: Mapping[str, Any]) -> str:
    """Why, in words."""
    for item in chain(error):
        name = type(item).__name__
        if "Certificate" in name or "SSL" in name:
            return "the server's certificate is not trusted, or it speaks no TLS"
        if isinstance(item, socket.gaierror) or "DNSError" in name:
            return "its host has no address; check the name"
        number = getattr(item, "errno", None)
        known = BY_NAME.get(name) or BY_NUMBER.get(number or 0)
        if known:
            return known
        if isinstance(item, FileNotFoundError):
            return NO_FILE
        if isinstance(item, IsADirectoryError):
            return "it is a folder; name a script in it"
        if isinstance(item, PermissionError):
            return "access is denied; check its credentials and rights"
        if isinstance(item, TimeoutError):
            return "its host does not answer"
    words = " ".join(str(error).split())[:LONGEST]
    for secret in sorted(secrets(options), key=len, reverse=True):
        words = words.replace(secret, "…")
    return f"{type(error).__name__}: {words}" if words else type(error).__name__


def chain(error: BaseException) -> Iterator[BaseException]:
    """The error and what it came from, at most eight of them."""
    item: BaseException | None = error
    for _ in range(8):
        if item is None:
            return
        yield item
        item = item.__cause__ or getattr(item, "os_error", None) or item.__context__


def secrets(options: Any) -> Iterator[str]:
    """Every text in the values of options."""
    if isinstance(options, Mapping):
        for value in options.values():
            yield from secrets(value)
    elif isinstance(options, (list, tuple)):
        for value in options:
            yield from secrets(value)
    elif isinstance(options, str):
        # A connection string is made of many words, one of which may be repeated alone.
        pieces = (piece.partition("=")[2] for piece in re.split(r"[;&\s]", options))
        yield from (item for item in (options, *pieces) if len(item) >= SECRETS_FROM)
