"""One file of a web server, over fsspec's HTTP file system: no more bytes, redirects or time than allowed."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urljoin, urlsplit

import aiohttp
import yarl
from fsspec.implementations.http import HTTPFileSystem

from loader.access import Access
from loader.errors import SourceError
from loader.sources.drivers import UNCACHED
from loader.sources.guard import Guard
from loader.sources.locations import PORTS, Location
from loader.sources.parsing import parse
from loader.sources.script import too_large

REDIRECTS = 5
"""As many as a file may be behind."""
MOVED = {301, 302, 303, 307, 308}
STATUSES = {
    401: "the server wants to know who asks (401); configure headers as an option of the scheme",
    403: "the server does not allow it (403)",
    404: "there is no such file (404)",
    410: "there is no such file any more (410)",
    429: "the server was asked too often (429); try again later",
}
PIECE = 1 << 16
OPTIONS = {"headers", "origin"}


async def fetch(
    location: Location,
    access: Access,
    cap: int,
    headers: Mapping[str, str] | None = None,
    *,
    top: Location | None = None,
) -> bytes:
    """The bytes at a location, at most ``cap``. Raises SourceError, and whatever the client raises.

    ``headers`` are by default those that the caller configured for its server; ``top`` is what redirects
    must not lead out of.
    """
    place = location
    headers = own_headers(location, access) if headers is None else headers
    for _ in range(REDIRECTS + 1):
        found = await request(place, access, cap, headers)
        if isinstance(found, bytes):
            return found
        following = redirected(location, place, found, access, top)
        if (following.scheme, following.place) != (place.scheme, place.place):
            headers = {}
        place = following
    raise SourceError(f"cannot load {location.shown}: it is redirected more than {REDIRECTS} times")


def own_headers(location: Location, access: Access) -> dict[str, str]:
    """The headers that the caller configured for the server of a location; none if for another.

    Raises SourceError for headers that do not say for which server they are.
    """
    scheme = location.scheme
    options = access.options.get(scheme, {})
    unknown = sorted(set(options) - OPTIONS)
    if unknown:
        raise SourceError(
            f"cannot load {location.shown}: the option {unknown[0]!r} of {scheme} is not headers or origin"
        )
    headers = options.get("headers", {})
    if not isinstance(headers, Mapping) or not all(
        isinstance(item, str) for pair in headers.items() for item in pair
    ):
        raise SourceError(
            f"cannot load {location.shown}: the headers of {scheme} are no names with a text each"
        )
    if not headers:
        return {}
    origin = options.get("origin")
    place = parse(origin) if isinstance(origin, str) else None
    if place is None or place.scheme != scheme or place.path or place.query:
        raise SourceError(
            f"cannot load {location.shown}: the headers of {scheme} do not say for which server they are;"
            f' give {scheme} the option "origin" beside them, as in {scheme}://host:port'
        )
    return dict(headers) if place.place == location.place else {}


async def request(place: Location, access: Access, cap: int, headers: Mapping[str, str]) -> bytes | str:
    """A file's bytes, or where the server says that it is."""
    parts = urlsplit(place.text)
    host, port = parts.hostname or "", parts.port or int(PORTS[place.scheme])
    url = yarl.URL(place.text, encoded=True)
    # Two readings of one URL must not differ.
    if (url.scheme, url.raw_host, url.port) != (place.scheme, host, port) or url.user or url.password:
        raise SourceError(f"cannot load {place.shown}: its host is written in an odd way")
    guard = Guard(access, host, port)
    system = HTTPFileSystem(asynchronous=True, get_client=guard.session, encoded=True, **UNCACHED)
    session: aiohttp.ClientSession = await system.set_session()
    try:
        async with session.get(
            system.encode_url(place.text), headers=headers, allow_redirects=False
        ) as answer:
            if not guard.judged:
                await guard.check()
            return await body(place, answer, cap)
    except aiohttp.ClientConnectionError:
        if guard.refused:
            raise private(place, guard) from None
        raise
    finally:
        await session.close()


def private(place: Location, guard: Guard) -> SourceError:
    """The error for an address that may not be reached."""
    address = "" if guard.refused == guard.host else f"{guard.refused}, which is "
    host = f"[{guard.host}]" if ":" in guard.host else guard.host
    return SourceError(
        f"cannot load {place.shown}: {host} is {address}no public address;"
        f" if it is meant, allow the host {host}:{guard.port}"
    )


async def body(place: Location, answer: aiohttp.ClientResponse, cap: int) -> bytes | str:
    """What an answer holds: a file's bytes, or where else to look. Raises SourceError."""
    if answer.status in MOVED and "Location" in answer.headers:
        return answer.headers["Location"]
    if answer.status != 200:
        reason = STATUSES.get(answer.status, f"the server answered with status {answer.status}")
        raise SourceError(f"cannot load {place.shown}: {reason}")
    encoding = answer.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in {"", "identity"}:
        raise SourceError(
            f"cannot load {place.shown}: the server sends it compressed, unasked; serve it as it is"
        )
    if (answer.content_length or 0) > cap:
        raise too_large(place.shown, cap)
    content = bytearray()
    while piece := await answer.content.read(min(PIECE, cap + 1 - len(content))):
        content += piece
        if len(content) > cap:
            raise too_large(place.shown, cap)
    return bytes(content)


def redirected(
    location: Location, place: Location, target: str, access: Access, top: Location | None = None
) -> Location:
    """Where a redirect leads. Raises SourceError for one that may not be followed."""
    try:
        following = parse(urljoin(place.text, target))
    except SourceError:
        raise
    except ValueError:
        raise SourceError(f"cannot load {location.shown}: it is redirected to what is no URL") from None
    if following.scheme not in access.schemes & {place.scheme, "https"}:
        raise SourceError(
            f"cannot load {location.shown}: it is redirected to {following.shown},"
            f" and from {place.scheme} only {place.scheme} and https are followed"
        )
    if top is not None and not following.below(top):
        raise SourceError(
            f"cannot load {location.shown}: it is redirected to {following.shown}, which lies outside"
            f" {top.shown}; name the file that it leads to"
        )
    return following
