"""From scripts to deployments and back: real workers, the embedded registry, real files."""

import asyncio
import contextlib
import os
import re
import sqlite3
import subprocess
import sys
import textwrap
import warnings
from contextlib import closing
from pathlib import Path
from uuid import UUID

import pytest

import loader
from loader import (
    Access,
    ClientError,
    DeploymentSpec,
    EmbeddedRegistry,
    FileStorageBlock,
    ObjectNotFound,
    SourceError,
    SpecValidationError,
    StorageError,
    deployment_specs_and_flows_from_script,
    deployment_specs_from_script,
    load_flow_from_deployment,
    load_flow_from_script,
)
from loader.client import documents
from loader.client.interface import DeploymentRequest

ROOT = Path(__file__).parents[1]
SCRIPT = """\
from datetime import timedelta
from prefect import flow
from prefect.deployments import DeploymentSpec
from prefect.flow_runners import SubprocessFlowRunner
from prefect.orion.schemas.schedules import CronSchedule, IntervalSchedule

@flow(version="7")
def greet(name: str = "world", times: int = 1):
    "Say hello."

DeploymentSpec(
    name="often",
    flow=greet,
    parameters={"name": "you"},
    schedule=IntervalSchedule(interval=timedelta(hours=1), timezone="Europe/Berlin"),
    tags=["b", "a"],
    flow_runner=SubprocessFlowRunner(env={"LEVEL": "debug"}),
)
"""


@pytest.fixture
def script(tmp_path):
    """A callable that writes a script and gives its path."""

    def write(text=SCRIPT, name="flows.py"):
        path = tmp_path / "flows" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    return write


@pytest.fixture
def registry(tmp_path, monkeypatch):
    """An embedded registry of the test's own; the default storage of this machine is the test's, too."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    with EmbeddedRegistry(tmp_path / "registry" / "r.db") as opened:
        yield opened


def only_spec(path, **options):
    (spec,) = deployment_specs_from_script(path, **options)
    return spec


def created(spec, client, **options):
    """The deployment that was created; that it is for this machine only is warned of."""
    with pytest.warns(UserWarning, match="only be usable from the current machine"):
        return client.read_deployment(spec.create_deployment(client, **options))


def test_a_spec_from_a_script_becomes_a_deployment_with_everything_in_it(script, registry):
    path = script()
    record = created(only_spec(path), registry)
    assert (record.name, record.flow_name, record.version) == ("often", "greet", "7")
    assert record.description == "Say hello."
    assert record.parameters == {"name": "you"}
    assert record.parameter_schema["properties"]["times"] == {
        "title": "times",
        "type": "integer",
        "default": 1,
    }
    (schedule,) = record.schedules
    assert schedule.schedule["interval"] == 3600.0
    assert schedule.schedule["timezone"] == "Europe/Berlin"
    assert record.tags == ("b", "a")
    assert record.flow_runner["type"] == "subprocess"
    assert record.flow_runner["config"]["env"] == {"LEVEL": "debug"}
    assert (record.path, record.entrypoint) == (str(path.parent), "flows.py:greet")


def test_the_very_bytes_of_the_script_are_kept_in_storage(script, registry, tmp_path):
    path = script()
    record = created(only_spec(path), registry)
    assert registry.resolve_datadoc(record.flow_data) == path.read_bytes()
    kept = [item for item in (tmp_path / "data").rglob("*") if item.is_file()]
    assert [item.read_bytes() for item in kept] == [path.read_bytes()]
    assert [item.stat().st_mode & 0o777 for item in kept] == [0o600]


def test_a_deployment_leads_back_to_its_flow(script, registry):
    """Also after the script is gone: what was deployed is what is loaded."""
    path = script()
    record = created(only_spec(path), registry)
    path.unlink()
    for deployment in (record, record.id):
        flow = load_flow_from_deployment(deployment, registry)
        assert (flow.name, flow.version, flow.line) == ("greet", "7", 7)


def test_creating_again_is_an_update(script, registry, tmp_path):
    """Of the same deployment, in the same storage block."""
    first = created(only_spec(script()), registry)
    second = created(only_spec(script(SCRIPT.replace("hours=1", "hours=2").replace('"b", ', ""))), registry)
    assert second.id == first.id
    assert second.tags == ("a",)
    assert [item.schedule["interval"] for item in second.schedules] == [7200.0]
    blocks = [documents.parse_blockstorage(item.flow_data)[1] for item in (first, second)]
    assert blocks[0] == blocks[1]
    assert len(registry.read_deployments()) == 1


def stored(tmp_path):
    """How many scripts the machine's own storage keeps."""
    return len([item for item in (tmp_path / "data").rglob("*") if item.is_file()])


def test_what_an_update_replaces_is_not_kept(script, registry, tmp_path):
    """Deployments that are created again and again take the room of one."""
    path = script()
    for number in range(3):
        path.write_text(f"{SCRIPT}# {number}")
        record = created(only_spec(path), registry)
    assert stored(tmp_path) == 1
    assert registry.resolve_datadoc(record.flow_data) == path.read_bytes()


def test_what_another_deployment_leads_to_stays(script, registry, tmp_path):
    """Nothing is taken from a record."""
    before = created(only_spec(script()), registry)
    fields = before.model_dump(exclude={"id", "flow_name", "created", "updated"})
    other = registry.create_deployment(DeploymentRequest.model_validate({**fields, "name": "other"}))
    created(only_spec(script()), registry)
    assert stored(tmp_path) == 2
    data = registry.read_deployment(other.id).flow_data
    assert registry.resolve_datadoc(data) == script().read_bytes()


def test_what_an_update_replaces_stays_until_it_is_replaced_for_good(script, registry):
    """A transaction around it may be undone."""
    path = script()
    before = created(only_spec(path), registry)
    with contextlib.suppress(KeyError), registry.transaction():
        created(only_spec(path), registry)
        raise KeyError
    assert registry.read_deployment(before.id) == before
    assert registry.resolve_datadoc(before.flow_data) == path.read_bytes()


def test_what_others_may_keep_under_the_same_key_stays(script, registry, tmp_path):
    """A digest is the key of everybody who has these bytes."""
    path = script()
    for text in (SCRIPT, SCRIPT + "# changed"):
        path.write_text(text)
        block = FileStorageBlock(base_path=str(tmp_path / "data"), key_type="hash")
        spec = only_spec(path).with_values(flow_storage=block)
        spec.at(None, None).create_deployment(registry)
    assert stored(tmp_path) == 2


def test_storage_blocks_are_named_after_what_they_are_for(script, registry):
    """The next number is taken when a name is not free."""
    registry.create_block("greet-often-7-0", "Local Storage", {"storage_path": "/elsewhere"})
    record = created(only_spec(script()), registry)
    _, block = documents.parse_blockstorage(record.flow_data)
    assert registry.read_block(block).name == "greet-often-7-1"


def block_names(registry):
    with closing(sqlite3.connect(registry.address)) as connection:
        return [name for (name,) in connection.execute("SELECT name FROM blocks ORDER BY name")]


@pytest.mark.filterwarnings("ignore:.*only be usable from the current machine")
def test_storage_that_changes_back_and_forth_leaves_no_more_blocks(script, registry):
    """What is registered for a deployment is taken again."""
    for kind in ("Local Storage", "Temporary Local Storage") * 3:
        only_spec(script()).with_values(flow_storage={"type": kind}).create_deployment(registry)
    assert block_names(registry) == ["greet-often-7-0", "greet-often-7-1"]


def test_a_new_storage_block_does_not_ask_for_all_that_are_there(script, registry, tmp_path, monkeypatch):
    """However often a deployment's storage has changed, the next change takes no longer."""
    for number in range(30):
        registry.create_block(f"greet-often-7-{number}", "Local Storage", {"storage_path": f"/{number}"})
    asked = []
    for name in ("read_block_by_name", "create_block"):
        ask = getattr(registry, name)
        monkeypatch.setattr(registry, name, lambda *given, ask=ask: [asked.append(given), ask(*given)][1])
    record = created(only_spec(script()), registry)
    _, block = documents.parse_blockstorage(record.flow_data)
    assert re.fullmatch("greet-often-7-[-0-9a-f]{36}", registry.read_block(block).name)
    assert len(asked) < 20


def test_a_default_storage_serves_every_runner(script, registry, tmp_path):
    path = script(SCRIPT.replace('    flow_runner=SubprocessFlowRunner(env={"LEVEL": "debug"}),\n', ""))
    with pytest.raises(SpecValidationError, match="requires remote storage"):
        only_spec(path).create_deployment(registry)
    config = FileStorageBlock(base_path=str(tmp_path / "kept")).plain()
    block = registry.create_block("ours", "File Storage", config)
    registry.set_default_storage_block(block)
    record = registry.read_deployment(only_spec(path).create_deployment(registry))
    assert documents.parse_blockstorage(record.flow_data)[1] == block
    assert load_flow_from_deployment(record, registry).name == "greet"


def test_validating_fills_in_and_warns(script, registry):
    spec = only_spec(script(SCRIPT.replace('    name="often",\n', "")))
    with pytest.warns(UserWarning, match="only be usable from the current machine"):
        valid = spec.validate(registry)
    assert (spec.name, valid.name, valid.flow.name) == (None, "greet", "greet")
    assert (valid.file, valid.line) == (spec.file, spec.line)


def test_a_spec_that_only_locates_its_flow_finds_it_in_a_worker(script, registry):
    path = script()
    spec = DeploymentSpec(name="d", flow_location=path, flow_runner="subprocess")
    assert created(spec, registry).flow_name == "greet"


def test_what_a_flow_script_does_is_the_specs_error(script, registry):
    spec = DeploymentSpec(flow_location=script("1 / 0\n"), flow_runner="subprocess")
    with pytest.raises(loader.ScriptError, match="ZeroDivisionError"):
        spec.create_deployment(registry)
    assert registry.read_deployments() == ()


# --- all or nothing ---


class Broken:
    """A registry whose last step fails."""

    def __init__(self, registry):
        self.registry = registry

    def __getattr__(self, name):
        return getattr(self.registry, name)

    def create_deployment(self, deployment):
        self.registry.create_deployment(deployment)
        raise ClientError("cannot go on")


def test_a_failure_in_the_middle_leaves_nothing_half_made(script, registry, tmp_path):
    """No flow, no block, no deployment, no bytes."""
    with (
        pytest.raises(ClientError, match="cannot go on"),
        pytest.warns(UserWarning, match="this machine|current machine"),
    ):
        only_spec(script()).create_deployment(Broken(registry))
    assert (registry.read_flows(), registry.read_deployments()) == ((), ())
    with pytest.raises(ObjectNotFound):
        registry.read_block_by_name("greet-often-7-0")
    assert [item for item in (tmp_path / "data").rglob("*") if item.is_file()] == []


def test_a_failed_update_takes_nothing_from_what_was_there(script, registry, tmp_path):
    """The bytes that the deployment already had are not taken back with the failed attempt's."""
    path = script()
    before = created(only_spec(path), registry)
    with (
        pytest.raises(ClientError, match="cannot go on"),
        pytest.warns(UserWarning, match="this machine|current machine"),
    ):
        only_spec(path).create_deployment(Broken(registry))
    assert registry.read_deployment(before.id) == before
    assert load_flow_from_deployment(before, registry).name == "greet"


def test_storage_that_cannot_be_written_to_leaves_nothing(script, registry, tmp_path):
    (tmp_path / "file").write_text("")
    spec = only_spec(script()).with_values(flow_storage=FileStorageBlock(base_path=str(tmp_path / "file/x")))
    with pytest.raises(StorageError):
        spec.at(None, None).create_deployment(registry)
    assert (registry.read_flows(), registry.read_deployments()) == ((), ())


# --- whose words lead where ---


def test_a_script_cannot_have_a_file_elsewhere_read(script, registry, tmp_path):
    """Its specs lead below its own folder; further only where the caller says so."""
    other = tmp_path / "other.py"
    other.write_text(SCRIPT)
    text = (
        "from prefect.deployments import DeploymentSpec\n"
        f"DeploymentSpec(name='d', flow_location={str(other)!r}, flow_runner={{'type': 'subprocess'}})\n"
    )
    spec = only_spec(script(text))
    with pytest.raises(SourceError, match=r"flows\.py:2 names it, and it lies outside"):
        spec.create_deployment(registry)
    assert created(spec, registry, root=str(tmp_path)).flow_name == "greet"


@pytest.mark.parametrize(
    "block",
    ["FileStorageBlock(base_path={!r})", "LocalStorageBlock(storage_path={!r})"],
)
def test_a_script_cannot_choose_where_the_callers_machine_is_written_to(script, registry, tmp_path, block):
    """A block of its own making needs the caller's word."""
    chosen = block.format(str(tmp_path / "chosen"))
    text = SCRIPT.replace('    tags=["b", "a"],\n', f"    flow_storage={chosen},\n").replace(
        "from prefect.flow_runners", "from prefect.blocks.storage import *\nfrom prefect.flow_runners"
    )
    spec = only_spec(script(text))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(StorageError, match="--allow-storage"):
            spec.create_deployment(registry)
        assert not (tmp_path / "chosen").exists()
        spec.create_deployment(registry, access=Access(storage=(str(tmp_path / "chosen"),)))
    assert [item for item in (tmp_path / "chosen").rglob("*") if item.is_file()]


def test_secrets_of_storage_reach_the_registry_and_nobody_else(script, registry, monkeypatch):
    """A script's own credentials are deployed, and appear in no outcome, repr or error."""
    text = SCRIPT.replace(
        '    tags=["b", "a"],\n',
        "    flow_storage=S3StorageBlock(bucket='b', aws_secret_access_key='hush-hush'),\n",
    ).replace("from prefect.flow_runners", "from prefect.blocks.storage import *\nfrom prefect.flow_runners")
    path = script(text)
    specs, flows = deployment_specs_and_flows_from_script(path)
    with loader.FlowLoader() as held:
        outcome = held.load(path, details=True)
    shown = [repr(specs), repr(flows), repr(outcome), str(outcome.model_dump()), outcome.model_dump_json()]
    assert not [item for item in shown if "hush-hush" in item]
    (spec,) = specs
    assert spec.flow_storage.plain()["aws_secret_access_key"] == "hush-hush"
    with pytest.raises(StorageError) as caught:
        spec.create_deployment(registry)
    assert "hush-hush" not in repr(caught.value) + str(caught.value)


def test_without_being_asked_a_worker_tells_no_secret(script):
    """They do not leave the worker of an ordinary load at all."""
    with loader.FlowLoader() as held:
        assert held.load(script()).details == ()
        assert held.load(script(), details=True).details[0].flow.name == "greet"


# --- doors ---


def test_creating_has_a_twin_for_event_loops(script, registry):
    async def run():
        spec = only_spec(script())
        valid = await spec.validate_async(registry)
        return valid, await spec.create_deployment_async(registry)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        valid, made = asyncio.run(run())
    assert valid.flow_name == "greet"
    assert isinstance(made, UUID)


WRITER = """\
    import sys, warnings
    from loader import EmbeddedRegistry, deployment_specs_from_script
    warnings.simplefilter("ignore")
    with EmbeddedRegistry(sys.argv[1]) as registry:
        for round in range(5):
            for spec in deployment_specs_from_script(sys.argv[2]):
                spec.with_values(name=f"{spec.name}-{round}").create_deployment(registry)
"""


@pytest.mark.slow
def test_two_processes_deploy_at_once(script, registry, tmp_path):
    """The same flow, the same storage, the same file: everything is there once."""
    writer = tmp_path / "writer.py"
    writer.write_text(textwrap.dedent(WRITER))
    paths = [script(SCRIPT.replace("often", name), f"{name}.py") for name in ("first", "second")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    started = [
        subprocess.Popen([sys.executable, writer, registry.address, path], env=environment) for path in paths
    ]
    assert [process.wait(60) for process in started] == [0, 0]
    names = sorted(item.name for item in registry.read_deployments())
    assert names == sorted(f"{name}-{number}" for name in ("first", "second") for number in range(5))
    assert len(registry.read_flows()) == 1
    for item in registry.read_deployments():
        assert load_flow_from_deployment(item, registry).name == "greet"


def test_the_default_registry_is_this_users(script, tmp_path, monkeypatch):
    """Nothing to start, nothing to name."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.delenv("FLOW_LOADER_REGISTRY", raising=False)
    with pytest.warns(UserWarning, match="this machine|current machine"):
        made = only_spec(script()).create_deployment()
    assert load_flow_from_deployment(made).name == "greet"
    assert (tmp_path / "data" / "flow-loader" / "registry.db").is_file()
    assert load_flow_from_script(script()).name == "greet"
