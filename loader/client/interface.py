"""What every place where deployments are created offers, and the records that it keeps.

A client is used by one call at a time in each thread, and by many threads at once. Its methods block: the
library's functions that end in ``_async`` call them in a thread.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol, Self, runtime_checkable
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

Json = Any
"""None, bool, int, float, str, or lists and string-keyed dicts of these."""
Encoding = Literal["json", "text", "cloudpickle", "blockstorage"]


class Record(BaseModel):
    """Frozen, and nothing that is not named."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class DataDocument(Record):
    """Data, and how it is written down.

    ``blob`` of ``json`` is JSON text, of ``text`` the text itself, of ``cloudpickle`` a pickle in base64, of
    ``blockstorage`` a JSON object ``{"data": key, "block_id": UUID}`` that says where the data lies.
    """

    encoding: Encoding
    blob: str

    def __repr__(self) -> str:
        """Short: the data may be large and is foreign."""
        return f"<DataDocument {self.encoding}, {len(self.blob)} characters>"


class FlowRecord(Record):
    """A flow that is registered."""

    id: UUID
    name: str
    created: datetime | None = None


class BlockSpec(Record):
    """A kind of storage block: its name, and the fields that its blocks have."""

    id: UUID
    name: str
    fields: tuple[str, ...] = ()


class BlockRecord(Record):
    """A storage block that is registered. ``config`` may hold secrets and is in no repr."""

    id: UUID
    name: str
    type: str
    config: Mapping[str, Json] = Field(repr=False)


class ScheduleRecord(Record):
    """When a deployment runs: ``schedule`` is the plain form of one of ``loader.schedules``.

    ``parameters`` go before the deployment's own; ``slug`` is what it is called.
    """

    schedule: Mapping[str, Json]
    active: bool = True
    parameters: Mapping[str, Json] = {}
    slug: str | None = None


class DeploymentRequest(Record):
    """What a deployment is to be.

    ``parameter_schema`` is the flow's JSON Schema; ``flow_runner`` is ``{type, config}``; ``flow_data`` says
    where the flow's script is kept, ``path`` and ``entrypoint`` (``file.py:function``) where it came from.
    ``pull_steps`` and what follows mean something to a Prefect server only. Where ``paused`` is None, or
    nothing is given for the limit of runs at a time, it stays what it is. Parameters have to fit a schema if
    there is one, unless ``enforce_parameter_schema`` is false.
    """

    name: str
    flow_id: UUID
    version: str | None = None
    description: str | None = None
    parameters: Mapping[str, Json] = {}
    parameter_schema: Mapping[str, Json] | None = None
    schedules: tuple[ScheduleRecord, ...] = ()
    tags: tuple[str, ...] = ()
    flow_runner: Mapping[str, Json] | None = Field(default=None, repr=False)
    flow_data: DataDocument | None = None
    path: str | None = None
    entrypoint: str | None = None
    pull_steps: tuple[Mapping[str, Json], ...] | None = None
    work_pool: str | None = None
    work_queue: str | None = None
    job_variables: Mapping[str, Json] = Field(default={}, repr=False)
    paused: bool | None = None
    enforce_parameter_schema: bool | None = None
    concurrency_limit: int | None = None
    concurrency_options: Mapping[str, Json] | None = None


class DeploymentRecord(DeploymentRequest):
    """A deployment that is registered."""

    id: UUID
    flow_name: str
    created: datetime | None = None
    updated: datetime | None = None


class Created(Record):
    """What came of creating something: ``new`` is false where it was there before and was updated.

    ``left`` is what led a deployment to its script before, if no deployment of the client says that any more.
    """

    id: UUID
    new: bool
    left: DataDocument | None = None


@dataclass
class Transaction:
    """``undone`` says that an exception ended it, and that for sure nothing of it is there; ``done`` that all
    of it is there for good, which no part of another transaction is.

    Where that cannot be known both are false: what a record may lead to must stay.
    """

    undone: bool = False
    done: bool = False


@runtime_checkable
class Client(Protocol):
    """Where flows, storage blocks and deployments are registered.

    Everything may raise ``ClientError``; what asks for something that is not there raises ``ObjectNotFound``.
    """

    @property
    def address(self) -> str:
        """What it is called in messages: a file's path or a URL, without credentials."""

    @property
    def keeps_flows(self) -> bool:
        """Whether storage blocks and ``flow_data`` can be kept here, or only ``path`` and ``entrypoint``."""

    def transaction(self) -> AbstractContextManager[Transaction]:
        """Everything that is created inside is there afterwards, or after an exception nothing of it."""

    def create_flow(self, name: str) -> Created:
        """Register a flow, or find the one of that name."""

    def read_flow(self, flow_id: UUID) -> FlowRecord:
        """The flow of that id."""

    def create_block(self, name: str, type: str, config: Mapping[str, Json]) -> UUID:  # noqa: A002
        """Register a storage block. Raises ``ObjectAlreadyExists`` for a name that is taken."""

    def read_block(self, block_id: UUID) -> BlockRecord:
        """The storage block of that id."""

    def read_block_by_name(self, name: str) -> BlockRecord:
        """The storage block of that name."""

    def read_block_spec_by_name(self, name: str) -> BlockSpec:
        """The kind of storage block with that name, such as ``S3 Storage``."""

    def get_default_storage_block(self) -> BlockRecord | None:
        """The storage of deployments that name none; None if there is no default."""

    def set_default_storage_block(self, block_id: UUID) -> None:
        """Make a storage block the default."""

    def create_deployment(self, deployment: DeploymentRequest) -> Created:
        """Register a deployment, or update the one of the same flow and name."""

    def read_deployment(self, deployment_id: UUID) -> DeploymentRecord:
        """The deployment of that id."""

    def read_deployment_by_name(self, flow_name: str, name: str) -> DeploymentRecord:
        """The deployment of that flow and name."""

    def resolve_datadoc(self, document: DataDocument) -> bytes | Json:
        """What a data document holds. A ``cloudpickle`` is given as its bytes: nothing is unpickled here."""

    def close(self) -> None:
        """Let go of connections."""

    def __enter__(self) -> Self:
        """The client itself; leaving the block closes it."""

    def __exit__(self, *_: object) -> None: ...
