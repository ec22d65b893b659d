"""Where a deployment's flow is kept: the storage blocks; they run beside foreign code.

What a worker says of a block is printed and logged by others, so its secrets do not leave: they are
masked in what ``facts`` gives.
"""

from __future__ import annotations

import re
from typing import Any, Dict, Optional
from uuid import UUID

from worker.dialects.orion import checks
from worker.dialects.orion.model import MASK, Model, declared
from worker.fields import BLOCKS
from worker.plain import plain
from worker.pristine import BUILTINS

__builtins__ = BUILTINS

CREDENTIALS = re.compile(r"(?<=://)[^/@\s]+(?=@)")


class StorageBlock(Model):
    """Base of the blocks."""

    block_name = ""

    def __init_subclass__(cls, block_name: str = "", **options: Any) -> None:
        super().__init_subclass__(fields=declared(BLOCKS[block_name]) if block_name else None, **options)
        cls.block_name = block_name or cls.block_name


class FileStorageBlock(StorageBlock, block_name="File Storage"):
    """Files below a local or remote path."""


class S3StorageBlock(StorageBlock, block_name="S3 Storage"):
    """A bucket at Amazon."""


class TempStorageBlock(StorageBlock, block_name="Temporary Local Storage"):
    """The machine's folder for temporary files."""


class LocalStorageBlock(StorageBlock, block_name="Local Storage"):
    """A folder of the machine."""


class GoogleCloudStorageBlock(StorageBlock, block_name="Google Cloud Storage"):
    """A bucket at Google."""


class AzureBlobStorageBlock(StorageBlock, block_name="Azure Blob Storage"):
    """A container at Azure."""


class KVServerStorageBlock(StorageBlock, block_name="KV Server Storage"):
    """A key-value server."""


def flow_storage(value: Any) -> Any:
    """A block, or the UUID of one that the API knows."""
    if isinstance(value, StorageBlock):
        return value
    if isinstance(value, (UUID, str)):
        return checks.identifier(value)
    raise TypeError(f"a storage block or its UUID is due, not {checks.shown(value)}")


def facts(storage: Any, *, whole: bool = False) -> Any:
    """A block as ``{type, config}``, without its secrets unless it shall be ``whole``; a UUID as text."""
    if not isinstance(storage, StorageBlock):
        return None if storage is None else str(storage)
    config: Dict[str, Any] = {}
    for name, field in storage.fields.items():
        value = plain(storage.__dict__.get(name))
        shown = masked(value) if field.secret else without_credentials(value)
        config[name] = value if whole else shown
    return {"type": type(storage).block_name, "config": config}


def masked(value: Any) -> Any:
    """A secret's shape: its strings are masked."""
    if isinstance(value, dict):
        return {key: masked(item) for key, item in value.items()}
    if isinstance(value, list):
        return [masked(item) for item in value]
    return MASK if isinstance(value, str) else value


def without_credentials(value: Optional[Any]) -> Any:
    """An address without the user and password that it may hold."""
    return CREDENTIALS.sub(MASK, value) if isinstance(value, str) else value
