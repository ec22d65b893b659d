"""A folder of this machine as storage: nothing is written half, and no symbolic link below it is followed.

A name that means just its bytes may be wanted by several at once. Whoever finds them there already puts a
copy in their place, so that the file is no longer the one that the first made: it will not take it back.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import tempfile
from collections.abc import Iterator

from loader.access import Access
from loader.errors import StorageError
from loader.stores.files import FOLDER, file_system, is_there, locked, replace_file, take_back, walked
from loader.stores.store import Kept, Place

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
    errno.EAGAIN: "another process keeps it, or its folder, to itself; try again",
    errno.ENAMETOOLONG: "its name is too long; choose a shorter one",
}
KERNEL = frozenset(
    "autofs binfmt_misc bpf cgroup cgroup2 configfs debugfs devpts devtmpfs efivarfs fusectl mqueue nsfs proc"
    " pstore rpc_pipefs securityfs selinuxfs sysfs tracefs".split()
)
"""File systems whose files are the kernel's own."""


class Folder(Place):
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
            content = self._content(folder, last, name)
        if len(content) > self._access.size:
            raise StorageError(
                f"cannot read {name} of {self.shown}: it is larger than {self._access.size} bytes; allow more"
            )
        return content

    def write(self, name: str, data: bytes) -> None:
        """Keep bytes in a file of that name: all of them or none. Raises StorageError."""
        *parents, last = name.split("/")
        with self._in_words("write", name), self._base(make=True) as base, walked(base, parents) as folder:
            self._check_kind(folder)
            os.close(replace_file(folder, last, data))

    @contextlib.contextmanager
    def shared(self, kept: Kept, data: bytes) -> Iterator[None]:
        """Keep bytes under a name that means just these bytes. After an exception inside they are taken back,
        unless they are needed, were there before or others have asked for them since. Raises StorageError.
        """
        *parents, last = kept.key.split("/")
        with contextlib.ExitStack() as held:
            with self._in_words("write", kept.key):
                folder = held.enter_context(walked(held.enter_context(self._base(make=True)), parents))
                self._check_kind(folder)
                with locked(folder):
                    new = not is_there(folder, last)
                    made = replace_file(folder, last, data)
                held.callback(os.close, made)  # while it is open, no other file can have its number
            try:
                yield
            except BaseException:
                if new and kept.unneeded():
                    with contextlib.suppress(OSError), locked(folder):
                        take_back(folder, last, made)
                raise

    def remove(self, name: str) -> None:
        """Remove a file, if it is there. Raises StorageError."""
        *parents, last = name.split("/")
        with (
            self._in_words("remove", name),
            contextlib.suppress(FileNotFoundError),
            self._base(make=False) as base,
            walked(base, parents, make=False) as folder,
        ):
            self._check_kind(folder)
            os.unlink(last, dir_fd=folder)

    def _content(self, folder: int, last: str, name: str) -> bytes:
        """The bytes of a regular file, or one more than may be."""
        place = os.open(last, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
        try:
            if not stat.S_ISREG(os.fstat(place).st_mode):
                raise StorageError(f"cannot read {name} of {self.shown}: it is no regular file; remove it")
            self._check_kind(place)
            opened = os.open(f"/proc/self/fd/{place}", os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        finally:
            os.close(place)
        with os.fdopen(opened, "rb") as file:
            return file.read(self._access.size + 1)

    def _check_kind(self, place: int) -> None:
        kind = file_system(place)
        if kind in KERNEL:
            raise StorageError(
                f"cannot use {self.shown} as storage: its file system is of the kind {kind}, whose files are"
                f" the kernel's own; choose another folder"
            )

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
