"""Imports as a script does that is run from its project's folder."""

import steps  # beside it
from pkg.common import REGIONS  # from the project's folder
from prefect import flow
from shop.orders import LIMIT  # from the project's folder of sources


@flow
def main(region: str = REGIONS[1], limit: int = LIMIT):
    """Load the orders of a region."""


@flow(name="Small load")
def small(region: str = "north"):
    """Load a few."""
