"""Who is let in: no more connections than may be open, and one that ends is not waited for.

One more is told so and closed. Some descriptors are left to loads; where there are none to be had at all
nobody is let in for a while, and whoever came waits.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import socket
import ssl
import time
from collections.abc import Callable, Coroutine
from typing import Any

from structlog.typing import FilteringBoundLogger

from loader.daemon.config import Config
from loader.daemon.peers import Caller
from loader.daemon.problems import Problem
from loader.daemon.shares import Shares
from loader.daemon.trust import uid_of

LEFT = 128
"""Descriptors that connections leave to all else."""
AGAIN = 0.5
"""Seconds after which it is tried again to let somebody in."""
HANDSHAKE_SECONDS = 10.0


class Connections:
    """The connections that are open. One event loop."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.open: dict[Guarded, Caller] = {}
        self.shares = Shares("connections", "limits.connections")

    def take(self, caller: Caller) -> None:
        """Count one more. Raises Problem when this process may hold no more, or the configuration says so."""
        most = self.config.limits.connections
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        room = max(1, files - LEFT)
        option = f"the limit of open files (ulimit -n), less {LEFT}," if room < most else None
        self.shares.take(caller, min(most, room), option=option)

    def sweep(self) -> None:
        """Cut off whoever does not take the last of an answer."""
        latest = time.monotonic() - self.config.limits.request_seconds
        for connection in list(self.open):
            transport = connection.transport
            if transport is None or not (transport.is_closing() or transport.get_write_buffer_size()):
                connection.stuck = None
            elif connection.stuck is None:
                connection.stuck = time.monotonic()
            elif connection.stuck < latest:
                transport.abort()


class Guarded(asyncio.Protocol):
    """One connection: what the server's own protocol makes of it, unless there are too many."""

    def __init__(self, connections: Connections, inner: asyncio.Protocol) -> None:
        self.connections, self.inner = connections, inner
        self.transport: asyncio.Transport | None = None
        self.stuck: float | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Let it in, or say why not."""
        assert isinstance(transport, asyncio.Transport)
        caller = at_the_end_of(transport)
        try:
            self.connections.take(caller)
        except Problem as problem:
            transport.write(answer(problem))
            transport.close()
            return
        self.transport = transport
        self.connections.open[self] = caller
        self.inner.connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is closed."""
        caller = self.connections.open.pop(self, None)
        if caller is not None:
            self.connections.shares.give(caller)
            self.inner.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """More of a request."""
        if self.transport is not None:
            self.inner.data_received(data)

    def eof_received(self) -> bool | None:
        """The end of requests."""
        return self.inner.eof_received() if self.transport is not None else None

    def pause_writing(self) -> None:
        """The reader is slow."""
        if self.transport is not None:
            self.inner.pause_writing()

    def resume_writing(self) -> None:
        """The reader has caught up."""
        if self.transport is not None:
            self.inner.resume_writing()


async def accept(
    end: socket.socket,
    make: Callable[[], asyncio.Protocol],
    tls: ssl.SSLContext | None,
    start: Callable[[Coroutine[Any, Any, None]], object],
    log: FilteringBoundLogger,
) -> None:
    """Let in whoever connects to a socket, until it is cancelled. ``start`` does what nobody waits for."""
    loop = asyncio.get_running_loop()
    end.setblocking(False)

    async def let_in(connection: socket.socket) -> None:
        try:
            await loop.connect_accepted_socket(
                make, connection, ssl=tls, ssl_handshake_timeout=HANDSHAKE_SECONDS if tls else None
            )
        except OSError:  # no TLS, or gone
            connection.close()

    trouble = None
    while True:
        try:
            connection, _ = await loop.sock_accept(end)
        except OSError as error:
            if trouble != error.errno:
                log.warning("cannot let anybody in", reason=error.strerror)
            trouble = error.errno
            await asyncio.sleep(AGAIN)
        else:
            trouble = None
            start(let_in(connection))


def at_the_end_of(transport: asyncio.Transport) -> Caller:
    """Who is at the other end, as far as that is known before a request."""
    end = transport.get_extra_info("socket")
    if end is None or end.family != socket.AF_UNIX:
        return Caller("TCP")
    uid = uid_of(end)
    return Caller(f"uid {uid}", uid in (0, os.geteuid()))


def answer(problem: Problem) -> bytes:
    """A whole answer for a connection that is closed after it."""
    body = json.dumps(problem.data("none")).encode()
    head = (
        f"HTTP/1.1 {problem.status} Service Unavailable\r\nContent-Type: application/problem+json\r\n"
        f"Content-Length: {len(body)}\r\nRetry-After: 1\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body
