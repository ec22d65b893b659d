"""A warm loader: holds its workers ready and serves many threads and many event loops."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self, TypedDict, TypeVar, Unpack

from loader import interpreters, sources, waking
from loader.access import DEFAULT, Access
from loader.closing import Closing
from loader.errors import LoaderClosed, ProfileError
from loader.models import Outcome
from loader.observing import Observer, ignore
from loader.profiles import load_profile, with_timeout
from loader.supervisor import Supervisor
from worker.protocol import AUTO, DIALECTS

if TYPE_CHECKING:
    from loader.answers import Plan, Recorded, Scanned, Verdict
    from loader.client.interface import Client, DeploymentRecord
    from loader.scanning import Scan
    from loader.storage import StorageBlock

T = TypeVar("T")
THREADS = 32
"""Loads that one loader's event loops may have under way at once."""


class JudgeOptions(TypedDict, total=False):
    """How specs are judged: where they would be deployed, and how their scripts are loaded."""

    client: Client | None
    timeout: float | None
    root: str | os.PathLike[str] | None
    access: Access


class ScanOptions(JudgeOptions, total=False):
    """How ``scan`` goes about it."""

    jobs: int | None


class PlanOptions(JudgeOptions, total=False):
    """How ``specs`` and ``deploy`` go about it."""

    text: str | bytes | None
    folder: tuple[int, int] | None
    storage: StorageBlock | None


class DeployOptions(PlanOptions, total=False):
    """How ``deploy`` goes about it."""

    work_pool: str | None


class Asked(PlanOptions, total=False):
    """What ``check`` may be asked."""

    flow: str | None
    function: str | None
    deployment: str | None
    parameters: Mapping[str, Any] | None
    recorded: Recorded | DeploymentRecord | None


def known(dialect: str) -> str:
    """The dialect's name. Raises ProfileError for one that does not exist."""
    if dialect not in (AUTO, *DIALECTS):
        raise ProfileError(f"cannot use the dialect {dialect!r}: there are {', '.join((AUTO, *DIALECTS))}")
    return dialect


def wanted(script: sources.Script, details: bool) -> sources.Script:
    """The script, with what is wanted of it."""
    return replace(script, details=details)


class FlowLoader(Closing):
    """Loads flow scripts in sandboxed workers.

    ``profile`` is a built-in profile's name or the path of a profile file. ``python`` is the interpreter
    that scripts need, or the folder of their virtual environment; ours by default. ``dialect`` says how
    scripts are read: ``auto``, or always as ``orion``, ``prefect2`` or ``prefect3``. ``observer`` is told of
    its zygotes and workers. ``lent`` is whether scripts are those of other users: what is closed in the
    folders of the interpreter and of the profile's ``read`` stays closed to them then. Workers are started by
    the first load, or by ``warm``. Close it, or use it as a context manager; what is left open ends with the
    process.

    Raises ProfileError for a profile or an interpreter that cannot be used.
    """

    def __init__(
        self,
        profile: str = "strict",
        *,
        python: str | os.PathLike[str] | None = None,
        dialect: str = AUTO,
        observer: Observer = ignore,
        lent: bool = False,
    ) -> None:
        self.policy = load_profile(profile)
        self.supervisor = Supervisor(
            self.policy,
            interpreters.interpreter(python),
            dialect=known(dialect),
            observer=observer,
            lent=lent,
        )
        self.executor: ThreadPoolExecutor | None = None
        self.lock = threading.Lock()

    def load(
        self,
        location: str | os.PathLike[str],
        *,
        timeout: float | None = None,
        root: str | os.PathLike[str] | None = None,
        access: Access = DEFAULT,
        details: bool = False,
    ) -> Outcome:
        """Run the script at a path or URL and say what it holds.

        ``timeout`` is the wall time in seconds, ``root`` the folder that the script may read, or its URL,
        ``access`` what locations may lead to. With ``details`` the outcome also has what deploying its
        specs needs, secrets of their storage included. Never raises for what a script does. Raises
        SourceError when the location cannot be read, ProfileError for a timeout out of bounds, LoaderClosed.
        """
        return self._run(wanted(sources.read(location, root, access), details), timeout)

    def load_text(self, text: str | bytes, *, name: str = "<text>", timeout: float | None = None) -> Outcome:
        """Run a script that has no file; ``name`` is what its tracebacks call it. As ``load`` otherwise."""
        return self._run(sources.from_text(text, name), timeout)

    async def load_async(
        self,
        location: str | os.PathLike[str],
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - it bounds the script, not this call
        root: str | os.PathLike[str] | None = None,
        access: Access = DEFAULT,
        details: bool = False,
    ) -> Outcome:
        """As ``load``, without blocking the event loop. A cancelled load's worker is killed."""
        return await self.in_thread(
            lambda wake: self._run(wanted(sources.read(location, root, access), details), timeout, wake)
        )

    async def load_text_async(
        self,
        text: str | bytes,
        *,
        name: str = "<text>",
        timeout: float | None = None,  # noqa: ASYNC109 - it bounds the script, not this call
    ) -> Outcome:
        """As ``load_text``, without blocking the event loop."""
        return await self.in_thread(lambda wake: self._run(sources.from_text(text, name), timeout, wake))

    def run(
        self, script: sources.Script, *, timeout: float | None = None, wake: int | None = None
    ) -> Outcome:
        """Run a script that was read already. As ``load`` otherwise.

        ``wake`` is a descriptor whose readability cancels the load.
        """
        return self._run(script, timeout, wake)

    async def run_async(
        self,
        script: sources.Script,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - it bounds the script, not this call
    ) -> Outcome:
        """As ``run``, without blocking the event loop. A cancelled load's worker is killed."""
        return await self.in_thread(lambda wake: self._run(script, timeout, wake))

    def check(self, location: str | os.PathLike[str], **asked: Unpack[Asked]) -> Verdict:
        """Whether a run may go ahead: every reason why not, from one load.

        ``location`` is a script's or a manifest's, or an entrypoint ``file.py:function``. ``flow`` is a
        flow's name or function; ``function`` is what an entrypoint calls it, and ``location`` then a script's
        and nothing else. ``deployment`` is the name of a spec that is there, or ``flow/name``.
        ``parameters`` are those of the run: unless they are given, none is missed. ``recorded`` is what a
        registry holds of the deployment, compared field by field with what the script says. ``client`` is
        where specs find their storage, by default the embedded registry. With ``text`` there is no file:
        ``location`` is what the script is called.

        Never raises for what a script does. Raises SourceError, ProfileError, ClientError, LoaderClosed.
        """
        from loader import checking  # noqa: PLC0415 - it is built on this class

        return checking.answer(self, checking.question(location, **asked))

    async def check_async(self, location: str | os.PathLike[str], **asked: Unpack[Asked]) -> Verdict:
        """As ``check``, without blocking the event loop. A cancelled check's worker is killed."""
        from loader import checking  # noqa: PLC0415 - it is built on this class

        return await self.in_thread(
            lambda wake: checking.answer(self, checking.question(location, **asked), wake)
        )

    def specs(self, location: str | os.PathLike[str], **how: Unpack[PlanOptions]) -> Plan:
        """The deployment specs of a script or a manifest, each judged, and when they run next.

        ``client`` is where they would be deployed, by default the embedded registry, ``storage`` is for
        specs that name none. With ``text`` there is no file: ``location`` is what the script is called.
        ``folder`` is the device and the inode of the folder that the file must lie in.

        Never raises for what a script does. Raises SourceError, ProfileError, ClientError, LoaderClosed.
        """
        from loader import planning  # noqa: PLC0415 - it is built on this class

        return planning.plan(self, planning.wish(location, **how))

    async def specs_async(self, location: str | os.PathLike[str], **how: Unpack[PlanOptions]) -> Plan:
        """As ``specs``, without blocking the event loop. Cancelled, its workers are killed."""
        from loader import planning  # noqa: PLC0415 - it is built on this class

        return await self.in_thread(
            lambda wake: planning.plan(self, planning.wish(location, **how), wake=wake)
        )

    def deploy(
        self, location: str | os.PathLike[str], *, dry_run: bool = False, **how: Unpack[DeployOptions]
    ) -> Plan:
        """Create or update the deployment of each spec that is valid; with ``dry_run`` only say so.

        What became of each is its ``result``. ``work_pool`` is one of a Prefect server. As ``specs``
        otherwise.
        """
        from loader import planning  # noqa: PLC0415 - it is built on this class

        return planning.plan(self, planning.wish(location, **how), deploy=True, dry_run=dry_run)

    async def deploy_async(
        self, location: str | os.PathLike[str], *, dry_run: bool = False, **how: Unpack[DeployOptions]
    ) -> Plan:
        """As ``deploy``, without blocking the event loop.

        Cancelled, its workers are killed; what was created stays.
        """
        from loader import planning  # noqa: PLC0415 - it is built on this class

        return await self.in_thread(
            lambda wake: planning.plan(
                self, planning.wish(location, **how), deploy=True, dry_run=dry_run, wake=wake
            )
        )

    def scan(self, folder: str | os.PathLike[str], **how: Unpack[ScanOptions]) -> Scan:
        """Every script and manifest below a folder, or a URL's, side by side, each with its own verdict.

        The iterator gives results in the order in which they are there; its ``summary`` is of those so far.
        ``jobs`` is how many files are looked at at a time, by default one for each processor; ``timeout`` is
        each script's. ``root`` is what each script may read: its own folder, as for ``load``, unless it is
        given. What cannot be read is a result of the status ``usage``.

        Raises SourceError for a folder that cannot be read, ProfileError, ClientError, LoaderClosed.
        """
        from loader import scanning  # noqa: PLC0415 - it is built on this class

        return scanning.begin(self, folder, **how)

    async def scan_async(
        self, folder: str | os.PathLike[str], **how: Unpack[ScanOptions]
    ) -> AsyncIterator[Scanned]:
        """As ``scan``, without blocking the event loop. Its workers are killed when it is cancelled."""
        scan = self.scan(folder, **how)
        try:
            while (item := await self.in_thread(lambda _: next(scan, None), scan.stop)) is not None:
                yield item
        finally:
            scan.stop()
            await asyncio.shield(asyncio.to_thread(scan.close))

    def warm(self) -> Self:
        """Start the workers now, so that the first load does not wait for them."""
        self.load_text("", name="<warm>")
        return self

    def close(self) -> None:
        """End every worker."""
        with self.lock:
            self.supervisor.close()
            executor = self.executor
        if executor is not None:
            executor.shutdown(wait=True)

    def _run(self, script: sources.Script, timeout: float | None, wake: int | None = None) -> Outcome:
        policy = self.policy if timeout is None else with_timeout(self.policy, timeout)
        return self.supervisor.load(script, policy=policy, wake=wake)

    async def in_thread(self, run: Callable[[int], T], stop: Callable[[], None] | None = None) -> T:
        """As ``waking.in_thread``, in a thread of this loader. Raises LoaderClosed."""
        with self.lock:
            if self.supervisor.closed:
                raise LoaderClosed("cannot load: this FlowLoader is closed; open another")
            if self.executor is None:
                self.executor = ThreadPoolExecutor(THREADS, thread_name_prefix="flow-loader")
            executor = self.executor
        return await waking.in_thread(executor, run, stop)
