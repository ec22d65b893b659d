"""The warm loaders: one for each profile, interpreter and dialect in use, and no more than may be."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

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
                if key[0] in BUILT_IN or await asyncio.to_thread(load_profile, key[0]) == held.loader.policy:
                    return held
                await self.forget(key)
            await self.make_room()
            profile, python, dialect = key
            loader = await asyncio.to_thread(
                FlowLoader, profile, python=python, dialect=dialect, observer=self.observer
            )
            held = self.held[key] = Held(loader)
            return held

    async def make_room(self) -> None:
        """Close the loader that was used least recently, if there are as many as may be. Raises Problem."""
        if len(self.held) < self.limits.engines:
            return
        idle = [key for key, held in self.held.items() if not held.users]
        if not idle:
            raise Problem(
                "overloaded",
                f"cannot hold another engine: {len(self.held)} are in use and limits.engines is"
                f" {self.limits.engines}; ask again in 1 second, or raise it",
                limit=self.limits.engines,
                size=len(self.held),
                option="limits.engines",
                retry_after=1,
            )
        await self.forget(min(idle, key=lambda key: self.held[key].used))

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
        return sum(held.loader.supervisor.pool.asked for held in self.held.values())

    async def close(self) -> None:
        """Close all of them."""
        for key in list(self.held):
            await closed(self.held.pop(key))


async def closed(held: Held) -> None:
    """Close a loader; it waits for its processes."""
    await asyncio.to_thread(held.loader.close)
