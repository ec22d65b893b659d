"""Deployment specs on the trusted side: their fields, and their validation in its order."""

import copy
import datetime as dt
import pickle
from uuid import UUID

import pytest
from pydantic import ValidationError

from loader import (
    DeploymentSpec,
    DockerFlowRunner,
    FileStorageBlock,
    Flow,
    FlowRunnerSettings,
    IntervalSchedule,
    LocalStorageBlock,
    S3StorageBlock,
    SpecValidationError,
    StorageError,
    SubprocessFlowRunner,
    TempStorageBlock,
    UniversalFlowRunner,
)
from loader.client.interface import BlockRecord
from loader.flow_runners import FlowRunnerBase
from loader.sources import Origin
from loader.specs import mistakes
from loader.validation import Surroundings, validated

FLOW = Flow("greet", function="greet", file="/flows/greet.py", line=3, version="1")
REMOTE = FileStorageBlock(base_path="memory://kept")
BLOCK_ID = UUID(int=7)
SECRET = "hush-hush"


def nothing(*_):
    raise AssertionError("it was not to be asked for")


@pytest.fixture
def validate():
    """A callable: the spec of some fields, validated with what a client and a script would say."""

    def run(default=None, found=None, block=None, **fields):
        surroundings = Surroundings(
            find_flow=(lambda spec: found) if found else nothing,
            default_storage=lambda: default,
            read_block=(lambda block_id: block) if block else nothing,
        )
        return validated(DeploymentSpec(**fields), surroundings)

    return run


@pytest.fixture
def refused(validate):
    """The message with which a spec of some fields is refused."""

    def run(**fields):
        with pytest.raises(SpecValidationError) as caught:
            validate(**fields)
        assert isinstance(caught.value, ValueError)
        return str(caught.value)

    return run


# --- fields ---


def wrong(**fields):
    with pytest.raises(ValidationError) as caught:
        DeploymentSpec(**fields)
    return mistakes(caught.value)


@pytest.mark.parametrize(
    ("fields", "path", "message"),
    [
        ({"colour": "red"}, ("colour",), "there is no such field"),
        (
            {"name": "a/b"},
            ("name",),
            "Name 'a/b' contains an invalid character. Must not contain any of: ['/', '%', '&', '>', '<'].",
        ),
        ({"schedule": {"interval": 0}}, ("schedule", "interval"), "The interval must be positive"),
        (
            {"schedule": {"interval": 60, "timezone": "Mars/Base"}},
            ("schedule", "timezone"),
            'Invalid timezone: "Mars/Base"',
        ),
        (
            {"schedule": {"interval": 60, "timezone": "Mars/Base", "anchor_date": "2020-01-01"}},
            ("schedule",),
            "Specify an anchor date or a timezone, but not both.",
        ),
        ({"schedule": {"cron": "x"}}, ("schedule", "cron"), 'Invalid cron string: "x"'),
        ({"schedule": {"cron": "* * * * *", "colour": 1}}, ("schedule", "colour"), "there is no such field"),
        (
            {"schedule": {"every": 5}},
            ("schedule",),
            "a schedule is due: a mapping with one of interval, cron, rrule",
        ),
        (
            {"flow_runner": {"type": "docker", "config": {"volumes": ["data"]}}},
            ("flow_runner", "config", "volumes"),
            "Invalid volume specification. Expected format 'path:container_path', but got 'data'",
        ),
        (
            {"flow_runner": {"type": "subprocess", "config": {"condaenv": "a", "virtualenv": "b"}}},
            ("flow_runner", "config"),
            "Received incompatible settings. You cannot provide both a conda and virtualenv to use.",
        ),
        (
            {"flow_runner": {"type": "dockr"}},
            ("flow_runner",),
            "there is no flow runner 'dockr'; did you mean 'docker'?",
        ),
        ({"flow_storage": {"type": "S3 Storage"}}, ("flow_storage", "config", "bucket"), "it must be given"),
        (
            {"flow_storage": "somewhere"},
            ("flow_storage",),
            "a storage block is due: its UUID, or a mapping of type and config",
        ),
        ({"tags": "one"}, ("tags",), "a list of texts is due"),
        ({"parameters": 5}, ("parameters",), "a mapping is due"),
    ],
)
def test_a_wrong_field_has_one_clear_error_at_its_own_key(fields, path, message):
    """No union errors, no seven messages for one mistake."""
    assert wrong(**fields) == [(path, message)]


def test_an_rrule_is_checked():
    """Its text is read when the spec is made, not when it first runs."""
    ((path, message),) = wrong(schedule={"rrule": "FREQ=OFTEN"})
    assert path == ("schedule", "rrule")
    assert message.startswith('Invalid rrule string: "FREQ=OFTEN"')


def test_every_mistake_is_told_not_only_the_first():
    """Whoever mends a spec mends it once."""
    found = dict(wrong(name="a/b", tags=3, schedule={"interval": -1}))
    assert set(found) == {("name",), ("tags",), ("schedule", "interval")}


def test_parameters_arrive_as_json_compatible_data():
    """Dates, UUIDs and models are written out; what has no JSON form is named with its reason."""
    spec = DeploymentSpec(
        parameters={"day": dt.date(2026, 11, 22), "id": BLOCK_ID, "schedule": IntervalSchedule(interval=60)}
    )
    assert spec.parameters["day"] == "2026-11-22"
    assert spec.parameters["id"] == str(BLOCK_ID)
    assert spec.parameters["schedule"]["interval"] == "PT1M"
    ((path, message),) = wrong(parameters={"fine": 1, "thing": object()})
    assert path == ("parameters",)
    assert message.startswith("the parameter 'thing' has no JSON form: ")


def test_a_runner_may_be_given_as_itself_its_settings_or_its_name():
    """Settings become a runner."""
    runner = DockerFlowRunner(image="a:1", env={"LEVEL": 1})
    settings = {"type": "docker", "config": {"image": "a:1", "env": {"LEVEL": "1"}}}
    for given in (runner, settings, FlowRunnerSettings(**settings)):
        assert DeploymentSpec(flow_runner=given).flow_runner == runner
    assert DeploymentSpec(flow_runner="subprocess").flow_runner == SubprocessFlowRunner()
    assert DeploymentSpec().flow_runner == UniversalFlowRunner()


def test_a_spec_is_hashable_comparable_and_short():
    """Two specs of one name on different lines are two, and a repr shows nothing that is long or secret."""
    first = DeploymentSpec(name="d", parameters={"a": [1]}, flow_storage=secret_block()).at("/a.py", 3)
    same = DeploymentSpec(name="d", parameters={"a": [1]}, flow_storage=secret_block()).at("/a.py", 3)
    other = same.at("/a.py", 4)
    assert (first == same, hash(first) == hash(same), first == other) == (True, True, False)
    assert len({first, same, other}) == 2
    assert repr(first) == str(first) == "<DeploymentSpec 'd' at 'a.py':3>"


def secret_block():
    return S3StorageBlock(bucket="b", aws_access_key_id="id", aws_secret_access_key=SECRET)


@pytest.mark.parametrize(
    "block",
    [secret_block(), FileStorageBlock(base_path="s3://b", options={"secret": SECRET})],
    ids=["text", "mapping"],
)
def test_secrets_are_in_no_repr_dump_or_error(block):
    """Only ``plain()``, which clients are given, has them."""
    spec = DeploymentSpec(name="d", flow_storage=block)
    shown = [repr(spec), str(block), repr(block), str(spec.model_dump()), spec.model_dump_json()]
    shown += [f"{block.masked()}", str(vars(block))]
    assert not [text for text in shown if SECRET in text]
    assert SECRET in str(block.plain())
    with pytest.raises(ValidationError) as caught:
        S3StorageBlock(aws_secret_access_key=SECRET, region_name=[SECRET])
    assert SECRET not in str(caught.value)


def test_a_spec_survives_copying_and_pickling():
    """Place and origin included."""
    spec = DeploymentSpec(name="d", flow=FLOW).at("/a.py", 3, origin=Origin("/"), problems=("x",))
    for made in (copy.deepcopy(spec), pickle.loads(pickle.dumps(spec))):
        assert made == spec
        assert (made.file, made.line, made.origin, made.problems) == ("/a.py", 3, Origin("/"), ("x",))


# --- validation, in its order ---


def test_a_flow_or_a_location_must_be_given(refused):
    assert refused() == "Either `flow_location` or `flow` must be provided."


def test_a_flow_is_loaded_when_only_a_location_is_given(validate):
    valid = validate(flow_location="/flows/greet.py", found=FLOW, default=REMOTE)
    assert valid.spec.flow == FLOW
    assert valid.spec.flow_name == "greet"


def test_the_location_is_the_flows_when_none_is_given(validate):
    assert validate(flow=FLOW, default=REMOTE).spec.flow_location == "/flows/greet.py"


def test_location_and_flow_must_agree(refused):
    assert refused(flow=FLOW, flow_location="/a") == (
        "The given flow location '/a' does not match the path of the given flow: '/flows/greet.py'."
    )


def test_the_location_must_be_known(refused):
    assert refused(flow=Flow("greet")).startswith("cannot find out where the flow 'greet' is")


def test_a_local_location_is_made_absolute_and_a_remote_one_is_left(validate, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    flow = Flow("greet", file=str(tmp_path / "a.py"))
    assert validate(flow=flow, flow_location="a.py", default=REMOTE).spec.flow_location == flow.file
    assert (
        validate(flow_location="s3://b/a.py", found=FLOW, default=REMOTE).spec.flow_location == "s3://b/a.py"
    )


def test_the_names_must_match(refused):
    assert refused(flow=FLOW, flow_name="b") == "`flow.name` and `flow_name` must match. Got 'greet' and 'b'."


def test_a_deployment_without_a_name_has_its_flows(validate):
    assert validate(flow=FLOW, default=REMOTE).spec.name == "greet"


def test_a_flow_whose_name_is_no_deployments_is_refused(refused):
    assert "invalid character" in refused(flow=Flow("a/b", file="/a.py"))


@pytest.mark.parametrize("settings", [{"type": None}, FlowRunnerSettings()], ids=repr)
def test_the_base_runner_is_refused(refused, settings):
    assert refused(flow=FLOW, flow_runner=settings).startswith("The base `FlowRunner` type cannot be used.")


def test_problems_come_in_the_order_of_the_steps(refused):
    """A spec with everything wrong is told the first thing first."""
    everything = {"flow": FLOW, "flow_location": "/a", "flow_name": "b", "flow_runner": {"type": None}}
    assert "does not match the path" in refused(**everything)
    del everything["flow_location"]
    assert "must match" in refused(**everything)
    del everything["flow_name"]
    assert "base `FlowRunner`" in refused(**everything)
    del everything["flow_runner"]
    assert "default storage" in refused(**everything)


# --- storage ---


def test_a_runner_that_needs_remote_storage_says_so(refused):
    assert refused(flow=FLOW) == (
        "You have not configured default storage on the server or set a storage to use for this deployment"
        " but this deployment is using a Universal flow runner which requires remote storage."
    )
    for storage in (LocalStorageBlock(), TempStorageBlock()):
        assert refused(flow=FLOW, flow_runner="docker", flow_storage=storage) == (
            "You have configured local storage but this deployment is using a Docker flow runner which"
            " requires remote storage."
        )


def test_a_subprocess_runner_uses_local_storage_and_warns(validate):
    valid = validate(flow=FLOW, flow_runner="subprocess")
    assert valid.storage == LocalStorageBlock()
    assert valid.warnings == (
        "You have not configured default storage on the server or set a storage to use for this deployment."
        " Using local storage; this deployment will only be usable from the current machine.",
    )
    valid = validate(flow=FLOW, flow_runner="subprocess", flow_storage=TempStorageBlock())
    assert valid.warnings == (
        "You have configured local storage, this deployment will only be usable from the current machine.",
    )
    assert validate(flow=FLOW, flow_runner="subprocess", flow_storage=REMOTE).warnings == ()


def test_the_clients_default_storage_is_used(validate):
    record = BlockRecord(id=BLOCK_ID, name="ours", type="S3 Storage", config=secret_block().plain())
    valid = validate(flow=FLOW, default=record)
    assert (valid.storage, valid.block_id, valid.trusted) == (secret_block(), BLOCK_ID, True)
    assert valid.spec.flow_storage == BLOCK_ID


def test_a_uuid_is_looked_up(validate):
    record = BlockRecord(id=BLOCK_ID, name="ours", type="File Storage", config=REMOTE.plain())
    valid = validate(flow=FLOW, flow_storage=str(BLOCK_ID), block=record)
    assert (valid.storage, valid.block_id) == (REMOTE, BLOCK_ID)
    record = BlockRecord(id=BLOCK_ID, name="ours", type="Slack", config={})
    with pytest.raises(StorageError, match="cannot use the block 'ours' as storage: it is a 'Slack'"):
        validate(flow=FLOW, flow_storage=BLOCK_ID, block=record)


def test_only_the_callers_own_words_are_trusted_with_storage(validate):
    """A block that somebody else's script or manifest names is not."""
    mine = DeploymentSpec(flow=FLOW, flow_storage=REMOTE)
    given = Surroundings(nothing, nothing, nothing)
    assert validated(mine, given).trusted
    assert not validated(mine.at("/a.py", 1, origin=Origin("/")), given).trusted


def test_validating_changes_nothing_of_the_spec_itself(validate):
    """What is filled in is in the spec that is returned: one found in a dict stays found."""
    spec = DeploymentSpec(flow=FLOW, flow_storage=REMOTE)
    held = {spec: "here"}
    filled = validated(spec, Surroundings(nothing, nothing, nothing)).spec
    assert filled.name == "greet"
    assert spec.name is None
    assert held[spec] == "here"
    with pytest.raises(ValidationError):
        spec.name = "other"


def test_every_kind_of_runner_is_one():
    """The names by which settings are looked up are those of the models."""
    for spec in (DeploymentSpec(flow_runner=name) for name in ("universal", "docker", "kubernetes")):
        assert isinstance(spec.flow_runner, FlowRunnerBase)
