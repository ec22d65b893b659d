"""What a Prefect server is sent and what it answers, as records of ours. Pure.

A server fills in what a schedule leaves open, and ``normal_schedule`` gives both
sides of a comparison one form.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

from loader.client.interface import DeploymentRecord, DeploymentRequest, FlowRecord, Json, ScheduleRecord
from loader.schedules import ANCHOR

DTSTART: Final = "DTSTART:20200101T000000\n"
"""What a server puts before a recurrence rule that does not say from when it counts."""
RESTORED: Final = (
    "name flow_id version description parameters parameter_openapi_schema enforce_parameter_schema tags path"
    " entrypoint pull_steps job_variables work_pool_name work_queue_name paused concurrency_options"
).split()
"""What creating a deployment again may change, beside its schedules."""
DEFAULT_QUEUE: Final = "default"
"""The queue of a work pool that takes what names none."""
SCHEDULE_KEYS: Final = ("schedule", "active", "max_scheduled_runs", "parameters", "slug")


def creation(request: DeploymentRequest) -> dict[str, Any]:
    """The body that creates a deployment, or updates it to be this and nothing else.

    Everything is said, also what is empty: a server keeps what it is not told. It is to keep a pause, and a
    limit of runs that the request does not speak of.
    """
    body = {
        "name": request.name,
        "flow_id": str(request.flow_id),
        "version": request.version,
        "description": request.description,
        "parameters": dict(request.parameters),
        "parameter_openapi_schema": None
        if request.parameter_schema is None
        else dict(request.parameter_schema),
        "enforce_parameter_schema": request.parameter_schema is not None
        if request.enforce_parameter_schema is None
        else request.enforce_parameter_schema,
        "tags": list(request.tags),
        "path": request.path,
        "entrypoint": request.entrypoint,
        "pull_steps": None if request.pull_steps is None else [dict(step) for step in request.pull_steps],
        "job_variables": dict(request.job_variables),
        "schedules": [
            {"schedule": sent_schedule(item.schedule), "active": item.active, **about(item)}
            for item in request.schedules
        ],
    }
    for key in ("concurrency_limit", "concurrency_options"):
        if key in request.model_fields_set:
            body[key] = getattr(request, key)
    if request.work_pool is not None:
        body["work_pool_name"] = request.work_pool
        if request.work_queue is not None:
            body["work_queue_name"] = request.work_queue
    if request.paused is not None:
        body["paused"] = request.paused
    return body


def about(schedule: ScheduleRecord) -> dict[str, Any]:
    """What else is said of a schedule, if it is: not every server knows of it."""
    told = {"parameters": dict(schedule.parameters), "slug": schedule.slug}
    return {key: value for key, value in told.items() if value}


def restoration(raw: Mapping[str, Any]) -> dict[str, Any]:
    """The body that makes a deployment again what the server said that it was."""
    body = {key: raw.get(key) for key in RESTORED}
    for key in ("work_pool_name", "work_queue_name"):
        if body[key] is None:
            del body[key]  # None is refused or ignored when a deployment is created
    body["concurrency_limit"] = limit_of(raw)
    body["schedules"] = [
        {key: item[key] for key in SCHEDULE_KEYS if item.get(key) is not None} for item in schedules(raw)
    ]
    return body


def deployment(raw: Mapping[str, Any], flow_name: str) -> DeploymentRecord:
    """A deployment as a server gives it. Raises KeyError, TypeError or ValueError for anything else."""
    steps, queue = raw.get("pull_steps"), raw.get("work_queue_name")
    enforced, usual = raw.get("enforce_parameter_schema"), raw.get("parameter_openapi_schema") is not None
    return DeploymentRecord(
        id=UUID(raw["id"]),
        created=raw.get("created"),
        updated=raw.get("updated"),
        flow_name=flow_name,
        name=raw["name"],
        flow_id=UUID(raw["flow_id"]),
        version=raw.get("version"),
        description=raw.get("description"),
        parameters=raw.get("parameters") or {},
        parameter_schema=raw.get("parameter_openapi_schema"),
        schedules=tuple(
            ScheduleRecord(
                schedule=normal_schedule(item["schedule"]),
                active=item["active"],
                parameters=item.get("parameters") or {},
                slug=item.get("slug"),
            )
            for item in schedules(raw)
        ),
        tags=tuple(raw.get("tags") or ()),
        path=raw.get("path"),
        entrypoint=raw.get("entrypoint"),
        pull_steps=None if steps is None else tuple(steps),
        work_pool=raw.get("work_pool_name"),
        work_queue=None if queue == DEFAULT_QUEUE else queue,
        job_variables=raw.get("job_variables") or {},
        paused=raw.get("paused") or None,
        enforce_parameter_schema=None if enforced is usual else enforced,
        concurrency_limit=limit_of(raw),
        concurrency_options=raw.get("concurrency_options"),
    )


def limit_of(raw: Mapping[str, Any]) -> int | None:
    """How many runs of a deployment there may be at a time; newer servers keep it as a limit of its own."""
    held = raw.get("global_concurrency_limit")
    limit = held["limit"] if held else raw.get("concurrency_limit")
    return None if limit is None else int(limit)


def flow(raw: Mapping[str, Any]) -> FlowRecord:
    """A flow as a server gives it. Raises KeyError, TypeError or ValueError for anything else."""
    return FlowRecord(id=UUID(raw["id"]), name=raw["name"], created=raw.get("created"))


def schedules(raw: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """A deployment's schedules in the order in which they were made: a server gives the last one first."""
    found = list(raw.get("schedules") or ())[::-1]
    return sorted(found, key=lambda item: str(item.get("created")))


# --- schedules -----------------------------------------------------------------------------------


def sent_schedule(schedule: Mapping[str, Json]) -> dict[str, Json]:
    """A schedule as a server is sent it: without what is None, and with an interval's anchor."""
    body = {key: value for key, value in schedule.items() if value is not None}
    if "interval" in body:
        body["anchor_date"] = anchor(body).isoformat()
    return body


def normal_schedule(schedule: Mapping[str, Json]) -> dict[str, Json]:
    """The one form of all schedules that mean the same: a zone is always said, the usual anchor never.

    An interval from another anchor has it in UTC, and its zone only where that is another than UTC.
    """
    zone = schedule.get("timezone") or "UTC"
    if "interval" in schedule:
        since = anchor(schedule)
        if since == ANCHOR.replace(tzinfo=ZoneInfo(zone)):
            return {"interval": float(schedule["interval"]), "timezone": zone}
        beside = {} if zone == "UTC" else {"timezone": zone}
        moment = since.astimezone(dt.UTC).isoformat()
        return {"interval": float(schedule["interval"]), "anchor_date": moment, **beside}
    if "cron" in schedule:
        day_or = schedule.get("day_or")
        return {"cron": schedule["cron"], "timezone": zone, "day_or": day_or is None or bool(day_or)}
    return {"rrule": str(schedule["rrule"]).removeprefix(DTSTART), "timezone": zone}


def anchor(schedule: Mapping[str, Json]) -> dt.datetime:
    """From when an interval is counted; one that does not say it would be counted from now by a server.

    Raises ValueError for what is no date, or an unknown zone.
    """
    try:
        zone = ZoneInfo(schedule.get("timezone") or "UTC")
    except (KeyError, OSError) as error:
        raise ValueError(f"unknown timezone {schedule['timezone']!r}") from error
    if schedule.get("anchor_date") is None:
        return ANCHOR.replace(tzinfo=zone)
    since = dt.datetime.fromisoformat(str(schedule["anchor_date"]))
    return since if since.tzinfo is not None else since.replace(tzinfo=zone)
