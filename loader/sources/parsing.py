"""A location is taken apart into a scheme, a place, a path and a query; what is odd is refused. Pure.

- a plain path or ``file:///folder/flow.py``: a file of this machine
- ``https://host:port/folder/flow.py?query``, percent-encoded; ``http`` likewise
- ``s3://bucket/folder/flow.py``, never decoded; ``gs``, ``gcs``, ``az``, ``abfs``, ``abfss`` likewise
- ``memory://folder/flow.py``: what this process keeps in fsspec's memory
- ``github://owner:repository@ref/folder/flow.py``
- ``git:///srv/repository:ref@folder/flow.py``: a repository of this machine
- ``zip://folder/flow.py::LOCATION``, LOCATION being one of the above: an archive's member; ``tar`` too
"""

from __future__ import annotations

import re
from collections.abc import Callable

from loader.access import ARCHIVE_SCHEMES, SCHEMES
from loader.errors import SourceError
from loader.sources.locations import CHAIN, PORTS, Location
from loader.sources.paths import absolute, check_length, local_path, unknown_scheme
from loader.sources.redaction import struck
from loader.sources.weburls import Odd, web

URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://(.*)", re.DOTALL)
BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,221}")
GITHUB = re.compile(r"([A-Za-z0-9_.-]+):([A-Za-z0-9_.-]+)(?:@([A-Za-z0-9_.+-]*))?")
GIT = re.compile(r"([^:@]+):(?:([^@:]+)@)?([^@:]*)")


def parse(text: str) -> Location:
    """The parts of a path or URL. Raises SourceError, whose message repeats no password."""
    matched = URL.fullmatch(check_length(text))
    if matched is None or matched[1].lower() == "file":
        return Location(scheme="file", path=local_path(text))
    try:
        found = parsed(matched[1], matched[2])
    except Odd as error:
        raise SourceError(f"cannot load {struck(text)}: {error}") from None
    check_length(found.text)
    return found


def redacted(location: str) -> str:
    """A location for messages: without password and query. Never raises."""
    try:
        return parse(location).shown
    except SourceError:
        return struck(location)


def parsed(scheme: str, rest: str) -> Location:
    """The parts of a URL that is not of a file. Raises Odd, SourceError."""
    if scheme.lower() not in SCHEMES:
        raise Odd(unknown_scheme(scheme))
    scheme = scheme.lower()
    if scheme in ARCHIVE_SCHEMES:
        return archive_member(scheme, rest)
    if any(char == "\\" or not char.isprintable() for char in rest):
        raise Odd("it holds a control character or a backslash; write it without")
    if CHAIN in (rest.partition("]")[2] if rest.startswith("[") else rest):
        raise Odd("only zip:// and tar:// may be followed by :: and another location")
    return PARSERS.get(scheme, stored)(scheme, rest)


def archive_member(scheme: str, rest: str) -> Location:
    """The parts of ``zip://member::LOCATION``. Raises Odd, SourceError."""
    member, found, inner = rest.partition(CHAIN)
    if not found or not inner:
        raise Odd(f"a member of an archive is written {scheme}://folder/flow.py::LOCATION")
    nested = URL.match(inner)
    archive = None if nested and nested[1].lower() in ARCHIVE_SCHEMES else parse(inner)
    if archive is None or (CHAIN in inner and archive.scheme not in PORTS):
        raise Odd("an archive's location is a path or a URL without another :: in it")
    if any(char == "\\" or not char.isprintable() for char in member):
        raise Odd("its member's name holds a control character or a backslash")
    path = names(member)
    return Location(scheme=scheme, path=path, folder=member.endswith("/") or not path, archive=archive)


def names(path: str) -> str:
    """The path without slashes at its ends. Raises Odd for names that lead elsewhere."""
    stripped = path.strip("/")
    if stripped and any(part in {"", ".", ".."} for part in stripped.split("/")):
        raise Odd("its path holds an empty name, . or ..; write the path that it comes to")
    return stripped


def stored(scheme: str, rest: str) -> Location:
    """The parts of a URL of an object store or of memory. Raises Odd."""
    if "?" in rest or "#" in rest:
        raise Odd(f"a {scheme} URL has neither a query (?) nor a fragment (#)")
    if any(char.isspace() and char != " " for char in rest):
        raise Odd("it holds white space other than blanks")
    place, _, path = ("", "", rest) if scheme == "memory" else rest.partition("/")
    if scheme != "memory" and BUCKET.fullmatch(place) is None:
        raise Odd(
            f"{scheme}:// is followed by a bucket or container and a path, as in {scheme}://bucket/flow.py;"
            f" keys and accounts are options of the scheme",
        )
    return Location(scheme=scheme, place=place, path=names(path), folder=not path or path.endswith("/"))


def github(scheme: str, rest: str) -> Location:
    """The parts of a file's URL on GitHub. Raises Odd."""
    place, _, path = rest.partition("/")
    matched = GITHUB.fullmatch(place)
    if matched is None or not all(part is None or part.strip(".") or not part for part in matched.groups()):
        raise Odd("a file on GitHub is written github://owner:repository@ref/folder/flow.py")
    if "?" in path or "#" in path or "%" in path:
        raise Odd("a github URL has neither a query (?) nor a fragment (#) nor percent signs")
    place = f"{matched[1]}:{matched[2]}@{matched[3] or ''}"
    return Location(scheme=scheme, place=place, path=names(path), folder=not path or path.endswith("/"))


def git(scheme: str, rest: str) -> Location:
    """The parts of a file's URL in a repository of this machine. Raises Odd."""
    matched = GIT.fullmatch(rest)
    if matched is None:
        raise Odd(
            "a file of a repository on this machine is written git:///srv/repository:ref@folder/flow.py"
        )
    place, path = f"{absolute(matched[1])}:{matched[2] or 'HEAD'}", matched[3]
    return Location(scheme=scheme, place=place, path=names(path), folder=not path or path.endswith("/"))


PARSERS: dict[str, Callable[[str, str], Location]] = {
    "http": web,
    "https": web,
    "github": github,
    "git": git,
}
