"""When hostile schedules run next: said in bounded time, or refused with a reason."""

import cProfile
import datetime as dt
import signal
import sys
import threading
import time

import pytest

from loader.errors import SpecValidationError
from loader.schedules import CronSchedule, IntervalSchedule, RRuleSchedule
from loader.upcoming import COUNT_CAP, next_runs

pytestmark = pytest.mark.slow

UTC = dt.UTC
AFTER = dt.datetime(2022, 5, 1, 12, tzinfo=UTC)
SECONDS = 1.5
"""The search is ended after 0.7."""

NEVER = r"^cannot say when (?s:.*) runs: no time that it names was found"
TIMES = ";".join(
    f"{key}={','.join(map(str, range(count)))}" for key, count in (("BYHOUR", 24), ("BYMINUTE", 60))
)


@pytest.mark.parametrize(
    "schedule",
    [
        CronSchedule(cron="0 0 31 2 *"),
        CronSchedule(cron="0 0 31 2 *", day_or=False, timezone="Europe/Berlin"),
        CronSchedule(cron="0 0 30 2 1", day_or=False),
        *(
            RRuleSchedule(rrule=rule)
            for rule in (
                "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30",
                "FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30",
                "FREQ=SECONDLY;BYMONTH=2;BYMONTHDAY=30",
                "FREQ=SECONDLY;INTERVAL=7;BYMONTH=2;BYMONTHDAY=30;BYHOUR=5;BYMINUTE=7",
                "FREQ=SECONDLY;COUNT=1000000000000000",
                "DTSTART:00020101\nFREQ=SECONDLY;COUNT=1000000000000000",
                "RRULE:FREQ=DAILY\nEXRULE:FREQ=DAILY",
                "RRULE:FREQ=DAILY\nEXRULE:FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30",
                "\n".join([f"RRULE:FREQ=YEARLY;BYYEARDAY=366;BYWEEKNO=20;{TIMES}"] * 4),
                f"FREQ=DAILY;COUNT=100000000;{TIMES}",
            )
        ),
    ],
    ids=range(13),
)
def test_what_never_comes_is_said_in_time(schedule):
    """A schedule that names no time, or has too much before it, is a clear error."""
    started = time.monotonic()
    with pytest.raises(SpecValidationError, match=NEVER):
        next_runs(schedule, 5, AFTER)
    assert time.monotonic() - started < SECONDS


@pytest.mark.parametrize(
    "schedule",
    [
        IntervalSchedule(interval=dt.timedelta(microseconds=1)),
        IntervalSchedule(interval=dt.timedelta(days=999_999_999)),
        IntervalSchedule(interval=1, anchor_date="0002-01-01T00:00:00+14:00"),
        IntervalSchedule(interval=86400, anchor_date="0002-01-01T00:00:00-14:00"),
        IntervalSchedule(interval=86400, anchor_date="9998-12-31T23:59:59-14:00"),
        CronSchedule(cron="* * * * * *"),
        CronSchedule(cron="* * * * * *", timezone="Europe/Berlin"),
        RRuleSchedule(rrule="DTSTART:00010101\nFREQ=SECONDLY"),
        RRuleSchedule(rrule="DTSTART:99991231T235959Z\nFREQ=SECONDLY", timezone="UTC"),
        RRuleSchedule(rrule="FREQ=MINUTELY;INTERVAL=999999999"),
        RRuleSchedule(rrule="FREQ=YEARLY;INTERVAL=999999999"),
        RRuleSchedule(rrule=f"FREQ=DAILY;{TIMES}"),
    ],
    ids=range(12),
)
@pytest.mark.parametrize(
    "after", [AFTER, dt.datetime.min.replace(tzinfo=UTC), dt.datetime.max.replace(tzinfo=UTC)]
)
def test_extremes_are_answered_in_time(schedule, after):
    """Beginnings and ends of the calendar, tiny and huge intervals: runs, none, or a clear error."""
    started = time.monotonic()
    try:
        runs = next_runs(schedule, 10**9, after)
    except SpecValidationError:
        runs = ()
    assert time.monotonic() - started < SECONDS
    assert len(runs) <= COUNT_CAP
    assert list(runs) == sorted(set(runs))


def test_a_date_that_leaves_the_calendar_in_its_zone_is_said():
    """What is no date in the schedule's zone is a clear error."""
    schedule = RRuleSchedule(rrule="DTSTART:00010101T000000Z\nFREQ=DAILY", timezone="America/New_York")
    with pytest.raises(SpecValidationError, match="leads out of the calendar"):
        next_runs(schedule, 1, AFTER)


def test_a_profiler_stays_as_it_was():
    """The hook that ends a search is taken away, and the one that was there is put back."""
    seen = []

    def hook(*event):
        seen.append(event)

    sys.setprofile(hook)
    try:
        next_runs(CronSchedule(cron="* * * * *"), 1, AFTER)
        assert sys.getprofile() is hook
        with pytest.raises(SpecValidationError):
            next_runs(CronSchedule(cron="0 0 31 2 *"), 1, AFTER)
        assert sys.getprofile() is hook
    finally:
        sys.setprofile(None)


def test_a_profiler_of_the_interpreters_own_goes_on():
    """One written in C is no function that could be put back: it is never taken away."""
    profiler = cProfile.Profile()
    profiler.enable()
    try:
        assert len(next_runs(CronSchedule(cron="0 0 * * *"), 3)) == 3
    finally:
        profiler.disable()
    assert any("next_runs" in str(entry.code) for entry in profiler.getstats())


def test_an_interrupt_ends_a_search_and_leaves_nothing_behind():
    """It is the caller's, and comes through."""

    def interrupt(*_):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    try:
        with pytest.raises(KeyboardInterrupt):
            next_runs(RRuleSchedule(rrule="FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30"), 1, seconds=1.0)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert sys.getprofile() is None
    until = time.monotonic() + 5
    while any(thread.name == "flow-loader-next-runs" for thread in threading.enumerate()):
        assert time.monotonic() < until
        time.sleep(0.01)
