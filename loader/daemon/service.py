"""What all requests share: configuration, engine, log, metrics, and what is in the way of loading."""

from __future__ import annotations

from dataclasses import dataclass, field

from structlog.typing import FilteringBoundLogger

from loader.daemon.bodies import Budget
from loader.daemon.config import Config
from loader.daemon.engine import Answer, Engine
from loader.daemon.metrics import Metrics
from loader.daemon.problems import Problem

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
    trouble: Problem | None = field(default=STARTING)

    def told(self, answer: Answer) -> None:
        """Count a load that was asked for."""
        self.metrics.loaded(answer.outcome.status)
