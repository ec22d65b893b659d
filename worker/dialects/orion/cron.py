"""Whether a cron line can be one; it runs beside foreign code."""

from __future__ import annotations

import re
from typing import Any, Dict, NamedTuple, Tuple

from worker.pristine import BUILTINS

__builtins__ = BUILTINS


class Part(NamedTuple):
    """One part of a cron line: its range, the words for its numbers, and forms of its own."""

    low: int
    high: int
    words: Tuple[str, ...] = ()
    special: str = ""


MONTHS = tuple("jan feb mar apr may jun jul aug sep oct nov dec".split())
DAYS = tuple("sun mon tue wed thu fri sat".split())
PARTS = (
    Part(0, 59),
    Part(0, 23),
    Part(1, 31, special=r"l"),
    Part(1, 12, MONTHS),
    Part(
        0,
        7,
        DAYS,
        special=r"l?([0-7]|sun|mon|tue|wed|thu|fri|sat)|([0-7]|sun|mon|tue|wed|thu|fri|sat)#([1-5]|l)",
    ),
    Part(0, 59),
)
"""Minute, hour, day of the month, month, day of the week, and an optional second."""
ALIASES = ("@midnight", "@hourly", "@daily", "@weekly", "@monthly", "@yearly", "@annually")
ITEM = re.compile(r"(?:(?P<all>[*?])|(?P<first>\w+)(?:-(?P<last>\w+))?)(?:/(?P<step>\d+))?")


def cron(value: Any) -> str:
    """A cron line of five or six parts, or one of cron's words; raises ValueError."""
    line = value.lower().split() if isinstance(value, str) else []
    if line and line[0] in ALIASES and len(line) == 1:
        return str(value)
    fits = len(line) in (5, 6) and all(
        fits_part(item, part) for text, part in zip(line, PARTS) for item in text.split(",")
    )
    if not fits:
        raise ValueError(f'Invalid cron string: "{value}"')
    return str(value)


def fits_part(item: str, part: Part) -> bool:
    """Whether one item of a list can stand in that part of the line."""
    if part.special and re.fullmatch(part.special, item):
        return True
    found = ITEM.fullmatch(item)
    if found is None or (found["step"] is not None and int(found["step"]) == 0):
        return False
    if found["all"]:
        return True
    ends = [number(end, part) for end in (found["first"], found["last"]) if end is not None]
    return all(part.low <= end <= part.high for end in ends)


def number(word: str, part: Part) -> int:
    """A word or digits as a number; -1 for what is neither."""
    numbers: Dict[str, int] = {name: place + part.low for place, name in enumerate(part.words)}
    return numbers.get(word, int(word) if word.isdecimal() and len(word) < 4 else -1)
