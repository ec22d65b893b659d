"""One HTTP conversation with a Prefect server: bounded in time and size, to one origin, and never a surprise.

What can go wrong below HTTP comes back as words, not as an exception, so that no traceback leads to the key.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from random import uniform
from typing import Any, Final
from urllib.parse import urlsplit

import httpcore
from pydantic import SecretStr

from loader.client.prefect.address import Address
from loader.client.prefect.bounded import UNTIL, Bounded
from loader.errors import ClientError

SIZE_CAP: Final = 8 << 20
"""Largest answer in bytes; a deployment is a thousandth of it."""
WAITS: Final = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Seconds before each further try of a request that the server was too busy for, on average."""
PATIENCE: Final = 30.0
"""Longest wait in seconds that a server may ask for."""
BUSY: Final = (429, 503)
UNSURE: Final = 503
"""A proxy may answer so when the server behind it did what was asked for, and was slow to say it."""
KEEPALIVE: Final = 2.0
"""Seconds that a connection is kept for the next request: less than servers keep theirs."""
NOT_JSON: Final = object()


@dataclass(frozen=True)
class Answer:
    """What a server said. ``data`` is NOT_JSON for anything else; ``wait`` is in seconds.

    ``maybe_done`` says that an earlier try of the same request failed in a way that leaves open whether the
    server did what it asks for.
    """

    status: int
    data: Any
    location: str = ""
    wait: float = 0.0
    maybe_done: bool = False


class Connection:
    """A pool of connections to one origin. For many threads; not for a process forked from this one."""

    def __init__(self, address: Address, key: SecretStr | None, timeout: float) -> None:
        self.address, self.timeout = address, timeout
        self._key, self._pid = key, os.getpid()
        self._pool, self._closed = pool(address), False

    def __repr__(self) -> str:
        return f"<Connection {self.address}>"

    def ask(self, what: str, method: str, path: str, body: Any = None) -> Answer:
        """The answer to one request; a server that is too busy is asked again, at most five times.

        ``what`` says in errors what was to be done. Raises ClientError when there is no answer.
        """
        if os.getpid() != self._pid:
            raise ClientError(f"cannot {what} in a forked process: make a PrefectServer of its own there")
        if self._closed:
            raise ClientError(f"cannot {what} on {self.address}: this client is closed; make another")
        content, maybe_done = None if body is None else encoded(what, body), False
        for pause in (*WAITS, None):
            answer = self._exchange(method, path, content)
            if isinstance(answer, str):
                raise ClientError(f"cannot {what} on {self.address}: {answer}")
            if answer.status not in BUSY or pause is None or answer.wait > PATIENCE:
                return replace(answer, maybe_done=maybe_done)
            maybe_done = maybe_done or answer.status == UNSURE
            time.sleep(max(pause * uniform(0.5, 1.5), answer.wait))  # noqa: S311  # apart from its other clients
        raise AssertionError(method)

    def close(self) -> None:
        """Close every connection; no more are made."""
        self._closed = True
        if os.getpid() == self._pid:
            self._pool.close()

    def _exchange(self, method: str, path: str, content: bytes | None) -> Answer | str:
        """One request and its answer, or why there is none."""
        token = UNTIL.set(time.monotonic() + self.timeout)
        try:
            with self._pool.stream(
                method,
                self.address.url + path,
                headers=self._headers(),
                content=content,
                extensions={"timeout": {"pool": self.timeout}},
            ) as response:
                answer = read(response)
                if not 200 <= answer.status < 300:  # servers close after failures, some without saying so
                    response.extensions["network_stream"].close()
                return answer
        except TooLargeError:
            return f"its answer is larger than {SIZE_CAP >> 20} MiB; is it a Prefect server?"
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.ProxyError, OSError) as error:
            return self.address.trouble(error)
        except httpcore.TimeoutException:
            return (
                f"it did not answer in full within {self.timeout:g} seconds;"
                " check that it runs and is reachable from here, or allow more time"
            )
        finally:
            UNTIL.reset(token)

    def _headers(self) -> list[tuple[bytes, bytes]]:
        headers = [
            (b"Host", urlsplit(self.address.url).netloc.encode("ascii")),
            (b"Accept", b"application/json"),
            (b"Accept-Encoding", b"identity"),
            (b"Content-Type", b"application/json"),
            (b"User-Agent", b"flow-loader"),
        ]
        if self._key is not None:
            headers.append((b"Authorization", b"Bearer " + self._key.get_secret_value().encode("ascii")))
        return headers


# --- requests and answers ------------------------------------------------------------------------


class TooLargeError(Exception):
    """An answer over the cap."""


def encoded(what: str, body: Any) -> bytes:
    """``body`` as JSON. Raises ClientError for what JSON cannot hold."""
    try:
        return json.dumps(body, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError):
        reason = "it holds what JSON cannot: a number that is not finite, an object, or itself"
    raise ClientError(f"cannot {what}: {reason}; use numbers, text, lists and dicts")


def read(response: httpcore.Response) -> Answer:
    """An answer's status and its JSON. Raises TooLargeError."""
    content, headers = bytearray(), {name.lower(): value for name, value in response.headers}
    stream: Any = response.iter_stream()
    for chunk in stream:
        content += chunk
        if len(content) > SIZE_CAP:
            raise TooLargeError
    return Answer(
        status=response.status,
        data=parsed(bytes(content)),
        location=headers.get(b"location", b"").decode("latin-1"),
        wait=seconds(headers.get(b"retry-after", b"").decode("latin-1")),
    )


def parsed(content: bytes) -> Any:
    """JSON as data, None for nothing, NOT_JSON for anything else."""
    try:
        return json.loads(content, parse_constant=float_refused) if content.strip() else None
    except (ValueError, RecursionError):
        return NOT_JSON


def float_refused(name: str) -> float:
    """JSON has no such number as ``name``."""
    raise ValueError(name)


def seconds(text: str) -> float:
    """A ``Retry-After`` header's seconds from now, which may be a date; 0 where it says nothing."""
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, OverflowError):
        return 0.0


def pool(address: Address) -> httpcore.ConnectionPool:
    """Connections to ``address``, through the environment's proxy where it has one for that address."""
    common: dict[str, Any] = {
        "ssl_context": httpcore.default_ssl_context() if address.scheme == "https" else None,
        "max_connections": 20,
        "keepalive_expiry": KEEPALIVE,
        "network_backend": Bounded(),
    }
    if address.proxy is None:
        return httpcore.ConnectionPool(**common)
    return httpcore.HTTPProxy(proxy_url=address.proxy.url, proxy_auth=address.proxy.auth, **common)
