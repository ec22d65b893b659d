"""Deployment specs with each kind of schedule."""

from datetime import timedelta

from prefect import flow
from prefect.deployments import DeploymentSpec
from prefect.flow_runners import DockerFlowRunner, SubprocessFlowRunner
from prefect.orion.schemas.schedules import CronSchedule, IntervalSchedule, RRuleSchedule


@flow
def clean_up(folder: str, days: int = 30):
    """Delete what is older than some days."""


DeploymentSpec(
    name="often",
    flow=clean_up,
    parameters={"folder": "/srv/upload", "days": 7},
    schedule=IntervalSchedule(interval=timedelta(minutes=10)),
    tags=["upload", "hourly"],
    flow_runner=SubprocessFlowRunner(env={"LEVEL": "debug"}),
)

DeploymentSpec(
    name="mornings",
    flow=clean_up,
    parameters={"folder": "/srv/archive"},
    schedule=CronSchedule(cron="0 6 * * 1-5", timezone="Europe/Berlin"),
    flow_runner=DockerFlowRunner(image="archive:3"),
)

DeploymentSpec(
    name="monthly",
    flow=clean_up,
    schedule=RRuleSchedule(rrule="FREQ=MONTHLY;BYMONTHDAY=1"),
)
