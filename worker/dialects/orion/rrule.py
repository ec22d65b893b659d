"""Whether a text can be an iCalendar recurrence rule; it runs beside foreign code."""

from __future__ import annotations

import re
from typing import Any

from worker.pristine import BUILTINS

__builtins__ = BUILTINS

FREQUENCIES = ("YEARLY", "MONTHLY", "WEEKLY", "DAILY", "HOURLY", "MINUTELY", "SECONDLY")
NUMBERS = r"[+-]?\d+(,[+-]?\d+)*"
DAY = r"([+-]?\d{1,2})?(MO|TU|WE|TH|FR|SA|SU)|(MO|TU|WE|TH|FR|SA|SU)\([+-]?\d{1,2}\)"
VALUES = {
    "FREQ": "|".join(FREQUENCIES),
    "INTERVAL": r"0*[1-9]\d*",
    "COUNT": r"\d+",
    "UNTIL": r"\d{8}(T\d{6}Z?)?",
    "WKST": "MO|TU|WE|TH|FR|SA|SU",
    "BYDAY": f"({DAY})(,({DAY}))*",
    "BYWEEKDAY": f"({DAY})(,({DAY}))*",
    **dict.fromkeys(
        "BYSETPOS BYMONTH BYMONTHDAY BYYEARDAY BYEASTER BYWEEKNO BYHOUR BYMINUTE BYSECOND".split(), NUMBERS
    ),
}
"""What may stand behind each key."""
DATES = ("DTSTART", "RDATE", "EXDATE")


def rrule(value: Any) -> str:
    """The text of a rule, or of a set of rules and dates, one a line; raises ValueError."""
    if not isinstance(value, str):
        raise TypeError("an rrule's text is due")
    lines = [line.strip().upper() for line in value.splitlines() if line.strip()]
    found = [check_line(line, value) for line in lines]
    if not any(found):
        raise ValueError(f'Invalid rrule string: "{value}". It says no FREQ')
    return str(value)


def check_line(line: str, whole: str) -> bool:
    """Check one line; whether it says when something recurs. Raises ValueError."""
    name, colon, rest = line.rpartition(":")
    kind = re.split("[;:]", name)[0]
    if kind in DATES:
        return kind == "RDATE"
    if colon and kind not in ("RRULE", "EXRULE"):
        raise ValueError(f'Invalid rrule string: "{whole}". There is no {kind!r}')
    keys = [check_pair(pair, whole) for pair in rest.split(";") if pair]
    if "FREQ" not in keys:
        raise ValueError(f'Invalid rrule string: "{whole}". It says no FREQ')
    return kind != "EXRULE"


def check_pair(pair: str, whole: str) -> str:
    """Check one ``KEY=VALUE``; returns the key. Raises ValueError."""
    key, _, value = pair.partition("=")
    if key not in VALUES or not re.fullmatch(VALUES[key], value):
        raise ValueError(f'Invalid rrule string: "{whole}". It cannot hold {pair!r}')
    return key
