"""The client that needs nothing started: flows, storage blocks and deployments in one SQLite file.

Any number of threads and processes of one user may use the file at once. It lies on a local disk: on a
network file system SQLite's locks do not hold. What storage blocks are made of, secrets included, is in it
as it is; that only its owner can read the file is all that protects it.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Self
from uuid import UUID, uuid4, uuid5

from loader.access import DEFAULT, Access
from loader.client import documents
from loader.client.embedded import records
from loader.client.embedded.connections import Connections
from loader.client.embedded.place import AnyPath, absolute, default_path, real_path
from loader.client.embedded.records import BLOCKS, DEPLOYMENTS, FLOWS, body_of, check_name, now
from loader.client.embedded.statements import Row
from loader.client.interface import (
    BlockRecord,
    BlockSpec,
    Created,
    DataDocument,
    DeploymentRecord,
    DeploymentRequest,
    FlowRecord,
    Json,
    Transaction,
)
from loader.client.names import check_texts, check_type, quoted, shown_id
from loader.errors import ClientError, ObjectAlreadyExists, ObjectNotFound
from worker.protocol import BLOCKS as KINDS

WAIT = 30.0
"""How long other writers are waited for, in seconds."""

ReadStorage = Callable[[BlockRecord, str], bytes]
"""From a storage block and a key: the bytes that lie there."""

_KIND_NAMESPACE = UUID("0c6b1c1e-53a4-4d0c-9d3e-6a6f0f0d7f51")


def read_storage_block(block: BlockRecord, key: str, access: Access = DEFAULT) -> bytes:
    """What lies in a storage block under a key. Raises StorageError, ClientError."""
    from loader.keeping import read_kept  # noqa: PLC0415 - drivers of storage are for those who read it

    return read_kept(block, key, access)


class EmbeddedRegistry:
    """A ``Client`` on the file ``path``, which is made when something is first written.

    Without ``path`` it is the file that ``FLOW_LOADER_REGISTRY`` names, or else
    ``flow-loader/registry.db`` in the user's data folder. What lies in storage blocks is read as
    ``access`` lets it be, or by ``read_storage``. Other writers are waited for, up to ``wait`` seconds.
    Raises ClientError, as its methods do.
    """

    def __init__(
        self,
        path: AnyPath | None = None,
        *,
        access: Access = DEFAULT,
        read_storage: ReadStorage | None = None,
        wait: float = WAIT,
    ) -> None:
        self._address = default_path() if path is None else absolute(path)
        self._read_storage = read_storage or partial(read_storage_block, access=access)
        if not isinstance(wait, int | float) or not wait >= 0:
            raise ClientError(f"cannot wait {wait!r} seconds for the registry: give 0 or more")
        self._file = Connections(real_path(self._address), wait)
        weakref.finalize(self, self._file.close)

    def __repr__(self) -> str:
        return f"EmbeddedRegistry({self._address!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file; the client cannot be used afterwards."""
        self._file.close()

    @property
    def address(self) -> str:
        """The file's absolute path."""
        return self._address

    @property
    def keeps_flows(self) -> bool:
        """Always true."""
        return True

    def transaction(self) -> AbstractContextManager[Transaction]:
        """All that this thread creates inside, or after an exception nothing of it.

        One inside another is kept only if the outer one is, and can be undone alone.
        """
        return self._file.transaction()

    def create_flow(self, name: str) -> Created:
        """Register a flow, or find the one of that name."""
        check_name("flow", name)
        with self.transaction():
            if (row := self._first("SELECT id FROM flows WHERE name = ?", [name])) is not None:
                return records.record(Created, {"id": row[0], "new": False})
            created = Created(id=uuid4(), new=True)
            self._file.write("INSERT INTO flows VALUES (?, ?, ?)", [str(created.id), name, now()])
            return created

    def read_flow(self, flow_id: UUID) -> FlowRecord:
        """The flow of that id. Raises ObjectNotFound."""
        row = self._only(f"{FLOWS} WHERE id = ?", [str(flow_id)], f"flow with id {shown_id(flow_id)}")
        return records.flow(row)

    def read_flows(self) -> tuple[FlowRecord, ...]:
        """Every flow, by name."""
        return tuple(map(records.flow, self._file.read(f"{FLOWS} ORDER BY name")))

    def create_block(self, name: str, type: str, config: Mapping[str, Json]) -> UUID:  # noqa: A002
        """Register a storage block. Raises ObjectAlreadyExists for a name that is taken."""
        check_texts("create a storage block", name=name, type=type)
        if not name:
            raise ClientError("cannot create a storage block: its name is empty; give it one")
        check_type(f"create storage block {quoted(name)}", config, Mapping)
        text, block_id = documents.write_json(config), uuid4()
        with self.transaction():
            if self._first("SELECT 1 FROM blocks WHERE name = ?", [name]):
                raise ObjectAlreadyExists(
                    f"cannot create storage block {quoted(name)}: there is one of that name in"
                    f" {self._address}; take another"
                )
            values = [str(block_id), name, type, text, now()]
            self._file.write("INSERT INTO blocks VALUES (?, ?, ?, ?, ?)", values)
        return block_id

    def read_block(self, block_id: UUID) -> BlockRecord:
        """The storage block of that id. Raises ObjectNotFound."""
        what = f"storage block with id {shown_id(block_id)}"
        return records.block(self._only(f"{BLOCKS} WHERE id = ?", [str(block_id)], what))

    def read_block_by_name(self, name: str) -> BlockRecord:
        """The storage block of that name. Raises ObjectNotFound."""
        check_texts("find a storage block", name=name)
        return records.block(self._only(f"{BLOCKS} WHERE name = ?", [name], f"storage block {quoted(name)}"))

    def delete_block(self, block_id: UUID) -> None:
        """Forget a storage block; if it was the default there is none. Raises ObjectNotFound."""
        with self.transaction():
            what = f"storage block with id {shown_id(block_id)}"
            self._only("SELECT 1 FROM blocks WHERE id = ?", [str(block_id)], what)
            self._file.write("DELETE FROM blocks WHERE id = ?", [str(block_id)])

    def read_block_spec_by_name(self, name: str) -> BlockSpec:
        """The kind of storage block with that name, such as ``S3 Storage``. Raises ObjectNotFound."""
        check_texts("find a kind of storage block", name=name)
        if name not in KINDS:
            raise ObjectNotFound(
                f"cannot find a kind of storage block called {quoted(name)}; there are {', '.join(KINDS)}"
            )
        fields = tuple(KINDS[name])
        return BlockSpec(id=uuid5(_KIND_NAMESPACE, name), name=name, fields=fields)

    def get_default_storage_block(self) -> BlockRecord | None:
        """The storage of deployments that name none; None if there is no default."""
        row = self._first(f"{BLOCKS} JOIN default_storage ON block_id = id")
        return records.block(row) if row else None

    def set_default_storage_block(self, block_id: UUID) -> None:
        """Make a storage block the default. Raises ObjectNotFound."""
        with self.transaction():
            self.read_block(block_id)
            self._file.write("REPLACE INTO default_storage VALUES (1, ?)", [str(block_id)])

    def create_deployment(self, deployment: DeploymentRequest) -> Created:
        """Register a deployment, or update the one of the same flow and name. Raises ObjectNotFound."""
        check_type("create a deployment", deployment, DeploymentRequest)
        check_name("deployment", deployment.name)
        body, time = body_of(deployment), now()
        flow_id = str(deployment.flow_id)
        with self.transaction():
            self.read_flow(deployment.flow_id)
            row = self._first(
                "SELECT id, body FROM deployments WHERE flow_id = ? AND name = ?", [flow_id, deployment.name]
            )
            if row is not None:
                self._file.write(
                    "UPDATE deployments SET body = ?, updated = ? WHERE id = ?", [body, time, row[0]]
                )
                return records.record(Created, {"id": row[0], "new": False, "left": self._left(row[1])})
            created = Created(id=uuid4(), new=True)
            values = [str(created.id), flow_id, deployment.name, body, time, time]
            self._file.write("INSERT INTO deployments VALUES (?, ?, ?, ?, ?, ?)", values)
            return created

    def read_deployment(self, deployment_id: UUID) -> DeploymentRecord:
        """The deployment of that id. Raises ObjectNotFound."""
        what = f"deployment with id {shown_id(deployment_id)}"
        return records.deployment(
            self._only(f"{DEPLOYMENTS} WHERE deployments.id = ?", [str(deployment_id)], what)
        )

    def read_deployment_by_name(self, flow_name: str, name: str) -> DeploymentRecord:
        """The deployment of that flow and name. Raises ObjectNotFound."""
        check_texts("find a deployment", name=name, flow=flow_name)
        what = f"deployment {quoted(name)} of flow {quoted(flow_name)}"
        statement = f"{DEPLOYMENTS} WHERE flows.name = ? AND deployments.name = ?"
        return records.deployment(self._only(statement, [flow_name, name], what))

    def read_deployments(self) -> tuple[DeploymentRecord, ...]:
        """Every deployment, by its flow's name and its own."""
        rows = self._file.read(f"{DEPLOYMENTS} ORDER BY flows.name, deployments.name")
        return tuple(map(records.deployment, rows))

    def delete_deployment(self, deployment_id: UUID) -> None:
        """Forget a deployment; its flow stays. Raises ObjectNotFound."""
        with self.transaction():
            what = f"deployment with id {shown_id(deployment_id)}"
            self._only("SELECT 1 FROM deployments WHERE id = ?", [str(deployment_id)], what)
            self._file.write("DELETE FROM deployments WHERE id = ?", [str(deployment_id)])

    def resolve_datadoc(self, document: DataDocument) -> bytes | Json:
        """What a data document holds. A ``cloudpickle`` is given as its bytes: nothing is unpickled.

        Raises ClientError for a malformed one, and what ``read_storage`` raises.
        """
        return documents.resolve(
            document, lambda block_id, key: self._read_storage(self.read_block(block_id), key)
        )

    def _left(self, body: str) -> DataDocument | None:
        """Where a deployment's body said that its script is kept, if no body names that key now."""
        found = records.kept_in(body)
        if found is None or self._first("SELECT 1 FROM deployments WHERE instr(body, ?)", [found[0]]):
            return None
        return documents.blockstorage(*found)

    def _first(self, statement: str, values: Sequence[str] = ()) -> Row | None:
        """The first row alone: in a damaged file there may be any number of what is there once."""
        return next(iter(self._file.read(f"{statement} LIMIT 1", values)), None)

    def _only(self, statement: str, values: Sequence[str], what: str) -> Row:
        if (row := self._first(statement, values)) is not None:
            return row
        raise ObjectNotFound(f"cannot find the {what}: it is not in {self._address}; create it first")
