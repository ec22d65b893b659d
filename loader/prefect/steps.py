"""The pull step: a run's own process asks for a check when its code is there, before it loads the flow."""

from __future__ import annotations

import os

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.responses import DeploymentResponse
from prefect.logging.loggers import flow_run_logger

from loader.errors import FlowLoaderError, RunRefused
from loader.flow_loader import FlowLoader
from loader.prefect import asking, ending
from loader.prefect.asking import CHECK

RUN = "PREFECT__FLOW_RUN_ID"
"""The environment variable by which Prefect names the run to its process."""


def check(
    directory: str | None = None,
    profile: str = asking.PROFILE,
    python: str | None = None,
    timeout: float | None = None,
) -> dict[str, str]:
    """Ask whether this run may go ahead; if not, end it with the reasons in its state.

    ``directory`` is where the code is, the working directory unless given, and is where the run takes it
    from. ``profile``, ``python`` and ``timeout`` in seconds are those of ``FlowLoader.check``. Raises
    RunRefused, and whatever else FlowLoader does.
    """
    run = os.environ.get(RUN)
    if run is None:
        raise RunRefused(f"cannot check: this is no run's process; name {CHECK} as a step of pull")
    with get_client(sync_client=True) as client:
        flow_run, deployment = read(client, run)
        try:
            folder = os.path.realpath(directory or os.curdir)
            asked = asking.question(deployment, folder, flow_run.parameters)
            with FlowLoader(profile, python=python) as loader:
                warnings = ending.approve(loader.check(timeout=timeout, **asked), os.environ)
            asking.refuse_change(asking.facts(flow_run, deployment), asking.facts(*read(client, run)))
        except FlowLoaderError as error:
            flow_run_logger(flow_run).error(ending.whole(error))
            client.set_flow_run_state(flow_run.id, ending.state(error))
            raise
    for warning in warnings:
        flow_run_logger(flow_run).warning(warning)
    return {"directory": folder}


def read(client: SyncPrefectClient, run: str) -> tuple[FlowRun, DeploymentResponse]:
    """A run and its deployment, as they are now."""
    flow_run = client.read_flow_run(run)
    return flow_run, client.read_deployment(flow_run.deployment_id)
