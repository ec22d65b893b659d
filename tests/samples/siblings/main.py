"""A script that imports its neighbours, by name and relatively."""

import names
from prefect import flow

from . import defaults


@flow(name=names.FLOW)
def paint(colour: str = defaults.COLOUR):
    """Paint it."""
