"""A URL of a web server is taken apart into host, port, path and query. Pure."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import quote

from loader.sources.locations import PORTS, SAFE, Location

WEB = re.compile(r"([^/?#]*)([^?#]*)(?:\?([^#]*))?")
HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::([0-9]{1,5}))?")


class Odd(ValueError):
    """Why a URL cannot be used."""


def web(scheme: str, rest: str) -> Location:
    """The parts of a URL of a web server. Raises Odd."""
    matched = WEB.fullmatch(rest)
    if matched is None:
        raise Odd("a fragment (#) names no file; leave it out")
    authority, path, query = matched[1], matched[2], matched[3] or ""
    if "@" in authority:
        raise Odd("a URL may hold no user and no password; configure them as options of the scheme")
    found = HOST.fullmatch(authority)
    if found is None:
        raise Odd("its host is missing or no ASCII name; write https://host/folder/flow.py")
    if any(char.isspace() for char in path + query):
        raise Odd("it holds a blank; write %20")
    quoted = quote(without_dots(path), safe=SAFE + "%")
    return Location(
        scheme=scheme,
        place=host_and_port(scheme, found[1], found[2]),
        path=quoted.strip("/"),
        query=quote(query, safe=SAFE + "%?"),
        folder=quoted.endswith("/") or not quoted,
    )


def host_and_port(scheme: str, host: str, port: str | None) -> str:
    """A host's usual spelling, with its port unless that is the scheme's own. Raises Odd."""
    try:
        name = f"[{ipaddress.IPv6Address(host[1:-1])}]" if host.startswith("[") else host.lower()
    except ValueError:
        raise Odd("its host is no address") from None
    name = name.removesuffix(".")
    if not name.strip("."):
        raise Odd("its host is missing")
    if port is not None and not 0 < int(port) < 1 << 16:
        raise Odd("its port is none; a port is a number from 1 to 65535")
    return name if port is None or str(int(port)) == PORTS[scheme] else f"{name}:{int(port)}"


def without_dots(path: str) -> str:
    """A URL's path whose ``.`` and ``..``, also percent-encoded ones, were followed."""
    kept: list[str] = []
    parts = path.split("/")[1:]
    for part in parts:
        name = re.sub("%2e", ".", part, flags=re.IGNORECASE)
        if name == "..":
            del kept[-1:]
        elif name not in {".", ""}:
            kept.append(part)
    folder = bool(parts) and re.sub("%2e", ".", parts[-1], flags=re.IGNORECASE) in {"", ".", ".."}
    return "/" + "/".join(kept) + "/" * bool(folder and kept)
