"""Outcomes of earlier loads, on the disk: given again as long as nothing has changed that they depend on.

Theory of operation. A first key is of what is known before a load: the script's bytes and name, the policy,
the interpreter and what it has installed, the dialect, this release, the host. It leads to one file, which
holds an outcome and the digest of what that load read (``traces``). The outcome is given only if the same
digest comes out now. A result is kept only if all that it depends on was there, unchanged, before its load
began, and only under a policy that lets a script reach nothing else: no network, no other process.

The folder is one user's. Each file has its own digest in front, is replaced whole, and may vanish at any
time: what cannot be read is a load more. Several processes may share a folder. A file's name says who asked
for it: when there is too much, those go that whoever has the most has not used for longest. A script that
asks for the time, or for chance, gets the answer of its kept load.

The owner is given what was kept for it, and of what is watched. A peer is given its own alone, and only what
depends on no more than the script's own folder: nobody shall learn what others did, or read, by asking.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import lru_cache
from importlib import metadata

from pydantic import ValidationError

from loader.daemon.folders import own
from loader.daemon.freshness import Moment
from loader.daemon.traces import trace
from loader.flow_loader import FlowLoader
from loader.models import Error, Model, Outcome, Status
from loader.process import HostFailure
from loader.profiles import with_timeout
from loader.sources import Script
from loader.stores.files import replace_file
from worker.protocol import VERSION, Policy

SIZE = 256 << 20
"""Bytes of all that is kept, unless told."""
WATCHER = "watching"
"""Who asks for what is watched."""
SHARED = ("", WATCHER)
"""Whose results are given to each other: the owner's, and what is watched."""
KEEPS = 100
"""Outcomes that wait to be kept, at most."""
LARGEST = 8 << 20
"""Bytes of one kept outcome; a larger one is not kept."""
BLOCK = 4096
"""Bytes that a small file takes."""
LEFTOVER_SECONDS = 3600.0
"""After which a half-written file is one that nobody writes any more."""
BY_CHANCE = frozenset(
    "MemoryError OSError BlockingIOError InterruptedError TimeoutError RecursionError".split()
)
"""Errors that say as much of the host at that time as of the script."""


class Entry(Model):
    """What one file holds."""

    key: str
    trace: str
    outcome: Outcome


def at_once(do: Callable[[], None]) -> None:
    """Do it now."""
    do()


class Line:
    """Does what nobody waits for, in one thread and one after the other: what is too much is not done."""

    def __init__(self, most: int = KEEPS) -> None:
        self.room = threading.BoundedSemaphore(most)
        self.executor = ThreadPoolExecutor(1, thread_name_prefix="flow-loader-keep")

    def add(self, do: Callable[[], None]) -> None:
        """Do it when all before it is done, if there is room."""
        if self.room.acquire(blocking=False):
            with contextlib.suppress(RuntimeError):  # it ends just now
                self.executor.submit(do).add_done_callback(lambda _: self.room.release())

    def close(self) -> None:
        """Do no more of it. Waits for what is under way."""
        self.executor.shutdown(cancel_futures=True)


class Kept:
    """The outcomes that are kept in ``folder``, ``size`` bytes at most. Safe to use from many threads.

    ``trouble`` is why the last one could not be kept, if so: nothing else depends on it.
    """

    def __init__(self, folder: str, size: int = SIZE) -> None:
        self.folder, self.size = os.path.abspath(folder), size
        self.trouble: str | None = None
        self.lock = threading.Lock()
        self.written = size  # nothing is known yet of what is there

    def run(  # noqa: PLR0913 - a load's words, and those of keeping
        self,
        loader: FlowLoader,
        script: Script,
        *,
        timeout: float | None = None,
        wake: int | None = None,
        fresh: bool = False,
        asker: str = "",
        later: Callable[[Callable[[], None]], object] = at_once,
    ) -> Outcome:
        """As ``loader.run``, or the outcome of an earlier load of the same; with ``fresh`` never that.

        ``asker`` is who asks, if it is not the owner. ``later`` gets what keeps the outcome, to be
        called when there is time.
        """
        if timeout is not None:
            with_timeout(loader.policy, timeout)
        key = self.key(loader, script)
        held = None if key is None or fresh else self.find(key, script, asker, loader.policy.read)
        if held is not None:
            return held
        began = Moment.now()
        outcome = loader.run(script, timeout=timeout, wake=wake)

        def keep() -> None:
            if key is not None and key == self.key(loader, script):
                self.keep(key, script, outcome, began, asker=asker, read=loader.policy.read)

        later(keep)
        return outcome

    def key(self, loader: FlowLoader, script: Script) -> str | None:
        """What leads to the outcome of this script; None when none is kept of it.

        Raises ProfileError, LoaderClosed.
        """
        if script.details or not is_closed(loader.policy):
            return None
        try:
            standing = loader.supervisor.standing()
            if standing is None:
                return None
            launched, packages = standing
            program = os.stat(loader.supervisor.python.path)
        except (HostFailure, OSError):
            return None
        policy = loader.policy
        parts = [
            *(release(), VERSION, os.uname().release, os.geteuid(), words_of(policy), passed(policy)),
            *(loader.supervisor.python.path, launched.python, packages, loader.supervisor.dialect),
            *(program.st_ino, program.st_size, program.st_mtime_ns),
            *(script.digest, script.filename, script.module, script.root and script.root.path),
            *(script.folder, script.run_as, *script.paths),
            script.project and [script.project.url, script.project.entry],
        ]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def find(self, key: str, script: Script, asker: str, read: tuple[str, ...]) -> Outcome | None:
        """The outcome that is kept under a key for ``asker``, if it still holds.

        ``read`` are the folders in which a script may read beside its own.
        """
        for who in SHARED if asker in SHARED else (asker,):
            name = called(key, who)
            try:
                with own(self.folder) as folder:
                    entry = entry_of(folder, name, key)
                    if entry is None:
                        continue
                    os.utime(name, dir_fd=folder)
            except OSError:
                continue
            now = trace(script, entry.outcome.sources or (), read if asker in SHARED else ())
            if now is not None and now.digest == entry.trace:
                source = entry.outcome.source.model_copy(update={"location": script.location})
                return entry.outcome.model_copy(update={"kept": True, "source": source})
        return None

    def keep(  # noqa: PLR0913 - a load, and who asked for it
        self,
        key: str,
        script: Script,
        outcome: Outcome,
        began: Moment,
        *,
        asker: str,
        read: tuple[str, ...],
    ) -> bool:
        """Keep the outcome of a load that ``began`` then, if it may be kept. Says whether it is."""
        if outcome.sources is None or not is_repeatable(outcome):  # what it read is not known in full
            return False
        seen = trace(script, outcome.sources, read if asker in SHARED else ())
        if seen is None or not began.is_after(seen.changed):
            return False
        try:
            body = Entry(key=key, trace=seen.digest, outcome=outcome).model_dump_json().encode()
        except ValueError:  # what a script says may be no text
            return False
        if len(body) > min(LARGEST, self.size // 16):
            return False
        try:
            with own(self.folder) as folder:
                self.make_room(folder, len(body))
                name = called(key, asker)
                os.close(replace_file(folder, name, digest(body) + b"\n" + body, lasting=False))
            self.trouble = None
        except OSError as error:
            self.trouble = f"cannot keep results in {self.folder}: {error.strerror or error}"
        return self.trouble is None

    def make_room(self, folder: int, size: int) -> None:
        """See to it that one more file fits, every now and then: the longest unused are removed."""
        with self.lock:
            self.written += taken(size)
            if self.written < self.size // 8:
                return
            self.written = 0
        files = sorted(listed(folder), reverse=True)
        held: dict[str, list[tuple[str, int]]] = defaultdict(list)
        sizes: Counter[str] = Counter()
        for used, name, bytes_taken in files:
            if not name.startswith("."):
                held[asker_of(name)].append((name, bytes_taken))
                sizes[asker_of(name)] += bytes_taken
            elif time.time() - used > LEFTOVER_SECONDS:
                remove(folder, name)
        excess = sizes.total() - self.size * 3 // 4
        while excess > 0:
            most = max(sizes, key=lambda asker: sizes[asker])
            name, bytes_taken = held[most].pop()
            sizes[most] -= bytes_taken
            excess -= bytes_taken
            remove(folder, name)


def called(key: str, asker: str) -> str:
    """The name of the file that holds what is kept for who asked."""
    return f"{key}.{asker}" if asker else key


def asker_of(name: str) -> str:
    """Who asked for what a file holds."""
    return name.partition(".")[2]


def remove(folder: int, name: str) -> None:
    """Remove a file that may be gone."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(name, dir_fd=folder)


def entry_of(folder: int, name: str, key: str) -> Entry | None:
    """What the file of a key holds; one that is damaged is removed. Raises OSError."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    descriptor = os.open(name, flags, dir_fd=folder)
    try:
        with open(descriptor, "rb", closefd=False) as file:
            said, _, body = file.read(LARGEST + 100).partition(b"\n")
    finally:
        os.close(descriptor)
    if said == digest(body):
        with contextlib.suppress(ValidationError):
            entry = Entry.model_validate_json(body)
            if entry.key == key:
                return entry
    os.unlink(name, dir_fd=folder)
    return None


def listed(folder: int) -> Iterator[tuple[float, str, int]]:
    """Each file: when it was used last, its name, and the bytes that it takes."""
    with os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):
                status = entry.stat(follow_symlinks=False)
                if stat.S_ISREG(status.st_mode):
                    yield status.st_mtime, entry.name, taken(status.st_size)


def taken(size: int) -> int:
    """The bytes on the disk of a file of ``size`` bytes."""
    return -(-size // BLOCK) * BLOCK


def digest(body: bytes) -> bytes:
    """What stands in front of a file."""
    return hashlib.sha256(body).hexdigest().encode()


def is_closed(policy: Policy) -> bool:
    """Whether a script can reach nothing under it but what its trace has."""
    return (
        all(policy.asks(name) for name in ("filesystem", "network", "processes", "syscalls"))
        and not policy.outbound
        and not policy.processes
    )


def is_repeatable(outcome: Outcome) -> bool:
    """Whether the same load would end the same: it loaded, or an error of the script's own ended it."""
    if outcome.status is Status.LOADED:
        return True
    error: Error | None = outcome.error
    while error is not None and error.type not in BY_CHANCE:
        error = error.cause
    return outcome.status is Status.SCRIPT_FAILED and error is None


@lru_cache(maxsize=100)
def words_of(policy: Policy) -> str:
    """What a policy says, but for its wall time."""
    said = {name: value for name, value in asdict(policy).items() if name != "wall"}
    return json.dumps(said, sort_keys=True)


def passed(policy: Policy) -> dict[str, str | None]:
    """The environment that a policy passes on."""
    return {name: os.environ.get(name) for name in policy.environment}


@lru_cache(maxsize=1)
def release() -> str:
    """Our own release; nothing where it is not installed."""
    try:
        return metadata.version("flow-loader")
    except metadata.PackageNotFoundError:
        return ""
