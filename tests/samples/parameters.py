"""A flow whose parameters have types and defaults."""

from datetime import date
from enum import Enum
from typing import Optional

from prefect import flow


class Region(Enum):
    NORTH = "north"
    SOUTH = "south"


@flow(description="Totals per region.")
def report(
    day: date,
    regions: list[Region],
    limit: int = 100,
    ratio: float = 0.5,
    title: Optional[str] = None,
    options: dict = {"currency": "EUR", "round": True},
    untyped="anything",
):
    pass
