"""Large answers to what is only looked at: a few are made at a time, and one place is the owner's."""

import asyncio
import json
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from loader.daemon.admission import TooLate
from loader.daemon.config import Peer
from loader.daemon.making import PLACES, Making
from loader.daemon.peers import Caller
from loader.daemon.problems import Problem
from loader.daemon.state import Name, Past, Seen
from loader.daemon.watching import PAGE, RECENT, listed
from tests.daemon.running import FLOW, NOBODY
from tests.daemon.test_peers import ROOT_ONLY, as_nobody
from tests.daemon.test_sources import configured, found

PEERS = (Peer(uid=1), Peer(uid=2))
OWNER, ONE, TWO = Caller("uid 0", owner=True), *(Caller(f"uid {peer.uid}", peer=peer) for peer in PEERS)
FLOWS = 900
MIB = 1 << 20


class Slow:
    """Something that is made until it may end, and how many of it there are."""

    def __init__(self):
        self.changed, self.may_end = threading.Condition(), threading.Event()
        self.now = self.most = 0

    def count(self, more):
        with self.changed:
            self.now += more
            self.most = max(self.most, self.now)
            self.changed.notify_all()

    def make(self):
        self.count(1)
        assert self.may_end.wait(30)
        self.count(-1)

    def wait(self, number):
        with self.changed:
            assert self.changed.wait_for(lambda: self.now == number, 30)

    async def are(self, number):
        """Wait until so many are made."""
        await asyncio.to_thread(self.wait, number)


def making(seconds=60.0):
    """What makes answers, for callers with so much patience."""
    limits = SimpleNamespace(wait_seconds=seconds)
    return Making(SimpleNamespace(config=SimpleNamespace(limits=limits, peers=PEERS)))


def run(test):
    """Run a coroutine that ends in 30 seconds, come what may."""
    asyncio.run(asyncio.wait_for(test, 30))


def test_peers_together_leave_the_owner_a_place():
    """However many of them ask at once, whatever each asks for."""

    async def test():
        door, slow = making(), Slow()
        asked = [asyncio.create_task(door.made(caller, slow.make)) for caller in (ONE, TWO) * 20]
        await slow.are(1)
        assert await door.made(OWNER, lambda: 7) == 7
        asked += [asyncio.create_task(door.made(OWNER, slow.make)) for _ in range(20)]
        await slow.are(PLACES)
        slow.may_end.set()
        await asyncio.gather(*asked)
        assert (slow.most, door.admission.inside) == (PLACES, 0)

    run(test())


def test_who_goes_away_makes_no_room():
    """Its answer is made to its end in its thread: until then nothing else is made in its place."""

    async def test():
        door, slow = making(0.05), Slow()
        gone = asyncio.create_task(door.made(ONE, slow.make))
        await slow.are(1)
        gone.cancel()
        with pytest.raises(TooLate, match=r"limits\.wait_seconds"):
            await door.made(TWO, slow.make)
        assert not gone.done()
        slow.may_end.set()
        with pytest.raises(asyncio.CancelledError):
            await gone
        assert await door.made(TWO, lambda: 7) == 7

    run(test())


def test_what_was_done_is_told_though_the_grant_is_taken_away_meanwhile():
    """What is only looked at is refused then."""

    async def test():
        door, gone = making(), Caller("uid 3", peer=Peer(uid=3))
        assert await door.made(gone, lambda: 7, done=True) == 7
        with pytest.raises(Problem, match="was read again while it waited"):
            await door.made(gone, lambda: 7)

    run(test())


def test_a_list_of_sources_is_bounded():
    """Page by page, each item without the script's own names and with its last loads only."""
    claims = ("x" * 4096,) * 100
    past = tuple(Past(at=float(n), status="loaded", seconds=1.0) for n in range(50))
    names = tuple(Name(kind="flow", name=f"f{n}", place="x.py") for n in range(1000))
    seen = [
        Seen(id=f"{n:06}", place="p", location="l", status="loaded", sources=claims, loads=past, names=names)
        for n in range(2 * PAGE + 1)
    ]
    pages, after = [], ""
    while after is not None:
        pages.append(listed(reversed(seen), after))
        after = pages[-1]["next"]
    assert [len(page["sources"]) for page in pages] == [PAGE, PAGE, 1]
    assert [item["id"] for page in pages for item in page["sources"]] == [item.id for item in seen]
    first = pages[0]["sources"][0]
    assert [one["at"] for one in first["loads"]] == [float(n) for n in range(50 - RECENT, 50)]
    assert not first.keys() & {"sources", "names", "home", "fingerprint"}
    assert len(json.dumps(pages[0])) < 2 * MIB


def peak(daemon):
    """The most memory that a daemon ever had, in MiB."""
    with open(f"/proc/{daemon.process.pid}/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM")) // 1024


@pytest.mark.slow
def test_many_who_look_at_once_cost_the_memory_of_a_few(started, place):
    """A large source, asked for by sixty at the same time; all of them are answered."""
    flows = place / "flows"
    flows.mkdir()
    parameters = ", ".join(f"a{n}: int = {n}" for n in range(12))
    many = "\n".join(f"@flow(name='n{n}')\ndef f{n}({parameters}): pass" for n in range(FLOWS))
    (flows / "large.py").write_text("from prefect import flow\n" + many)
    (flows / "small.py").write_text(FLOW.format(name="small"))
    daemon = started("--config", configured(place / "daemon.yaml", flows), "--set", "limits.bodies=1 GiB")
    daemon.until(lambda: found(daemon).get("large.py", {}).get("flows") == FLOWS)
    path = f"/v1/sources/{found(daemon)['large.py']['id']}"
    packed = {"Accept": "application/msgpack"}
    for headers in ({}, packed):
        assert daemon.get(path, **headers).status == 200
    before = peak(daemon)
    with ThreadPoolExecutor(60) as pool:
        asked = [pool.submit(lambda n=n: daemon.get(path, **(packed if n % 2 else {}))) for n in range(60)]
        assert {one.result().status for one in asked} == {200}
    assert peak(daemon) - before < 200


NEVER = 'name: n{}, flow_location: ./f.py, schedule: {{rrule: "FREQ=SECONDLY;BYMONTH=2;BYMONTHDAY=30"}}'
"""A deployment that never runs: that takes long to find out, each time somebody looks."""


@pytest.mark.slow
@ROOT_ONLY
def test_what_waits_is_not_told_by_a_grant_that_was_taken_away(started, place):
    """It is refused in its turn; the owner gets what it asked for."""
    flows, file = place / "flows", place / "daemon.yaml"
    flows.mkdir()
    (flows / "f.py").write_text(FLOW.format(name="f"))
    (flows / "m.yaml").write_text("".join(f"- {{{NEVER.format(number)}}}\n" for number in range(4)))
    granting = {"socket_access": "everyone", "peers": [{"uid": NOBODY, "watch": True}]}
    daemon = started("--config", configured(file, flows, **granting))
    daemon.until(lambda: found(daemon).get("m.yaml", {}).get("specs") == 4)
    path = f"/v1/sources/{found(daemon)['m.yaml']['id']}"
    with ThreadPoolExecutor(9) as pool:
        asked = [pool.submit(as_nobody, daemon, "GET", path) for _ in range(8)]
        daemon.until(lambda: daemon.logged("answered", caller=f"uid {NOBODY}", status=200))
        owners = pool.submit(daemon.get, path)
        configured(file, flows, socket_access="everyone")
        daemon.process.send_signal(signal.SIGHUP)
        answers = [one.result() for one in asked]
        assert owners.result().status == 200
    told = [answer["detail"] for status, answer in answers if status == 403]
    assert any("was read again while it waited; ask again" in detail for detail in told)
    assert len(told) >= len(answers) - 2
