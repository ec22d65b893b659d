import dataclasses
import datetime
import enum
import pathlib
import uuid
from decimal import Decimal
from typing import Any, Dict, List, Literal, Optional, Set, Tuple, Union

from prefect import flow
from pydantic import BaseModel, Field

try:
    from typing import Annotated
except ImportError:
    from typing_extensions import Annotated


class Region(enum.Enum):
    EU = "eu"
    US = "us"


class Level(int, enum.Enum):
    LOW = 1
    HIGH = 2


@dataclasses.dataclass
class Window:
    start: datetime.date
    days: int = 7


class Csv(BaseModel):
    kind: Literal["csv"] = "csv"
    delimiter: str = ","


class Parquet(BaseModel):
    kind: Literal["parquet"] = "parquet"
    compression: Optional[str] = None


class Output(BaseModel):
    """Where results go."""

    path: str
    format: Union[Csv, Parquet] = Field(default_factory=Csv, discriminator="kind")
    tags: Dict[str, str] = {}


@flow
def typed(
    region: Region,
    output: Output,
    level: Level = Level.LOW,
    window: Optional[Window] = None,
    when: datetime.datetime = datetime.datetime(2026, 1, 1, 12, 30),
    day: datetime.date = datetime.date(2026, 1, 1),
    pause: datetime.timedelta = datetime.timedelta(minutes=5),
    mode: Literal["fast", "slow"] = "fast",
    amount: Decimal = Decimal("1.5"),
    run: Optional[uuid.UUID] = None,
    folder: pathlib.Path = pathlib.Path("/data"),
    pair: Tuple[int, str] = (1, "a"),
    names: Set[str] = frozenset(),
    size: Annotated[int, Field(ge=1, le=10)] = 3,
    either: Union[int, List[str], None] = None,
    anything: Any = None,
    bare="x",
    *numbers: int,
    key: str = "k",
    **options: float,
):
    """Takes one of each."""


@flow
def unusual(positional, /, other: "Region" = Region.EU, opaque: object = object()): ...
