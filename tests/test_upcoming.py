"""When schedules run next: right across clock changes, equal to counting by hand, and never slow."""

import datetime as dt
import itertools
from zoneinfo import ZoneInfo

import pytest
from dateutil import rrule as dateutil
from hypothesis import given, settings
from hypothesis import strategies as st

from loader.errors import SpecValidationError
from loader.schedules import CronSchedule, IntervalSchedule, RRuleSchedule
from loader.upcoming import next_runs

UTC = dt.UTC
AFTER = dt.datetime(2022, 5, 1, 12, tzinfo=UTC)
SPRING, AUTUMN = dt.datetime(2022, 3, 26, 23, tzinfo=UTC), dt.datetime(2022, 10, 29, 22, tzinfo=UTC)
"""Midnight in Berlin, before 2:00 becomes 3:00 and before 3:00 becomes 2:00."""
ZONES = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Asia/Kathmandu",
    "America/Santiago",
]


def wall(year, month=1, day=1):
    """A wall-clock time."""
    return dt.datetime(year, month, day)  # noqa: DTZ001 - as it should be


def shown(schedule, count, after=AFTER):
    return [run.isoformat()[:16] + run.isoformat()[-6:] for run in next_runs(schedule, count, after)]


# --- intervals -----------------------------------------------------------------------------------


def test_runs_are_strictly_after():
    """A run at the very moment is not a next one."""
    assert next_runs(IntervalSchedule(interval=3600), 2, AFTER) == (
        AFTER + dt.timedelta(hours=1),
        AFTER + dt.timedelta(hours=2),
    )
    before = AFTER - dt.timedelta(microseconds=1)
    assert next_runs(CronSchedule(cron="0 12 * * *"), 1, before) == (AFTER,)
    assert next_runs(CronSchedule(cron="0 12 * * *"), 1, AFTER) == (AFTER + dt.timedelta(days=1),)
    assert next_runs(RRuleSchedule(rrule="FREQ=DAILY;BYHOUR=12"), 1, AFTER) == (AFTER + dt.timedelta(days=1),)


def test_now_is_the_default():
    """Without a moment the next run is after now, and one without a zone is UTC."""
    (run,) = next_runs(IntervalSchedule(interval=60), 1)
    assert dt.timedelta(0) < run - dt.datetime.now(UTC) <= dt.timedelta(minutes=1)
    assert next_runs(IntervalSchedule(interval=60), 3, AFTER.replace(tzinfo=None)) == next_runs(
        IntervalSchedule(interval=60), 3, AFTER
    )


def test_whole_days_keep_the_time_of_the_clock():
    """A day that has 23 or 25 hours is a day."""
    schedule = IntervalSchedule(interval=86400, timezone="Europe/Berlin")
    assert shown(schedule, 2, SPRING) == ["2022-03-28T00:00+02:00", "2022-03-29T00:00+02:00"]
    assert shown(schedule, 2, AUTUMN) == ["2022-10-31T00:00+01:00", "2022-11-01T00:00+01:00"]


def test_hours_are_hours():
    """Intervals that are no whole days do not look at the clock."""
    schedule = IntervalSchedule(interval=6 * 3600, timezone="Europe/Berlin")
    assert shown(schedule, 3, SPRING) == [
        "2022-03-27T07:00+02:00",
        "2022-03-27T13:00+02:00",
        "2022-03-27T19:00+02:00",
    ]


def test_an_anchor_date_is_a_point_and_no_beginning():
    """Runs are counted from it backwards, too, in its own zone."""
    schedule = IntervalSchedule(interval="2 days, 0:00:00", anchor_date="2030-01-01T05:30:00+05:30")
    assert shown(schedule, 2) == ["2022-05-03T05:30+05:30", "2022-05-05T05:30+05:30"]


spans = st.timedeltas(min_value=dt.timedelta(microseconds=1), max_value=dt.timedelta(days=40))
moments = st.datetimes(min_value=wall(2019), max_value=wall(2025), timezones=st.just(UTC))


@given(spans.filter(lambda span: span % dt.timedelta(days=1)), moments, moments, st.integers(1, 20))
def test_intervals_are_whole_multiples_from_the_anchor(span, anchor, after, count):
    """All runs are, none is left out, and the first is the first."""
    runs = next_runs(IntervalSchedule(interval=span, anchor_date=anchor), count, after)
    assert len(runs) == count
    assert all((run - anchor) % span == dt.timedelta(0) for run in runs)
    assert all(later - run == span for run, later in itertools.pairwise(runs))
    assert after < runs[0] <= after + span


@given(st.integers(1, 20), st.sampled_from(ZONES), moments, st.integers(1, 20))
def test_whole_days_are_those_of_the_clock(days, zone, after, count):
    """By hand: every so many days from 2020, at midnight, or as late as midnight is skipped."""
    place = ZoneInfo(zone)
    runs = next_runs(IntervalSchedule(interval=days * 86400, timezone=zone), count, after)
    clock = wall(2019) + (wall(2020) - wall(2019)) % dt.timedelta(days=days)
    expected = []
    while len(expected) < count:
        moment = clock.replace(tzinfo=place).astimezone(UTC)
        expected += [moment] if moment > after else []
        clock += dt.timedelta(days=days)
    assert [run.astimezone(UTC) for run in runs] == expected


# --- cron ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "after", "expected"),
    [
        ("30 2 * * *", SPRING, ["2022-03-27T03:00+02:00", "2022-03-28T02:30+02:00"]),
        (
            "0,30 2,3 * * *",
            SPRING,
            ["2022-03-27T03:00+02:00", "2022-03-27T03:30+02:00", "2022-03-28T02:00+02:00"],
        ),
        ("0 * * * *", SPRING, ["2022-03-27T01:00+01:00", "2022-03-27T03:00+02:00", "2022-03-27T04:00+02:00"]),
        ("*/30 2 * * *", SPRING, ["2022-03-28T02:00+02:00"]),
        ("30 2 * * *", AUTUMN, ["2022-10-30T02:30+02:00", "2022-10-31T02:30+01:00"]),
        ("@daily", AUTUMN, ["2022-10-31T00:00+01:00"]),
        (
            "@hourly",
            AUTUMN,
            [
                "2022-10-30T01:00+02:00",
                "2022-10-30T02:00+02:00",
                "2022-10-30T02:00+01:00",
                "2022-10-30T03:00+01:00",
            ],
        ),
        (
            "*/30 2 * * *",
            AUTUMN,
            [
                "2022-10-30T02:00+02:00",
                "2022-10-30T02:30+02:00",
                "2022-10-30T02:00+01:00",
                "2022-10-30T02:30+01:00",
            ],
        ),
    ],
)
def test_cron_across_a_change_of_the_clock(line, after, expected):
    """What recurs by real time does in each real hour; what names a time runs once for it."""
    schedule = CronSchedule(cron=line, timezone="Europe/Berlin")
    assert shown(schedule, len(expected), after) == expected


def test_the_moment_in_the_middle_of_a_change_does_not_matter():
    """Asking again from each run gives the same runs, in a repeated hour and around a gap too."""
    for line in ("*/30 * * * *", "30 2 * * *", "0 3 * * *"):
        schedule = CronSchedule(cron=line, timezone="Europe/Berlin")
        for start in (SPRING, AUTUMN):
            runs = next_runs(schedule, 12, start)
            for number, run in enumerate(runs[:-1]):
                assert next_runs(schedule, 1, run) == (runs[number + 1],)


def test_a_skipped_time_is_still_to_come_after_the_gap():
    """A rule's time in the skipped hour is as much later, also for whoever asks in between."""
    schedule = RRuleSchedule(rrule="FREQ=DAILY;BYHOUR=2;BYMINUTE=45", timezone="Europe/Berlin")
    half_past_three = SPRING + dt.timedelta(hours=2, minutes=30)
    assert shown(schedule, 1, half_past_three) == ["2022-03-27T03:45+02:00"]


def test_both_days_of_a_line_are_either_or_both():
    """`day_or` says whether the day of the month and that of the week must both fit."""
    either = CronSchedule(cron="0 0 13 * 5")
    both = CronSchedule(cron="0 0 13 * 5", day_or=False)
    assert shown(either, 3) == ["2022-05-06T00:00+00:00", "2022-05-13T00:00+00:00", "2022-05-20T00:00+00:00"]
    assert shown(both, 2) == ["2022-05-13T00:00+00:00", "2023-01-13T00:00+00:00"]


@settings(max_examples=60)
@given(
    st.sampled_from([1, 7, 10, 15, 30]),
    st.sampled_from(["*", "*/2", "*/5"]),
    st.sampled_from(ZONES),
    st.sampled_from([SPRING, AUTUMN, AFTER, dt.datetime(2022, 4, 2, 13, tzinfo=UTC)]),
    st.integers(0, 86_400),
)
def test_cron_by_real_time_is_each_minute_that_fits(step, hours, zone, start, offset):
    """By hand: every real minute whose clock the line names."""
    after, place = start + dt.timedelta(seconds=offset), ZoneInfo(zone)
    runs = next_runs(CronSchedule(cron=f"*/{step} {hours} * * *", timezone=zone), 30, after)
    every = int(hours[2:] or 1)
    minute, expected = after.replace(second=0), []
    while len(expected) < 30:
        wall = minute.astimezone(place)
        if minute > after and wall.minute % step == 0 and wall.hour % every == 0:
            expected.append(minute)
        minute += dt.timedelta(minutes=1)
    assert [run.astimezone(UTC) for run in runs] == expected


# --- recurrence rules ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "after", "expected"),
    [
        ("FREQ=DAILY;BYHOUR=2;BYMINUTE=30", SPRING, ["2022-03-27T03:30+02:00", "2022-03-28T02:30+02:00"]),
        ("FREQ=DAILY;BYHOUR=2;BYMINUTE=30", AUTUMN, ["2022-10-30T02:30+02:00", "2022-10-31T02:30+01:00"]),
        ("FREQ=WEEKLY", AFTER, ["2022-05-04T00:00+02:00", "2022-05-11T00:00+02:00"]),
        (
            "DTSTART:20220502T090000\nFREQ=DAILY;COUNT=2",
            AFTER,
            ["2022-05-02T09:00+02:00", "2022-05-03T09:00+02:00"],
        ),
        ("DTSTART:20220502T090000Z\nFREQ=DAILY;UNTIL=20220502T090000Z", AFTER, ["2022-05-02T11:00+02:00"]),
        (
            "DTSTART;TZID=Asia/Tokyo:20220502T090000\nRRULE:FREQ=DAILY;COUNT=1",
            AFTER,
            ["2022-05-02T02:00+02:00"],
        ),
        (
            "DTSTART:20220502T090000\nRRULE:FREQ=DAILY;COUNT=4\nEXDATE:20220503T090000\nRDATE:20220502T200000",
            AFTER,
            [
                "2022-05-02T09:00+02:00",
                "2022-05-02T20:00+02:00",
                "2022-05-04T09:00+02:00",
                "2022-05-05T09:00+02:00",
            ],
        ),
        (
            "RRULE:FREQ=DAILY\nEXRULE:FREQ=WEEKLY;BYDAY=MO,TU,WE,TH",
            AFTER,
            [
                "2022-05-06T00:00+02:00",
                "2022-05-07T00:00+02:00",
                "2022-05-08T00:00+02:00",
                "2022-05-13T00:00+02:00",
            ],
        ),
        ("RDATE:20220502,20200101", AFTER, ["2022-05-02T00:00+02:00"]),
        ("FREQ=DAILY;COUNT=3", AFTER, []),
        ("FREQ=DAILY;UNTIL=20210101", AFTER, []),
    ],
)
def test_rules_are_of_the_clock(rule, after, expected):
    """A rule's times are those of its zone's clock; it begins in 2020 unless it says otherwise."""
    schedule = RRuleSchedule(rrule=rule, timezone="Europe/Berlin")
    assert shown(schedule, max(2, len(expected)), after)[: len(expected) or 2] == expected


rules = st.builds(
    lambda *parts: ";".join(part for part in parts if part),
    st.sampled_from(
        [f"FREQ={name}" for name in ("YEARLY", "MONTHLY", "WEEKLY", "DAILY", "HOURLY", "MINUTELY")]
    ),
    st.sampled_from(["", "INTERVAL=2", "INTERVAL=3", "INTERVAL=5", "INTERVAL=100"]),
    st.sampled_from(["", "COUNT=5", "COUNT=40", "UNTIL=20200301T120000"]),
    st.sampled_from(["", "BYDAY=MO", "BYDAY=SA,SU", "BYMONTHDAY=1,15,-1", "BYMONTH=1,2"]),
    st.sampled_from(["", "BYSETPOS=1", "BYSETPOS=-1"]),
    st.sampled_from(["", "WKST=SU"]),
)


@pytest.mark.slow
@settings(max_examples=150)
@given(rules, st.datetimes(wall(2020), wall(2020, 2)), st.integers(-3, 70))
def test_rules_that_are_entered_late_are_the_same(text, start, days):
    """By hand: what dateutil gives from the very beginning, less what has passed."""
    text = f"DTSTART:{start:%Y%m%dT%H%M%S}\n{text}"
    after = start.replace(microsecond=0) + dt.timedelta(days=days)
    expected = []
    for clock in dateutil.rrulestr(text):
        expected += [clock] if clock > after else []
        if len(expected) == 8 or clock.year > 2080:
            break
    runs = next_runs(RRuleSchedule(rrule=text), 8, after.replace(tzinfo=UTC))
    assert [run.replace(tzinfo=None) for run in runs][: len(expected)] == expected
    assert len(runs) == len(expected) or expected[-1].year > 2080


@settings(max_examples=60)
@given(
    st.one_of(
        st.builds(lambda line, zone: CronSchedule(cron=line, timezone=zone),
                  st.sampled_from(["*/7 * * * *", "5 4 * * *", "0 22 * * 1-5", "30 2 1 * *"]),
                  st.sampled_from(ZONES)),
        st.builds(lambda text, zone: RRuleSchedule(rrule=text, timezone=zone), rules, st.sampled_from(ZONES)),
    ),
    moments,
)  # fmt: skip
def test_runs_are_in_order_and_in_their_zone(schedule, after):
    """Sorted, each once, strictly after, and of the schedule's zone."""
    try:
        runs = next_runs(schedule, 20, after)
    except SpecValidationError:
        return
    utc = [run.astimezone(UTC) for run in runs]
    assert utc == sorted(set(utc))
    assert all(run > after for run in utc)
    assert {str(run.tzinfo) for run in runs} <= {dict(schedule)["timezone"]}
