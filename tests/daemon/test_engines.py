"""The warm loaders: no more than may be, and never so many of peers that the owner gets none."""

import asyncio
import contextlib
from dataclasses import dataclass

import pytest

from loader.daemon.engines import USUAL, Engines
from loader.daemon.problems import Problem

OTHER = ("strict", "/usr/bin/python3", "auto")
DIALECTS = ("orion", "prefect2", "prefect3")


def key(dialect):
    """The key of a loader that is like the usual one but for the dialect."""
    return ("strict", None, dialect)


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

                async def use(which, *, owner):
                    return await stack.enter_async_context(engines.loader(which, owner=owner))

                await test(engines, use, stack)
        finally:
            await engines.close()

    asyncio.run(ran())


async def used(engines, which, *, owner):
    """Use a loader for a moment."""
    async with engines.loader(which, owner=owner):
        pass


def test_peers_have_half_of_the_engines():
    """Also when they ask for all at once; only an idle one of theirs makes room for another."""

    async def test(engines, use, stack):
        await used(engines, USUAL, owner=True)
        asked = [use(key(name), owner=False) for name in DIALECTS]
        came = await asyncio.gather(*asked, return_exceptions=True)
        refused = [one.more["option"] for one in came if isinstance(one, Problem)]
        assert refused == ["limits.engines"]
        assert (len(engines.held), engines.coming) == (3, {})
        await used(engines, OTHER, owner=True)
        await stack.aclose()
        for name in DIALECTS:
            await used(engines, key(name), owner=False)
        assert engines.held.keys() == {USUAL, OTHER, key("prefect2"), key("prefect3")}

    run(test)


def test_a_peer_closes_nothing_of_the_owner():
    """Neither the usual engine nor one that the owner used last; what it used itself it may lose."""

    async def test(engines, use, _):
        await used(engines, USUAL, owner=False)
        await used(engines, key("orion"), owner=True)
        with pytest.raises(Problem, match=r"^cannot hold another engine: 2 .* limits\.engines is 2"):
            await use(key("prefect2"), owner=False)
        await used(engines, key("orion"), owner=False)
        await use(key("prefect2"), owner=False)
        assert engines.held.keys() == {USUAL, key("prefect2")}

    run(test, 2)


def test_engines_in_use_by_peers_do_not_keep_the_owner():
    """One of them leaves, and ends when its last load has; what the owner uses stays."""

    async def test(engines, use, _):
        await used(engines, key("orion"), owner=True)
        await used(engines, USUAL, owner=True)
        theirs = await use(key("orion"), owner=False)
        await use(USUAL, owner=False)
        await use(key("prefect2"), owner=True)
        assert engines.held.keys() == {USUAL, key("prefect2")}
        assert (await asyncio.to_thread(theirs.load_text, "1/0", name="x")).status == "script_failed"
        await use(USUAL, owner=True)
        with pytest.raises(Problem):
            await use(key("prefect3"), owner=True)

    run(test, 2)
