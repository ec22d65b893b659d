"""Deployments that a script makes with an installed Prefect, as specs; this runs beside foreign code.

Making one is allowed: it is an object. What would register it somewhere is put out of force elsewhere.
"""

from __future__ import annotations

import inspect
import os
from functools import partial, wraps
from typing import Any, Dict, List, Optional, Tuple

from worker.dialects import functions, registry
from worker.dialects.prefect import installed
from worker.dialects.prefect.facts import facts as flow_facts
from worker.plain import described, exact, text
from worker.pristine import BUILTINS

__builtins__ = BUILTINS

CLASSES = ("deployments.runner:RunnerDeployment", "deployments.deployments:Deployment")
RENAMED = {"global_limit": "concurrency_limit"}
"""Arguments of ``serve`` that the constructor of deployments calls otherwise."""
abspath, join, isabs, getcwd = os.path.abspath, os.path.join, os.path.isabs, os.getcwd
signature = inspect.signature


class Made:
    """The flow of each deployment, by the deployment's identity; both are kept alive."""

    flows: Dict[int, Tuple[Any, Any]] = {}  # noqa: RUF012 - one load at a time
    sources: Dict[int, str] = {}  # noqa: RUF012 - the same


def watch() -> None:
    """Note each deployment from now on, when it is made."""
    for path in CLASSES:
        kind = installed.thing(path)
        if kind is not None:
            watch_class(kind)


def watch_class(kind: Any) -> None:
    """Note what one class makes, and for which flow."""
    construct = kind.__init__

    @wraps(construct)
    def __init__(self: Any, *args: Any, **values: Any) -> None:  # noqa: N807 - it takes that one's place
        construct(self, *args, **values)
        place = registry.caller()
        registry.define_spec(self, partial(facts, place), detail)

    kind.__init__ = __init__
    if hasattr(kind, "_set_defaults_from_flow"):
        settle = kind._set_defaults_from_flow  # noqa: SLF001 - where a deployment meets its flow

        @wraps(settle)
        def settled(self: Any, flow: Any) -> Any:
            Made.flows[id(self)] = (self, flow)
            return settle(self, flow)

        kind._set_defaults_from_flow = settled  # noqa: SLF001 - the same


def facts(place: registry.Place, deployment: Any) -> Dict[str, Any]:
    """What is known of a deployment, by the field names of a spec's message."""
    schedules = schedules_of(deployment)
    if len(schedules) > 1:
        message = f"deployment {deployment.name!r} has {len(schedules)} schedules; the first is told"
        registry.notice("spec", message, place)
    return {
        "name": deployment.name,
        "flow_name": deployment.flow_name,
        "flow_location": location(deployment),
        "parameters": deployment.parameters or {},
        "schedule": schedules[0] if schedules else None,
        "tags": deployment.tags,
        "file": place.file,
        "line": place.line,
    }


def detail(deployment: Any) -> Dict[str, Any]:
    """What deploying a spec needs beyond its facts, by the field names of its message."""
    _, flow = Made.flows.get(id(deployment), (None, None))
    parameters = deployment.parameters or {}
    untold = [
        f"the parameter {name!r} has no JSON form: {described(value)}; use plain data or a pydantic model"
        for name, value in parameters.items()
        if not exact(value)[1]
    ]
    return {"flow": None if flow is None else flow_facts(flow), "flow_storage": None, "problems": untold}


def location(deployment: Any) -> Optional[str]:
    """The script that holds the deployment's flow: an absolute path where it is a local one."""
    _, flow = Made.flows.get(id(deployment), (None, None))
    if id(deployment) in Made.sources:
        return Made.sources[id(deployment)]
    entrypoint = getattr(deployment, "entrypoint", None)
    stored = getattr(deployment, "storage", None)
    if type(entrypoint) is str and ":" in entrypoint and stored is None:
        path, _, _ = entrypoint.rpartition(":")
        base = getattr(deployment, "path", None)
        if path.endswith(".py"):
            return abspath(join(base if type(base) is str and isabs(base) else getcwd(), path))
    if flow is not None:
        file = functions.file_of(vars(flow)["fn"])
        return abspath(file) if file is not None and isabs(file) else None
    return entrypoint if type(entrypoint) is str else None


def schedules_of(deployment: Any) -> List[Dict[str, Any]]:
    """A deployment's schedules in our plain form."""
    held = getattr(deployment, "schedules", None)
    single = getattr(deployment, "schedule", None)
    items = list(held) if held else [single] if single is not None else []
    bare = [getattr(item, "schedule", item) for item in items]
    return [form for form in map(plain_schedule, bare) if form is not None]


def plain_schedule(schedule: Any) -> Optional[Dict[str, Any]]:
    """An interval, cron or rrule schedule of any generation in our plain form."""
    zone = getattr(schedule, "timezone", None)
    zone = None if zone is None else text(zone)
    if getattr(schedule, "interval", None) is not None:
        anchor = getattr(schedule, "anchor_date", None)
        told = {"interval": schedule.interval, "timezone": zone}
        return {**told, "anchor_date": None if anchor is None else anchor.isoformat()}
    if getattr(schedule, "cron", None) is not None:
        return {"cron": schedule.cron, "timezone": zone, "day_or": bool(getattr(schedule, "day_or", True))}
    if getattr(schedule, "rrule", None) is not None:
        return {"rrule": schedule.rrule, "timezone": zone}
    return None


def register(flow: Any, asked: Dict[str, Any]) -> None:
    """Make the deployment that ``serve`` or ``deploy`` of a flow was ``asked`` to register."""
    name = asked.get("name") or flow.name
    kind = installed.thing(CLASSES[0])
    accepted = signature(kind.from_flow).parameters
    given = {RENAMED.get(key, key): value for key, value in asked.items() if value is not None}
    kept = {key: value for key, value in given.items() if key in accepted and key not in ("flow", "name")}
    kind.from_flow(flow, name=stem(str(name)), **kept)


def remote(flow: Any, asked: Dict[str, Any]) -> Any:
    """The deployment of a flow at a source that is not fetched."""
    kind = installed.thing(CLASSES[0])
    schedule = kind._construct_deployment_schedules  # noqa: SLF001 - as its constructors do
    told = {key: value for key, value in asked.items() if key in signature(schedule).parameters}
    fields = getattr(kind, "model_fields", None) or kind.__fields__
    kept = {key: value for key, value in asked.items() if key in fields and value is not None}
    deployment = kind(**{**kept, "entrypoint": flow.entrypoint, "schedules": schedule(**told)})
    Made.sources[id(deployment)] = flow.source
    Made.flows[id(deployment)] = (deployment, None)
    return deployment


def stem(name: str) -> str:
    """A name; of a script's path, as ``__file__`` is, its last part without its ending."""
    return os.path.splitext(os.path.basename(name))[0] if os.sep in name and os.path.isfile(name) else name
