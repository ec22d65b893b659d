"""A key-value server as storage: texts, sent and given back as JSON strings.

Its address is resolved once, each address that it has is judged, and the one that was judged is connected to.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import socket
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlsplit

from loader.access import Access
from loader.errors import SourceError, StorageError
from loader.sources import drivers
from loader.sources.addresses import allowed
from loader.sources.deadline import Deadline
from loader.sources.locations import PORTS, Location
from loader.stores.store import Place

ESCAPED = 6
"""How many characters JSON may need for one byte."""


class KeyValues(Place):
    """The keys below an address of a server."""

    def __init__(self, address: Location, access: Access) -> None:
        self.shown = address.shown.rstrip("/")
        parts = urlsplit(address.text)
        self._scheme, self._netloc, self._path = address.scheme, parts.netloc, parts.path.rstrip("/")
        self._host, self._port = parts.hostname or "", parts.port or int(PORTS[address.scheme])
        self._access = access

    def read(self, name: str) -> bytes:
        """The bytes of a text. Raises StorageError."""
        status, body = self._ask("read", name, "GET")
        if status == 404 or not body:
            raise StorageError(f"cannot read {name} of {self.shown}: it is not there")
        try:
            text = json.loads(body)
            data = text.encode() if isinstance(text, str) else None
        except (ValueError, RecursionError):
            data = None
        if data is None or len(data) > self._access.size:
            raise StorageError(
                f"cannot read {name} of {self.shown}: the server did not answer with a JSON string of up to"
                f" {self._access.size} bytes; check that its address is one of a KV server"
            )
        return data

    def write(self, name: str, data: bytes) -> None:
        """Keep the bytes of a text. Raises StorageError."""
        try:
            body = json.dumps(data.decode()).encode()
        except UnicodeDecodeError:
            raise StorageError(
                f"cannot write {name} to {self.shown}: a KV server keeps UTF-8 text only; use other storage"
            ) from None
        self._ask("write", name, "POST", body)

    def remove(self, name: str) -> None:
        """Remove a key, where the server can. Raises StorageError."""
        self._ask("remove", name, "DELETE")

    def _ask(self, verb: str, name: str, method: str, body: bytes | None = None) -> tuple[int, bytes]:
        what = f"cannot {verb} {name} of {self.shown}"
        deadline = Deadline(self.shown, self._access.seconds)
        try:
            status, found = drivers.run(self._exchange(method, name, body), deadline)
        except StorageError as error:
            raise StorageError(f"{what}: {error}") from None
        except (SourceError, TimeoutError):
            raise StorageError(
                f"{what}: it took longer than {self._access.seconds:g} seconds; try again"
            ) from None
        except ImportError:
            raise StorageError(f"{what}: it needs httpx; pip install httpx") from None
        except Exception as error:
            raise StorageError(f"{what}: the server cannot be reached ({type(error).__name__})") from None
        lenient = {404} if method == "GET" else {404, 405, 501} if method == "DELETE" else set()
        if not 200 <= status < 300 and status not in lenient:
            raise StorageError(f"{what}: the server answered with status {status}; check its address")
        return status, found

    async def _exchange(self, method: str, name: str, body: bytes | None) -> tuple[int, bytes]:
        """The status and the body of one answer."""
        import httpx  # noqa: PLC0415 - only this kind of storage needs it

        address = await self._judged()
        literal = f"[{address}]" if ":" in address else address
        url = f"{self._scheme}://{literal}:{self._port}{self._path}/{quote(name, safe='/')}"
        headers = {"Host": self._netloc, "Accept-Encoding": "identity", "Content-Type": "application/json"}
        extensions: Mapping[str, Any] = {"sni_hostname": self._host} if self._scheme == "https" else {}
        cap = ESCAPED * self._access.size + 2
        async with (
            httpx.AsyncClient(
                trust_env=False, follow_redirects=False, timeout=self._access.seconds
            ) as client,
            client.stream(method, url, content=body, headers=headers, extensions=dict(extensions)) as answer,
        ):
            found = bytearray()
            async for piece in answer.aiter_raw():
                found += piece
                if len(found) > cap:
                    raise StorageError("the server's answer is too large; check its address")
            return answer.status_code, bytes(found)

    async def _judged(self) -> str:
        """An address of the server's host. Raises StorageError when it has one that may not be reached."""
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        except OSError:
            raise StorageError("its host has no address; check the name") from None
        addresses = [str(item[4][0]) for item in found]
        for address in addresses:
            if not allowed(self._access.hosts, self._host, self._port, ipaddress.ip_address(address)):
                raise StorageError(
                    f"{address} is no public address; if it is meant,"
                    f" allow the host {self._host}:{self._port}"
                )
        return addresses[0]
