"""Pydantic models made of the fields that both sides of a worker share. Pure."""

from __future__ import annotations

import datetime as dt
import re
import zoneinfo
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal, TypeVar

from croniter import croniter
from dateutil import rrule as recurrence
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Secret,
    SecretStr,
    create_model,
)
from pydantic import Field as PydanticField
from pydantic_core import PydanticCustomError

from worker.protocol import Declared, Fields

INVALID_CHARACTERS = ["/", "%", "&", ">", "<"]
CLOCK = re.compile(
    r"(?P<sign>[+-]?)(?:(?P<days>\d{1,9})(?: days?)?,? )?(?P<hours>\d{1,2}):(?P<minutes>\d{2})"
    r"(?::(?P<seconds>\d{2}(?:\.\d{1,6})?))?"
)
ISO_SPAN = re.compile(
    r"(?P<sign>[+-]?)P(?=.)(?:(?P<weeks>\d{1,9})W)?(?:(?P<days>\d{1,9}(?:\.\d{1,9})?)D)?"
    r"(?:T(?=.)(?:(?P<hours>\d{1,9}(?:\.\d{1,9})?)H)?(?:(?P<minutes>\d{1,12}(?:\.\d{1,9})?)M)?"
    r"(?:(?P<seconds>\d{1,15}(?:\.\d{1,9})?)S)?)?"
)
INTERVAL_DUE = "a length of time is due, like 3600, '1:00:00' or 'PT1H'"
CRON_CAP = 200
"""Longest cron line, in characters."""
RANDOM_CRON = re.compile(r"(?i)(^|[\s,])[hr](\(|/|,|\s|$)")
"""A part of a cron line that another reader would take for another time."""
RRULE_CAP, RULES_CAP = 4_000, 4
"""Longest recurrence rule, in characters, and how many RRULE and EXRULE lines it may have."""
TIMES_CAP, DATES_CAP = 1_440, 100
"""Times of the day that one of its lines may name, every minute at most, and dates that it may list."""
RRULE_ANCHOR = dt.datetime(2020, 1, 1)  # noqa: DTZ001 - a wall-clock time
"""When a rule without DTSTART begins."""
DATED = ("DTSTART", "RDATE", "EXDATE")
RULE_DATE = re.compile(r"(\d{4})-?(\d\d)-?(\d\d)(?:T(\d\d):?(\d\d):?(\d\d)(Z)?)?", re.ASCII)
RULE_BOUNDS: Mapping[str, tuple[int, int]] = MappingProxyType(
    {
        "BYMONTH": (1, 12),
        "BYMONTHDAY": (-31, 31),
        "BYYEARDAY": (-366, 366),
        "BYWEEKNO": (-53, 53),
        "BYEASTER": (-80, 250),
        "BYHOUR": (0, 23),
        "BYMINUTE": (0, 59),
        "BYSECOND": (0, 59),
    }
)
"""Lowest and highest of the numbers of a rule's lists."""
M = TypeVar("M", bound=BaseModel)


class Shared(BaseModel):
    """Base of the models: frozen, unknown fields are refused, numbers are written out where text is due.

    Equal ones have equal hashes.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        validate_default=True,
        coerce_numbers_to_str=True,
        hide_input_in_errors=True,
    )

    def __hash__(self) -> int:
        return hash((type(self), repr(self)))

    def plain(self) -> dict[str, Any]:
        """The fields as JSON-compatible data; secrets in full."""
        return {name: plain(value) for name, value in self}


def plain(value: Any) -> Any:
    """A field's value as JSON-compatible data; a secret in full."""
    if isinstance(value, (Secret, SecretStr)):
        return plain(value.get_secret_value())
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, dt.timedelta):
        return value.total_seconds()
    return value.isoformat() if isinstance(value, dt.datetime) else value


def refused(message: str, **values: Any) -> PydanticCustomError:
    """What a check raises: a message of our own, whose ``{name}`` are filled in."""
    # What is no UTF-8 text cannot be in a message.
    shown = {
        name: value.encode(errors="backslashreplace").decode() if isinstance(value, str) else value
        for name, value in values.items()
    }
    return PydanticCustomError("refused", message, shown)


# --- what each kind of field may hold ------------------------------------------------------------


def a_name(value: str) -> str:
    """A name of a flow or a deployment."""
    if any(character in value for character in INVALID_CHARACTERS):
        message = "Name {name} contains an invalid character. Must not contain any of: {invalid}."
        raise refused(message, name=repr(value), invalid=str(INVALID_CHARACTERS))
    if not value.strip():
        raise refused("a name must not be empty")
    return value


def an_interval(value: Any) -> dt.timedelta:
    """A length of time: itself, seconds, ``1:00:00``, ``2 days, 1:00:00``, or as ISO 8601 writes it."""
    if isinstance(value, dt.timedelta):
        return value
    try:
        if isinstance(value, str):
            found = CLOCK.fullmatch(value) or ISO_SPAN.fullmatch(value)
            if found is not None:
                parts = {
                    unit: float(count)
                    for unit, count in found.groupdict().items()
                    if count and unit != "sign"
                }
                return dt.timedelta(**parts) * (-1 if found["sign"] == "-" else 1)
            return dt.timedelta(seconds=float(value))
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return dt.timedelta(seconds=value)
    except (ValueError, OverflowError):
        pass
    raise refused(INTERVAL_DUE)


def positive(value: dt.timedelta) -> dt.timedelta:
    """A length of time above zero."""
    if value <= dt.timedelta(0):
        raise refused("The interval must be positive")
    return value


def a_timezone(value: str) -> str:
    """The name of a time zone that is known here."""
    try:
        zoneinfo.ZoneInfo(value)
    except (ValueError, OSError, LookupError):
        raise refused('Invalid timezone: "{zone}"', zone=value) from None
    return value


def a_moment_of_text(value: Any) -> Any:
    """ISO text as a moment, old zones' offsets with seconds included; all else is for pydantic to say."""
    try:
        return dt.datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        return value


def a_moment(value: dt.datetime) -> dt.datetime:
    """A moment; one without a zone is UTC."""
    if not dt.MINYEAR < value.year < dt.MAXYEAR:
        raise refused("a date between the years 2 and 9998 is due")
    return value if value.tzinfo is not None else value.replace(tzinfo=dt.UTC)


def a_cron(value: str) -> str:
    """A cron line."""
    if len(value) > CRON_CAP or RANDOM_CRON.search(value) or not croniter.is_valid(value):
        raise refused('Invalid cron string: "{line}"', line=value[:CRON_CAP])
    return value


def an_rrule(value: str) -> str:
    """The text of a recurrence rule, or of a set of rules and dates, one a line."""
    try:
        rules_of(value)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError) as error:
        reason = str(error)[:200] or type(error).__name__
        raise refused('Invalid rrule string: "{rule}": {reason}', rule=value[:200], reason=reason) from None
    return value


def rules_of(text: str, zone: dt.tzinfo = dt.UTC) -> recurrence.rrule | recurrence.rruleset:
    """What a rule's text says, in wall-clock times of ``zone``; it begins in 2020 unless it says otherwise.

    Raises ValueError, and for what ``dateutil`` does not see coming whatever it raises.
    """
    lines = [line for line in text.upper().split() if line.strip(";")]
    rules = sum(not line.startswith(DATED) for line in lines)
    if len(text) > RRULE_CAP or rules > RULES_CAP:
        raise ValueError(f"it has more than {RRULE_CAP} characters or {RULES_CAP} rules")
    if not any(line.startswith("RDATE") or ("FREQ=" in line and "EXRULE" not in line) for line in lines):
        raise ValueError("it says no FREQ")
    dates = sum(len(line.split(",")) for line in lines if line.startswith(DATED))
    if dates + sum(line.count("UNTIL=") + line.count("TZID=") for line in lines) > DATES_CAP:
        raise ValueError(f"it lists more than {DATES_CAP} dates")
    named = {name.upper(): name for name in re.findall(r"(?i)TZID=([^:;]+)", text)}
    return recurrence.rrulestr(
        "\n".join(rule_line(line, zone, named) for line in lines), dtstart=RRULE_ANCHOR, tzids={}
    )


def rule_line(line: str, zone: dt.tzinfo, named: Mapping[str, str]) -> str:
    """A line of a rule without what would make ``dateutil`` guess, warn or never end. Raises ValueError."""
    dates = re.fullmatch(r"(DTSTART|RDATE|EXDATE)((?:;[^:;]+)*):(.*)", line)
    if dates is None:
        # What only looks like a date would be handed on, and its zone be looked for among files.
        if line.startswith(DATED) or "TZID" in line:
            raise ValueError(f"it has a line that is neither a rule nor dates: {line[:100]!r}")
        check_times(line)
        return ";".join(rule_part(part, line, zone) for part in line.split(";") if part)
    written = zone
    for parameter in filter(None, dates[2].split(";")):
        key, _, value = parameter.partition("=")
        if key == "TZID":
            written = zoneinfo.ZoneInfo(a_timezone(named[value]))
        elif parameter not in {"VALUE=DATE", "VALUE=DATE-TIME"}:
            raise ValueError(f"{dates[1]} cannot hold {parameter!r}")
    return f"{dates[1]}:" + ",".join(
        a_rule_date(dates[1], item, written, zone) for item in dates[3].split(",")
    )


def check_times(line: str) -> None:
    """Raise ValueError when the hours, minutes and seconds of a rule come to more times than may be."""
    times = 1
    for _, numbers in re.findall(r"(?:^|[;:])BY(HOUR|MINUTE|SECOND)=([^;]*)", line):
        times *= max(1, len(set(numbers.split(","))))
    if times > TIMES_CAP:
        raise ValueError(
            f"its BYHOUR, BYMINUTE and BYSECOND come to {times} times of the day, and {TIMES_CAP} are the"
            f" most; use a FREQ that recurs more often"
        )


def rule_part(part: str, line: str, zone: dt.tzinfo) -> str:
    """One ``KEY=VALUE`` of a rule. Raises ValueError."""
    key, _, value = part.rpartition(":")[2].partition("=")
    if key == "INTERVAL" and not re.fullmatch(r"0*[1-9]\d{0,8}", value):
        raise ValueError("INTERVAL must be a number from 1 with up to nine digits")
    if key == "COUNT" and "UNTIL=" in line:
        raise ValueError("it has both COUNT and UNTIL; a rule ends by one of them")
    bounds = RULE_BOUNDS.get(key)
    if bounds and not all(
        re.fullmatch(r"[+-]?\d{1,3}", item) and bounds[0] <= int(item) <= bounds[1]
        for item in value.split(",")
    ):
        raise ValueError(f"{key} holds numbers from {bounds[0]} to {bounds[1]}, not {value[:80]!r}")
    if key != "UNTIL":
        return part
    return part[: len(part) - len(value)] + a_rule_date(key, value, zone, zone)


def a_rule_date(key: str, text: str, written: dt.tzinfo, zone: dt.tzinfo) -> str:
    """A date of a rule that is written in one zone, as wall-clock time of another. Raises ValueError."""
    found = RULE_DATE.fullmatch(text)
    if found is None:
        raise ValueError(f"{key} must be written like 20200131T090000, not {text[:80]!r}")
    *numbers, utc = found.groups()
    wall = dt.datetime(*(int(number or 0) for number in numbers))  # type: ignore[arg-type]  # noqa: DTZ001
    source = dt.UTC if utc else written
    if source is not zone:
        wall = wall.replace(tzinfo=source).astimezone(zone)
    return f"{wall.year:04}{wall:%m%dT%H%M%S}"


def volumes(value: tuple[str, ...]) -> tuple[str, ...]:
    """Docker's ``host:container`` pairs."""
    for volume in value:
        if ":" not in volume:
            message = "Invalid volume specification. Expected format 'path:container_path', but got {volume}"
            raise refused(message, volume=repr(volume))
    return value


def a_folder(value: str) -> str:
    """A folder's path or URL, ending as one."""
    return value if value.endswith("/") else value + "/"


def a_list(value: Any) -> Any:
    """Strings of a set in sorted order, so that two loads say the same."""
    return sorted(value, key=str) if isinstance(value, (set, frozenset)) else value


PATH = Annotated[str, BeforeValidator(lambda value: getattr(value, "__fspath__", lambda: value)())]
STRINGS = Annotated[tuple[str, ...], BeforeValidator(a_list)]
TYPES: Mapping[str, Any] = MappingProxyType(
    {
        "string": str,
        "path": PATH,
        "folder": Annotated[PATH, AfterValidator(a_folder)],
        "truth": bool,
        "strings": STRINGS,
        "volumes": Annotated[STRINGS, AfterValidator(volumes)],
        "mapping": dict[str, Any],
        "string_mapping": dict[str, str],
        "name": Annotated[str, AfterValidator(a_name)],
        "interval": Annotated[dt.timedelta, BeforeValidator(an_interval), AfterValidator(positive)],
        "moment": Annotated[dt.datetime, BeforeValidator(a_moment_of_text), AfterValidator(a_moment)],
        "timezone": Annotated[str, AfterValidator(a_timezone)],
        "cron": Annotated[str, AfterValidator(a_cron)],
        "rrule": Annotated[str, AfterValidator(an_rrule)],
    }
)
"""Kind of a field → its type on this side."""
SECRET_TYPES: Mapping[str, Any] = MappingProxyType(
    {"string": SecretStr, "string_mapping": dict[str, SecretStr], "mapping": Secret[dict[str, Any]]}
)


def declared(
    name: str, base: type[M], fields: Fields, doc: str, types: Mapping[str, Any] | None = None
) -> type[M]:
    """A model of ``fields``; ``types`` are those of kinds that are not in ``TYPES``."""
    made: dict[str, Any] = {
        item: field_of(field, {**TYPES, **(types or {})}) for item, field in fields.items()
    }
    return create_model(name, __base__=base, __doc__=doc, __module__=base.__module__, **made)


def field_of(field: Declared, types: Mapping[str, Any]) -> tuple[Any, Any]:
    """One field's type and default, as ``create_model`` takes them."""
    kind: Any = Literal[field.choices] if field.choices else types[field.kind]
    if field.secret:
        kind = SECRET_TYPES.get(field.kind, kind)
    if field.optional:
        kind = kind | None
    if field.required:
        return kind, PydanticField(repr=not field.secret)
    factory: Callable[[], Any] | None = field.default if callable(field.default) else None
    default = {"default_factory": factory} if factory else {"default": field.default}
    return kind, PydanticField(**default, repr=not field.secret)
