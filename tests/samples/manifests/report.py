"""The flow of the manifests beside it."""

from prefect import flow


@flow
def report(day: str = "today"):
    """Write the report of one day."""
