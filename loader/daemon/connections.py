"""How many connections are open: one more is told so and closed, and one that ends is not waited for."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import time

from loader.daemon.config import Config
from loader.daemon.problems import Problem
from loader.daemon.trust import uid_of

OTHERS = 2
"""One in so many connections is the most that all but this user and root may have together."""


class Connections:
    """The connections that are open. One event loop."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.open: dict[Guarded, bool] = {}

    def refusal(self, *, owner: bool) -> Problem | None:
        """Why there can be no other connection, of this user or of others."""
        most = self.config.limits.connections
        mine = len(self.open) if owner else sum(not own for own in self.open.values())
        limit = most if owner else max(1, most // OTHERS)
        if mine < limit and len(self.open) < most:
            return None
        return Problem(
            "overloaded",
            f"cannot hold another connection: {len(self.open)} are open and limits.connections is {most}; ask"
            " again in 1 second, or raise it",
            limit=most,
            size=len(self.open),
            option="limits.connections",
            retry_after=1,
        )

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
        owner = of_owner(transport)
        problem = self.connections.refusal(owner=owner)
        if problem is not None:
            transport.write(answer(problem))
            transport.close()
            return
        self.transport = transport
        self.connections.open[self] = owner
        self.inner.connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is closed."""
        if self.connections.open.pop(self, None) is not None:
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


def of_owner(transport: asyncio.Transport) -> bool:
    """Whether this user or root is at the other end."""
    end = transport.get_extra_info("socket")
    if end is None or end.family != socket.AF_UNIX:
        return False
    return uid_of(end) in (0, os.geteuid())


def answer(problem: Problem) -> bytes:
    """A whole answer for a connection that is closed after it."""
    body = json.dumps(problem.data("none")).encode()
    head = (
        f"HTTP/1.1 {problem.status} Service Unavailable\r\nContent-Type: application/problem+json\r\n"
        f"Content-Length: {len(body)}\r\nRetry-After: 1\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body
