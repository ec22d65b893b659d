"""The protocol: whatever is said comes back as it was said, whatever the pieces and whatever the bytes."""

import tracemalloc
from dataclasses import fields, replace
from itertools import pairwise

import msgpack
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from worker import protocol
from worker.protocol import (
    HEADER,
    MESSAGES,
    Configure,
    Exited,
    Fork,
    Forked,
    Guarantee,
    Launch,
    Load,
    Reader,
    Ready,
    Violation,
    decode,
    encode,
    trusted,
)

CAP = 4096


def frame(value):
    """A frame with any body that msgpack can pack."""
    body = msgpack.packb(value)
    return HEADER.pack(len(body)) + body


def read(pieces, cap=CAP):
    """Every body that a reader finds in `pieces`, and the reader."""
    reader = Reader(cap)
    return [body for piece in pieces for body in reader.feed(piece)], reader


def cut(data, places):
    """`data` in pieces, cut at `places`."""
    ends = sorted({place % (len(data) + 1) for place in places} | {0, len(data)})
    return [data[start:end] for start, end in pairwise(ends)]


@given(bodies=st.lists(st.binary(max_size=50)), places=st.lists(st.integers(0, 2000)))
@example(bodies=[b"", b"", b"x"], places=[])
def test_frames_come_out_whole_however_they_are_cut(bodies, places):
    """A reader yields each body once, in order, and keeps nothing of a frame that is complete."""
    data = b"".join(HEADER.pack(len(body)) + body for body in bodies)
    found, reader = read(cut(data, places))
    assert found == bodies
    assert reader.pending == 0


@given(st.lists(st.binary(max_size=300), max_size=30))
def test_a_reader_keeps_no_more_than_its_cap_and_one_piece(pieces):
    """Whatever the bytes, what waits in a reader is one incomplete frame."""
    reader = Reader(64)
    try:
        for piece in pieces:
            before = len(reader.buffer)
            for _ in reader.feed(piece):
                pass
            assert reader.pending <= min(64 + HEADER.size - 1, before + len(piece))
    except Violation:
        assert HEADER.unpack_from(reader.buffer)[0] > 64


@pytest.mark.parametrize("length", [CAP + 1, 1 << 31, (1 << 32) - 1])
def test_a_frame_over_the_cap_is_refused_by_its_header(length):
    """Nothing is waited for, and nothing is allocated, that a header may not announce."""
    tracemalloc.start()
    try:
        with pytest.raises(Violation, match=f"{length} bytes: the cap is {CAP}"):
            read([HEADER.pack(length)])
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


def test_a_frame_of_exactly_the_cap_is_read():
    """The cap itself is allowed."""
    assert read([HEADER.pack(CAP), bytes(CAP)])[0] == [bytes(CAP)]


def test_frames_before_a_violation_are_given_out():
    """What came whole was said, whatever follows it."""
    bodies = Reader(CAP).feed(HEADER.pack(1) + b"a" + HEADER.pack(CAP + 1))
    assert next(bodies) == b"a"


def test_a_dripped_frame_takes_time_in_proportion_to_its_size():
    """A megabyte that comes byte by byte is read in one pass and not copied again for each byte."""
    body = bytes(1 << 20)
    data = memoryview(HEADER.pack(len(body)) + body)
    reader = Reader(len(body))
    found = [item for place in range(len(data)) for item in reader.feed(data[place : place + 1])]
    assert found == [body]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message.__name__)
def test_messages_are_frozen(message):
    """A message is what was said; nobody changes it afterwards."""
    assert message.__dataclass_params__.frozen


def test_every_message_has_a_tag_of_its_own():
    """A tag names one message."""
    assert len(protocol.BY_TAG) == len(MESSAGES)


@pytest.mark.parametrize(
    "message",
    [
        Fork(),
        Forked(3),
        Configure(None),
        Configure("/a/ü"),
        Exited(None, 9, 0.5, 1 << 40),
        Load("f.py", b"\x00\xff", "f", None, "orion"),
    ],
    ids=lambda message: type(message).__name__,
)
def test_what_is_encoded_is_decoded(message):
    """Between trusted ends a message arrives as it was sent."""
    (body,), _ = read([encode(message)])
    assert trusted(type(message), decode(body)) == message


def test_parts_of_a_message_travel_as_maps(policy):
    """A policy inside a message is rebuilt by who needs it, equal to what was sent."""
    sent = Launch(protocol.VERSION, policy(read=("/a", "/b")), 1, 2, "prefect3")
    (body,), _ = read([encode(sent)], protocol.CONTROL_CAP)
    got = trusted(Launch, decode(body))
    assert replace(got, policy=protocol.policy(got.policy)) == sent


def test_another_message_than_the_one_that_is_due_is_a_violation():
    """Trusted ends speak in turn, too."""
    with pytest.raises(Violation, match="cannot use a Fork: a Configure is due"):
        trusted(Configure, ("Fork", {}))


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        ["Fork"],
        ["Fork", {}, 1],
        ["Fork", []],
        {"Fork": {}},
        ["fork", {}],
        ["Violation", {}],
        ["__class__", {}],
        [1, {}],
        [["Fork"], {}],
        ["Fork", {"x": 1}],
        ["Forked", {}],
        ["Forked", {"number": 1, "more": 2}],
    ],
    ids=str,
)
def test_a_body_that_is_no_message_is_a_violation(value):
    """A body is a known tag and a map with exactly that message's fields."""
    with pytest.raises(Violation, match=r"^cannot read a frame: "):
        decode(msgpack.packb(value))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xc1",
        b"\x92",
        b"\x92\xa4Fork\x80\x00",
        b"\x92\xa2\xff\xfe\x80",
        b"\x92\xa3\xed\xa0\x80\x80",
        b"\x92\xa4Fork\x81\x01\x02",
        b"\x92\xa4Fork\xdf\xff\xff\xff\xff",
        b"\x92\xa4Fork\xdb\xff\xff\xff\xff",
        b"\x92\xa6Forked\x81\xa6number\xd6\xff\x00\x00\x00\x00",
        b"\x92\xa6Forked\x81\xa6number" + b"\x91" * 3000 + b"\x00",
    ],
    ids="empty unused cut trailing utf8 surrogate intkey count32 text32 timestamp deep".split(),
)
def test_broken_bytes_are_a_violation(body):
    """However a body is broken, there is one answer."""
    with pytest.raises(Violation):
        decode(body)


@given(st.binary(max_size=200))
def test_any_body_is_a_message_or_a_violation(body):
    """Decoding raises nothing else."""
    try:
        tag, values = decode(body)
    except Violation:
        return
    assert values.keys() == {item.name for item in fields(protocol.BY_TAG[tag])}


@pytest.mark.parametrize("value", [object(), {1, 2}, 1 << 64, "\ud800", {"a": object()}], ids=repr)
def test_what_is_not_plain_is_not_encoded(value):
    """Nothing is turned into something else on its way out."""
    with pytest.raises((TypeError, ValueError, OverflowError)):
        encode(Configure(value))


def test_a_policy_is_asked_by_guarantee_and_level(policy):
    """What is not in its demands is not asked for, at any level."""
    asked = policy(demands={"cpu": "full", "filesystem": "partial"})
    assert asked.asks("cpu")
    assert asked.asks("cpu", "full")
    assert not asked.asks("cpu", "partial")
    assert asked.asks("filesystem", "partial")
    assert not asked.asks("filesystem", "full")
    assert not asked.asks("memory")


def test_a_report_survives_the_way(policy):
    """Guarantees arrive as maps, in order."""
    sent = Ready((Guarantee("cpu", "full", ("rlimits",)), Guarantee("wall", "none")))
    _, values = decode(encode(sent)[HEADER.size :])
    assert [Guarantee(**item) for item in values["guarantees"]] == [
        Guarantee("cpu", "full", ["rlimits"]),
        Guarantee("wall", "none", []),
    ]
