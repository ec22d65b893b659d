"""The gate: whatever the bytes, a message or a Violation, and memory in proportion to them."""

import math
import struct
import tracemalloc
from dataclasses import replace

import msgpack
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from loader import gate
from worker.framing import plain
from worker.protocol import (
    HEADER,
    MESSAGES,
    Denied,
    Detail,
    Dialect,
    Error,
    Failed,
    Flow,
    Fork,
    Found,
    Frame,
    Guarantee,
    Loaded,
    Notice,
    Reader,
    Ready,
    Refused,
    Spec,
    Violation,
    encode,
)

GROWTH = 80
"""Bytes of memory that a byte on the wire may cost: an empty list is one there and sixty-four here."""

FLOW = Flow(
    "hello",
    "hello",
    "flow.py:hello",
    "1",
    "Says hello.",
    {"type": "object", "properties": {"x": {"default": [1, 2.5, None, True, {"é": "\n"}]}}},
    "flow.py",
    3,
    9,
    is_async=False,
    retries=2,
    timeout_seconds=1.5,
    task_runner="SequentialTaskRunner",
    tags=("a", "b"),
)
SPEC = Spec("s", "hello", "flow.py", {"x": -1}, {"cron": "* * * * *"}, ("t",), None, [1, {}], "flow.py", 12)
NOTICE = Notice("warning", "careful", "flow.py", 1)
CAUSE = Error("run", "ValueError", "no", hint="try again")
ERROR = Error("run", "KeyError", "'x'", (Frame("flow.py", None, "f", "f()"),), "Traceback", CAUSE, None)
DENIED = Error("run", "PermissionError", "no", denied=Denied("filesystem", "/etc/passwd"))
HONEST = (
    Ready((Guarantee("cpu", "full", ("rlimits",)), Guarantee("wall", "none"))),
    Refused(("filesystem",), "landlock: add rule: /usr", 2, "No such file"),
    Found(flow=FLOW),
    Found(spec=SPEC),
    Found(notice=NOTICE),
    Loaded((FLOW, Flow("other")), (SPEC, Spec()), (NOTICE,), Dialect("orion", "2")),
    Loaded((), (SPEC,), (), Dialect("orion"), (Detail(FLOW, {"type": "S3 Storage"}, ("odd",)),)),
    Failed("script_failed", ERROR, (FLOW,), (), (), Dialect("orion")),
    Failed("out_of_memory", DENIED, (), (), (), Dialect("orion")),
)


def body(message):
    return encode(message)[HEADER.size :]


def loaded(**fields):
    """The body of a `Loaded`, with some fields replaced by anything."""
    values = {"flows": [], "specs": [], "notices": [], "details": [], "sources": None}
    values["dialect"] = {"name": "orion", "version": None, "reason": None}
    return msgpack.packb(["Loaded", {**values, **fields}], use_bin_type=True)


def with_parameters(raw):
    """The body of a `Loaded` whose one flow has the packed value `raw` as a parameter."""
    mark = "0123456789"
    flow = {**plain(FLOW), "parameters": {"x": mark}}
    return loaded(flows=[flow]).replace(msgpack.packb(mark), raw)


def judged(data):
    """What the gate makes of a body, with the memory it took on the way: a message or a Violation."""
    tracemalloc.start()
    try:
        answer = gate.claim(data)
    except Violation as violation:
        answer = violation
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < GROWTH * len(data) + 300_000
    return answer


@pytest.mark.parametrize("kind", [Flow, Spec])
def test_what_is_alike_is_bounded(kind):
    """Who wants each once compares what differs in its parameters alone, all with all."""
    made = [kind("same", parameters={"n": number}) for number in range(gate.ALIKE)]

    def loaded(*more):
        held = (*made, *more)
        flows, specs = (held, ()) if kind is Flow else ((), held)
        return body(Loaded(flows, specs, (), Dialect("orion")))

    gate.claim(loaded(kind("another"), kind("same", line=2)))
    with pytest.raises(gate.Excess, match="alike"):
        gate.claim(loaded(kind("same", parameters={"n": -1})))


def test_details_are_one_for_each_spec_or_none():
    """Others would be of no spec, or leave one without its own."""
    spec, detail = plain(SPEC), plain(Detail())
    assert isinstance(judged(loaded(specs=[spec, spec], details=[detail, detail])), Loaded)
    for details in ([detail], [detail] * 3):
        assert isinstance(judged(loaded(specs=[spec, spec], details=details)), Violation)


@pytest.mark.parametrize("message", HONEST, ids=lambda message: type(message).__name__)
def test_an_honest_message_passes_unchanged(message):
    """What is claimed is what was said: nothing is filled in, converted or lost."""
    assert gate.claim(body(message)) == message


@pytest.mark.parametrize(
    "raw", [0, -1, (1 << 64) - 1, -(1 << 63), 1e308, "", "é", "x" * 70_000, [], {}, True, None]
)
def test_every_plain_value_passes_in_parameters(raw):
    """All of JSON, at every size that the wire has."""
    for value in (raw, [raw] * 20, {"k" * 300: raw}, [raw] * 70_000 if raw in (None, 0) else raw):
        (flow,) = gate.claim(with_parameters(msgpack.packb(value))).flows
        assert flow.parameters["x"] == value
        assert type(flow.parameters["x"]) is type(value)


@pytest.mark.parametrize(
    "kind", [kind for kind in MESSAGES if kind not in (Ready, Refused, Found, Loaded, Failed)]
)
def test_a_worker_says_only_what_is_a_workers_to_say(kind):
    """The messages of brokers, zygotes and supervisors are no claims."""
    values = dict.fromkeys(kind.__dataclass_fields__)
    with pytest.raises(Violation, match=f"cannot take a {kind.__name__} from a worker"):
        gate.claim(msgpack.packb([kind.__name__, values]))


@pytest.mark.parametrize(
    "status", ["loaded", "timed_out", "crashed", "violated_protocol", "sandbox_unavailable", ""]
)
def test_a_worker_cannot_claim_what_only_the_supervisor_can_see(status):
    """How a load ended otherwise is a fact."""
    with pytest.raises(Violation, match="not a worker's to give"):
        gate.claim(body(Failed(status, ERROR, (), (), (), Dialect("orion"))))


@pytest.mark.parametrize(
    "change",
    [
        {"name": None},
        {"name": 1},
        {"line": "3"},
        {"line": 3.0},
        {"line": True},
        {"is_async": 1},
        {"is_async": "yes"},
        {"timeout_seconds": "nan"},
        {"timeout_seconds": "5"},
        {"timeout_seconds": True},
        {"tags": "ab"},
        {"tags": {"a": 1}},
        {"tags": [1]},
        {"tags": None},
        {"parameters": []},
        {"parameters": "{}"},
        {"more": 1},
        {"__class__": "Flow"},
    ],
    ids=str,
)
def test_a_value_of_another_type_is_not_converted(change):
    """No honest worker says 3 as a text: what would have to be guessed is refused."""
    with pytest.raises(Violation, match=r"^cannot take a Loaded: flows\.0\."):
        gate.claim(loaded(flows=[{**plain(FLOW), **change}]))


def test_a_field_that_is_missing_is_not_filled_in():
    """A part has all of its fields, as a message has."""
    for field in plain(FLOW):
        flow = {key: value for key, value in plain(FLOW).items() if key != field}
        with pytest.raises(Violation):
            gate.claim(loaded(flows=[flow]))


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("code", [">f", ">d"])
def test_a_number_without_a_value_is_refused(number, code):
    """JSON has no word for it."""
    raw = (b"\xca" if code == ">f" else b"\xcb") + struct.pack(code, number)
    with pytest.raises(Violation, match="has no value"):
        gate.claim(with_parameters(raw))


@given(
    st.floats(allow_nan=False, allow_infinity=False)
    | st.floats(width=32, allow_nan=False, allow_infinity=False)
)
def test_a_number_with_a_value_passes(number):
    """The largest and the smallest are numbers, too."""
    (flow,) = gate.claim(with_parameters(b"\xcb" + struct.pack(">d", number))).flows
    assert flow.parameters["x"] == number


@pytest.mark.parametrize(
    "raw",
    [
        msgpack.packb(b"bytes", use_bin_type=True),
        b"\xc5\x00\x01\x00",
        b"\xc6\x00\x00\x00\x01\x00",
        b"\xd4\x01\x00",
        b"\xd6\xff\x00\x00\x00\x00",
        b"\xc7\x00\x01",
        b"\xc7\x0c\xff" + bytes(12),
        b"\xc8\x00\x00\x05",
        b"\xc9\x00\x00\x00\x00\x05",
        b"\xc1",
        b"\x81\x01\x02",
        b"\x81\xc4\x01k\x02",
        b"\x81\xc0\x02",
        b"\x81\x90\x02",
        b"\xa2\xff\xfe",
        b"\xa3\xed\xa0\x80",
    ],
    ids=(
        "bin8 bin16 bin32 fixext timestamp ext8 timestamp96 ext16 ext32"
        " unused intkey binkey nilkey listkey utf8 surrogate"
    ).split(),
)
def test_what_json_cannot_carry_is_refused(raw):
    """Bytes, extensions, times, keys that are not text, text that is not Unicode."""
    assert isinstance(judged(with_parameters(raw)), Violation)


def test_the_last_of_equal_keys_counts():
    """A key that comes twice is as harmless as one that comes once."""
    (flow,) = gate.claim(with_parameters(b"\x82\xa1k\x01\xa1k\x02")).flows
    assert flow.parameters["x"] == {"k": 2}


def test_nothing_may_follow_a_message():
    """A frame is one message."""
    with pytest.raises(Violation, match="does not end where it should"):
        gate.claim(body(HONEST[0]) + b"\xc0")


@pytest.mark.parametrize("deeper", [0, 1])
@pytest.mark.parametrize("raw", [b"\x91", b"\x81\xa1k", b"\xdc\x00\x01", b"\xdf\x00\x00\x00\x01\xa1k"])
def test_depth_is_bounded(raw, deeper):
    """A message nests so far and no further, whatever it nests with."""
    above = 5  # the frame, its fields, the flows, the flow, its parameters; and the innermost one below
    data = with_parameters(raw * (gate.DEPTH - above - 2 + deeper) + b"\x90")
    if deeper:
        assert "nests too deeply" in str(judged(data))
    else:
        assert isinstance(judged(data), Loaded)


def test_a_chain_of_causes_is_bounded_like_any_depth():
    """Errors nest as maps do; what is allowed does not exhaust the stack."""
    error = CAUSE
    for _ in range(gate.DEPTH - 5):
        error = Error("run", "E", "m", cause=error)
    assert isinstance(judged(body(Failed("script_failed", error, (), (), (), Dialect("o")))), Failed)
    error = Error("run", "E", "m", cause=Error("run", "E", "m", cause=error))
    assert isinstance(judged(body(Failed("script_failed", error, (), (), (), Dialect("o")))), Violation)


MANY = 1 << 18


@pytest.mark.sampled
@pytest.mark.parametrize(
    "data",
    [
        loaded(flows=[0] * MANY),
        loaded(flows=[[]] * MANY),
        loaded(flows=[{}] * MANY),
        loaded(flows=[{"name": ""}] * (MANY // 7)),
        loaded(flows=[{**plain(FLOW), "tags": [0] * MANY}]),
        loaded(notices=[plain(NOTICE)] * 20_000 + [0]),
        with_parameters(b"\xdd\x00\x03\x00\x00" * 90 + bytes(MANY)),
        with_parameters(b"\xdc\xff\xff" * 90 + bytes(MANY)),
        with_parameters(b"\xdf\xff\xff\xff\xff"),
        with_parameters(b"\xdb\xff\xff\xff\xff"),
        with_parameters(b"\xdd" + gate.PARTS.to_bytes(4) + b"\x90" * gate.PARTS),
        with_parameters(b"\xdd" + gate.PARTS.to_bytes(4) + b"\x80" * gate.PARTS),
        msgpack.packb([[]] * MANY),
        b"\x90" * MANY,
        b"\x91" * MANY,
        bytes(MANY),
    ],
    ids=(
        "numbers lists maps short_flows tags notices nested_counts nested_short_counts map_count text_count"
        " many_lists many_maps bare_lists trailing_lists deep zeros"
    ).split(),
)
def test_a_frame_that_wants_to_be_large_in_memory_is_refused_cheaply(data):
    """Counts that lie, parts without number, a million mistakes: none costs more than its bytes do."""
    assert isinstance(judged(data), Violation)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("item", "weight"), [(b"\x90", gate.CONTAINER), (b"\x80", gate.CONTAINER), (b"\x01", 1)]
)
def test_parts_are_bounded_to_the_last_one(item, weight):
    """A frame may weigh as much as all that one worker says; one more part is too much."""
    around = gate.weigh(with_parameters(b"\xc0")) - 1 + gate.CONTAINER
    items, rest = divmod(gate.PARTS - around, weight)
    for more in (0, 1):
        filling = b"\x01" * (rest + more)
        data = with_parameters(b"\xdd" + (items + len(filling)).to_bytes(4) + item * items + filling)
        answer = judged(data)
        assert type(answer) is (gate.Excess if more else Loaded)
    assert issubclass(gate.Excess, Violation)
    assert "too many parts" in str(answer)


@pytest.mark.slow
def test_a_map_of_many_keys_is_refused():
    """Each costs a hundred bytes in memory, whatever it is on the wire."""
    keys = b"".join(b"\xa4" + b"%04x" % number + b"\x01" for number in range(1 << 16))
    maps = b"\xdf" + (1 << 16).to_bytes(4) + keys
    assert isinstance(judged(with_parameters(maps)), Loaded)
    assert isinstance(judged(with_parameters(b"\x95" + maps * 5)), gate.Excess)


def test_what_a_worker_says_has_one_budget(monkeypatch):
    """Lists and maps of all its frames are counted together, to the last one."""
    found, ready = body(Found(flow=FLOW)), body(HONEST[0])
    monkeypatch.setattr(gate, "PARTS", 3 * gate.weigh(found) + gate.weigh(ready))
    one = gate.Gate()
    for data in (found, ready, found, found):
        one.claim(data)
    assert one.left == 0
    for data in (found, ready):
        with pytest.raises(gate.Excess, match="too many parts"):
            one.claim(data)


def test_another_worker_has_a_budget_of_its_own(monkeypatch):
    """A single claim has a fresh one each time, too."""
    found = body(Found(flow=FLOW))
    monkeypatch.setattr(gate, "PARTS", gate.weigh(found))
    for _ in range(3):
        assert gate.Gate().claim(found) == gate.claim(found) == Found(flow=FLOW)


def test_what_is_malformed_is_not_too_much():
    """Too much is said of frames that could have been taken; all else is a plain violation."""
    for data in (b"", b"\xc1", b"\x91", body(Fork()), body(HONEST[0]) + b"\xc0", b"\x91" * MANY):
        with pytest.raises(Violation) as caught:
            gate.Gate().claim(data)
        assert type(caught.value) is Violation


def test_a_large_honest_reply_passes():
    """What a script of a thousand flows says is far below every bound."""
    flows = tuple(replace(FLOW, line=number) for number in range(3000))
    specs = tuple(replace(SPEC, line=number) for number in range(3000))
    reply = Loaded(flows, specs, (NOTICE,) * 200, Dialect("orion"))
    assert gate.claim(body(reply)) == reply


@given(st.binary(max_size=300))
@example(b"\x92\xa6Loaded\x84")
def test_any_bytes_are_a_message_or_a_violation(data):
    """Nothing else is ever raised, and no more is kept than was given."""
    judged(data)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 64) - 1)
    | st.floats()
    | st.text(max_size=5)
    | st.binary(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(st.text(max_size=3) | st.integers(-9, 9), inner, max_size=5)
    ),
    max_leaves=20,
)


@given(st.sampled_from([kind.__name__ for kind in MESSAGES]), JSON)
def test_any_value_under_any_tag_is_a_message_or_a_violation(tag, value):
    """A tag opens no door that its fields do not fit."""
    judged(msgpack.packb([tag, value], use_bin_type=True, unicode_errors="surrogatepass"))


@settings(max_examples=400)
@given(
    st.sampled_from(HONEST),
    st.lists(
        st.tuples(st.integers(0, 10_000), st.binary(max_size=3), st.integers(0, 3)), min_size=1, max_size=4
    ),
)
def test_a_mutated_honest_frame_is_a_message_or_a_violation(message, edits):
    """Bytes replaced, put in or left out anywhere: what passes is well formed and can be said again."""
    data = bytearray(body(message))
    for place, new, removed in edits:
        start = place % (len(data) + 1)
        data[start : start + removed] = new
    answer = judged(bytes(data))
    if not isinstance(answer, Violation):
        assert gate.claim(body(answer)) == answer


@given(st.lists(st.binary(max_size=100), max_size=20))
def test_reader_and_gate_take_any_stream(pieces):
    """From bytes in any pieces come messages, and at the first violation it is over."""
    reader = Reader(1000)
    try:
        for piece in pieces:
            for data in reader.feed(piece):
                assert isinstance(gate.claim(data), gate.Claim)
    except Violation:
        return
    assert reader.pending < 1000 + HEADER.size


@given(st.lists(st.sampled_from((*HONEST, Fork())), max_size=6), st.integers(1, 200))
def test_a_stream_of_messages_comes_out_as_it_went_in(messages, size):
    """In pieces of any size, up to the first that is not a worker's to say."""
    stream = b"".join(map(encode, messages))
    reader, found = Reader(1 << 16), []
    honest = messages[: messages.index(Fork())] if Fork() in messages else messages
    try:
        for start in range(0, len(stream), size):
            found += map(gate.claim, reader.feed(stream[start : start + size]))
    except Violation:
        assert len(honest) < len(messages)
    assert found == honest[: len(found)]
    assert len(found) == len(honest) or len(honest) < len(messages)
