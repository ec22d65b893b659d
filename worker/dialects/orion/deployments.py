"""Deployment specs: each notes itself, and the line that made it; they run beside foreign code.

Making one checks each field for itself. Whether the fields hold together is for those to say who read
the spec: what only the script knows is left as a notice.
"""

from __future__ import annotations

import os
from typing import Any, Dict, Optional

from worker.dialects.orion import checks, flow_runners, functions, registry, schedules, storage
from worker.dialects.orion.flows import Flow
from worker.dialects.orion.model import Field, Model
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


class DeploymentSpec(Model):
    """What a deployment is to be."""

    name = Field(checks.optional(checks.name))
    flow = Field(checks.optional(a_flow))
    flow_name = Field(checks.optional(checks.string))
    flow_location = Field(checks.optional(location))
    flow_storage = Field(checks.optional(storage.flow_storage))
    parameters = Field(checks.optional(checks.mapping))
    schedule = Field(checks.optional(schedules.schedule))
    tags = Field(checks.optional(checks.strings))
    flow_runner = Field(flow_runners.flow_runner, flow_runners.UniversalFlowRunner)

    __hash__ = object.__hash__  # type: ignore[assignment]

    def __init__(self, **values: Any) -> None:
        super().__init__(**values)
        self._place = registry.caller()
        registry.define_spec(self, facts)

    def __eq__(self, other: object) -> bool:
        return self is other

    def validate(self, *_: Any, **__: Any) -> None:
        """Does nothing while the script is loaded: a spec is validated by those who read it."""

    def create_deployment(self, *_: Any, **__: Any) -> None:
        """Does not create anything while the script is loaded."""
        message = "create_deployment() was called while the script was loaded and created nothing"
        registry.notice("spec", message, registry.caller())


def facts(spec: DeploymentSpec) -> Dict[str, Any]:
    """What is known of a spec, by the field names of its message."""
    held = spec.dict()
    place: registry.Place = spec.__dict__["_place"]
    flow, schedule = held.pop("flow"), held["schedule"]
    if flow is not None:
        complete(held, flow, place)
    return {
        **held,
        "schedule": None if schedule is None else schedule.dict(),
        "flow_runner": flow_runners.settings(held["flow_runner"]),
        "flow_storage": storage.facts(held["flow_storage"]),
        "file": place.file,
        "line": place.line,
    }


def complete(held: Dict[str, Any], flow: Flow, place: registry.Place) -> None:
    """Fill in what the flow says; where it contradicts what was given, leave a notice."""
    name, file = vars(flow)["name"], functions.file_of(vars(flow)["fn"])
    file = abspath(file) if file is not None and isabs(file) else None
    problem: Optional[str] = None
    if held["flow_name"] is not None and held["flow_name"] != name:
        problem = f"`flow.name` and `flow_name` must match. Got {name!r} and {held['flow_name']!r}."
    elif held["flow_location"] not in (None, file) and file and "://" not in held["flow_location"]:
        problem = (
            f"The given flow location {held['flow_location']!r} does not match the path of the given flow: "
            f"'{file}'."
        )
    if problem is not None:
        registry.notice("spec", problem, place)
    held["flow_name"] = held["flow_name"] or name
    held["flow_location"] = held["flow_location"] or file
