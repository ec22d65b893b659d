"""A loader whose work the daemon does: the methods of ``FlowLoader``, over the daemon's socket."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack

import httpcore
from urllib3.exceptions import HTTPError

from loader import interpreters
from loader.access import DEFAULT, Access
from loader.answers import Plan, Scanned, Verdict
from loader.closing import Closing
from loader.daemon import asking, trust
from loader.daemon.reaching import CONNECTING, Answer, Reaching, Unclear, reason
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
HEADERS = {
    "Content-Type": "application/msgpack",
    "Accept": "application/json",
    "Accept-Encoding": "identity",
}
UNREACHABLE = (
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.TimeoutException,
    httpcore.UnsupportedProtocol,
)
A = TypeVar("A")


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
        at_socket = "://" not in self.address
        self.url = "http://localhost/v1/" if at_socket else f"{self.address.rstrip('/')}/v1/"
        self.headers = HEADERS | ({"Authorization": f"Bearer {token}"} if token is not None else {})
        try:
            self.reaching = Reaching(self.url, self.trust if at_socket else None)
        except HTTPError as error:  # or ValueError, by the same class
            raise DaemonError(f"cannot ask a daemon at {self.address!r}: it is no URL: {error}") from None

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
        return self.post("load", asked, Outcome.model_validate_json)

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
        return await self.post_async("load", asked, Outcome.model_validate_json)

    def load_text(self, text: str | bytes, *, name: str = "<text>", timeout: float | None = None) -> Outcome:
        """As ``FlowLoader.load_text``."""
        asked = asking.body(name, text=text, timeout=self.bounded(timeout))
        return self.post("load", asked, Outcome.model_validate_json)

    async def load_text_async(
        self,
        text: str | bytes,
        *,
        name: str = "<text>",
        timeout: float | None = None,  # noqa: ASYNC109 - it bounds the script, not this call
    ) -> Outcome:
        """As ``load_text``, without blocking the event loop."""
        asked = asking.body(name, text=text, timeout=self.bounded(timeout))
        return await self.post_async("load", asked, Outcome.model_validate_json)

    def check(self, location: str | os.PathLike[str], **asked: Unpack[Asked]) -> Verdict:
        """As ``FlowLoader.check``."""
        return self.post("check", self.question(location, asked), Verdict.model_validate_json)

    async def check_async(self, location: str | os.PathLike[str], **asked: Unpack[Asked]) -> Verdict:
        """As ``check``, without blocking the event loop."""
        return await self.post_async("check", self.question(location, asked), Verdict.model_validate_json)

    def specs(self, location: str | os.PathLike[str], **how: Unpack[PlanOptions]) -> Plan:
        """As ``FlowLoader.specs``."""
        return self.post("specs", self.planned(location, dict(how)), asking.plan)

    async def specs_async(self, location: str | os.PathLike[str], **how: Unpack[PlanOptions]) -> Plan:
        """As ``specs``, without blocking the event loop."""
        return await self.post_async("specs", self.planned(location, dict(how)), asking.plan)

    def deploy(
        self, location: str | os.PathLike[str], *, dry_run: bool = False, **how: Unpack[DeployOptions]
    ) -> Plan:
        """As ``FlowLoader.deploy``."""
        return self.post("deploy", self.deployed(location, dry_run, dict(how)), asking.plan)

    async def deploy_async(
        self, location: str | os.PathLike[str], *, dry_run: bool = False, **how: Unpack[DeployOptions]
    ) -> Plan:
        """As ``deploy``, without blocking the event loop."""
        asked = self.deployed(location, dry_run, dict(how))
        return await self.post_async("deploy", asked, asking.plan)

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
        self.reaching.close()

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

    def post(self, what: str, asked: dict[str, Any], form: Callable[[bytearray], A]) -> A:
        """The daemon's answer, of which ``form`` makes what it is. Raises as the loader, and DaemonError."""
        body = asking.packed(self.said(asked))
        with self.understood():
            return asking.read(self.reaching.post(what, self.headers, body), what, form)

    async def post_async(self, what: str, asked: dict[str, Any], form: Callable[[bytearray], A]) -> A:
        """As ``post``. Cancelled, its connection is closed, by which the daemon cancels the load."""
        uds = None if "://" in self.address else self.address
        said: dict[str, Any] = {"content": asking.packed(self.said(asked)), "headers": self.headers}
        how = {"timeout": {"connect": CONNECTING}, "trace": self.trust.check}
        with self.understood():
            async with (
                httpcore.AsyncConnectionPool(uds=uds, ssl_context=self.reaching.secure) as pool,
                pool.stream("POST", self.url + what, **said, extensions=how) as response,
            ):
                encoding = {name.lower(): value for name, value in response.headers}.get(b"content-encoding")
                answer = Answer(response.status, None if encoding is None else encoding.decode("latin-1"))
                async for piece in response.aiter_stream():
                    answer.take(piece)
            return asking.read(answer, what, form)

    def said(self, asked: dict[str, Any]) -> dict[str, Any]:
        """A request with what is common to all of them."""
        return {name: value for name, value in {**self.words, **asked}.items() if value is not None}

    def unreachable(self, error: Exception) -> DaemonError:
        """What is said when there is no answer."""
        return DaemonError(
            f"cannot reach the daemon at {self.address}: {reason(error)}; start it with flow-loader serve,"
            f" name its socket with {VARIABLE} or --daemon, or load without it"
        )

    @contextlib.contextmanager
    def understood(self) -> Iterator[None]:
        """Whatever is in the way of an answer, or is no answer, is a DaemonError."""
        try:
            yield
        except (HTTPError, *UNREACHABLE) as error:
            raise self.unreachable(error) from None
        except Unclear as error:
            raise DaemonError(
                f"cannot understand the answer of the daemon at {self.address}: {error}; it may be another"
                " release, or something else that listens there"
            ) from None
