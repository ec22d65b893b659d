"""Bytes go into a storage block and come out again, under a new key or a name that the caller chose."""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import os
import re
import secrets
import uuid
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Protocol

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
from loader.stores_drivers import Objects, azure_options, google_options, s3_options
from loader.stores_kv import KeyValues
from loader.stores_local import Folder, PrivateFolder
from loader.stores_policy import check_options, check_place, writable

KEY = re.compile(r"[0-9a-zA-Z][0-9a-zA-Z._-]{0,200}")
NAME_CAP = 1_000
"""Longest name, in characters."""


class Place(Protocol):
    """Where a store keeps its bytes, by names that were checked."""

    shown: str

    def read(self, name: str) -> bytes:
        """The bytes under a name. Raises StorageError."""

    def write(self, name: str, data: bytes) -> None:
        """Keep bytes under a name. Raises StorageError."""

    def remove(self, name: str) -> None:
        """Forget a name, if it is there. Raises StorageError."""


class Store:
    """A storage block that can be read and written. Made by ``store_of``."""

    def __init__(self, place: Place, access: Access, new_key: Callable[[bytes], str]) -> None:
        self._place = place
        self._access = access
        self._new_key = new_key

    def __repr__(self) -> str:
        return f"Store({self._place.shown})"

    def write(self, data: bytes) -> str:
        """Keep ``data``; returns its key. A key that is a digest is the same for the same bytes.

        Raises StorageError.
        """
        key = self._new_key(data)
        self._write(key, data)
        return key

    def read(self, key: str) -> bytes:
        """What is kept under a key, of at most ``Access.size`` bytes. Raises StorageError."""
        return self._place.read(self._checked("read", key))

    def remove(self, key: str) -> None:
        """Forget what is kept under a key, if it is there. Raises StorageError."""
        self._place.remove(self._checked("remove", key))

    def put(self, name: str, data: bytes) -> None:
        """Keep ``data`` under a relative name such as ``flow/a/flow.py``; what was there is replaced.

        Raises StorageError.
        """
        self._check_name(name)
        self._write(name, data)

    @contextlib.contextmanager
    def kept(self, data: bytes) -> Iterator[str]:
        """Keep ``data`` and give its key to what is made of it; if that fails, it is taken back.

        Raises StorageError.
        """
        key = self._new_key(data)
        with self._undone(key, data, there=self._new_key is digest_key and self._holds(key, data)):
            yield key

    @contextlib.contextmanager
    def placed(self, name: str, data: bytes) -> Iterator[None]:
        """The same under a relative name such as ``a/flow.py``. Raises StorageError."""
        self._check_name(name)
        with self._undone(name, data, there=self._holds(name, data)):
            yield

    def location(self, name: str) -> str:
        """The location of what is kept under a key or a name."""
        return f"{self._place.shown.rstrip('/')}/{name}"

    @contextlib.contextmanager
    def _undone(self, name: str, data: bytes, *, there: bool) -> Iterator[None]:
        if not there:
            self._write(name, data)
        try:
            yield
        except BaseException:
            if not there:
                with contextlib.suppress(StorageError):
                    self._place.remove(name)
            raise

    def _holds(self, name: str, data: bytes) -> bool:
        try:
            return self._place.read(name) == data
        except StorageError:
            return False

    def _write(self, name: str, data: bytes) -> None:
        if len(data) > self._access.size:
            raise StorageError(
                f"cannot write to {self._place.shown}: it is more than {self._access.size} bytes, the most"
                f" that is read again; make it smaller, or allow more"
            )
        self._place.write(name, data)

    def _check_name(self, name: str) -> None:
        parts = name.split("/")
        odd = any(not part.isprintable() or "\\" in part or part in {"", ".", ".."} for part in parts)
        if odd or len(name) > NAME_CAP or any(len(part.encode(errors="replace")) > 255 for part in parts):
            raise StorageError(
                f"cannot write {name[:200]!r} to {self._place.shown}: it is no relative name of a file;"
                f" name it like flow/flow.py"
            )

    def _checked(self, verb: str, key: str) -> str:
        if not isinstance(key, str) or KEY.fullmatch(key) is None:
            raise StorageError(
                f"cannot {verb} from {self._place.shown}: {repr(key)[:200]} is no key of this storage;"
                f" use one that it gave"
            )
        return key


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
    """The store of a Local Storage block."""
    path = held["storage_path"]
    if path is None:
        return Store(Folder(data_folder(), access), access, random_key)
    if path.startswith("~/"):
        path = os.path.expanduser(path)
    return in_folder(Location(scheme="file", path=os.path.abspath(path)), access, trusted, random_key)


def of_temporary(_: Mapping[str, Any], access: Access, __: bool) -> Store:
    """The store of a Temporary Local Storage block."""
    return Store(PrivateFolder(access), access, random_key)


def of_files(held: Mapping[str, Any], access: Access, trusted: bool) -> Store:
    """The store of a File Storage block. Raises StorageError, SourceError."""
    location = writable(held["base_path"])
    options = plain(held["options"])
    if not trusted:
        check_options(location, options)
    new_key = KEYS[held["key_type"]]
    if location.scheme == "file":
        return in_folder(location, access, trusted, new_key)
    return in_objects(location, options, access, trusted, new_key)


def of_s3(held: Mapping[str, Any], access: Access, trusted: bool) -> Store:
    """The store of an S3 Storage block. Raises StorageError, SourceError."""
    location = parse(f"s3://{held['bucket']}")
    return in_objects(location, s3_options(plain(held)), access, trusted)


def of_google(held: Mapping[str, Any], access: Access, trusted: bool) -> Store:
    """The store of a Google Cloud Storage block. Raises StorageError, SourceError."""
    location = parse(f"gs://{held['bucket']}")
    return in_objects(location, google_options(plain(held)), access, trusted)


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
    if not trusted:
        check_place(address, access)
    return Store(KeyValues(address, access), access, random_key)


def in_folder(location: Location, access: Access, trusted: bool, new_key: Callable[[bytes], str]) -> Store:
    """A store in a folder of this machine."""
    path = os.path.realpath(location.path)
    if not trusted:
        check_place(Location(scheme="file", path=path), access)
    return Store(Folder(path, access), access, new_key)


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
    return Store(Objects(location, options, access), access, new_key or random_key)


def data_folder() -> str:
    """Where this user's Local Storage is unless its block says otherwise."""
    given = os.environ.get("XDG_DATA_HOME", "")
    base = given if os.path.isabs(given) else os.path.expanduser("~/.local/share")
    if not os.path.isabs(base):
        raise StorageError("cannot find this user's home: set HOME, or give the block a storage_path")
    return os.path.realpath(os.path.join(base, "flow-loader", "storage"))


# --- keys ----------------------------------------------------------------------------------------


def random_key(_: bytes) -> str:
    """A key that nobody has."""
    return str(uuid.uuid4())


def digest_key(data: bytes) -> str:
    """A key that the same bytes always have."""
    return hashlib.sha256(data).hexdigest()


def time_key(_: bytes) -> str:
    """A key that sorts by time, and that nobody else has at the same moment."""
    return f"{dt.datetime.now(dt.UTC):%Y%m%dT%H%M%S.%fZ}-{secrets.token_hex(8)}"


KEYS: Mapping[str, Callable[[bytes], str]] = MappingProxyType(
    {"hash": digest_key, "uuid": random_key, "timestamp": time_key}
)
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
