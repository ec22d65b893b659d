"""A warm loader: holds its workers ready and serves many threads and many event loops."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import TracebackType
from typing import Self

from loader import interpreters, sources
from loader.access import DEFAULT, Access
from loader.errors import ProfileError
from loader.models import Outcome
from loader.profiles import load_profile, with_timeout
from loader.supervisor import Supervisor
from worker.protocol import AUTO, DIALECTS

THREADS = 32
"""Loads that one loader's event loops may have under way at once."""


def known(dialect: str) -> str:
    """The dialect's name. Raises ProfileError for one that does not exist."""
    if dialect not in (AUTO, *DIALECTS):
        raise ProfileError(f"cannot use the dialect {dialect!r}: there are {', '.join((AUTO, *DIALECTS))}")
    return dialect


def wanted(script: sources.Script, details: bool) -> sources.Script:
    """The script, with what is wanted of it."""
    return replace(script, details=details)


class FlowLoader:
    """Loads flow scripts in sandboxed workers.

    ``profile`` is a built-in profile's name or the path of a profile file. ``python`` is the interpreter
    that scripts need, or the folder of their virtual environment; ours by default. ``dialect`` says how
    scripts are read: ``auto``, or always as ``orion``, ``prefect2`` or ``prefect3``. Workers are started by
    the first load, or by ``warm``. Close it, or use it as a context manager; what is left open ends with
    the process.

    Raises ProfileError for a profile or an interpreter that cannot be used.
    """

    def __init__(
        self,
        profile: str = "strict",
        *,
        python: str | os.PathLike[str] | None = None,
        dialect: str = AUTO,
    ) -> None:
        self.policy = load_profile(profile)
        self.supervisor = Supervisor(self.policy, interpreters.interpreter(python), dialect=known(dialect))
        self.executor: ThreadPoolExecutor | None = None

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
        return await self._in_thread(
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
        return await self._in_thread(lambda wake: self._run(sources.from_text(text, name), timeout, wake))

    def run(self, script: sources.Script, *, timeout: float | None = None) -> Outcome:
        """Run a script that was read already. As ``load`` otherwise."""
        return self._run(script, timeout)

    def warm(self) -> Self:
        """Start the workers now, so that the first load does not wait for them."""
        self.load_text("", name="<warm>")
        return self

    def close(self) -> None:
        """End every worker."""
        self.supervisor.close()
        if self.executor is not None:
            self.executor.shutdown(wait=True)

    def _run(self, script: sources.Script, timeout: float | None, wake: int | None = None) -> Outcome:
        policy = self.policy if timeout is None else with_timeout(self.policy, timeout)
        return self.supervisor.load(script, policy=policy, wake=wake)

    async def _in_thread(self, run: Callable[[int], Outcome]) -> Outcome:
        if self.executor is None:
            self.executor = ThreadPoolExecutor(THREADS, thread_name_prefix="flow-loader")
        wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        work = asyncio.get_running_loop().run_in_executor(self.executor, run, wake)
        work.add_done_callback(lambda _: os.close(wake))
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            if not work.done():
                os.eventfd_write(wake, 1)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.close)
