"""Instants, and whether a folder is as it was at one: by when the kernel last changed what it holds."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from loader.access import Reader
from loader.sources.acting import acting
from loader.sources.beneath import entered

ENTRIES = 2_000
"""Entries of a folder that are looked at; a larger one is never known to be the same."""
SECOND = 10**9
SLACK = SECOND // 10
"""Nanoseconds by which a change must be older than a load to have been there for it: clocks are coarse."""
THREADS = 4
"""Folders that are looked at at a time."""
LOOK = 1.0
"""Seconds for which a look is waited for: a load of its own is soon done as well."""


@dataclass(frozen=True)
class Moment:
    """An instant, by the clock that files have and by one that nobody can move. Nanoseconds."""

    wall: int
    steady: int

    @classmethod
    def now(cls) -> Moment:
        """The instant of the call."""
        return cls(time.time_ns(), time.clock_gettime_ns(time.CLOCK_BOOTTIME))

    def is_after(self, change: int) -> bool:
        """Whether a file's change was certainly before it; not if the clock was moved since."""
        now = Moment.now()
        moved = abs((now.wall - self.wall) - (now.steady - self.steady))
        return change < self.wall - SLACK and moved < SLACK // 2


def latest(changed: int) -> int:
    """When a change may have been that bears this time: some file systems know even seconds only."""
    return changed if changed % SECOND else changed + 2 * SECOND


def unchanged(folder: str, since: Moment, reader: Reader | None = None) -> bool:
    """Whether nothing in the folder was changed, added or removed after ``since``. Links are not followed.

    In doubt it was: when the clock was set meanwhile, or ``reader`` cannot look at something.
    """
    try:
        top = entered(folder, reader)
    except OSError:
        return False
    try:
        with acting(reader):
            return since.is_after(max(changes(top)))
    except OSError:
        return False
    finally:
        os.close(top)


def changes(top: int) -> Iterator[int]:
    """When a folder was changed last, and each thing in it. Raises OSError, also for too many of them."""
    yield os.fstat(top).st_ctime_ns
    left, waiting = ENTRIES, [f"/proc/self/fd/{top}"]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                left -= 1
                if left < 0:
                    raise OSError(errno.E2BIG, os.strerror(errno.E2BIG))
                yield entry.stat(follow_symlinks=False).st_ctime_ns
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)


class Looks:
    """Looks at folders, which may be on file systems that never answer: in threads of its own."""

    def __init__(self) -> None:
        self.room = threading.BoundedSemaphore(THREADS)
        self.executor = ThreadPoolExecutor(THREADS, thread_name_prefix="flow-loader-looks")

    async def unchanged(self, folder: str, since: Moment, reader: Reader | None = None) -> bool:
        """As ``unchanged``; in doubt it was changed also while all threads look, and when it takes long."""
        if not self.room.acquire(blocking=False):
            return False
        work = self.executor.submit(unchanged, folder, since, reader)
        work.add_done_callback(lambda _: self.room.release())
        try:
            async with asyncio.timeout(LOOK):
                return await asyncio.wrap_future(work)
        except TimeoutError:
            return False

    def close(self) -> None:
        """Look at nothing more. What hangs is left."""
        self.executor.shutdown(wait=False)
