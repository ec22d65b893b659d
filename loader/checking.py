"""One question before a run and one answer: it loads, it is this flow, the parameters fit, nothing drifted.

Nothing is deployed or run. Every reason is told, not only the first; what a load that failed leaves open is
not guessed at.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from loader import batches, deploying, sources
from loader.access import DEFAULT, Access
from loader.answers import Kind, Reason, Recorded, Verdict
from loader.batches import Batch
from loader.batches import Verdict as SpecVerdict
from loader.client.interface import Client, DeploymentRecord
from loader.deploying import Deployer
from loader.drift import drifted
from loader.errors import (
    MissingDeploymentError,
    MissingFlowError,
    SandboxUnavailable,
    SelectionError,
    UnspecifiedFlowError,
)
from loader.finding import BATCH_SECONDS, Finder, bound
from loader.fitting import Fit
from loader.flow_loader import FlowLoader
from loader.models import Flow, Outcome, Spec, Status
from loader.raising import exception, holds_nothing
from loader.selection import distinct, select_deployment, select_flow
from loader.sources import Origin, Script
from loader.sources.entrypoints import split
from loader.sources.script import Identity
from loader.storage import StorageBlock

WORKED_OUT = "__prefect_kind"
"""A key of values that a Prefect server works out before a run."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is asked. ``script`` is what was read already, and ``location`` then only what it is called.

    ``flow`` is a flow's name or function, ``function`` what an entrypoint calls it: no part of ``location``
    then does. ``deployment`` is a spec's name, or with its flow's as in ``flow/name``. ``recorded`` is what a
    registry holds of that deployment; the script then need not have a spec of it. ``shown`` is what messages
    call the location. ``folder`` is the device and the inode of the folder that the location must lie in.
    ``seconds`` is after how long no more scripts are run.
    """

    location: str
    script: Script | None = None
    folder: Identity | None = None
    flow: str | None = None
    function: str | None = None
    deployment: str | None = None
    parameters: Mapping[str, Any] | None = None
    recorded: Recorded | None = None
    client: Client | None = None
    storage: StorageBlock | None = None
    timeout: float | None = None
    root: Origin | None = None
    access: Access = DEFAULT
    shown: str | None = None
    seconds: float = BATCH_SECONDS


def question(
    location: str | os.PathLike[str],
    *,
    root: str | os.PathLike[str] | None = None,
    recorded: Recorded | DeploymentRecord | None = None,
    text: str | bytes | None = None,
    **asked: Any,
) -> Question:
    """The question that a caller asks. Raises SourceError, also for a ``text`` that is too large."""
    told = Recorded.of(recorded) if isinstance(recorded, DeploymentRecord) else recorded
    return Question(
        location=os.fspath(location),
        script=None if text is None else sources.from_text(text, os.fspath(location)),
        root=sources.pinned(root),
        recorded=told,
        **asked,
    )


def answer(loader: FlowLoader, asked: Question, wake: int | None = None) -> Verdict:
    """The verdict. Raises SourceError, ProfileError, ClientError, LoaderClosed."""
    location, behind = asked.location, asked.function
    if behind is None and asked.script is None:
        location, behind = split(location, asked.root)
    finder = Finder(loader, asked.access, asked.timeout, asked.root, wake=wake, seconds=asked.seconds)
    if asked.deployment is None and not batches.is_manifest(location):
        script = asked.script or sources.read(location, asked.root, asked.access, asked.folder)
        batch = Batch(finder.run_main(script), ())
    else:
        with deploying.at(asked.client) as client:
            deployer = Deployer(client, finder, storage=asked.storage)
            try:
                if asked.script is not None:
                    batch = batches.of_script(asked.script, deployer)
                else:
                    batch = batches.judge(location, deployer, asked.folder)
            except SandboxUnavailable as unavailable:
                batch = Batch(unavailable.outcome, ())
    shown = location if asked.shown is None else asked.shown.removesuffix(f":{behind}")
    return verdict(batch, replace(asked, location=shown), behind)


def verdict(batch: Batch, asked: Question, behind: str | None = None) -> Verdict:
    """What is to be said of what was loaded. Pure. ``behind`` is the flow that the location names."""
    outcome = batch.outcome
    failed = load_failed(outcome)
    if failed is not None:
        return Verdict(status=outcome.status, ok=False, reasons=(failed,), outcome=outcome)
    reasons: list[Reason] = []
    warnings: tuple[str, ...] = ()
    flow: Flow | None = None
    told: SpecVerdict | None = None
    try:
        told = chosen_spec(batch, asked)
        flow = chosen_flow(batch, asked, behind, told)
    except SelectionError as error:
        reasons.append(unselected(error, outcome))
    spec = told.listed if told else None
    if told is not None:
        reasons += [
            Reason(kind=Kind.INVALID_SPEC, message=problem, field=told.listed.name)
            for problem in told.problems
        ]
    if flow is not None:
        if asked.recorded is not None:
            own = spec.prefect.get("version") if spec and spec.prefect else None
            reasons += drifted(asked.recorded, replace(flow, version=own or flow.version))
        found, warnings = fitting(asked, flow, spec)
        reasons += found
    return Verdict(
        status=outcome.status,
        ok=not reasons,
        flow=flow,
        spec=spec,
        reasons=tuple(reasons),
        warnings=warnings,
        outcome=outcome,
    )


def load_failed(outcome: Outcome) -> Reason | None:
    """The reason why nothing more can be said; that a script holds nothing leads to a better one."""
    if outcome.status is Status.LOADED or holds_nothing(outcome):
        return None
    frames = outcome.error.frames if outcome.error else ()
    place = f"{frames[-1].file}:{frames[-1].line}" if frames else None
    return Reason(kind=Kind(outcome.status.value), message=str(exception(outcome)), field=place)


def unselected(error: SelectionError, outcome: Outcome) -> Reason:
    """The reason for what is not there, or there more than once."""
    missing = isinstance(error, MissingFlowError | MissingDeploymentError)
    of_flow = isinstance(error, MissingFlowError | UnspecifiedFlowError)
    if of_flow:
        kind = Kind.FLOW_MISSING if missing else Kind.FLOW_AMBIGUOUS
    else:
        kind = Kind.DEPLOYMENT_MISSING if missing else Kind.DEPLOYMENT_AMBIGUOUS
    hint = outcome.error.hint if outcome.error and holds_nothing(outcome) else None
    return Reason(kind=kind, message=str(error) + (f" {hint}" if hint else ""))


def chosen_spec(batch: Batch, asked: Question) -> SpecVerdict | None:
    """The spec that is asked for, with its own verdict. Raises SelectionError.

    A deployment that is recorded may have been made of a spec that is elsewhere.
    """
    of_manifest = batches.is_manifest(asked.location) and asked.script is None
    if asked.deployment is None and not of_manifest:
        return None
    flow, _, name = (asked.deployment or "").rpartition("/")
    where = f"in {sources.shown(asked.location)!r}"
    try:
        chosen = select_deployment(
            [item.listed for item in batch.verdicts], name or None, flow or asked.flow, where
        )
    except MissingDeploymentError:
        if asked.recorded is not None and not of_manifest:
            return None
        raise
    return next(item for item in batch.verdicts if item.listed is chosen)


def chosen_flow(batch: Batch, asked: Question, behind: str | None, told: SpecVerdict | None) -> Flow | None:
    """The flow that would run. Raises SelectionError."""
    if batches.is_manifest(asked.location) and asked.script is None:
        return told.valid.flow if told and told.valid else None
    flows, where = batch.outcome.flows, f"in script {sources.shown(asked.location)!r}"
    if behind is not None:
        found = bound(flows, behind, where)
        if asked.flow not in (None, found.name, found.bound):
            raise MissingFlowError(f"cannot take {asked.flow!r} for the flow: the location names {behind!r}")
        return found
    flow, _, _ = (asked.deployment or "").rpartition("/")
    wanted = asked.flow or flow or (told.listed.flow_name if told else None)
    if asked.flow is None and asked.recorded is not None:
        return as_recorded(flows, asked.recorded, wanted, where)
    return named(flows, wanted, ("name", "bound"), where)


def named(flows: Iterable[Flow], wanted: str | None, keys: tuple[str, str], where: str) -> Flow:
    """The flow that is called so by one of the ``keys``, the first first. Raises SelectionError."""
    held = tuple(flows)
    for key in keys if wanted is not None else ():
        found = [flow for flow in held if getattr(flow, key) == wanted]
        if found:
            return select_flow(found, None, where)
    return select_flow(held, wanted, where)


def as_recorded(flows: Iterable[Flow], recorded: Recorded, wanted: str | None, where: str) -> Flow:
    """The flow that a record means: by its function, else by name, else the only one. Raises SelectionError.

    In how far it is another is for the comparison to say.
    """
    held = tuple(flows)
    for key, value in (("bound", recorded.function), ("name", wanted), ("name", recorded.name)):
        found = [flow for flow in held if value is not None and getattr(flow, key) == value]
        if found:
            return select_flow(found, None, where)
    return held[0] if len(distinct(held)) == 1 else select_flow(held, wanted or recorded.name, where)


def fitting(asked: Question, flow: Flow, spec: Spec | None) -> tuple[list[Reason], tuple[str, ...]]:
    """Whether a run's parameters fit, with those that the deployment brings; and what was not looked at."""
    if flow.parameters is None:
        return [], (f"the parameters of {flow.name[:100]} are not known and were not tried",)
    fit = Fit(flow.parameters, values=flow.validate_parameters is not False)
    brought: dict[str, Any] = {**(spec.parameters if spec else {})}
    if asked.recorded is not None:
        brought |= asked.recorded.parameters
    given = dict(asked.parameters or {})
    own = {name: value for name, value in brought.items() if name not in given}
    settled = {name: value for name, value in own.items() if not waits(value)}
    kind = Kind.INVALID_SPEC if asked.recorded is None else Kind.DRIFT
    reasons = [of_deployment(reason, kind) for reason in fit.reasons(settled)]
    reasons += fit.reasons(given)
    if asked.parameters is not None:
        reasons += fit.missing({*brought, *given})
    late = tuple(
        f"parameter {name[:100]} was not tried: a Prefect server works it out"
        for name in own
        if name not in settled
    )
    return reasons, (*fit.warnings, *late)


def waits(value: Any) -> bool:
    """Whether a value stands for one that is not known yet."""
    return isinstance(value, Mapping) and WORKED_OUT in value


def of_deployment(reason: Reason, kind: Kind) -> Reason:
    """The same reason for what the caller did not give: then the deployment does not fit its flow."""
    if reason.kind is Kind.UNUSABLE_SCHEMA:
        return reason
    message = f"{reason.message} (the deployment has it)"
    field = f"parameters.{reason.field or reason.parameter}"
    return Reason(kind=kind, message=message, parameter=reason.parameter, field=field)
