"""Files and lines as a terminal's reader knows them: relative to where the command was called."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from loader.escape import line
from loader.models import Frame


@dataclass(frozen=True)
class Places:
    """Names the places of one load.

    ``folder`` is where the command was called, ``script`` the loaded file's absolute path, or its name if
    it has none.
    """

    folder: str
    script: str

    def path(self, file: str) -> str:
        """A file's name, shorter where it lies below the caller's folder; escaped."""
        below = self.folder.rstrip("/") + "/"
        return line(file.removeprefix(below) if file.startswith(below) else file)

    def place(self, file: str | None, number: int | None) -> str:
        """``path:line``, the script's own path where there is no file."""
        path = self.path(file or self.script)
        return path if number is None else f"{path}:{number}"

    def is_own(self, file: str) -> bool:
        """Whether a file is the author's: the script, or one below its folder."""
        folder, slash, _ = self.script.rpartition("/")
        return file == self.script or (self.script.startswith("/") and file.startswith(folder + slash))

    def blamed(self, frames: Sequence[Frame]) -> str:
        """The innermost place that is the author's, if there is one."""
        own = (frame for frame in reversed(frames) if self.is_own(frame.file))
        innermost = next(own, frames[-1] if frames else None)
        return self.place(innermost.file, innermost.line) if innermost else self.place(None, None)
