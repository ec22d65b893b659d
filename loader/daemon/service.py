"""What all requests share: configuration, engine, log, metrics, and what is in the way of loading."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

from structlog.typing import FilteringBoundLogger

from loader.answers import Plan, Verdict
from loader.daemon.bodies import Budget
from loader.daemon.config import Config
from loader.daemon.engine import Answer, Engine
from loader.daemon.events import Events
from loader.daemon.metrics import Metrics
from loader.daemon.problems import Problem
from loader.daemon.tracing import Tracer
from loader.daemon.watching import Watch
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
    watch: Watch | None = None
    trouble: Problem | None = field(default=STARTING)

    def told(self, answer: Answer) -> None:
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
                "location": outcome.source.location,
                "status": outcome.status.value,
                "ok": ok,
                "flows": len(outcome.flows),
                "specs": len(outcome.specs),
                "seconds": answer.seconds,
                "profile": outcome.sandbox.profile,
                "kept": outcome.kept,
                "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
            },
        )
