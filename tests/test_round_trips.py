"""There and back: specs become deployments, and are read back as they were written."""

import warnings

import fsspec
import pytest

from loader import (
    Access,
    EmbeddedRegistry,
    FileStorageBlock,
    PrefectServer,
    deployment_specs_from_script,
    deployment_specs_from_yaml,
    load_flow_from_deployment,
)
from loader.client.prefect.bodies import normal_schedule

SCRIPT = '''\
from datetime import datetime, timedelta
from typing import List, Optional

from prefect import flow
from prefect.deployments import DeploymentSpec
from prefect.orion.schemas.schedules import CronSchedule, IntervalSchedule, RRuleSchedule

@flow(name="{name}", version="3")
def greet(names: List[str], times: int = 1, when: Optional[datetime] = None):
    """Greet people."""

RUNNER = {{"type": "subprocess", "config": {{"env": {{"LEVEL": "debug"}}}}}}
SCHEDULES = {{
    "interval": IntervalSchedule(interval=timedelta(minutes=90), timezone="Europe/Berlin"),
    "anchored": IntervalSchedule(interval=86400, anchor_date=datetime(2026, 3, 1, 9)),
    "cron": CronSchedule(cron="30 2 * * 1-5", timezone="America/New_York", day_or=False),
    "rrule": RRuleSchedule(rrule="FREQ=MONTHLY;BYDAY=-1FR", timezone="Europe/London"),
    "never": None,
}}
for key, schedule in SCHEDULES.items():
    DeploymentSpec(
        name=key,
        flow=greet,
        schedule=schedule,
        parameters={{"names": ["a", "ü"], "when": datetime(2026, 1, 2, 3, 4, 5)}},
        tags=["nightly", "team a"],
        flow_runner=RUNNER,
    )
'''
MANIFEST = """\
- name: interval
  flow_location: flows.py
  schedule: {interval: "1:30:00", timezone: Europe/Berlin}
  parameters: {names: [a, ü], when: 2026-01-02T03:04:05}
  tags: [nightly, team a]
  flow_runner: {type: subprocess, config: {env: {LEVEL: debug}}}
---
name: cron
flow_location: ./flows.py
schedule: {cron: "30 2 * * 1-5", timezone: America/New_York, day_or: false}
parameters: {names: [a, ü], when: 2026-01-02T03:04:05}
tags: [nightly, team a]
flow_runner: {type: subprocess, config: {env: {LEVEL: debug}}}
"""
SCHEDULES = {
    "interval": {"interval": 5400.0, "timezone": "Europe/Berlin"},
    "anchored": {"interval": 86400.0, "anchor_date": "2026-03-01T09:00:00+00:00"},
    "cron": {"cron": "30 2 * * 1-5", "timezone": "America/New_York", "day_or": False},
    "rrule": {"rrule": "FREQ=MONTHLY;BYDAY=-1FR", "timezone": "Europe/London"},
}


@pytest.fixture(params=["embedded", pytest.param("prefect", marks=pytest.mark.slow)])
def client(request, tmp_path, monkeypatch):
    """Each place where deployments are created."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    if request.param == "embedded":
        made = EmbeddedRegistry(tmp_path / "registry" / "r.db")
    else:
        made = PrefectServer(request.getfixturevalue("prefect_url"))
    with made:
        yield made


@pytest.fixture
def folder(request, tmp_path):
    """A folder with a script, whose flow nobody else has, and a manifest."""
    made = tmp_path / "flows"
    made.mkdir()
    name = f"greet {tmp_path.name} {request.node.callspec.id if hasattr(request.node, 'callspec') else ''}"
    (made / "flows.py").write_text(SCRIPT.format(name=name))
    (made / "deployments.yaml").write_text(MANIFEST)
    return made


def specs_of(folder, source):
    if source == "script":
        return list(deployment_specs_from_script(folder / "flows.py"))
    return list(deployment_specs_from_yaml(folder / "deployments.yaml"))


def deploy(specs, client, **options):
    """The records of the deployments, as the client gives them back."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*current machine.*")
        made = [spec.create_deployment(client, **options) for spec in specs]
    return [client.read_deployment(item) for item in made]


@pytest.mark.parametrize("source", ["script", "manifest"])
def test_specs_are_read_back_as_they_were_written(client, folder, source):
    """Schedules, parameters and their schema, tags, texts, and where the flow is."""
    specs = specs_of(folder, source)
    records = deploy(specs, client)
    assert [record.name for record in records] == [spec.name for spec in specs]
    for record in records:
        told = [normal_schedule(item.schedule) for item in record.schedules]
        expected = SCHEDULES.get(record.name)
        assert told == ([] if expected is None else [normal_schedule(expected)]), record.name
        assert record.parameters == {"names": ["a", "ü"], "when": "2026-01-02T03:04:05"}
        properties = record.parameter_schema["properties"]
        assert properties["names"] == {"title": "names", "type": "array", "items": {"type": "string"}}
        assert properties["times"]["default"] == 1
        assert properties["when"]["format"] == "date-time"
        assert record.parameter_schema["required"] == ["names"]
        assert sorted(record.tags) == ["nightly", "team a"]
        assert (record.version, record.description) == ("3", "Greet people.")
        assert (record.path, record.entrypoint) == (str(folder), "flows.py:greet")


def test_a_second_create_updates(client, folder):
    """The same ids, what changed, and no schedule twice."""
    first = deploy(specs_of(folder, "script"), client)
    script = folder / "flows.py"
    text = script.read_text()
    for before, after in (
        ("minutes=90", "minutes=30"),
        ('"nightly", ', ""),
        ('version="3"', 'version="4"'),
        ('"never": None', '"never": CronSchedule(cron="0 0 * * *")'),
    ):
        text = text.replace(before, after)
    script.write_text(text)
    second = deploy(specs_of(folder, "script"), client)
    assert [record.id for record in first] == [record.id for record in second]
    assert {record.flow_id for record in first} == {record.flow_id for record in second}
    assert {record.version for record in second} == {"4"}
    assert {record.tags for record in second} == {("team a",)}
    assert [len(record.schedules) for record in second] == [1] * 5
    assert second[0].schedules[0].schedule["interval"] == 1800.0


def test_a_deployment_leads_back_to_its_flow(client, folder):
    """The registry has the script; a server knows where it is, and the caller allows that folder."""
    record = deploy(specs_of(folder, "script")[:1], client)[0]
    flow = load_flow_from_deployment(record, client, root=folder)
    assert (flow.name, flow.function, flow.version) == (record.flow_name, "greet", "3")


@pytest.mark.slow
def test_a_server_is_told_how_a_worker_gets_the_script(prefect_url, folder):
    """And with which settings it runs: by the names of Prefect's own work pools."""
    with PrefectServer(prefect_url) as client:
        record = deploy(specs_of(folder, "script")[:1], client)[0]
    assert record.pull_steps == (
        {"prefect.deployments.steps.set_working_directory": {"directory": str(folder)}},
    )
    assert record.job_variables == {"env": {"LEVEL": "debug"}}
    assert record.flow_data is None


@pytest.fixture
def bucket(s3_server, monkeypatch):
    """A bucket of the test's own, and what its users must be allowed."""
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    options = {"endpoint_url": s3_server.endpoint_url}
    files = fsspec.filesystem("s3", skip_instance_cache=True, **options)
    files.mkdir("round-trips")
    yield files, Access(options={"s3": options}, linked=frozenset({"s3"}), hosts=frozenset({"127.0.0.1"}))
    files.rm("round-trips", recursive=True)


@pytest.mark.slow
def test_a_manifest_in_a_bucket_is_deployed_into_it(bucket, folder, tmp_path):
    """Manifest and script lie in the bucket; so does what is kept; and it is loaded from there."""
    files, access = bucket
    files.pipe("round-trips/team/flows.py", (folder / "flows.py").read_bytes())
    files.pipe("round-trips/team/deployments.yaml", MANIFEST.encode())
    specs = list(deployment_specs_from_yaml("s3://round-trips/team/deployments.yaml", access=access))
    assert {spec.flow_location for spec in specs} == {"s3://round-trips/team/flows.py"}
    storage = FileStorageBlock(
        base_path="s3://round-trips/kept", options={"endpoint_url": access.options["s3"]["endpoint_url"]}
    )
    with EmbeddedRegistry(tmp_path / "registry" / "r.db", access=access) as client:
        client.set_default_storage_block(client.create_block("kept", "File Storage", storage.plain()))
        records = deploy(specs, client, access=access)
        assert len(files.ls("round-trips/kept")) == 1
        for record in records:
            assert load_flow_from_deployment(record, client).function == "greet"
            assert record.path == "s3://round-trips/team"
