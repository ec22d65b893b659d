"""What happens in the daemon, told to whoever listens: numbered, bounded, and never waiting for a reader.

An event is written once for all who may see everything, and once for who asked for it. Each of these has a
stream of its own, so that neither numbers nor what is no longer held tell anybody what others do. The last
events are held for those who come back and say which one they saw last; of what they missed beyond that, or
in an earlier daemon, a ``gap`` tells them to look anew. A reader that falls behind gets a ``gap`` as its last
event, and has to come back.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import threading
from collections import deque
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import Any

HISTORY = 1_000
"""Events that are held for those who come back, unless told."""
SIZE = 4 << 20
"""Characters of all of them."""
PART = 4
"""Who may see its own events only has held for it this part of either."""
LARGEST = 64 << 10
"""Characters of one event's data; of a larger one only its kind is told."""
BACKLOG = 200
"""Events that may wait for one reader."""
GAP = "gap"


@dataclass(frozen=True)
class Event:
    """Something that happened. ``data`` is JSON on one line, ``id`` is for ``Last-Event-ID``."""

    number: int
    id: str
    kind: str
    data: str


@dataclass(eq=False)
class Reader:
    """One who listens, on one event loop."""

    loop: asyncio.AbstractEventLoop
    waiting: deque[Event] = field(default_factory=deque)
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    dropped: bool = False

    def rouse(self) -> None:
        """Let it look, from any thread; its loop may be closed."""
        with contextlib.suppress(RuntimeError):
            self.loop.call_soon_threadsafe(self.wake.set)


class Stream:
    """Where events are told and listened to. ``publish`` may be called from any thread."""

    def __init__(self, history: int = HISTORY, backlog: int = BACKLOG, most: int = SIZE) -> None:
        self.history, self.backlog, self.most = history, backlog, most
        self.run = secrets.token_hex(4)
        self.lock = threading.Lock()
        self.number = 0
        self.size = 0
        self.past: deque[Event] = deque()
        self.readers: set[Reader] = set()
        self.ended = False

    def publish(self, kind: str, data: Mapping[str, Any]) -> Event:
        """Tell everyone who listens here; ``data`` is what JSON can say."""
        said = json.dumps(data, ensure_ascii=True, separators=(",", ":"))
        if len(said) > LARGEST:
            said = "{}"
        with self.lock:
            self.number += 1
            event = Event(self.number, f"{self.run}-{self.number}", kind, said)
            self.past.append(event)
            self.size += len(said)
            while len(self.past) > self.history or self.size > self.most:
                self.size -= len(self.past.popleft().data)
            for reader in list(self.readers):
                reader.waiting.append(event)
                if len(reader.waiting) > self.backlog:
                    self.readers.discard(reader)
                    reader.dropped = True
                    reader.waiting.clear()
                reader.rouse()
        return event

    async def listen(self, last: str | None = None) -> AsyncGenerator[Event, None]:
        """Every event from here on, or from behind the one that ``last`` names.

        Ends with a ``gap`` for a reader that is too slow, and when the daemon ends. Close it, or leave it by
        ``aclosing``.
        """
        reader = Reader(asyncio.get_running_loop(), dropped=self.ended)
        with self.lock:
            missed = [] if last is None else self.since(last)
            self.readers.add(reader)
        try:
            for event in missed:
                yield event
            while not reader.dropped:
                reader.wake.clear()
                while reader.waiting:
                    yield reader.waiting.popleft()
                if not reader.dropped:
                    await reader.wake.wait()
            why = "the daemon ends" if self.ended else "you read too slowly"
            yield self.gap(f"{why}: come back, and look at all there is")
        finally:
            with self.lock:
                self.readers.discard(reader)

    def end(self) -> None:
        """Let all readers go, and whoever comes still."""
        with self.lock:
            self.ended = True
            for reader in self.readers:
                reader.dropped = True
                reader.rouse()

    def since(self, last: str) -> list[Event]:
        """What was told after an event, with the lock held; a ``gap`` first if that is not all."""
        run, _, number = last.rpartition("-")
        seen = int(number) if run == self.run and number.isdecimal() and len(number) < 20 else -1
        oldest = self.past[0].number if self.past else self.number + 1
        if not oldest - 1 <= seen <= self.number:
            return [self.gap("what you missed is not held any more: look at all there is"), *self.past]
        return [event for event in self.past if event.number > seen]

    def gap(self, why: str) -> Event:
        """The event that stands for what is missing. It bears the number of the last one that was told."""
        return Event(self.number, f"{self.run}-{self.number}", GAP, json.dumps({"why": why}))


class Events:
    """The streams: that of everything, and one for each who may see no more than what it asked for.

    There are no more of these than there are peers.
    """

    def __init__(self, history: int = HISTORY, backlog: int = BACKLOG) -> None:
        self.everything = Stream(history, backlog)
        self.own: dict[str, Stream] = {}
        self.lock = threading.Lock()

    def of(self, asker: str | None) -> Stream:
        """The stream of what one asked for; that of everything for None."""
        whole = self.everything
        if asker is None:
            return whole
        with self.lock:
            if asker not in self.own:
                made = Stream(max(1, whole.history // PART), whole.backlog, whole.most // PART)
                made.ended = whole.ended
                self.own[asker] = made
            return self.own[asker]

    def publish(self, kind: str, data: Mapping[str, Any], asker: str | None = None) -> None:
        """Tell those who may see everything, and the one who asked for it if that is another."""
        for name in {None, asker}:
            self.of(name).publish(kind, data)

    def end(self) -> None:
        """Let all readers go, and whoever comes still."""
        with self.lock:
            for stream in (self.everything, *self.own.values()):
                stream.end()
