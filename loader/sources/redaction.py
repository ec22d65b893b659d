"""A location's text for messages, without what may be a password or a key. Pure."""

from __future__ import annotations

import re

from loader.access import ARCHIVE_SCHEMES
from loader.sources.locations import CHAIN

SCHEME = re.compile(r"\s*([A-Za-z][A-Za-z0-9+.-]+):/{0,2}")
"""How a URL begins, also one that lacks a slash."""
ARCHIVED = re.compile(
    rf"\s*(?:{'|'.join(sorted(ARCHIVE_SCHEMES))})://(?:(?!{CHAIN}).)*{CHAIN}", re.IGNORECASE | re.DOTALL
)
"""A member of an archive, before the archive's own location."""
QUERY = re.compile(r"[?#]")
LONGEST = 200
"""Characters of a location that could not be taken apart."""
LONG = 2_000
"""Characters that a location may have; of what has more only the beginning is repeated."""
NAMED = {"github", "git"}
"""Schemes whose locations hold an @ that parts no password from a host."""


def struck(text: str) -> str:
    """A location that could not be taken apart, as far as it may be repeated. Never raises."""
    if len(text) > LONG:
        scheme = SCHEME.match(text)
        return printable(scheme[0] if scheme else text[:40]) + "…"
    before = ""
    while (matched := ARCHIVED.match(text)) is not None:
        before += matched[0]
        text = text[matched.end() :]
    scheme = SCHEME.match(text)
    if scheme is None:
        return printable(before + text)
    rest = text[scheme.end() :]
    query = QUERY.search(rest)
    if "@" in rest and scheme[1].lower() not in NAMED:
        # Where a password ends and a query begins cannot be told.
        rest = "…" if query else "…@" + rest.rpartition("@")[2]
    elif query:
        rest = rest[: query.start()] + "…"
    return printable(before + scheme[0] + rest)


def printable(text: str) -> str:
    """The text without characters that a terminal or a log would act on, and not too long."""
    kept = "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text[:LONGEST]
    )
    return kept + "…" * (len(text) > LONGEST)
