"""What a client is told of a deployment of a ``prefect.yaml``, as ``prefect deploy`` tells it. Pure.

Nothing is filled in here: what a worker fills in before a run stays as it is, and what only
``prefect deploy`` could fill in is refused.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

from loader.client.interface import DeploymentRequest, ScheduleRecord
from loader.errors import SpecValidationError
from loader.packing import STEPS, Step, parts, told
from loader.prefect_part import PrefectPart
from loader.validation import ValidSpec

IN_IMAGE = "/opt/prefect"
"""Where the project lies in a container's image unless pull steps say otherwise."""
AT_RUN = ("prefect.", "ctx.")
"""How the names of templates begin that a worker fills in before each run."""


def request(
    valid: ValidSpec, part: PrefectPart, flow_id: Any, folder: str, pool: str | None
) -> DeploymentRequest:
    """What a client is told. ``folder`` is the project's; ``pool`` goes before the work pool of the file."""
    spec, flow = valid.spec, valid.flow
    steps = steps_of(part, folder)
    return DeploymentRequest(
        name=spec.name or flow.name,
        flow_id=flow_id,
        version=part.version or flow.version,
        description=part.description or flow.description,
        parameters=spec.parameters or {},
        parameter_schema=flow.parameters,
        enforce_parameter_schema=part.enforce_parameter_schema,
        schedules=tuple(
            ScheduleRecord(
                schedule=told(item.schedule.plain()),
                active=item.active,
                parameters=item.parameters,
                slug=item.slug,
            )
            for item in part.schedules
        ),
        tags=spec.tags or (),
        path=folder if part.pull is None else None,
        entrypoint=part.entrypoint,
        pull_steps=steps,
        work_pool=pool or part.work_pool,
        work_queue=part.work_queue,
        job_variables=part.job_variables,
        paused=part.paused,
        concurrency_limit=part.concurrency_limit,
        concurrency_options=part.concurrency_options,
    )


def steps_of(part: PrefectPart, folder: str) -> tuple[Step, ...]:
    """How a worker gets the project: as the file says, or else from where it is, or in its image."""
    if part.pull is not None:
        return part.pull
    if part.builds:
        folder = f"{IN_IMAGE}/{os.path.basename(folder)}"
    elif part.job_variables.get("image"):
        folder = IN_IMAGE
    return ({f"{STEPS}.set_working_directory": {"directory": folder}},)


def check(valid: ValidSpec, part: PrefectPart, folder: str) -> None:
    """Raise SpecValidationError for templates that nobody would fill in, or not as they are meant."""
    spec = valid.spec
    texts: Mapping[str, Any] = {
        "name": spec.name,
        "version": part.version,
        "description": part.description,
        "tags": spec.tags,
        "work_pool": (part.work_pool, part.work_queue),
        "parameters": spec.parameters,
        "schedules": [(item.slug, item.parameters) for item in part.schedules],
    }
    wrong = [(field, name) for field, value in texts.items() for name in templates(value)]
    wrong += [
        ("job_variables", name) for name in templates(part.job_variables) if not name.startswith(AT_RUN)
    ]
    known: set[str] = set()
    for step in part.pull or ():
        for name in templates(step):
            if not name.startswith((*AT_RUN, "$")) and name.partition(".")[0] not in known:
                wrong.append(("pull", name))
        known |= {value["id"] for value in step.values() if isinstance(value, Mapping) and "id" in value}
    if part.pull is None and any(templates(folder)):
        wrong.append(("folder", folder))
    if wrong:
        said = ", ".join(f"{name[:100]!r} in {field}" for field, name in wrong[:5])
        raise SpecValidationError(
            f"cannot deploy {spec.name!r} to a Prefect server: templates are not filled in here ({said});"
            " write them out, or use `prefect deploy`"
        )


def templates(value: Any) -> Iterator[str]:
    """What stands between braces in the texts of a plain value."""
    for item in parts(value):
        if isinstance(item, str):
            yield from between(item)


def between(text: str) -> Iterator[str]:
    """What stands between braces in a text."""
    start = text.find("{{")
    while start >= 0 and (end := text.find("}}", start + 2)) >= 0:
        yield text[start + 2 : end].strip()
        start = text.find("{{", end + 2)
