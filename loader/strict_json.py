"""JSON as it is defined: no name twice in an object, no number that JSON does not have. Pure.

What is read takes many times its bytes in memory: who reads what others wrote counts its values first.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any, NoReturn

QUOTED = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
"""A string of JSON; also one without an end, so that every byte is looked at once."""


def read(text: str | bytes) -> Any:
    """What the text says. Raises ValueError, RecursionError."""
    return json.loads(text, object_pairs_hook=once, parse_constant=refuse)


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object each of whose names is there once. Raises ValueError."""
    held = dict(pairs)
    if len(held) < len(pairs):
        counts = Counter(name for name, _ in pairs)
        raise ValueError(f"{next(name for name in counts if counts[name] > 1)!r} is given twice")
    return held


def refuse(word: str) -> NoReturn:
    """A number that JSON does not have. Raises ValueError."""
    raise ValueError(f"{word} is no JSON")


def values(body: bytes | bytearray, most: int) -> int:
    """How many values a JSON body holds at most; an object counts twice.

    String by string, for other threads have to wait while a regular expression looks; and no further than
    there are more than ``most``, or more strings than JSON with so many values can have.
    """
    found = end = 0
    for number, string in enumerate(QUOTED.finditer(body)):
        found += marks(body, end, string.start())
        end = string.end()
        if found > most or number > 2 * found:
            return found
    return found + marks(body, end, len(body))


def marks(body: bytes | bytearray, start: int, end: int) -> int:
    """How many values begin in a part of a JSON body that holds no string."""
    return sum(body.count(mark, start, end) for mark in (b",", b"[", b"{", b"{"))
