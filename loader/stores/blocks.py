"""Which store a storage block stands for, and whether its author may have it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from loader.access import Access
from loader.declared import plain
from loader.errors import SourceError, StorageError
from loader.sources.locations import Location
from loader.sources.parsing import parse
from loader.storage import (
    AzureBlobStorageBlock,
    FileStorageBlock,
    GoogleCloudStorageBlock,
    KVServerStorageBlock,
    LocalStorageBlock,
    S3StorageBlock,
    StorageBlock,
    TempStorageBlock,
)
from loader.stores.drivers import Objects, azure_account, azure_options, google_options, s3_options
from loader.stores.kv import KeyValues
from loader.stores.local import Folder, PrivateFolder
from loader.stores.policy import (
    check_hosts,
    check_kernel,
    check_options,
    check_place,
    check_whole,
    folder_in,
    followed,
    writable,
)
from loader.stores.store import KEYS, Store, random_key


def store_of(block: StorageBlock, access: Access, *, trusted: bool) -> Store:
    """The store behind a block.

    ``trusted`` is False when somebody else's spec chose the block: then it must lie below one of
    ``access.storage``, but for the machine's own folders, which its author cannot choose.

    Raises StorageError for a block that cannot be used or is not allowed.
    """
    try:
        return MAKERS[type(block)](dict(block), access, trusted)
    except SourceError as error:
        reason = str(error).partition(": ")[2] or str(error)
        raise StorageError(f"cannot use the {block.block_name}: {reason}") from None


def of_local(held: Mapping[str, Any], access: Access, trusted: bool) -> Store:
    """The store of a Local Storage block. Raises StorageError."""
    path = held["storage_path"]
    if path is None:
        return Store(Folder(check_kernel(data_folder()), access), access, random_key)
    if not trusted:
        check_whole(path)
    elif path.startswith("~/"):
        path = os.path.expanduser(path)
    return in_folder(Location(scheme="file", path=os.path.abspath(path)), access, trusted, random_key)


def of_temporary(_: Mapping[str, Any], access: Access, __: bool) -> Store:
    """The store of a Temporary Local Storage block."""
    return Store(PrivateFolder(access), access, random_key)


def of_files(held: Mapping[str, Any], access: Access, trusted: bool) -> Store:
    """The store of a File Storage block. Raises StorageError, SourceError."""
    location = writable(held["base_path"])
    options = plain(held["options"])
    new_key = KEYS[held["key_type"]]
    if not trusted or location.scheme != "file":
        check_options(location, options, trusted=trusted)
    if location.kind == "az" and options:
        options = azure_options(azure_account(location, options), any_host=trusted)
    if location.scheme == "file":
        return in_folder(location, access, trusted, new_key)
    return in_objects(location, options, access, trusted, new_key)


def of_s3(held: Mapping[str, Any], access: Access, trusted: bool) -> Store:
    """The store of an S3 Storage block. Raises StorageError, SourceError."""
    location = parse(f"s3://{held['bucket']}")
    return in_objects(location, s3_options(plain(held), trusted=trusted), access, trusted)


def of_google(held: Mapping[str, Any], access: Access, trusted: bool) -> Store:
    """The store of a Google Cloud Storage block. Raises StorageError, SourceError."""
    location = parse(f"gs://{held['bucket']}")
    return in_objects(location, google_options(plain(held), trusted=trusted), access, trusted)


def of_azure(held: Mapping[str, Any], access: Access, trusted: bool) -> Store:
    """The store of an Azure Blob Storage block. Raises StorageError, SourceError."""
    location = parse(f"az://{held['container']}")
    options = azure_options(plain(held), any_host=trusted)
    return in_objects(location, options, access, trusted)


def of_key_values(held: Mapping[str, Any], access: Access, trusted: bool) -> Store:
    """The store of a KV Server Storage block. Raises StorageError, SourceError."""
    address = parse(held["api_address"])
    if address.scheme not in {"http", "https"} or address.query:
        raise StorageError(
            f"cannot use {address.shown}: a KV server's address is written http://host:port/path"
        )
    if trusted:
        check_hosts(address, {"endpoint_url": address.text}, access)
    else:
        check_place(address, access)
    return Store(KeyValues(address, access), access, random_key)


def in_folder(location: Location, access: Access, trusted: bool, new_key: Callable[[bytes], str]) -> Store:
    """A store in a folder of this machine."""
    real = followed(location) if trusted else folder_in(location, access)
    return Store(Folder(check_kernel(real.path), access), access, new_key)


def in_objects(
    location: Location,
    options: Mapping[str, Any],
    access: Access,
    trusted: bool,
    new_key: Callable[[bytes], str] | None = None,
) -> Store:
    """A store that a driver of fsspec reaches."""
    if not trusted:
        check_place(location, access)
    check_hosts(location, options, access)
    return Store(Objects(location, options, access), access, new_key or random_key)


def data_folder() -> str:
    """Where this user's Local Storage is unless its block says otherwise."""
    given = os.environ.get("XDG_DATA_HOME", "")
    base = given if os.path.isabs(given) else os.path.expanduser("~/.local/share")
    if not os.path.isabs(base):
        raise StorageError("cannot find this user's home: set HOME, or give the block a storage_path")
    return os.path.realpath(os.path.join(base, "flow-loader", "storage"))


MAKERS: Mapping[type[StorageBlock], Callable[[Mapping[str, Any], Access, bool], Store]] = MappingProxyType(
    {
        FileStorageBlock: of_files,
        S3StorageBlock: of_s3,
        TempStorageBlock: of_temporary,
        LocalStorageBlock: of_local,
        GoogleCloudStorageBlock: of_google,
        AzureBlobStorageBlock: of_azure,
        KVServerStorageBlock: of_key_values,
    }
)
