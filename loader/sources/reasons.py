"""Why a driver could not read, in words: what it raised becomes a SourceError without any secret."""

from __future__ import annotations

import errno
import re
import socket
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote

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
}
"""Exceptions of drivers, which are not imported for it."""
NO_HTTP = "the server's answer is no sound HTTP"
AIOHTTP = {
    "HttpProcessingError": NO_HTTP,
    "ContentTypeError": "the server's answer is of another type than expected",
    "TooManyRedirects": "it is redirected too often",
    "ClientProxyConnectionError": "its proxy cannot be reached",
    "ServerTimeoutError": "its host does not answer",
    "ServerFingerprintMismatch": "the server's certificate is not the expected one",
    "ClientConnectorError": "its host cannot be reached",
    "ClientConnectionError": "the connection to its host failed; try again",
    "RedirectClientError": "it is redirected to what is no URL",
    "NonHttpUrlClientError": "it is no URL of a web server",
    "InvalidURL": "its host is written in an odd way",
    "ClientError": "its host cannot be talked to",
}
"""Exceptions of aiohttp and all that derive from them: their own words quote the URL with its query."""
QUERY = re.compile(r"\?\S+")
USER = re.compile(r"//[^\s/@]*@")
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
    # The web client wraps what the guard raises while it connects.
    own = next((item for item in chain(error) if isinstance(item, SourceError)), None)
    if own is not None:
        return SourceError(str(own))
    return SourceError(f"cannot load {location.shown}: {reason(error, options, location.query)}")


def reason(error: BaseException, options: Mapping[str, Any], query: str = "") -> str:
    """Why, in words that hold none of ``options``, nor of a URL's ``query``."""
    items = list(chain(error))
    known = next(filter(None, map(known_reason, items)), "")
    # What aiohttp made its error of says more than the error.
    known = known or next(filter(None, map(reason_of_aiohttp, reversed(items))), "")
    if known:
        return known
    words = " ".join(str(error).split())
    for secret in sorted({*secrets(options), *secrets(in_query(query))}, key=len, reverse=True):
        words = words.replace(secret, "…")
    words = USER.sub("//…@", QUERY.sub("?…", words))[:LONGEST]
    return f"{type(error).__name__}: {words}" if words else type(error).__name__


def known_reason(item: BaseException) -> str:
    """Why, if an exception's type or number says so."""
    name = type(item).__name__
    if "Certificate" in name or "SSL" in name:
        return "the server's certificate is not trusted, or it speaks no TLS"
    if isinstance(item, socket.gaierror) or "DNSError" in name:
        return "its host has no address; check the name"
    known = BY_NAME.get(name) or BY_NUMBER.get(getattr(item, "errno", None) or 0)
    if known:
        return known
    if isinstance(item, FileNotFoundError):
        return NO_FILE
    if isinstance(item, IsADirectoryError):
        return "it is a folder; name a script in it"
    if isinstance(item, PermissionError):
        return "access is denied; check its credentials and rights"
    return "its host does not answer" if isinstance(item, TimeoutError) else ""


def reason_of_aiohttp(item: BaseException) -> str:
    """Why, if an exception is one of aiohttp's."""
    for kind in type(item).__mro__:
        if kind.__module__.partition(".")[0] != "aiohttp":
            continue
        if kind.__name__ == "ClientResponseError":
            status = getattr(item, "status", 0)
            return f"the server answered with status {status}" if status else NO_HTTP
        if kind.__name__ in AIOHTTP:
            return AIOHTTP[kind.__name__]
    return ""


def in_query(query: str) -> list[str]:
    """The texts in a query that may be a key: as it is written, and decoded."""
    return [query, unquote(query), *(value for _, value in parse_qsl(query))]


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
