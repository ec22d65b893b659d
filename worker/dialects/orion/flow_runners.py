"""Where a deployment's runs happen: the flow runners and their settings; they run beside foreign code."""

from __future__ import annotations

from typing import Any, Dict

from worker.dialects.orion import checks
from worker.dialects.orion.model import Model, declared
from worker.fields import RUNNERS, SETTINGS, Declared
from worker.pristine import BUILTINS

__builtins__ = BUILTINS

BASE = {"typename": Declared("string", required=True)}


class FlowRunnerSettings(Model, fields=declared(SETTINGS)):
    """A runner as its type's name and its configuration."""


class FlowRunner(Model, fields=declared(BASE)):
    """Base of the runners; no deployment can use it as it is."""

    def to_settings(self) -> FlowRunnerSettings:
        """The runner as settings."""
        config = {name: value for name, value in self.dict().items() if name != "typename"}
        return FlowRunnerSettings(type=self.__dict__["typename"], config=config)


class UniversalFlowRunner(FlowRunner, fields=declared(RUNNERS["universal"])):
    """Wherever an agent can."""


class SubprocessFlowRunner(UniversalFlowRunner, fields=declared(RUNNERS["subprocess"])):
    """In a process beside the agent."""

    def check(self) -> None:
        """At most one environment."""
        if self.__dict__["condaenv"] and self.__dict__["virtualenv"]:
            raise ValueError(
                "Received incompatible settings. You cannot provide both a conda and virtualenv to use."
            )


class DockerFlowRunner(UniversalFlowRunner, fields=declared(RUNNERS["docker"])):
    """In a container."""


class KubernetesFlowRunner(UniversalFlowRunner, fields=declared(RUNNERS["kubernetes"])):
    """In a Kubernetes job."""


KINDS: Dict[str, type] = {
    "universal": UniversalFlowRunner,
    "subprocess": SubprocessFlowRunner,
    "docker": DockerFlowRunner,
    "kubernetes": KubernetesFlowRunner,
}


def flow_runner(value: Any) -> Any:
    """A runner, the name of one, its settings, or a dict of those."""
    if isinstance(value, (FlowRunner, FlowRunnerSettings)):
        return value
    if isinstance(value, str) and value in KINDS:
        return KINDS[value]()
    if isinstance(value, dict):
        return FlowRunnerSettings(**checks.mapping(value))
    raise TypeError(f"a flow runner or its settings are due, not {checks.shown(value)}")


def settings(runner: Any) -> Dict[str, Any]:
    """A runner as ``{type, config}``. The base class has no type: it is refused when a spec is validated."""
    if isinstance(runner, FlowRunner):
        told = runner.to_settings().dict()
        return {**told, "type": None} if type(runner) is FlowRunner else told
    return {"type": runner.type, "config": runner.config or {}}
