"""The warm loaders: one for each profile, interpreter and dialect in use, and no more than may be.

One that a peer used last is a peer's, but for the usual one. Of those there is at most half of what may be,
and one more takes the place of one of them. For the owner whichever is idle makes room, or one of theirs,
which then ends with its last load.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from loader.daemon.admission import OTHERS
from loader.daemon.config import Limits
from loader.daemon.problems import Problem
from loader.flow_loader import FlowLoader
from loader.models import Outcome
from loader.observing import Observer, ignore
from loader.profiles import builtin_names, load_profile
from worker.protocol import AUTO

BUILT_IN = frozenset(builtin_names())
Key = tuple[str, str | None, str]
USUAL: Key = ("strict", None, AUTO)
"""The loader that is always warm."""


@dataclass
class Held:
    """One loader, how many use it, and when that was last so. ``stale`` is one to be closed by the last.

    ``owner`` is whether whoever came last owns the daemon.
    """

    loader: FlowLoader
    owner: bool
    users: int = 0
    used: float = field(default_factory=time.monotonic)
    stale: bool = False


class Engines:
    """The loaders. One event loop."""

    def __init__(self, limits: Limits, observer: Observer = ignore) -> None:
        self.limits, self.observer = limits, observer
        self.held: dict[Key, Held] = {}
        self.making: dict[Key, asyncio.Lock] = {}
        self.coming: dict[Key, bool] = {}

    @contextlib.asynccontextmanager
    async def loader(self, key: Key, *, owner: bool = True) -> AsyncIterator[FlowLoader]:
        """The loader for ``key``, which stays open as long as the context. Raises ProfileError, Problem."""
        held = await self.current(key, owner)
        held.users += 1
        held.owner = owner
        try:
            yield held.loader
        finally:
            held.users -= 1
            held.used = time.monotonic()
            if held.stale and not held.users:
                await closed(held)

    async def current(self, key: Key, owner: bool) -> Held:
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
            return await self.made(key, owner)

    async def made(self, key: Key, owner: bool) -> Held:
        """A loader that was not there, in the place of another if there are enough. Raises Problem."""
        leaves = self.makes_room(owner)
        self.coming[key] = owner
        try:
            if leaves is not None:
                await self.forget(leaves)
            profile, python, dialect = key
            loader = await asyncio.to_thread(
                FlowLoader, profile, python=python, dialect=dialect, observer=self.observer
            )
            held = self.held[key] = Held(loader, owner)
            return held
        finally:
            del self.coming[key]

    def makes_room(self, owner: bool) -> Key | None:
        """The loader that is closed for one more, if one must be. Raises Problem."""
        limit = self.limits.engines
        owners = {**{key: held.owner for key, held in self.held.items()}, **self.coming}
        others = sum(not own for key, own in owners.items() if key != USUAL)
        if len(owners) < limit and (owner or others < max(1, limit // OTHERS)):
            return None
        found = [key for key, held in self.held.items() if may_leave(key, held, owner)]
        if found:
            return min(found, key=lambda key: (key == USUAL, self.held[key].users > 0, self.held[key].used))
        raise Problem(
            "overloaded",
            f"cannot hold another engine: {len(owners)} are in use, {others} of them by peers, who may have"
            f" half, and limits.engines is {limit}; ask again in 1 second, or raise it",
            limit=limit,
            size=len(owners),
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


def may_leave(key: Key, held: Held, owner: bool) -> bool:
    """Whether a loader may be closed for one that the owner needs, or a peer."""
    if owner:
        return not (held.users and held.owner)
    return key != USUAL and not held.users and not held.owner


async def closed(held: Held) -> None:
    """Close a loader; it waits for its processes."""
    await asyncio.to_thread(held.loader.close)
