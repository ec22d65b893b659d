"""A client's connections to its daemon: those at a socket are looked at before anything is sent.

Nothing that answers there is trusted to be a daemon: of an answer no more is read than one may hold.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from typing import Any

from urllib3 import HTTPConnectionPool, Timeout, connection_from_url
from urllib3.connection import HTTPConnection
from urllib3.exceptions import HTTPError, LocationValueError
from urllib3.util import parse_url

from loader import escape
from loader.daemon.trust import Trust

CONNECTING = 5.0
"""Seconds. A load may take as long as its profile says."""
IDLE = 20
"""Connections that are held for the next request."""
MOST = 128 << 20
"""Bytes of an answer: by its default ``limits.bodies`` no daemon holds more of all of them together."""
PIECE = 1 << 18
"""Bytes of an answer that are read at a time."""


class Unclear(Exception):
    """An answer that is none of a daemon's; says why."""


class Answer:
    """An answer as it comes in: its status, and its body as it was sent. Raises Unclear."""

    def __init__(self, status: int, encoding: str | None) -> None:
        if encoding is not None:
            raise Unclear(f"it is encoded ({escape.line(encoding)}), for which nobody asked")
        self.status, self.content = status, bytearray()

    def take(self, piece: bytes) -> None:
        """Read on. Raises Unclear."""
        self.content += piece
        if len(self.content) > MOST:
            raise Unclear(f"it is larger than {MOST >> 20} MiB")


class AtSocket(HTTPConnection):
    """A connection at a Unix socket, whose other end is ``trusted``."""

    def __init__(self, *args: Any, trusted: Trust, **options: Any) -> None:
        super().__init__(*args, **options)
        self.trusted = trusted
        self.held: bytearray | None = None

    def connect(self) -> None:
        """Connect, and look at who answers. Raises OSError, DaemonError."""
        end = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            end.settimeout(CONNECTING)
            end.connect(self.trusted.path)
            self.trusted.look(end)
        except BaseException:
            end.close()
            raise
        end.settimeout(None)
        self.sock = end

    def request(self, *args: Any, **options: Any) -> None:
        """Send a request in one piece: the daemon is woken once for it."""
        self.held = bytearray()
        try:
            super().request(*args, **options)
        finally:
            held, self.held = self.held, None
        self.send(held)

    def send(self, data: Any) -> None:
        """Send a piece of a request, or hold it until the request is whole."""
        if self.held is None:
            super().send(data)
        else:
            self.held += data


class AtSockets(HTTPConnectionPool):
    """Such connections."""

    ConnectionCls = AtSocket


class Reaching:
    """Connections to the daemon whose paths begin with ``url``, at a socket unless it has its own address.

    Safe to use from many threads. Raises HTTPError for a URL of another kind.
    """

    def __init__(self, url: str, trusted: Trust | None) -> None:
        how: dict[str, Any] = {"timeout": Timeout(connect=CONNECTING, read=None), "maxsize": IDLE}
        parts = parse_url(url)
        if parts.scheme not in {"http", "https"}:
            raise LocationValueError(f"its scheme is {parts.scheme}")
        self.path = parts.path or ""
        self.secure = ssl.create_default_context() if parts.scheme == "https" else None
        self.pool: HTTPConnectionPool
        if trusted is not None:
            self.pool = AtSockets("localhost", trusted=trusted, **how)
        elif self.secure is not None:
            self.pool = connection_from_url(url, ssl_context=self.secure, **how)
        else:
            self.pool = connection_from_url(url, **how)

    def post(self, what: str, headers: dict[str, str], body: bytes) -> Answer:
        """The answer, whatever it says. Raises HTTPError, DaemonError, Unclear."""
        as_sent = {"redirect": False, "preload_content": False, "decode_content": False}
        response = self.pool.urlopen("POST", self.path + what, body, headers, retries=False, **as_sent)
        with contextlib.closing(response):  # one that was read to its end has given its connection back
            answer = Answer(response.status, response.headers.get("Content-Encoding"))
            while piece := response.read(PIECE):
                answer.take(piece)
            return answer

    def close(self) -> None:
        """Close what is not in use."""
        self.pool.close()


def reason(error: BaseException) -> str:
    """Why there is no answer, in the words of who knows best: on one line, for they may be the server's."""
    within = (error.__cause__, *error.args) if isinstance(error, HTTPError) else ()
    inner = next((item for item in within if isinstance(item, BaseException)), None)
    return escape.line(str(error) or type(error).__name__) if inner is None else reason(inner)
