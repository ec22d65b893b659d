"""What a schedule may say: what scripts can make is taken or refused with a reason that names the field."""

import contextlib
import datetime as dt
import time
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from loader.schedules import CLAIMED, KINDS, CronSchedule, IntervalSchedule, RRuleSchedule
from worker.dialects.orion import schedules as scripts
from worker.plain import plain


def mistake(kind, **fields):
    """The one mistake of a schedule: its field and what is said of it."""
    with pytest.raises(ValidationError) as caught:
        kind(**fields)
    (error,) = caught.value.errors()
    return ".".join(map(str, error["loc"])), error["msg"]


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        (3600, 3600),
        (1.5, 1.5),
        ("3600", 3600),
        ("1e3", 1000),
        ("1:00:00", 3600),
        ("2 days, 1:00:00", 176_400),
        ("PT1H30M", 5400),
        ("P1W", 604_800),
        (dt.timedelta(days=1), 86_400),
    ],
)
def test_intervals_are_written_in_several_ways(given, seconds):
    """Seconds, a clock's time, ISO 8601."""
    assert IntervalSchedule(interval=given).interval.total_seconds() == seconds


@pytest.mark.parametrize("given", [0, -1, "-1:00:00", "-PT1H", dt.timedelta(0)])
def test_an_interval_is_positive(given):
    """The message is the seed's."""
    assert mistake(IntervalSchedule, interval=given) == ("interval", "The interval must be positive")


@pytest.mark.parametrize(
    "given",
    [True, None, "", "soon", "nan", "inf", float("nan"), 1e300, 10**30, "9999999999 1:00", "9" * 400, [1]],
)
def test_what_is_no_length_of_time_is_said(given):
    """One message, whatever it is instead."""
    assert mistake(IntervalSchedule, interval=given) == (
        "interval",
        "a length of time is due, like 3600, '1:00:00' or 'PT1H'",
    )


def test_a_timezone_is_known_here():
    """The message is the seed's, with an anchor date too; no path is one."""
    for zone in (
        "Mars/Olympus",
        "",
        "../../etc/passwd",
        "/etc/localtime",
        "America",
        "\0",
        "x" * 5000,
        "\ud800",
    ):
        for kind, fields in ((CronSchedule, {"cron": "* * * * *"}), (RRuleSchedule, {"rrule": "FREQ=DAILY"})):
            assert mistake(kind, timezone=zone, **fields) == (
                "timezone",
                f'Invalid timezone: "{zone}"'.replace("\ud800", r"\ud800"),
            )
    both = {"interval": 1, "anchor_date": "2022-01-01T00:00:00", "timezone": "Mars/Olympus"}
    assert mistake(IntervalSchedule, **both)[1] == "Specify an anchor date or a timezone, but not both."


def test_an_anchor_date_has_a_zone():
    """Its own, or UTC; offsets of old zones with seconds are read."""
    assert IntervalSchedule(interval=1, anchor_date="2022-01-01T00:00:00").anchor_date.tzinfo == dt.UTC
    old = IntervalSchedule(interval=1, anchor_date="1900-01-01T00:00:00+00:53:28").anchor_date
    assert old.utcoffset() == dt.timedelta(minutes=53, seconds=28)
    assert mistake(IntervalSchedule, interval=1, anchor_date="0001-01-01T00:00:00")[0] == "anchor_date"
    assert mistake(IntervalSchedule, interval=1, anchor_date="soon")[0] == "anchor_date"


def test_unknown_fields_are_refused():
    """A field that is not there is named."""
    assert mistake(CronSchedule, cron="* * * * *", when=1)[0] == "when"


@pytest.mark.parametrize(
    "line",
    [
        "",
        "* * * *",
        "60 * * * *",
        "* * 32 * *",
        "* * * 13 *",
        "@sometimes",
        "R * * * *",
        "H H * * *",
        "a" * 500,
    ],
)
def test_a_cron_line_must_be_one(line):
    """The message is the seed's; what another reader would take for another time is refused."""
    assert mistake(CronSchedule, cron=line) == ("cron", f'Invalid cron string: "{line[:200]}"')


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        ("", "it says no FREQ"),
        ("BYDAY=MO", "it says no FREQ"),
        ("EXRULE:FREQ=DAILY", "it says no FREQ"),
        ("FREQ=OFTEN", "invalid 'FREQ': OFTEN"),
        ("FREQ=DAILY;INTERVAL=0", "INTERVAL must be a number from 1"),
        ("FREQ=DAILY;INTERVAL=-1", "INTERVAL must be a number from 1"),
        ("FREQ=DAILY;BYMONTH=13", "BYMONTH holds numbers from 1 to 12"),
        ("FREQ=DAILY;BYHOUR=24", "BYHOUR holds numbers from 0 to 23"),
        ("FREQ=DAILY;COUNT=1;UNTIL=20220101", "it has both COUNT and UNTIL"),
        ("FREQ=DAILY;UNTIL=soon", "UNTIL must be written like 20200131T090000"),
        ("DTSTART:10\nFREQ=DAILY", "DTSTART must be written like 20200131T090000"),
        ("DTSTART:20220101T090000 EST\nFREQ=DAILY", "invalid"),
        ("DTSTART;TZID=Mars/Olympus:20220101\nFREQ=DAILY", "Invalid timezone"),
        ("DTSTART;;TZID=/SRV/SECRET:20200101T000000\nFREQ=DAILY", "neither a rule nor dates"),
        ("FREQ=DAILY\nEXDATE;;TZID=../../SRV/X:20200101", "neither a rule nor dates"),
        ("FREQ=DAILY;;TZID=/SRV/SECRET:20200101", "neither a rule nor dates"),
        ("\n".join(["RRULE:FREQ=DAILY"] * 5), "more than 4000 characters or 4 rules"),
        ("FREQ=DAILY;BYDAY=" + "MO," * 2000 + "MO", "more than 4000 characters or 4 rules"),
        ("FREQ=DAILY;X=1", "unknown parameter 'X'"),
    ],
)
def test_a_rule_must_be_one(rule, reason):
    """The text is checked, and the reason is given."""
    field, message = mistake(RRuleSchedule, rrule=rule)
    assert field == "rrule"
    assert message.startswith('Invalid rrule string: "')
    if reason != "invalid":
        assert reason in message


@given(st.text(max_size=300) | st.text(alphabet="FREQ=DAILY;:,\nBYMOTH0123456789+-TZ", max_size=300))
def test_no_text_of_a_rule_breaks_or_delays_the_check(text):
    """Whatever is written is taken or refused, at once."""
    started = time.process_time()
    for rule in (text, f"FREQ=DAILY;{text}", f"DTSTART:{text}\nFREQ=DAILY", f"RDATE:{text}"):
        with contextlib.suppress(ValidationError):
            RRuleSchedule(rrule=rule)
    assert time.process_time() - started < 1


@pytest.mark.parametrize("line", ["\n".join(["FREQ=DAILY;BYHOUR={h};BYMINUTE={s}"] * 4), "RDATE:{dates}"])
def test_the_largest_texts_are_checked_at_once(line):
    """Lists that multiply, and as many dates as fit, are no trouble."""
    text = line.format(
        h=",".join(map(str, range(24))),
        s=",".join(map(str, range(60))),
        dates=",".join(["20200101T000000"] * 100),
    )
    started = time.process_time()
    RRuleSchedule(rrule=text)
    assert time.process_time() - started < 1


# --- both sides ----------------------------------------------------------------------------------

ZONES = [None, "UTC", "Europe/Berlin", "America/New_York"]
MADE_BY_SCRIPTS = [
    *({"interval": given} for given in (1, 0.5, "3600", "1:00", "2 days, 1:00:00", "P1W", "PT0.5S")),
    *({"interval": 60, "timezone": zone} for zone in ZONES),
    {"interval": 60, "anchor_date": dt.datetime(2022, 1, 1, tzinfo=ZoneInfo("Asia/Tokyo"))},
    {"interval": 60, "anchor_date": dt.datetime(1900, 1, 1, tzinfo=ZoneInfo("Europe/Berlin"))},
    {"interval": 60, "anchor_date": "2022-01-01T00:00:00Z"},
    {"interval": 60, "anchor_date": 1_600_000_000.5},
    *(
        {"cron": line, "timezone": "Europe/Berlin"}
        for line in ("* * * * *", "@daily", "0 0 * * mon-fri", "0 0 L * *")
    ),
    *(
        {"cron": line}
        for line in ("*/5 1,2 1-7 jan sun", "0 0 * * 5#3", "0 0 * * L5", "1 2 3 4 5 6", "0 0 ? * 1")
    ),
    {"cron": "0 0 1 * 1", "day_or": False},
    *(
        {"rrule": rule, "timezone": zone}
        for zone in ZONES
        for rule in ("FREQ=DAILY", "RRULE:FREQ=WEEKLY;BYDAY=MO,-1FR")
    ),
    {"rrule": "FREQ=DAILY;UNTIL=20220101T000000Z;BYHOUR=1,2;"},
    {"rrule": "DTSTART:20220101T090000\nRRULE:FREQ=YEARLY;BYEASTER=0;BYSETPOS=-1;WKST=SU"},
    {"rrule": "DTSTART;TZID=Europe/Berlin:20220101T090000\nFREQ=MONTHLY;COUNT=3\nEXDATE:20220201"},
    {"rrule": "RDATE:20220101T000000Z,20220102T000000Z"},
    {"rrule": "freq=daily;interval=2"},
]


@pytest.mark.parametrize("fields", MADE_BY_SCRIPTS, ids=str)
def test_what_a_script_makes_is_taken_as_it_says(fields):
    """What a script's schedule says of itself makes the same schedule here."""
    made = scripts.schedule(fields)
    (kind,) = (KINDS[name] for name in KINDS if name in fields)
    here = kind.model_validate(plain(made.dict()), context=dict(CLAIMED))
    assert here.plain() == {
        **plain(made.dict()),
        **({} if "timezone" in plain(made.dict()) else {"timezone": None}),
    }


@pytest.mark.parametrize(
    "fields",
    [
        {"rrule": "FREQ=DAILY;INTERVAL=99999999999999999999"},
        {"rrule": "FREQ=DAILY;COUNT=1;UNTIL=20220101"},
        {"rrule": "FREQ=DAILY;BYHOUR=99"},
        {"rrule": "DTSTART:whenever\nFREQ=DAILY"},
        {"rrule": "FREQ=HOURLY;INTERVAL=2;BYHOUR=1"},
        {"cron": "? * * * *"},
        {"interval": 1, "anchor_date": dt.datetime(1, 1, 1, tzinfo=dt.UTC)},
        {"interval": dt.timedelta.max},
    ],
    ids=str,
)
def test_what_only_a_script_takes_is_refused_with_a_reason(fields):
    """The script's side cannot check everything: what it lets through is one clear error here."""
    made = scripts.schedule(fields)
    (kind,) = (KINDS[name] for name in KINDS if name in fields)
    with pytest.raises(ValidationError) as caught:
        kind.model_validate(plain(made.dict()), context=dict(CLAIMED))
    (error,) = caught.value.errors()
    assert error["loc"][0] in fields
    assert "Invalid" in error["msg"] or "is due" in error["msg"]
