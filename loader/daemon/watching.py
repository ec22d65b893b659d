"""Folders and prefixes, followed for as long as the daemon lives: what changed is loaded or judged again.

Theory of operation. For each place there is a task (``following``) that looks at all of it every now and
then, and as soon as its file system tells of changes at what they may concern. Every script has a
fingerprint of its bytes and of all that its last load depended on (``traces``): it is loaded again only if
that is another now. A manifest depends on all scripts that it leads to (``judging``). So whatever is told
twice, late or never, costs a look and no load, or waits for the next look.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Iterable
from typing import Any

from loader.answers import Twice
from loader.daemon.events import Events
from loader.daemon.following import TOLD, Follower, Load
from loader.daemon.places import FILES, Place, Room
from loader.daemon.state import Seen, State, Watched
from loader.tally import PLACES, TWICE

SETTLE = 0.5
"""Seconds for which a file must not change before it is loaded, unless told."""
JOBS = 2
"""Scripts of one place that are loaded at a time, unless told."""
PAGE = 1_000
"""Sources that are told at once."""
RECENT = 10
"""Loads of each of them that are."""


class Watch:
    """Everything that is watched. ``run`` it as a task; cancelling that ends it and its loads."""

    def __init__(  # noqa: PLR0913 - it is made at one place
        self,
        places: Iterable[Place],
        load: Load,
        state: State,
        events: Events,
        *,
        settle: float = SETTLE,
        jobs: int = JOBS,
        files: int = FILES,
    ) -> None:
        self.state, self.events = state, events
        room = Room(files)
        self.followers = [
            Follower(place, load, state, events, settle, jobs, self.look_for_twice, room) for place in places
        ]
        known = {follower.shown: follower.known for follower in self.followers}
        before = state.all()
        state.remove([seen.id for seen in before if seen.place not in known])
        for seen in before:
            if seen.place in known:
                known[seen.place][seen.location] = seen
        self.last_twice, self.looking = self.twice(), asyncio.Lock()

    async def run(self) -> None:
        """Follow every place until it is cancelled."""
        async with asyncio.TaskGroup() as group:
            for follower in self.followers:
                group.create_task(follower.run())

    def problems(self) -> dict[str, str | None]:
        """Every place, and why it cannot be looked at, if so."""
        return {follower.shown: follower.problem for follower in self.followers}

    def sources(self) -> list[Seen]:
        """Every script, without its outcomes; from any thread."""
        return [seen for follower in self.followers for seen in [*follower.known.values()]]

    def get(self, number: str) -> Watched | None:
        """One script, with its outcomes."""
        return self.state.get(number)

    def twice(self) -> tuple[Twice, ...]:
        """Names of flows or deployments that several scripts give."""
        places: dict[tuple[str, str], list[str]] = {}
        for seen in self.sources():
            for name in {(name.kind, name.name): name for name in seen.names}.values():
                places.setdefault((name.kind, name.name), []).append(name.place)
        several = sorted((key, sorted(set(held))) for key, held in places.items() if len(set(held)) > 1)
        return tuple(
            Twice(kind=kind, name=name, places=tuple(held[:PLACES])) for (kind, name), held in several[:TWICE]
        )

    async def look_for_twice(self) -> None:
        """Tell of names that are used twice, when they are others than before."""
        async with self.looking:
            now = await asyncio.to_thread(self.twice)
            if now != self.last_twice:
                self.last_twice = now
                self.events.publish("twice", {"names": [item.model_dump(mode="json") for item in now]})


def listed(seen: Iterable[Seen], after: str) -> dict[str, Any]:
    """As many sources as are told at once behind the id ``after``, and the one after which to go on."""
    behind = (item for item in seen if item.id > after)
    page = heapq.nsmallest(PAGE + 1, behind, key=lambda item: item.id)
    told = [
        {
            **item.model_dump(mode="json", include=TOLD),
            "loads": [past.model_dump() for past in item.loads[-RECENT:]],
        }
        for item in page[:PAGE]
    ]
    return {"sources": told, "next": page[PAGE - 1].id if len(page) > PAGE else None}
