"""Facts of flows and specs in words: types, defaults, schedules, counts. Whatever shape a claim has.

The results are plain text that is not escaped yet. Each is short however much is claimed, and costs no more
than a look at each part of the claim.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from types import MappingProxyType
from typing import Any

DEPTH = 4
"""Levels of a type that are spelled out."""
TYPES = 6
"""Alternatives of a type, or values of an enumeration, that are spelled out."""
NAME, TYPE, VALUE = 100, 120, 250
"""Characters kept of a name, a type and a value: all three fit on one line."""
LISTED = 20
"""Tags, or settings of a runner, that are spelled out."""
ENCODER = json.JSONEncoder(ensure_ascii=False, default=str)
USUAL_ANCHOR = "2020-01-01T00:00:00"
"""From when intervals are counted unless a schedule says otherwise."""
USUAL_SETTINGS: Mapping[str, Any] = MappingProxyType(
    {"stream_output": True, "auto_remove": False, "namespace": "default", "restart_policy": "Never"}
)
"""What a flow runner is set to unless a spec says otherwise."""
UNITS = ((604_800, "week"), (86_400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))


def count(number: int, word: str) -> str:
    """``1 flow``, ``2 flows``."""
    return f"{number} {word}{'' if number == 1 else 's'}"


def more(number: int, word: str = "") -> str:
    """``… and 1,234 more flows``, and where to see them."""
    what = f" {word}{'' if number == 1 else 's'}" if word else ""
    return f"… and {number:,} more{what}; --format json shows all"


def cut(text: str, most: int = NAME) -> str:
    """``text``, or the beginning of a longer one and a sign of that."""
    return text if len(text) <= most else text[:most] + "…"


def as_map(value: Any) -> Mapping[str, Any]:
    """A claim's mapping, or an empty one where the claim is something else."""
    return value if isinstance(value, dict) else {}


def as_list(value: Any) -> Sequence[Any]:
    """A claim's list, or an empty one where the claim is something else."""
    return value if isinstance(value, list) else ()


def parameters(schema: Any) -> Iterator[str]:
    """Each parameter of a flow's schema: ``name: type = default``."""
    claimed = as_map(schema).get("required")
    required = {item for item in claimed if isinstance(item, str)} if isinstance(claimed, list) else set()
    for name, item in properties(schema).items():
        described = as_map(item)
        text = f"{cut(name)}: {cut(type_of(described), TYPE)}"
        if "default" in described:
            text += f" = {value(described['default'])}"
        elif name not in required:
            text += " (optional)"
        yield text


def properties(schema: Any) -> Mapping[str, Any]:
    """The parameters that a flow's schema describes, by name."""
    return as_map(as_map(schema).get("properties"))


def type_of(schema: Any, depth: int = DEPTH) -> str:
    """A JSON schema's type, as short as it can be said."""
    held = as_map(schema)
    if depth == 0:
        return "…"
    if isinstance(held.get("$ref"), str):
        return cut(str(held["$ref"]).rpartition("/")[2], TYPE)
    for key, sign in (("anyOf", " | "), ("oneOf", " | "), ("allOf", " & "), ("type", " | ")):
        if isinstance(held.get(key), list):
            some = held[key][:TYPES]
            return sign.join(
                cut(item, TYPE) if isinstance(item, str) else type_of(item, depth - 1) for item in some
            )
    if isinstance(held.get("enum"), list):
        return "one of " + ", ".join(value(item) for item in held["enum"][:TYPES])
    kind = held.get("format") or held.get("type")
    if kind == "array":
        return f"array of {type_of(held['items'], depth - 1)}" if as_map(held.get("items")) else "array"
    if kind == "object" and as_map(held.get("additionalProperties")):
        return f"object of {type_of(held['additionalProperties'], depth - 1)}"
    return cut(kind, TYPE) if isinstance(kind, str) else "any"


def value(item: Any) -> str:
    """A plain value on one line, as JSON; of a long one the beginning, and no more of it is written."""
    text = ""
    for piece in ENCODER.iterencode(item):
        text += piece[: VALUE + 1]
        if len(text) > VALUE:
            break
    return cut(text, VALUE)


def said(item: Any) -> str:
    """A text as it is, any other value as JSON."""
    return cut(item, VALUE) if isinstance(item, str) else value(item)


def listed(items: Iterable[str], number: int) -> str:
    """``number`` texts with commas between them; of many the first, and how many more there are."""
    left = number - LISTED
    return ", ".join(islice(items, LISTED)) + (f" … and {left:,} more" if left > 0 else "")


def tags(items: Sequence[str]) -> str:
    """The tags of a flow or a spec."""
    return listed(map(cut, items), len(items))


def mapping(item: Any) -> Iterator[str]:
    """Each entry of a mapping: ``name = value``."""
    for name, entry in as_map(item).items():
        yield f"{cut(name)} = {value(entry)}"


def schedule(item: Any) -> str:
    """When a deployment runs: ``every 10 minutes``, ``cron 0 9 * * *, Europe/Berlin``."""
    held = as_map(item)
    zone = held.get("timezone")
    where = f", {cut(zone)}" if isinstance(zone, str) else ""
    if "interval" in held:
        anchor = held.get("anchor_date")
        unusual = isinstance(anchor, str) and not anchor.startswith(USUAL_ANCHOR)
        since = f", counted from {said(anchor)}" if unusual else ""
        return f"every {duration(held['interval'])}{where}{since}"
    if "cron" in held:
        both = ", day of month and of week must both fit" if held.get("day_or") is False else ""
        return f"cron {said(held['cron'])}{where}{both}"
    if "rrule" in held:
        return f"rrule {said(held['rrule'])}{where}"
    return value(item)


def duration(seconds: Any) -> str:
    """A number of seconds in words: ``hour``, ``10 minutes``, ``1 day 6 hours``."""
    if type(seconds) not in (int, float) or not 0 < seconds < math.inf:
        return said(seconds)
    parts, left = [], seconds
    for factor, unit in UNITS:
        number = int(left // factor) if factor > 1 else left
        if number:
            parts.append(count(round(number, 6), unit) if number % 1 else count(int(number), unit))
        left -= number * factor
    return parts[0].removeprefix("1 ") if len(parts) == 1 else " ".join(parts)


def runner(item: Any) -> str:
    """A flow runner by its kind, and by what of its settings was set: ``docker (image = "x")``.

    The environment may hold secrets: only its names are told, and the values where the data itself is asked
    for, as JSON.
    """
    held = as_map(item)
    kind = held.get("type")
    changed = {
        name: dict.fromkeys(as_map(entry), "…") if name == "env" else entry
        for name, entry in as_map(held.get("config")).items()
        if entry not in (None, {}, [], "", USUAL_SETTINGS.get(name))
    }
    detail = f" ({listed(mapping(changed), len(changed))})" if changed else ""
    return (cut(kind) if isinstance(kind, str) else value(item)) + detail


def milliseconds(seconds: float) -> str:
    """A time for reading: ``12 ms``, ``3.4 s``."""
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
