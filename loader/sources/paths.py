"""A path or ``file://`` URL becomes an absolute path; what no location may be is refused.

Nothing is looked for: the words may be somebody else's, who would learn what is there.
"""

from __future__ import annotations

import os
import re
from urllib.parse import unquote, urlsplit

from loader.access import LOCAL_SCHEMES, SCHEMES
from loader.errors import SourceError
from loader.sources.redaction import LONG, struck

SCHEME = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]+):")
KNOWN = ", ".join(f"{item}://" for item in ("file", *sorted(SCHEMES - LOCAL_SCHEMES)))


CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def check_length(text: str) -> str:
    """The text, which is not too long for a location, be it given or normalised. Raises SourceError."""
    if len(text) > LONG:
        raise SourceError(
            f"cannot load {struck(text)}: it has {len(text)} characters, and a location may have {LONG};"
            f" give it a shorter name"
        )
    return text


def local_path(location: str) -> str:
    """The absolute path behind a path or ``file://`` URL. Raises SourceError."""
    check_length(location)
    path = named(location)
    if CONTROL.search(location) or CONTROL.search(path):
        raise SourceError(f"cannot load {struck(location)}: its name holds a control character; rename it")
    return check_length(absolute(path))


def absolute(path: str) -> str:
    """The path from the top. Raises SourceError when it is relative to a folder that is gone."""
    try:
        return os.path.abspath(path)
    except FileNotFoundError:
        raise SourceError(
            f"cannot load {struck(path)}: the working directory is gone; give an absolute path"
        ) from None


def named(location: str) -> str:
    """The path that a location spells. Raises SourceError."""
    scheme = SCHEME.match(location)
    if scheme is None and SCHEME.match(location.strip()) and "://" in location:
        raise SourceError(f"cannot load {struck(location)}: a blank stands before it; write it without")
    if scheme is None:
        return location
    name = scheme[1].lower()
    if name not in LOCAL_SCHEMES:
        known = name in SCHEMES
        why = f"a URL of its kind begins with {name}://" if known else unknown_scheme(scheme[1])
        raise SourceError(f"cannot load {struck(location)}: {why}; if it is a path, write ./ before it")
    try:
        parts = urlsplit(location)
        fine = parts.netloc in ("", "localhost") and not parts.query and not parts.fragment
    except ValueError:
        fine = False
    if not fine:
        raise SourceError(
            f"cannot load {struck(location)}: a file URL names a path on this machine, as in file:///a/b.py"
        )
    return unquote(parts.path, errors="surrogateescape")


def unknown_scheme(scheme: str) -> str:
    """Why a location of no known scheme cannot be used."""
    return f"scheme {scheme!r} is not one of {KNOWN}"


def is_below(path: str, folder: str) -> bool:
    """Whether a path is a folder, or lies below it."""
    return f"{path}/".startswith(folder.rstrip("/") + "/")
