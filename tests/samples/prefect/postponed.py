from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from prefect import flow
from pydantic import BaseModel

if TYPE_CHECKING:
    from decimal import Decimal


class Settings(BaseModel):
    retries: int = 3
    since: datetime | None = None


@flow
def postponed(settings: Settings, names: list[str], step: timedelta = timedelta(hours=1)) -> None:
    """Annotations are texts."""


@flow(validate_parameters=False)
def hidden(amount: Decimal = 1): ...
