"""Work in a thread that an event loop waits for, and wakes when nobody waits for it any more."""

from __future__ import annotations

import asyncio
import contextvars
import os
import threading
from collections.abc import Callable
from concurrent.futures import Executor
from typing import TypeVar

T = TypeVar("T")


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
    waited = asyncio.wrap_future(work)
    waited.add_done_callback(lambda done: done.cancelled() or done.exception())
    try:
        await asyncio.wait([waited])  # a shield would have the error told that nobody waits for
        return waited.result()
    except asyncio.CancelledError:
        with open_still:
            if not work.done():
                os.eventfd_write(wake, 1)
        if stop is not None:
            stop()
            await asyncio.wait([waited])
        raise


def closed(descriptor: int, lock: threading.Lock) -> None:
    """Close a descriptor that nobody uses who does not hold the lock."""
    with lock:
        os.close(descriptor)
