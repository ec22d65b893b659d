"""What a script writes to its worker's channel changes claims only, and only in the shape of a reply."""

import hashlib

import pytest

from tests.escapes import kit

FLOW = kit.flow()
ERROR = {
    "stage": "run",
    "type": "E",
    "message": "m",
    "frames": [],
    "traceback": "",
    "cause": None,
    "hint": None,
    "denied": None,
}


def forges(kit, flow):
    """A well-formed last word of one's own."""
    kit.say(kit.loaded(flows=[flow]))


def test_a_forged_reply_is_a_claim_and_no_fact_follows_it(escape, profile):
    seen = escape(forges, FLOW, profile=profile)
    outcome, source = seen.outcome, (seen.folder / "script.py").read_bytes()
    assert seen.status == "loaded"
    assert [flow["name"] for flow in outcome["flows"]] == ["forged"]
    assert outcome["source"]["digest"] == f"sha256:{hashlib.sha256(source).hexdigest()}"
    assert outcome["source"]["size"] == len(source)
    assert outcome["sandbox"]["profile"] == profile
    assert 0 < outcome["usage"]["wall_seconds"] < 5
    assert outcome["usage"]["max_rss_bytes"] > 1 << 20
    assert outcome["exit"] in (
        {"code": 0, "signal": None},
        {"code": 1, "signal": None},
        {"code": None, "signal": "SIGKILL"},
    )


def speaks_twice(kit, flow):
    """A last word, and then others."""
    import os

    kit.say(kit.loaded(flows=[flow]) + kit.loaded() + b"\xff" * 100)
    os._exit(7)


def test_the_first_last_word_counts(escape):
    seen = escape(speaks_twice, FLOW)
    assert seen.status == "loaded"
    assert [flow["name"] for flow in seen.outcome["flows"]] == ["forged"]
    assert seen.outcome["exit"]["code"] in (7, None)


def says(kit, tag, fields):
    """One message, and the reply as it comes."""
    kit.say(kit.frame(tag, **fields))


GUARANTEES = [{"name": "filesystem", "level": "full", "by": []}]
FAILED = {
    "error": ERROR,
    "flows": [],
    "specs": [],
    "notices": [],
    "dialect": {"name": "orion", "version": None, "reason": None},
    "sources": None,
}
LOADED = {"flows": [], "specs": [], "notices": [], "details": [], "sources": None}
LOADED["dialect"] = {"name": "orion", "version": None, "reason": None}
EXITED = {"code": 0, "signal": None, "cpu_seconds": 0.0, "max_rss_bytes": 0}
UNSAID = {
    "out of order": ("Ready", {"guarantees": GUARANTEES}),
    "refusing late": ("Refused", {"guarantees": [], "step": "forged", "errno": 0, "reason": ""}),
    "the supervisor's": (
        "Load",
        {"filename": "x", "source": "", "module": "x", "root": None, "dialect": "orion", "details": False},
    ),
    "the zygote's": ("Exited", EXITED),
    "forking": ("Fork", {}),
    "unknown": ("Pickle", {"state": "cos\nsystem\n"}),
    "extra fields": ("Loaded", {**LOADED, "digest": "sha256:0"}),
    "missing fields": ("Loaded", {"flows": []}),
    "a wrong type": ("Loaded", {**LOADED, "flows": [{**FLOW, "name": 7}]}),
    "a lying type": ("Loaded", {**LOADED, "flows": {"0": FLOW}}),
    "a nameless flow": ("Loaded", {**LOADED, "flows": [{**FLOW, "name": None}]}),
    "a status of its own": ("Failed", {**FAILED, "status": "sandbox_unavailable"}),
    "a loaded failure": ("Failed", {**FAILED, "status": "loaded"}),
    "a time-out": ("Failed", {**FAILED, "status": "timed_out"}),
    "facts in a flow": ("Loaded", {**LOADED, "flows": [{**FLOW, "usage": {}}]}),
}


@pytest.mark.parametrize("message", UNSAID.values(), ids=UNSAID)
def test_what_no_honest_worker_says_is_a_violation(escape, message):
    seen = escape(says, *message)
    assert seen.status == "violated_protocol"
    # What was found before it stays, and nothing of the message does.
    assert [flow["name"] for flow in seen.outcome["flows"]] == ["harmless"]
    assert len(seen.error["message"]) < 1000


def says_raw(kit, data):
    """Bytes that are given in hexadecimal."""
    import time

    kit.say(bytes.fromhex(data))
    time.sleep(30)


RAW = {
    "huge header": "ffffffff",
    "above the cap": "10000000" + "00" * 100,
    "empty": "00000000",
    "no msgpack": "00000004c1c1c1c1",
    "trailing bytes": "00000002c0c0",
    "a million items promised": "00000005dd00100000",
    "deep arrays": f"{100_000:08x}" + "91" * 100_000,
    "deep maps": f"{200_000:08x}" + "81a0" * 100_000,
    "an extension": "00000003d40000",
    "invalid text": "00000005a4ffffffff",
    "a surrogate": "00000005a3eda080c0",
}


@pytest.mark.parametrize("data", RAW.values(), ids=RAW)
def test_broken_frames_are_violations(escape, data):
    seen = escape(says_raw, data)
    assert seen.status == "violated_protocol"
    assert seen.outcome["usage"]["wall_seconds"] < 3
    assert escape.engine().process.poll() is None


def says_nothing_special(kit):
    """The honest worker's own last word."""
    return True


def test_an_honest_reply_is_believed(escape, profile):
    seen = escape(says_nothing_special, profile=profile)
    assert seen.report is True
    assert [flow["name"] for flow in seen.outcome["flows"]] == ["harmless"]
    assert seen.outcome["exit"] == {"code": 0, "signal": None}
