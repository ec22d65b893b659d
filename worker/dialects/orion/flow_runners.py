"""Where a deployment's runs happen: the flow runners and their settings; they run beside foreign code."""

from __future__ import annotations

from typing import Any, Dict

from worker.dialects.orion import checks
from worker.dialects.orion.model import REQUIRED, Field, Model
from worker.pristine import BUILTINS

__builtins__ = BUILTINS

PULL_POLICIES = ("IfNotPresent", "Always", "Never")


class FlowRunnerSettings(Model):
    """A runner as its type's name and its configuration."""

    type = Field(checks.optional(checks.string))
    config = Field(checks.optional(checks.mapping))


class FlowRunner(Model):
    """Base of the runners; no deployment can use it as it is."""

    typename: Any = Field(checks.string, REQUIRED)

    def to_settings(self) -> FlowRunnerSettings:
        """The runner as settings."""
        config = {name: value for name, value in self.dict().items() if name != "typename"}
        return FlowRunnerSettings(type=self.__dict__["typename"], config=config)


def typename(name: str) -> Field:
    """The field that says which runner it is: it has one value."""
    return Field(checks.one_of(name), name)


class UniversalFlowRunner(FlowRunner):
    """Wherever an agent can."""

    typename = typename("universal")
    env = Field(checks.string_mapping, dict)


class SubprocessFlowRunner(UniversalFlowRunner):
    """In a process beside the agent."""

    typename = typename("subprocess")
    stream_output = Field(checks.truth, True)
    condaenv = Field(checks.optional(checks.path))
    virtualenv = Field(checks.optional(checks.path))

    def check(self) -> None:
        """At most one environment."""
        if self.__dict__["condaenv"] and self.__dict__["virtualenv"]:
            raise ValueError(
                "Received incompatible settings. You cannot provide both a conda and virtualenv to use."
            )


class DockerFlowRunner(UniversalFlowRunner):
    """In a container."""

    typename = typename("docker")
    image = Field(checks.optional(checks.string))
    image_pull_policy = Field(
        checks.optional(checks.one_of(*PULL_POLICIES, "IF_NOT_PRESENT", "ALWAYS", "NEVER"))
    )
    networks = Field(checks.strings, list)
    network_mode = Field(checks.optional(checks.string))
    labels = Field(checks.optional(checks.string_mapping))
    auto_remove = Field(checks.truth, False)
    volumes = Field(checks.volumes, list)
    stream_output = Field(checks.truth, True)


class KubernetesFlowRunner(UniversalFlowRunner):
    """In a Kubernetes job."""

    typename = typename("kubernetes")
    image = Field(checks.optional(checks.string))
    namespace = Field(checks.string, "default")
    service_account_name = Field(checks.optional(checks.string))
    labels = Field(checks.optional(checks.string_mapping))
    image_pull_policy = Field(checks.optional(checks.one_of(*PULL_POLICIES)))
    restart_policy = Field(checks.one_of("Never", "OnFailure"), "Never")
    stream_output = Field(checks.truth, True)


def flow_runner(value: Any) -> Any:
    """A runner, its settings, or a dict of those."""
    if isinstance(value, (FlowRunner, FlowRunnerSettings)):
        return value
    if isinstance(value, dict):
        return FlowRunnerSettings(**checks.mapping(value))
    raise TypeError(f"a flow runner or its settings are due, not {checks.shown(value)}")


def settings(runner: Any) -> Dict[str, Any]:
    """A runner as ``{type, config}``. The base class has no type: it is refused when a spec is validated."""
    held = runner if isinstance(runner, FlowRunnerSettings) else runner.to_settings()
    kind = None if type(runner) is FlowRunner else held.type
    return {"type": kind, "config": held.config or {}}
