"""When a deployment runs: interval, cron and rrule schedules; they run beside foreign code."""

from __future__ import annotations

import datetime as dt
import zoneinfo
from typing import Any, Dict

from worker.dialects.orion import checks
from worker.dialects.orion.model import Model, declared
from worker.fields import SCHEDULES as DECLARED
from worker.pristine import BUILTINS

__builtins__ = BUILTINS

zone_of = zoneinfo.ZoneInfo


def zone_or_utc(value: Any) -> str:
    """A time zone's name; UTC for none."""
    return checks.timezone("UTC" if value is None else value)


class IntervalSchedule(Model, fields=declared(DECLARED["interval"])):
    """Every so often, counted from an anchor date."""

    def check(self) -> None:
        """An anchor date brings its own zone; without one it is the first of January 2020 in the zone."""
        held = self.__dict__
        if held["anchor_date"] is not None and held["timezone"] is not None:
            raise ValueError("Specify an anchor date or a timezone, but not both.")
        if held["anchor_date"] is None:
            held["anchor_date"] = dt.datetime(2020, 1, 1, tzinfo=zone(held["timezone"]))


class CronSchedule(Model, fields=declared(DECLARED["cron"])):
    """By a cron line."""


class RRuleSchedule(Model, fields=declared(DECLARED["rrule"], {"timezone": zone_or_utc})):
    """By an iCalendar recurrence rule."""

    @classmethod
    def from_rrule(cls, rrule: Any) -> RRuleSchedule:
        """The schedule of a ``dateutil`` rule."""
        zone = getattr(getattr(rrule, "_dtstart", None), "tzinfo", None)
        named = getattr(zone, "key", None) or getattr(zone, "name", None) or getattr(zone, "zone", None)
        return cls(rrule=str(rrule), timezone=named)


SCHEDULES: Dict[str, type] = {"interval": IntervalSchedule, "cron": CronSchedule, "rrule": RRuleSchedule}
"""The kinds of schedule, by the field that tells them apart."""


def schedule(value: Any) -> Any:
    """A schedule, or a dict of one's fields."""
    if isinstance(value, tuple(SCHEDULES.values())):
        return value
    if isinstance(value, dict):
        for field, kind in SCHEDULES.items():
            if field in value:
                return kind(**checks.mapping(value))
    raise TypeError(f"a schedule with {', '.join(SCHEDULES)} is due, not {checks.shown(value)}")


def zone(name: Any) -> dt.tzinfo:
    """A time zone, or UTC where it cannot be had."""
    try:
        return dt.timezone.utc if name is None else zone_of(name)
    except (ValueError, OSError, LookupError):
        return dt.timezone.utc
