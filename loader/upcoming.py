"""When a schedule runs next: moments in its zone, right across clock changes, in bounded time. Pure.

=============  ==============================================================================================
interval       of whole days: at the same time of the day by the clock; any other: so many seconds apart
cron           a line whose minute or hour begins with ``*`` runs by real time: in a repeated hour twice, in a
               skipped one not at all. Any other runs once for each time that it names: of a repeated one the
               first, and for a skipped one at the moment after the gap
rrule          by the clock; a repeated time is its first, a skipped one is as late as if no hour were skipped
=============  ==============================================================================================
"""

from __future__ import annotations

import datetime as dt
import heapq
import itertools
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from zoneinfo import ZoneInfo

from croniter import CroniterBadDateError, croniter
from dateutil.rrule import DAILY, HOURLY, MINUTELY, SECONDLY, WEEKLY, rrule, rruleset

from loader.declared import rules_of
from loader.errors import SpecValidationError
from loader.schedules import CronSchedule, IntervalBase, RRuleSchedule, Schedule

SECONDS = 0.7
"""How long a question may take."""
GRACE = 1.0
"""How much longer a search is waited for that should have ended."""
COUNT_CAP = 1_000
"""How many runs may be asked for."""
DAY = dt.timedelta(days=1)
TICK = dt.timedelta(microseconds=1)
FIRST = dt.datetime(1, 1, 1)  # noqa: DTZ001 - a wall-clock time
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
PROBES = tuple(dt.timedelta(hours=hours) for hours in range(-26, 27))
"""Where a clock is looked at for being set: never by more than a day."""
Resolve = Callable[[dt.datetime, dt.tzinfo], tuple[dt.datetime, ...]]


def next_runs(
    schedule: Schedule, count: int, after: dt.datetime | None = None, *, seconds: float = SECONDS
) -> tuple[dt.datetime, ...]:
    """The next ``count`` runs of ``schedule``, in its zone and strictly after ``after``, now by default.

    They are fewer when it ends before, or where so many cannot be found in ``seconds``. ``count`` is cut to
    COUNT_CAP. A moment without a zone is UTC.

    Raises SpecValidationError when none can be found in that time.
    """
    after = dt.datetime.now(dt.UTC) if after is None else after
    after = after if after.tzinfo is not None else after.replace(tzinfo=dt.UTC)
    search = Search(schedule, after, max(0, min(count, COUNT_CAP)))
    search.run(seconds)
    if search.failure is not None and not search.found:
        raise SpecValidationError(f"cannot say when {repr(schedule)[:200]} runs: {search.failure}")
    return tuple(search.found)


NEVER = (
    "no time that it names was found in all the steps that a search may take; correct it, or begin it later"
)
BEYOND = "it leads out of the calendar; give it a later date, or an earlier one"


class TooLong(Exception):
    """The time for a search is over."""


class Search:
    """Looks for runs until there are enough, or until it takes too long.

    The libraries that know the rules search without end for what never comes, and cannot be asked to stop. As
    they are written in Python, the interpreter's hook for profilers is called at every step. A thread has one
    of its own, which ends with it: neither the caller's nor an interrupt of the caller meets this one.
    """

    def __init__(self, schedule: Schedule, after: dt.datetime, count: int) -> None:
        self.schedule, self.after, self.count = schedule, after, count
        self.found: list[dt.datetime] = []
        self.failure: str | None = None
        self.error: BaseException | None = None

    def run(self, seconds: float) -> None:
        """Search for so long at most. Raises what the search raises."""
        end = time.monotonic() + seconds
        thread = threading.Thread(target=self.look, args=(end,), name="flow-loader-next-runs", daemon=True)
        thread.start()
        thread.join(seconds + GRACE)
        if self.error is not None:
            raise self.error
        if thread.is_alive():
            self.failure = NEVER

    def look(self, end: float) -> None:
        """In the thread: fill ``found``."""

        def check(*_: object) -> None:
            if time.monotonic() > end:
                raise TooLong

        try:
            sys.setprofile(check)
            self.found.extend(itertools.islice(runs_of(self.schedule, self.after), self.count))
        except TooLong:
            self.failure = NEVER
        except OverflowError:
            self.failure = BEYOND
        except BaseException as error:  # it is the caller's
            self.error = error
        finally:
            sys.setprofile(None)


def runs_of(schedule: Schedule, after: dt.datetime) -> Iterator[dt.datetime]:
    """All moments after ``after``. What is not there is searched without end."""
    held: dict[str, Any] = dict(schedule)
    if isinstance(schedule, IntervalBase):
        return by_interval(schedule.anchor, held["interval"], after)
    zone = ZoneInfo(held["timezone"] or "UTC")
    if isinstance(schedule, CronSchedule):
        clocked = by_cron(held["cron"], bool(held["day_or"]), earliest_wall(after, zone))
        resolve = every if by_real_time(held["cron"]) else once
        return in_order(clocked, zone, after, resolve)
    if isinstance(schedule, RRuleSchedule):
        clocked = by_rules(rules_of(held["rrule"], zone), earliest_wall(after, zone))
        return in_order(clocked, zone, after, shifted)
    raise TypeError(f"cannot say when a {type(schedule).__name__} runs: it is no schedule")


# --- intervals -----------------------------------------------------------------------------------


def by_interval(anchor: dt.datetime, interval: dt.timedelta, after: dt.datetime) -> Iterator[dt.datetime]:
    """The moments that are whole intervals from the anchor."""
    zone = anchor.tzinfo or dt.UTC
    step = interval // TICK
    elapsed, whole_days = ticks(after) - ticks(anchor), interval % DAY == dt.timedelta(0)
    number = elapsed // step + (-1 if whole_days else 1)
    for count in itertools.count(number):
        try:
            if whole_days:
                run = (anchor.replace(tzinfo=None) + interval * count).replace(tzinfo=zone, fold=0)
            else:
                run = (EPOCH + TICK * (ticks(anchor) + step * count)).astimezone(zone)
            run = run.astimezone(dt.UTC).astimezone(zone)
        except (OverflowError, ValueError):
            if count > 0:
                return
            continue
        if ticks(run) > ticks(after):
            yield run


def ticks(moment: dt.datetime) -> int:
    """Microseconds since 1970; of any moment, however far."""
    wall = moment.replace(tzinfo=dt.UTC) - EPOCH
    return (wall - (moment.utcoffset() or dt.timedelta(0))) // TICK


# --- cron lines ----------------------------------------------------------------------------------


def by_cron(line: str, day_or: bool, start: dt.datetime) -> Iterator[dt.datetime]:
    """The wall-clock times that a cron line names, from ``start`` on."""
    found = croniter(line, start - TICK if start > FIRST else start, dt.datetime, day_or=day_or)
    while True:
        try:
            yield found.get_next()
        except CroniterBadDateError:
            raise TooLong from None
        except (OverflowError, ValueError):
            return  # the calendar ends with the year 9999


def by_real_time(line: str) -> bool:
    """Whether a line recurs every hour or more often, rather than at times that it names."""
    parts = line.split()
    return line.strip().lower() == "@hourly" or any(part.startswith("*") for part in parts[:2])


# --- recurrence rules ----------------------------------------------------------------------------


def by_rules(rules: rrule | rruleset, start: dt.datetime) -> Iterator[dt.datetime]:
    """The wall-clock times of a rule or a set, from ``start`` on; TooLong after the last of the calendar."""
    held: dict[str, Any] = vars(rules)
    if isinstance(rules, rrule):
        endless = is_endless(rules)
        rules = entered(rules, start)
    else:
        endless = any(is_endless(rule) for rule in held["_rrule"])
        for kind in ("_rrule", "_exrule"):
            held[kind] = [entered(rule, start) for rule in held[kind]]
    try:
        yield from itertools.dropwhile(lambda wall: wall < start, rules)
    except (ValueError, IndexError, OverflowError):
        endless = True  # it is found out only now that nothing recurs
    if endless:
        raise TooLong


def is_endless(rule: rrule) -> bool:
    """Whether a rule says no end."""
    held: dict[str, Any] = vars(rule)
    return held["_count"] is None and held["_until"] is None


def entered(rule: rrule, start: dt.datetime) -> rrule:
    """The rule as if it had begun shortly before ``start``; one with COUNT is counted from its beginning."""
    held: dict[str, Any] = vars(rule)
    unit = UNITS.get(held["_freq"])
    begun: dt.datetime = held["_dtstart"]
    if unit is None or held["_count"] is not None or begun >= start:
        return rule
    step = unit * held["_interval"]
    passed = max(0, (start - begun) // step - 1) * step
    return rule.replace(dtstart=begun + passed)


UNITS = {
    WEEKLY: 7 * DAY,
    DAILY: DAY,
    HOURLY: dt.timedelta(hours=1),
    MINUTELY: dt.timedelta(minutes=1),
    SECONDLY: dt.timedelta(seconds=1),
}
"""What rules recur by, where it is always as long."""


# --- wall-clock times as moments -----------------------------------------------------------------


def earliest_wall(after: dt.datetime, zone: dt.tzinfo) -> dt.datetime:
    """The earliest wall-clock time whose moment can lie after ``after``.

    The clock may be set back soon; one that was just set forward has skipped times that are still to come.
    """
    if ticks(after) < LEAST:
        return FIRST
    utc = EPOCH + TICK * min(ticks(after), GREATEST)
    offset = min((utc + probe).astimezone(zone).utcoffset() or dt.timedelta(0) for probe in PROBES)
    return (utc + offset).replace(tzinfo=None)


LEAST = ticks(dt.datetime.min.replace(tzinfo=dt.UTC) + 3 * DAY)
GREATEST = ticks(dt.datetime.max.replace(tzinfo=dt.UTC) - 3 * DAY)


def in_order(
    walls: Iterable[dt.datetime], zone: dt.tzinfo, after: dt.datetime, resolve: Resolve
) -> Iterator[dt.datetime]:
    """The moments of wall-clock times, in order, each once, after ``after``.

    What a repeated or skipped time comes to is held back until the clock is past it.
    """
    held: list[dt.datetime] = []
    last = ticks(after)
    walls = iter(walls)
    while True:
        wall = next(walls, None)
        try:
            moments = () if wall is None else resolve(wall, zone)
            sure = wall is None or not is_skipped(wall, zone)
        except OverflowError:
            continue  # a moment before the calendar begins or after it ends
        for moment in moments:
            heapq.heappush(held, moment)
        while held and sure and (wall is None or held[0] <= moments[0]):
            moment = heapq.heappop(held)
            if ticks(moment) > last:
                last = ticks(moment)
                yield moment.astimezone(zone)
        if wall is None:
            return


def is_skipped(wall: dt.datetime, zone: dt.tzinfo) -> bool:
    """Whether the clock of a zone never shows that time."""
    there = wall.replace(tzinfo=zone)
    return there.astimezone(dt.UTC).astimezone(zone).replace(tzinfo=None, fold=0) != wall


def shifted(wall: dt.datetime, zone: dt.tzinfo) -> tuple[dt.datetime, ...]:
    """The first time that the clock shows it; a skipped one as if the clock had not been set yet."""
    return (wall.replace(tzinfo=zone).astimezone(dt.UTC),)


def every(wall: dt.datetime, zone: dt.tzinfo) -> tuple[dt.datetime, ...]:
    """Each time that the clock shows it."""
    if is_skipped(wall, zone):
        return ()
    return tuple(sorted({wall.replace(tzinfo=zone, fold=fold).astimezone(dt.UTC) for fold in (0, 1)}))


def once(wall: dt.datetime, zone: dt.tzinfo) -> tuple[dt.datetime, ...]:
    """The first time that the clock shows it; for a skipped one the moment after the gap."""
    if not is_skipped(wall, zone):
        return shifted(wall, zone)
    late, early = (wall.replace(tzinfo=zone, fold=fold).astimezone(dt.UTC) for fold in (0, 1))
    before = early.astimezone(zone).utcoffset()
    while late - early > TICK * 1_000_000:
        middle = early + (late - early) // TICK // 2_000_000 * TICK * 1_000_000
        if middle.astimezone(zone).utcoffset() == before:
            early = middle
        else:
            late = middle
    return (late,)
