"""What a client is told of a deployment, made of a spec that was validated. Pure.

A Prefect server has no storage blocks of ours: it is told where the script is, and by which of Prefect's own
pull steps a worker gets it. Source of the steps: ``prefect.deployments.steps`` of Prefect 3 and those of its
collections ``prefect-aws``, ``prefect-gcp`` and ``prefect-azure``.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from loader.client.interface import DataDocument, DeploymentRequest, Json, ScheduleRecord
from loader.errors import SpecValidationError
from loader.flow_runners import KINDS as RUNNERS
from loader.flow_runners import FlowRunnerBase
from loader.sources import basename_of, folder_of, shown
from loader.validation import ValidSpec

STEPS = "prefect.deployments.steps"
PULLS: Mapping[str, tuple[str, str, str]] = MappingProxyType(
    {
        "s3": ("prefect_aws.deployments.steps.pull_from_s3", "prefect-aws>=0.3.4", "bucket"),
        "gs": ("prefect_gcp.deployments.steps.pull_from_gcs", "prefect-gcp>=0.4.3", "bucket"),
        "az": (
            "prefect_azure.deployments.steps.pull_from_azure_blob_storage",
            "prefect-azure>=0.2.8",
            "container",
        ),
    }
)
"""Scheme → the step that fetches a folder of it, what a worker must have installed, and the place's name."""
SAME = {"gcs": "gs", "abfs": "az", "abfss": "az"}
EXPANDED = ("{{", "}}")
"""What a Prefect worker takes for a place in a pull step that is to be filled in."""
KIND = "__prefect_kind"
"""The key by which a Prefect server takes a parameter for something that it is to work out."""
FUNCTION = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")
"""The name of a function, or of a method with its class."""
Step = Mapping[str, Json]


def request(
    valid: ValidSpec,
    flow_id: Any,
    flow_data: DataDocument | None = None,
    folder: str | None = None,
    **more: Any,
) -> DeploymentRequest:
    """What a client is told. ``folder`` is where a worker finds the script, its own folder by default.

    ``more`` are further fields of a request.
    """
    spec, flow = valid.spec, valid.flow
    location = spec.flow_location or ""
    return DeploymentRequest(
        name=spec.name or flow.name,
        flow_id=flow_id,
        version=flow.version,
        description=flow.description,
        parameters=spec.parameters or {},
        parameter_schema=flow.parameters,
        schedules=() if spec.schedule is None else (ScheduleRecord(schedule=told(spec.schedule.plain())),),
        tags=spec.tags or (),
        flow_runner=valid.runner.settings(),
        flow_data=flow_data,
        path=folder or folder_of(location),
        entrypoint=entrypoint(location, flow.bound),
        job_variables=job_variables(valid.runner),
        **more,
    )


def entrypoint(location: str, function: str | None) -> str | None:
    """``file.py:function``; None where the function has no name by which it could be found."""
    if function is None or not FUNCTION.fullmatch(function):
        return None
    return f"{basename_of(location)}:{function}"


def told(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values that are given."""
    return {name: value for name, value in values.items() if value is not None}


def job_variables(runner: FlowRunnerBase) -> dict[str, Any]:
    """A runner's settings that differ from the usual ones, as a work pool calls them: by the same names."""
    usual = RUNNERS[runner.kind]().settings()["config"]
    config: dict[str, Any] = runner.settings()["config"]
    return {name: value for name, value in config.items() if value != usual[name]}


def check_for_server(valid: ValidSpec) -> None:
    """Raise SpecValidationError for what a Prefect server or its workers would not take as it is written."""
    cannot = f"cannot deploy {valid.spec.name!r} to a Prefect server"
    if valid.spec.prefect is None and entrypoint(valid.spec.flow_location or "", valid.flow.bound) is None:
        raise SpecValidationError(f"{cannot}: its flow's function has no name; define it with def")
    if any(KIND in item for item in parts(valid.spec.parameters) if isinstance(item, Mapping)):
        raise SpecValidationError(
            f"{cannot}: it would work out the parameter that has the key {KIND!r}; give its value"
        )
    settings = [item for item in parts(job_variables(valid.runner)) if isinstance(item, str)]
    if any(mark in item for item in settings for mark in EXPANDED):
        raise SpecValidationError(
            f"{cannot}: it would fill in what stands between braces in a setting of its flow runner; give it"
        )


def parts(value: Any) -> Iterator[Any]:
    """A plain value, and everything in it."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        yield item
        if isinstance(item, Mapping):
            waiting += item.values()
        elif isinstance(item, (list, tuple)):
            waiting += item


def kept_as(valid: ValidSpec, content: bytes) -> str:
    """The name under which a script is kept for a worker to pull: in a folder of its own."""
    digest = hashlib.sha256(content).hexdigest()
    return f"{digest}/{basename_of(valid.spec.flow_location or '') or 'flow.py'}"


def steps_to(location: str, spec: ValidSpec) -> tuple[Step, ...]:
    """How a Prefect worker gets the folder at a location. Raises SpecValidationError where it cannot."""
    if any(mark in location for mark in EXPANDED):
        raise SpecValidationError(
            f"cannot deploy {spec.spec.name!r} to a Prefect server: it would fill in what stands between"
            f" braces in {shown(location)!r}; rename the folder"
        )
    if "://" not in location:
        return ({f"{STEPS}.set_working_directory": {"directory": location}},)
    parts = urlsplit(location)
    scheme = SAME.get(parts.scheme, parts.scheme)
    if scheme in PULLS:
        step, requires, place = PULLS[scheme]
        return ({step: {"requires": requires, place: parts.netloc, "folder": parts.path.strip("/")}},)
    if scheme == "github":
        return github_steps(location)
    raise SpecValidationError(
        f"cannot deploy {spec.spec.name!r} to a Prefect server: its workers cannot fetch {shown(location)};"
        " give it storage in a bucket, or load it from a folder"
    )


def github_steps(location: str) -> tuple[Step, ...]:
    """How a worker gets a folder of ``github://owner:repository@ref/folder``."""
    place, _, folder = location.removeprefix("github://").partition("/")
    names, _, ref = place.partition("@")
    owner, _, repository = names.partition(":")
    clone = told({"repository": f"https://github.com/{owner}/{repository}.git", "branch": ref or None})
    steps: tuple[Step, ...] = ({f"{STEPS}.git_clone": {"id": "clone", **clone}},)
    if folder:
        directory = f"{{{{ clone.directory }}}}/{folder}"
        steps += ({f"{STEPS}.set_working_directory": {"directory": directory}},)
    return steps
