"""Models of declared fields: kinds of values, secrets, hashes, and agreement with the script's side."""

import datetime as dt
import pickle
from pathlib import Path

import pytest
from pydantic import ValidationError

from loader import declared, storage
from loader.declared import Shared, plain
from loader.schedules import RRuleSchedule
from loader.storage import (
    AzureBlobStorageBlock,
    FileStorageBlock,
    KVServerStorageBlock,
    LocalStorageBlock,
    S3StorageBlock,
)
from worker.dialects.orion import model as scripts
from worker.dialects.orion import storage as script_storage
from worker.fields import BLOCKS, RUNNERS, SCHEDULES, SPEC, Declared
from worker.plain import plain as worker_plain

SECRET = "hunter2secret"


def kind_of(kind, **options):
    """A model with one field `x` of that kind."""
    return declared.declared("Made", Shared, {"x": Declared(kind, required=True, **options)}, "One field.")


def test_both_sides_know_every_kind_of_field():
    """A kind that only one side can check would be taken unchecked by the other."""
    kinds = {
        field.kind
        for fields in (*SCHEDULES.values(), *RUNNERS.values(), *BLOCKS.values(), SPEC)
        for field in fields.values()
    } - {"choice", "flow", "location", "flow_storage", "schedule", "flow_runner"}
    assert kinds <= set(declared.TYPES)
    assert kinds <= set(scripts.CHECKS)


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        ("string", "a"),
        ("string", 1),
        ("string", 1.5),
        ("path", "a/b"),
        ("folder", "a"),
        ("folder", "a/"),
        ("truth", True),
        ("truth", "yes"),
        ("truth", 0),
        ("strings", ["a", 1]),
        ("strings", {"b", "a"}),
        ("volumes", ["a:b"]),
        ("mapping", {"a": [1, {"b": None}]}),
        ("string_mapping", {"a": 1}),
        ("name", "a name"),
        ("interval", "1:00:00"),
        ("moment", "2022-01-01T00:00:00"),
        ("timezone", "Europe/Berlin"),
        ("cron", "* * * * *"),
        ("rrule", "FREQ=DAILY"),
    ],
)
def test_both_sides_keep_the_same_value(kind, given):
    """What a script's side keeps of a value, and says of it, is what this side keeps of the value itself."""
    said = worker_plain(scripts.CHECKS[kind](given))
    made = kind_of(kind)
    assert plain(made(x=said).x) == plain(made(x=given).x) == said


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        ("string", True),
        ("string", None),
        ("string", ["a"]),
        ("truth", "perhaps"),
        ("truth", 2),
        ("strings", "abc"),
        ("strings", 5),
        ("mapping", [("a", 1)]),
        ("string_mapping", {"a": []}),
        ("name", "a/b"),
        ("interval", 0),
        ("moment", "soon"),
        ("timezone", "Mars/Olympus"),
        ("cron", "soon"),
        ("rrule", "soon"),
        ("volumes", ["a"]),
    ],
)
def test_both_sides_refuse_the_same_value(kind, given):
    """A wrong value is wrong on either side."""
    with pytest.raises((ValueError, TypeError)):
        scripts.CHECKS[kind](given)
    with pytest.raises(ValidationError) as caught:
        kind_of(kind)(x=given)
    assert len(caught.value.errors()) == 1


def test_a_name_is_checked_in_the_words_of_the_seed():
    """The character and all that are forbidden are named."""
    with pytest.raises(ValidationError) as caught:
        kind_of("name")(x="a/b")
    assert caught.value.errors()[0]["msg"] == (
        "Name 'a/b' contains an invalid character. Must not contain any of: ['/', '%', '&', '>', '<']."
    )
    with pytest.raises(ValidationError, match="must not be empty"):
        kind_of("name")(x="  ")


def test_a_path_may_be_a_path_object():
    """As in scripts."""
    assert kind_of("path")(x=Path("/a")).x == "/a"


def test_a_message_shows_text_that_is_no_utf_8():
    """It is escaped: an error about an odd text is an error about the text."""
    with pytest.raises(ValidationError, match=r"Name .*udc80"):
        kind_of("name")(x="a/\udc80")


def test_equal_models_have_equal_hashes():
    """A model can be a key, whatever its fields hold, and cannot be changed."""
    made = kind_of("mapping")
    first, second = made(x={"a": [1]}), made(x={"a": [1]})
    assert first == second
    assert hash(first) == hash(second)
    with pytest.raises(ValidationError):
        first.x = {}


def test_plain_data_is_what_json_knows():
    """Lengths of time are seconds, moments ISO text."""
    assert kind_of("interval")(x="1:00").plain() == {"x": 3600.0}
    assert kind_of("moment")(x=dt.datetime(2022, 1, 1, tzinfo=dt.UTC)).plain() == {
        "x": "2022-01-01T00:00:00+00:00"
    }


BLOCKS_WITH_SECRETS = [
    script_storage.FileStorageBlock(base_path="s3://b", options={"key": SECRET, "deep": {"er": [SECRET]}}),
    script_storage.S3StorageBlock(bucket="b", aws_access_key_id=SECRET, aws_secret_access_key=SECRET),
    script_storage.GoogleCloudStorageBlock(bucket="b", service_account_info={"private_key": SECRET}),
    script_storage.AzureBlobStorageBlock(container="c", connection_string=f"AccountKey={SECRET}"),
    script_storage.LocalStorageBlock(),
    script_storage.LocalStorageBlock(storage_path="/a"),
    script_storage.TempStorageBlock(),
    script_storage.KVServerStorageBlock(api_address="http://127.0.0.1:1"),
]


@pytest.mark.parametrize("made", BLOCKS_WITH_SECRETS, ids=lambda made: type(made).__name__)
def test_a_scripts_block_is_taken_whole_and_its_secrets_are_shown_to_nobody(made):
    """`plain()` has them; no repr, message or JSON has."""
    said = worker_plain(script_storage.facts(made, whole=True))
    block = storage.KINDS[said["type"]](**said["config"])
    assert block.plain() == said["config"]
    assert block.block_name == said["type"]
    assert (
        SECRET not in repr(block) + str(block) + str(block.model_dump(mode="json")) + block.model_dump_json()
    )
    for value in ({"secret": SECRET}, [SECRET]):
        with pytest.raises(ValidationError) as caught:
            storage.KINDS[said["type"]](**{**said["config"], "bucket": value, "options": value})
        assert SECRET not in str(caught.value)


def test_models_are_of_the_module_that_names_them():
    """They can be copied and pickled by whoever trusts them."""
    for kind in storage.KINDS.values():
        assert pickle.loads(pickle.dumps(kind)) is kind


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (FileStorageBlock, {"base_path": "/x\0"}),
        (FileStorageBlock, {"base_path": "s3://k:hush-hush@b/x"}),
        (LocalStorageBlock, {"storage_path": "a\n"}),
        (S3StorageBlock, {"bucket": "b\x1b"}),
        (AzureBlobStorageBlock, {"container": "c\0", "connection_string": "x"}),
        (KVServerStorageBlock, {"api_address": "http://u:hush-hush@h"}),
    ],
)
def test_a_place_holds_no_control_characters_and_no_passwords(kind, fields):
    """It is shown to people and handed to the system, so it is refused where it is first said."""
    with pytest.raises(ValidationError) as caught:
        kind(**fields)
    assert "hush-hush" not in str(caught.value)
    assert "control character" in str(caught.value) or "no user and no password" in str(caught.value)


def test_a_rule_names_no_more_times_than_a_day_has_minutes():
    """More are seconds of a day, which take long to list."""
    hours, minutes = (",".join(map(str, range(count))) for count in (24, 60))
    most = f"FREQ=DAILY;BYHOUR={hours};BYMINUTE={minutes};BYSECOND=0"
    assert RRuleSchedule(rrule=most)
    with pytest.raises(ValidationError, match="times of the day, and 1440 are the most"):
        RRuleSchedule(rrule=most + ",30")
    with pytest.raises(ValidationError, match="times of the day, and 1440 are the most"):
        RRuleSchedule(rrule=f"RRULE:FREQ=DAILY\nEXRULE:{most},30")
