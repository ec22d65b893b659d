"""What a worker says of deployment specs, as specs: nothing of it is believed, nothing is lost. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import zip_longest
from typing import Any

from pydantic import ValidationError

from loader import lineage
from loader.interpreters import ORION
from loader.models import Outcome
from loader.schedules import CLAIMED
from loader.sources import Origin, shown
from loader.specs import DeploymentSpec, dotted, mistakes
from loader.storage import StorageBlock
from worker.protocol import Detail, Spec

NOTHING = Detail()
PROCESS = {"type": "subprocess"}
"""How a flow of an installed Prefect runs unless its work pool says otherwise: in a process of its own."""
UNSAID = frozenset({"flow", "flow_runner"})
"""Fields that a spec of which they are not said leaves out."""


def specs_of(outcome: Outcome, origin: Origin | None) -> list[DeploymentSpec]:
    """The specs that a script made, in order. ``origin`` is the folder that their words may lead below."""
    usual = None if outcome.dialect is None or outcome.dialect.name == ORION else PROCESS
    pairs = zip_longest(outcome.specs, outcome.details, fillvalue=NOTHING)
    return [spec_of(claim, detail, origin, usual) for claim, detail in pairs if isinstance(claim, Spec)]


def spec_of(
    claim: Spec, detail: Any, origin: Origin | None, usual: Mapping[str, Any] | None
) -> DeploymentSpec:
    """One spec. A field that cannot be used is left out, and what is wrong with it is among its problems."""
    given = {
        "name": claim.name,
        "flow": detail.flow,
        "flow_name": claim.flow_name,
        "flow_location": claim.flow_location,
        "flow_storage": detail.flow_storage,
        "parameters": claim.parameters,
        "schedule": claim.schedule,
        "tags": claim.tags,
        "flow_runner": claim.flow_runner or usual,
    }
    spec, problems = lenient(given)
    return spec.at(claim.file, claim.line, origin=origin, problems=(*detail.problems, *problems))


def lenient(given: Mapping[str, Any]) -> tuple[DeploymentSpec, tuple[str, ...]]:
    """The spec of the fields that can be used, and what is wrong with the others."""
    said = {name: value for name, value in given.items() if name not in UNSAID or value is not None}
    try:
        return DeploymentSpec.model_validate(said, context=dict(CLAIMED)), ()
    except ValidationError as error:
        found = mistakes(error)
    wrong = {path[0] for path, _ in found if path}
    kept = {name: value for name, value in said.items() if name not in wrong}
    return DeploymentSpec.model_validate(kept, context=dict(CLAIMED)), tuple(
        f"{dotted(path)}: {message}" for path, message in found
    )


def told(spec: DeploymentSpec) -> Spec:
    """A spec as an outcome lists it: plain, and its secrets masked, those in its location too."""
    runner = spec.flow_runner.settings() if hasattr(spec.flow_runner, "settings") else dict(spec.flow_runner)
    storage, part = spec.flow_storage, spec.prefect
    listed = Spec(
        name=spec.name,
        flow_name=spec.flow_name,
        flow_location=spec.flow_location and shown(spec.flow_location),
        parameters=dict(spec.parameters or {}),
        schedule=None if spec.schedule is None else spec.schedule.plain(),
        tags=spec.tags or (),
        flow_runner=runner if part is None else None,
        flow_storage=None
        if part
        else storage.masked()
        if isinstance(storage, StorageBlock)
        else storage and str(storage),
        file=spec.file,
        line=spec.line,
        prefect=None if part is None else part.listed(),
    )
    return lineage.found_in(listed, spec.origin or lineage.NOWHERE)
