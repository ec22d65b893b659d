"""How much one caller holds of what all share: never so much that the owner has to wait for it."""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from collections.abc import Iterator

from loader.daemon.admission import ONE, OTHERS
from loader.daemon.peers import Caller
from loader.daemon.problems import Problem

REST = 8
"""One in so many is the most that all others may have together, this user and root excepted."""
OWNER, STRANGERS = "the owner", "those without a grant"


def held_as(caller: Caller) -> str:
    """Under which name its share is counted."""
    if caller.owner:
        return OWNER
    return STRANGERS if caller.peer is None else caller.name


class Shares:
    """What is held of something, ``what``, that ``option`` limits. Safe to use from many threads."""

    def __init__(self, what: str, option: str) -> None:
        self.what, self.option = what, option
        self.lock = threading.Lock()
        self.held = 0
        self.by: Counter[str] = Counter()

    def take(self, caller: Caller, limit: int, size: int = 1, option: str | None = None) -> None:
        """Hold so many more; ``option`` is what limits them for once. Raises Problem."""
        option = option or self.option
        with self.lock:
            for by, held, most in self.counted(caller, limit):
                if held + size > most:
                    raise Problem(
                        "overloaded",
                        f"cannot hold {size} more {self.what}: {held} are held{by}, where {most} may be:"
                        f" {option} is {limit}; ask again in 1 second, or raise it",
                        limit=most,
                        size=held + size,
                        option=option,
                        retry_after=1,
                    )
            self.add(caller, size)

    def give(self, caller: Caller, size: int = 1) -> None:
        """Hold so many less."""
        with self.lock:
            self.add(caller, -size)

    def move(self, before: Caller, after: Caller, limit: int, option: str | None = None) -> None:
        """Hold as another's what is held as one's. Raises Problem, and holds it as before."""
        self.give(before)
        try:
            self.take(after, limit, option=option)
        except Problem:
            with self.lock:
                self.add(before, 1)
            raise

    def counted(self, caller: Caller, limit: int) -> Iterator[tuple[str, int, int]]:
        """What counts for a caller: by whom, how much is held, and how much may be."""
        name = held_as(caller)
        yield "", self.held, limit
        if name == STRANGERS:
            yield f" by {name}", self.by[name], max(1, limit // REST)
        elif name != OWNER:
            yield " by peers", self.held - self.by[OWNER] - self.by[STRANGERS], max(1, limit // OTHERS)
            yield f" by {name}", self.by[name], max(1, limit // ONE)

    def add(self, caller: Caller, size: int) -> None:
        """Count so many more, whatever may be."""
        name = held_as(caller)
        self.held += size
        self.by[name] += size
        if not self.by[name]:
            del self.by[name]

    @contextlib.contextmanager
    def holding(self, caller: Caller, limit: int, size: int = 1) -> Iterator[None]:
        """Hold so many more as long as the context. Raises Problem."""
        self.take(caller, limit, size)
        try:
            yield
        finally:
            self.give(caller, size)
