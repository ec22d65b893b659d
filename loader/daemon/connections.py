"""Who is let in: no more connections than may be open, and one that ends is not waited for.

A connection counts from the moment it is there, before TLS. One more is told so and closed; of those whose
callers were granted nothing, or have not shown the token yet, the oldest makes room. Some descriptors are
left to loads; where there are none to be had at all nobody is let in for a while, and whoever came waits.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import queue
import resource
import socket
import ssl
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

from aiohttp import web
from structlog.typing import FilteringBoundLogger

from loader.daemon.config import Config
from loader.daemon.logs import about
from loader.daemon.peers import Caller, caller_at
from loader.daemon.problems import Problem
from loader.daemon.shares import STRANGERS, Shares, held_as
from loader.daemon.sockets import may_bring_descriptors
from loader.daemon.trust import peer_of

LEFT = 128
"""Descriptors that connections leave to all else."""
AGAIN = 0.5
"""Seconds after which it is tried again to let somebody in."""
HANDSHAKE_SECONDS = 10.0
SERVER = "flow-loader"
"""What the server calls itself: which libraries it is made of is nobody's business."""


class Connections:
    """The connections that are open, the oldest first. One event loop."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.open: dict[Guarded, None] = {}
        self.shares = Shares("connections", "limits.connections")
        self.leaving = Leaving()

    def admit(self, end: socket.socket, inner: asyncio.Protocol) -> Guarded:
        """Count one more. Raises Problem when this process may hold no more, or the configuration says so.

        Raises Problem, too, for one of others that may have brought descriptors.
        """
        made = Guarded(self, end, inner, caller_at(end, self.config, {}))
        if not made.caller.owner and may_bring_descriptors(end):
            said = f"cannot let {made.caller.name} in: it was here before the daemon; connect again"
            raise Problem("not-ready", said, retry_after=1)
        while True:
            try:
                self.shares.take(made.caller, **self.most())
                break
            except Problem:
                oldest = next((one for one in self.open if one.is_strangers()), None)
                if oldest is None or not made.is_strangers():
                    raise
                oldest.cut()
        self.open[made] = None
        return made

    def most(self) -> dict[str, Any]:
        """How many there may be, and what says so if it is no limit of the configuration."""
        most = self.config.limits.connections
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        room = max(1, files - LEFT)
        option = f"the limit of open files (ulimit -n), less {LEFT}," if room < most else None
        return {"limit": min(most, room), "option": option}

    def release(self, connection: Guarded) -> None:
        """Count one less, once."""
        if connection in self.open:
            del self.open[connection]
            self.shares.give(connection.caller)

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


class Leaving:
    """Closes connections, in a thread that nobody waits for where that may last."""

    def __init__(self) -> None:
        self.waiting: queue.SimpleQueue[socket.socket] = queue.SimpleQueue()
        self.thread: threading.Thread | None = None

    def close(self, end: socket.socket) -> None:
        """Close one; whoever is at its other end finds out at once."""
        if not may_bring_descriptors(end):
            end.close()
            return
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
        self.waiting.put(end)
        if self.thread is None:
            self.thread = threading.Thread(target=self.work, name="flow-loader-leaving", daemon=True)
            self.thread.start()

    def work(self) -> None:
        """The thread."""
        while True:
            self.waiting.get().close()


class Guarded(asyncio.Protocol):
    """One connection: what the server's own protocol makes of it, and whose it is.

    Before it has a ``transport`` it is in its handshake.
    """

    def __init__(
        self, connections: Connections, end: socket.socket, inner: asyncio.Protocol, caller: Caller
    ) -> None:
        self.connections, self.end, self.inner, self.caller = connections, end, inner, caller
        self.transport: asyncio.Transport | None = None
        self.stuck: float | None = None

    def is_strangers(self) -> bool:
        """Whether it is of those who have no share of their own."""
        return held_as(self.caller) == STRANGERS

    def count_as(self, caller: Caller) -> None:
        """Count it as of a caller who has shown to be more than anybody. Raises Problem."""
        if self in self.connections.open and caller.peer is not None and self.is_strangers():
            self.connections.shares.move(self.caller, caller, **self.connections.most())
            self.caller = caller

    def cut(self) -> None:
        """Close it at once."""
        self.connections.release(self)
        if self.transport is not None:
            self.transport.abort()
            return
        with contextlib.suppress(OSError):  # what there is of it so far finds its end, and closes it
            self.end.shutdown(socket.SHUT_RDWR)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It can be read."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.inner.connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is closed."""
        self.connections.release(self)
        self.inner.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """More of a request."""
        self.inner.data_received(data)

    def eof_received(self) -> bool | None:
        """The end of requests."""
        return self.inner.eof_received()

    def pause_writing(self) -> None:
        """The reader is slow."""
        self.inner.pause_writing()

    def resume_writing(self) -> None:
        """The reader has caught up."""
        self.inner.resume_writing()


class Door:
    """Lets in whoever connects. ``make`` gives what answers, ``start`` does what nobody waits for."""

    def __init__(
        self,
        connections: Connections,
        make: Callable[[], asyncio.Protocol],
        start: Callable[[Coroutine[Any, Any, None]], object],
        log: FilteringBoundLogger,
    ) -> None:
        self.connections, self.make, self.start, self.log = connections, make, start, log

    async def watch(self, end: socket.socket, tls: ssl.SSLContext | None) -> None:
        """Let in whoever connects to a socket, until it is cancelled."""
        loop, trouble = asyncio.get_running_loop(), None
        end.setblocking(False)
        while True:
            try:
                connection, address = await loop.sock_accept(end)
            except OSError as error:
                if trouble != error.errno:
                    self.log.warning("cannot let anybody in", reason=error.strerror)
                trouble = error.errno
                await asyncio.sleep(AGAIN)
                continue
            trouble = None
            try:
                admitted = self.connections.admit(connection, self.make())
            except Problem as problem:
                refuse(connection, problem, tls)
                self.connections.leaving.close(connection)
            else:
                self.start(self.let_in(admitted, address, tls))
            await asyncio.sleep(0)  # many who come at once do not keep those waiting who are in

    async def let_in(self, admitted: Guarded, address: Any, tls: ssl.SSLContext | None) -> None:
        """Read what is asked at a connection; who asks is on every line about it."""
        seconds = HANDSHAKE_SECONDS if tls else None
        connect = asyncio.get_running_loop().connect_accepted_socket
        try:
            with about(**asking(admitted.end, address)):
                await connect(lambda: admitted, admitted.end, ssl=tls, ssl_handshake_timeout=seconds)
        except OSError:  # no TLS, or gone
            admitted.end.close()
        finally:
            if admitted.transport is None:
                self.connections.release(admitted)


def asking(end: socket.socket, address: Any) -> dict[str, Any]:
    """Who is at the other end, as every line about it says: also where nothing is answered."""
    if end.family == socket.AF_UNIX:
        pid, uid, _ = peer_of(end)
        return {"caller": f"uid {uid}", "asked_by": pid}
    return {"caller": "nobody", "asked_from": address[0]}


def count_as(request: web.Request, caller: Caller) -> None:
    """Count a request's connection as of who turned out to ask. Raises Problem."""
    connection = request.transport.get_protocol() if request.transport is not None else None
    if isinstance(connection, Guarded):
        connection.count_as(caller)


def refuse(connection: socket.socket, problem: Problem, tls: ssl.SSLContext | None) -> None:
    """Say why not, to whom that can be said without a handshake."""
    with contextlib.suppress(OSError):
        if tls is None:
            connection.send(answer(problem))


def answer(problem: Problem) -> bytes:
    """A whole answer for a connection that is closed after it."""
    body = json.dumps(problem.data("none")).encode()
    head = (
        f"HTTP/1.1 {problem.status} Service Unavailable\r\nContent-Type: application/problem+json\r\n"
        f"Server: {SERVER}\r\nContent-Length: {len(body)}\r\nRetry-After: 1\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body
