"""What a Prefect server is sent, and how what it says is read: pure, on both sides."""

import datetime as dt
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loader.client.interface import DeploymentRequest, ScheduleRecord
from loader.client.prefect.bodies import creation, normal_schedule, restoration, schedules, sent_schedule
from loader.schedules import CronSchedule, IntervalSchedule, RRuleSchedule

KINDS = {"interval": IntervalSchedule, "cron": CronSchedule, "rrule": RRuleSchedule}

ZONES = st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata"])
INTERVALS = st.floats(0.001, 1e8)
MOMENTS = st.datetimes(
    dt.datetime(1971, 1, 1),  # noqa: DTZ001  # the zone is chosen apart
    dt.datetime(2099, 1, 1),  # noqa: DTZ001
    timezones=st.sampled_from([dt.UTC, dt.timezone(dt.timedelta(hours=5.5))]),
)
PLAIN = st.one_of(
    st.fixed_dictionaries({"interval": INTERVALS}, optional={"timezone": st.none() | ZONES}),
    st.fixed_dictionaries({"interval": INTERVALS, "anchor_date": MOMENTS.map(dt.datetime.isoformat)}),
    st.fixed_dictionaries(
        {"cron": st.just("0 0 * * *"), "timezone": st.none() | ZONES, "day_or": st.booleans()}
    ),
    st.fixed_dictionaries(
        {"rrule": st.sampled_from(["FREQ=DAILY", "RRULE:FREQ=DAILY;COUNT=2"]), "timezone": ZONES}
    ),
)


@given(PLAIN)
def test_a_normal_schedule_is_a_schedule_and_stays_as_it_is(schedule):
    """It is the plain form of the same kind, and normalising it again changes nothing."""
    normal = normal_schedule(schedule)
    assert normal_schedule(normal) == normal
    (kind,) = KINDS.keys() & normal.keys()
    assert KINDS[kind](**normal)


@given(PLAIN)
def test_what_is_sent_means_what_was_asked_for(schedule):
    """Nothing is sent that is None, and what is sent has the same normal form."""
    sent = sent_schedule(schedule)
    assert None not in sent.values()
    assert normal_schedule(sent) == normal_schedule(schedule)


def test_everything_is_said_when_a_deployment_is_created():
    """A server keeps what it is not told, so what is empty is said, but for pools, pauses and limits."""
    body = creation(DeploymentRequest(name="d", flow_id=uuid4()))
    assert set(body) == {*DeploymentRequest.model_fields} - {
        "flow_runner",
        "flow_data",
        "work_pool",
        "work_queue",
        "paused",
        "concurrency_limit",
        "concurrency_options",
        "parameter_schema",
    } | {"parameter_openapi_schema", "enforce_parameter_schema"}


def test_parameters_are_held_against_a_schema_only_where_there_is_one():
    """A server with no schema would refuse every parameter."""
    bare = DeploymentRequest(name="d", flow_id=uuid4(), parameters={"n": 1})
    assert not creation(bare)["enforce_parameter_schema"]
    assert creation(bare.model_copy(update={"parameter_schema": {}}))["enforce_parameter_schema"]


@pytest.mark.parametrize("created", [("2", "3", "4"), ("2", "2", "2"), (None, None, None)], ids=str)
def test_schedules_are_read_in_the_order_of_the_request(created):
    """A server gives them last first, and a coarse clock makes several at one moment."""
    made = [{"schedule": {"cron": str(index)}, "created": moment} for index, moment in enumerate(created)]
    assert schedules({"schedules": made[::-1]}) == made


def test_a_schedule_that_was_changed_later_keeps_its_place():
    """A server gives it first then, whenever it was made."""
    made = [{"schedule": {"cron": str(index)}, "created": f"2026-01-0{index + 1}"} for index in range(3)]
    assert schedules({"schedules": [made[0], made[2], made[1]]}) == made


def test_a_deployment_is_restored_with_what_only_the_server_knew():
    """Its queue, its schedules' names and parameters, and whether parameters are checked."""
    schedule = {"schedule": {"cron": "0 0 * * *"}, "active": False, "slug": "s", "parameters": {"n": 1}}
    raw = {
        "id": "x",
        "name": "d",
        "work_pool_name": "pool",
        "work_queue_name": "urgent",
        "enforce_parameter_schema": False,
        "schedules": [{**schedule, "id": "y", "created": "2026", "max_scheduled_runs": None}],
        "status": "READY",
    }
    body = restoration(raw)
    assert body["schedules"] == [schedule]
    assert (body["work_queue_name"], body["enforce_parameter_schema"]) == ("urgent", False)
    assert not {"id", "status"} & set(body)
    assert not {"work_pool_name", "work_queue_name"} & set(
        restoration({**raw, "work_pool_name": None, "work_queue_name": None})
    )


def test_schedules_of_a_request_keep_whether_they_are_active():
    """One that is switched off is sent so."""
    record = ScheduleRecord(schedule={"cron": "0 0 * * *", "timezone": None}, active=False)
    body = creation(DeploymentRequest(name="d", flow_id=uuid4(), schedules=(record,)))
    assert body["schedules"] == [{"schedule": {"cron": "0 0 * * *"}, "active": False}]
