"""Where a deployment's flow is kept: the storage blocks. Pure; ``loader.stores`` reads and writes them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from loader.declared import Shared, declared
from worker.protocol import BLOCKS


class StorageBlock(Shared):
    """Base of the blocks. Their secrets are in no repr; ``plain()`` has them."""

    @property
    def block_name(self) -> str:
        """The kind under which it is registered, such as ``S3 Storage``."""
        return NAMES[type(self)]

    def masked(self) -> dict[str, Any]:
        """The block as ``{type, config}``, its secrets masked."""
        return {"type": self.block_name, "config": self.model_dump(mode="json")}

    @property
    def is_local(self) -> bool:
        """Whether only this machine can read it."""
        return isinstance(self, (LocalStorageBlock, TempStorageBlock))


FileStorageBlock = declared(
    "FileStorageBlock", StorageBlock, BLOCKS["File Storage"], "Files below a local or remote path."
)
S3StorageBlock = declared("S3StorageBlock", StorageBlock, BLOCKS["S3 Storage"], "A bucket at Amazon.")
TempStorageBlock = declared(
    "TempStorageBlock",
    StorageBlock,
    BLOCKS["Temporary Local Storage"],
    "The machine's folder for temporary files.",
)
LocalStorageBlock = declared(
    "LocalStorageBlock", StorageBlock, BLOCKS["Local Storage"], "A folder of the machine."
)
GoogleCloudStorageBlock = declared(
    "GoogleCloudStorageBlock", StorageBlock, BLOCKS["Google Cloud Storage"], "A bucket at Google."
)
AzureBlobStorageBlock = declared(
    "AzureBlobStorageBlock", StorageBlock, BLOCKS["Azure Blob Storage"], "A container at Azure."
)
KVServerStorageBlock = declared(
    "KVServerStorageBlock", StorageBlock, BLOCKS["KV Server Storage"], "A key-value server."
)
KINDS: Mapping[str, type[StorageBlock]] = MappingProxyType(
    {
        "File Storage": FileStorageBlock,
        "S3 Storage": S3StorageBlock,
        "Temporary Local Storage": TempStorageBlock,
        "Local Storage": LocalStorageBlock,
        "Google Cloud Storage": GoogleCloudStorageBlock,
        "Azure Blob Storage": AzureBlobStorageBlock,
        "KV Server Storage": KVServerStorageBlock,
    }
)
"""The blocks, by the name of their kind."""
NAMES: Mapping[type[StorageBlock], str] = MappingProxyType({kind: name for name, kind in KINDS.items()})
