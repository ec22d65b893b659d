"""One watched place: which of its scripts have changed, and what became of their loads."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field

from loader.answers import Plan
from loader.daemon.events import Events
from loader.daemon.freshness import Moment
from loader.daemon.judging import folders_beside
from loader.daemon.listening import Listener, tells
from loader.daemon.places import SUFFIXES, Found, Place, Room, Site
from loader.daemon.state import Seen, State, after_load, after_trouble
from loader.daemon.traces import guessed, imported, plausible, trace
from loader.errors import ProfileError
from loader.models import Outcome, Status
from loader.profiles import load_profile
from loader.scanning import USAGE
from loader.sources import Script
from loader.sources.script import Identity

PATIENCE = 10
"""Times the settling for which a file may go on changing before it is loaded all the same."""
MANY = 1_000
"""Changed files at once that are a reason to look at everything."""
LOOK = 1.0
"""Seconds between two looks whether the folder is still the same one."""
AGAIN = 5.0
"""Seconds after which a script that nobody would load is tried again."""
TOLD = {"id", "place", "location", "status", "ok", "stale", "problem", "flows", "specs"}
"""What an event tells of a script."""
Load = Callable[[Place, Script], Awaitable[Outcome | Plan]]
"""Loads a script that was read already, or judges a manifest.

What it raises is the file's problem until that is tried again.
"""


@dataclass
class Due:
    """When a changed file is looked at, and when that was put off first. Seconds of a monotonic clock."""

    first: float
    at: float


@dataclass(eq=False)
class Follower:
    """Follows one place. ``problem`` is why it cannot be looked at, or not at all of it."""

    place: Place
    load: Load
    state: State
    events: Events
    settle: float
    jobs: int
    changed: Callable[[], Awaitable[None]]
    room: Room
    known: dict[str, Seen] = field(default_factory=dict)
    problem: str | None = None

    def __post_init__(self) -> None:
        self.site, self.shown, self.stamp = Site(self.place, self.room), self.place.shown, self.place.stamp
        self.read: tuple[str, ...] = ()
        with contextlib.suppress(ProfileError):  # nothing is loaded with it
            self.read = load_profile(self.place.profile).read
        self.due: dict[str, Due] = {}
        self.uncertain: set[str] = set()
        self.wake = asyncio.Event()
        self.listener: Listener | None = None
        self.whole = False

    # --- when ---

    async def run(self) -> None:
        """Look at everything, then at what changes, for ever."""
        try:
            while True:
                identity = await asyncio.to_thread(self.place.identity)
                try:
                    await self.attend(identity)
                    await self.look_at_all()
                    await self.wait(identity)
                except Exception as error:  # whatever it was, the next look may do without it
                    self.say_problem(f"cannot watch {self.shown}: {error}")
                    await asyncio.sleep(AGAIN)
        finally:
            if self.listener is not None:
                self.listener.stop()

    async def attend(self, identity: Identity | None) -> None:
        """Listen to the folder that is there now, if it tells anything."""
        if self.listener is not None:
            if self.listener.identity == identity and self.listener.trouble is None:
                return
            self.listener.stop()
            self.listener = None
        with contextlib.suppress(OSError):
            if identity is not None and await asyncio.to_thread(tells, self.place.folder or ""):
                self.listener = Listener(self.place.folders, identity, self.told)

    async def wait(self, identity: Identity | None) -> None:
        """Look at what changes until it is time to look at everything, or the folder is another."""
        end = time.monotonic() + self.place.every
        while (now := time.monotonic()) < end and not self.whole:
            soonest = min((due.at for due in self.due.values()), default=end)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.wake.wait(), max(0.0, min(soonest, end, now + LOOK) - now))
            self.wake.clear()
            if self.place.folder is not None and await asyncio.to_thread(self.place.identity) != identity:
                return
            now = time.monotonic()
            ready = {path for path, due in self.due.items() if due.at <= now}
            for path in ready:
                del self.due[path]
            if ready:
                await self.look_at_changed(ready)

    def told(self, paths: set[str] | None) -> None:
        """Files have changed: they are looked at once they have not for a while. None is for everything."""
        for path in paths or ():
            self.put_off(path, self.settle)
        if paths is None or len(self.due) > MANY:
            self.whole = True
            self.due.clear()
        self.wake.set()

    def put_off(self, path: str, seconds: float) -> None:
        """Look at a file some time later, but not for ever later."""
        now = time.monotonic()
        first = self.due[path].first if path in self.due else now
        self.due[path] = Due(first, max(now, min(now + seconds, first + PATIENCE * seconds)))

    # --- what ---

    async def look_at_all(self) -> None:
        """Look at every script."""
        self.whole = False  # what is told from now on may be of what was looked at already
        found = await self.what_is_there()
        if found is not None:
            await self.look_at(found.scripts)

    async def what_is_there(self) -> Found | None:
        """What is there, and forget what is not; None, and a problem, when the place cannot be looked at."""
        try:
            found = await asyncio.to_thread(self.site.found)
        except (OSError, ValueError) as error:
            self.say_problem(str(error))
            return None
        deaf = self.listener.trouble if self.listener is not None else None
        self.say_problem(next(iter(found.closed.values()), deaf))
        await self.forget([path for path in self.known if not found.has(path)])
        return found

    async def look_at_changed(self, paths: set[str]) -> None:
        """Look at the scripts that changes may concern, and at those that were not there before."""
        concerned = await asyncio.to_thread(self.concerned, paths)
        if await asyncio.to_thread(self.are_known, paths):
            await self.look_at(dict.fromkeys(concerned))
        elif (found := await self.what_is_there()) is not None:
            concerned |= found.scripts.keys() - self.known.keys()
            await self.look_at({path: found.scripts[path] for path in concerned & found.scripts.keys()})

    def are_known(self, paths: set[str]) -> bool:
        """Whether they are scripts that were there before and still are."""
        return all(path in self.known and os.path.exists(path) for path in paths)

    def concerned(self, paths: set[str]) -> set[str]:
        """The scripts that may depend on a changed file or folder."""
        parents = {os.path.dirname(path) for path in paths}
        news = {os.path.dirname(path) for path in paths if path not in self.known}
        within = tuple(f"{path}/" for path in paths if not path.endswith(SUFFIXES))
        found = set()
        for location, seen in self.known.items():
            files = self.reach(seen)
            folders = {os.path.dirname(file) for file in files}
            if files & paths or files & parents or folders & news or any(map(within_any(within), files)):
                found.add(location)
        return found

    def reach(self, seen: Seen) -> set[str]:
        """The files and folders that a script depends on, itself included."""
        root = self.place.root or os.path.dirname(seen.location)
        return {seen.location, *(os.path.normpath(os.path.join(root, name)) for name in seen.sources)}

    async def look_at(self, scripts: Mapping[str, Script | None]) -> None:
        """Look at scripts, some at a time, and load those that have changed."""
        waiting = iter(sorted(scripts.items(), key=lambda item: item[0]))

        async def work() -> None:
            for location, script in waiting:
                await self.look(location, script)

        async with asyncio.TaskGroup() as group:
            for _ in range(self.jobs):
                group.create_task(work())
        await self.changed()

    async def look(self, location: str, fetched: Script | None) -> None:
        """Load a script, if it is another now or depends on what is."""
        try:
            script = await asyncio.to_thread(self.site.read, location, fetched)
        except (OSError, ValueError) as error:
            await self.say_trouble(location, str(error))
            return
        if script is None:
            await self.forget([location])
            return
        seen = self.known.get(location)
        if seen is not None and seen.fingerprint is not None and location not in self.uncertain:
            now, _ = await asyncio.to_thread(self.fingerprint, script, seen.sources)
            if now == seen.fingerprint:
                return
        await self.run_script(script, location)

    def fingerprint(self, script: Script, read: Collection[str]) -> tuple[str, int]:
        """What a script and what it depends on are now, and when the last of it changed."""
        seen = trace(script, read, folders_beside(self.place, script.location, self.read))
        digest, changed = (seen.digest, seen.changed) if seen else ("", 0)
        return f"{self.stamp} {script.digest} {digest}", changed

    async def run_script(self, script: Script, location: str) -> None:
        """Load a script and remember what came of it."""
        began = Moment.now()
        try:
            found = await self.load(self.place, script)
        except Exception as error:  # a full queue, a closed loader, a lost fetch
            self.put_off(location, AGAIN)
            await self.say_trouble(location, str(error) or type(error).__name__)
            return
        outcome, specs = (found, ()) if isinstance(found, Outcome) else (found.outcome, found.specs)
        if outcome.status is Status.SANDBOX_UNAVAILABLE:
            message = outcome.error.message if outcome.error is not None else ""
            await self.say_trouble(location, message, outcome.status)
            return
        folders = folders_beside(self.place, script.location, self.read)
        known = plausible(outcome.sources, folders)
        read = list(outcome.sources or ()) if known else guessed(script)
        read = list({*read, *await asyncio.to_thread(imported, script)})
        fingerprint, change = await asyncio.to_thread(self.fingerprint, script, read)
        if began.is_after(change) or location in self.uncertain:
            self.uncertain.discard(location)
        else:
            # What it read may have changed before we saw it: one more load decides.
            self.uncertain.add(location)
            self.put_off(location, self.settle)
        what = outcome, fingerprint, tuple(read), specs
        await self.remember(lambda: after_load(self.state, self.shown, location, *what))

    async def say_trouble(self, location: str, problem: str, status: str = USAGE) -> None:
        """A script could not be read or loaded by no fault of its own: the next look tries again."""
        seen = self.known.get(location)
        if seen is None or seen.problem != problem or seen.fingerprint is not None:
            await self.remember(lambda: after_trouble(self.state, self.shown, location, problem, status))

    async def remember(self, put: Callable[[], Seen]) -> None:
        """Keep what is known of a script, and tell."""
        seen = await asyncio.to_thread(put)
        self.known[seen.location] = seen
        self.events.publish("source", seen.model_dump(mode="json", include=TOLD))

    async def forget(self, locations: Iterable[str]) -> None:
        """Drop scripts that are gone, or mention no flow any more."""
        gone = [seen for path in locations if (seen := self.known.pop(path, None)) is not None]
        if gone:
            await asyncio.to_thread(self.state.remove, [seen.id for seen in gone])
        for seen in gone:
            self.uncertain.discard(seen.location)
            said = seen.model_dump(mode="json", include={"id", "place", "location"})
            self.events.publish("removed", said)

    def say_problem(self, problem: str | None) -> None:
        """Tell why the place cannot be looked at, or that it can."""
        if problem != self.problem:
            self.problem = problem
            self.events.publish("place", {"place": self.shown, "problem": problem})


def within_any(folders: tuple[str, ...]) -> Callable[[str], bool]:
    """Whether a path lies in one of the folders."""
    return lambda path: path.startswith(folders)
