from prefect import flow
from prefect.deployments import DeploymentSpec
from prefect.orion.schemas.schedules import IntervalSchedule


@flow
def hello(): ...


DeploymentSpec(name="beta", flow=hello, schedule=IntervalSchedule(interval=60))
