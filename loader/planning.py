"""The specs of a script or manifest: judged, with when they run next, and deployed if that is asked."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from loader import batches, deploying, sources
from loader.access import DEFAULT, Access
from loader.answers import Plan, Planned
from loader.batches import Batch, Verdict
from loader.claimed import specs_of
from loader.client.interface import Client
from loader.deploying import Deployer
from loader.errors import (
    ClientError,
    SandboxUnavailable,
    SourceError,
    SpecValidationError,
    StorageError,
)
from loader.finding import BATCH_SECONDS, Finder
from loader.flow_loader import FlowLoader
from loader.models import Outcome
from loader.schedules import Schedule
from loader.sources import Origin, Script
from loader.sources.script import Identity
from loader.storage import StorageBlock
from loader.upcoming import next_runs

RUNS = 3
"""Next runs that are told of a spec with a schedule."""
EACH, SECONDS = 0.7, 5.0
"""How long finding those of one spec may take, and those of all."""
NOT_DONE = (ClientError, SourceError, StorageError, SpecValidationError)


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What is judged. ``script`` is what was read already, and ``location`` then only what it is called.

    ``storage`` is for specs that name none. ``folder`` is the device and the inode of the folder that the
    location must lie in. ``seconds`` is after how long no more scripts are run.
    """

    location: str
    script: Script | None = None
    folder: Identity | None = None
    client: Client | None = None
    storage: StorageBlock | None = None
    work_pool: str | None = None
    timeout: float | None = None
    root: Origin | None = None
    access: Access = DEFAULT
    seconds: float = BATCH_SECONDS


def wish(
    location: str | os.PathLike[str],
    *,
    root: str | os.PathLike[str] | None = None,
    text: str | bytes | None = None,
    **how: Any,
) -> Wish:
    """What a caller asks for. Raises SourceError for a ``text`` that is too large."""
    return Wish(
        location=os.fspath(location),
        script=None if text is None else sources.from_text(text, os.fspath(location)),
        root=sources.pinned(root),
        **how,
    )


def plan(
    loader: FlowLoader, asked: Wish, *, deploy: bool = False, dry_run: bool = False, wake: int | None = None
) -> Plan:
    """What there is to say of every spec; with ``deploy`` after creating its deployment, or rehearsing that.

    Raises SourceError, ProfileError, ClientError, LoaderClosed.
    """
    finder = Finder(loader, asked.access, asked.timeout, asked.root, wake=wake, seconds=asked.seconds)
    with deploying.at(asked.client) as client:
        deployer = Deployer(client, finder, asked.work_pool, asked.storage)
        try:
            if asked.script is not None:
                batch = batches.of_script(asked.script, deployer)
            else:
                batch = batches.judge(asked.location, deployer, asked.folder)
        except SandboxUnavailable as unavailable:
            return Plan(outcome=unavailable.outcome)
        if not deploy:
            return of_batch(batch)
        done = partial(became, deployer=deployer, dry_run=dry_run)
        return of_batch(batch, done).model_copy(update={"api": client.address})


def of_batch(batch: Batch, done: Callable[[Verdict], dict[str, Any]] = lambda _: {}) -> Plan:
    """What there is to say of judged specs; ``done`` does with each what is to be done, and says it."""
    clock, specs = Clock(), []
    for verdict in batch.verdicts:
        result = done(verdict)
        specs.append(
            Planned(
                spec=verdict.listed,
                valid=verdict.valid is not None,
                problems=verdict.problems,
                warnings=verdict.warnings,
                next_runs=clock.upcoming(schedules_of(verdict)),
                **result,
            )
        )
    outcome = batch.outcome.model_copy(update={"specs": tuple(item.spec for item in specs)})
    return Plan(outcome=outcome, specs=tuple(specs))


class Clock:
    """Says when specs run next, for as long as that may take for all of a batch together."""

    def __init__(self) -> None:
        self.left = SECONDS

    def upcoming(self, schedules: Iterable[Schedule]) -> tuple[str, ...]:
        """The next moments of schedules together; none where they cannot be found in time."""
        found: set[datetime] = set()
        for schedule in schedules:
            if self.left <= 0:
                return ()
            begun = time.monotonic()
            try:
                found.update(next_runs(schedule, RUNS, seconds=min(self.left, EACH)))
            except SpecValidationError:
                return ()
            finally:
                self.left -= time.monotonic() - begun
        return tuple(moment.isoformat() for moment in sorted(found)[:RUNS])


def with_runs(outcome: Outcome, clock: Clock) -> list[dict[str, Any]]:
    """The specs of an outcome as JSON, each with the moments at which it would run next."""
    specs = specs_of(outcome, Origin())
    runs = [clock.upcoming(() if spec.schedule is None else (spec.schedule,)) for spec in specs]
    told = outcome.model_dump(mode="json", include={"specs"})["specs"]
    return [{**spec, "next_runs": list(moments)} for spec, moments in zip(told, runs, strict=True)]


def schedules_of(verdict: Verdict) -> tuple[Schedule, ...]:
    """The schedules by which a valid spec runs."""
    if verdict.valid is None:
        return ()
    spec = verdict.valid.spec
    if spec.prefect is not None:
        return spec.prefect.coming
    return () if spec.schedule is None else (spec.schedule,)


def became(verdict: Verdict, deployer: Deployer, *, dry_run: bool) -> dict[str, Any]:
    """What becomes of one spec."""
    if verdict.valid is None:
        return {"result": "invalid"}
    try:
        with deployer.discreet(verdict.valid):
            if dry_run:
                there = deployer.rehearse(verdict.valid)
                return {"result": "would update", "id": str(there)} if there else {"result": "would create"}
            created = deployer.create(verdict.valid)
    except NOT_DONE as error:
        return {"result": "failed", "failure": str(error)}
    except Exception as error:  # what was done before must be told
        return {"result": "failed", "failure": batches.unexpected(error)}
    return {"result": "created" if created.new else "updated", "id": str(created.id)}
