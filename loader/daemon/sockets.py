"""Where the daemon listens: a Unix socket with its mode before it is there, and TCP with a token and TLS.

A socket lies in a folder that only its owner can change, and has its mode before it is bound. A lock beside
it says that its daemon lives; what is left of a dead one is replaced, what is not ours never.

Nobody sends descriptors to a socket to which others may connect. One that nobody takes is closed in the
thread that reads past it, or closes its connection, and such a close lasts as long as its sender likes.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import ssl
import stat
from collections.abc import Iterator
from dataclasses import dataclass

from loader.daemon.config import Listen
from loader.errors import ConfigError

BACKLOG = 512
LONGEST = 107
"""Bytes of a path that a socket's address can hold."""
TOKEN = (16, 1024)
"""Characters that a token has: enough to guess in vain, and few enough for a header."""
PASSRIGHTS = 83
"""SO_PASSRIGHTS of Linux 6.16 and newer, which Python does not name. Connections have it as it is when they
are made."""
FILES, FOLDERS = {"owner": 0o600, "everyone": 0o666}, {"owner": 0o700, "everyone": 0o711}


@dataclass
class Bound:
    """A socket that listens, and what it is on disk; ``lock`` is held as long as its daemon lives."""

    path: str
    access: str
    listening: socket.socket
    identity: tuple[int, int]
    lock: int

    def is_there(self) -> bool:
        """Whether the path leads to this socket."""
        return identity_of(self.path) == self.identity

    def again(self) -> None:
        """Listen anew at the path, where somebody removed the socket. Raises ConfigError."""
        with opened_folder(self.path, self.access) as folder:
            if identity_of(self.path) is not None:
                raise ConfigError(f"cannot listen at {self.path}: something else is there now; remove it")
            held = os.fstat(self.lock)
            if identity_of(lock_of(self.path)) != (held.st_dev, held.st_ino):
                lock = locked(self.path, folder)
                os.close(self.lock)
                self.lock = lock
            self.listening.close()
            self.listening, self.identity = bound(self.path, folder, self.access)

    def close(self) -> None:
        """Remove the socket, if it is still this one."""
        self.listening.close()
        if self.is_there():
            with contextlib.suppress(OSError):
                os.unlink(self.path)
        os.close(self.lock)


def listen(path: str, access: str = "owner") -> Bound:
    """Listen at ``path``. Raises ConfigError when its folder is not fit, or a daemon lives there already."""
    if len(os.fsencode(path)) > LONGEST:
        raise ConfigError(
            f"cannot listen at {path}: a socket's path has at most {LONGEST} bytes; name a shorter"
        )
    with opened_folder(path, access) as folder:
        lock = locked(path, folder)
        try:
            clear(path, folder)
            listening, identity = bound(path, folder, access)
        except BaseException:
            os.close(lock)
            raise
    return Bound(path, access, listening, identity, lock)


@contextlib.contextmanager
def opened_folder(path: str, access: str) -> Iterator[int]:
    """A descriptor of the socket's folder, made if it is missing. Raises ConfigError if it is not fit."""
    name, most = os.path.dirname(path), FOLDERS[access]
    try:
        os.makedirs(os.path.dirname(name), exist_ok=True)
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, most)
        folder = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise ConfigError(
            f"cannot use the folder {name} for the socket: {error.strerror}; name another with --socket"
        ) from None
    try:
        status = os.fstat(folder)
        if status.st_uid != os.geteuid():
            raise ConfigError(
                f"cannot use the folder {name} for the socket: it belongs to user {status.st_uid}; name a"
                " socket in a folder of your own with --socket"
            )
        mode = stat.S_IMODE(status.st_mode)
        if mode & 0o077 & ~most:
            raise ConfigError(
                f"cannot use the folder {name} for the socket: others may use it (mode {mode:04o});"
                f" run chmod {most:o} {name}, or name another with --socket"
            )
        yield folder
    finally:
        os.close(folder)


def locked(path: str, folder: int) -> int:
    """The lock of the daemon at ``path``. Raises ConfigError while another holds it."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        lock = os.open(os.path.basename(lock_of(path)), flags, 0o600, dir_fd=folder)
    except OSError as error:
        raise ConfigError(f"cannot make the lock beside {path}: {error.strerror}; make room there") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise living(path) from None
    return lock


def lock_of(path: str) -> str:
    """Where the lock of a socket is."""
    return f"{path}.lock"


def living(path: str) -> ConfigError:
    """What is said of a path at which a daemon lives."""
    return ConfigError(
        f"cannot listen at {path}: a daemon lives there already; end it, or name another with --socket"
    )


def clear(path: str, folder: int) -> None:
    """Remove what a dead daemon left. Raises ConfigError for what lives, and for what is no socket."""
    name = os.path.basename(path)
    try:
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(status.st_mode):
        raise ConfigError(f"cannot listen at {path}: there is something that is no socket; remove it")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as trial:
        code = trial.connect_ex(f"/proc/self/fd/{folder}/{name}")
    if code not in (errno.ECONNREFUSED, errno.ENOENT):
        raise living(path)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(name, dir_fd=folder)


def bound(path: str, folder: int, access: str) -> tuple[socket.socket, tuple[int, int]]:
    """A socket that listens in the folder, and its identity. Its mode is set before it is there."""
    name = os.path.basename(path)
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        os.fchmod(made.fileno(), 0o600)  # a socket's file is made with the mode that the socket has
        take_no_descriptors(made, path, others=access != "owner")
        made.bind(f"/proc/self/fd/{folder}/{name}")
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if FILES[access] != stat.S_IMODE(status.st_mode):
            os.chmod(name, FILES[access], dir_fd=folder)
        made.listen(BACKLOG)
    except OSError as error:
        made.close()
        raise ConfigError(f"cannot listen at {path}: {error.strerror}; name another with --socket") from None
    return made, (status.st_dev, status.st_ino)


def take_no_descriptors(end: socket.socket, path: str, *, others: bool) -> None:
    """Have the kernel refuse descriptors that are sent to whoever connects from now on.

    Raises ConfigError where it cannot, and ``others`` than the owner may connect.
    """
    try:
        end.setsockopt(socket.SOL_SOCKET, PASSRIGHTS, 0)
    except OSError:
        if others:
            raise ConfigError(
                f"cannot let others connect to {path}: this kernel cannot refuse the descriptors that they"
                " send, with which they could hold up the daemon; run Linux 6.16 or newer, which has"
                " SO_PASSRIGHTS, or say socket_access: owner (SocketMode=0600 in a socket unit)"
            ) from None


def may_bring_descriptors(end: socket.socket) -> bool:
    """Whether descriptors could have been sent to a connection before anybody said that none are taken."""
    if end.family != socket.AF_UNIX:
        return False
    try:
        return bool(end.getsockopt(socket.SOL_SOCKET, PASSRIGHTS))
    except OSError:
        return True


def is_for_others(name: str | bytes) -> bool:
    """Whether others than this user and root may connect to the Unix socket of that name."""
    try:
        status = os.stat(name)
    except (OSError, ValueError):  # it has no path, or none that leads to it
        return True
    return bool(stat.S_IMODE(status.st_mode) & 0o077) or status.st_uid not in (0, os.geteuid())


def identity_of(path: str) -> tuple[int, int] | None:
    """The device and inode of what is at a path, or None."""
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def token(path: str) -> str:
    """The token in a file that only its owner can read. Raises ConfigError."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, encoding="ascii") as file:
            status = os.fstat(file.fileno())
            found = file.read(2 * TOKEN[1]).strip()
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "it is no text in ASCII"
        raise ConfigError(
            f"cannot read the token in {path}: {why}; name a file with listen.token_file"
        ) from None
    if not stat.S_ISREG(status.st_mode) or status.st_mode & 0o077 or status.st_uid not in (0, os.geteuid()):
        raise ConfigError(
            f"cannot use the token in {path}: others may read it; run chmod 600 {path}, as its owner"
        )
    if not TOKEN[0] <= len(found) <= TOKEN[1] or not found.isprintable() or " " in found:
        raise ConfigError(
            f"cannot use the token in {path}: it must be one word of {TOKEN[0]} to {TOKEN[1]} characters"
        )
    return found


def tls(place: Listen) -> ssl.SSLContext | None:
    """The certificate to be shown, if there is one. Raises ConfigError."""
    if place.certificate is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(place.certificate, place.key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"cannot use the certificate {place.certificate}: {error.strerror or error}; name another, with"
            " its key, below listen"
        ) from None
    return context
