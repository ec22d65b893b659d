"""The warm loaders: one for each profile, interpreter and dialect in use, and no more than may be.

The owner has its own, and peers have theirs: a folder that does not answer keeps those who share a loader
with its load, and nobody else. Theirs are at most half of what may be, and one more takes the place of one of
them. For the owner whichever is idle makes room, or one of theirs, which then ends with its last load.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from loader import waking
from loader.daemon.admission import OTHERS
from loader.daemon.config import Limits
from loader.daemon.problems import Problem
from loader.flow_loader import FlowLoader
from loader.models import Outcome
from loader.observing import Observer, ignore
from loader.profiles import builtin_names, load_profile
from worker.protocol import AUTO

BUILT_IN = frozenset(builtin_names())
MAKING = 1_000
"""Loaders that are made at a time, at most: there are no more turns."""
OWN: Final = 3
Key = tuple[str, str | None, str, bool]
"""Profile, interpreter and dialect, and whether it is the owner's."""
USUAL: Key = ("strict", None, AUTO, True)
"""The loader that is always warm."""


@dataclass
class Held:
    """One loader, how many use it, and when that was last so. ``stale`` is one to be closed by the last."""

    loader: FlowLoader
    users: int = 0
    used: float = field(default_factory=time.monotonic)
    stale: bool = False


class Engines:
    """The loaders. One event loop."""

    def __init__(self, limits: Limits, observer: Observer = ignore) -> None:
        self.limits, self.observer = limits, observer
        self.held: dict[Key, Held] = {}
        self.making: dict[Key, asyncio.Lock] = {}
        self.coming: set[Key] = set()
        self.executor = ThreadPoolExecutor(MAKING, thread_name_prefix="flow-loader-engines")

    @contextlib.asynccontextmanager
    async def loader(self, key: Key) -> AsyncIterator[FlowLoader]:
        """The loader for ``key``, which stays open as long as the context. Raises ProfileError, Problem."""
        held = await self.current(key)
        held.users += 1
        try:
            yield held.loader
        finally:
            held.users -= 1
            held.used = time.monotonic()
            if held.stale and not held.users:
                await closed(held)

    async def current(self, key: Key) -> Held:
        """The loader for ``key``, made if there is none, or if its profile says something else by now."""
        held = self.held.get(key)
        if held is not None and key[0] in BUILT_IN:
            return held
        async with self.making.setdefault(key, asyncio.Lock()):
            held = self.held.get(key)
            if held is not None:
                same = (
                    key[0] in BUILT_IN or await asyncio.to_thread(load_profile, key[0]) == held.loader.policy
                )
                if self.held.get(key) is held:  # it may have made room meanwhile
                    if same:
                        return held
                    await self.forget(key)
            return await self.made(key)

    async def made(self, key: Key) -> Held:
        """A loader that was not there, in the place of another if there are enough. Raises Problem."""
        leaves = self.makes_room(owner=key[OWN])
        self.coming.add(key)
        try:
            if leaves is not None:
                await self.forget(leaves)
            profile, python, dialect, owner = key
            how: dict[str, Any] = {"python": python, "dialect": dialect, "lent": not owner}
            make = partial(FlowLoader, profile, observer=self.observer, **how)
            loader = await waking.to_its_end(self.executor, make)
            held = self.held[key] = Held(loader)
            return held
        finally:
            self.coming.remove(key)

    def makes_room(self, *, owner: bool) -> Key | None:
        """The loader that is closed for one more, if one must be. Raises Problem."""
        limit = self.limits.engines
        there = {*self.held, *self.coming}
        others = sum(not key[OWN] for key in there)
        if len(there) < limit and (owner or others < max(1, limit // OTHERS)):
            return None
        found = [key for key, held in self.held.items() if may_leave(key, held, owner=owner)]
        if found:
            return min(found, key=lambda key: (key == USUAL, self.held[key].users > 0, self.held[key].used))
        raise Problem(
            "overloaded",
            f"cannot hold another engine: {len(there)} are in use, {others} of them by peers, who may have"
            f" half, and limits.engines is {limit}; ask again in 1 second, or raise it",
            limit=limit,
            size=len(there),
            option="limits.engines",
            retry_after=1,
        )

    async def forget(self, key: Key) -> None:
        """Close a loader, now or when nobody uses it any more."""
        held = self.held.pop(key)
        held.stale = True
        if not held.users:
            await closed(held)

    async def close_idle(self) -> None:
        """Close those that nobody used for long, but for the usual one."""
        latest = time.monotonic() - self.limits.engine_idle_seconds
        for key, held in list(self.held.items()):
            if key != USUAL and not held.users and held.used < latest:
                await self.forget(key)
        for key in [key for key, lock in self.making.items() if key not in self.held and not lock.locked()]:
            del self.making[key]

    async def renew(self) -> Outcome:
        """Forget all, and start the usual one anew, as ``warm``."""
        for key in list(self.held):
            await self.forget(key)
        return await self.warm()

    async def warm(self) -> Outcome:
        """Start the usual one, so that the first load does not wait for it; what came of a load."""
        async with self.loader(USUAL) as loader:
            return await asyncio.to_thread(loader.load_text, "", name="<warm>")

    def idle_workers(self) -> int:
        """Workers that wait for a load."""
        return sum(held.loader.supervisor.pool.asked for held in [*self.held.values()])

    async def close(self) -> None:
        """Close all of them."""
        for key in list(self.held):
            await closed(self.held.pop(key))


def may_leave(key: Key, held: Held, *, owner: bool) -> bool:
    """Whether a loader may be closed for one that the owner needs, or a peer."""
    return not (held.users and key[OWN]) if owner else not (held.users or key[OWN])


async def closed(held: Held) -> None:
    """Close a loader; it waits for its processes."""
    await asyncio.to_thread(held.loader.close)
