"""Work in a thread that an event loop waits for, and wakes when nobody waits for it any more."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import os
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor, Future
from typing import Any, TypeVar

T = TypeVar("T")
ENOUGH = 3.0
"""Seconds for which the end of anything is waited for, where it is not to be waited for for ever."""


async def in_thread(executor: Executor, run: Callable[[int], T], stop: Callable[[], None] | None = None) -> T:
    """What ``run`` returns, which gets a descriptor that is readable once this is cancelled.

    With ``stop``, which is called then, its end is waited for.
    """
    wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
    try:
        work = executor.submit(contextvars.copy_context().run, run, wake)
    except BaseException:
        os.close(wake)
        raise
    # The loop may be closed before the work is done, so nothing of it is relied on here.
    open_still = threading.Lock()
    work.add_done_callback(lambda _: closed(wake, open_still))
    try:
        await end_of(work)
    except asyncio.CancelledError:
        with open_still:
            if not work.done():
                os.eventfd_write(wake, 1)
        if stop is not None:
            stop()
            await end_of(work)
        raise
    return work.result()


async def to_its_end(executor: Executor, run: Callable[..., T], *given: Any) -> T:
    """What ``run`` returns. Its end is waited for also when this is cancelled: who goes leaves no thread."""
    return await in_thread(executor, lambda _: run(*given), lambda: None)


async def within(work: Awaitable[object], seconds: float = ENOUGH) -> None:
    """Wait until it is done, or so long: then it is left alone. Raises what it raises until then."""
    task = asyncio.ensure_future(work)
    await asyncio.wait([task], timeout=seconds)
    if task.done():
        task.result()


def end_of(work: Future[T]) -> asyncio.Future[None]:
    """Something to await until the work is done, which goes on if nobody awaits it."""
    loop = asyncio.get_running_loop()
    done = loop.create_future()

    def tell() -> None:
        if not done.done():
            done.set_result(None)

    def end(_: Future[T]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(tell)

    work.add_done_callback(end)
    return done


def closed(descriptor: int, lock: threading.Lock) -> None:
    """Close a descriptor that nobody uses who does not hold the lock."""
    with lock:
        os.close(descriptor)
