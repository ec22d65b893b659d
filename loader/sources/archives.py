"""An archive in memory becomes files: of checked names, bounded in number and in bytes that come out of it.

Nothing is written. Links, devices and other entries that are no regular files are left out, with a reason.
"""

from __future__ import annotations

import io
import stat
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

from loader.access import Access
from loader.errors import SourceError
from loader.sources import compressed, tars
from loader.sources.deadline import Deadline
from loader.sources.files import Files

ENCRYPTED = 0x1
ZIP_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
"""Those whose output the standard library bounds while it is read."""
DIRECTORY = 512
"""Bytes that a zip archive's directory may use for each file and each folder."""


class Entry(NamedTuple):
    """One entry: its name, why it is left out if it is, and what reads at most so many of its bytes."""

    name: str
    left_out: str
    read: Callable[[int], bytes]


def unpack(shown: str, scheme: str, content: bytes, access: Access, deadline: Deadline) -> Files:
    """The files of the archive ``content`` that messages call ``shown``. Raises SourceError."""
    files = Files(shown, access)
    kinds = {"zip": zip_entries, "tar": tar_entries}
    try:
        for entry in kinds[scheme](shown, content, access, deadline):
            deadline.left()
            if entry.left_out:
                files.leave_out(entry.name, entry.left_out)
                continue
            name = files.start(entry.name)
            files.add(name, entry.read(files.room + 1))
    except SourceError:
        raise
    # Whatever these modules raise for what somebody made by hand, it is the archive's fault.
    except Exception as error:
        words = str(error).partition("\n")[0][:120]
        raise SourceError(f"cannot load {shown}: it is no sound {scheme} archive: {words}") from None
    files.close()
    return files


class Directory(io.BytesIO):
    """A zip archive's bytes, of which no piece larger than ``most`` is read while it is opened.

    Its directory is read as one piece, and takes the standard library many times its size in memory.
    """

    def __init__(self, shown: str, content: bytes, most: int) -> None:
        super().__init__(content)
        self.shown = shown
        self.most = most

    def read(self, size: int | None = -1, /) -> bytes:
        """As any file. Raises SourceError."""
        found = super().read(size)
        if len(found) > self.most:
            raise SourceError(f"cannot load {self.shown}: it holds too many entries; pack fewer")
        return found


def zip_entries(shown: str, content: bytes, access: Access, _: Deadline) -> Iterator[Entry]:
    """The entries of a zip archive. Raises SourceError."""
    raw = Directory(shown, content, DIRECTORY * 2 * access.project_files + (1 << 16) + 64)
    with zipfile.ZipFile(raw) as archive:
        raw.most = len(content)
        for info in archive.infolist():
            if "\0" in info.orig_filename:
                raise SourceError(f"cannot load {shown}: the name of its entry {info.filename!r} holds NUL")
            kind = stat.S_IFMT(info.external_attr >> 16)
            if info.is_dir():
                continue
            reason = left_out(kind)
            if not reason and info.flag_bits & ENCRYPTED:
                raise SourceError(f"cannot load {shown}: it is encrypted; pack it without a password")
            if not reason and info.compress_type not in ZIP_METHODS:
                raise SourceError(
                    f"cannot load {shown}: {info.filename!r} is compressed by method {info.compress_type};"
                    f" pack it with deflate"
                )
            yield Entry(info.filename, reason, partial(zip_content, archive, info))


def zip_content(archive: zipfile.ZipFile, info: zipfile.ZipInfo, most: int) -> bytes:
    """The bytes of an entry, at most as many."""
    with archive.open(info) as file:
        return file.read(most)


def left_out(kind: int) -> str:
    """Why an entry of that mode is left out; empty for a regular file."""
    if kind in {0, stat.S_IFREG}:
        return ""
    return "it is a link" if stat.S_ISLNK(kind) else "it is not a regular file"


def tar_entries(shown: str, content: bytes, access: Access, deadline: Deadline) -> Iterator[Entry]:
    """The entries of a tar archive, whatever it is compressed with. Raises SourceError."""
    source = compressed.opened(shown, content, tars.space(access), deadline)
    reader = tars.Reader(shown, source, access, deadline)
    for member in reader:
        yield Entry(member.name, member.left_out, reader.read)
