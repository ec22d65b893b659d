"""Imports as a module does that is imported by its full name."""

from prefect import flow

from ..common import REGIONS
from . import steps


@flow
def nightly(region: str = steps.FIRST, others: str = REGIONS[1]):
    """Run every night."""
