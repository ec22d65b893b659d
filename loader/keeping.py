"""Registered storage blocks: as models, and what is kept in them."""

from __future__ import annotations

from pydantic import ValidationError

from loader.access import DEFAULT, Access
from loader.client.interface import BlockRecord
from loader.errors import StorageError
from loader.specs import mistakes
from loader.storage import KINDS, StorageBlock
from loader.stores import store_of
from loader.stores.store import MADE


def block_of(record: BlockRecord) -> StorageBlock:
    """A registered block as a model. Raises StorageError when it is none of storage."""
    kind = KINDS.get(record.type)
    if kind is None:
        raise StorageError(f"cannot use the block {record.name!r} as storage: it is a {record.type!r}")
    try:
        return kind.model_validate(dict(record.config))
    except ValidationError as error:
        said = "; ".join(message for _, message in mistakes(error))
    raise StorageError(f"cannot use the block {record.name!r}: {said}")


def read_kept(record: BlockRecord, key: str, access: Access = DEFAULT) -> bytes:
    """What a registered block keeps under a key. Raises StorageError.

    The client chose the block; others may name the key, and can name nothing but what storage kept.
    """
    if MADE.fullmatch(key) is None:
        raise StorageError(
            f"cannot read from the block {record.name!r}: {repr(key)[:200]} is no key that storage gives;"
            f" deploy again"
        )
    return store_of(block_of(record), access, trusted=True).read(key)
