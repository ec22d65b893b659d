"""Where the embedded registry's file lies, and that nobody else can read or exchange it.

Files are looked at by name, never opened here: to close a descriptor of a file drops every lock that this
process holds on it, SQLite's included.
"""

from __future__ import annotations

import os
import shlex
import stat
from pathlib import Path

from loader.errors import ClientError

AnyPath = str | bytes | os.PathLike[str] | os.PathLike[bytes]

VARIABLE = "FLOW_LOADER_REGISTRY"
"""Environment variable: the path of the registry's file."""
COMPANIONS = ("-wal", "-shm", "-journal")
"""What SQLite adds to the file's name for the files that it keeps beside it."""


def default_path() -> str:
    """The file that ``FLOW_LOADER_REGISTRY`` names, or else the user's own below ``XDG_DATA_HOME``."""
    named = os.environ.get(VARIABLE)
    if named:
        return os.path.abspath(named)
    data = os.environ.get("XDG_DATA_HOME", "")
    if not os.path.isabs(data):  # the XDG base directory specification has relative ones ignored
        try:
            data = str(Path.home() / ".local" / "share")
        except RuntimeError:
            raise ClientError(
                f"cannot find the registry: this user has no home folder; name a file with {VARIABLE}"
            ) from None
    return os.path.join(data, "flow-loader", "registry.db")


def absolute(path: AnyPath) -> str:
    """A registry's absolute path. Raises ClientError for what is no path."""
    try:
        return os.path.abspath(os.fsdecode(path))
    except TypeError:
        pass
    raise ClientError(
        f"cannot open a registry at what is of type {type(path).__name__}: give a path, as text or bytes"
    )


def refusal(path: str, why: str) -> ClientError:
    """The error for a registry that cannot be opened; ``why`` ends with the remedy."""
    return ClientError(f"cannot open the registry {path}: {why}")


def real_path(path: str) -> str:
    """``path`` without symbolic links, for SQLite's own files lie beside it. Raises ClientError."""
    try:
        return os.path.realpath(path)
    except (OSError, ValueError) as error:
        why = str(error)
    raise refusal(path, f"{why}; name another file")


def prepare(path: str) -> None:
    """Make the file ``path`` and its folders where they are missing, open to this user only.

    Raises ClientError if that cannot be done, or if anyone else may read or exchange what is there.
    """
    try:
        _make_folder(os.path.dirname(path))
        _check_folder(path)
        _make_file(path)
        for name in ("", *COMPANIONS):
            _check_file(path, path + name)
        return
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
    raise refusal(path, f"{why}; name a file in a folder where this user may write, with {VARIABLE}")


def _make_folder(folder: str) -> None:
    missing = []
    while not os.path.lexists(folder):
        missing.append(folder)
        folder = os.path.dirname(folder)
    for name in reversed(missing):
        try:
            os.mkdir(name, 0o700)
        except FileExistsError:
            continue  # another process was faster
        os.chmod(name, 0o700)  # whatever the umask took away


def _make_file(path: str) -> None:
    try:
        os.mknod(path, stat.S_IFREG | 0o600)
    except FileExistsError:
        return
    os.chmod(path, 0o600)


def _check_folder(path: str) -> None:
    folder = os.path.dirname(path)
    status = os.stat(folder)
    if not stat.S_ISDIR(status.st_mode):
        raise refusal(path, f"{folder} is not a folder; name a file in a folder")
    if status.st_uid not in {0, os.geteuid()}:
        raise refusal(path, f"another user owns its folder; keep it in one of your own, with {VARIABLE}")
    if status.st_mode & 0o022:
        raise refusal(
            path,
            f"others may write to its folder; run chmod go-w {shlex.quote(folder)}, or keep it in a folder"
            f" of its own",
        )
    while folder != os.path.dirname(folder):
        folder = os.path.dirname(folder)
        _check_above(path, folder)


def _check_above(path: str, folder: str) -> None:
    """Whoever may rename what a folder holds can put another in the place of the registry's."""
    status = os.stat(folder)
    if status.st_uid not in {0, os.geteuid()}:
        raise refusal(
            path, f"another user owns {folder} above it; keep it below folders of your own, with {VARIABLE}"
        )
    if status.st_mode & 0o022 and not status.st_mode & stat.S_ISVTX:
        raise refusal(
            path,
            f"others may write to {folder} above it, and so exchange its folder;"
            f" run chmod go-w {shlex.quote(folder)}, or keep it elsewhere, with {VARIABLE}",
        )


def _check_file(path: str, name: str) -> None:
    try:
        status = os.lstat(name)
    except FileNotFoundError:
        return
    if stat.S_ISDIR(status.st_mode):
        raise refusal(path, f"{name} is a folder; name a file in it")
    if not stat.S_ISREG(status.st_mode):
        raise refusal(path, f"{name} is not a regular file; name another file")
    if status.st_uid != os.geteuid():
        raise refusal(path, f"another user owns {name}; run as that user, or name another file")
    if status.st_mode & 0o077:
        raise refusal(
            path,
            f"others may read {name}, which can hold the secrets of storage blocks;"
            f" run chmod 600 {shlex.quote(name)}",
        )
