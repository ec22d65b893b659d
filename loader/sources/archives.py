"""An archive in memory becomes files: of checked names, bounded in number and in bytes that come out of it.

Nothing is written. Links, devices and other entries that are no regular files are left out, with a reason.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from typing import IO, Any, NamedTuple

from loader.access import Access
from loader.errors import SourceError
from loader.sources.deadline import Deadline
from loader.sources.files import Files

COMPRESSIONS: tuple[tuple[bytes, Callable[[IO[bytes]], Any]], ...] = (
    (b"\x1f\x8b", gzip.open),
    (b"BZh", bz2.open),
    (b"\xfd7zXZ\0", lzma.open),
)
"""How a tar archive may be compressed, by its first bytes."""
ENCRYPTED = 0x1
ZIP_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
"""Those whose output the standard library bounds while it is read."""
HEADERS = 4096
"""Bytes that a tar archive may use for each file beside the file's own."""


class Entry(NamedTuple):
    """One entry: its name, why it is left out if it is, and what opens it."""

    name: str
    left_out: str
    opened: Callable[[], IO[bytes] | None]


def unpack(shown: str, scheme: str, content: bytes, access: Access, deadline: Deadline) -> Files:
    """The files of the archive ``content`` that messages call ``shown``. Raises SourceError."""
    files = Files(shown, access)
    kinds = {"zip": zip_entries, "tar": tar_entries}
    try:
        for entry in kinds[scheme](shown, content, access):
            deadline.left()
            if entry.left_out:
                files.leave_out(entry.name, entry.left_out)
                continue
            name = files.start(entry.name)
            with entry.opened() or io.BytesIO() as file:
                files.add(name, file.read(files.room + 1))
    except SourceError:
        raise
    # Whatever these modules raise for what somebody made by hand, it is the archive's fault.
    except Exception as error:
        words = str(error).partition("\n")[0][:120]
        raise SourceError(f"cannot load {shown}: it is no sound {scheme} archive: {words}") from None
    files.close()
    return files


def zip_entries(shown: str, content: bytes, _: Access) -> Iterator[Entry]:
    """The entries of a zip archive. Raises SourceError."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for info in archive.infolist():
            if "\0" in info.orig_filename:
                raise SourceError(f"cannot load {shown}: the name of its entry {info.filename!r} holds NUL")
            kind = stat.S_IFMT(info.external_attr >> 16)
            if info.is_dir():
                continue
            if kind not in {0, stat.S_IFREG}:
                yield Entry(info.filename, left_out(stat.S_ISLNK(kind)), io.BytesIO)
                continue
            if info.flag_bits & ENCRYPTED:
                raise SourceError(f"cannot load {shown}: it is encrypted; pack it without a password")
            if info.compress_type not in ZIP_METHODS:
                raise SourceError(
                    f"cannot load {shown}: {info.filename!r} is compressed by method {info.compress_type};"
                    f" pack it with deflate"
                )
            yield Entry(info.filename, "", lambda info=info: archive.open(info))  # type: ignore[misc]


def tar_entries(shown: str, content: bytes, access: Access) -> Iterator[Entry]:
    """The entries of a tar archive, whatever it is compressed with. Raises SourceError."""
    raw = io.BytesIO(expanded(shown, content, access))
    with tarfile.open(fileobj=raw, mode="r:") as archive:
        for info in archive:
            if info.isdir():
                continue
            if not info.isreg() or info.issparse():
                yield Entry(info.name, left_out(info.issym() or info.islnk()), io.BytesIO)
                continue
            yield Entry(info.name, "", lambda info=info: archive.extractfile(info))  # type: ignore[misc]


def left_out(link: bool) -> str:
    """Why an entry is left out."""
    return "it is a link" if link else "it is not a regular file"


def expanded(shown: str, content: bytes, access: Access) -> bytes:
    """The tar archive's bytes, uncompressed. Raises SourceError."""
    for magic, opened in COMPRESSIONS:
        if content.startswith(magic):
            cap = access.project_size + HEADERS * access.project_files
            with opened(io.BytesIO(content)) as file:
                found: bytes = file.read(cap + 1)
            if len(found) > cap:
                raise SourceError(
                    f"cannot load {shown}: its files are larger than {access.project_size} bytes"
                )
            return found
    return content
