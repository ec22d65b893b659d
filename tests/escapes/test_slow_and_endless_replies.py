"""A reply that drips, floods or never ends is over when the time is, in bounded memory."""

import pytest

FLOW_BYTES = 3000


def drips(kit):
    """A good reply, a byte at a time."""
    import time

    for byte in kit.loaded():
        kit.say(bytes([byte]))
        time.sleep(0.1)


def announces(kit):
    """Half of a frame that is within the cap, and then nothing."""
    import time

    kit.say((4 << 20).to_bytes(4, "big") + bytes(1 << 20))
    time.sleep(1000)


def floods(kit, size):
    """Legal messages without end."""
    flow = dict.fromkeys(
        "function entrypoint version description parameters file line end_line is_async retries"
        " timeout_seconds task_runner".split()
    )
    found = kit.frame("Found", flow={**flow, "name": "x" * size, "tags": []}, spec=None, notice=None) * 10
    while True:
        kit.say(found)


@pytest.mark.sampled
@pytest.mark.parametrize("attempt", [drips, announces])
def test_a_slow_reply_is_too_late(escape, profile, attempt):
    seen = escape(attempt, profile=profile, timeout=1)
    assert seen.status == "timed_out"
    assert seen.outcome["usage"]["wall_seconds"] < 3


@pytest.mark.sampled
@pytest.mark.parametrize("size", [10, FLOW_BYTES, 1 << 20])
def test_a_flood_ends_in_time_and_in_bounded_memory(escape, size):
    engine = escape.engine()
    escape(replies_slowly)
    before = engine.peak()
    seen = escape(floods, size, timeout=2)
    assert seen.status in ("timed_out", "violated_protocol", "output_exceeded")
    assert seen.outcome["usage"]["wall_seconds"] < 5
    assert engine.peak() - before < 64 << 20


def multiplies(kit):
    """A reply within its cap that is many times as large once it is read."""
    import time

    empty = b"\x80"
    hole = kit.frame("Found", flow="hole", spec=None, notice=None)[4:]
    body = hole.replace(b"\xa4hole", b"\xdd" + (4_000_000).to_bytes(4, "big") + empty * 4_000_000)
    kit.say(len(body).to_bytes(4, "big") + body)
    time.sleep(30)


def test_a_reply_cannot_multiply_in_memory(escape):
    engine = escape.engine()
    before = engine.peak()
    assert escape(multiplies).status == "output_exceeded"
    assert engine.peak() - before < 64 << 20


def replies_slowly(kit):
    """A reply that takes its time, but not too much."""
    import time

    time.sleep(0.3)
    return "there"


def test_a_reply_within_the_time_counts(escape, profile):
    assert escape(replies_slowly, profile=profile, timeout=5).report == "there"


def defines_much(kit):
    """A flow whose description alone is larger than a reply may be."""
    from prefect import flow

    def described():
        pass

    described.__doc__ = "x" * (5 << 20)
    globals()["described"] = flow(described)


def test_a_reply_that_is_too_large_is_said_to_be(escape, profile):
    seen = escape(defines_much, profile=profile)
    assert seen.status in ("output_exceeded", "loaded")
    assert len(str(seen.outcome["flows"])) < 4 << 20
