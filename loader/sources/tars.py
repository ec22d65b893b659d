"""A tar archive is read header by header, once and in bounded memory.

The standard library's reader keeps every member, gives each a copy of the global headers, and follows
sizes that lead backwards. Here every header counts, whatever its kind, and none is kept.
"""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterator
from typing import NamedTuple

from loader.access import Access
from loader.errors import SourceError
from loader.sources.compressed import PIECE, Source
from loader.sources.deadline import Deadline

BLOCK = tarfile.BLOCKSIZE
HEADERS = 4
"""Headers for each file that a project may have: its own, its extension, and as many for folders."""
SPARE = 64
"""Headers that even the smallest archive may have."""
EXTENSION = 1 << 16
"""Bytes of one extension header: a long name, or what pax says of a file."""
EXTENSIONS = 2 << 20
"""Bytes of all of them."""
GLOBALS = 16
"""What one global header may say."""
RECORD = re.compile(rb"([0-9]{1,6}) ([^=\n]{1,512})=")
SIZE = re.compile(rb"[0-9]{1,15}")
EXTENDING = {
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
    tarfile.XHDTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.XGLTYPE,
}
NAME, SIZED, SPARSE, SPARSE_NAME = b"path", b"size", b"GNU.sparse.", b"GNU.sparse.name"
LINKS = {tarfile.LNKTYPE, tarfile.SYMTYPE}


class Member(NamedTuple):
    """A member that is no folder: a ``size`` of bytes, or what it is instead of a regular file."""

    name: str
    size: int
    left_out: str


def space(access: Access) -> int:
    """Bytes that an archive of an allowed project may have in all."""
    return access.project_size + (HEADERS + 1) * BLOCK * access.project_files + SPARE * BLOCK + EXTENSIONS


class Reader:
    """The members of the tar archive that ``source`` holds, and the bytes of the last one.

    Raises SourceError for what is too much, and ``tarfile.TarError`` for what is no sound archive.
    """

    def __init__(self, shown: str, source: Source, access: Access, deadline: Deadline) -> None:
        self.shown = shown
        self.source = source
        self.deadline = deadline
        self.most = HEADERS * access.project_files + SPARE
        self.headers = 0
        self.extensions = 0
        self.rest = 0

    def __iter__(self) -> Iterator[Member]:
        said: dict[bytes, bytes] = {}
        while (block := self.block()) is not None:
            info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
            if info.size < 0:
                raise tarfile.ReadError("a size in it is negative")
            if info.type in EXTENDING:
                said |= self.extension(info)
                continue
            self.pass_sparse(info, block)
            size = self.size(info, said)
            self.rest = size
            if not info.isdir():
                name = said.get(SPARSE_NAME) or said.get(NAME)
                yield Member(
                    info.name if name is None else text(name), size, left_out(info, sparse=SPARSE in said)
                )
            self.skip(self.rest + -size % BLOCK)
            said = {}
        if said or not self.headers:
            raise tarfile.ReadError("it ends before its first file, or in the middle")

    def read(self, most: int) -> bytes:
        """The next bytes of the member that was given last, at most as many."""
        found = self.exactly(min(most, self.rest))
        self.rest -= len(found)
        return found

    def block(self) -> bytes | None:
        """The next header; None at the end."""
        self.deadline.left()
        found = self.source.read(BLOCK)
        if not found.strip(b"\0"):
            self.headers += len(found) == BLOCK
            return None
        if len(found) < BLOCK:
            raise tarfile.ReadError("it ends in the middle")
        self.headers += 1
        if self.headers > self.most:
            raise SourceError(
                f"cannot load {self.shown}: it holds more than {self.most} headers of files and folders;"
                f" pack fewer"
            )
        return found

    def extension(self, info: tarfile.TarInfo) -> dict[bytes, bytes]:
        """What an extension header says of the next file, as far as it is wanted."""
        self.extensions += info.size
        if info.size > EXTENSION or self.extensions > EXTENSIONS:
            raise SourceError(
                f"cannot load {self.shown}: its extension headers are larger than {EXTENSION} bytes each or"
                f" {EXTENSIONS} in all; pack it without extended attributes"
            )
        content = self.exactly(info.size)
        self.skip(-info.size % BLOCK)
        if info.type == tarfile.GNUTYPE_LONGNAME:
            return {NAME: content.partition(b"\0")[0]}
        if info.type == tarfile.GNUTYPE_LONGLINK:
            return {}
        said: dict[bytes, bytes] = {}
        for number, (key, value) in enumerate(records(content)):
            if info.type == tarfile.XGLTYPE and number >= GLOBALS:
                raise SourceError(
                    f"cannot load {self.shown}: a global header says more than {GLOBALS} things; pack it anew"
                )
            if key.startswith(SPARSE):
                said[SPARSE] = b""
            if key in {NAME, SIZED, SPARSE_NAME}:
                said[key] = value
        if said and info.type == tarfile.XGLTYPE:
            raise tarfile.ReadError("a global header names a path or a size")
        return said

    def size(self, info: tarfile.TarInfo, said: dict[bytes, bytes]) -> int:
        """Bytes that follow a header: none behind folders, links and devices, whatever it says."""
        if not info.isreg() and info.type in tarfile.SUPPORTED_TYPES:
            return 0
        size = said.get(SIZED)
        if size is None:
            return info.size
        if not SIZE.fullmatch(size):
            raise tarfile.ReadError("a size in it is no number")
        return int(size)

    def pass_sparse(self, info: tarfile.TarInfo, block: bytes) -> None:
        """Pass the blocks that continue the header of a sparse file, each one counted."""
        more = info.type == tarfile.GNUTYPE_SPARSE and block[482]
        while more:
            following = self.block()
            more = following is not None and following[504]

    def exactly(self, size: int) -> bytes:
        """The next ``size`` bytes."""
        found = self.source.read(size)
        if len(found) < size:
            raise tarfile.ReadError("it ends in the middle")
        return found

    def skip(self, size: int) -> None:
        """Pass over bytes without keeping them."""
        while size:
            self.deadline.left()
            size -= len(self.exactly(min(size, PIECE)))


def records(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The keys and values of a pax header, each record written ``length key=value``, with a line's end."""
    content = content.rstrip(b"\0")
    place = 0
    while place < len(content):
        matched = RECORD.match(content, place)
        end = place + int(matched[1]) if matched else 0
        if matched is None or not matched.end() < end <= len(content) or content[end - 1 : end] != b"\n":
            raise tarfile.ReadError("an extension header is damaged")
        yield matched[2], content[matched.end() : end - 1]
        place = end


def text(name: bytes) -> str:
    """A member's name; what is no text in it is refused with the name."""
    return name.decode("utf-8", "surrogateescape")


def left_out(info: tarfile.TarInfo, *, sparse: bool) -> str:
    """Why a member is left out; empty for a regular file."""
    if info.type in LINKS:
        return "it is a link"
    return (
        ""
        if info.isreg() and info.type != tarfile.GNUTYPE_SPARSE and not sparse
        else "it is not a regular file"
    )
