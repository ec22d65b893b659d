from prefect import flow
from prefect.deployments import run_deployment


@flow
def etl(source: str = "s3"):
    """Moves rows."""


etl.deploy(
    name="etl-prod",
    work_pool_name="kubernetes",
    image="registry.example.org/etl:1",
    build=False,
    push=False,
    cron="15 * * * *",
    parameters={"source": "gcs"},
    tags=["prod"],
)
run_deployment("etl/etl-prod", timeout=0)
