"""Any object becomes plain data."""

import dataclasses
import datetime as dt
import decimal
import enum
import json
import math
import pathlib
import uuid

import msgpack
import numpy as np
import pandas as pd
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker import plain


class Colour(enum.Enum):
    """An enum."""

    RED = "red"


class Level(enum.IntEnum):
    """An enum whose members are ints."""

    LOW = 1


@dataclasses.dataclass
class Point:
    """A dataclass."""

    x: int
    y: object = None


class Model(pydantic.BaseModel):
    """A model."""

    a: int
    when: dt.date = dt.date(2020, 1, 1)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, True),
        (1, 1),
        (1.5, 1.5),
        ("a", "a"),
        (b"ab", "ab"),
        (bytearray(b"ab"), "ab"),
        ((1, [2]), [1, [2]]),
        ({"b", "a"}, ["a", "b"]),
        (frozenset({2, 1}), [1, 2]),
        ({None: "b", True: "c", 1.5: "d", "e": "f"}, {"null": "b", "true": "c", "1.5": "d", "e": "f"}),
        ({2: "a"}, {"2": "a"}),
        (Colour.RED, "red"),
        (Level.LOW, 1),
        ({Colour.RED: Colour.RED}, {"red": "red"}),
        (dt.datetime(2020, 1, 2, tzinfo=dt.UTC), "2020-01-02T00:00:00+00:00"),
        (dt.date(2020, 1, 2), "2020-01-02"),
        (dt.time(1, 2), "01:02:00"),
        (dt.timedelta(minutes=1), 60.0),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (pathlib.Path("/a/b"), "/a/b"),
        (decimal.Decimal("0.5"), 0.5),
        (decimal.Decimal(3), 3),
        (Point(1, Point(2)), {"x": 1, "y": {"x": 2, "y": None}}),
        (Model(a=1), {"a": 1, "when": "2020-01-01"}),
        (np.int64(3), 3),
        (np.float64(0.5), 0.5),
        (np.array([[1, 2]]), [[1, 2]]),
        (np.bool_(True), True),
        (pd.Timestamp("2020-01-01"), "2020-01-01T00:00:00"),
    ],
)
def test_known_types_have_a_form(value, expected):
    """Each known type is copied by its own methods, and nothing is lost."""
    copied, whole = plain.exact(value)
    assert copied == expected
    assert type(copied) is type(expected)
    assert whole


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1 << 64, str(1 << 64)),
        (math.inf, "inf"),
        (-math.inf, "-inf"),
        (math.nan, "nan"),
        (decimal.Decimal("NaN"), "NaN"),
        (object, "<class 'object'>"),
        (b"\xff", "b'\\xff'"),
    ],
)
def test_what_has_no_form_becomes_a_text(value, expected):
    """The text stands for the value, and it is known that it does."""
    assert plain.exact(value) == (expected, False)


def test_addresses_do_not_show():
    """Two loads of one script say the same of an object."""
    assert plain.plain(object()) == "<object object at 0x…>"
    assert plain.plain([print, lambda: 1])[0] == "<built-in function print>"
    assert plain.masked("x = 0xFFEE0011") == "x = 0xFFEE0011"


def test_lone_surrogates_are_replaced():
    """What is left can be sent as UTF-8."""
    assert plain.plain({"\ud800": "a\udfff"}) == {"\ufffd": "a\ufffd"}


def test_subclasses_are_copied_by_their_base():
    """What a subclass says of itself is not asked."""

    class Text(str):
        __slots__ = ()

        def __str__(self):
            return "lie"

        __repr__ = __str__

    class Number(int):
        def __int__(self):
            return 7

        __index__ = __int__

    class Items(list):
        def __iter__(self):
            raise ValueError

    class Table(dict):
        def items(self):
            return [("lie", 1)]

    class Liar:
        __class__ = str

    copied = plain.plain([Text("a"), Number(3), Items([1]), Table(a=1)])
    assert copied == ["a", 3, [1], {"a": 1}]
    assert [type(item) for item in copied] == [str, int, list, dict]
    assert "Liar" in plain.plain(Liar())


class Raising:
    """Every special method raises what no `except Exception` catches."""

    def fail(self, *args):
        """Raise."""
        raise SystemExit

    __repr__ = __str__ = __iter__ = __len__ = __eq__ = __hash__ = __getattribute__ = __bool__ = fail
    model_dump = tolist = fail


class Meta(type):
    """A metaclass that raises for every attribute."""

    def __getattribute__(cls, name):
        raise KeyboardInterrupt


def test_hostile_objects_give_a_placeholder():
    """An object that raises is told by its type's name."""
    hostile = Meta("Hostile", (), {"__repr__": lambda self: 1 / 0})()
    assert plain.plain([Raising(), 1]) == [
        "<tests.worker.test_plain.Raising>",
        1,
    ] or "Raising" in plain.plain(Raising())
    assert "Hostile" in plain.plain(hostile)
    assert "Raising" in plain.text(Raising())


def test_depth_width_and_size_are_bounded():
    """Whatever the object, the copy is small."""
    deep = []
    for _ in range(100_000):
        deep = [deep]
    wide = list(range(1_000_000))
    cyclic = []
    cyclic.append(cyclic)
    bush = [[[[[[[[["x"] * 9] * 9] * 9] * 9] * 9] * 9] * 9] * 9]
    for value in (deep, wide, bush, {str(i): i for i in range(100_000)}, "x" * 1_000_000):
        copied, whole = plain.exact(value)
        assert not whole
        assert len(msgpack.packb(copied)) < 1_000_000
    assert plain.plain(cyclic) == ["<cycle>"]
    assert plain.exact([[1]] * 3) == ([[1]] * 3, True)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.dates(),
        lambda inner: (
            st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner) | st.sets(st.text())
        ),
    )
)
def test_every_copy_can_be_sent(value):
    """What comes out is JSON and msgpack, and copying it again changes nothing."""
    copied = plain.plain(value)
    json.dumps(copied, allow_nan=False)
    msgpack.packb(copied)
    assert plain.plain(copied) == copied
