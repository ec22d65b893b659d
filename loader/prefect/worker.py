"""The worker type ``flow-loader-process``: Prefect's process worker, which asks for a check before each run.

The worker's own process never imports a flow. Prefect does so in one case, to find the hooks of a run that
was started with a command of its own: such a command is refused.
"""

from __future__ import annotations

import asyncio
from typing import Any

from prefect.workers.process import (
    ProcessJobConfiguration,
    ProcessVariables,
    ProcessWorker,
    ProcessWorkerResult,
)
from pydantic import BaseModel, Field, field_validator

from loader.errors import FlowLoaderError
from loader.flow_loader import FlowLoader
from loader.prefect import asking, ending


class CheckOptions(BaseModel):
    """How runs are checked: fields of the work pool, which a deployment's job variables may change."""

    profile: str = Field(
        default="strict",
        title="Sandbox profile",
        description="The sandbox profile of the check: a built-in one's name, or the path of a profile file.",
    )
    python: str | None = Field(
        default=None,
        title="Interpreter",
        description="The Python, or the virtual environment, whose packages the flow needs. If left empty, it"
        " is that of the worker, which is also that of its runs.",
    )
    timeout: float | None = Field(
        default=None,
        title="Time limit of the check",
        description="How many seconds loading the flow may take. If left empty, the profile says it.",
    )


class CheckedJobConfiguration(CheckOptions, ProcessJobConfiguration):
    """How a run is checked and started."""

    @field_validator("command")
    @classmethod
    def refuse_command(cls, command: str | None) -> str | None:
        """None. Raises ValueError for a command."""
        if command:
            raise ValueError(
                "cannot use a command: for such a run Prefect imports the flow in the worker's own process;"
                " leave command empty"
            )
        return None


class CheckedVariables(CheckOptions, ProcessVariables):
    """What a work pool of this type sets."""


class CheckedProcessWorker(ProcessWorker):
    """Executes flow runs as processes of this machine, each of them checked first."""

    type = "flow-loader-process"
    job_configuration = CheckedJobConfiguration
    job_configuration_variables = CheckedVariables
    _display_name = "Process, checked first"
    _description = (
        "Execute flow runs as subprocesses on a worker, each of them checked in a sandbox first: that the"
        " script loads, the flow is there, and the parameters fit."
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._loaders: dict[tuple[str, str | None], FlowLoader] = {}
        self._opening = asyncio.Lock()

    async def run(
        self, flow_run: Any, configuration: CheckedJobConfiguration, task_status: Any = None
    ) -> ProcessWorkerResult:
        """Run it, if the check says yes. Raises RunRefused, and whatever else FlowLoader does."""
        try:
            await self._check(flow_run, configuration)
        except FlowLoaderError as error:
            now = await self.client.read_flow_run(flow_run.id)
            if not now.state.is_final():
                await self.client.set_flow_run_state(flow_run.id, ending.state(error))
            raise
        now = await self.client.read_flow_run(flow_run.id)  # it may have been cancelled meanwhile
        return await super().run(now, configuration, task_status)

    async def _check(self, flow_run: Any, configuration: CheckedJobConfiguration) -> None:
        deployment = await self.client.read_deployment(flow_run.deployment_id)
        if asking.checks_itself(deployment):
            return
        folder = asking.folder(deployment, configuration.working_dir)
        asked = asking.question(deployment, folder, flow_run.parameters)
        loader = await self._loader(configuration.profile, configuration.python)
        verdict = await loader.check_async(timeout=configuration.timeout, **asked)
        for warning in ending.approve(verdict):
            self.get_flow_run_logger(flow_run).warning(warning)

    async def _loader(self, profile: str, python: str | None) -> FlowLoader:
        """The warm loader of a profile and an interpreter. Raises ProfileError."""
        async with self._opening:
            if (profile, python) not in self._loaders:
                self._loaders[profile, python] = await asyncio.to_thread(FlowLoader, profile, python=python)
            return self._loaders[profile, python]

    async def __aexit__(self, *exc_info: object) -> None:
        try:
            await super().__aexit__(*exc_info)
        finally:
            for loader in self._loaders.values():
                await asyncio.to_thread(loader.close)
            self._loaders.clear()
