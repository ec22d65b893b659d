"""Rows of the embedded registry as records, and records as rows; pure.

Rows are checked as if they were foreign: another program, or a failing disk, may have changed them.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, TypeVar
from uuid import UUID

from pydantic import ValidationError

from loader.client.documents import parse_blockstorage, read_json, write_json
from loader.client.interface import (
    BlockRecord,
    DataDocument,
    DeploymentRecord,
    DeploymentRequest,
    FlowRecord,
    Record,
)
from loader.client.names import check_texts, quoted
from loader.errors import ClientError

INVALID_CHARACTERS = ["/", "%", "&", ">", "<"]
"""What the name of a flow or deployment may not hold."""

FLOWS = "SELECT id, name, created FROM flows"
BLOCKS = "SELECT id, name, type, config FROM blocks"
DEPLOYMENTS = (
    "SELECT deployments.id, flow_id, flows.name, deployments.name, deployments.created, updated, body"
    " FROM deployments JOIN flows ON flows.id = flow_id"
)

_BODY = set(DeploymentRequest.model_fields) - {"name", "flow_id"}

Found = TypeVar("Found", bound=Record)


def check_name(kind: str, name: str) -> None:
    """Raise ClientError for a name that a flow or deployment may not have."""
    check_texts(f"create a {kind}", name=name)
    if not name:
        raise ClientError(f"cannot create a {kind}: its name is empty; give it one")
    if any(character in name for character in INVALID_CHARACTERS):
        raise ClientError(
            f"cannot create {kind} {quoted(name)}: Name {quoted(name)} contains an invalid character."
            f" Must not contain any of: {INVALID_CHARACTERS}; rename it"
        )


def now() -> str:
    """The time, as rows hold it."""
    return datetime.now(UTC).isoformat()


def body_of(deployment: DeploymentRequest) -> str:
    """What a deployment's row holds beside its columns, as JSON. Raises ClientError."""
    return write_json(deployment.model_dump(include=_BODY))


def kept_in(body: Any) -> tuple[str, UUID] | None:
    """The key and the block's id of what a deployment's body leads to, if that is in a storage block."""
    try:
        return parse_blockstorage(DataDocument.model_validate(read_json(body)["flow_data"]))
    except (ClientError, ValidationError, TypeError, KeyError):
        return None


def flow(row: tuple[Any, ...]) -> FlowRecord:
    """The flow in a row of FLOWS. Raises ClientError."""
    identity, name, created = row
    return record(FlowRecord, {"id": identity, "name": name, "created": created})


def block(row: tuple[Any, ...]) -> BlockRecord:
    """The storage block in a row of BLOCKS. Raises ClientError."""
    identity, name, kind, config = row
    return record(BlockRecord, {"id": identity, "name": name, "type": kind}, "config", config)


def deployment(row: tuple[Any, ...]) -> DeploymentRecord:
    """The deployment in a row of DEPLOYMENTS. Raises ClientError."""
    identity, flow_id, flow_name, name, created, updated, body = row
    columns = {
        "id": identity,
        "flow_id": flow_id,
        "flow_name": flow_name,
        "name": name,
        "created": created,
        "updated": updated,
    }
    return record(DeploymentRecord, columns, None, body)


def record(model: type[Found], columns: dict[str, Any], field: str | None = None, text: Any = "{}") -> Found:
    """A record of ``columns`` and of JSON ``text``: one ``field``'s, or where that is None several fields'.

    Raises ClientError, which repeats the id and nothing else of the row.
    """
    try:
        data = read_json(text)
        return model.model_validate({**columns, field: data} if field else {**data, **columns})
    except (ClientError, ValidationError, TypeError):
        pass
    kind = model.__name__.removesuffix("Record").lower()
    raise ClientError(
        f"cannot read the {kind} with id {str(columns['id'])[:36]!r}: its row in the registry is damaged;"
        f" put a copy of the registry back, or create what is in it anew"
    )
