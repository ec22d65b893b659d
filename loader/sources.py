"""A location becomes bytes, read once: what is digested is what is sent."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from loader.errors import SourceError

SIZE_CAP = 8 << 20
"""Largest script in bytes; the longest that people write are a hundredth of it."""
TEXT_MODULE = "flow_script"
SCHEME = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]+):")
LOCAL_SCHEMES = ("file",)


@dataclass(frozen=True)
class Root:
    """The folder that a script may read: its absolute path, and the identity it had when it was opened."""

    path: str
    device: int
    inode: int


@dataclass(frozen=True, kw_only=True)
class Script:
    """One script's bytes and where they belong.

    ``filename`` is what tracebacks show, ``module`` the name it is imported under. ``folder`` is its
    working directory, an absolute path, and ``root`` what it may read; text that has no place has neither.
    """

    location: str
    filename: str
    module: str
    content: bytes
    folder: str | None
    root: Root | None

    @property
    def digest(self) -> str:
        """``sha256:`` and the hexadecimal digest of the content."""
        return "sha256:" + hashlib.sha256(self.content).hexdigest()


def from_text(text: str | bytes, name: str = "<text>") -> Script:
    """A script that has no file. ``name`` is what tracebacks call it.

    Raises SourceError when it is too large.
    """
    content = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else bytes(text)
    if len(content) > SIZE_CAP:
        raise too_large(name)
    return Script(location=name, filename=name, module=TEXT_MODULE, content=content, folder=None, root=None)


def read(location: str | os.PathLike[str], root: str | os.PathLike[str] | None = None) -> Script:
    """The script at a path or ``file://`` URL. ``root`` is what it may read; its own folder by default.

    The root is opened once, the script is opened below it, and its identity goes with the script: whoever
    may rename folders can exchange neither for another afterwards.

    Raises SourceError for what is not there, not a regular file, larger than SIZE_CAP, outside ``root``
    by its path or by a symbolic link, or of another scheme.
    """
    path = local_path(os.fspath(location))
    folder = str(Path(path).parent)
    shown = folder if root is None else os.path.abspath(os.fspath(root))
    if folder != shown and not folder.startswith(shown.rstrip("/") + "/"):
        raise SourceError(
            f"cannot load {path}: it lies outside the root {shown}; name a folder that holds it"
        )
    check_name(path)
    below = open_root(shown, path)
    try:
        status = os.fstat(below)
        content = read_file(path, os.path.relpath(path, shown), below)
    finally:
        os.close(below)
    return Script(
        location=os.fspath(location),
        filename=path,
        module=Path(path).stem,
        content=content,
        folder=folder,
        root=Root(shown, status.st_dev, status.st_ino),
    )


def open_root(root: str, path: str) -> int:
    """A descriptor of the folder that the script at ``path`` may read. Raises SourceError."""
    try:
        return os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except NotADirectoryError:
        raise SourceError(f"cannot use {root} as root: it is not a folder") from None
    except (OSError, ValueError) as error:
        raise SourceError(f"cannot load {path}: {reason(error)}") from None


def reason(error: OSError | ValueError) -> str:
    """Why something cannot be opened, in words."""
    number = getattr(error, "errno", None)
    return REASONS.get(number or 0) or getattr(error, "strerror", None) or str(error)


def check_name(path: str) -> None:
    """Raise SourceError for a path that is no text: a worker could not be told of it."""
    try:
        path.encode()
    except UnicodeEncodeError:
        raise SourceError(f"cannot load {path}: its name is not UTF-8 text; rename it") from None


def local_path(location: str) -> str:
    """The absolute path behind a path or ``file://`` URL. Raises SourceError."""
    scheme = SCHEME.match(location)
    if scheme is None or os.path.exists(location):
        return os.path.abspath(location)
    if scheme[1] not in LOCAL_SCHEMES:
        known = ", ".join(f"{item}://" for item in LOCAL_SCHEMES)
        raise SourceError(f"cannot load {location}: scheme {scheme[1]!r} is not one of {known}")
    try:
        parts = urlsplit(location)
    except ValueError as error:
        raise SourceError(f"cannot load {location}: {error}") from None
    if parts.netloc not in ("", "localhost") or parts.query or parts.fragment:
        raise SourceError(
            f"cannot load {location}: a file URL names a path on this machine, as in file:///a/b.py"
        )
    return os.path.abspath(unquote(parts.path, errors="surrogateescape"))


REASONS: Mapping[int, str] = {
    errno.ENOENT: "there is no such file",
    errno.EACCES: "this user may not read it",
    errno.ELOOP: "its symbolic links lead in a circle",
}


def read_file(path: str, name: str, root: int) -> bytes:
    """The bytes of the regular file ``name`` below descriptor ``root``, opened once and never waited for.

    ``path`` is what errors call it. Raises SourceError.
    """
    try:
        place = os.open(name, os.O_PATH | os.O_CLOEXEC, dir_fd=root)
    except (OSError, ValueError) as error:
        raise SourceError(f"cannot load {path}: {reason(error)}") from None
    try:
        # Judged before it is opened: to open a device or a pipe is to act on it.
        check_place(path, place, root)
        descriptor = os.open(
            f"/proc/self/fd/{place}", os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
        )
    except OSError as error:
        if isinstance(error, SourceError):
            raise
        raise SourceError(f"cannot load {path}: {reason(error)}") from None
    finally:
        os.close(place)
    with os.fdopen(descriptor, "rb") as file:
        try:
            content = file.read(SIZE_CAP + 1) or b""
        except OSError as error:
            raise SourceError(f"cannot load {path}: {error.strerror}") from None
    if len(content) > SIZE_CAP:
        raise too_large(path)
    return content


def check_place(path: str, place: int, root: int) -> None:
    """Raise SourceError unless descriptor ``place`` is a regular file that lies below ``root``."""
    found, top = (os.readlink(f"/proc/self/fd/{item}") for item in (place, root))
    if not found.startswith(top.rstrip("/") + "/"):
        raise SourceError(
            f"cannot load {path}: its symbolic link leads out of {top}, which is all that it may read; load"
            f" the file it leads to, or name a folder that holds both with --root"
        )
    mode = os.fstat(place).st_mode
    if not stat.S_ISREG(mode):
        kind = "a folder; name a script in it" if stat.S_ISDIR(mode) else "not a regular file"
        raise SourceError(f"cannot load {path}: it is {kind}")


def too_large(name: str) -> SourceError:
    """The error for a script over SIZE_CAP, which nobody wrote by hand."""
    return SourceError(f"cannot load {name}: it is larger than {SIZE_CAP} bytes")
