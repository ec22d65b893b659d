"""What a web request may connect to, judged on the very address of each socket before it is connected.

Names are resolved once, by the HTTP client; it asks the guard for a socket for each address that it then
connects to, so there is nothing between judging and connecting that an answer of DNS could change. No
request is sent over a connection that the guard was not asked for.
"""

from __future__ import annotations

import ipaddress
import socket
from typing import Any

import aiohttp

from loader.access import Access
from loader.errors import SourceError
from loader.sources.addresses import allowed

AddressInfo = tuple[Any, Any, int, str, tuple[Any, ...]]


class Refused(OSError):
    """An address that may not be reached."""


class Guard:
    """Judges every connection made for one request to ``host`` and ``port``."""

    def __init__(self, access: Access, host: str, port: int) -> None:
        self.access = access
        self.host = host
        self.port = port
        self.judged = 0
        self.refused = ""

    def socket(self, info: AddressInfo) -> socket.socket:
        """A socket for one address. Raises Refused for one that may not be reached."""
        family, kind, protocol, _, target = info
        try:
            address = ipaddress.ip_address(str(target[0]).partition("%")[0])
            fine = allowed(self.access.hosts, self.host, int(target[1]), address)
        except ValueError:
            fine = False
        if not fine:
            self.refused = str(target[0])
            raise Refused(f"{self.refused} is no public address")
        self.judged += 1
        return socket.socket(family, kind, protocol)

    async def session(self, **_: Any) -> aiohttp.ClientSession:
        """A client that connects only as the guard allows, and takes nothing from its surroundings.

        No proxy, no ``.netrc``, no cookies, and no content encoding is undone.
        """
        trace = aiohttp.TraceConfig()
        trace.on_connection_create_end.append(self.check)
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                socket_factory=self.socket,
                resolver=aiohttp.ThreadedResolver(),
                use_dns_cache=False,
                force_close=True,
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"Accept-Encoding": "identity", "User-Agent": "flow-loader"},
            timeout=aiohttp.ClientTimeout(total=self.access.seconds),
            trace_configs=[trace],
            auto_decompress=False,
            trust_env=False,
        )

    async def check(self, *_: object) -> None:
        """Called when a connection was made and nothing was sent. Raises SourceError if it is not judged."""
        if not self.judged:
            raise SourceError(
                f"cannot load from {self.host}: the installed aiohttp connects without asking whether it may;"
                f" install aiohttp 3.12 or newer"
            )
