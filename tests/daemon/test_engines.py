"""The warm loaders: no more than may be, and never so many of peers that the owner gets none."""

import asyncio
import contextlib
import threading
from dataclasses import dataclass

import pytest

from loader.daemon import engines as room
from loader.daemon.engines import USUAL, Engines
from loader.daemon.problems import Problem
from loader.errors import ProfileError

OTHER = ("strict", "/usr/bin/python3", "auto", True)
DIALECTS = ("orion", "prefect2", "prefect3")


def key(dialect, *, owner=False):
    """The key of a loader that is like the usual one but for the dialect, and for whose it is."""
    return ("strict", None, dialect, owner)


@dataclass
class Limits:
    """The limits that are asked for."""

    engines: int
    engine_idle_seconds: float = 900


def run(test, most=4):
    """Run a test with engines, a callable that uses one of them in a stack, and that stack."""

    async def ran():
        engines = Engines(Limits(most))
        try:
            async with contextlib.AsyncExitStack() as stack:

                async def use(which):
                    return await stack.enter_async_context(engines.loader(which))

                await test(engines, use, stack)
        finally:
            await engines.close()

    asyncio.run(ran())


async def used(engines, which):
    """Use a loader for a moment."""
    async with engines.loader(which):
        pass


def test_peers_have_half_of_the_engines():
    """Also when they ask for all at once; only an idle one of theirs makes room for another."""

    async def test(engines, use, stack):
        await used(engines, USUAL)
        asked = [use(key(name)) for name in DIALECTS]
        came = await asyncio.gather(*asked, return_exceptions=True)
        refused = [one.more["option"] for one in came if isinstance(one, Problem)]
        assert refused == ["limits.engines"]
        assert (len(engines.held), engines.coming) == (3, set())
        await used(engines, OTHER)
        await stack.aclose()
        for name in DIALECTS:
            await used(engines, key(name))
        assert engines.held.keys() == {USUAL, OTHER, key("prefect2"), key("prefect3")}

    run(test)


def test_a_peer_closes_nothing_of_the_owner():
    """Neither what is in use nor what is idle; what is its own it may lose."""

    async def test(engines, use, _):
        await used(engines, USUAL)
        await used(engines, key("orion", owner=True))
        with pytest.raises(Problem, match=r"^cannot hold another engine: 2 .* limits\.engines is 2"):
            await use(key("prefect2"))
        assert engines.held.keys() == {USUAL, key("orion", owner=True)}

    run(test, 2)


def test_owner_and_peers_share_no_engine():
    """A folder that does not answer keeps those who share an engine with its load."""

    async def test(_engines, use, _):
        assert await use(USUAL) is not await use((*USUAL[:3], False))

    run(test)


def test_engines_in_use_by_peers_do_not_keep_the_owner():
    """One of them leaves, and ends when its last load has; what the owner uses stays."""

    async def test(engines, use, _):
        theirs = await use(key("orion"))
        await use(USUAL)
        await use(key("prefect2", owner=True))
        assert engines.held.keys() == {USUAL, key("prefect2", owner=True)}
        assert (await asyncio.to_thread(theirs.load_text, "1/0", name="x")).status == "script_failed"
        with pytest.raises(Problem):
            await use(key("prefect3", owner=True))

    run(test, 2)


def test_a_loader_that_nobody_waits_for_any_more_is_made_to_its_end(monkeypatch):
    """It takes a process: who asks for it and leaves must not have another one begun beside it."""
    began, go, inside, most = threading.Semaphore(0), threading.Event(), [], []

    def made(*_args, **_how):
        inside.append(1)
        most.append(len(inside))
        began.release()
        assert go.wait(60)
        inside.pop()
        raise ProfileError("it cannot be made")

    monkeypatch.setattr(room, "FlowLoader", made)

    async def test(held, _use, _stack):
        first = asyncio.create_task(used(held, OTHER))
        await asyncio.to_thread(began.acquire)
        first.cancel()
        second = asyncio.create_task(used(held, OTHER))
        await asyncio.sleep(0.1)
        assert len(held.coming) == 1
        go.set()
        came = await asyncio.gather(first, second, return_exceptions=True)
        assert list(map(type, came)) == [asyncio.CancelledError, ProfileError]

    run(test)
    assert most == [1, 1]
