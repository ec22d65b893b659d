"""How long one location may take in all."""

from __future__ import annotations

import time

from loader.errors import SourceError


class Deadline:
    """``seconds`` from now, for whatever is read from the location that ``shown`` names."""

    def __init__(self, shown: str, seconds: float) -> None:
        self.shown = shown
        self.seconds = seconds
        self.end = time.monotonic() + seconds

    def left(self) -> float:
        """The seconds that are left. Raises SourceError when there are none."""
        left = self.end - time.monotonic()
        if left <= 0:
            raise self.over()
        return left

    def over(self) -> SourceError:
        """The error for a location that took too long."""
        return SourceError(
            f"cannot load {self.shown}: it took longer than {self.seconds:g} seconds;"
            f" try again, or allow more"
        )
