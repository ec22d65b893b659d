"""Connections that end when the whole exchange must, whatever a server sends and how slowly.

A limit of each read's own is none: a server that sends one byte of a header every few seconds keeps it for
ever. ``httpcore`` is used without ``httpx`` above it because its network backend, where the limit of a whole
exchange can be kept, can be chosen there.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterable
from contextvars import ContextVar
from typing import Any, Final

import httpcore

CHUNK: Final = 16 << 10
UNTIL: ContextVar[float] = ContextVar("UNTIL")
"""When the exchange that runs in this thread must be over, on the monotonic clock, in seconds."""


def left() -> float:
    """Seconds until the exchange must be over. Raises TimeoutException when it is."""
    remaining = UNTIL.get() - time.monotonic()
    if remaining <= 0:
        raise httpcore.ReadTimeout
    return remaining


class Bounded(httpcore.NetworkBackend):
    """Connections of which each step ends when the whole exchange must."""

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002  # what is left of the exchange's is what counts
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """A connection to the first of a host's addresses that takes one.

        Looking up a name takes as long as the system's resolver lets it: nothing can interrupt that.
        """
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError from error
        failure: Exception = httpcore.ConnectError()
        for *_, address in found:
            try:
                stream = httpcore.SyncBackend().connect_tcp(
                    str(address[0]), port, left(), local_address, socket_options
                )
                return BoundedStream(stream)
            except httpcore.ConnectError as error:
                failure = error
        raise failure


class BoundedStream(httpcore.NetworkStream):
    """A connection of which each step ends when the whole exchange must."""

    def __init__(self, inner: httpcore.NetworkStream) -> None:
        self._inner = inner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002
        """Bytes that came."""
        return self._inner.read(max_bytes, left())

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002
        """Send all of ``buffer``."""
        for start in range(0, len(buffer), CHUNK):
            self._inner.write(buffer[start : start + CHUNK], left())

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002
    ) -> httpcore.NetworkStream:
        """The same connection, encrypted."""
        return BoundedStream(self._inner.start_tls(ssl_context, server_hostname, left()))

    def get_extra_info(self, info: str) -> Any:
        """What is known of the socket."""
        return self._inner.get_extra_info(info)

    def close(self) -> None:
        """Close the socket."""
        self._inner.close()
