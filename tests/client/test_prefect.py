"""The client of a Prefect server, against a real one."""

import datetime as dt
import os
import threading
from contextlib import contextmanager
from uuid import uuid4

import pytest

from loader.client.interface import Client, DataDocument, DeploymentRequest, ScheduleRecord
from loader.client.prefect import PrefectServer
from loader.client.prefect.bodies import normal_schedule
from loader.errors import ClientError, ObjectNotFound
from tests.prefect_server import asking

pytestmark = pytest.mark.slow

SCHEMA = {
    "title": "Parameters",
    "type": "object",
    "properties": {"n": {"title": "n", "type": "integer", "default": 1}, "deep": {"title": "deep"}},
    "required": [],
    "definitions": {},
}
SCHEDULES = [
    {"interval": 3600.0},
    {"interval": 0.5, "timezone": None, "anchor_date": None},
    {"interval": 86400.0, "timezone": "Europe/Berlin"},
    {"interval": 60.25, "anchor_date": "2021-06-01T12:30:00.250000+02:00"},
    {"interval": 60.0, "anchor_date": "2021-06-01T00:00:00", "timezone": "America/New_York"},
    {"cron": "0 0 * * *", "timezone": None, "day_or": True},
    {"cron": "*/5 9-17 1 * 1-5", "timezone": "Asia/Tokyo", "day_or": False},
    {"rrule": "FREQ=DAILY;COUNT=3", "timezone": "UTC"},
    {"rrule": "DTSTART:20210101T090000\nRRULE:FREQ=WEEKLY;BYDAY=MO", "timezone": "Europe/Berlin"},
]
FULL = {
    "version": "1.0",
    "description": "Two lines.\nThe second: ü, 日本.",
    "parameters": {"n": 2, "deep": {"list": [1, 2.5, None, True, "ü\u202e"], "empty": {}}},
    "parameter_schema": SCHEMA,
    "schedules": (ScheduleRecord(schedule={"cron": "0 1 * * *", "timezone": "UTC", "day_or": True}),),
    "tags": ("b", "a", "ü"),
    "path": "/srv/flows",
    "entrypoint": "main.py:hello",
    "pull_steps": ({"prefect.deployments.steps.set_working_directory": {"directory": "/srv/flows"}},),
    "job_variables": {"env": {"MODE": "test"}},
}


@pytest.fixture
def server(prefect_url):
    with PrefectServer(prefect_url, timeout=30) as client:
        yield client


@pytest.fixture
def rest(prefect_url):
    """A callable that asks the server itself, past the client."""
    return asking(prefect_url)


@pytest.fixture
def name():
    return f"flow {uuid4().hex[:12]}"


@pytest.fixture
def pool(rest):
    """A work pool whose job variable ``cpu`` is a number."""
    pool = f"pool-{uuid4().hex[:12]}"
    variables = {"type": "object", "properties": {"cpu": {"type": "integer"}, "env": {"type": "object"}}}
    template = {"job_configuration": {"cpu": "{{ cpu }}", "env": "{{ env }}"}, "variables": variables}
    rest("POST", "/work_pools/", {"name": pool, "type": "process", "base_job_template": template})
    return pool


def flows(rest, name):
    return rest("POST", "/flows/filter", {"flows": {"name": {"any_": [name]}}})


def deployments(rest, flow_name):
    return rest("POST", "/deployments/filter", {"flows": {"name": {"any_": [flow_name]}}})


def comparable(raw):
    """What the server says of a deployment, without what changes with every write."""
    kept = {key: value for key, value in raw.items() if key not in {"updated", "updated_by", "schedules"}}
    times = ("id", "created", "updated")
    own = [{key: value for key, value in item.items() if key not in times} for item in raw["schedules"]]
    return kept, own


def test_it_is_a_client(server):
    """It has everything that a client has, and keeps no scripts."""
    assert isinstance(server, Client)
    assert not server.keeps_flows
    assert server.get_default_storage_block() is None


def test_a_flow_is_created_once(server, name):
    """The second time finds the first one."""
    first, second = server.create_flow(name), server.create_flow(name)
    assert (first.new, second.new) == (True, False)
    assert first.id == second.id
    found = server.read_flow(first.id)
    assert (found.id, found.name) == (first.id, name)
    assert abs(found.created - dt.datetime.now(dt.UTC)) < dt.timedelta(minutes=5)


@pytest.mark.parametrize(
    "odd", ["a b", "ünï 日本語 🙂", "..", "a?b=c#d", "q\"uo'te", "a\\b", "a:b;c,d", "[x]", "{{ x }}", "+"]
)
def test_names_may_hold_anything_but_what_is_forbidden(server, odd):
    """Names with spaces, other scripts and marks of URLs are kept and found as they are."""
    flow_name = f"{odd} {uuid4().hex[:8]}" if odd != ".." else odd
    flow = server.create_flow(flow_name)
    made = server.create_deployment(DeploymentRequest(name=odd, flow_id=flow.id))
    found = server.read_deployment_by_name(flow_name, odd)
    assert (found.id, found.name, found.flow_name) == (made.id, odd, flow_name)


@pytest.mark.parametrize("bad", ["", "a/b", "a%b", "a&b", "a>b", "a<b"])
def test_forbidden_names_are_refused_with_a_reason(server, name, bad):
    """What the server refuses, or fails at, is refused before it is asked."""
    with pytest.raises(ClientError, match=r"^cannot create flow .*: a name must not be empty or hold any of"):
        server.create_flow(bad)
    flow = server.create_flow(name)
    with pytest.raises(ClientError, match=r"^cannot create deployment .* of flow .*: a name must not"):
        server.create_deployment(DeploymentRequest(name=bad, flow_id=flow.id))


def test_a_deployment_comes_back_as_it_was_sent(server, name, pool):
    """Every field of a request is kept by the server."""
    flow = server.create_flow(name)
    request = DeploymentRequest(name="all of it", flow_id=flow.id, work_pool=pool, **FULL)
    made = server.create_deployment(request)
    found = server.read_deployment(made.id)
    assert made.new
    assert found.model_dump(include=set(DeploymentRequest.model_fields)) == request.model_dump()
    assert (found.id, found.flow_name) == (made.id, name)
    assert found == server.read_deployment_by_name(name, "all of it")


def test_a_deployment_with_nothing_but_a_name_is_kept(server, name):
    """What a request leaves open is empty."""
    request = DeploymentRequest(name="bare", flow_id=server.create_flow(name).id)
    found = server.read_deployment(server.create_deployment(request).id)
    assert found.model_dump(include=set(DeploymentRequest.model_fields)) == request.model_dump()


@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
def test_schedules_come_back_as_they_were_sent(server, name, schedule):
    """A schedule of each kind and zone means the same when it is read again."""
    record = ScheduleRecord(schedule=schedule, active=False)
    request = DeploymentRequest(name="d", flow_id=server.create_flow(name).id, schedules=(record,))
    (found,) = server.read_deployment(server.create_deployment(request).id).schedules
    assert found.schedule == normal_schedule(schedule)
    assert found.schedule == normal_schedule(found.schedule)
    assert not found.active


def test_several_schedules_keep_their_order(server, name):
    """They are given in the order of the request, which the server does not keep by itself."""
    records = tuple(
        ScheduleRecord(schedule=schedule, active=index % 2 == 0) for index, schedule in enumerate(SCHEDULES)
    )
    request = DeploymentRequest(name="d", flow_id=server.create_flow(name).id, schedules=records)
    found = server.read_deployment(server.create_deployment(request).id).schedules
    assert [item.schedule for item in found] == [normal_schedule(schedule) for schedule in SCHEDULES]
    assert [item.active for item in found] == [item.active for item in records]


def test_intervals_count_from_the_same_moment_every_time(server, rest, name):
    """An interval that says no anchor has that of its kind, not the moment at which it was sent."""
    record = ScheduleRecord(schedule={"interval": 60.0, "timezone": "Europe/Berlin"})
    request = DeploymentRequest(name="d", flow_id=server.create_flow(name).id, schedules=(record,))
    server.create_deployment(request)
    (raw,) = deployments(rest, name)
    assert raw["schedules"][0]["schedule"]["anchor_date"] == "2020-01-01T00:00:00+01:00"


@pytest.mark.parametrize(
    "schedule", [{"interval": 60.0, "timezone": "Nowhere/At_All"}, {"interval": 60, "anchor_date": "soon"}]
)
def test_schedules_that_cannot_be_read_are_refused(server, name, schedule):
    """What is no schedule is not sent."""
    record = ScheduleRecord(schedule=schedule)
    request = DeploymentRequest(name="d", flow_id=server.create_flow(name).id, schedules=(record,))
    with pytest.raises(
        ClientError, match=r"^cannot create deployment 'd' of flow '.*'; correct its schedule$"
    ):
        server.create_deployment(request)


def test_creating_again_is_an_update_that_clears_what_vanished(server, rest, name, pool):
    """The second request is all that there is afterwards: no schedule twice, no field left over."""
    flow = server.create_flow(name)
    first = server.create_deployment(DeploymentRequest(name="d", flow_id=flow.id, work_pool=pool, **FULL))
    bare = DeploymentRequest(name="d", flow_id=flow.id)
    second = server.create_deployment(bare)
    assert (second.id, second.new) == (first.id, False)
    found = server.read_deployment(first.id)
    assert found.model_dump(include=set(DeploymentRequest.model_fields)) == bare.model_dump()
    assert found.created < found.updated
    assert len(deployments(rest, name)) == 1


def test_creating_the_same_again_changes_nothing(server, rest, name, pool):
    """Schedules are replaced, not added."""
    request = DeploymentRequest(
        name="d", flow_id=server.create_flow(name).id, work_pool=pool, **{**FULL, "schedules": ()}
    )
    records = tuple(ScheduleRecord(schedule=schedule) for schedule in SCHEDULES)
    request = request.model_copy(update={"schedules": records})
    server.create_deployment(request)
    (before,) = deployments(rest, name)
    server.create_deployment(request)
    (after,) = deployments(rest, name)
    assert comparable(before) == comparable(after)


def test_an_update_leaves_what_it_does_not_speak_of(server, rest, name):
    """A deployment that somebody paused stays paused."""
    request = DeploymentRequest(name="d", flow_id=server.create_flow(name).id, **FULL)
    made = server.create_deployment(request)
    rest("PATCH", f"/deployments/{made.id}", {"paused": True, "concurrency_limit": 3})
    server.create_deployment(request)
    (raw,) = deployments(rest, name)
    assert raw["paused"]
    assert raw["global_concurrency_limit"]["limit"] == 3


def test_parameters_that_do_not_fit_are_refused_in_words(server, name):
    """The message names the deployment, its flow, the parameter, and what is wrong with it."""
    request = DeploymentRequest(
        name="d", flow_id=server.create_flow(name).id, parameters={"n": "x"}, parameter_schema=SCHEMA
    )
    with pytest.raises(ClientError) as caught:
        server.create_deployment(request)
    expected = f"cannot create deployment 'd' of flow {name!r}: parameters.n: 'x' is not of type 'integer'"
    assert str(caught.value) == expected


def test_job_variables_that_do_not_fit_are_refused_in_words(server, name, pool):
    """The message names the job variable."""
    request = DeploymentRequest(
        name="d", flow_id=server.create_flow(name).id, work_pool=pool, job_variables={"cpu": "many"}
    )
    with pytest.raises(
        ClientError, match=r"^cannot create deployment 'd' of .*: job_variables\.cpu: 'many' is"
    ):
        server.create_deployment(request)


def test_a_bad_cron_line_is_refused_in_words(server, name):
    """Of all that a server says of a schedule's alternatives, the one that matters is shown."""
    record = ScheduleRecord(schedule={"cron": "bad"})
    request = DeploymentRequest(name="d", flow_id=server.create_flow(name).id, schedules=(record,))
    with pytest.raises(ClientError) as caught:
        server.create_deployment(request)
    expected = (
        f"cannot create deployment 'd' of flow {name!r}: schedules.0.schedule.cron: Invalid cron string: "
    )
    assert str(caught.value) == expected + '"bad"'


def test_what_is_not_there_is_not_found(server, name):
    """A flow, deployment or work pool that does not exist has an error of its own class."""
    flow = server.create_flow(name)
    with pytest.raises(ObjectNotFound, match=r"^cannot read flow .*: Flow not found; check"):
        server.read_flow(uuid4())
    with pytest.raises(ObjectNotFound, match=r"^cannot read deployment .*: Deployment not found; check"):
        server.read_deployment(uuid4())
    with pytest.raises(ObjectNotFound, match=r"^cannot read deployment 'x' of flow .*: there is none; check"):
        server.read_deployment_by_name(name, "x")
    with pytest.raises(ObjectNotFound, match=r"^cannot read flow"):
        server.create_deployment(DeploymentRequest(name="d", flow_id=uuid4()))
    with pytest.raises(
        ObjectNotFound, match=r'^cannot create deployment .*: Work pool "nope" not found\.; check'
    ):
        server.create_deployment(DeploymentRequest(name="d", flow_id=flow.id, work_pool="nope"))


def test_scripts_are_not_kept(server, name):
    """A request that brings its script is refused rather than stripped of it."""
    document = DataDocument(encoding="text", blob="print()")
    request = DeploymentRequest(name="d", flow_id=server.create_flow(name).id, flow_data=document)
    with pytest.raises(ClientError, match=r"keeps no scripts; give path and entrypoint"):
        server.create_deployment(request)


# --- transactions --------------------------------------------------------------------------------


@contextmanager
def failing(server):
    """A transaction that an exception leaves at its end; gives the list in which that will be."""
    seen = []
    try:
        with server.transaction():
            yield seen
            raise KeyError
    except KeyError as error:
        seen.append(error)


def test_a_transaction_that_ends_well_keeps_everything(server, rest, name):
    """What was created inside is there afterwards."""
    with server.transaction():
        flow = server.create_flow(name)
        server.create_deployment(DeploymentRequest(name="d", flow_id=flow.id))
    assert [raw["name"] for raw in deployments(rest, name)] == ["d"]


def test_a_transaction_that_fails_leaves_nothing_half_made(server, rest, name):
    """A new flow and its new deployments are gone."""

    @server.transaction()
    def attempt():
        flow = server.create_flow(name)
        server.create_deployment(DeploymentRequest(name="one", flow_id=flow.id, **FULL))
        bad = {**FULL, "parameters": {"n": "x"}}
        server.create_deployment(DeploymentRequest(name="two", flow_id=flow.id, **bad))

    with pytest.raises(ClientError, match="'x' is not of type 'integer'") as caught:
        attempt()
    assert flows(rest, name) == []
    assert deployments(rest, name) == []
    assert getattr(caught.value, "__notes__", []) == []


def test_a_transaction_that_fails_puts_updated_deployments_back(server, rest, name, pool):
    """Fields, work pool, queue and schedules are what they were, those that only the server knows too."""
    flow = server.create_flow(name)
    request = DeploymentRequest(name="d", flow_id=flow.id, work_pool=pool, **FULL)
    made = server.create_deployment(request)
    rest("POST", f"/work_pools/{pool}/queues", {"name": "urgent"})
    schedule = {"schedule": {"cron": "5 5 * * *"}, "slug": "mine", "parameters": {"n": 7}, "active": False}
    body = {"work_pool_name": pool, "work_queue_name": "urgent", "paused": True, "schedules": [schedule]}
    rest("PATCH", f"/deployments/{made.id}", body)
    (before,) = deployments(rest, name)
    with failing(server):
        server.create_flow(name)
        server.create_deployment(DeploymentRequest(name="d", flow_id=flow.id))
        server.create_deployment(DeploymentRequest(name="d", flow_id=flow.id, description="again"))
        assert comparable(deployments(rest, name)[0]) != comparable(before)
    (after,) = deployments(rest, name)
    assert comparable(after) == comparable(before)
    assert after["work_queue_name"] == "urgent"
    assert after["schedules"][0]["slug"] == "mine"


def test_a_deployment_that_had_no_work_pool_has_none_again(server, rest, name, pool):
    """Taking back an update takes the deployment out of the pool that it brought."""
    flow = server.create_flow(name)
    server.create_deployment(DeploymentRequest(name="d", flow_id=flow.id))
    (before,) = deployments(rest, name)
    with failing(server):
        server.create_deployment(DeploymentRequest(name="d", flow_id=flow.id, work_pool=pool))
    (after,) = deployments(rest, name)
    assert comparable(after) == comparable(before)


def test_a_new_flow_with_deployments_of_others_is_kept(server, rest, name):
    """What somebody else made of it meanwhile is not deleted."""
    with failing(server):
        flow = server.create_flow(name)
        server.create_deployment(DeploymentRequest(name="ours", flow_id=flow.id))
        rest("POST", "/deployments/", {"name": "theirs", "flow_id": str(flow.id)})
    assert [raw["name"] for raw in deployments(rest, name)] == ["theirs"]


def test_a_flow_that_was_there_before_is_kept(server, rest, name):
    """Only what the transaction made is taken back."""
    server.create_flow(name)
    with failing(server):
        server.create_flow(name)
    assert len(flows(rest, name)) == 1


def test_an_inner_transaction_takes_back_its_own_part(server, rest, name):
    """What the outer one did stays if the exception ends between them, and goes if the outer one fails."""
    with server.transaction():
        flow = server.create_flow(name)
        with failing(server):
            server.create_deployment(DeploymentRequest(name="inner", flow_id=flow.id))
        server.create_deployment(DeploymentRequest(name="outer", flow_id=flow.id))
    assert [raw["name"] for raw in deployments(rest, name)] == ["outer"]
    other = f"{name} again"
    with failing(server):
        with server.transaction():
            flow = server.create_flow(other)
        server.create_deployment(DeploymentRequest(name="d", flow_id=flow.id))
    assert flows(rest, other) == []


def test_what_cannot_be_taken_back_is_said(server, prefect_url, rest, name):
    """The exception that ended the transaction has a note for each step that is still there."""
    broken = PrefectServer(prefect_url)
    with failing(broken) as seen:
        broken.create_flow(name)
        broken.close()
    (note,) = seen[0].__notes__
    assert note.startswith(f"cannot take back flow {name!r}: cannot delete flow")
    assert note.endswith(": this client is closed; make another")
    assert len(flows(rest, name)) == 1


def test_threads_share_a_client_and_not_their_transactions(server, rest, name):
    """A failure in one thread takes back nothing of another's."""
    barrier, failures = threading.Barrier(6), []

    def work(index):
        try:
            with server.transaction():
                flow = server.create_flow(f"{name} {index}")
                server.create_deployment(DeploymentRequest(name="d", flow_id=flow.id))
                barrier.wait(30)
                if index % 2:
                    raise KeyError(index)
        except Exception as error:
            failures.append(repr(error))

    threads = [threading.Thread(target=work, args=(index,)) for index in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(failures) == ["KeyError(1)", "KeyError(3)", "KeyError(5)"]
    assert [len(deployments(rest, f"{name} {index}")) for index in range(6)] == [1, 0, 1, 0, 1, 0]
    assert [len(flows(rest, f"{name} {index}")) for index in range(6)] == [1, 0, 1, 0, 1, 0]


def test_a_forked_process_is_told_to_make_its_own(server, name):
    """Two processes must not write to one connection."""
    server.create_flow(name)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            server.create_flow(name)
        except ClientError as error:
            status = 0 if "forked process" in str(error) else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert not server.create_flow(name).new
