"""A path or ``file://`` URL becomes an absolute path."""

from __future__ import annotations

import os
import re
from urllib.parse import unquote, urlsplit

from loader.access import LOCAL_SCHEMES, SCHEMES
from loader.errors import SourceError

SCHEME = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]+):")
KNOWN = ", ".join(f"{item}://" for item in ("file", *sorted(SCHEMES - LOCAL_SCHEMES)))


def local_path(location: str) -> str:
    """The absolute path behind a path or ``file://`` URL. Raises SourceError."""
    scheme = SCHEME.match(location)
    if scheme is None or (not location[scheme.end() :].startswith("//") and os.path.exists(location)):
        return os.path.abspath(location)
    if scheme[1].lower() in SCHEMES - LOCAL_SCHEMES:
        raise SourceError(f"cannot load {location}: a URL of its kind begins with {scheme[1].lower()}://")
    if scheme[1].lower() not in LOCAL_SCHEMES:
        raise SourceError(f"cannot load {location}: {unknown_scheme(scheme[1])}")
    try:
        parts = urlsplit(location)
    except ValueError as error:
        raise SourceError(f"cannot load {location}: {error}") from None
    if parts.netloc not in ("", "localhost") or parts.query or parts.fragment:
        raise SourceError(
            f"cannot load {location}: a file URL names a path on this machine, as in file:///a/b.py"
        )
    return os.path.abspath(unquote(parts.path, errors="surrogateescape"))


def unknown_scheme(scheme: str) -> str:
    """Why a location of no known scheme cannot be used."""
    return f"scheme {scheme!r} is not one of {KNOWN}"
