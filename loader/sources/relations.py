"""What the text of locations says: folders, names, schemes, and which lies below which. Pure."""

from __future__ import annotations

import posixpath

from loader.errors import SourceError
from loader.sources.parsing import URL, parse, redacted


def folder_of(location: str) -> str:
    """The location of the folder that a file lies in, without a slash at its end. Raises SourceError."""
    place = parse(location)
    return place.at(posixpath.dirname(place.decoded)).text


def beside(location: str, relative: str) -> str:
    """The location of the file that ``relative`` names from the folder of the file at ``location``.

    ``relative`` is a path of names, not percent-encoded. Raises SourceError when it is absolute, a
    folder's, a URL, or leads above the top.
    """
    place = parse(location)
    if relative.rpartition("/")[2] in {"", ".", ".."} or relative.startswith("/") or URL.match(relative):
        raise SourceError(
            f"cannot load {redacted(relative)!r}: it is no path of a file relative to {place.shown}"
        )
    path = posixpath.normpath(posixpath.join(posixpath.dirname(place.decoded), relative))
    odd = place.scheme != "file" and any(char == "\\" or not char.isprintable() for char in relative)
    if odd or path in {".", ".."} or path.startswith("../"):
        raise SourceError(f"cannot load {relative!r}: it leads out of what {place.shown} lies in")
    return parse(place.at(path).text).text


def below(location: str, root: str) -> bool:
    """Whether a location lies below a folder's, judged by names alone: symbolic links are not followed."""
    try:
        return parse(location).below(parse(root))
    except SourceError:
        return False


def display(location: str) -> str:
    """What tracebacks call the file at a location: an absolute path, or a URL without its query."""
    return parse(location).shown


def shown(location: str) -> str:
    """A location as it was given, but for its query: that may hold a key, and is needed to read alone.

    Never raises.
    """
    try:
        place = parse(location)
    except SourceError:
        return redacted(location)
    return location if place.shown == place.text else place.shown


def schemes_of(location: str) -> frozenset[str]:
    """Every scheme that a location uses, its archive's included; a path is ``file``. Raises SourceError."""
    return parse(location).schemes


def basename_of(location: str) -> str:
    """The last name of a location's path, decoded and without its query; empty if it has none.

    Raises SourceError.
    """
    return next(reversed(parse(location).parts), "")
