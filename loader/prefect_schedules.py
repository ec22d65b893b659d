"""The values of a ``prefect.yaml`` by their kind, and the schedules of its deployments. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from pydantic import ValidationError

from loader.declared import INTERVAL_DUE
from loader.entries import Mistake, jsonable
from loader.prefect_part import Planned
from loader.schedules import CLAIMED, KINDS, Schedule
from loader.specs import mistakes
from loader.yaml_places import KeyPath

PASSED_OVER = ("catchup", "max_active_runs", "replaces")
"""Keys of a schedule that change nothing here: what older releases wrote, and what renames one."""
ABOUT = ("active", "parameters", "slug", *PASSED_OVER)
TEMPLATE = "{{"
"""What Prefect fills in, and nobody here."""


@dataclass
class Item:
    """A mapping of the file: its values by their kind. What is wrong is noted in ``said``."""

    data: Mapping[str, Any]
    path: KeyPath = ()
    said: list[Mistake] = field(default_factory=list)

    def wrong(self, message: str, *path: str | int) -> None:
        """Note a mistake."""
        self.said.append(((*self.path, *path), message))

    def of(self, key: str, kind: type, due: str) -> Any:
        """The value of a key, None when it is not there or not of its kind."""
        value = self.data.get(key)
        if value is None or type(value) is kind:
            return value
        self.wrong(due, key)
        return None

    def text(self, key: str) -> str | None:
        """A text."""
        found: str | None = self.of(key, str, "text is due; put it in quotes")
        return found

    def truth(self, key: str) -> bool | None:
        """True or false."""
        found: bool | None = self.of(key, bool, "true or false is due")
        return found

    def number(self, key: str) -> int | None:
        """A whole number."""
        found: int | None = self.of(key, int, "a whole number is due")
        if found is not None and found < 0:
            self.wrong("it must not be negative", key)
        return found

    def mapping(self, key: str) -> dict[str, Any]:
        """A mapping, an empty one where there is none."""
        return self.of(key, dict, "a mapping is due") or {}

    def part(self, key: str) -> Item:
        """A mapping, whose own values are asked for."""
        return Item(self.mapping(key), (*self.path, key), self.said)


def planned(item: Item, warnings: list[str]) -> tuple[Planned, ...]:
    """The schedules of a deployment: ``schedules``, or the older ``schedule``."""
    single = item.data.get("schedule")
    if single:
        if "schedules" in item.data:
            item.wrong("there are schedules, too; have only those", "schedule")
        places: Iterator[tuple[Item, Any]] = iter([(Item({}, (*item.path, "schedule"), item.said), single)])
    else:
        held = item.of("schedules", list, "a list of schedules is due") or []
        places = (
            (Item({}, (*item.path, "schedules", place), item.said), entry) for place, entry in enumerate(held)
        )
    found = [one(where, entry, warnings) for where, entry in places]
    return tuple(item for item in found if item is not None)


def one(item: Item, entry: Any, warnings: list[str]) -> Planned | None:
    """One schedule with what is said about it."""
    if type(entry) is not dict or len([key for key in KINDS if entry.get(key) is not None]) != 1:
        item.wrong(f"a schedule is due: a mapping with one of {', '.join(KINDS)}")
        return None
    item.data = entry
    for key in ("active", "day_or"):
        if type(entry.get(key)) is str and TEMPLATE in entry[key]:
            warnings.append(f"the template in {key!r} of a schedule is not filled in, and taken for true")
            item.data = {name: value for name, value in item.data.items() if name != key}
    schedule = schedule_of(item)
    active = item.truth("active")
    about = {"parameters": jsonable(item.mapping("parameters")), "slug": item.text("slug")}
    if schedule is None:
        return None
    return Planned(schedule=schedule, active=active is not False, **about)


def schedule_of(item: Item) -> Schedule | None:
    """When it runs."""
    name = next(key for key in KINDS if item.data.get(key) is not None)
    given = {key: value for key, value in item.data.items() if key not in ABOUT and value is not None}
    if name == "rrule" and type(given["rrule"]) is str and given["rrule"].startswith("{"):
        given = {**given, **in_json(given["rrule"])}  # as the releases wrote it that had one text for it
    if name != "cron":
        given.pop("day_or", None)  # what Prefect writes down of every schedule
    if type(given.get("interval")) is bool:
        item.wrong(INTERVAL_DUE, "interval")
        return None
    if name != "interval" and isinstance(given.get("anchor_date"), (str, date)):
        del given["anchor_date"]  # the same
    try:
        return KINDS[name].model_validate(jsonable(given), context=dict(CLAIMED))
    except ValidationError as error:
        for path, message in mistakes(error):
            item.wrong(message, *path)
        return None


def in_json(text: str) -> dict[str, Any]:
    """The fields of a rule that are written as JSON; none where they are not."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return {key: found[key] for key in ("rrule", "timezone") if key in found} if type(found) is dict else {}
