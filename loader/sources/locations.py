"""A location in parts, and what two of them have to do with each other. Pure."""

from __future__ import annotations

import posixpath
import re
import unicodedata
from dataclasses import dataclass, replace
from urllib.parse import quote, unquote

PORTS = {"http": "80", "https": "443"}
"""The schemes of web servers, whose paths are percent-encoded, and the ports that go without saying."""
ALIASES = {"gcs": "gs", "abfs": "az", "abfss": "az"}
"""Schemes that mean the same as another."""
SUSPECT = re.compile(r"%2e|%2f|%5c|%00|\\", re.IGNORECASE)
SAFE = "/!$&'()*+,;=:@~"
"""What a path of a URL may hold unquoted, beside letters, digits and ``-._``."""
CHAIN = "::"


@dataclass(frozen=True, kw_only=True)
class Location:
    """One location in parts, normalised.

    ``place`` is what the path lies in: ``host:port``, a bucket, ``owner:repository@ref``; empty for files,
    memory and archives. ``path`` has no slash at either end, but for a file, where it is absolute.
    ``archive`` is where the archive lies whose member ``path`` is.
    """

    scheme: str
    place: str = ""
    path: str = ""
    query: str = ""
    folder: bool = False
    archive: Location | None = None

    @property
    def text(self) -> str:
        """The location as it may be given again."""
        return self.spelled(self.archive.text if self.archive else self.query)

    @property
    def shown(self) -> str:
        """The location for messages: without its query, which may hold a key."""
        return self.spelled(self.archive.shown if self.archive else "…" * bool(self.query))

    def spelled(self, rest: str) -> str:
        """The location with ``rest`` for its archive's location or its query."""
        end = "/" * bool(self.folder and self.path)
        if self.archive is not None:
            return f"{self.scheme}://{self.path}{end}{CHAIN}{rest}"
        if self.scheme == "file":
            return self.path
        between = "@" if self.scheme == "git" else "/" * bool(self.place and self.path)
        return f"{self.scheme}://{self.place}{between}{self.path}{end}" + (f"?{rest}" if rest else "")

    @property
    def kind(self) -> str:
        """The scheme, one for those that mean the same."""
        return ALIASES.get(self.scheme, self.scheme)

    @property
    def decoded(self) -> str:
        """The path as names of files."""
        return unquote(self.path, errors="surrogateescape") if self.scheme in PORTS else self.path

    @property
    def parts(self) -> tuple[str, ...]:
        """The names of the path, decoded and normalised."""
        path = posixpath.normpath("/" + self.decoded).strip("/")
        return tuple(path.split("/")) if path else ()

    @property
    def is_plain(self) -> bool:
        """Whether no server can read its path as another, by decoding or trimming once more than we do."""
        if self.scheme not in PORTS:
            return True
        path = unicodedata.normalize("NFKC", self.decoded)
        odd = SUSPECT.search(self.path) or SUSPECT.search(path) or path.count("/") != self.path.count("/")
        dots = any(not name.partition(";")[0].strip(". ") for name in path.split("/")) and path
        return not (odd or dots) and self.decoded.isprintable()

    @property
    def schemes(self) -> frozenset[str]:
        """Its scheme, and that of its archive's location."""
        return frozenset({self.scheme}) | (self.archive.schemes if self.archive else frozenset())

    def at(self, path: str) -> Location:
        """The location in the same place at another path, given as names of files."""
        path = quote(path, safe=SAFE, errors="surrogateescape") if self.scheme in PORTS else path
        path = path if self.scheme == "file" else path.strip("/")
        return replace(self, path=path, query="", folder=False)

    def below(self, root: Location) -> bool:
        """Whether it lies below the folder ``root``."""
        if (self.kind, self.place) != (root.kind, root.place) or self.archive != root.archive or root.query:
            return False
        if not self.is_plain:
            return False
        top = root.parts
        return len(self.parts) > len(top) and self.parts[: len(top)] == top
