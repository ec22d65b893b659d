"""What a script wrote to one stream: the beginning and the end are kept, the middle is counted."""

from __future__ import annotations

from dataclasses import dataclass, field

from loader.models import Output


@dataclass
class Capture:
    """Keeps ``cap`` bytes at most: the first half as they came, and the latest of the rest."""

    cap: int
    total: int = 0
    head: bytearray = field(default_factory=bytearray)
    tail: bytearray = field(default_factory=bytearray)

    def feed(self, data: bytes) -> None:
        """Take what was read."""
        self.total += len(data)
        room = self.cap // 2 - len(self.head)
        if room > 0:
            self.head += data[:room]
            data = data[room:]
        self.tail += data
        del self.tail[: max(0, len(self.tail) - (self.cap - self.cap // 2))]

    def output(self) -> Output:
        """What is kept, as text; bytes that are not UTF-8 are escaped."""
        lost = self.total - len(self.head) - len(self.tail)
        cut = f"\n… {lost} bytes cut …\n" if lost else ""
        text = self.head.decode(errors="backslashreplace") + cut + self.tail.decode(errors="backslashreplace")
        if not lost:
            text = bytes(self.head + self.tail).decode(errors="backslashreplace")
        return Output(text=text, bytes=self.total, truncated=lost > 0)
