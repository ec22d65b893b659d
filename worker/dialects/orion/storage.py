"""Where a deployment's flow is kept: the storage blocks; they run beside foreign code.

What a worker says of a block is printed and logged by others, so its secrets do not leave: they are
masked in what ``facts`` gives.
"""

from __future__ import annotations

import re
from typing import Any, Dict, Optional
from uuid import UUID

from worker.dialects.orion import checks
from worker.dialects.orion.model import MASK, REQUIRED, Field, Model
from worker.plain import plain
from worker.pristine import BUILTINS

__builtins__ = BUILTINS

CREDENTIALS = re.compile(r"(?<=://)[^/@\s]+(?=@)")
a_string = checks.optional(checks.string)


class StorageBlock(Model):
    """Base of the blocks."""

    block_name = ""

    def __init_subclass__(cls, block_name: str = "", **options: Any) -> None:
        super().__init_subclass__(**options)
        cls.block_name = block_name or cls.block_name


class FileStorageBlock(StorageBlock, block_name="File Storage"):
    """Files below a local or remote path."""

    base_path = Field(lambda value: with_slash(checks.path(value)), REQUIRED)
    key_type = Field(checks.one_of("hash", "uuid", "timestamp"), "hash")
    options = Field(checks.mapping, dict, secret=True)


class S3StorageBlock(StorageBlock, block_name="S3 Storage"):
    """A bucket at Amazon."""

    bucket = Field(checks.string, REQUIRED)
    aws_access_key_id = Field(a_string, secret=True)
    aws_secret_access_key = Field(a_string, secret=True)
    aws_session_token = Field(a_string, secret=True)
    profile_name = Field(a_string)
    region_name = Field(a_string)


class TempStorageBlock(StorageBlock, block_name="Temporary Local Storage"):
    """The machine's folder for temporary files."""


class LocalStorageBlock(StorageBlock, block_name="Local Storage"):
    """A folder of the machine."""

    storage_path = Field(checks.optional(checks.path))


class GoogleCloudStorageBlock(StorageBlock, block_name="Google Cloud Storage"):
    """A bucket at Google."""

    bucket = Field(checks.string, REQUIRED)
    project = Field(a_string)
    service_account_info = Field(checks.optional(checks.string_mapping), secret=True)


class AzureBlobStorageBlock(StorageBlock, block_name="Azure Blob Storage"):
    """A container at Azure."""

    container = Field(checks.string, REQUIRED)
    connection_string = Field(checks.string, REQUIRED, secret=True)


class KVServerStorageBlock(StorageBlock, block_name="KV Server Storage"):
    """A key-value server."""

    api_address = Field(checks.string, REQUIRED)


def with_slash(path: str) -> str:
    """A folder's path, ending as one."""
    return path if path.endswith("/") else path + "/"


def flow_storage(value: Any) -> Any:
    """A block, or the UUID of one that the API knows."""
    if isinstance(value, StorageBlock):
        return value
    if isinstance(value, (UUID, str)):
        return checks.identifier(value)
    raise TypeError(f"a storage block or its UUID is due, not {checks.shown(value)}")


def facts(storage: Any) -> Any:
    """A block as ``{type, config}`` without its secrets, a UUID as text."""
    if not isinstance(storage, StorageBlock):
        return None if storage is None else str(storage)
    config: Dict[str, Any] = {}
    for name, field in storage.fields.items():
        value = plain(storage.__dict__.get(name))
        config[name] = masked(value) if field.secret else without_credentials(value)
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
