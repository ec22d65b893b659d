"""What callers see of a check and of a scan: verdicts with their reasons."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any, Literal, Self

from loader.client.interface import DeploymentRecord
from loader.models import Flow, Model, Outcome, Spec, Status

Result = Literal["created", "updated", "would create", "would update", "invalid", "failed"]
"""What became of a spec that was to be deployed."""


class Kind(StrEnum):
    """Why the answer is no. The statuses of a load that failed are kinds, too."""

    SCRIPT_FAILED = "script_failed"
    TIMED_OUT = "timed_out"
    OUT_OF_MEMORY = "out_of_memory"
    OUTPUT_EXCEEDED = "output_exceeded"
    CRASHED = "crashed"
    VIOLATED_PROTOCOL = "violated_protocol"
    SANDBOX_UNAVAILABLE = "sandbox_unavailable"
    FLOW_MISSING = "flow_missing"
    FLOW_AMBIGUOUS = "flow_ambiguous"
    DEPLOYMENT_MISSING = "deployment_missing"
    DEPLOYMENT_AMBIGUOUS = "deployment_ambiguous"
    UNKNOWN_PARAMETER = "unknown_parameter"
    MISSING_PARAMETER = "missing_parameter"
    WRONG_PARAMETER = "wrong_parameter"
    UNUSABLE_SCHEMA = "unusable_schema"
    INVALID_SPEC = "invalid_spec"
    DRIFT = "drift"


class Reason(Model):
    """One reason. ``parameter`` is the flow's, ``field`` where in a parameter, a spec or a record it is."""

    kind: Kind
    message: str
    parameter: str | None = None
    field: str | None = None


class Verdict(Model):
    """Whether a run may go ahead, and every reason why not.

    ``status`` is that of the load. ``flow`` is the one that would run and ``spec`` the deployment spec that
    was asked for, as far as they were found: claims, as all that ``outcome`` does not call a fact.
    ``warnings`` say what could not be looked at.
    """

    status: Status
    ok: bool
    flow: Flow | None = None
    spec: Spec | None = None
    reasons: tuple[Reason, ...] = ()
    warnings: tuple[str, ...] = ()
    outcome: Outcome

    def __repr__(self) -> str:
        """Short: yes or no, what about, and the kinds of reasons."""
        kinds = ", ".join(reason.kind.value for reason in self.reasons)
        said = "ok" if self.ok else f"not ok: {kinds}"
        return f"<Verdict {self.outcome.source.location!r}: {said}>"


class Recorded(Model):
    """What is written down of a deployment somewhere; null is what is not, and is not compared.

    ``name`` is its flow's, ``entrypoint`` is ``file.py:function``, ``parameters`` are what its runs get.
    """

    name: str | None = None
    version: str | None = None
    parameter_schema: Mapping[str, Any] | None = None
    parameters: Mapping[str, Any] = {}
    entrypoint: str | None = None

    @classmethod
    def of(cls, record: DeploymentRecord) -> Self:
        """What a registry's record says."""
        return cls(
            name=record.flow_name,
            version=record.version,
            parameter_schema=record.parameter_schema,
            parameters=record.parameters,
            entrypoint=record.entrypoint,
        )

    @property
    def function(self) -> str | None:
        """The function of the entrypoint."""
        file, _, function = posixpath.basename(self.entrypoint or "").rpartition(":")
        return function if file else None


class Scanned(Model):
    """One script or manifest of a scan.

    ``status`` is that of its load, or ``usage`` for what could not be read: ``problem`` then says why and
    ``outcome`` is null. ``specs`` has a verdict on each spec of the outcome, in order. ``ok`` is that it
    loads and all its specs are valid, or that it holds nothing at all. ``seconds`` is what all of that took.
    """

    location: str
    status: str
    ok: bool
    seconds: float = 0.0
    outcome: Outcome | None = None
    specs: tuple[Judged, ...] = ()
    problem: str | None = None

    def __repr__(self) -> str:
        """Short: where, and how it ended."""
        return f"<Scanned {self.location!r}: {self.status}{'' if self.ok else ', not ok'}>"


class Judged(Model):
    """The verdict on one spec of a script or manifest."""

    spec: Spec
    valid: bool
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


class Planned(Judged):
    """The verdict on one spec, when it runs next, and what became of it.

    ``next_runs`` are moments as in ``2026-01-31T09:00:00+01:00``; none where they cannot be found in time.
    ``result`` is null unless it was to be deployed; ``failure`` says why it failed.
    """

    next_runs: tuple[str, ...] = ()
    result: Result | None = None
    id: str | None = None
    failure: str | None = None


class Plan(Model):
    """What was read, and what there is to say of each of its specs, in order.

    ``api`` is where they were to be deployed, and null unless they were.
    """

    outcome: Outcome
    specs: tuple[Planned, ...] = ()
    api: str | None = None

    def data(self) -> dict[str, Any]:
        """The outcome, whose specs also say what there is to say of them, as the command prints it."""
        told = self.model_dump(mode="json")
        new = () if self.api is not None else ("result", "id", "failure")
        specs = [{**item.pop("spec"), **without(item, new)} for item in told["specs"]]
        return {**told["outcome"], "specs": specs, **({} if self.api is None else {"api": self.api})}

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Self:
        """The plan that ``data`` made such a mapping of. Raises ValidationError."""
        names = [name for name in Planned.model_fields if name != "spec"]
        rows = data.get("specs")
        specs = [
            {**{name: row[name] for name in names if name in row}, "spec": without(row, names)}
            for row in (rows if isinstance(rows, list) else ())
            if isinstance(row, dict)
        ]
        outcome = {**without(data, ("api",)), "specs": [item["spec"] for item in specs]}
        return cls.model_validate({"outcome": outcome, "specs": specs, "api": data.get("api")})


def without(row: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """A mapping without some of its names."""
    left_out = set(names)
    return {name: value for name, value in row.items() if name not in left_out}


class Slow(Model):
    """A file that took long."""

    location: str
    seconds: float


class Twice(Model):
    """A name that several files use: of flows, or of one flow's deployments as in ``flow/name``."""

    kind: str
    name: str
    places: tuple[str, ...]


class Summary(Model):
    """A scan so far. ``complete`` is whether all of it was looked at.

    ``statuses`` counts the files that may hold a flow by how their load ended; ``skipped`` counts what was
    not loaded: ``no_flow`` mention none, ``ignored`` are left out by name or by an ignore file (a folder
    counts once), ``link`` are symbolic links, ``special`` are no regular files. ``empty`` files loaded and
    hold nothing.
    """

    complete: bool
    ok: int
    failed: int
    empty: int
    statuses: Mapping[str, int]
    flows: int
    specs: int
    skipped: Mapping[str, int]
    slowest: tuple[Slow, ...]
    twice: tuple[Twice, ...]
    seconds: float
