"""Who is at the other end of a socket, by the kernel's word, and which daemon a client hands its work to."""

from __future__ import annotations

import os
import socket
import struct
from typing import Any

from loader.errors import DaemonError

CREDENTIALS = struct.Struct("iII")
PEER_GROUPS = 59
"""SO_PEERGROUPS of ``asm-generic/socket.h``, which Python does not name."""
MOST_GROUPS, GROUP = 1024, 4
"""Bytes that Python takes from a socket at a time, and those of one group."""
CONNECTED = "connection.connect_unix_socket.complete"
"""What the library of connections calls the instant before anything is sent."""


def peer_of(end: socket.socket) -> tuple[int, int, int]:
    """Process, user and group at the other end of a Unix socket: who connected, or who listens there."""
    packed = end.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
    pid, uid, gid = CREDENTIALS.unpack(packed)
    return pid, uid, gid


def uid_of(end: socket.socket) -> int:
    """The user at the other end."""
    return peer_of(end)[1]


def groups_of(end: socket.socket) -> tuple[int, ...]:
    """The groups of who is at the other end, its own first; only that one if it is in very many."""
    own = peer_of(end)[2]
    try:
        packed = end.getsockopt(socket.SOL_SOCKET, PEER_GROUPS, MOST_GROUPS)
    except OSError:
        return (own,)
    return own, *struct.unpack(f"{len(packed) // GROUP}I", packed)


def usual() -> str:
    """The socket of this user's own daemon. Raises DaemonError for what is, or may be, another user's."""
    from loader.daemon.config import default_socket  # noqa: PLC0415 - seldom needed

    path = default_socket(os.environ)
    try:
        owner = os.lstat(path).st_uid
    except FileNotFoundError:
        return path  # connecting says it better
    except OSError as error:
        raise DaemonError(
            f"cannot trust the daemon at {path}: {error.strerror}; name it if you mean it"
        ) from None
    if owner not in (0, os.geteuid()):
        raise DaemonError(f"cannot trust the daemon at {path}: it is user {owner}'s; name it if you mean it")
    return path


class Trust:
    """Looks at who answers at a socket before anything is sent there.

    That may be this user or root, and at a socket that was ``named`` the owner of its folder: nobody else
    can have put it there.
    """

    def __init__(self, path: str, *, named: bool) -> None:
        self.path, self.named = path, named

    def look(self, end: socket.socket) -> None:
        """Look at a connection that was just made. Raises DaemonError."""
        uid = uid_of(end)
        if uid not in self.trusted():
            raise self.refusal(uid)

    async def check(self, event: str, info: dict[str, Any]) -> None:
        """As ``look``, for who is told of everything that a connection does."""
        if event == CONNECTED:
            made = info["return_value"]
            try:
                self.look(made.get_extra_info("socket"))
            except DaemonError:
                await made.aclose()
                raise

    def refusal(self, uid: int) -> DaemonError:
        """What is said of such a user."""
        return DaemonError(
            f"cannot trust the daemon at {self.path}: it is user {uid}'s, and neither yours nor root's; name"
            " a socket that lies in a folder of its daemon's user"
        )

    def trusted(self) -> set[int]:
        """The users that may answer. The owner of a folder counts only if nobody else can write to it."""
        users = {0, os.geteuid()}
        if self.named:
            try:
                status = os.stat(os.path.dirname(os.path.abspath(self.path)))
            except OSError:
                return users
            if not status.st_mode & 0o022:
                users.add(status.st_uid)
        return users
