"""What all callers share: bounded in all, and never a single peer's."""

import contextlib
import signal
import struct
import time

import msgpack
import pytest

from loader import strict_json
from loader.daemon import bodies
from loader.daemon.bodies import FREE, JSON, MSGPACK, VALUE, Held
from loader.daemon.config import Peer
from loader.daemon.peers import Caller
from loader.daemon.problems import Problem
from loader.daemon.requests import Checking
from loader.daemon.shares import Shares
from tests.daemon.running import Connection

OWNER = Caller("uid 0", owner=True)
PEER, OTHER, THIRD = (Caller(f"uid {uid}", peer=Peer(uid=uid)) for uid in (1, 2, 3))
STRANGER, STRANGE = Caller("uid 4"), Caller("nobody")
MOST = 1 << 20


class Limits:
    """The only limit that is asked for."""

    bodies = 8 * MOST


def test_a_peer_has_a_quarter_and_all_peers_half():
    """The rest is the owner's, who may have all."""
    shares = Shares("things", "limits.things")
    shares.take(PEER, 8, 2)
    with pytest.raises(
        Problem, match=r"^cannot hold 1 more things: 2 .* uid 1.* limits\.things is 8"
    ) as caught:
        shares.take(PEER, 8)
    assert (caught.value.more["limit"], caught.value.status) == (2, 503)
    shares.take(OTHER, 8, 2)
    with pytest.raises(Problem, match="by peers"):
        shares.take(THIRD, 8)
    shares.take(OWNER, 8, 4)
    with pytest.raises(Problem, match="8 are held,"):
        shares.take(OWNER, 8)
    for caller, size in ((PEER, 2), (OTHER, 2), (OWNER, 4)):
        shares.give(caller, size)
    assert (shares.held, shares.by) == (0, {})


def test_all_who_were_granted_nothing_have_an_eighth_together():
    """Beside the half of those who were."""
    shares = Shares("things", "limits.things")
    shares.take(STRANGER, 16)
    shares.take(STRANGE, 16)
    with pytest.raises(Problem, match=r"2 are held by those without a grant, where 2 may be"):
        shares.take(STRANGE, 16)
    shares.take(PEER, 16, 4)
    shares.take(OTHER, 16, 4)
    with pytest.raises(Problem, match="by peers"):
        shares.move(STRANGER, THIRD, 16)
    assert shares.held == 10
    shares.give(OTHER, 4)
    shares.move(STRANGER, THIRD, 16)
    shares.take(STRANGER, 16)
    for caller, size in ((PEER, 4), (THIRD, 1), (STRANGER, 1), (STRANGE, 1)):
        shares.give(caller, size)
    assert (shares.held, shares.by) == (0, {})


def body(kind, many):
    """A body with so many lists that hold nothing."""
    if kind == JSON:
        return b'{"text":"x","parameters":{"x":[' + b",".join([b"[]"] * many) + b"]}}"
    return b"\x82\xa4text\xa1x\xaaparameters\x81\xa1x\xdd" + struct.pack(">I", many) + b"\x90" * many


@pytest.mark.parametrize("kind", [JSON, MSGPACK])
@pytest.mark.parametrize("many", [MOST // VALUE + FREE, 1 << 18])
def test_values_of_a_body_are_bounded_before_they_are_built(kind, many):
    """A byte may become a hundred: each value counts that much, in both forms."""
    budget = bodies.Budget(Limits)
    with contextlib.closing(Held(budget, OWNER, MOST)) as held:
        with pytest.raises(
            Problem, match=r"^cannot take a body of more than \d+ values.* limits\.body"
        ) as told:
            bodies.parsed(body(kind, many), kind, Checking, held)
        assert (told.value.status, told.value.more["limit"]) == (413, MOST)
        assert budget.shares.held <= MOST
    assert budget.shares.held == 0


@pytest.mark.parametrize("kind", [JSON, MSGPACK])
def test_values_of_a_body_are_held_as_long_as_it_is(kind):
    """What they take counts against all bodies."""
    budget = bodies.Budget(Limits)
    with contextlib.closing(Held(budget, OWNER, MOST)) as held:
        assert bodies.parsed(body(kind, 3 * FREE), kind, Checking, held).text == "x"
        assert 2 * FREE * VALUE <= budget.shares.held <= 6 * FREE * VALUE
    assert budget.shares.held == 0


def test_punctuation_of_a_text_is_no_value():
    """Nor is what an escaped quote seems to end; a quote without an end costs no time."""
    assert strict_json.values(rb'{"text": "[1,\",2,{\\", "name": "]"}', 10) == 3
    began = time.process_time()
    assert strict_json.values(b'"' + b'\\"' * 1_000_000 + b"\\", 10) == 0
    assert time.process_time() - began < 2


def test_values_are_counted_no_further_than_it_matters():
    """Until there are too many, or what comes can be no JSON: others wait for the thread that counts."""
    assert strict_json.values(b"[" + b'"",' * 1_000, 10) == 11
    assert strict_json.values(b'{"a":"b","c":"d","e":["f"]}', 10) == 5
    assert strict_json.values(b'""' * 1_000 + b"[[[", 10) == 0


@pytest.mark.slow
def test_too_many_values_are_a_problem_of_the_request(daemon):
    """Also over the socket, where the loop reads small bodies itself."""
    packed = {"Content-Type": "application/msgpack"}
    answer = daemon.ask("POST", "/v1/check", body(MSGPACK, 1 << 20), packed)
    assert (answer.status, answer.json["option"]) == (413, "limits.body")
    parameters = {"x": [[n] for n in range(1000)]}
    asked = msgpack.packb({"text": "1/0", "parameters": parameters})
    assert daemon.ask("POST", "/v1/check", asked, packed).status == 200


@pytest.mark.slow
def test_open_streams_of_events_do_not_keep_the_daemon(started):
    """They end with a word as soon as it does."""
    daemon = started()
    with contextlib.closing(Connection(daemon.socket)) as stream:
        stream.request("GET", "/v1/events")
        response = stream.getresponse()
        daemon.process.send_signal(signal.SIGTERM)
        assert b"the daemon ends" in response.read()
    assert daemon.end() == 0


@pytest.mark.slow
def test_readers_of_events_are_bounded(started):
    """And counted while they read only."""
    daemon = started("--set", "limits.event_readers=1")
    with contextlib.closing(Connection(daemon.socket)) as stream:
        stream.request("GET", "/v1/events")
        stream.getresponse()
        assert daemon.get("/v1/events").json["option"] == "limits.event_readers"
