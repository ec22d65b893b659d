"""A path becomes a script: bytes, read once, from below a folder that was opened once."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from loader.access import LOCAL_SCHEMES, Reader
from loader.errors import SourceError
from loader.sources.acting import acting
from loader.sources.beneath import entered, path_of, placed
from loader.sources.parsing import parse
from loader.sources.paths import is_below, local_path
from loader.sources.script import SIZE_CAP, Identity, Listed, Root, Script, import_paths, too_large


def read(
    location: str | os.PathLike[str],
    root: str | os.PathLike[str] | None = None,
    cap: int = SIZE_CAP,
    identity: Identity | Listed | None = None,
    reader: Reader | None = None,
) -> Script:
    """The script at a path or ``file://`` URL. ``root`` is what it may read; its own folder by default.

    The root is opened once, the script is opened below it, and its identity goes with the script: whoever
    may rename folders can exchange neither for another afterwards. Nor before, if ``identity`` is given:
    the device and the inode that the root must have, or the folder that it must be. ``reader`` is as whom
    all this is looked at, if not as this process.

    Raises SourceError for what is not there, not a regular file, larger than ``cap`` bytes, outside ``root``
    by its path or by a symbolic link, or of another scheme, and for a root of another identity.
    """
    path = local_path(os.fspath(location))
    folder = str(Path(path).parent)
    shown = folder if root is None else root_path(path, os.fspath(root))
    if not is_below(folder, shown):
        raise SourceError(
            f"cannot load {path}: it lies outside the root {shown}; name a folder that holds it"
        )
    check_name(path)
    below = open_root(shown, path, identity, reader)
    try:
        identity, real = identity_at(below), path_of(below)
        content = read_file(path, os.path.relpath(path, shown), below, cap, reader)
    finally:
        os.close(below)
    return Script(
        location=os.fspath(location),
        filename=path,
        module=Path(path).stem,
        content=content,
        folder=folder,
        root=Root(shown, *identity, real, reader),
        paths=(folder,) if root is None else import_paths(folder, shown),
    )


def root_path(path: str, root: str) -> str:
    """The absolute path of the root that the script at ``path`` is to have. Raises SourceError."""
    place = parse(root)
    if place.scheme not in LOCAL_SCHEMES:
        raise SourceError(
            f"cannot load {path}: it lies outside the root {place.shown}; name a folder that holds it"
        )
    return place.path


def check_identity(path: str, folder: str, descriptor: int, identity: Identity | None) -> Identity:
    """The identity of the folder that was opened. Raises SourceError when it is due to have another."""
    found = identity_at(descriptor)
    if identity not in {None, found}:
        raise exchanged(path, folder)
    return found


def identity_at(descriptor: int) -> Identity:
    """The identity of what was opened."""
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino


def exchanged(path: str, folder: str) -> SourceError:
    """The error for a folder that is another one now."""
    return SourceError(
        f"cannot load {path}: the folder {folder} was exchanged while it was in use; try again"
    )


def open_root(
    root: str, path: str, due: Identity | Listed | None = None, reader: Reader | None = None
) -> int:
    """A descriptor of the folder that the script at ``path`` may read. Raises SourceError."""
    try:
        if isinstance(due, Listed):
            return open_listed(due, root, path)
        return entered(root, reader) if due is None else open_due(root, path, due, reader)
    except SourceError:
        raise
    except NotADirectoryError:
        raise SourceError(f"cannot use {root} as root: it is not a folder") from None
    except (OSError, ValueError) as error:
        raise SourceError(f"cannot load {path}: {reason(error)}") from None


def open_due(folder: str, path: str, identity: Identity | None, reader: Reader | None = None) -> int:
    """A descriptor of a folder that is due to have that identity. Raises SourceError.

    Whatever is there instead, and be it nothing, is told in the same words: a link may have been put there
    to ask what it leads to.
    """
    try:
        descriptor = entered(folder, reader)
    except (OSError, ValueError):
        raise exchanged(path, folder) from None
    try:
        check_identity(path, folder, descriptor, identity)
    except SourceError:
        os.close(descriptor)
        raise
    return descriptor


def open_listed(listed: Listed, folder: str, path: str) -> int:
    """A descriptor of a folder that was listed, reached from its top. Raises OSError, SourceError."""
    top = open_due(listed.top, path, listed.within)
    try:
        with placed(os.path.relpath(folder, listed.top), top, listed.top) as place:
            check_identity(path, folder, place, listed.identity)
            return os.dup(place)
    except OSError as error:
        if error.errno == errno.EXDEV:
            raise exchanged(path, folder) from None
        raise
    finally:
        os.close(top)


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


REASONS: Mapping[int, str] = {
    errno.ENOENT: "there is no such file",
    errno.EACCES: "this user may not read it",
    errno.ELOOP: "its symbolic links lead in a circle",
    errno.EAGAIN: "another process keeps it to itself; try again",
}


def read_file(path: str, name: str, root: int, cap: int = SIZE_CAP, reader: Reader | None = None) -> bytes:
    """The bytes of the regular file ``name`` below descriptor ``root``, opened once and never waited for.

    ``path`` is what errors call it, ``cap`` its largest size in bytes. Raises SourceError.
    """
    try:
        descriptor = opened(path, name, root, reader)
    except SourceError:
        raise
    except (OSError, ValueError) as error:
        raise SourceError(f"cannot load {path}: {reason(error)}") from None
    with os.fdopen(descriptor, "rb") as file:
        try:
            content = file.read(cap + 1) or b""
        except OSError as error:
            raise SourceError(f"cannot load {path}: {error.strerror}") from None
    if len(content) > cap:
        raise too_large(path, cap)
    return content


def opened(path: str, name: str, root: int, reader: Reader | None = None) -> int:
    """A descriptor of the regular file ``name`` below descriptor ``root``. Raises OSError, SourceError."""
    with below(path, name, root, reader) as place:
        # Judged before it is opened: to open a device or a pipe is to act on it.
        mode = os.fstat(place).st_mode
        if not stat.S_ISREG(mode):
            kind = "a folder; name a script in it" if stat.S_ISDIR(mode) else "not a regular file"
            raise SourceError(f"cannot load {path}: it is {kind}")
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
        with acting(reader):
            return os.open(f"/proc/self/fd/{place}", flags)


@contextlib.contextmanager
def below(path: str, name: str, root: int, reader: Reader | None = None) -> Iterator[int]:
    """A descriptor of what has that name below descriptor ``root``, not opened. Raises OSError, SourceError.

    What leads out is refused with the same words whether or not something is there.
    """
    spelled = path.removesuffix(f"/{name}") if path.endswith(f"/{name}") else ""
    try:
        with placed(name, root, spelled, reader) as place:
            yield place
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        top = path_of(root)
        raise SourceError(
            f"cannot load {path}: its symbolic link leads out of {top}, which is all that it may read; load"
            f" the file it leads to, or name a folder that holds both with --root"
        ) from None
