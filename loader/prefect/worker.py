"""The worker type ``flow-loader-process``: Prefect's process worker, which asks for a check before each run.

The worker's own process never imports a flow. Prefect does so in one case, to find the hooks of a run that
was started with a command of its own: such a command is refused.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any
from uuid import UUID
from weakref import WeakValueDictionary

from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.responses import DeploymentResponse
from prefect.workers.process import (
    ProcessJobConfiguration,
    ProcessVariables,
    ProcessWorker,
    ProcessWorkerResult,
)
from pydantic import BaseModel, Field, PrivateAttr, field_validator

from loader.errors import FlowLoaderError
from loader.flow_loader import FlowLoader
from loader.prefect import asking, ending

LONGEST = 300
"""Seconds that a deployment may have its check take."""
UNDER_WAY = 8
"""Checks that are done at a time, of each deployment one: what hangs holds up no others."""
LOADERS = 2
"""Profiles and interpreters that are kept warm: a pool has one, until it is changed."""


class CheckOptions(BaseModel):
    """How runs are checked, as far as a deployment's job variables may say so."""

    timeout: float | None = Field(
        default=None,
        gt=0,
        le=LONGEST,
        title="Time limit of the check",
        description="How many seconds loading the flow may take. If left empty, the profile says it.",
    )


class CheckedJobConfiguration(CheckOptions, ProcessJobConfiguration):
    """How a run is checked and started.

    ``profile`` and ``python`` stand in the pool's base job template as they are: whoever may write a
    deployment could have any program started by the latter.
    """

    profile: str = Field(
        default=asking.PROFILE,
        description="The sandbox profile of the check: a built-in one's name, or the path of a profile file.",
    )
    python: str | None = Field(
        default=None,
        description="The Python, or the virtual environment, whose packages the flow needs. If null, it is"
        " that of the worker, which is also that of its runs.",
    )

    _own_env: dict[str, str | None] = PrivateAttr(default_factory=dict)

    @property
    def own_env(self) -> dict[str, str | None]:
        """The variables that the pool, the deployment and the run add to the worker's own."""
        return self._own_env

    def prepare_for_flow_run(self, *args: Any, **kwargs: Any) -> None:
        """As ever, but what the job says is told from what is added to it here."""
        self._own_env = dict(self.env)
        super().prepare_for_flow_run(*args, **kwargs)

    @classmethod
    def json_template(cls) -> dict[str, Any]:
        """As for every field, but what a deployment may not change is no variable."""
        kept = {name: cls.model_fields[name].default for name in ("profile", "python")}
        return {**super().json_template(), **kept}

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
        self._loaders: dict[tuple[str, str | None], asyncio.Task[FlowLoader]] = {}
        self._under_way = asyncio.Semaphore(UNDER_WAY)
        self._turns: WeakValueDictionary[UUID, asyncio.Lock] = WeakValueDictionary()

    async def run(
        self, flow_run: Any, configuration: CheckedJobConfiguration, task_status: Any = None
    ) -> ProcessWorkerResult:
        """Run it, if the check says yes. Raises RunRefused, and whatever else FlowLoader does."""
        try:
            async with self._turns.setdefault(flow_run.deployment_id, asyncio.Lock()), self._under_way:
                now = await self._check(flow_run.id, configuration)
        except FlowLoaderError as error:
            now = await self.client.read_flow_run(flow_run.id)
            if not now.state.is_final():
                await self.client.set_flow_run_state(flow_run.id, ending.state(error))
            raise
        return await super().run(now, configuration, task_status)

    async def _check(self, run: UUID, configuration: CheckedJobConfiguration) -> FlowRun:
        """The run as it is after the check: it may have been cancelled meanwhile, but is no other run."""
        flow_run, deployment = await self._read(run)
        folder = asking.place(deployment, configuration)
        if folder is not None:
            asked = asking.question(deployment, folder, flow_run.parameters)
            loader = await self._loader(configuration.profile, configuration.python)
            verdict = await loader.check_async(timeout=configuration.timeout, **asked)
            for warning in ending.approve(verdict, configuration.own_env):
                self.get_flow_run_logger(flow_run).warning(warning)
        now = await self._read(run)
        asking.refuse_change(asking.facts(flow_run, deployment), asking.facts(*now))
        return now[0]

    async def _read(self, run: UUID) -> tuple[FlowRun, DeploymentResponse]:
        flow_run = await self.client.read_flow_run(run)
        return flow_run, await self.client.read_deployment(flow_run.deployment_id)

    async def _loader(self, profile: str, python: str | None) -> FlowLoader:
        """The warm loader of a profile and an interpreter. Raises ProfileError."""
        key, oldest = (profile, python), None
        if key not in self._loaders:
            if len(self._loaders) == LOADERS:
                oldest = self._loaders.pop(next(iter(self._loaders)))
            opening = asyncio.to_thread(FlowLoader, profile, python=python)
            self._loaders[key] = asyncio.create_task(opening)
        loader = self._loaders[key]
        if oldest is not None:
            await closed(oldest)
        try:
            return await asyncio.shield(loader)
        except FlowLoaderError:
            if self._loaders.get(key) is loader:
                del self._loaders[key]  # what it lacks may be there the next time
            raise

    async def __aexit__(self, *exc_info: object) -> None:
        try:
            await super().__aexit__(*exc_info)
        finally:
            while self._loaders:
                await closed(self._loaders.popitem()[1])


async def closed(loader: asyncio.Task[FlowLoader]) -> None:
    """Close a loader, if it could be opened."""
    with suppress(FlowLoaderError):
        await asyncio.to_thread((await loader).close)
