"""Every script and manifest below a folder, side by side with one loader, each with its own verdict.

Theory of operation. The walk runs in the thread that asks for the next result; a few threads read what it
finds, and drive a load each. What mentions no flow is left out before anything is started for it. No more
than a few results wait at a time: a scan holds what it is asked for, however much there is. Whoever stops
asking ends it: its loads are cancelled, and their workers are killed.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Self

from loader import batches, deploying, sources
from loader.access import DEFAULT, LOCAL_SCHEMES, Access
from loader.answers import Judged, Scanned, Summary
from loader.batches import Batch
from loader.client.interface import Client
from loader.closing import Closing
from loader.deploying import Deployer
from loader.errors import SandboxUnavailable, SourceError
from loader.finding import Finder
from loader.flow_loader import FlowLoader
from loader.models import Outcome, Status
from loader.raising import holds_nothing
from loader.sources import Origin, Script
from loader.sources.trees import scripts_of
from loader.sources.walking import Found, Walk
from loader.storage import StorageBlock
from loader.tally import Tally

if TYPE_CHECKING:
    from loader.daemon.client import DaemonClient

MANIFEST = ((b"flow_location",), (b"\ndeployments:", b"entrypoint:"))
MENTIONS: Mapping[str, tuple[tuple[bytes, ...], ...]] = MappingProxyType(
    {".py": ((b"flow", b"prefect"),), ".yaml": MANIFEST, ".yml": MANIFEST}
)
"""What a file of each kind holds if it may be about flows: all of one of these."""
USAGE = "usage"
"""The status of what cannot be read."""
AHEAD = 2
"""Results that may wait, for each job."""


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What is scanned, and how. ``root`` is what each script may read: by default its own folder."""

    folder: str
    jobs: int | None = None
    client: Client | None = None
    storage: StorageBlock | None = None
    timeout: float | None = None
    root: Origin | None = None
    access: Access = DEFAULT


@dataclass
class Scan(Closing):
    """A scan: an iterator of results, in the order in which they are there; ``summary`` is of those so far.

    Close it, or use it as a context manager; what is left open ends when it is forgotten.
    """

    loader: FlowLoader | DaemonClient
    wish: Wish
    tally: Tally = field(default_factory=Tally)
    skipped: Counter[str] = field(default_factory=Counter)
    complete: bool = False

    def __post_init__(self) -> None:
        self.lock = threading.Lock()
        self.stopped = False
        self.wake: int | None = None
        self.places = self.found()
        self.results = self.run()

    def found(self) -> Iterator[Found | Script]:
        """Every file that may be a script or a manifest. Raises SourceError."""
        if sources.parse(self.wish.folder).scheme not in LOCAL_SCHEMES:
            return scripts_of(self.wish.folder, self.wish.access, tuple(MENTIONS))
        walk = Walk(sources.local_path(self.wish.folder), self.skipped)
        walk.check()
        return walk.files()

    def run(self) -> Iterator[Scanned]:
        """The results."""
        jobs = self.wish.jobs or len(os.sched_getaffinity(0))
        with contextlib.ExitStack() as stack:
            self.wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            stack.callback(self.forget)
            client = stack.enter_context(deploying.at(self.wish.client))
            pool = ThreadPoolExecutor(jobs, thread_name_prefix="flow-loader-scan")
            stack.callback(pool.shutdown, wait=True, cancel_futures=True)
            stack.callback(self.stop)
            pending: set[Future[Scanned | None]] = set()
            for place in self.places:
                if self.stopped:
                    return
                pending.add(pool.submit(self.look, place, client))
                while len(pending) >= AHEAD * jobs:
                    done, pending = wait(pending, return_when=FIRST_COMPLETED)
                    yield from self.told(done)
            while pending:
                done, pending = wait(pending, return_when=FIRST_COMPLETED)
                yield from self.told(done)
            self.complete = not self.stopped

    def told(self, done: set[Future[Scanned | None]]) -> Iterator[Scanned]:
        """The results of what is done. Raises ClientError, ProfileError, LoaderClosed."""
        for future in done:
            item = future.result()
            if item is not None:
                self.tally.add(item)
                yield item
            else:
                self.skipped["no_flow"] += 1

    def look(self, place: Found | Script, client: Client) -> Scanned | None:
        """The verdict on one file; None for one that mentions no flow, and after the end."""
        if self.stopped:
            return None
        started = time.monotonic()
        item = self.judged(place, client)
        return item and item.model_copy(update={"seconds": time.monotonic() - started})

    def judged(self, place: Found | Script, client: Client) -> Scanned | None:
        """The same, without how long it took."""
        wish = self.wish
        location, suffix = place_of(place)
        if isinstance(place, Found) and place.problem is not None:
            return Scanned(location=location, status=USAGE, ok=False, problem=place.problem)
        if not isinstance(self.loader, FlowLoader):
            return self.asked(self.loader, place, client)
        finder = Finder(self.loader, wish.access, wish.timeout, wish.root, wake=self.wake)
        deployer = Deployer(client, finder, storage=wish.storage)
        try:
            manifest = suffix in batches.MANIFESTS
            script = place if isinstance(place, Script) else read(place, wish)
            if not mentions(suffix, script.content):
                return None
            if manifest:
                return scanned(location, batches.of_manifest(location, deployer, script))
            return scanned(location, batches.of_script(script, deployer))
        except SourceError as error:
            return Scanned(location=location, status=USAGE, ok=False, problem=str(error))
        except SandboxUnavailable as unavailable:
            return scanned(location, Batch(unavailable.outcome, ()))

    def asked(self, daemon: DaemonClient, place: Found | Script, client: Client) -> Scanned | None:
        """The verdict of a daemon on one file. Raises DaemonError."""
        wish = self.wish
        location, suffix = place_of(place)
        try:
            if isinstance(place, Script):
                raise SourceError(
                    f"cannot hand {location} to the daemon: it takes scripts of this machine; scan without it"
                )
            if not mentions(suffix, read(place, wish).content):
                return None
            plan = daemon.specs(
                location,
                folder=place.folder and place.folder.identity,
                client=client if wish.client is not None else None,
                storage=wish.storage,
                timeout=wish.timeout,
                root=wish.root,
                access=wish.access,
            )
        except SourceError as error:
            return Scanned(location=location, status=USAGE, ok=False, problem=str(error))
        names = set(Judged.model_fields)
        specs = tuple(Judged(**{name: getattr(item, name) for name in names}) for item in plan.specs)
        return concluded(location, plan.outcome, specs)

    def stop(self) -> None:
        """Cancel the loads that are under way; from any thread. Nothing else is begun."""
        with self.lock:
            self.stopped = True
            if self.wake is not None:
                os.eventfd_write(self.wake, 1)

    def forget(self) -> None:
        """Close what cancels loads, when none is under way any more."""
        with self.lock:
            if self.wake is not None:
                os.close(self.wake)
            self.wake = None

    @property
    def summary(self) -> Summary:
        """What was found so far."""
        return self.tally.summary(self.skipped, complete=self.complete)

    def close(self) -> None:
        """End it, and every worker that it started."""
        self.results.close()  # type: ignore[attr-defined]

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Scanned:
        return next(self.results)


def read(place: Found, wish: Wish) -> Script:
    """A file's bytes and where they belong. Raises SourceError, also if its folder is another one now."""
    return batches.found(place.path, wish.root, wish.access, place.folder)


def place_of(place: Found | Script) -> tuple[str, str]:
    """Where a file is, and of which kind."""
    if isinstance(place, Found):
        return place.path, os.path.splitext(place.path)[1]
    entry = place.project.entry if place.project else place.filename
    return place.filename, os.path.splitext(entry)[1]


def mentions(suffix: str, content: bytes) -> bool:
    """Whether a file may be about flows: a look at its text, which a file that is must pass."""
    text = b"\n" + content if suffix in batches.MANIFESTS else content
    return any(all(word in text for word in words) for words in MENTIONS[suffix])


def scanned(location: str, batch: Batch) -> Scanned:
    """The result for one file. A module that holds nothing is nobody's mistake in a folder of many."""
    specs = tuple(
        Judged(
            spec=verdict.listed,
            valid=verdict.valid is not None,
            problems=verdict.problems,
            warnings=verdict.warnings,
        )
        for verdict in batch.verdicts
    )
    return concluded(location, batch.outcome, specs)


def concluded(location: str, outcome: Outcome, specs: tuple[Judged, ...]) -> Scanned:
    """The result of a file's outcome and the verdicts on its specs."""
    loads = outcome.status is Status.LOADED or holds_nothing(outcome)
    return Scanned(
        location=location,
        status=outcome.status.value,
        ok=loads and all(item.valid for item in specs),
        outcome=outcome,
        specs=specs,
    )


def begin(
    loader: FlowLoader | DaemonClient,
    folder: str | os.PathLike[str],
    root: str | os.PathLike[str] | None = None,
    **how: object,
) -> Scan:
    """A scan that has not begun. Raises SourceError."""
    make: Callable[..., Wish] = Wish
    return Scan(loader, make(folder=os.fspath(folder), root=sources.pinned(root), **how))
