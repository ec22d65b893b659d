"""Where a deployment's flow is kept: the storage blocks. Pure; ``loader.stores`` reads and writes them."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from pydantic import ValidationInfo, field_validator

from loader.declared import Shared, declared, refused
from worker.protocol import BLOCKS

CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
BARE = frozenset({"bucket", "container"})
PLACES = BARE | {"base_path", "storage_path", "api_address"}
"""The fields that say where a block is; those of BARE are put behind a ``://``."""
SIGNED_IN = re.compile(r"[^/?#]*@|[^/?#:@\[\]]*:(?!\d{0,5}(?:[/?#]|$))[^@]*@", re.DOTALL)
"""How what follows ``://`` begins when it holds a user or a password, also one with slashes."""
MORE = re.compile(r"[?#]")


class StorageBlock(Shared):
    """Base of the blocks. Their secrets are in no repr; ``plain()`` has them."""

    @field_validator("*")
    @classmethod
    def fit(cls, value: Any, info: ValidationInfo) -> Any:
        """A text without control characters; a place without credentials, for everybody is shown it."""
        if isinstance(value, str):
            if CONTROL.search(value) or not has_bytes(value):
                raise refused("it holds a control character, or what is no character; write it without")
            if info.field_name in PLACES:
                check_public(value, bare=info.field_name in BARE)
        return value

    @property
    def block_name(self) -> str:
        """The kind under which it is registered, such as ``S3 Storage``."""
        return NAMES[type(self)]

    def masked(self) -> dict[str, Any]:
        """The block as ``{type, config}``, its secrets masked."""
        config = self.model_dump(mode="json")
        return {
            "type": self.block_name,
            "config": {name: shown(value) if name in PLACES else value for name, value in config.items()},
        }

    @property
    def is_local(self) -> bool:
        """Whether only this machine can read it."""
        return isinstance(self, (LocalStorageBlock, TempStorageBlock))

    @property
    def is_unplaced(self) -> bool:
        """Whether it is whatever folder the machine's user has for that."""
        return self.is_local and dict(self).get("storage_path") is None


def has_bytes(text: str) -> bool:
    """Whether a text can be a file's name."""
    try:
        os.fsencode(text)
    except UnicodeError:
        return False
    return True


def check_public(place: str, *, bare: bool) -> None:
    """Refuse a URL, or what is put behind a ``://``, that holds what only its reader should know."""
    rest = place if bare else place.partition("://")[2]
    if SIGNED_IN.match(rest):
        raise refused("it may hold no user and no password; give them as options, or as the caller")
    if MORE.search(rest):
        raise refused("it may hold neither a query (?) nor a fragment (#); leave it out")


def shown(place: Any) -> Any:
    """A place without what may be a password or a key."""
    if not isinstance(place, str):
        return place
    scheme, found, rest = place.partition("://")
    if found and SIGNED_IN.match(rest):
        rest = "…@" + rest.rpartition("@")[2]
    return scheme + found + (MORE.split(rest)[0] if found else rest)


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
