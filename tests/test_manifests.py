"""Manifests: each spec with all its fields and its place."""

import datetime as dt
from uuid import UUID

import pytest

from loader.flow_runners import DockerFlowRunner, SubprocessFlowRunner, UniversalFlowRunner
from loader.manifests import KEYS, parse
from loader.schedules import CronSchedule, IntervalSchedule, RRuleSchedule
from loader.storage import LocalStorageBlock, S3StorageBlock

PLACE = "/srv/flows/deployments.yaml"
MAY = {"anchor_date": dt.datetime(2022, 5, 1, tzinfo=dt.UTC)}
SPEC = "name: a\nflow_location: f.py\n"


def only(text, location=PLACE):
    """The spec of a manifest that holds one, without mistakes."""
    (entry,) = parse(text, location)
    assert entry.problems == ()
    return entry.spec


# --- what a manifest may hold --------------------------------------------------------------------


def test_every_key_of_a_spec_is_read():
    """A spec has the same fields as in a script, but for the flow itself."""
    spec = only("""
name: nightly
flow_name: etl
flow_location: flows/etl.py
flow_storage: {type: S3 Storage, config: {bucket: b, aws_secret_access_key: hunter2}}
parameters: {rows: 10, tables: [x, y], deep: {when: 2022-05-01, at: 2022-05-01T10:00:00Z, none: null}}
schedule: {interval: 3600, timezone: Europe/Berlin}
tags: [a, b]
flow_runner: {type: docker, config: {image: "python:3.12", env: {A: b}}}
""")
    assert set(KEYS) == set(type(spec).model_fields) - {"flow"}
    assert (spec.name, spec.flow_name, spec.flow_location) == ("nightly", "etl", "/srv/flows/flows/etl.py")
    assert spec.flow_storage == S3StorageBlock(bucket="b", aws_secret_access_key="hunter2")
    assert spec.parameters == {
        "rows": 10,
        "tables": ["x", "y"],
        "deep": {"when": "2022-05-01", "at": "2022-05-01T10:00:00+00:00", "none": None},
    }
    assert spec.schedule == IntervalSchedule(interval=dt.timedelta(hours=1), timezone="Europe/Berlin")
    assert spec.tags == ("a", "b")
    assert spec.flow_runner == DockerFlowRunner(image="python:3.12", env={"A": "b"})
    assert (spec.file, spec.line) == (PLACE, 2)


def test_only_the_location_must_be_given():
    """Everything else has a default, or is found out from the flow."""
    spec = only("flow_location: f.py")
    assert (spec.name, spec.schedule, spec.flow_storage) == (None, None, None)
    assert spec.flow_runner == UniversalFlowRunner()


@pytest.mark.parametrize(
    ("yaml", "kind", "fields"),
    [
        ("{cron: '0 9 * * 1', timezone: UTC}", CronSchedule, {"cron": "0 9 * * 1", "timezone": "UTC"}),
        ("{cron: 0 9 * * 1, day_or: no}", CronSchedule, {"cron": "0 9 * * 1", "day_or": False}),
        ("{rrule: 'FREQ=DAILY;COUNT=3'}", RRuleSchedule, {"rrule": "FREQ=DAILY;COUNT=3"}),
        ("{interval: 60, anchor_date: 2022-05-01}", IntervalSchedule, MAY | {"interval": 60}),
        ("{interval: 60, anchor_date: 2022-05-01 00:00:00}", IntervalSchedule, MAY | {"interval": 60}),
        ("{interval: 60, anchor_date: '2022-05-01T00:00Z'}", IntervalSchedule, MAY | {"interval": 60}),
    ],
)
def test_each_kind_of_schedule_is_read(yaml, kind, fields):
    """One key tells them apart; dates may be written as YAML has them."""
    assert only(f"{SPEC}schedule: {yaml}").schedule == kind(**fields)


@pytest.mark.parametrize(
    ("yaml", "seconds"),
    [
        ("1:00:00", 3600),
        ("'1:00:00'", 3600),
        ("1:30:00", 5400),
        ("0:30:00", 1800),
        ("00:00:30", 30),
        ("90", 90),
        ("1.5", 1.5),
        ("PT1H", 3600),
    ],
)
def test_an_interval_is_what_it_looks_like(yaml, seconds):
    """Whether YAML takes a clock for a number or not, quoted or not, an hour is an hour."""
    assert only(f"{SPEC}schedule:\n  interval: {yaml}").schedule.interval == dt.timedelta(seconds=seconds)


def test_a_runner_is_named_or_described():
    """Its type alone stands for its defaults."""
    assert only(f"{SPEC}flow_runner: subprocess").flow_runner == SubprocessFlowRunner()
    assert only(f"{SPEC}flow_runner: {{type: subprocess}}").flow_runner == SubprocessFlowRunner()
    described = only(f"{SPEC}flow_runner:\n  type: subprocess\n  config:\n    condaenv: x").flow_runner
    assert described == SubprocessFlowRunner(condaenv="x")


def test_storage_is_a_uuid_or_described():
    """A UUID is that of a block that the client knows."""
    identity = "0b8bd9a4-8c24-4b7c-9f0e-5a4c6f1f8a10"
    assert only(f"{SPEC}flow_storage: {identity}").flow_storage == UUID(identity)
    described = only(
        f"{SPEC}flow_storage: {{type: Local Storage, config: {{storage_path: /x}}}}"
    ).flow_storage
    assert described == LocalStorageBlock(storage_path="/x")


@pytest.mark.parametrize(
    ("manifest", "written", "expected"),
    [
        ("/srv/flows/m.yaml", "f.py", "/srv/flows/f.py"),
        ("/srv/flows/m.yaml", "./sub/../f.py", "/srv/flows/f.py"),
        ("/srv/flows/m.yaml", "../f.py", "/srv/f.py"),
        ("/srv/flows/m.yaml", "/elsewhere/f.py", "/elsewhere/f.py"),
        ("/srv/flows/m.yaml", "s3://bucket/f.py", "s3://bucket/f.py"),
        ("/srv/flows/m.yaml", "a b://f.py", "/srv/flows/a b:/f.py"),
        ("s3://bucket/flows/m.yaml", "sub/f.py", "s3://bucket/flows/sub/f.py"),
        ("https://example.org/flows/m.yaml", "../f.py", "https://example.org/f.py"),
    ],
)
def test_a_relative_location_is_beside_the_manifest(manifest, written, expected):
    """Where the caller's working directory is does not matter; what was written is kept."""
    (entry,) = parse(f"flow_location: {written}", manifest)
    assert (entry.spec.flow_location, entry.written) == (expected, written)


def test_a_relative_location_may_not_lead_above_a_bucket():
    """There is nothing there."""
    (entry,) = parse("name: a\nflow_location: ../../f.py", "s3://bucket/m.yaml")
    assert entry.spec is None
    assert [str(problem) for problem in entry.problems] == [
        "line 2: key 'flow_location': cannot load '../../f.py':"
        " it leads out of what s3://bucket/m.yaml lies in"
    ]


# --- several specs -------------------------------------------------------------------------------


def test_documents_and_lists_hold_several_specs_each_with_its_place():
    """Both forms mix; a spec's place is that of its first key, whatever stands before it."""
    text = (
        "# a comment\n"
        "name: a\nflow_location: f.py\n"
        "---\n"
        "# another\n"
        "- name: b\n  flow_location: f.py\n"
        "-\n"
        "  # indented\n"
        "  name: c\n  flow_location: f.py\n"
        "- {flow_location: f.py, name: d}\n"
        "--- {name: e, flow_location: f.py}\n"
        "...\n"
        "---\n"
        "? name\n: f\nflow_location: f.py\n"
    )
    found = [(entry.spec.name, entry.line, entry.column) for entry in parse(text, PLACE)]
    assert found == [("a", 2, 1), ("b", 6, 3), ("c", 10, 3), ("d", 12, 4), ("e", 13, 6), ("f", 16, 3)]


@pytest.mark.parametrize(
    "text", ["", "# nothing", "---\n---\n\n---\n# x\n", "[]", "--- ~\n", b"", b"\xef\xbb\xbf"]
)
def test_empty_documents_hold_no_specs(text):
    """Neither are they a mistake."""
    assert parse(text, PLACE) == ()


def test_two_equal_specs_are_two():
    """Nothing overwrites another in silence."""
    one, two = parse(f"{SPEC}---\n{SPEC}", PLACE)
    assert one.spec != two.spec or one.spec is not two.spec
    assert (one.spec.line, two.spec.line) == (1, 4)
    assert len({entry.spec: entry.line for entry in (one, two)}) == 2


def test_lines_may_end_as_on_any_machine():
    """Windows and old machines included; UTF-8 may be marked as such."""
    for end in ("\n", "\r\n", "\r"):
        text = "\ufeff" + f"{SPEC}---\n{SPEC}".replace("\n", end)
        assert [entry.line for entry in parse(text.encode(), PLACE)] == [1, 4]
        assert [entry.spec.name for entry in parse(text, PLACE)] == ["a", "a"]


def test_names_of_any_script_are_read():
    """A manifest is UTF-8."""
    assert only("name: ночь 夜\nflow_location: ф.py".encode()).name == "ночь 夜"
