"""The files of a project while they are gathered: their names, number and sizes are bounded."""

from __future__ import annotations

from loader.access import Access
from loader.errors import SourceError
from loader.sources import names
from loader.sources.script import too_large


class Files:
    """What was gathered below the location that ``shown`` names: bytes by path, and what is left out."""

    def __init__(self, shown: str, access: Access) -> None:
        self.shown = shown
        self.access = access
        self.content: dict[str, bytes] = {}
        self.left_out: dict[str, str] = {}
        self.size = 0
        self.entries = 0

    @property
    def room(self) -> int:
        """How many bytes the next file may have."""
        return min(self.access.size, self.access.project_size - self.size)

    def count(self) -> None:
        """Count one more entry. Raises SourceError when there are too many."""
        self.entries += 1
        if self.entries > self.access.project_files:
            raise SourceError(
                f"cannot load {self.shown}: it holds more than {self.access.project_files} files;"
                f" name a smaller folder as root"
            )

    def start(self, name: str) -> str:
        """The checked path of a file that is about to be read. Raises SourceError."""
        self.count()
        checked = names.check(self.shown, name)
        if checked in self.content or checked in self.left_out:
            raise SourceError(f"cannot load {self.shown}: it holds {checked!r} twice")
        self.content[checked] = b""
        return checked

    def add(self, name: str, content: bytes) -> None:
        """Keep a file's bytes. Raises SourceError when they are too many."""
        if len(content) > self.access.size:
            raise too_large(f"{self.shown}: {name}", self.access.size)
        self.size += len(content)
        self.check_size(self.size)
        self.content[name] = content

    def check_size(self, size: int) -> None:
        """Raise SourceError when all files together are larger than a project may be."""
        if size > self.access.project_size:
            raise SourceError(
                f"cannot load {self.shown}: its files have more than {self.access.project_size} bytes;"
                f" name a smaller folder as root"
            )

    def leave_out(self, name: str, reason: str) -> None:
        """Say why an entry is missing. Raises SourceError."""
        self.count()
        checked = names.check(self.shown, name)
        if checked in self.content:
            raise SourceError(f"cannot load {self.shown}: it holds {checked!r} twice")
        self.left_out[checked] = reason

    def close(self) -> None:
        """Check the files as a whole. Raises SourceError."""
        names.check_together(self.shown, [*self.content, *self.left_out])
