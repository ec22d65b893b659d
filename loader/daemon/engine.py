"""What requests come to: one engine for all of them, that is asked in turn.

Identical loads that wait are one load; one that began is joined only while nothing that it may have read has
changed since, so that no answer is older than its question. A load ends when the last that waits for it is
gone. Deadlines include the waiting.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from pydantic import ValidationError

from loader import checking, planning, sources, waking
from loader.answers import Plan, Verdict
from loader.batches import is_manifest
from loader.client.embedded import EmbeddedRegistry
from loader.client.interface import Client
from loader.client.prefect import PrefectServer
from loader.daemon import bodies, judging, problems
from loader.daemon.admission import RANK, Admission, Priority, TooLate
from loader.daemon.config import Config
from loader.daemon.discretion import discreet
from loader.daemon.engines import Engines, Key
from loader.daemon.freshness import Looks, Moment
from loader.daemon.kept import WATCHER, Kept, Line
from loader.daemon.peers import Caller, Permit, check_still
from loader.daemon.places import Place
from loader.daemon.problems import Problem
from loader.daemon.requests import Asked, Checking, Deploying, Planning, kind_of
from loader.errors import SourceError
from loader.finding import BATCH_SECONDS
from loader.flow_loader import FlowLoader
from loader.models import Outcome
from loader.observing import TurnCame
from loader.sources import Script
from loader.sources.entrypoints import split
from loader.sources.script import Identity
from loader.storage import KINDS, StorageBlock
from worker.protocol import AUTO

LATER = 0.02
"""Seconds after which what nobody waits for is done."""
KEY = "PREFECT_API_KEY"
THREADS = 1_000
"""The most that limits.loads can be."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One answer and its JSON. ``seconds`` is what the work took, ``waited`` what came before."""

    kind: str
    model: Outcome | Verdict | Plan
    body: bytes
    seconds: float
    waited: float

    @property
    def outcome(self) -> Outcome:
        """The load's outcome."""
        return self.model if isinstance(self.model, Outcome) else self.model.outcome


@dataclass
class Flight:
    """One load that is under way or waits, and how many wait for it."""

    caller: Caller
    priority: Priority
    until: float | None
    permit: Permit
    task: asyncio.Task[Answer] | None = None
    askers: int = 0
    began: Moment | None = None
    loader: FlowLoader | None = None

    def leave(self) -> None:
        """One waits no longer; the last that goes ends it."""
        self.askers -= 1
        if not self.askers and self.task is not None:
            self.task.cancel()


class Engine:
    """Answers requests. One event loop."""

    def __init__(
        self, config: Config, admission: Admission, engines: Engines, kept: Kept | None = None
    ) -> None:
        self.config, self.admission, self.engines, self.kept = config, admission, engines, kept
        self.loop = asyncio.get_running_loop()
        self.flights: dict[Hashable, Flight] = {}
        # A thread is made when it is needed, and admission lets in no more than may be.
        self.executor = ThreadPoolExecutor(THREADS, thread_name_prefix="flow-loader-daemon")
        self.line = Line()
        self.own_looks, self.looks = Looks(), Looks()

    async def answer(self, caller: Caller, asked: Asked, permit: Permit) -> Answer:
        """The answer to one request. Raises Problem and what the loader raises."""
        until = None if asked.wait is None else time.monotonic() + asked.wait
        joined = await self.joined(caller, asked, permit, until)
        check_still(caller, self.config)
        flight = joined or self.begun(caller, asked, permit, until)
        task = flight.task
        assert task is not None
        flight.askers += 1
        try:
            async with asyncio.timeout(asked.wait):
                await asyncio.wait([task])  # a shield would have the error told that nobody waits for
                return task.result()
        except TimeoutError:
            if flight.began is None:
                raise problems.of(TooLate(asked.wait or 0.0, "wait", self.admission.retry_after())) from None
            raise Problem(
                "deadline",
                f"cannot answer within {asked.wait:g} seconds: the load was not done; allow more with wait",
                limit=asked.wait,
                option="wait",
            ) from None
        except asyncio.CancelledError:
            if task.cancelled():
                raise Problem(
                    "draining", "cannot finish the load: the daemon is ending; ask again", retry_after=1
                ) from None
            raise
        finally:
            flight.leave()

    async def joined(
        self, caller: Caller, asked: Asked, permit: Permit, until: float | None
    ) -> Flight | None:
        """The load under way that answers this request as well, if there is one."""
        flight = self.flights.get(identity(asked, permit))
        if flight is None or flight.task is None or flight.task.cancelling():
            return None
        if flight.began is None:
            if not flight.caller.owner and flight.caller.peer is not caller.peer:
                return None  # others would stand in that caller's line, or by what it was granted before
            later = flight.until is None or (until is not None and until <= flight.until)
            return flight if later and RANK[flight.priority] <= RANK[Priority(asked.priority)] else None
        if asked.text is not None:
            return flight
        folder = own_folder(permit, flight.loader)
        if type(asked) is not Asked or folder is None:
            return None
        looks = self.own_looks if caller.owner else self.looks
        flight.askers += 1  # it must not be cancelled while its folder is looked at
        try:
            fresh = await looks.unchanged(folder, flight.began, permit.access.reader)
        finally:
            flight.leave()
        return flight if fresh and not flight.task.cancelling() else None

    def begun(self, caller: Caller, asked: Asked, permit: Permit, until: float | None) -> Flight:
        """A load of its own."""
        key = identity(asked, permit)
        flight = Flight(caller, Priority(asked.priority), until, permit)
        task = flight.task = asyncio.create_task(self.fly(flight, caller, asked))
        if key is not None:
            self.flights[key] = flight

        def landed(_: asyncio.Task[Answer]) -> None:
            if self.flights.get(key) is flight:
                del self.flights[key]
            if not task.cancelled():
                task.exception()  # those that waited have it, or are gone

        task.add_done_callback(landed)
        return flight

    async def fly(self, flight: Flight, caller: Caller, asked: Asked) -> Answer:
        """Wait for a turn, then do it."""
        turn = self.admission.turn(caller.name, flight.priority, flight.until, owner=caller.owner)
        engine = self.engines.loader(engine_key(asked, owner=caller.owner))
        async with turn as waited, engine as loader:
            check_still(caller, self.config)
            self.engines.observer(TurnCame(seconds=waited))
            flight.began, flight.loader = Moment.now(), loader
            started = time.monotonic()
            work = self.work(loader, asked, flight)

            def run(wake: int) -> tuple[Outcome | Verdict | Plan, bytes]:
                model = work(wake)
                if not flight.permit.whole:
                    model = discreet(model)
                data = model.data() if isinstance(model, Plan) else model
                return model, bodies.encoded(data)

            # Its end is waited for, also when it is cancelled: until then it has its turn.
            model, body = await waking.in_thread(self.executor, run, lambda: None)
            seconds = time.monotonic() - started
            kind = kind_of(asked)
            return Answer(kind=kind, model=model, body=body, seconds=seconds, waited=waited)

    def work(
        self, loader: FlowLoader, asked: Asked, flight: Flight
    ) -> Callable[[int], Outcome | Verdict | Plan]:
        """What is to be done in a thread, which gets the descriptor that cancels it."""
        permit = flight.permit
        if isinstance(asked, Checking):
            return lambda wake: self.checked(loader, asked, permit, wake)
        if isinstance(asked, Planning):
            return lambda wake: self.planned(loader, asked, permit, wake)
        return lambda wake: self.loaded(loader, asked, flight, wake)

    def loaded(self, loader: FlowLoader, asked: Asked, flight: Flight, wake: int) -> Outcome:
        """The outcome of a load."""
        permit, asker = flight.permit, "" if flight.caller.owner else flight.caller.name
        script = text_of(asked) or sources.read(permit.location, permit.root, permit.access)
        script = replace(script, location=asked.shown) if asked.shown is not None else script
        return self.ran(loader, script, wake, asker=asker, timeout=asked.timeout, fresh=not asked.cache)

    def ran(  # noqa: PLR0913 - a load's words, and those of keeping
        self,
        loader: FlowLoader,
        script: Script,
        wake: int,
        *,
        asker: str,
        timeout: float | None = None,
        fresh: bool = False,
    ) -> Outcome:
        """The outcome of a script that was read, kept or not."""
        if self.kept is None:
            return loader.run(script, timeout=timeout, wake=wake)
        return self.kept.run(
            loader, script, timeout=timeout, wake=wake, fresh=fresh, asker=asker, later=self.later
        )

    def later(self, do: Callable[[], None]) -> None:
        """Do something that nobody waits for, when the answer is on its way."""
        with contextlib.suppress(RuntimeError):  # it ends just now
            self.loop.call_soon_threadsafe(self.loop.call_later, LATER, self.line.add, do)

    async def watched(self, place: Place, script: Script) -> Outcome | Plan:
        """What is known of a watched script or manifest, when nobody else waits. Raises as ``answer``."""
        key = (place.profile, place.python, place.dialect, True)
        turn = self.admission.turn(WATCHER, Priority.WATCHING, owner=False)
        async with turn, self.engines.loader(key) as loader:

            def run(wake: int) -> Outcome | Plan:
                if not is_manifest(script.location):
                    return self.ran(loader, script, wake, asker=WATCHER)
                with EmbeddedRegistry(self.config.registry, access=place.access) as client:
                    return judging.judge(loader, place, script, client, wake)

            return await waking.in_thread(self.executor, run, lambda: None)

    def checked(self, loader: FlowLoader, asked: Checking, permit: Permit, wake: int) -> Verdict:
        """The verdict of a check."""
        with self.client(asked, permit) as client:
            question = checking.Question(
                location=permit.location,
                script=text_of(asked),
                shown=asked.shown,
                flow=asked.flow,
                function=asked.function,
                deployment=asked.deployment,
                parameters=asked.parameters,
                recorded=asked.recorded,
                client=client,
                storage=storage_of(asked),
                folder=folder_of(asked),
                timeout=asked.timeout,
                root=permit.root,
                access=permit.access,
                seconds=self.batch_seconds(permit),
            )
            verdict = checking.answer(loader, question, wake)
        shown = asked.shown
        if shown is not None and asked.text is None:  # a text's name is no path to look for
            shown = shown.removesuffix(f":{split(permit.location, permit.root)[1]}")
        return verdict.model_copy(update={"outcome": named(verdict.outcome, shown)})

    def planned(self, loader: FlowLoader, asked: Planning, permit: Permit, wake: int) -> Plan:
        """The specs, judged, and deployed if that is asked."""
        with self.client(asked, permit) as client:
            wish = planning.Wish(
                location=permit.location,
                script=text_of(asked),
                client=client,
                storage=storage_of(asked),
                folder=folder_of(asked),
                work_pool=asked.work_pool if isinstance(asked, Deploying) else None,
                timeout=asked.timeout,
                root=permit.root,
                access=permit.access,
                seconds=self.batch_seconds(permit),
            )
            deploy = isinstance(asked, Deploying)
            dry = isinstance(asked, Deploying) and asked.dry_run
            plan = planning.plan(loader, wish, deploy=deploy, dry_run=dry, wake=wake)
        return plan.model_copy(update={"outcome": named(plan.outcome, asked.shown)})

    def batch_seconds(self, permit: Permit) -> float:
        """After how long no more scripts of one batch are run: a peer keeps others waiting no longer."""
        return BATCH_SECONDS if permit.whole else min(BATCH_SECONDS, self.config.limits.wait_seconds)

    def client(self, asked: Planning, permit: Permit) -> Client:
        """Where the deployments of a request are. Raises ClientError."""
        if asked.api is not None:
            return PrefectServer(asked.api, api_key=os.environ.get(KEY) or None)
        return EmbeddedRegistry(asked.registry or self.config.registry, access=permit.access)

    async def close(self) -> None:
        """Cancel what is under way still, and end every process. What hangs in a thread is left."""
        tasks = [flight.task for flight in self.flights.values() if flight.task is not None]
        for task in tasks:
            task.cancel()
        await waking.within(asyncio.gather(*tasks, return_exceptions=True))
        await waking.within(self.engines.close(), 3 * waking.ENOUGH)
        for looks in (self.own_looks, self.looks):
            looks.close()
        for close in (self.line.close, self.executor.shutdown):
            await waking.within(asyncio.to_thread(close))


def identity(asked: Asked, permit: Permit) -> Hashable:
    """What two identical requests have in common; None for one that must be done for itself."""
    if isinstance(asked, Deploying):
        return None
    return (
        type(asked),
        asked.digest,
        permit.location,
        permit.root,
        permit.access,
        permit.whole,
    )


def engine_key(asked: Asked, *, owner: bool) -> Key:
    """Which loader a request needs. The interpreter is the very one that was granted."""
    python = None if asked.python is None else os.path.normpath(asked.python)
    return asked.profile, python, asked.dialect or AUTO, owner


def own_folder(permit: Permit, loader: FlowLoader | None) -> str | None:
    """The folder of this machine that is all that a load reads, if there is one."""
    if loader is None or not loader.policy.asks("filesystem") or loader.policy.read:
        return None
    try:
        if sources.schemes_of(permit.location) != {"file"}:
            return None
        return sources.local_path(
            os.fspath(permit.root or os.path.dirname(sources.local_path(permit.location)))
        )
    except SourceError:
        return None


def text_of(asked: Asked) -> Script | None:
    """The script of a request that has none elsewhere. Raises SourceError."""
    return None if asked.text is None else sources.from_text(asked.text, asked.name)


def folder_of(asked: Planning) -> Identity | None:
    """The folder that a location must lie in."""
    return None if asked.folder is None else (asked.folder[0], asked.folder[1])


def storage_of(asked: Planning) -> StorageBlock | None:
    """Where the flows of specs are kept that name no storage."""
    if asked.storage is None:
        return None
    try:
        return KINDS["File Storage"].model_validate({"base_path": asked.storage})
    except ValidationError as error:
        said = error.errors(include_input=False)[0]["msg"]
    raise Problem("mistaken", f"cannot use the storage {sources.redacted(asked.storage)}: {said}")


def named(outcome: Outcome, shown: str | None) -> Outcome:
    """The outcome, whose location is called as the caller calls it."""
    if shown is None:
        return outcome
    return outcome.model_copy(update={"source": outcome.source.model_copy(update={"location": shown})})
