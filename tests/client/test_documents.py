"""Data documents: what was put in comes out, and whatever else they say is refused with a reason."""

import base64
import math
import traceback
from types import MappingProxyType
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loader.client.documents import (
    DEPTH_CAP,
    SIZE_CAP,
    blockstorage,
    cloudpickle,
    json_data,
    parse_blockstorage,
    parse_cloudpickle,
    plain,
    resolve,
    text,
    write_json,
)
from loader.client.interface import DataDocument
from loader.errors import ClientError

SECRET = "hunter2-very-secret"
BLOCK = UUID("0c6b1c1e-53a4-4d0c-9d3e-6a6f0f0d7f51")

scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
)
data = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))


def nowhere(block_id, key):
    raise AssertionError("nothing lies in storage")


def document(encoding, blob):
    return DataDocument(encoding=encoding, blob=blob)


def nested(depth):
    return "[" * depth + "]" * depth


def refused(encoding, blob):
    """The message with which a document is refused; it holds nothing of what caused it."""
    with pytest.raises(ClientError) as caught:
        resolve(document(encoding, blob), nowhere)
    assert caught.value.__context__ is None or caught.value.__suppress_context__
    assert str(caught.value).startswith("cannot ")
    assert len(str(caught.value)) < 300
    return str(caught.value)


@pytest.mark.slow
@given(data)
def test_data_comes_back(value):
    """Types included."""
    found = resolve(json_data(value), nowhere)
    assert found == value
    assert repr(found) == repr(value)


@given(st.binary())
def test_pickles_come_back_as_bytes(pickle):
    """Unopened, and in lines or not."""
    assert resolve(cloudpickle(pickle), nowhere) == pickle
    assert resolve(document("cloudpickle", base64.encodebytes(pickle).decode()), nowhere) == pickle


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_text_comes_back(value):
    """As it is, line ends included."""
    assert resolve(text(value), nowhere) == value


@given(st.text(min_size=1), st.uuids())
def test_a_place_in_storage_comes_back(key, block_id):
    """What reads storage is asked for just that."""
    made = blockstorage(key, block_id)
    assert parse_blockstorage(made) == (key, block_id)
    assert resolve(made, lambda *asked: asked) == (block_id, key)


def test_a_document_s_repr_holds_none_of_it():
    """It may be large, foreign or secret."""
    assert SECRET not in repr(text(SECRET))


@pytest.mark.parametrize(
    ("blob", "reason"),
    [
        ("", "line 1, column 1"),
        ("{'a': 1}", "line 1, column 2"),
        ("[1,\n2,]", "line 2"),
        ("NaN", "NaN is not JSON"),
        ("[-Infinity]", "-Infinity is not JSON"),
        ("1e999", "1e999 is out of range"),
        ("9" * 5000, "digits"),
        ('{"a": 1, "a": 2}', "a key twice"),
        (nested(DEPTH_CAP + 1), f"nests more than {DEPTH_CAP} deep"),
        (nested(1_000_000), f"nests more than {DEPTH_CAP} deep"),
        ('{"a":' * 100_000, ""),
        ('"' + "x" * SIZE_CAP + '"', f"more than {SIZE_CAP} characters"),
    ],
    ids=range(12),
)
def test_json_is_read_strictly(blob, reason):
    """Bounded in size and depth; nothing that a reader of another kind would take for something else."""
    assert reason in refused("json", blob)


def test_as_deep_as_may_be():
    """The cap itself is allowed."""
    found = resolve(document("json", nested(DEPTH_CAP)), nowhere)
    assert resolve(json_data(found), nowhere) == found


@pytest.mark.parametrize("blob", ["a", "====", "a" * 5, "YWJj!", "ÿÿÿÿ", "YQ==YQ=="])
def test_a_pickle_that_is_not_base64_is_refused(blob):
    """Strictly: what is no base64 is not skipped."""
    assert "it is not base64" in refused("cloudpickle", blob)


@pytest.mark.parametrize(
    "content",
    [
        "null",
        '"x"',
        "[]",
        "{}",
        f'{{"data": "k", "block_id": "{BLOCK}", "more": 1}}',
        f'{{"data": "", "block_id": "{BLOCK}"}}',
        f'{{"data": 7, "block_id": "{BLOCK}"}}',
        '{"data": "k", "block_id": "x"}',
        '{"data": "k", "block_id": null}',
        '{"data": "k"}',
        "{",
    ],
)
def test_a_malformed_place_in_storage_is_refused(content):
    """Nothing is asked of storage."""
    assert "encoding blockstorage" in refused("blockstorage", content)


def test_a_document_of_another_kind_is_not_parsed():
    """A key is not taken from text that happens to look like one."""
    with pytest.raises(ClientError, match="it is of encoding text"):
        parse_blockstorage(text(blockstorage("k", BLOCK).blob))
    with pytest.raises(ClientError, match="it is of encoding text"):
        parse_cloudpickle(text("YQ=="))


@pytest.mark.parametrize("make", [text, lambda size: cloudpickle(size.encode()), json_data])
def test_what_is_too_long_is_not_made(make):
    """It could not be read again."""
    with pytest.raises(ClientError, match=f"more than {SIZE_CAP} characters"):
        make("x" * (SIZE_CAP + 1))


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (math.nan, "not finite"),
        ([math.inf], "not finite"),
        ({"a": {1: SECRET}}, "of type int, not text"),
        ({None: SECRET}, "of type NoneType, not text"),
        (SECRET.encode(), "of type bytes"),
        ({SECRET}, "of type set"),
        ([uuid4()], "of type UUID"),
        (10**5000, "digits"),
    ],
    ids=range(8),
)
def test_what_json_cannot_say_is_refused(value, reason):
    """Nothing is turned into something else; values, which may be secret, are not repeated."""
    with pytest.raises(ClientError, match=f"cannot write data as JSON: .*{reason}") as caught:
        json_data(value)
    assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_what_holds_itself_is_refused():
    """It nests without end."""
    circle = []
    circle.append(circle)
    with pytest.raises(ClientError, match=f"more than {DEPTH_CAP} deep"):
        json_data(circle)


def test_frozen_data_becomes_plain():
    """Mappings of every kind are objects, tuples are lists."""
    frozen = MappingProxyType({"a": (1, MappingProxyType({"b": ()}))})
    assert plain(frozen) == {"a": [1, {"b": []}]}
    assert write_json(frozen) == '{"a":[1,{"b":[]}]}'
