"""What a Prefect server's refusals say, made readable and harmless. Pure.

All of it is foreign text: shortened, escaped, and without the key should the server repeat it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from loader.escape import visible

TEXT_CAP: Final = 300
"""Characters kept of one foreign text."""
MOST: Final = 3
"""Mistakes that one message lists."""
SECRET: Final = 8
"""Characters that a key must have to be struck out of what is more than a message."""
FAILED_FIELD: Final = re.compile(
    r"(?:.*?: )?Validation failed for field '([^']*)'\. Failure reason: (.*)", re.DOTALL
)
UNION: Final = re.compile(r"[\[(]|^[A-Z]")
"""What marks an alternative of a type rather than a field in the place of a mistake."""


def shown(text: str, cap: int = TEXT_CAP) -> str:
    """``text`` on one line, cut, with everything that a terminal may act on written as its number."""
    safe = visible(text[:cap])
    return safe[:cap] + (" …" if len(text) > cap or len(safe) > cap else "")


def detail(data: Any, secret: str = "") -> str:
    """What the server says is wrong, or nothing where it says nothing. ``secret`` is never part of it."""
    if not isinstance(data, Mapping):
        return ""
    said = data.get("detail") or data.get("exception_detail") or data.get("exception_message") or ""
    if isinstance(said, str):
        return shown(field_first(without(said, secret), "job_variables"))
    return mistakes(said, secret) if isinstance(said, list) else ""


def mistakes(said: list[Any], secret: str) -> str:
    """A list of pydantic's errors, each with its field.

    Of a field that may be one of several kinds every kind complains; those whose value was looked at say more
    than those that miss a field or do not know it.
    """
    known = [item for item in said if isinstance(item, Mapping) and isinstance(item.get("msg"), str)]
    telling = [item for item in known if item.get("type") == "value_error"] or known
    lines = list(dict.fromkeys(shown(without(mistake(item), secret)) for item in telling))
    rest = f"; and {len(lines) - MOST} more" if len(lines) > MOST else ""
    return "; ".join(lines[:MOST]) + rest


def mistake(item: Mapping[str, Any]) -> str:
    """One of pydantic's errors as ``field: what is wrong``."""
    place = item.get("loc")
    parts = [str(part) for part in place[1:]] if isinstance(place, list) else []
    field = ".".join(part for part in parts if not UNION.search(part))
    message = field_first(str(item["msg"]).removeprefix("Value error, "), "parameters")
    return f"{field}: {message}" if field else message


def field_first(text: str, of: str) -> str:
    """``text``, or if it says that a field does not fit its schema: the field's name and why."""
    found = FAILED_FIELD.fullmatch(text)
    return f"{of}.{found[1]}: {found[2]}" if found else text


def without(text: str, secret: str) -> str:
    """``text`` with ``secret`` struck out, in whatever letters."""
    return re.sub(re.escape(secret), "***", text, flags=re.IGNORECASE) if secret else text


def struck(data: Any, secret: str) -> Any:
    """JSON with ``secret`` struck out of every text, unless it is so short that it is a part of words."""
    if isinstance(data, str):
        return without(data, secret) if len(secret) >= SECRET else data
    if isinstance(data, list):
        return [struck(item, secret) for item in data]
    if isinstance(data, dict):
        return {struck(key, secret): struck(item, secret) for key, item in data.items()}
    return data
