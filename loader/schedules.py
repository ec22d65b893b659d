"""When a deployment runs: interval, cron and rrule schedules. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any
from zoneinfo import ZoneInfo

from pydantic import ValidationInfo, model_validator

from loader.declared import Shared, declared, refused
from worker.protocol import SCHEDULES

ANCHOR = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
"""From when intervals are counted unless a schedule says otherwise, in its own zone."""
CLAIMED: Mapping[str, bool] = MappingProxyType({"claimed": True})
"""The context of what a worker says, where the anchor date is filled in already."""


class Schedule(Shared):
    """Base of the schedules."""


class IntervalBase(Schedule):
    """What an interval schedule's fields say together."""

    @model_validator(mode="before")
    @classmethod
    def anchored(cls, values: Any, info: ValidationInfo) -> Any:
        """An anchor date brings its own zone, so no other may be given."""
        both = isinstance(values, dict) and None not in (values.get("anchor_date"), values.get("timezone"))
        if both and info.context != CLAIMED:
            raise refused("Specify an anchor date or a timezone, but not both.")
        return values

    @property
    def anchor(self) -> dt.datetime:
        """The moment from which intervals are counted, in the schedule's zone."""
        held: dict[str, Any] = dict(self)
        zone = ZoneInfo(held["timezone"]) if held["timezone"] else None
        if held["anchor_date"] is None:
            return ANCHOR.replace(tzinfo=zone or dt.UTC)
        moment: dt.datetime = held["anchor_date"]
        return moment.astimezone(zone) if zone else moment


IntervalSchedule = declared(
    "IntervalSchedule", IntervalBase, SCHEDULES["interval"], "Every so often, counted from an anchor date."
)
CronSchedule = declared("CronSchedule", Schedule, SCHEDULES["cron"], "By a cron line.")
RRuleSchedule = declared("RRuleSchedule", Schedule, SCHEDULES["rrule"], "By an iCalendar recurrence rule.")
KINDS: Mapping[str, type[Schedule]] = MappingProxyType(
    {"interval": IntervalSchedule, "cron": CronSchedule, "rrule": RRuleSchedule}
)
"""The schedules, by the field that tells them apart."""
