"""How many workers to fork ahead: decided purely; whoever asks does the forking."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Pool:
    """Workers that were asked for and not yet taken; ``ahead`` are kept waiting for loads to come."""

    ahead: int
    asked: int = 0

    def to_ask(self, wanted: int) -> int:
        """How many more to ask for, so that ``wanted`` can be taken now and ``ahead`` wait after that."""
        return max(0, wanted + self.ahead - self.asked)

    def asking(self, count: int) -> Pool:
        """After asking for ``count`` more."""
        return Pool(self.ahead, self.asked + count)

    def taken(self) -> Pool:
        """After one came, or was refused."""
        return Pool(self.ahead, self.asked - 1)
