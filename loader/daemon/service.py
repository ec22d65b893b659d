"""What all requests share: configuration, engine, log, metrics, and what is in the way of loading."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

from structlog.typing import FilteringBoundLogger

from loader import sources
from loader.answers import Plan, Verdict
from loader.daemon.bodies import Budget
from loader.daemon.config import Config
from loader.daemon.engine import Answer, Engine
from loader.daemon.events import Events
from loader.daemon.grants import Grants
from loader.daemon.metrics import Metrics
from loader.daemon.peers import Caller, Permit
from loader.daemon.problems import Problem
from loader.daemon.requests import Asked
from loader.daemon.tracing import Tracer
from loader.daemon.watching import Watch
from loader.errors import SourceError
from loader.models import Status

LOAD = "load"
"""The kind of event that a load is which somebody asked for."""
STARTING = Problem("not-ready", "cannot load yet: the daemon is starting; ask again", retry_after=1)


@dataclass
class Service:
    """What all requests share. ``trouble`` is why nothing can be loaded, if that is so."""

    config: Config
    token: str | None
    engine: Engine
    log: FilteringBoundLogger
    metrics: Metrics
    budget: Budget
    events: Events
    tracer: Tracer
    grants: Grants
    watch: Watch | None = None
    trouble: Problem | None = field(default=STARTING)

    def told(self, caller: Caller, asked: Asked, permit: Permit, answer: Answer) -> None:
        """Count a load that was asked for, and tell of it."""
        outcome = answer.outcome
        self.metrics.loaded(outcome.status)
        if answer.kind == "load":
            self.metrics.looked_up("hit" if outcome.kept else "miss")
        ok = outcome.status is Status.LOADED
        if isinstance(answer.model, Verdict):
            ok = answer.model.ok
        elif isinstance(answer.model, Plan):
            ok = ok and all(item.valid for item in answer.model.specs)
        self.events.publish(
            LOAD,
            {
                "kind": answer.kind,
                "location": asked.name if asked.text is not None else shown(permit.location),
                "text": asked.text is not None,
                "caller": caller.name,
                "status": outcome.status.value,
                "ok": ok,
                "flows": len(outcome.flows),
                "specs": len(outcome.specs),
                "seconds": answer.seconds,
                "profile": outcome.sandbox.profile,
                "kept": outcome.kept,
                "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
            },
            caller.audience,
        )


def shown(location: str) -> str:
    """A location as it is told to others: where it really is, without what may be a key."""
    try:
        return sources.display(location)
    except SourceError:
        return sources.redacted(location)
