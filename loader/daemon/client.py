"""A loader whose work the daemon does: the methods of ``FlowLoader``, over the daemon's socket."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
from collections.abc import AsyncIterator, Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Self, Unpack

import httpcore

from loader import interpreters
from loader.access import DEFAULT, Access
from loader.answers import Plan, Scanned, Verdict
from loader.closing import Closing
from loader.daemon import asking, trust
from loader.errors import DaemonError
from loader.flow_loader import Asked, DeployOptions, PlanOptions, ScanOptions, known
from loader.models import Outcome
from loader.profiles import builtin_names, load_profile, with_timeout
from loader.sources.entrypoints import split
from worker.protocol import AUTO

if TYPE_CHECKING:
    from loader.scanning import Scan

VARIABLE = "FLOW_LOADER_DAEMON"
"""Environment variable: the socket of the daemon, or its URL."""
TIMES = {"connect": 5.0}
"""Seconds. A load may take as long as its profile says."""
HEADERS = {"Content-Type": "application/msgpack", "Accept": "application/json"}
CONNECTIONS: dict[str, Any] = {
    "max_connections": None,
    "max_keepalive_connections": 20,
    "keepalive_expiry": 5.0,
}
UNREACHABLE = (
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.TimeoutException,
    httpcore.UnsupportedProtocol,
)


class DaemonClient(Closing):
    """Loads flow scripts by a daemon, which has warm workers for the whole host.

    ``address`` is the daemon's socket, or an ``http(s)://`` URL with its ``token``; by default what
    FLOW_LOADER_DAEMON names, or this user's own. Who answers at a socket must be this user, root, or at one
    that was named the owner of its folder, which nobody else can write to. ``profile``, ``python`` and
    ``dialect`` are those of ``FlowLoader``, but that the interpreter is the daemon's own by default.
    ``cache`` is whether results that were kept will do, ``priority`` how urgent it is (``before_run``,
    ``interactive``, ``watching``), ``wait`` how many seconds an answer may take in all. Safe to use from many
    threads and event loops.

    Its methods raise what those of ``FlowLoader`` do, and DaemonError when the daemon does not answer.
    """

    def __init__(  # noqa: PLR0913 - each is one word of every request
        self,
        address: str | os.PathLike[str] | None = None,
        *,
        token: str | None = None,
        profile: str = "strict",
        python: str | os.PathLike[str] | None = None,
        dialect: str = AUTO,
        cache: bool = True,
        priority: str = "interactive",
        wait: float | None = None,
    ) -> None:
        named = os.fspath(address) if address is not None else os.environ.get(VARIABLE)
        self.address = named or trust.usual()
        self.trust = trust.Trust(self.address, named=bool(named))
        self.policy = load_profile(profile)
        self.words: dict[str, Any] = {
            "profile": profile if profile in builtin_names() else os.path.abspath(profile),
            "python": None if python is None else interpreters.located(os.fspath(python)),
            "dialect": known(dialect),
            "cache": cache,
            "priority": priority,
            "wait": wait,
        }
        self.url = url_of(self.address)
        self.headers = HEADERS | ({"Authorization": f"Bearer {token}"} if token is not None else {})
        uds = None if "://" in self.address else self.address
        secure = ssl.create_default_context() if self.url.startswith("https:") else None
        self.how: dict[str, Any] = {"uds": uds, "ssl_context": secure, **CONNECTIONS}
        self.pool = httpcore.ConnectionPool(**self.how)

    def load(
        self,
        location: str | os.PathLike[str],
        *,
        timeout: float | None = None,
        root: str | os.PathLike[str] | None = None,
        access: Access = DEFAULT,
    ) -> Outcome:
        """As ``FlowLoader.load``; details are not to be had."""
        asked = asking.body(location, root=root, access=access, timeout=self.bounded(timeout))
        return Outcome.model_validate_json(self.post("load", asked))

    async def load_async(
        self,
        location: str | os.PathLike[str],
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - it bounds the script, not this call
        root: str | os.PathLike[str] | None = None,
        access: Access = DEFAULT,
    ) -> Outcome:
        """As ``load``, without blocking the event loop. A cancelled load's worker is killed."""
        asked = asking.body(location, root=root, access=access, timeout=self.bounded(timeout))
        return Outcome.model_validate_json(await self.post_async("load", asked))

    def load_text(self, text: str | bytes, *, name: str = "<text>", timeout: float | None = None) -> Outcome:
        """As ``FlowLoader.load_text``."""
        asked = asking.body(name, text=text, timeout=self.bounded(timeout))
        return Outcome.model_validate_json(self.post("load", asked))

    async def load_text_async(
        self,
        text: str | bytes,
        *,
        name: str = "<text>",
        timeout: float | None = None,  # noqa: ASYNC109 - it bounds the script, not this call
    ) -> Outcome:
        """As ``load_text``, without blocking the event loop."""
        asked = asking.body(name, text=text, timeout=self.bounded(timeout))
        return Outcome.model_validate_json(await self.post_async("load", asked))

    def check(self, location: str | os.PathLike[str], **asked: Unpack[Asked]) -> Verdict:
        """As ``FlowLoader.check``."""
        return Verdict.model_validate_json(self.post("check", self.question(location, asked)))

    async def check_async(self, location: str | os.PathLike[str], **asked: Unpack[Asked]) -> Verdict:
        """As ``check``, without blocking the event loop."""
        return Verdict.model_validate_json(await self.post_async("check", self.question(location, asked)))

    def specs(self, location: str | os.PathLike[str], **how: Unpack[PlanOptions]) -> Plan:
        """As ``FlowLoader.specs``."""
        return Plan.of(json.loads(self.post("specs", self.planned(location, dict(how)))))

    async def specs_async(self, location: str | os.PathLike[str], **how: Unpack[PlanOptions]) -> Plan:
        """As ``specs``, without blocking the event loop."""
        return Plan.of(json.loads(await self.post_async("specs", self.planned(location, dict(how)))))

    def deploy(
        self, location: str | os.PathLike[str], *, dry_run: bool = False, **how: Unpack[DeployOptions]
    ) -> Plan:
        """As ``FlowLoader.deploy``."""
        return Plan.of(json.loads(self.post("deploy", self.deployed(location, dry_run, dict(how)))))

    async def deploy_async(
        self, location: str | os.PathLike[str], *, dry_run: bool = False, **how: Unpack[DeployOptions]
    ) -> Plan:
        """As ``deploy``, without blocking the event loop."""
        asked = self.deployed(location, dry_run, dict(how))
        return Plan.of(json.loads(await self.post_async("deploy", asked)))

    def scan(self, folder: str | os.PathLike[str], **how: Unpack[ScanOptions]) -> Scan:
        """As ``FlowLoader.scan``: the folder is walked here, and the daemon loads what is found.

        Folders of this machine only.
        """
        from loader import scanning  # noqa: PLC0415 - it is built on loaders

        return scanning.begin(self, folder, **how)

    async def scan_async(
        self, folder: str | os.PathLike[str], **how: Unpack[ScanOptions]
    ) -> AsyncIterator[Scanned]:
        """As ``scan``, without blocking the event loop."""
        scan = self.scan(folder, **how)
        try:
            while (item := await asyncio.to_thread(next, scan, None)) is not None:
                yield item
        finally:
            scan.stop()
            await asyncio.shield(asyncio.to_thread(scan.close))

    def warm(self) -> Self:
        """See to it that the first load does not wait."""
        self.load_text("", name="<warm>")
        return self

    def close(self) -> None:
        """Close every connection; the daemon lives on."""
        self.pool.close()

    def bounded(self, timeout: float | None) -> float | None:
        """The timeout, if it is one. Raises ProfileError."""
        return None if timeout is None else with_timeout(self.policy, timeout).wall

    def question(self, location: str | os.PathLike[str], asked: Asked) -> dict[str, Any]:
        """What ``check`` asks."""
        more = dict(asked)
        record: Any = more.pop("recorded", None)
        whole = more.get("text") is not None or more.get("function") is not None
        behind = None if whole else split(os.fspath(location))[1]
        return self.planned(location, more, behind=behind, recorded=asking.recorded(record))

    def planned(self, location: str | os.PathLike[str], how: dict[str, Any], **more: Any) -> dict[str, Any]:
        """What ``specs`` asks."""
        where = asking.place(how.pop("client", None), how.pop("storage", None))
        timeout = self.bounded(how.pop("timeout", None))
        return asking.body(location, timeout=timeout, **how, **more, **where)

    def deployed(
        self, location: str | os.PathLike[str], dry_run: bool, how: dict[str, Any]
    ) -> dict[str, Any]:
        """What ``deploy`` asks."""
        access: Access = how.get("access", DEFAULT)
        return self.planned(location, how, dry_run=dry_run, allow_storage=list(access.storage))

    def post(self, what: str, asked: dict[str, Any]) -> bytes:
        """The daemon's answer. Raises DaemonError, and what the loader raises."""
        try:
            return answer(self.pool.request(**self.request(what, asked, self.trust.check)))
        except UNREACHABLE as error:
            raise self.unreachable(error) from None

    async def post_async(self, what: str, asked: dict[str, Any]) -> bytes:
        """As ``post``. Cancelled, its connection is closed, by which the daemon cancels the load."""
        try:
            async with httpcore.AsyncConnectionPool(**self.how) as pool:
                return answer(await pool.request(**self.request(what, asked, self.trust.check_async)))
        except UNREACHABLE as error:
            raise self.unreachable(error) from None

    def request(self, what: str, asked: dict[str, Any], look: Callable[..., Any]) -> dict[str, Any]:
        """One request, before which ``look`` is shown the connection. Raises ClientError."""
        return {
            "method": "POST",
            "url": self.url + what,
            "headers": self.headers,
            "content": asking.packed(self.said(asked)),
            "extensions": {"timeout": TIMES, "trace": look},
        }

    def said(self, asked: dict[str, Any]) -> dict[str, Any]:
        """A request with what is common to all of them."""
        return {name: value for name, value in {**self.words, **asked}.items() if value is not None}

    def unreachable(self, error: Exception) -> DaemonError:
        """What is said when there is no answer."""
        why = str(error) or type(error).__name__
        return DaemonError(
            f"cannot reach the daemon at {self.address}: {why}; start it with flow-loader serve, name its"
            f" socket with {VARIABLE} or --daemon, or load without it"
        )


def url_of(address: str) -> str:
    """Where a daemon's paths begin. Raises DaemonError for a URL that is none."""
    url = f"{address.rstrip('/')}/v1/" if "://" in address else "http://localhost/v1/"
    try:
        httpcore.URL(url)
    except (ValueError, TypeError) as error:
        raise DaemonError(f"cannot ask a daemon at {address!r}: it is no URL: {error}") from None
    return url


def answer(response: httpcore.Response) -> bytes:
    """An answer's JSON. Raises the error that another stands for."""
    if response.status != HTTPStatus.OK:
        asking.refused(response.status, response.content)
    return response.content
