"""Deployment specs: each notes itself, and the line that made it; they run beside foreign code.

Making one checks each field for itself. Whether the fields hold together is for those to say who read
the spec: what only the script knows is left as a notice.
"""

from __future__ import annotations

import os
from typing import Any, Dict, List, Optional

from worker.dialects import functions, registry
from worker.dialects.orion import checks, flow_runners, schedules, storage
from worker.dialects.orion.flows import Flow, settled_facts
from worker.dialects.orion.model import Model, declared
from worker.fields import SPEC
from worker.plain import described, exact
from worker.pristine import BUILTINS

__builtins__ = BUILTINS

abspath, isabs = os.path.abspath, os.path.isabs


def a_flow(value: Any) -> Flow:
    """A flow."""
    if not isinstance(value, Flow):
        raise TypeError(f"a flow is due, not {checks.shown(value)}: is the function decorated with @flow?")
    return value


def location(value: Any) -> str:
    """Where a flow's script is; a local path is made absolute."""
    path = checks.path(value)
    return path if "://" in path else abspath(path)


class DeploymentSpec(
    Model,
    fields=declared(
        SPEC,
        {
            "flow": a_flow,
            "location": location,
            "flow_storage": storage.flow_storage,
            "schedule": schedules.schedule,
            "flow_runner": flow_runners.flow_runner,
        },
    ),
):
    """What a deployment is to be."""

    __hash__ = object.__hash__  # type: ignore[assignment]

    def __init__(self, **values: Any) -> None:
        super().__init__(**values)
        self._place = registry.caller()
        registry.define_spec(self, facts, detail)

    def __eq__(self, other: object) -> bool:
        return self is other

    def validate(self, *_: Any, **__: Any) -> None:
        """Does nothing while the script is loaded: a spec is validated by those who read it."""

    def create_deployment(self, *_: Any, **__: Any) -> None:
        """Does not create anything while the script is loaded."""
        message = "create_deployment() was called while the script was loaded and created nothing"
        registry.notice("spec", message, registry.caller())


def facts(spec: DeploymentSpec) -> Dict[str, Any]:
    """What is known of a spec, by the field names of its message; a contradiction in it leaves a notice."""
    held = spec.dict()
    place: registry.Place = spec.__dict__["_place"]
    flow, schedule = held.pop("flow"), held["schedule"]
    problem = contradiction(held, flow)
    if problem is not None:
        registry.notice("spec", problem, place)
    if flow is not None:
        held["flow_name"] = held["flow_name"] or vars(flow)["name"]
        held["flow_location"] = held["flow_location"] or file_of(flow)
    return {
        **held,
        "schedule": None if schedule is None else schedule.dict(),
        "flow_runner": flow_runners.settings(held["flow_runner"]),
        "flow_storage": storage.facts(held["flow_storage"]),
        "file": place.file,
        "line": place.line,
    }


def detail(spec: DeploymentSpec) -> Dict[str, Any]:
    """What deploying a spec needs beyond its facts, by the field names of its message."""
    held = spec.dict()
    problem = contradiction(held, held["flow"])
    return {
        "flow": None if held["flow"] is None else settled_facts(held["flow"]),
        "flow_storage": storage.facts(held["flow_storage"], whole=True),
        "problems": [*([problem] if problem else []), *untold(held["parameters"] or {})],
    }


def untold(parameters: Dict[str, Any]) -> List[str]:
    """What is wrong with each parameter that cannot be told whole."""
    return [
        f"the parameter {name!r} has no JSON form: {described(value)}; use plain data or a pydantic model"
        for name, value in parameters.items()
        if not exact(value)[1]
    ]


def file_of(flow: Flow) -> Optional[str]:
    """The absolute path of a flow's file, if it has one."""
    file = functions.file_of(vars(flow)["fn"])
    return abspath(file) if file is not None and isabs(file) else None


def contradiction(held: Dict[str, Any], flow: Optional[Flow]) -> Optional[str]:
    """What a spec says of its flow that the flow does not."""
    if flow is None:
        return None
    name, file, given = vars(flow)["name"], file_of(flow), held["flow_location"]
    if given not in (None, file) and file and "://" not in given:
        return f"The given flow location {given!r} does not match the path of the given flow: {file!r}."
    if held["flow_name"] is not None and held["flow_name"] != name:
        return f"`flow.name` and `flow_name` must match. Got {name!r} and {held['flow_name']!r}."
    return None
