"""The embedded registry: what is created is there afterwards, by id and by name, as it was given."""

import base64
import hashlib
import sqlite3
import traceback
from contextlib import closing
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from loader.client.documents import blockstorage, cloudpickle, json_data, text
from loader.client.embedded import EmbeddedRegistry
from loader.client.interface import Client, DeploymentRequest, ScheduleRecord
from loader.errors import ClientError, FlowLoaderError, ObjectAlreadyExists, ObjectNotFound
from worker.protocol import BLOCKS

SECRET = "hunter2-very-secret"


@pytest.fixture
def registry(tmp_path):
    with EmbeddedRegistry(tmp_path / "registry.db") as registry:
        yield registry


def request(flow, name="daily", **changes):
    return DeploymentRequest(name=name, flow_id=flow.id, **changes)


def everything(flow):
    """A deployment that says something in every field."""
    return request(
        flow,
        version="1",
        description="Ünïcode \0 and 'quotes'",
        parameters={"n": 1, "deep": {"list": [1.5, None, True, "x"]}},
        parameter_schema={"title": "Parameters", "properties": {"n": {"type": "integer"}}},
        schedules=(
            ScheduleRecord(schedule={"cron": "0 * * * *", "timezone": "Europe/Rome", "day_or": True}),
            ScheduleRecord(schedule={"interval": 3600.0}, active=False),
        ),
        tags=("a", "b"),
        flow_runner={"type": "docker", "config": {"env": {"KEY": SECRET}}},
        flow_data=blockstorage("abc", uuid4()),
        path="/srv/flow.py",
        entrypoint="flow.py:hello",
        pull_steps=({"step": {"directory": "/srv"}},),
        work_pool="pool",
        job_variables={"image": "x"},
    )


def test_it_is_a_client(registry):
    """The interface's every part is there."""
    assert isinstance(registry, Client)
    assert registry.keeps_flows
    assert registry.address.endswith("/registry.db")


def test_a_flow_is_registered_once(registry):
    """The second time it is found."""
    first, second = registry.create_flow("hello"), registry.create_flow("hello")
    assert (first.id, first.new, second.new) == (second.id, True, False)
    flow = registry.read_flow(first.id)
    assert (flow.id, flow.name) == (first.id, "hello")
    assert abs((datetime.now(UTC) - flow.created).total_seconds()) < 60
    assert registry.read_flows() == (flow,)


@pytest.mark.parametrize("name", ["a/b", "50%", "a&b", "a>b", "<lambda>"])
def test_names_may_not_hold_what_urls_and_shells_use(registry, name):
    """The message says which characters."""
    message = rf"^cannot create .*Name '{name}' contains an invalid character\. Must not contain any of: \["
    with pytest.raises(ClientError, match=message):
        registry.create_flow(name)
    flow = registry.create_flow("fine")
    with pytest.raises(ClientError, match=message):
        registry.create_deployment(request(flow, name))
    assert len(registry.read_flows()) == 1
    assert registry.read_deployments() == ()


def test_names_are_not_empty(registry):
    """Nobody could ask for them."""
    flow = registry.create_flow("fine")
    for create in (
        lambda: registry.create_flow(""),
        lambda: registry.create_deployment(request(flow, "")),
        lambda: registry.create_block("", "Local Storage", {}),
    ):
        with pytest.raises(ClientError, match="its name is empty"):
            create()


@pytest.mark.parametrize("name", ["naïve ☃", "a'b\"c;--", "new\nline", "nul\0inside", "x" * 5000, "_"])
def test_names_are_data(registry, name):
    """Whatever they hold, they are found by it and by nothing else."""
    registry.create_flow("other")
    flow = registry.create_flow(name)
    created = registry.create_deployment(request(flow, name))
    assert registry.read_flow(flow.id).name == name
    assert registry.read_deployment_by_name(name, name).id == created.id
    block_id = registry.create_block(name, "Local Storage", {})
    assert registry.read_block_by_name(name).id == block_id


def test_names_are_utf8_text(registry):
    """A lone surrogate is a clear error, not a traceback of the database's."""
    for act in (registry.create_flow, registry.read_block_by_name):
        with pytest.raises(ClientError, match=r"^cannot use the registry .*UTF-8"):
            act("\ud800")


def test_a_deployment_is_given_back_as_it_was(registry):
    """Every field, by id and by name."""
    flow = registry.create_flow("hello")
    wanted = everything(flow)
    created = registry.create_deployment(wanted)
    found = registry.read_deployment(created.id)
    assert created.new
    assert found == registry.read_deployment_by_name("hello", "daily")
    assert found.model_dump(include=set(DeploymentRequest.model_fields)) == wanted.model_dump()
    assert (found.flow_name, found.created) == ("hello", found.updated)


def test_creating_again_is_an_update(registry):
    """Same id and time of creation, new content; what is no longer said is gone."""
    flow = registry.create_flow("hello")
    first = registry.create_deployment(everything(flow))
    before = registry.read_deployment(first.id)
    second = registry.create_deployment(request(flow, tags=("new",)))
    after = registry.read_deployment(first.id)
    assert (second.id, second.new) == (first.id, False)
    assert (after.created, after.tags, after.parameters) == (before.created, ("new",), {})
    assert (after.schedules, after.flow_runner, after.entrypoint) == ((), None, None)
    assert after.updated > before.updated
    assert len(registry.read_deployments()) == 1


def test_deployments_of_two_flows_may_share_a_name(registry):
    """A deployment is known by both; lists are sorted by both."""
    flows = {name: registry.create_flow(name) for name in "ba"}
    for name in ("y", "x"):
        for flow in flows.values():
            registry.create_deployment(request(flow, name))
    found = [(item.flow_name, item.name) for item in registry.read_deployments()]
    assert found == [("a", "x"), ("a", "y"), ("b", "x"), ("b", "y")]
    assert [flow.name for flow in registry.read_flows()] == ["a", "b"]


def test_what_is_read_can_be_created_again(registry):
    """A record is a request too: that it has more fields does no harm."""
    flow = registry.create_flow("hello")
    found = registry.read_deployment(registry.create_deployment(everything(flow)).id)
    assert registry.create_deployment(found).id == found.id
    assert registry.read_deployment(found.id).model_dump(exclude={"updated"}) == found.model_dump(
        exclude={"updated"}
    )


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), {1: "x"}, {None: 1}, b"bytes", object(), {"x"}]
)
def test_what_json_cannot_say_is_refused(registry, value):
    """Nothing is changed in silence, and nothing is kept."""
    flow = registry.create_flow("hello")
    with pytest.raises(ClientError, match=r"^cannot write data as JSON: "):
        registry.create_deployment(request(flow, parameters={"x": [value]}))
    with pytest.raises(ClientError, match=r"^cannot write data as JSON: "):
        registry.create_block("block", "Local Storage", {"x": value})
    assert registry.read_deployments() == ()


def test_blocks_are_found_by_id_and_by_name(registry):
    """With their secrets, which are in no repr."""
    config = {"bucket": "flows", "aws_secret_access_key": SECRET}
    block_id = registry.create_block("mine", "S3 Storage", config)
    block = registry.read_block(block_id)
    assert block == registry.read_block_by_name("mine")
    assert (block.id, block.name, block.type, block.config) == (block_id, "mine", "S3 Storage", config)
    assert SECRET not in repr(block) + repr(registry) + str(block)


def test_a_block_s_name_is_taken_once(registry):
    """The first one stays, and the message holds no secret."""
    block_id = registry.create_block("mine", "Local Storage", {"storage_path": "/a"})
    with pytest.raises(ObjectAlreadyExists, match=r"^cannot create storage block 'mine'") as caught:
        registry.create_block("mine", "S3 Storage", {"key": SECRET})
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    assert registry.read_block_by_name("mine").id == block_id


def test_the_default_storage_can_be_set_changed_and_deleted(registry):
    """There is none at first, and none when its block is gone."""
    assert registry.get_default_storage_block() is None
    first, second = (registry.create_block(name, "Local Storage", {}) for name in "ab")
    for block_id in (first, second, second):
        registry.set_default_storage_block(block_id)
        assert registry.get_default_storage_block().id == block_id
    registry.delete_block(second)
    assert registry.get_default_storage_block() is None
    with pytest.raises(ObjectNotFound):
        registry.set_default_storage_block(second)


def test_kinds_of_blocks_have_lasting_ids(registry, tmp_path):
    """The same in every registry, with the fields of their blocks."""
    with EmbeddedRegistry(tmp_path / "other.db") as other:
        for name, fields in BLOCKS.items():
            spec = other.read_block_spec_by_name(name)
            assert (spec.name, spec.id) == (name, registry.read_block_spec_by_name(name).id)
            assert spec.fields == tuple(fields)
    assert len({registry.read_block_spec_by_name(name).id for name in BLOCKS}) == len(BLOCKS) == 7
    assert str(registry.read_block_spec_by_name("KV Server Storage").id).startswith("46ed2677")


def test_what_is_not_there_is_not_found(registry):
    """Each question has its own answer, and nothing is made by asking."""
    nowhere = uuid4()
    for act, name in (
        (lambda: registry.read_flow(nowhere), "flow"),
        (lambda: registry.read_deployment(nowhere), "deployment"),
        (lambda: registry.read_deployment_by_name("f", "d"), "deployment 'd' of flow 'f'"),
        (lambda: registry.read_block(nowhere), "storage block"),
        (lambda: registry.read_block_by_name("b"), "storage block 'b'"),
        (lambda: registry.read_block_spec_by_name("Tape"), "kind of storage block called 'Tape'"),
    ):
        with pytest.raises(ObjectNotFound, match=f"^cannot find .*{name}"):
            act()
    assert registry.read_flows() == registry.read_deployments() == ()
    assert registry.get_default_storage_block() is None


@pytest.mark.parametrize(
    ("act", "words"),
    [
        (lambda registry: registry.create_flow(5), "its name is of type int, not text"),
        (lambda registry: registry.create_flow(b"f"), "its name is of type bytes, not text"),
        (lambda registry: registry.create_block(5, "x", {}), "its name is of type int, not text"),
        (lambda registry: registry.create_block("b", None, {}), "its type is of type NoneType, not text"),
        (lambda registry: registry.create_block("b", "x", [1]), "of type list: give a Mapping"),
        (lambda registry: registry.create_deployment({}), "of type dict: give a DeploymentRequest"),
        (lambda registry: registry.read_block_by_name([]), "its name is of type list, not text"),
        (lambda registry: registry.read_block_spec_by_name([]), "its name is of type list, not text"),
        (lambda registry: registry.read_deployment_by_name(5, "d"), "its flow is of type int, not text"),
        (lambda registry: registry.read_flow(["x"]), """cannot find the flow with id "['x']":"""),
    ],
)
def test_arguments_of_other_types_are_refused_in_words(registry, act, words):
    """Whatever comes from somewhere else than a type-checked program; nothing is made."""
    registry.create_flow("first")
    with pytest.raises(ClientError) as caught:
        act(registry)
    assert str(caught.value).startswith("cannot ")
    assert words in str(caught.value)
    assert [flow.name for flow in registry.read_flows()] == ["first"]
    assert registry.create_flow("second").new


def test_long_names_are_cut_in_messages(registry):
    """Names are foreign: those of scripts and manifests."""
    long = "n" * 5000
    registry.create_block(long, "Local Storage", {})
    for act in (
        lambda: registry.create_flow(long + "/"),
        lambda: registry.create_block(long, "Local Storage", {}),
        lambda: registry.read_block_by_name(long + "x"),
        lambda: registry.read_block_spec_by_name(long),
        lambda: registry.read_deployment_by_name(long, long),
        lambda: registry.read_flow(long),
        lambda: registry.delete_block(long),
    ):
        with pytest.raises(ClientError) as caught:
            act()
        assert "n" * 90 in str(caught.value)
        assert len(str(caught.value)) < 600


def test_reading_makes_no_file(tmp_path):
    """Who only looks leaves nothing behind; the first write makes the file."""
    path = tmp_path / "new" / "registry.db"
    with EmbeddedRegistry(path) as registry:
        assert registry.read_flows() == ()
        assert registry.get_default_storage_block() is None
        assert not path.parent.exists()
        registry.create_flow("hello")
        assert path.exists()


def test_a_deployment_needs_its_flow(registry):
    """One that is not registered is not found."""
    with pytest.raises(ObjectNotFound, match=r"cannot find the flow with id"):
        registry.create_deployment(DeploymentRequest(name="d", flow_id=uuid4()))


def test_a_default_goes_with_its_block(registry, tmp_path):
    """No row is left that names it."""
    block_id = registry.create_block("b", "Local Storage", {})
    registry.set_default_storage_block(block_id)
    registry.delete_block(block_id)
    with closing(sqlite3.connect(tmp_path / "registry.db")) as connection:
        assert connection.execute("SELECT * FROM default_storage").fetchall() == []


def test_deleted_is_gone(registry):
    """A deployment's flow stays; a second time there is nothing to delete."""
    flow = registry.create_flow("hello")
    created = registry.create_deployment(request(flow))
    block_id = registry.create_block("b", "Local Storage", {})
    for act in (lambda: registry.delete_deployment(created.id), lambda: registry.delete_block(block_id)):
        act()
        with pytest.raises(ObjectNotFound):
            act()
    assert registry.read_deployments() == ()
    assert len(registry.read_flows()) == 1


def test_a_deleted_secret_is_not_in_the_file(tmp_path):
    """Free pages are overwritten, not just forgotten."""
    path = tmp_path / "registry.db"
    with EmbeddedRegistry(path) as registry:
        block_id = registry.create_block("b", "S3 Storage", {"key": SECRET * 1000})
    assert SECRET.encode() in path.read_bytes()
    with EmbeddedRegistry(path) as registry:
        registry.delete_block(block_id)
    assert SECRET.encode() not in path.read_bytes()


def test_a_closed_registry_says_so(registry):
    """Closing twice does no harm."""
    registry.create_flow("hello")
    registry.close()
    registry.close()
    for act in (registry.read_flows, lambda: registry.create_flow("x")):
        with pytest.raises(ClientError, match="it was closed"):
            act()


def test_data_documents_are_resolved(registry):
    """Data, text, and a pickle that stays closed."""
    harmful = b"cos\nsystem\n(S'touch /tmp/flow-loader-was-unpickled'\ntR."
    assert registry.resolve_datadoc(json_data({"a": [1, None]})) == {"a": [1, None]}
    assert registry.resolve_datadoc(text("print()")) == "print()"
    assert registry.resolve_datadoc(cloudpickle(harmful)) == harmful
    assert base64.b64decode(cloudpickle(harmful).blob) == harmful


def test_stored_data_is_read_through_its_block(tmp_path):
    """What reads storage is given the block and the key."""
    asked = []

    def read_storage(block, key):
        asked.append((block.name, dict(block.config), key))
        return b"bytes"

    with EmbeddedRegistry(tmp_path / "r.db", read_storage=read_storage) as registry:
        block_id = registry.create_block("b", "S3 Storage", {"bucket": "x"})
        assert registry.resolve_datadoc(blockstorage("k", block_id)) == b"bytes"
        with pytest.raises(ObjectNotFound, match="storage block"):
            registry.resolve_datadoc(blockstorage("k", uuid4()))
    assert asked == [("b", {"bucket": "x"}, "k")]


def test_stored_data_is_read_from_its_storage_unless_told_otherwise(registry, tmp_path):
    """A block of a kind that is no storage is refused, and no secret is told."""
    (tmp_path / "kept").mkdir(mode=0o700)
    key = hashlib.sha256(b"bytes").hexdigest()
    (tmp_path / "kept" / key).write_bytes(b"bytes")
    block_id = registry.create_block("b", "Local Storage", {"storage_path": str(tmp_path / "kept")})
    assert registry.resolve_datadoc(blockstorage(key, block_id)) == b"bytes"
    other = registry.create_block("c", "Slack", {"key": SECRET})
    with pytest.raises(FlowLoaderError, match="cannot use the block 'c' as storage") as caught:
        registry.resolve_datadoc(blockstorage(key, other))
    assert SECRET not in "".join(traceback.format_exception(caught.value))
