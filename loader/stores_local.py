"""A folder of this machine as storage: nothing is written half, and no symbolic link below it is followed."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
import tempfile
from collections.abc import Iterator

from loader.access import Access
from loader.errors import StorageError

FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
REASONS = {
    errno.ENOENT: "it is not there",
    errno.EACCES: "this user may not do that there; check the rights of the folder",
    errno.EPERM: "this user may not do that there; check the rights of the folder",
    errno.ELOOP: "there is a symbolic link in its way; take it out",
    errno.ENOTDIR: "something in its way is no folder; take it out",
    errno.EISDIR: "a folder has that name; choose another",
    errno.ENOSPC: "there is no space left; make some",
    errno.EDQUOT: "there is no space left; make some",
    errno.EROFS: "it cannot be written to; choose another folder",
    errno.ENAMETOOLONG: "its name is too long; choose a shorter one",
}


class Folder:
    """A folder at a path without symbolic links. It is made for its owner alone when first needed."""

    def __init__(self, path: str, access: Access) -> None:
        self.shown = path
        self._path = path
        self._access = access

    def read(self, name: str) -> bytes:
        """The bytes of a regular file. Raises StorageError."""
        *parents, last = name.split("/")
        with (
            self._in_words("read", name),
            self._base(make=False) as base,
            walked(base, parents, make=False) as folder,
        ):
            place = os.open(last, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
            try:
                if not stat.S_ISREG(os.fstat(place).st_mode):
                    raise StorageError(
                        f"cannot read {name} of {self.shown}: it is no regular file; remove it"
                    )
                opened = os.open(f"/proc/self/fd/{place}", os.O_RDONLY | os.O_CLOEXEC)
            finally:
                os.close(place)
            with os.fdopen(opened, "rb") as file:
                content = file.read(self._access.size + 1)
        if len(content) > self._access.size:
            raise StorageError(
                f"cannot read {name} of {self.shown}: it is larger than {self._access.size} bytes; allow more"
            )
        return content

    def write(self, name: str, data: bytes) -> None:
        """Keep bytes in a file of that name: all of them or none. Raises StorageError."""
        *parents, last = name.split("/")
        with self._in_words("write", name), self._base(make=True) as base, walked(base, parents) as folder:
            replace_file(folder, last, data)

    def remove(self, name: str) -> None:
        """Remove a file, if it is there. Raises StorageError."""
        *parents, last = name.split("/")
        with (
            self._in_words("remove", name),
            contextlib.suppress(FileNotFoundError),
            self._base(make=False) as base,
            walked(base, parents, make=False) as folder,
        ):
            os.unlink(last, dir_fd=folder)

    @contextlib.contextmanager
    def _base(self, *, make: bool) -> Iterator[int]:
        top = os.open("/", FOLDER)
        try:
            with walked(top, [part for part in self._path.split("/") if part], make=make) as base:
                yield base
        finally:
            os.close(top)

    @contextlib.contextmanager
    def _in_words(self, verb: str, name: str) -> Iterator[None]:
        try:
            yield
        except StorageError:
            raise
        except (OSError, ValueError) as error:
            number = getattr(error, "errno", None) or 0
            reason = REASONS.get(number) or getattr(error, "strerror", None) or type(error).__name__
            raise StorageError(f"cannot {verb} {name} of {self.shown}: {reason}") from None


class PrivateFolder(Folder):
    """A folder of this user's own among everybody's temporary files: nobody else can have made it."""

    def __init__(self, access: Access) -> None:
        name = f"flow-loader-{os.geteuid()}"
        super().__init__(os.path.join(os.path.realpath(tempfile.gettempdir()), name), access)

    @contextlib.contextmanager
    def _base(self, *, make: bool) -> Iterator[int]:
        with super()._base(make=make) as base:
            status = os.fstat(base)
            if status.st_uid != os.geteuid() or status.st_mode & 0o077:
                raise StorageError(
                    f"cannot use {self.shown} as storage: it belongs to another user, or others may enter it;"
                    f" remove it"
                )
            yield base


@contextlib.contextmanager
def walked(top: int, names: list[str], *, make: bool = True) -> Iterator[int]:
    """A descriptor of the folder that ``names`` lead to from ``top``. Missing ones are made."""
    here = os.dup(top)
    try:
        for name in names:
            if make:
                with contextlib.suppress(OSError):  # whether it is there now is found out by opening it
                    os.mkdir(name, 0o700, dir_fd=here)
            following = os.open(name, FOLDER, dir_fd=here)
            os.close(here)
            here = following
        yield here
    finally:
        os.close(here)


def replace_file(folder: int, name: str, data: bytes) -> None:
    """Write a file beside ``name`` and let it take its place once it is on the disk."""
    fresh = f".{secrets.token_hex(16)}"
    descriptor = os.open(
        fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=folder
    )
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.rename(fresh, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(fresh, dir_fd=folder)
        raise
    opened = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
