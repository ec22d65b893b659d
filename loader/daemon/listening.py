"""What changes below folders, as their file system tells it; nothing where it does not tell."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable, Iterable

from watchfiles import Change, watch

from loader.stores.files import FOLDER, file_system

SILENT = ("nfs", "cifs", "smb", "9p", "fuse", "ceph", "lustre", "afs", "virtiofs", "vboxsf", "gfs2", "ocfs2")
"""How the names of file systems begin that do not tell of what other hosts change."""
QUIET_MILLISECONDS = 50
"""Changes that follow each other sooner are told together."""
LONGEST_MILLISECONDS = 400
"""For which changes are held back to be told together."""
LOOK_MILLISECONDS = 250
"""How often the thread looks whether it is still wanted."""

Told = Callable[[set[str] | None], None]


def tells(folder: str) -> bool:
    """Whether the file system of a folder tells of every change. Raises OSError."""
    descriptor = os.open(folder, FOLDER & ~os.O_NOFOLLOW)
    try:
        return not file_system(descriptor).startswith(SILENT)
    finally:
        os.close(descriptor)


class Listener:
    """A thread that waits for changes below ``folders`` and gives ``told`` their paths, in the event loop.

    Once it hears everything it tells None, for what came before: then all must be looked at. ``identity``
    is that of the first folder. ``trouble`` is why it had to give up, if so. The thread ends when it is
    stopped, or with its event loop.
    """

    def __init__(self, folders: Iterable[str], identity: tuple[int, int], told: Told) -> None:
        self.folders = sorted(set(folders))
        self.identity, self.told = identity, told
        self.loop = asyncio.get_running_loop()
        self.trouble: str | None = None
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.listen, name="flow-loader-watch")
        self.thread.start()

    def listen(self) -> None:
        """The thread."""
        hears = False
        try:
            for changes in watch(
                *self.folders,
                watch_filter=matters,
                debounce=LONGEST_MILLISECONDS,
                step=QUIET_MILLISECONDS,
                rust_timeout=LOOK_MILLISECONDS,
                stop_event=self.ended,
                yield_on_timeout=True,
                ignore_permission_denied=True,
            ):
                if self.loop.is_closed():
                    return
                if changes or not hears:
                    self.tell({path for _, path in changes} if hears else None)
                    hears = True
        except Exception as error:  # the library raises what its system says
            self.trouble = f"cannot wait for changes below {', '.join(self.folders)}: {error}"
            self.tell(set())

    def tell(self, paths: set[str] | None) -> None:
        """Hand over, unless nobody is there any more."""
        with contextlib.suppress(RuntimeError):
            self.loop.call_soon_threadsafe(self.told, paths)

    def stop(self) -> None:
        """Listen no longer; the thread ends soon."""
        self.ended.set()


def matters(_change: Change, path: str) -> bool:
    """Whether a change may be one of a script or of what it reads."""
    return not path.endswith(".pyc") and "/.git/" not in path
