"""Who is let in when: a bounded number at a time, the others in a bounded queue that is fair.

Of those that wait the higher priority goes first, then the caller that has the fewest inside, then the one
that was served least recently. Every eighth turn goes to whoever has waited longest, so that nobody waits
for ever. A caller that does not own the daemon is never more urgent to others than interactive, whatever it
says. All of those together never have all places, nor more than half of the queue, and one of them no more
than a quarter of it. One event loop; instants are those of ``time.monotonic``.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from enum import StrEnum

from loader.errors import FlowLoaderError

OLDEST_EVERY = 8
"""Of so many turns one is the longest waiter's, whatever its priority."""
RETRY_MOST = 60
"""Seconds after which a caller that was refused is told to come back, at most."""
OTHERS = 2
"""One in so many is the most that all but this user and root may have together."""
ONE = 4
"""One in so many is the most that one of them may have."""
LEARNING = 0.1
"""How much the last turn's time counts in what a turn is expected to take."""


class Priority(StrEnum):
    """How urgent a turn is, the most urgent first."""

    BEFORE_RUN = "before_run"
    INTERACTIVE = "interactive"
    WATCHING = "watching"


RANK = {priority: rank for rank, priority in enumerate(Priority)}


class Refused(FlowLoaderError):
    """No turn now. ``retry_after`` is in whole seconds.

    ``option`` is the key that holds the limit, ``wait`` where it is the request's own, or None.
    """

    def __init__(self, message: str, option: str | None, retry_after: int) -> None:
        super().__init__(message)
        self.option = option
        self.retry_after = retry_after


class QueueFull(Refused):
    """As many wait as may: ``waiting`` of ``limit``, of all of them or of those whose share that is."""

    def __init__(self, waiting: int, limit: int, option: str, retry_after: int, whose: str = "") -> None:
        allowed = "their share of " * (bool(whose) and option == "limits.queue")
        super().__init__(
            f"cannot wait for a turn: {waiting} requests {whose}wait already and {allowed}{option} is"
            f" {limit}; ask again in {retry_after} seconds",
            option,
            retry_after,
        )
        self.waiting = waiting
        self.limit = limit


class TooLate(Refused):
    """The deadline passed while waiting."""

    def __init__(self, seconds: float, option: str, retry_after: int) -> None:
        super().__init__(
            f"cannot begin in time: no turn came within {seconds:.3g} seconds, which is all that {option}"
            f" allows; ask again in {retry_after} seconds, or allow more",
            option,
            retry_after,
        )
        self.seconds = seconds


class Draining(Refused):
    """The daemon ends: what is under way is finished, and nothing is begun."""

    def __init__(self, retry_after: int = 1) -> None:
        super().__init__(
            "cannot begin anything: the daemon is ending; ask again when it is back", None, retry_after
        )


@dataclass
class _Caller:
    """What is known of one caller while it has something inside or waiting; ``last`` is a turn's number."""

    owner: bool
    inside: int = 0
    waiting: int = 0
    last: int = 0


class Admission:
    """``concurrent`` are inside at a time, ``waiting`` wait, ``per_caller`` of one caller, for ``patience``.

    Without ``per_caller`` one caller may take the whole queue; ``patience`` is in seconds.
    """

    def __init__(
        self, *, concurrent: int, waiting: int, patience: float, per_caller: int | None = None
    ) -> None:
        self.concurrent, self.limit, self.patience = concurrent, waiting, patience
        self.per_caller = waiting if per_caller is None else per_caller
        self.callers: dict[str, _Caller] = {}
        self.lines: dict[tuple[Priority, str], dict[int, asyncio.Future[None]]] = {}
        self.inside = self.others = self.turns = self.arrivals = 0
        self.expected = 0.0
        self.draining = False
        self.empty = asyncio.Event()
        self.empty.set()

    def resize(
        self, *, concurrent: int, waiting: int, patience: float, per_caller: int | None = None
    ) -> None:
        """Other limits from now on. Nobody who is inside or waits already is sent away."""
        self.concurrent, self.limit, self.patience = concurrent, waiting, patience
        self.per_caller = waiting if per_caller is None else per_caller
        self._admit()

    def waiting(self, priority: Priority | None = None) -> int:
        """How many wait, of one priority or of all."""
        return sum(len(line) for (of, _), line in [*self.lines.items()] if priority in (None, of))

    @contextlib.asynccontextmanager
    async def turn(
        self,
        caller: str,
        priority: Priority = Priority.INTERACTIVE,
        until: float | None = None,
        *,
        owner: bool = True,
    ) -> AsyncIterator[float]:
        """One turn of ``caller``, which lasts as long as the context; gives the seconds waited for it.

        ``until`` is when it must have begun, ``owner`` whether the caller owns the daemon. Raises QueueFull
        at once, TooLate, Draining. A waiter that is cancelled leaves no trace.
        """
        arrived = time.monotonic()
        if self.draining:
            raise Draining
        known = self.callers.setdefault(caller, _Caller(owner))
        try:
            # Whoever waits while there is room is one to whom it is not open.
            if self.inside < self.concurrent and self._may_enter(known):
                self._enter(caller)
            else:
                await self._wait(caller, priority, arrived, until)
        except BaseException:
            self._forget(caller)
            raise
        began = time.monotonic()
        try:
            yield began - arrived
        finally:
            self.expected += (time.monotonic() - began - self.expected) * (LEARNING if self.expected else 1)
            self._leave(caller)

    async def drain(self, seconds: float) -> bool:
        """Let in nobody who comes from now on; whether all others were done within ``seconds``.

        Those who wait still then are refused; those inside are left to whoever asked.
        """
        self.draining = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.empty.wait()
        for place, line in list(self.lines.items()):
            for number in list(line):
                self._take(place, number).set_exception(Draining())
            self._forget(place[1])
        return self.empty.is_set()

    def retry_after(self) -> int:
        """In how many seconds a turn may be had, as far as the last ones tell."""
        ahead = (self.waiting() + 1) * self.expected / max(1, self.concurrent)
        return max(1, min(RETRY_MOST, math.ceil(ahead)))

    async def _wait(self, caller: str, priority: Priority, arrived: float, until: float | None) -> None:
        """Stand in line until this caller's turn comes. Raises QueueFull, TooLate, Draining."""
        latest, option = arrived + self.patience, "limits.wait_seconds"
        if until is not None and until < latest:
            latest, option = until, "wait"
        if latest <= arrived:
            raise TooLate(0.0, option, self.retry_after())
        self._check_room(caller)
        self.arrivals += 1
        number, place = self.arrivals, (priority, caller)
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.lines.setdefault(place, {})[number] = waiter
        self.callers[caller].waiting += 1
        self.empty.clear()
        try:
            # Unlike a time-out of its own it does not cancel the waiter, whose turn may come just then.
            await asyncio.wait([waiter], timeout=latest - arrived)
        except asyncio.CancelledError:
            if waiter.done() and waiter.exception() is None:
                self._leave(caller)
            raise
        finally:
            if not waiter.done():
                self._take(place, number)
                self._forget(caller)
        if not waiter.done():
            raise TooLate(time.monotonic() - arrived, option, self.retry_after())
        waiter.result()

    def _check_room(self, caller: str) -> None:
        """Raise QueueFull if nobody, or not this caller, may wait as well."""
        known, of_caller = self.callers[caller], "of this caller "
        rooms = [
            (self.waiting(), self.limit, "limits.queue", ""),
            (known.waiting, self.per_caller, "limits.queue_per_caller", of_caller),
        ]
        if not known.owner:
            others = sum(other.waiting for other in self.callers.values() if not other.owner)
            rooms += [
                (others, max(1, self.limit // OTHERS), "limits.queue", "of all but the owner "),
                (known.waiting, max(1, self.limit // ONE), "limits.queue", of_caller),
            ]
        for waiting, most, option, whose in rooms:
            if waiting >= most:
                raise QueueFull(waiting, most, option, self.retry_after(), whose)

    def _admit(self) -> None:
        """Let in as many of those who wait as there is room for."""
        while self.inside < self.concurrent:
            places = [place for place in self.lines if self._may_enter(self.callers[place[1]])]
            if not places:
                return
            place = self._next(places)
            number = next(iter(self.lines[place]))
            waiter = self._take(place, number)
            self._enter(place[1])
            waiter.set_result(None)

    def _may_enter(self, known: _Caller) -> bool:
        """Whether a caller may have one more place: one is always the owner's, unless there is no other."""
        return known.owner or self.others < max(1, self.concurrent - 1)

    def _next(self, places: list[tuple[Priority, str]]) -> tuple[Priority, str]:
        """The line, of those, whose first is next."""
        if (self.turns + 1) % OLDEST_EVERY == 0:
            return min(places, key=lambda place: next(iter(self.lines[place])))

        def order(place: tuple[Priority, str]) -> tuple[int, int, int, int]:
            caller, own = self.callers[place[1]], RANK[place[0]]
            rank = own if caller.owner else max(own, RANK[Priority.INTERACTIVE])
            return rank, caller.inside, caller.last, own

        return min(places, key=order)

    def _take(self, place: tuple[Priority, str], number: int) -> asyncio.Future[None]:
        """Take one waiter out of its line."""
        waiter = self.lines[place].pop(number)
        if not self.lines[place]:
            del self.lines[place]
        self.callers[place[1]].waiting -= 1
        return waiter

    def _enter(self, caller: str) -> None:
        """Count one more inside."""
        self.turns += 1
        self.inside += 1
        known = self.callers[caller]
        known.inside += 1
        known.last = self.turns
        self.others += not known.owner
        self.empty.clear()

    def _leave(self, caller: str) -> None:
        """Count one less inside; who waits may come."""
        self.inside -= 1
        self.callers[caller].inside -= 1
        self.others -= not self.callers[caller].owner
        self._admit()
        self._forget(caller)

    def _forget(self, caller: str) -> None:
        """Keep nothing of a caller that has nothing here."""
        known = self.callers.get(caller)
        if known is not None and not known.inside and not known.waiting:
            del self.callers[caller]
        if not self.callers:
            self.empty.set()
