"""The part of a client that a Prefect server cannot play: it has no storage blocks, and keeps no scripts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NoReturn
from uuid import UUID

from loader.client import documents
from loader.client.interface import BlockRecord, BlockSpec, DataDocument, Json
from loader.client.names import quoted
from loader.errors import ObjectNotFound


class NoBlocks:
    """A client whose every storage block is missing."""

    @property
    def address(self) -> str:
        """What it is called in messages."""
        raise NotImplementedError

    @property
    def keeps_flows(self) -> bool:
        """False: only where scripts are is kept here."""
        return False

    def create_block(self, name: str, type: str, config: Mapping[str, Json]) -> UUID:  # noqa: A002, ARG002
        """Raises ObjectNotFound."""
        self._refuse(f"create storage block {quoted(name)}")

    def read_block(self, block_id: UUID) -> BlockRecord:
        """Raises ObjectNotFound."""
        self._refuse(f"read storage block {block_id}")

    def read_block_by_name(self, name: str) -> BlockRecord:
        """Raises ObjectNotFound."""
        self._refuse(f"read storage block {quoted(name)}")

    def read_block_spec_by_name(self, name: str) -> BlockSpec:
        """Raises ObjectNotFound."""
        self._refuse(f"read the kind of storage block {quoted(name)}")

    def get_default_storage_block(self) -> BlockRecord | None:
        """None: there are no storage blocks."""
        return None

    def set_default_storage_block(self, block_id: UUID) -> None:
        """Raises ObjectNotFound."""
        self._refuse(f"make storage block {block_id} the default")

    def resolve_datadoc(self, document: DataDocument) -> bytes | Json:
        """What a data document holds; ObjectNotFound for one in a storage block. Nothing is unpickled."""
        return documents.resolve(document, lambda block_id, _: self._refuse(f"read storage block {block_id}"))

    def _refuse(self, what: str) -> NoReturn:
        raise ObjectNotFound(
            f"cannot {what} on {self.address}: a Prefect server keeps no scripts; say where they are"
            " with path and entrypoint, or use the embedded registry"
        )
