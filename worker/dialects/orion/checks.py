"""What a field may hold: each check returns the value to keep or says what is wrong; beside foreign code."""

from __future__ import annotations

import datetime as dt
import os
import re
import zoneinfo
from typing import Any, Callable, Dict, List, Optional, Tuple
from uuid import UUID

from worker.dialects.orion.exceptions import InvalidNameError
from worker.plain import placeholder
from worker.pristine import BUILTINS

__builtins__ = BUILTINS

INVALID_CHARACTERS = ["/", "%", "&", ">", "<"]
TRUTHS = {
    "true": True,
    "yes": True,
    "on": True,
    "1": True,
    "false": False,
    "no": False,
    "off": False,
    "0": False,
}
CLOCK = re.compile(
    r"(?P<sign>[+-]?)(?:(?P<days>\d+)(?: days?)?,? )?(?P<hours>\d{1,2}):(?P<minutes>\d{2})"
    r"(?::(?P<seconds>\d{2}(?:\.\d{1,6})?))?"
)
ISO_SPAN = re.compile(
    r"(?P<sign>[+-]?)P(?=.)(?:(?P<weeks>\d+)W)?(?:(?P<days>\d+(?:\.\d+)?)D)?"
    r"(?:T(?=.)(?:(?P<hours>\d+(?:\.\d+)?)H)?(?:(?P<minutes>\d+(?:\.\d+)?)M)?(?:(?P<seconds>\d+(?:\.\d+)?)S)?)?"
)
Check = Callable[[Any], Any]
path_of, is_folder = os.fspath, os.path.isdir
zone_of, ZONE_FOLDERS = zoneinfo.ZoneInfo, zoneinfo.TZPATH


def anything(value: Any) -> Any:
    """Whatever it is."""
    return value


def optional(check: Check) -> Check:
    """None, or what ``check`` allows."""
    return lambda value: None if value is None else check(value)


def one_of(*allowed: str) -> Check:
    """One of some strings, or an enum member whose value is one."""

    def check(value: Any) -> str:
        value = getattr(value, "value", value)
        if value not in allowed:
            raise ValueError(f"{shown(value)} is none of {', '.join(map(repr, allowed))}")
        return str(value)

    return check


def string(value: Any) -> str:
    """A string; a number is written out."""
    if isinstance(value, (str, int, float)) and not isinstance(value, bool):
        return str(value)
    raise TypeError(f"a string is due, not {shown(value)}")


def path(value: Any) -> str:
    """A string or a path object."""
    return string(path_of(value) if isinstance(value, os.PathLike) else value)


def folder(value: Any) -> str:
    """A folder's path, ending as one."""
    given = path(value)
    return given if given.endswith("/") else given + "/"


def truth(value: Any) -> bool:
    """True or False, or a word or number that says so."""
    found = TRUTHS.get(str(value).lower()) if isinstance(value, (bool, int, str)) else None
    if found is None:
        raise TypeError(f"True or False is due, not {shown(value)}")
    return found


def strings(value: Any) -> List[str]:
    """Several strings; those of a set are sorted."""
    if isinstance(value, (set, frozenset)):
        value = sorted(value)
    if not isinstance(value, (list, tuple)):
        raise TypeError(f"a list of strings is due, not {shown(value)}")
    return [string(item) for item in value]


def mapping(value: Any) -> Dict[str, Any]:
    """A dict with string keys."""
    if not isinstance(value, dict):
        raise TypeError(f"a dict is due, not {shown(value)}")
    return {string(key): item for key, item in value.items()}


def string_mapping(value: Any) -> Dict[str, str]:
    """A dict of strings."""
    return {key: string(item) for key, item in mapping(value).items()}


def name(value: Any) -> str:
    """A name of a flow or a deployment."""
    checked = string(value)
    if any(character in checked for character in INVALID_CHARACTERS):
        raise InvalidNameError(
            f"Name {checked!r} contains an invalid character. Must not contain any of: {INVALID_CHARACTERS}."
        )
    return checked


def identifier(value: Any) -> UUID:
    """A UUID, or its text."""
    return value if isinstance(value, UUID) else UUID(string(value))


def volumes(value: Any) -> List[str]:
    """Docker's ``host:container`` pairs."""
    checked = strings(value)
    for volume in checked:
        if ":" not in volume:
            raise ValueError(
                f"Invalid volume specification. Expected format 'path:container_path', but got {volume!r}"
            )
    return checked


def timezone(value: Any) -> str:
    """The name of a time zone; where there is no database of them, any name."""
    checked = string(value)
    try:
        zone_of(checked)
    except (ValueError, OSError, LookupError):
        if any(is_folder(folder) for folder in ZONE_FOLDERS):
            raise ValueError(f'Invalid timezone: "{checked}"') from None
    return checked


def moment(value: Any) -> dt.datetime:
    """A date and time: itself, ISO text, or seconds since 1970. Without a zone it is UTC."""
    if isinstance(value, str):
        value = dt.datetime.fromisoformat(value[:-1] + "+00:00" if value.endswith("Z") else value)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        value = dt.datetime.fromtimestamp(value, dt.timezone.utc)
    elif isinstance(value, dt.date) and not isinstance(value, dt.datetime):
        value = dt.datetime(value.year, value.month, value.day)  # noqa: DTZ001 - the zone follows
    if not isinstance(value, dt.datetime):
        raise TypeError(f"a date and time is due, not {shown(value)}")
    return value if value.tzinfo is not None else value.replace(tzinfo=dt.timezone.utc)


def positive_interval(value: Any) -> dt.timedelta:
    """A length of time above zero: a timedelta, seconds, ``1:00:00``, ``2 1:00:00`` or ISO 8601."""
    span = interval(value)
    if span <= dt.timedelta(0):
        raise ValueError("The interval must be positive")
    return span


def interval(value: Any) -> dt.timedelta:
    """A length of time."""
    if isinstance(value, dt.timedelta):
        return value
    try:
        if isinstance(value, str):
            found = CLOCK.fullmatch(value) or ISO_SPAN.fullmatch(value)
            if found is not None:
                return parts(found.groupdict())
            value = seconds(value)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return dt.timedelta(seconds=value)
    except (OverflowError, ValueError):
        pass
    raise ValueError(f"a length of time is due, like 3600 or '1:00:00', not {shown(value)}")


def seconds(value: str) -> Any:
    """A number written out, or the text itself."""
    try:
        return float(value)
    except ValueError:
        return value


def parts(found: Dict[str, Optional[str]]) -> dt.timedelta:
    """A length of time from its parts as text."""
    sign = -1 if found.pop("sign") == "-" else 1
    return sign * dt.timedelta(**{unit: float(count) for unit, count in found.items() if count})


def shown(value: Any) -> str:
    """A value as a message shows it."""
    return repr(value)[:80] if type(value) in SHOWN else placeholder(value)


SHOWN: Tuple[type, ...] = (str, int, float, bool, list, tuple, dict, type(None))
