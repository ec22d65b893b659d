"""What YAML aliases and merge keys come to once they are written out, and what that costs. Pure."""

from __future__ import annotations

from typing import Any

MERGE = "<<"
"""The key whose mappings are merged into the one that has it."""


def weight(value: Any) -> tuple[int, int, int]:
    """Values with their keys, characters, and levels of a value that is written out once more."""
    if type(value) is dict:
        parts = [*map(weight, value), *map(weight, value.values())]
    elif type(value) is list:
        parts = [weight(item) for item in value]
    else:
        return 1, len(value) if type(value) is str else 1, 0
    counts = [sum(part[place] for part in parts) for place in (0, 1)]
    return 1 + counts[0], counts[1], 1 + max((part[2] for part in parts), default=0)


def copied(value: Any) -> Any:
    """The same data once more."""
    if type(value) is dict:
        return {key: copied(item) for key, item in value.items()}
    return [copied(item) for item in value] if type(value) is list else value


def merged(value: Any) -> dict[str, Any] | None:
    """What a merge key's value, a mapping or a list of them, merges: of several the first one counts.

    None when it is neither.
    """
    parts = value if type(value) is list else [value]
    if not all(type(part) is dict for part in parts):
        return None
    return {key: item for part in reversed(parts) for key, item in part.items()}
