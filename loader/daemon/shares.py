"""How much one caller holds of what all share: never so much that the owner has to wait for it."""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from collections.abc import Iterator

from loader.daemon.admission import ONE, OTHERS
from loader.daemon.peers import Caller
from loader.daemon.problems import Problem


class Shares:
    """What is held of something, ``what``, that ``option`` limits. Safe to use from many threads."""

    def __init__(self, what: str, option: str) -> None:
        self.what, self.option = what, option
        self.lock = threading.Lock()
        self.held = 0
        self.by: Counter[tuple[str, bool]] = Counter()

    def take(self, caller: Caller, limit: int, size: int = 1, option: str | None = None) -> None:
        """Hold so many more; ``option`` is what limits them for once. Raises Problem."""
        option = option or self.option
        with self.lock:
            others = sum(held for (_, owner), held in self.by.items() if not owner)
            counted = [("", self.held, limit)]
            if not caller.owner:
                counted += [
                    (" by peers", others, max(1, limit // OTHERS)),
                    (f" by {caller.name}", self.by[caller.name, False], max(1, limit // ONE)),
                ]
            for by, held, most in counted:
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
            self.held += size
            self.by[caller.name, caller.owner] += size

    def give(self, caller: Caller, size: int = 1) -> None:
        """Hold so many less."""
        with self.lock:
            self.held -= size
            key = (caller.name, caller.owner)
            self.by[key] -= size
            if not self.by[key]:
                del self.by[key]

    @contextlib.contextmanager
    def holding(self, caller: Caller, limit: int, size: int = 1) -> Iterator[None]:
        """Hold so many more as long as the context. Raises Problem."""
        self.take(caller, limit, size)
        try:
            yield
        finally:
            self.give(caller, size)
