from prefect import flow
from prefect.deployments import Deployment
from prefect.client.schemas.schedules import CronSchedule


@flow(name="legacy")
def legacy(x: int = 1):
    """From the second generation."""


deployment = Deployment.build_from_flow(
    flow=legacy,
    name="legacy-nightly",
    schedule=CronSchedule(cron="0 2 * * *", timezone="Europe/Berlin"),
    parameters={"x": 2},
    tags=["old"],
    work_pool_name="default",
)
deployment.apply()
