"""Several flows in one script: sync and async, named and not, one made by with_options."""

from prefect import flow
from prefect.task_runners import SequentialTaskRunner


@flow(name="extract", version="1.2")
def extract_orders():
    """Read yesterday's orders."""


@flow(task_runner=SequentialTaskRunner(), timeout_seconds=90)
async def transform():
    """Add prices to orders.

    Orders without a price are left out.
    """


@flow
def load_all():
    pass


nightly = extract_orders.with_options(name="extract-nightly")
