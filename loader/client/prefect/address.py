"""Where a Prefect server is: its URL judged, the proxy on the way, and what went wrong in reaching it."""

from __future__ import annotations

import ipaddress
import re
import socket
import ssl
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import httpcore
from pydantic import SecretStr

from loader.client.names import check_texts
from loader.client.prefect.words import shown
from loader.errors import ClientError

PRINTABLE: Final = re.compile(r"[!-~]+")
CLOUD_PATH: Final = re.compile(r"/api/accounts/[^/]+/workspaces/[^/]+")


@dataclass(frozen=True)
class Proxy:
    """A proxy's URL, and name and password for it."""

    url: str
    auth: tuple[str, str] | None = field(repr=False)


@dataclass(frozen=True)
class Address:
    """A Prefect server's API: ``url`` has no slash at its end, and holds no credentials."""

    scheme: str
    host: str
    url: str
    proxy: Proxy | None = None

    def __str__(self) -> str:
        return self.url

    @property
    def is_local(self) -> bool:
        """Whether it is this machine, as far as its name says."""
        return is_loopback(self.host)

    @property
    def is_cloud(self) -> bool:
        """Whether it is a workspace of Prefect Cloud, whose version changes without notice."""
        return CLOUD_PATH.fullmatch(urlsplit(self.url).path) is not None

    @property
    def guess(self) -> str:
        """What to try when there is no Prefect server at this address."""
        parts = urlsplit(self.url)
        if parts.path == "/api" or self.is_cloud:
            return "check host and port"
        return f"did you mean {parts.scheme}://{parts.netloc}/api?"

    def trouble(self, error: Exception) -> str:
        """Why no answer came, and what may help."""
        way = "" if self.proxy is None else f" (on the way through the proxy {self.proxy.url})"
        return reason(error, self.scheme) + way


def address(url: str, *, trust_env: bool = True) -> Address:
    """The parts of ``url``. Raises ClientError for one that names no API, without repeating passwords."""
    check_texts("use a Prefect server", URL=url)
    parts = split(url)
    if "@" in url:
        raise ClientError(
            "cannot use a Prefect server's URL that holds a name or password: give the key as api_key"
        )
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ClientError(
            f"cannot use {shown(url)} as a Prefect server's URL: use one such as http://127.0.0.1:4200/api"
        )
    if parts.query or parts.fragment or not PRINTABLE.fullmatch(url):
        raise ClientError(
            f"cannot use {shown(parts.scheme + '://' + parts.hostname)} and what follows as a Prefect"
            " server's URL: leave out '?', '#', spaces and characters that are not ASCII"
        )
    host = parts.hostname
    clean = f"{parts.scheme}://{parts.netloc.lower()}{parts.path.rstrip('/')}"
    found = proxy(parts.scheme, host) if trust_env and not is_loopback(host) else None
    return Address(parts.scheme, host, clean, found)


def split(url: str) -> SplitResult:
    """``url`` in parts, its port one that there is."""
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018  # reading it is what checks it
    except ValueError:
        parts = None
    if parts is None or "\\" in url:
        raise ClientError("cannot read a Prefect server's URL: use one such as http://127.0.0.1:4200/api")
    return parts


def is_loopback(host: str) -> bool:
    """Whether ``host`` is an address of this machine alone, or the name of one."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def proxy(scheme: str, host: str) -> Proxy | None:
    """The proxy that the environment names for ``host``. Raises ClientError for one of an unknown kind."""
    found = getproxies()
    url = found.get(scheme) or found.get("all")
    if not url or proxy_bypass(host):
        return None
    parts = urlsplit(url if "://" in url else f"http://{url}")
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ClientError(
            f"cannot use the proxy that the environment names for {scheme}: only proxies of http:// and"
            " https:// are known; unset it, or name the server in NO_PROXY"
        )
    auth = (unquote(parts.username), unquote(parts.password or "")) if parts.username else None
    return Proxy(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}", auth)


def checked_key(key: SecretStr | str | None, where: Address, *, unencrypted: bool) -> SecretStr | None:
    """``key`` if it may be sent to ``where``. Raises ClientError, which does not repeat it."""
    if key is not None and not isinstance(key, SecretStr):
        check_texts("use an API key", value=key)
    secret = SecretStr(key) if isinstance(key, str) else key
    if secret is None or not secret.get_secret_value():
        return None
    if not PRINTABLE.fullmatch(secret.get_secret_value()):
        raise ClientError(
            "cannot use this API key: it holds spaces, line ends or characters that are not ASCII;"
            " copy it again"
        )
    if where.scheme == "http" and not where.is_local and not unencrypted:
        raise ClientError(
            f"cannot send an API key to {where} unencrypted: use https://,"
            " or allow it with unencrypted_key=True"
        )
    return secret


def reason(error: Exception, scheme: str) -> str:
    """What ``error``, met on the way to a server, means; and what may help."""
    cause = error.__cause__ or error.__context__ or error  # httpcore cuts some causes off
    if isinstance(cause, socket.gaierror | UnicodeError):
        return "its host name is not known here; check its spelling, and the network"
    if isinstance(cause, ssl.SSLCertVerificationError):
        why = shown(cause.verify_message)
        return f"its certificate is not trusted: {why}; point SSL_CERT_FILE at the authority that signed it"
    if isinstance(cause, ssl.SSLError):
        why = shown((cause.reason or "unknown").replace("_", " ").lower())
        return f"no encrypted connection can be made: {why}; if it serves plain HTTP, use http://"
    if isinstance(cause, ConnectionRefusedError):
        return "nothing listens there; start it with 'prefect server start', or check host and port"
    if isinstance(error, httpcore.ProxyError):
        return "the proxy refused; check HTTPS_PROXY, HTTP_PROXY and NO_PROXY"
    if isinstance(error, httpcore.ProtocolError):
        hint = ", or use https:// if it wants encryption" if scheme == "http" else ""
        return f"it closed the connection or does not speak HTTP; check the port{hint}"
    known = cause.strerror if isinstance(cause, OSError) else None
    return f"the connection failed: {known or type(cause).__name__}; check host, port and network"
