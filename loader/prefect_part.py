"""What a deployment of a ``prefect.yaml`` says beyond what every spec can: plain data, checked elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from loader.schedules import Schedule

Json = Any
Step = Mapping[str, Json]


@dataclass(frozen=True, kw_only=True)
class Planned:
    """One of a deployment's schedules. ``parameters`` are those of its runs in place of the deployment's."""

    schedule: Schedule
    active: bool = True
    parameters: Mapping[str, Json] = field(default_factory=dict)
    slug: str | None = None

    def listed(self) -> dict[str, Json]:
        """It as JSON."""
        told = self.schedule.plain() | {"active": self.active, "slug": self.slug}
        return told | {"parameters": dict(self.parameters)}


@dataclass(frozen=True, kw_only=True)
class PrefectPart:
    """The rest of a deployment, by the names that the file has for it.

    ``module`` is the dotted name that the entrypoint gives instead of a file. ``pull`` are the steps by which
    a worker gets the project; None leaves them to whoever deploys it. Templates are texts like any other.
    ``warnings`` say what of the deployment is left out here.
    """

    entrypoint: str
    function: str
    module: str | None = None
    version: str | None = None
    description: str | None = None
    schedules: tuple[Planned, ...] = ()
    work_pool: str | None = None
    work_queue: str | None = None
    job_variables: Mapping[str, Json] = field(default_factory=dict, repr=False)
    pull: tuple[Step, ...] | None = field(default=None, repr=False)
    builds: bool = False
    paused: bool | None = None
    enforce_parameter_schema: bool | None = None
    concurrency_limit: int | None = None
    concurrency_options: Mapping[str, Json] | None = None
    warnings: tuple[str, ...] = ()

    @property
    def coming(self) -> tuple[Schedule, ...]:
        """The schedules by which it runs."""
        return () if self.paused else tuple(item.schedule for item in self.schedules if item.active)

    def listed(self) -> dict[str, Json]:
        """It as JSON: of pull steps, which may hold credentials, their names alone."""
        return {
            "entrypoint": self.entrypoint,
            "version": self.version,
            "description": self.description,
            "schedules": [item.listed() for item in self.schedules],
            "work_pool": {
                "name": self.work_pool,
                "work_queue_name": self.work_queue,
                "job_variables": dict(self.job_variables),
            },
            "pull": None if self.pull is None else [name for step in self.pull for name in step],
            "paused": self.paused,
            "enforce_parameter_schema": self.enforce_parameter_schema,
            "concurrency_limit": self.concurrency_limit,
        }
