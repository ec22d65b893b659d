"""Where a deployment's runs happen: the flow runners and their settings. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Self

from pydantic import model_validator

from loader.declared import Shared, declared, refused
from worker.protocol import RUNNERS, SETTINGS


class FlowRunnerBase(Shared):
    """Base of the runners."""

    @property
    def kind(self) -> str:
        """The runner's ``typename``."""
        return str(getattr(self, "typename"))  # noqa: B009 - the field is declared for both sides elsewhere

    def settings(self) -> dict[str, Any]:
        """The runner as ``{type, config}``."""
        config = self.plain()
        return {"type": config.pop("typename"), "config": config}


class SubprocessBase(FlowRunnerBase):
    """What a subprocess runner's fields say together."""

    @model_validator(mode="after")
    def one_environment(self) -> Self:
        """At most one environment."""
        held: dict[str, Any] = dict(self)
        if held["condaenv"] and held["virtualenv"]:
            raise refused(
                "Received incompatible settings. You cannot provide both a conda and virtualenv to use."
            )
        return self


UniversalFlowRunner = declared(
    "UniversalFlowRunner", FlowRunnerBase, RUNNERS["universal"], "Wherever an agent can."
)
SubprocessFlowRunner = declared(
    "SubprocessFlowRunner", SubprocessBase, RUNNERS["subprocess"], "In a process beside the agent."
)
DockerFlowRunner = declared("DockerFlowRunner", FlowRunnerBase, RUNNERS["docker"], "In a container.")
KubernetesFlowRunner = declared(
    "KubernetesFlowRunner", FlowRunnerBase, RUNNERS["kubernetes"], "In a Kubernetes job."
)
FlowRunnerSettings = declared(
    "FlowRunnerSettings", Shared, SETTINGS, "A runner as its type and its configuration."
)
KINDS: Mapping[str, type[FlowRunnerBase]] = MappingProxyType(
    {
        "universal": UniversalFlowRunner,
        "subprocess": SubprocessFlowRunner,
        "docker": DockerFlowRunner,
        "kubernetes": KubernetesFlowRunner,
    }
)
"""The runners, by their ``typename``."""
