"""JSON as it is defined: no name twice in an object, no number that JSON does not have. Pure."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any, NoReturn


def read(text: str | bytes | bytearray) -> Any:
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
