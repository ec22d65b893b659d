"""What is compressed in memory is read piece by piece: bounded in bytes, in parts and in time."""

from __future__ import annotations

import bz2
import io
import lzma
import zlib
from collections.abc import Callable
from typing import Any, Protocol

from loader.errors import SourceError
from loader.sources.deadline import Deadline

PIECE = 1 << 16
"""Bytes that are put in, and at most come out, at a time."""
PARTS = 4096
"""Compressed streams that may follow one another; block-wise packers write one for every 64 KiB."""
XZ_MEMORY = 72 << 20
"""Bytes that unpacking may need; the highest setting of xz asks for 65 MiB."""
FORMATS: tuple[tuple[bytes, Callable[[], Any]], ...] = (
    (b"\x1f\x8b", lambda: zlib.decompressobj(wbits=31)),
    (b"BZh", bz2.BZ2Decompressor),
    (b"\xfd7zXZ\0", lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=XZ_MEMORY)),
)
"""By the first bytes."""


class Source(Protocol):
    """Bytes that are read once, from the first to the last."""

    def read(self, size: int, /) -> bytes:
        """The next ``size`` bytes; fewer only at the end."""


def opened(shown: str, content: bytes, cap: int, deadline: Deadline) -> Source:
    """The bytes that ``content`` stands for: unpacked if it is compressed, and then at most ``cap``."""
    for magic, made in FORMATS:
        if content.startswith(magic):
            return Stream(shown, content, magic, made, cap, deadline)
    return io.BytesIO(content)


class Stream:
    """The bytes of the compressed ``content``. Raises SourceError, and what a decoder raises."""

    def __init__(  # noqa: PLR0913, PLR0917 - what is read, and three bounds
        self,
        shown: str,
        content: bytes,
        magic: bytes,
        made: Callable[[], Any],
        cap: int,
        deadline: Deadline,
    ) -> None:
        self.shown = shown
        self.content = content
        self.magic = magic
        self.made = made
        self.cap = cap
        self.deadline = deadline
        self.decoder = made()
        self.parts = 1
        self.place = 0
        self.total = 0
        self.ready = bytearray()

    def read(self, size: int, /) -> bytes:
        """The next ``size`` bytes; fewer only at the end."""
        while len(self.ready) < size and self.fill():
            pass
        found = bytes(self.ready[:size])
        del self.ready[:size]
        return found

    def fill(self) -> bool:
        """Unpack one piece more; false at the end."""
        self.deadline.left()
        if self.decoder.eof and not self.next_part():
            return False
        given = getattr(self.decoder, "unconsumed_tail", b"")
        if not given and getattr(self.decoder, "needs_input", True):
            given = self.content[self.place : self.place + PIECE]
            self.place += len(given)
        found = self.decoder.decompress(given, PIECE)
        if not (found or given or self.decoder.eof):
            raise EOFError("it ends in the middle")
        self.total += len(found)
        if self.total > self.cap:
            raise SourceError(f"cannot load {self.shown}: what it holds is larger than {self.cap} bytes")
        self.ready += found
        return True

    def next_part(self) -> bool:
        """Go on with the stream that follows the one that ended; false if none does."""
        self.place -= len(self.decoder.unused_data)
        if not self.content.startswith(self.magic, self.place):
            self.place = len(self.content)
            return False
        self.parts += 1
        if self.parts > PARTS:
            raise SourceError(f"cannot load {self.shown}: it is compressed in more than {PARTS} parts")
        self.decoder = self.made()
        return True
